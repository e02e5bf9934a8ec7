//! From TOML to configuration: which fields there are, and what they may hold.

mod rules;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

use super::fault::{Faults, Source};
use super::table::Fields;
use super::{
    Account, Attestation, Audit, Aws, Base, Bridges, CHAINED_SESSION_SECONDS, Config, ContainerCredentials,
    Credentials, Environment, Firewall, Home, HostAccess, Imds, Listen, MetricsAddress, Partition, Region, Shared,
};
use super::{base, compat, engine, gitlab, operation};
use crate::caller::Level;
use crate::credentials::Rates;
use crate::instance::Leaf;

const METRICS_REMEDY: &str =
    "write unix:/absolute/path or a loopback address such as 127.0.0.1:9090; a job must never reach it";

/// Role chaining.
const CHAINED: &str =
    "the proxy's own credentials are a role's session, and STS gives the sessions that it assumes an hour at most";
const CHAINED_REMEDY: &str = "write 3600 or less, or give the proxy credentials of a user (aws.credentials)";

/// Between two self-tests while the proxy serves, and what is too little: one takes a second, or half a minute where the host is busy.
const SELF_TEST_EVERY_SECONDS: u64 = 3600;
const SELF_TEST_SECONDS_MIN: u64 = 10;

/// `after_script` has five minutes of its own, and cleaning up takes a while.
const GRACE_SECONDS: u64 = 600;

pub(super) fn read(file: &str, text: &str, environment: &Environment) -> Result<Config, Faults> {
    let source = Source::new(file, text);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        source.fault(error.span().unwrap_or(0..0), "", error.message(), "write valid TOML");
    }
    let mut root = Fields::new(&source, "", 0..0, Some(document.get_ref()));
    let listen = read_listen(root.table("listen"));
    let engine = engine::read(root.table("engine"), environment);
    let aws = read_aws(root.table("aws"), environment);
    let credentials = read_credentials(root.table("credentials"));
    let imds = read_imds(root.table("imds"));
    let container_credentials = read_container_credentials(root.table("container_credentials"));
    let firewall = read_firewall(root.table("firewall"));
    let bridges = read_bridges(root.table("bridges"));
    let attestation = read_attestation(root.table("attestation"));
    let audit = read_audit(root.table("audit"));
    let traces = root.optional_table("traces").and_then(operation::read_traces);
    let revocations = operation::read_revocations(root.table("revocations"), environment);
    let reload = operation::read_reload(root.table("reload"));
    let runner = operation::read_runner(root.table("runner"));
    let compat = root.optional_table("compat");
    // Without an account roles cannot be read; a stand-in lets every other fault of the rules still be found.
    let home = aws.as_ref().map(|aws| aws.home.clone()).or_else(stand_in);
    let compat = compat.and_then(|fields| compat::read(fields, home.as_ref()));
    let is_chained = aws.as_ref().is_some_and(|aws| aws.credentials.is_session());
    let gitlab = gitlab::read(&source, root.tables("gitlab"));
    let rules = rules::read(
        &source,
        root.tables("rule"),
        home.as_ref(),
        &imds,
        is_chained,
        gitlab.as_deref(),
    );
    root.close();
    let config = engine.zip(aws).map(|(engine, aws)| Config {
        listen,
        engine,
        aws,
        credentials,
        imds,
        container_credentials,
        firewall,
        bridges,
        attestation,
        audit,
        traces,
        revocations,
        reload,
        runner,
        compat,
        gitlab: gitlab.unwrap_or_default(),
        rules,
    });
    source.finish(config)
}

fn stand_in() -> Option<Home> {
    Account::parse("000000000000").ok().map(|account| Home {
        partition: Partition::default(),
        account,
        others: BTreeSet::new(),
    })
}

fn read_listen(mut fields: Fields<'_, '_>) -> Listen {
    let port = fields.number("port", 0..65536, 8000);
    let metrics = fields
        .parse("metrics", parse_metrics, METRICS_REMEDY)
        .map(|found| found.value);
    let control = operation::read_control(&mut fields);
    fields.close();
    Listen {
        port: u16::try_from(port).unwrap_or_default(),
        metrics,
        control,
    }
}

pub(super) fn parse_metrics(text: &str) -> Result<MetricsAddress, &'static str> {
    if let Some(path) = text.strip_prefix("unix:") {
        let path = path.strip_prefix("//").unwrap_or(path);
        return if Path::new(path).is_absolute() {
            Ok(MetricsAddress::Unix(PathBuf::from(path)))
        } else {
            Err("the path is not absolute")
        };
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(MetricsAddress::Loopback(address)),
        Ok(_) => Err("not a loopback address"),
        Err(_) => Err("neither unix:PATH nor an address with a port"),
    }
}

