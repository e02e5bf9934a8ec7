//! Ways that need no request: what the job's process holds, or could reach without the network. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::judge::{Got, Outcome, key_end};
use super::name::{RoleName, looks_secret};
use super::plan::foreign_address;
use super::surroundings::{OF_DISKS, Surroundings};
use super::way::{Way, held};

/// Capabilities with which a process of the host's own user namespace leaves its container, by the kernel's bit.
const ESCAPES: [(u8, &str); 4] = [
    (2, "DAC_READ_SEARCH"),
    (16, "SYS_MODULE"),
    (17, "SYS_RAWIO"),
    (21, "SYS_ADMIN"),
];
const SYS_ADMIN: u8 = 21;
const SYS_PTRACE: u8 = 19;
/// Capabilities with which a neighbour on a bridge is impersonated.
const SPOOFS: [(u8, &str); 2] = [(12, "NET_ADMIN"), (13, "NET_RAW")];
/// Directories of the host that no job has a use for, and whose holder has the host.
const HOST_DIRECTORIES: [&str; 6] = ["/etc", "/root", "/home", "/run", "/var/run", "/var/lib/docker"];
/// Variables that send SDKs elsewhere.
const ENDPOINTS: [&str; 5] = [
    "AWS_EC2_METADATA_SERVICE_ENDPOINT",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_IAM",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_STS",
];

/// Weighs all of them.
pub(super) fn weigh(around: &Surroundings) -> Vec<(Way, Outcome)> {
    vec![
        (held::KEYS, environment_keys(around)),
        (held::WEB_IDENTITY, web_identity(around)),
        (held::POD_TOKEN, found(around.pod_token, "pod-token", "a file")),
        (held::ID_TOKENS, id_tokens(around)),
        (held::ELSEWHERE, elsewhere(around)),
        (held::NO_PROXY, no_proxy(around)),
        (held::SDK_FILES, sdk_files(around)),
        (
            held::ENGINE_SOCKET,
            found(
                !around.engine_sockets.is_empty(),
                "engine",
                &around.engine_sockets.join(", "),
            ),
        ),
        (held::HOST_NETWORK, told(around.is_in_host_network(), "the host's own")),
        (held::HOST_PROCESSES, host_processes(around)),
        (held::CAPABILITIES, capabilities(around)),
        (held::SPOOFING, named(around, &SPOOFS)),
        (held::HOST_FILES, host_files(around)),
        (held::CGROUPS, cgroups(around)),
    ]
}

fn none() -> Outcome {
    Outcome::nothing("none here")
}

fn found(is_there: bool, what: &str, note: &str) -> Outcome {
    if is_there { Outcome::leak(what, note) } else { none() }
}

fn told(is_there: bool, note: &str) -> Outcome {
    if is_there { Outcome::notice(note) } else { none() }
}

fn environment_keys(around: &Surroundings) -> Outcome {
    let (Some(id), Some(_)) = (
        around.variable("AWS_ACCESS_KEY_ID"),
        around.variable("AWS_SECRET_ACCESS_KEY"),
    ) else {
        return none();
    };
    Outcome {
        key_ends_with: key_end(id),
        ..Outcome::leak("keys", "in the environment")
    }
}

fn web_identity(around: &Surroundings) -> Outcome {
    match around.variable("AWS_ROLE_ARN") {
        None => none(),
        Some(_) if !around.web_identity_token => Outcome::nothing("a role, no token"),
        Some(arn) => match RoleName::of_arn(arn) {
            Some(role) => Outcome::of(Got::Role(role), "not exchanged"),
            None => Outcome::leak("web-identity", "a token, no ARN"),
        },
    }
}

/// Whether it is a JWT of an issuer for an audience: what `id_tokens` makes, and no token of a job for its own server.
fn is_id_token(value: &str) -> bool {
    let mut parts = value.split('.');
    let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let claims = URL_SAFE_NO_PAD.decode(claims).ok();
    let claims = claims.and_then(|json| serde_json::from_slice::<Value>(&json).ok());
    claims.is_some_and(|claims| claims.get("iss").is_some() && claims.get("aud").is_some())
}

