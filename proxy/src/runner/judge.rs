//! What in the runner's file lets a job forge the labels that rules begin with, and what is unwise.

use super::document::At;
use super::{Document, Examined, Runner};
use crate::config::{Config, Fault, RUNNER_PREFIX, Shared};

/// What the runner itself sets, below the prefix. Services get a copy of every other label below it, so that the bare name is enough.
const OWN: [&str; 17] = [
    "managed",
    "type",
    "runner.id",
    "runner.local_id",
    "runner.system_id",
    "project.id",
    "project.runner_id",
    "job.id",
    "job.url",
    "job.sha",
    "job.before_sha",
    "job.ref",
    "job.timeout",
    "pipeline.id",
    "service",
    "service.version",
    "wait",
];
/// Sockets over which a job makes containers with whatever labels it likes.
const SOCKETS: [&str; 6] = [
    "/run/docker.sock",
    "/run/containerd",
    "/run/podman",
    "/run/user",
    "/run/crio",
    "/run/metadata-proxy",
];
/// Each of them is root on the host, or near it.
const MIGHTY: [&str; 9] = [
    "ALL",
    "SYS_ADMIN",
    "SYS_MODULE",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "DAC_READ_SEARCH",
    "BPF",
    "NET_ADMIN",
    "MKNOD",
];

fn who(runner: &Runner) -> String {
    format!("runner {}", runner.short)
}

fn warn(file: &str, line: usize, runner: &Runner, words: &str) -> String {
    format!("{file}:{line}: {}: {words}", who(runner))
}

/// Labels that the file itself adds.
pub(super) fn labels(file: &str, document: &Document, examined: &mut Examined) {
    for runner in document.runners.iter().filter(|runner| runner.is_docker()) {
        for At {
            line,
            value: (key, value),
        } in &runner.labels
        {
            let fault = |problem: &str, remedy: &str| Fault {
                file: file.to_owned(),
                line: *line,
                field: format!("container_labels.{key:?} of {}", who(runner)),
                problem: problem.to_owned(),
                remedy: remedy.to_owned(),
            };
            if key.starts_with(RUNNER_PREFIX) || OWN.contains(&key.as_str()) {
                examined.faults.push(fault(
                    "takes the place of a label that the runner sets itself, and that rules rely on",
                    "remove it, or give it a name of its own",
                ));
            }
            if value.contains('$') {
                examined.faults.push(fault(
                    "the runner expands $ from the job's variables, so that the job's author chooses the label",
                    "write a literal value",
                ));
            }
        }
    }
}

/// Tokens that labels cannot tell apart.
pub(super) fn tokens(file: &str, document: &Document, examined: &mut Examined) {
    for (index, runner) in document.runners.iter().enumerate() {
        let mut earlier = document.runners.iter().take(index);
        // One token twice is one runner to GitLab, and one to the rules.
        let twin = earlier.find(|other| other.short == runner.short && !other.has_token_of(runner));
        if let (Some(twin), false) = (twin, runner.short.is_empty()) {
            examined.faults.push(Fault {
                file: file.to_owned(),
                line: runner.line,
                field: format!("token of {}", who(runner)),
                problem: format!(
                    "the runner of line {} has the same label runner.id: rules cannot tell them apart",
                    twin.line
                ),
                remedy: "have GitLab reset one of the tokens".to_owned(),
            });
        }
    }
}

/// Volumes that hold an engine's socket.
pub(super) fn mounts(file: &str, document: &Document, examined: &mut Examined) {
    for runner in document.runners.iter().filter(|runner| runner.is_docker()) {
        for At { line, value } in &runner.volumes {
            let Some((source, _)) = value.split_once(':') else {
                continue;
            };
            if holds_socket(source) {
                examined.faults.push(Fault {
                    file: file.to_owned(),
                    line: *line,
                    field: format!("volumes of {}", who(runner)),
                    problem: format!("{source} gives jobs the engine's socket, and with it containers with any label"),
                    remedy:
                        "remove the volume; build images with a tool that needs no engine, or in a machine of its own"
                            .to_owned(),
                });
            }
        }
    }
}

