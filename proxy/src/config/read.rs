//! From TOML to configuration: which fields there are, what they may hold, and which rules contradict each other.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::de::DeTable;

use super::fault::{Faults, Source};
use super::table::{Fields, Found};
use super::{
    Account, Attestation, Audit, Aws, Base, Bridges, CHAINED_SESSION_SECONDS, Config, ContainerCredentials,
    Credentials, Environment, ExternalId, Firewall, Home, Host, HostAccess, Image, Imds, Kind, Listen, MetricsAddress,
    POLICY_ARNS_MAX, Partition, PolicyArn, Ref, Region, Role, Rule, Runner, SESSION_POLICIES_MAX, Session,
    SessionPolicy, Shared,
};
use super::{base, engine, operation};
use crate::credentials::Rates;
use crate::instance::Leaf;

const METRICS_REMEDY: &str =
    "write unix:/absolute/path or a loopback address such as 127.0.0.1:9090; a job must never reach it";

/// Role chaining.
const CHAINED: &str =
    "the proxy's own credentials are a role's session, and STS gives the sessions that it assumes an hour at most";
const CHAINED_REMEDY: &str = "write 3600 or less, or give the proxy credentials of a user (aws.credentials)";

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
    let reload = operation::read_reload(root.table("reload"));
    let runner = operation::read_runner(root.table("runner"));
    // Without an account roles cannot be read; a stand-in lets every other fault of the rules still be found.
    let home = aws.as_ref().map(|aws| aws.home.clone()).or_else(stand_in);
    let is_chained = aws.as_ref().is_some_and(|aws| aws.credentials.is_session());
    let rules = read_rules(&source, root.tables("rule"), home.as_ref(), is_chained);
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
        reload,
        runner,
        rules,
    });
    source.finish(config)
}

