//! Reads what an operator does with a proxy that runs: where it takes orders, when it reads its configuration again, where the runner's is.

use std::path::{Path, PathBuf};

use super::read::parse_metrics;
use super::table::Fields;
use super::{Control, MetricsAddress, Reload, RunnerFile};

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
    use crate::config::{Config, Control, Environment, Reload, RunnerFile};
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