/// Whether a place on the host is an engine's socket, or has one below it.
fn holds_socket(source: &str) -> bool {
    let plain = format!(
        "/{}",
        source
            .split('/')
            .filter(|part| !matches!(*part, "" | "."))
            .collect::<Vec<_>>()
            .join("/")
    );
    if source.split('/').any(|part| part == "..") || !source.starts_with('/') {
        // Not a place that can be read from its text; a named volume has no slash.
        return source.contains('/');
    }
    let plain = match plain.strip_prefix("/var/run") {
        Some("") => "/run".to_owned(),
        Some(rest) if rest.starts_with('/') => format!("/run{rest}"),
        Some(_) | None => plain,
    };
    let is_within =
        |inner: &str, outer: &str| outer == "/" || inner == outer || inner.starts_with(&format!("{outer}/"));
    plain.ends_with(".sock")
        || plain == "/var"
        || SOCKETS
            .iter()
            .any(|socket| is_within(socket, &plain) || is_within(&plain, socket))
}

/// What does not forge labels, and still undermines what they are for.
pub(super) fn unwise(file: &str, document: &Document, config: &Config, examined: &mut Examined) {
    for runner in document.runners.iter().filter(|runner| runner.is_docker()) {
        let mut add = |line: usize, words: &str| examined.warnings.push(warn(file, line, runner, words));
        if let Some(At { line, value }) = &runner.privileged {
            add(
                *line,
                &format!(
                    "{value} = true: a job can take the host, and every role with it; give such jobs a machine of their own"
                ),
            );
        }
        for At { line, value } in &runner.capabilities {
            let name = value.to_uppercase();
            if MIGHTY.contains(&name.trim_start_matches("CAP_")) {
                add(*line, &format!("cap_add {name}: with it a job can leave its container"));
            }
        }
        if let Some(At { line, value }) = &runner.network_mode
            && value == "host"
        {
            add(
                *line,
                "network_mode = \"host\": its jobs get no credentials, since no redirect sees what they ask",
            );
        }
        let names_role = |entry: &&At<String>| entry.value == "IAM_ROLE" || entry.value.starts_with("IAM_ROLE=");
        if let Some(At { line, .. }) = runner.environment.iter().find(names_role) {
            add(
                *line,
                "environment sets IAM_ROLE: a job can set it too, and with another value it is refused; a rule's role is what binds",
            );
        }
        if let Some(At { line, value }) = runner.pull_policies.iter().find(|policy| policy.value != "always") {
            add(
                *line,
                &format!(
                    "pull policy {value:?}: a job may run an image that another one left here; rules that name an image by digest are not affected"
                ),
            );
        }
        if runner.flags.iter().any(|flag| flag == "FF_SUSPENDABLE_ENVIRONMENTS") {
            add(
                runner.line,
                "FF_SUSPENDABLE_ENVIRONMENTS is on: containers are started again for another job with the labels of the first",
            );
        }
        let has_networks =
            runner.network_mode.is_some() || runner.flags.iter().any(|flag| flag == "FF_NETWORK_PER_BUILD");
        if config.bridges.shared == Shared::Allow && !has_networks {
            add(
                runner.line,
                "bridges.shared is \"allow\", and [runners.feature_flags] does not switch FF_NETWORK_PER_BUILD on: jobs share a bridge unfiltered",
            );
        }
    }
}

/// Rules that are for none of these runners.
pub(super) fn rules(file: &str, document: &Document, config: &Config, examined: &mut Examined) {
    let jobs = config
        .rules
        .iter()
        .filter_map(|rule| Some((&rule.name, rule.subject.jobs()?)));
    for (name, jobs) in jobs {
        let short = jobs.runner.to_string();
        let words = match document.runners.iter().find(|runner| runner.short == short) {
            None => format!("rule {name:?} is for runner {short}, which is not in {file}"),
            Some(runner) if runner.host != jobs.gitlab.as_str() => format!(
                "rule {name:?} is for runner {short} of {}, and {file}:{} registers it with {}",
                jobs.gitlab, runner.line, runner.host
            ),
            Some(runner) if !runner.is_docker() => format!(
                "rule {name:?} is for runner {short}, whose executor {:?} makes no containers ({file}:{})",
                runner.executor, runner.line
            ),
            Some(runner) if runner.is_elsewhere() => format!(
                "rule {name:?} is for runner {short}, whose jobs run on machines that it makes ({file}:{}): a proxy has to run on each of them",
                runner.line
            ),
            Some(_) => continue,
        };
        examined.warnings.push(words);
    }
}