fn read_aws(mut fields: Fields<'_, '_>, environment: &Environment) -> Option<Aws> {
    let account = fields.require(
        "account",
        Account::parse,
        "write the 12 digits of the account whose roles jobs get",
    );
    let others = fields.parse_all(
        "accounts",
        Account::parse,
        "write the 12 digits of the other accounts whose roles rules may name by ARN",
    );
    for found in others.iter().filter(|found| Some(&found.value) == account.as_ref()) {
        fields.fault(found, "is aws.account already", "remove it");
    }
    let partition = fields
        .parse(
            "partition",
            Partition::parse,
            "write the partition of the account; aws if unsure",
        )
        .map_or_else(Partition::default, |found| found.value);
    let region_remedy = "write the region of this host, such as eu-central-1";
    let region = match &environment.region {
        Some(text) if !fields.is_present("region") => {
            drop(fields.parse("region", Region::parse, region_remedy));
            Region::parse(text).ok().or_else(|| {
                fields.missing("region", region_remedy);
                None
            })
        }
        Some(_) | None => fields.require("region", Region::parse, region_remedy),
    };
    let stated = fields.parse(
        "sts_endpoint",
        parse_endpoint,
        "write http://HOST:PORT or https://HOST, or leave it out",
    );
    let sts_endpoint = stated
        .map(|found| found.value)
        .or_else(|| environment.sts_endpoint.clone());
    let session_seconds = fields.number("session_seconds", 900..43201, 3600);
    let others = others.into_iter().map(|found| found.value).collect();
    let home = account.map(|account| Home {
        partition,
        account,
        others,
    });
    let credentials = base::read(&mut fields, home.as_ref());
    if credentials.as_ref().is_some_and(Base::is_session) && session_seconds > CHAINED_SESSION_SECONDS.into() {
        fields.fault_in("session_seconds", CHAINED, CHAINED_REMEDY);
    }
    fields.close();
    Some(Aws {
        home: home?,
        region: region?,
        credentials: credentials?,
        sts_endpoint,
        session_seconds: u32::try_from(session_seconds).ok()?,
    })
}

fn parse_endpoint(text: &str) -> Result<String, &'static str> {
    let uri: http::Uri = text.parse().map_err(|_| "not a URL")?;
    let authority = uri.authority().ok_or("not a whole URL")?;
    if !matches!(uri.scheme_str(), Some("http" | "https")) {
        Err("neither http nor https")
    } else if authority.as_str().contains('@') {
        Err("holds a user name")
    } else if uri.query().is_some() {
        Err("holds a query")
    } else {
        Ok(text.to_owned())
    }
}

/// The defaults are a twelfth of what STS gives an account and region (600 a second), and less for one role.
fn read_credentials(mut fields: Fields<'_, '_>) -> Credentials {
    let mut rate = |name, default| u32::try_from(fields.number(name, 1..1001, default)).unwrap_or(1);
    let rates = Rates {
        overall: rate("calls_per_second", 50),
        role: rate("role_calls_per_second", 20),
    };
    let prefetch = fields.flag("prefetch", false);
    fields.close();
    Credentials { rates, prefetch }
}

fn read_imds(mut fields: Fields<'_, '_>) -> Imds {
    let require_token = fields.flag("require_token", true);
    let paths = read_paths(&mut fields).unwrap_or_else(|| [Leaf::Region].into());
    fields.close();
    Imds { require_token, paths }
}

/// What of the instance may be read. An empty list is a statement: nothing.
fn read_paths(fields: &mut Fields<'_, '_>) -> Option<BTreeSet<Leaf>> {
    let names = Leaf::ALL.map(Leaf::as_str).join(", ");
    let found = fields.parse_list(
        "paths",
        |text| Leaf::parse(text).ok_or("not a harmless path of the service"),
        &format!("write some of {names}"),
    )?;
    Some(found.into_iter().map(|found| found.value).collect())
}

fn read_container_credentials(mut fields: Fields<'_, '_>) -> ContainerCredentials {
    let enabled = fields.flag("enabled", false);
    fields.close();
    ContainerCredentials { enabled }
}

