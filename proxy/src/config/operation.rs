//! Reads what an operator does with a proxy that runs: where it takes orders, when it reads its configuration again, where the runner's is.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::read::parse_metrics;
use super::table::Fields;
use super::{Control, Environment, MetricsAddress, Reload, RunnerFile, Traces};

const CONTROL_REMEDY: &str = "write unix:/absolute/path, or off";
/// Where orders are taken unless the configuration says otherwise.
const CONTROL: &str = "/run/metadata-proxy/control.sock";

/// `listen.control`
pub(super) fn read_control(fields: &mut Fields<'_, '_>) -> Option<Control> {
    match fields.parse("control", parse_control, CONTROL_REMEDY) {
        Some(found) => found.value.map(|path| Control { path, is_stated: true }),
        None => Some(Control {
            path: CONTROL.into(),
            is_stated: false,
        }),
    }
}

/// A socket file, or `off`. No address: whatever reaches a loopback port would give orders.
fn parse_control(text: &str) -> Result<Option<PathBuf>, &'static str> {
    if text == "off" {
        return Ok(None);
    }
    match parse_metrics(text)? {
        MetricsAddress::Unix(path) => Ok(Some(path)),
        MetricsAddress::Loopback(_) => Err("not a socket file"),
    }
}

/// `[traces]`
pub(super) fn read_traces(mut fields: Fields<'_, '_>) -> Option<Traces> {
    let remedy = "write http://127.0.0.1:4318/v1/traces, where a collector on this host listens";
    let otlp = fields.require("otlp", parse_collector, remedy);
    let sample_percent = fields.number("sample_percent", 1..101, 100);
    fields.close();
    let (collector, path) = otlp?;
    Some(Traces {
        collector,
        path,
        sample_percent: u8::try_from(sample_percent).ok()?,
    })
}

/// On this host: spans name jobs and roles, and TLS and secrets for a backend are the collector's business.
fn parse_collector(text: &str) -> Result<(SocketAddr, String), &'static str> {
    let uri: http::Uri = text.parse().map_err(|_| "not a URL")?;
    if uri.scheme_str() != Some("http") || uri.query().is_some() {
        return Err("not a plain http URL");
    }
    let authority = uri.authority().ok_or("not a whole URL")?.as_str();
    let address: SocketAddr = authority.parse().map_err(|_| "not an address with a port")?;
    if !address.ip().is_loopback() {
        return Err("not a loopback address");
    }
    match uri.path() {
        "/" => Ok((address, "/v1/traces".to_owned())),
        path => Ok((address, path.to_owned())),
    }
}

/// The file's name in the directory that systemd made for it.
const REVOCATIONS: &str = "revocations.json";

/// `[revocations] file`. Without a word of the operator's it is where systemd says that state belongs, and nowhere if it says nothing: no file is
/// made in a place that nobody named.
pub(super) fn read_revocations(mut fields: Fields<'_, '_>, environment: &Environment) -> Option<PathBuf> {
    let parse = |text: &str| match text {
        "off" => Ok(None),
        path if Path::new(path).is_absolute() && !path.ends_with('/') => Ok(Some(PathBuf::from(path))),
        _ => Err("neither off nor an absolute path of a file"),
    };
    let remedy = "write where to keep who is revoked, such as /var/lib/metadata-proxy/revocations.json, or off";
    let is_stated = fields.is_present("file");
    let file = fields.parse("file", parse, remedy);
    fields.close();
    if is_stated {
        return file.and_then(|found| found.value);
    }
    let directories = environment.state_directory.as_deref()?;
    // There may be several, of which the first is ours.
    let directory = Path::new(directories.split(':').next()?);
    directory.is_absolute().then(|| directory.join(REVOCATIONS))
}

/// A file that is saved is not yet a decision: without the operator's word only SIGHUP is.
pub(super) fn read_reload(mut fields: Fields<'_, '_>) -> Reload {
    let watch = fields.flag("watch", false);
    fields.close();
    Reload { watch }
}