fn id_tokens(around: &Surroundings) -> Outcome {
    let names: Vec<&str> = around
        .environment
        .iter()
        .filter(|(name, value)| *name != "CI_JOB_TOKEN" && is_id_token(value))
        // A name is its author's to choose; no name that anybody needs looks like that.
        .map(|(name, _)| {
            if looks_secret(name) || name.len() > 64 {
                "?"
            } else {
                name
            }
        })
        .collect();
    told(!names.is_empty(), &names.join(", "))
}

fn elsewhere(around: &Surroundings) -> Outcome {
    let foreign = foreign_address(around).then_some("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    let set = ENDPOINTS.into_iter().filter(|name| around.variable(name).is_some());
    let names: Vec<&str> = set.chain(foreign).collect();
    told(!names.is_empty(), &names.join(", "))
}

fn no_proxy(around: &Surroundings) -> Outcome {
    let either = |upper: &str, lower: &str| {
        let value = around.variable(upper).or_else(|| around.variable(lower));
        value.map(str::to_owned)
    };
    let excepted = either("NO_PROXY", "no_proxy").unwrap_or_default();
    let covers = ["*", "169.254.169.254", "169.254.0.0/16", "169.254."];
    let is_excepted = excepted.split(',').any(|one| covers.contains(&one.trim()));
    told(
        either("HTTP_PROXY", "http_proxy").is_some() && !is_excepted,
        "the endpoint is not excepted",
    )
}

fn sdk_files(around: &Surroundings) -> Outcome {
    let names = around.sdk_settings.join(", ");
    let only_tells = |setting: &String| {
        matches!(
            setting.as_str(),
            "role_arn" | "credential_source" | "sso_session" | "aws_access_key_id"
        )
    };
    if around.sdk_settings.iter().all(only_tells) {
        told(!names.is_empty(), &names)
    } else {
        Outcome::leak("aws-files", &names)
    }
}

fn has(around: &Surroundings, bit: u8) -> bool {
    around.capabilities() >> bit & 1 == 1
}

fn names(around: &Surroundings, of: &[(u8, &'static str)]) -> Vec<&'static str> {
    of.iter()
        .filter(|(bit, _)| has(around, *bit))
        .map(|(_, name)| *name)
        .collect()
}

fn named(around: &Surroundings, of: &[(u8, &'static str)]) -> Outcome {
    let names = names(around, of);
    told(!names.is_empty(), &names.join(", "))
}

fn capabilities(around: &Surroundings) -> Outcome {
    let names = names(around, &ESCAPES);
    let note = names.join(", ");
    if around.is_in_user_namespace() {
        return told(!names.is_empty(), &format!("{note}, in a user namespace"));
    }
    found(!names.is_empty(), "host", &note)
}

fn host_processes(around: &Surroundings) -> Outcome {
    let may_look = (has(around, SYS_PTRACE) || has(around, SYS_ADMIN)) && !around.is_in_user_namespace();
    match (around.sees_host_processes(), may_look) {
        (false, _) => none(),
        (true, true) => Outcome::leak("host", "their environments too"),
        (true, false) => Outcome::notice("to be seen, not to be read"),
    }
}

fn host_files(around: &Surroundings) -> Outcome {
    let host_proc = |kind: &str, at: &str| kind == "proc" && !at.starts_with("/proc");
    let directory = |kind: &str, root: &str| OF_DISKS.contains(&kind) && HOST_DIRECTORIES.contains(&root);
    let mounted = around
        .mounts()
        .filter(|mount| directory(mount.kind, mount.root) || host_proc(mount.kind, mount.at))
        .count();
    let all = mounted + around.host_roots;
    found(all > 0, "host", &format!("{all} mounted"))
}

fn cgroups(around: &Surroundings) -> Outcome {
    let writable = around
        .mounts()
        .any(|mount| mount.kind.starts_with("cgroup") && mount.is_writable);
    match (writable, has(around, SYS_ADMIN) && !around.is_in_user_namespace()) {
        (false, _) => none(),
        (true, true) => Outcome::leak("host", "writable"),
        (true, false) => Outcome::notice("writable, without SYS_ADMIN"),
    }
}