fn read_firewall(mut fields: Fields<'_, '_>) -> Firewall {
    let manage = fields.flag("manage", true);
    let is_open = fields.parse(
        "host",
        |text| match text {
            "closed" => Ok(false),
            "open" => Ok(true),
            _ => Err("neither closed nor open"),
        },
        "write closed, and name in host_cgroups who on the host needs the endpoint",
    );
    let cgroups = fields.parse_all(
        "host_cgroups",
        parse_cgroup,
        "write the cgroup v2 path of one service, such as /system.slice/amazon-ssm-agent.service",
    );
    let host = if is_open.is_some_and(|found| found.value) {
        for found in &cgroups {
            let remedy = "remove it, or write host = \"closed\"";
            fields.fault(found, "names who may ask, but host is \"open\": everybody may", remedy);
        }
        HostAccess::Open
    } else {
        HostAccess::Closed {
            cgroups: cgroups.into_iter().map(|found| found.value).collect(),
        }
    };
    fields.close();
    Firewall { manage, host }
}

/// The path of a cgroup, without the slash at its end. What holds containers would let every one of them through.
fn parse_cgroup(text: &str) -> Result<String, &'static str> {
    let path = text
        .strip_prefix('/')
        .ok_or("not a path from the root of the hierarchy")?;
    let plain =
        |name: &str| !matches!(name, "" | "." | "..") && name.bytes().all(|b| b.is_ascii_graphic() && b != b'"');
    let names: Vec<&str> = path.split('/').collect();
    if text.len() > 512 || !names.iter().copied().all(plain) {
        return Err("not a plain path");
    }
    let holds_containers = matches!(
        names[..],
        ["system.slice" | "user.slice" | "machine.slice" | "init.scope"]
    ) || matches!(
        names.first(),
        Some(&"docker" | &"kubepods" | &"kubepods.slice" | &"podman" | &"libpod_parent")
    ) || names
        .iter()
        .any(|name| name.starts_with("docker-") && name.ends_with(".scope"));
    if holds_containers {
        return Err("holds containers or everything");
    }
    Ok(text.to_owned())
}

fn read_bridges(mut fields: Fields<'_, '_>) -> Bridges {
    let shared = fields.parse(
        "shared",
        |text| match text {
            "filter" => Ok(Shared::Filter),
            "allow" => Ok(Shared::Allow),
            _ => Err("neither filter nor allow"),
        },
        "write filter, or allow where each job has a bridge of its own",
    );
    fields.close();
    Bridges {
        shared: shared.map_or(Shared::Filter, |found| found.value),
    }
}

/// Why `address` is no level, although other proxies know no other: whatever is believed of an address, it is believed too late.
const BY_ADDRESS: &str = "an address proves nobody: a request can arrive before any event, list or filter of the engine says who has its \
                          address now (rules A1 and A4), and would get the credentials of whoever had it before";

fn parse_level(text: &str) -> Result<Level, &'static str> {
    match text {
        "cgroup" => Ok(Level::Cgroup),
        "netns" => Ok(Level::Netns),
        "address" => Err(BY_ADDRESS),
        _ => Err("no level of attestation"),
    }
}

fn read_attestation(mut fields: Fields<'_, '_>) -> Attestation {
    let level = fields.parse(
        "level",
        parse_level,
        "write cgroup, or netns where the kernel cannot name the cgroup of a connection's owner",
    );
    let level = level.map(|found| found.value).unwrap_or_default();
    let self_test = fields.flag("self_test", true);
    let self_test_every = read_self_test_every(&mut fields, self_test);
    let grace = Duration::from_secs(fields.number("grace_seconds", 0..86_401, GRACE_SECONDS));
    fields.close();
    Attestation {
        level,
        self_test,
        self_test_every,
        grace,
    }
}

/// Once an hour costs the host a second of a container, and an alarm that comes an hour late still comes before somebody tries.
fn read_self_test_every(fields: &mut Fields<'_, '_>, self_test: bool) -> Option<Duration> {
    let name = "self_test_every_seconds";
    let default = if self_test { SELF_TEST_EVERY_SECONDS } else { 0 };
    let seconds = fields.number(name, 0..86_401, default);
    if (1..SELF_TEST_SECONDS_MIN).contains(&seconds) {
        let remedy = format!("write {SELF_TEST_SECONDS_MIN} or more, or 0 for never");
        fields.fault_in(name, "makes containers faster than a busy host ends them", &remedy);
    } else if seconds > 0 && !self_test {
        let remedy = "remove it, or write self_test = true";
        fields.fault_in(name, "asks for a self-test, and self_test is false", remedy);
    }
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

fn read_audit(mut fields: Fields<'_, '_>) -> Audit {
    let parse = |text: &str| match text {
        "-" => Ok(Audit::Stdout),
        path if Path::new(path).is_absolute() => Ok(Audit::File(PathBuf::from(path))),
        _ => Err("neither - nor an absolute path"),
    };
    let audit = fields.parse("path", parse, "write - for stdout, or an absolute path");
    fields.close();
    audit.map_or(Audit::Stdout, |found| found.value)
}