/// A file of the usual place is examined without being asked for: forged labels do not wait for an operator's word.
pub(super) fn read_runner(mut fields: Fields<'_, '_>) -> RunnerFile {
    let parse = |text: &str| match text {
        "off" => Ok(RunnerFile::Off),
        path if Path::new(path).is_absolute() => Ok(RunnerFile::At(PathBuf::from(path))),
        _ => Err("neither off nor an absolute path"),
    };
    let remedy = "write where the runner's config.toml is, or off if it is not on this host";
    let file = fields.parse("config", parse, remedy);
    fields.close();
    file.map_or(RunnerFile::Usual, |found| found.value)
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Control, Environment, Reload, RunnerFile, Traces};
    use crate::fixture::HEADER;

    fn read(port: &str, tables: &str) -> Result<Config, String> {
        let text = HEADER.replace("port = 0", &format!("port = 0\n{port}"));
        Config::read("x", &format!("{text}{tables}"), &Environment::default()).map_err(|faults| faults.to_string())
    }

    #[test]
    fn orders_are_taken_unless_the_operator_says_otherwise() {
        let control = |text: &str| read(text, "").unwrap().listen.control;
        let usual = Control {
            path: "/run/metadata-proxy/control.sock".into(),
            is_stated: false,
        };
        assert_eq!(control(""), Some(usual));
        let stated = Control {
            path: "/a/b".into(),
            is_stated: true,
        };
        assert_eq!(control("control = \"unix:/a/b\""), Some(stated));
        assert_eq!(control("control = \"off\""), None);
        for bad in ["127.0.0.1:1", "unix:a", "on"] {
            let told = read(&format!("control = {bad:?}"), "").unwrap_err();
            assert!(
                told.contains("listen.control") && told.contains("write unix:/absolute/path, or off"),
                "{told}"
            );
        }
    }

    #[test]
    fn traces_go_to_a_collector_on_this_host() {
        assert_eq!(read("", "").unwrap().traces, None);
        let traces = |otlp: &str| read("", &format!("[traces]\notlp = {otlp:?}\nsample_percent = 5\n"));
        for (text, collector, path) in [
            ("http://127.0.0.1:4318", "127.0.0.1:4318", "/v1/traces"),
            ("http://[::1]:4318/otlp", "[::1]:4318", "/otlp"),
        ] {
            let expected = Traces {
                collector: collector.parse().unwrap(),
                path: path.to_owned(),
                sample_percent: 5,
            };
            assert_eq!(traces(text).unwrap().traces, Some(expected));
        }
        for bad in [
            "https://127.0.0.1:4318",
            "http://10.0.0.1:4318",
            "http://collector:4318",
            "http://me@127.0.0.1:4318",
            "http://127.0.0.1",
            "127.0.0.1:4318",
            "http://127.0.0.1:4318/?a=b",
        ] {
            let told = traces(bad).unwrap_err();
            assert!(told.contains("traces.otlp"), "{told}");
        }
        let told = read("", "[traces]\nsample_percent = 0\n").unwrap_err();
        assert!(
            told.contains("traces.otlp") && told.contains("write a number from 1 to 100"),
            "{told}"
        );
    }

    #[test]
    fn revocations_are_kept_where_the_operator_or_systemd_says() {
        let file = |text: &str, directory: Option<&str>| {
            let environment = Environment {
                state_directory: directory.map(str::to_owned),
                ..Environment::default()
            };
            let config = Config::read("x", &format!("{HEADER}{text}"), &environment);
            let path = config.map(|config| config.revocations.map(|path| path.display().to_string()));
            path.map_err(|faults| faults.to_string())
        };
        let at = |path: &str| Ok(Some(path.to_owned()));
        let stated = "[revocations]\nfile = \"/a/b\"\n";
        assert_eq!(file("", None), Ok(None));
        assert_eq!(file("", Some("/var/lib/x")), at("/var/lib/x/revocations.json"));
        assert_eq!(
            file("", Some("/var/lib/x:/var/lib/y")),
            at("/var/lib/x/revocations.json")
        );
        assert_eq!(file("", Some("relative")), Ok(None));
        assert_eq!(file(stated, None), at("/a/b"));
        assert_eq!(file(stated, Some("/var/lib/x")), at("/a/b"));
        assert_eq!(file("[revocations]\nfile = \"off\"\n", Some("/var/lib/x")), Ok(None));
        for bad in ["a", "/a/", ""] {
            let told = file(&format!("[revocations]\nfile = {bad:?}\n"), None).unwrap_err();
            assert!(told.contains("revocations.file") && told.contains("or off"), "{told}");
        }
    }

    #[test]
    fn a_file_is_watched_only_where_that_is_wanted_and_the_runners_is_examined_unless_it_is_not() {
        let usual = read("", "").unwrap();
        assert_eq!(
            (usual.reload, usual.runner),
            (Reload { watch: false }, RunnerFile::Usual)
        );
        let stated = read("", "[reload]\nwatch = true\n[runner]\nconfig = \"/x\"\n").unwrap();
        assert_eq!(
            (stated.reload, stated.runner),
            (Reload { watch: true }, RunnerFile::At("/x".into()))
        );
        assert_eq!(
            read("", "[runner]\nconfig = \"off\"\n").unwrap().runner,
            RunnerFile::Off
        );
        assert!(read("", "[runner]\nconfig = \"x\"\n").is_err() && read("", "[reload]\nwatch = 1\n").is_err());
    }
}