fn stand_in() -> Option<Home> {
    Account::parse("000000000000").ok().map(|account| Home {
        partition: Partition::default(),
        account,
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
    let home = account.map(|account| Home { partition, account });
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

fn read_attestation(mut fields: Fields<'_, '_>) -> Attestation {
    let self_test = fields.flag("self_test", true);
    let grace = Duration::from_secs(fields.number("grace_seconds", 0..86_401, GRACE_SECONDS));
    fields.close();
    Attestation { self_test, grace }
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

fn read_rules(source: &Source<'_>, tables: Vec<Fields<'_, '_>>, home: Option<&Home>, is_chained: bool) -> Vec<Rule> {
    let mut rules: Vec<(Rule, std::ops::Range<usize>, String)> = Vec::new();
    for fields in tables {
        let (at, path) = (fields.place(), fields.path().to_owned());
        let Some(rule) = home.and_then(|home| read_rule(source, fields, home)) else {
            continue;
        };
        if is_chained && rule.session.duration_seconds > Some(CHAINED_SESSION_SECONDS) {
            source.fault(at.clone(), format!("{path}.duration_seconds"), CHAINED, CHAINED_REMEDY);
        }
        for (earlier, _, earlier_path) in &rules {
            if earlier.name == rule.name {
                let problem = format!("{earlier_path} is called {:?} too", rule.name);
                source.fault(
                    at.clone(),
                    format!("{path}.name"),
                    problem,
                    "give each rule a name of its own",
                );
            }
            if rule.overlaps(earlier) && !rule.has_outcome_of(earlier) {
                let (what, merge) = if !rule.has_roles_of(earlier) {
                    ("different roles", "merge them into one rule with `selectable`")
                } else if rule.paths != earlier.paths {
                    ("different paths of the instance", "give them the same paths")
                } else {
                    (
                        "different sessions of the same roles",
                        "give them the same external id, policies and duration",
                    )
                };
                let problem = format!(
                    "one container can match this rule and {earlier_path} ({:?}), which give it {what}",
                    earlier.name
                );
                let remedy = format!("narrow one of them by project, kind, ref or image, or {merge}");
                source.fault(at.clone(), path.clone(), problem, remedy);
            }
        }
        rules.push((rule, at, path));
    }
    rules.into_iter().map(|(rule, _, _)| rule).collect()
}

fn read_rule(source: &Source<'_>, mut fields: Fields<'_, '_>, home: &Home) -> Option<Rule> {
    let role_remedy = "write a name, /path/name or the ARN of a role of aws.account";
    let name = fields.require(
        "name",
        parse_name,
        "give the rule a name of 1 to 64 letters, digits, _, - and .",
    );
    let runner = fields.require(
        "runner",
        Runner::parse,
        "write the runner's short token, as its jobs' logs show it",
    );
    let gitlab = fields.require(
        "gitlab",
        Host::parse,
        "write the GitLab server's host as job URLs show it",
    );
    if !fields.is_present("project") {
        fields.missing(
            "project",
            "write the project's id, or a list of ids; a ref alone never grants",
        );
    }
    let projects = fields.numbers("project");
    let kinds_are_stated = fields.is_present("kind");
    let kinds = fields.parse_all(
        "kind",
        |text| Kind::parse(text).ok_or("not a kind of container"),
        "write build, predefined, service, wait or cache-init",
    );
    let refs = fields.parse_all(
        "ref",
        Ref::parse,
        "write the ref as the label job.ref has it, such as main",
    );
    let images = fields.parse_all(
        "image",
        Image::parse,
        "write the image's id or digest; a name proves nothing",
    );
    let role_is_stated = fields.is_present("role") || fields.is_present("selectable");
    let parse_role = |text: &str| Role::parse(text, home);
    let role = fields.parse("role", parse_role, role_remedy).map(|found| found.value);
    let selectable = fields.parse_all("selectable", parse_role, role_remedy);
    let external_id = fields.parse(
        "external_id",
        ExternalId::parse,
        "write what the role's trust policy asks for",
    );
    let session = read_session(&mut fields, home);
    let paths = read_paths(&mut fields);
    if !role_is_stated {
        fields.missing("role", "name at least one of role and selectable");
    }
    for found in &selectable {
        if Some(&found.value) == role.as_ref() {
            let remedy = "remove it; `role` can always be selected";
            source.fault(
                found.at.clone(),
                found.field.clone(),
                format!("{} is the rule's role already", found.value),
                remedy,
            );
        }
    }
    fields.close();
    let mut kinds: BTreeSet<Kind> = kinds.into_iter().map(|found| found.value).collect();
    if !kinds_are_stated {
        kinds.insert(Kind::Build);
    }
    Some(Rule {
        name: name?,
        runner: runner?,
        gitlab: gitlab?,
        projects: projects.into_iter().collect(),
        kinds,
        refs: refs.into_iter().map(|found| found.value).collect(),
        images: images.into_iter().map(|found| found.value).collect(),
        role,
        selectable: selectable.into_iter().map(|found| found.value).collect(),
        external_id: external_id.map(|found| found.value),
        session,
        paths,
    })
}

/// What narrows a rule's sessions. STS counts the inline policy and the managed ones' ARNs together.
fn read_session(fields: &mut Fields<'_, '_>, home: &Home) -> Session {
    let policy = fields.parse(
        "session_policy",
        SessionPolicy::parse,
        "write a policy document as one JSON text; it only takes rights away from the role",
    );
    let policy_arns = fields.parse_all(
        "policy_arns",
        |text| PolicyArn::parse(text, home),
        "write the ARN of a managed policy of aws.account, or of AWS: arn:aws:iam::aws:policy/ReadOnlyAccess",
    );
    if let Some(found) = policy_arns.get(POLICY_ARNS_MAX) {
        let problem = format!("more than {POLICY_ARNS_MAX} managed policies");
        fields.fault(found, &problem, "merge some of them into one policy; STS takes no more");
    }
    let has_duration = fields.is_present("duration_seconds");
    let seconds = fields.number("duration_seconds", 900..43_201, 3600);
    let place = policy.as_ref().map(|found| (found.at.clone(), found.field.clone()));
    let session = Session {
        policy: policy.map(|found| found.value),
        policy_arns: policy_arns.into_iter().map(|found| found.value).collect(),
        duration_seconds: u32::try_from(seconds).ok().filter(|_| has_duration),
    };
    if let (Some((at, field)), true) = (place, session.length() > SESSION_POLICIES_MAX) {
        let problem = format!(
            "{} characters together with policy_arns, and STS takes {SESSION_POLICIES_MAX}",
            session.length()
        );
        let found = Found { value: (), at, field };
        fields.fault(&found, &problem, "shorten the policy; white space counts too");
    }
    session
}

fn parse_name(text: &str) -> Result<String, &'static str> {
    let good = (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    if good { Ok(text.to_owned()) } else { Err("not a name") }
}
