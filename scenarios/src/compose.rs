//! Writes the files that a run's programs read: the simulated account with every case's roles, and the operator's policy with every case's rules.

use toml::{Table, Value};

use crate::case::model::{Case, Defence, Job, Opening, Rule};
use crate::cast::{
    ACCOUNT, AUDIENCE, Cast, GITLAB, HOST_ROLE, IDS, OTHER_AUDIENCE, REGION, STRANGER, role_arn, world_role,
};
use crate::expand::expand;

/// How the instance answers metadata requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceSettings {
    /// `optional` leaves IMDSv1 on.
    pub http_tokens: &'static str,
    /// `HttpPutResponseHopLimit`.
    pub hop_limit: u8,
    /// The instance has an instance profile.
    pub has_role: bool,
    /// What its role may do, with anything.
    pub actions: &'static [&'static str],
}

impl InstanceSettings {
    /// The metadata options of an instance under a defence. Where another defence has to do the work they are as open as guides for containers advise.
    pub const fn of(defence: Defence) -> Self {
        let (http_tokens, hop_limit, has_role) = match defence {
            Defence::None
            | Defence::Firewall
            | Defence::Proxy
            | Defence::FirewallAndProxy
            | Defence::Oidc
            | Defence::OidcOnly
            | Defence::External => ("optional", 2, true),
            Defence::HopLimit => ("required", 1, true),
            Defence::HopLimit2 => ("required", 2, true),
            Defence::HopLimitV1 => ("optional", 1, true),
            Defence::InstanceProfile => ("optional", 2, false),
        };
        Self {
            http_tokens,
            hop_limit,
            has_role,
            // Proxies that take a role's bare name ask IAM for its ARN, and say that they need this.
            actions: if matches!(defence, Defence::External) {
                &["sts:AssumeRole", "iam:GetRole"]
            } else {
                &["sts:AssumeRole"]
            },
        }
    }
}

/// The world file of a run: one account, one instance, the roles of these cases, and who issues ID tokens. `opening` puts weak roles in the place of sound
/// ones.
pub fn world(cases: &[&Case], settings: &InstanceSettings, opening: Option<&Opening>) -> String {
    let host = role_arn(HOST_ROLE);
    let mut roles = vec![table([
        ("name", text(HOST_ROLE)),
        (
            "trust",
            policy(
                "Allow",
                "Principal",
                table([("Service", text("ec2.amazonaws.com"))]).into(),
                &["sts:AssumeRole"],
                None,
            ),
        ),
        // As wide as it can be: what keeps a job from another role must be the defence, not luck with the instance's policy.
        ("policy", policy("Allow", "Resource", text("*"), settings.actions, None)),
    ])];
    for case in cases {
        let cast = Cast::new(case);
        let weak = match opening {
            Some(Opening::Role(number)) => number.checked_sub(1).and_then(|at| case.hole.roles.get(at)),
            Some(Opening::Sts(_) | Opening::Runner(_)) | None => None,
        };
        for role in &case.roles {
            let weak = weak.filter(|weak| weak.name == role.name);
            // Checked when the case was read: nothing in it is unknown.
            let written = |text: &String| expand(text, |name| cast.known(case, name)).unwrap_or_default();
            let stated = weak.and_then(|weak| weak.trust.as_ref()).or(role.trust.as_ref());
            let identity = weak.and_then(|weak| weak.policy.as_ref()).or(role.policy.as_ref());
            let principal = table([("AWS", text(&host))]).into();
            let effect = if role.untrusting { "Deny" } else { "Allow" };
            let condition = role
                .external_id
                .as_ref()
                .map(|id| table([("StringEquals", table([("sts:ExternalId", text(id))]).into())]));
            let mut entry = table([
                ("name", text(&world_role(&case.id, &role.name))),
                (
                    "trust",
                    match stated {
                        Some(stated) => text(&written(stated)),
                        None => policy(effect, "Principal", principal, &["sts:AssumeRole"], condition),
                    },
                ),
            ]);
            if let Some(identity) = identity {
                entry.insert("policy".to_owned(), text(&written(identity)));
            }
            if let Some(seconds) = role.max_session_seconds {
                entry.insert("max_session_seconds".to_owned(), Value::Integer(seconds.into()));
            }
            roles.push(entry);
        }
    }
    let world = table([
        (
            "account",
            table([
                ("id", text(ACCOUNT)),
                ("region", text(REGION)),
                ("partition", text("aws")),
            ])
            .into(),
        ),
        (
            "instance",
            table([
                ("id", text("i-0123456789abcdef0")),
                ("profile", text(if settings.has_role { "lab-host-profile" } else { "" })),
                ("role", text(if settings.has_role { HOST_ROLE } else { "" })),
                ("http_tokens", text(settings.http_tokens)),
                ("hop_limit", Value::Integer(settings.hop_limit.into())),
                ("endpoint", text("enabled")),
                ("ipv6", Value::Boolean(true)),
                // A canary in a line of its own: a real signature holds none.
                ("identity_signatures", text("marked")),
                (
                    "user_data",
                    text("#!/bin/sh\n# what an operator keeps here is nobody else's business\n"),
                ),
                ("tags", table([("Name", text("ci-runner"))]).into()),
            ])
            .into(),
        ),
        ("role", Value::Array(roles.into_iter().map(Value::Table).collect())),
        (
            "oidc_provider",
            Value::Array(vec![provider(GITLAB, false), provider(IDS, true)]),
        ),
        ("issuer", Value::Array([GITLAB, STRANGER, IDS].map(issuer).to_vec())),
    ]);
    world.to_string()
}

fn url(host: &str) -> Value {
    text(&format!("https://{host}"))
}

fn provider(host: &str, custom_claims: bool) -> Value {
    let audiences = [AUDIENCE, OTHER_AUDIENCE].map(text);
    table([
        ("url", url(host)),
        ("client_ids", Value::Array(audiences.to_vec())),
        ("custom_claims", Value::Boolean(custom_claims)),
    ])
    .into()
}

fn issuer(host: &str) -> Value {
    table([("url", url(host)), ("kind", text("gitlab"))]).into()
}

/// The operator's configuration of the proxy: one rule for each `[[rule]]` of these cases, but for those for jobs that are `withdrawn`, by case and
/// job. `image_id` knows the id of a job's image.
pub fn proxy_config(
    cases: &[Case],
    withdrawn: impl Fn(&str, &str) -> bool,
    image_id: impl Fn(&str, &Job) -> String,
    engine_socket: &str,
    sts: &str,
    port: u16,
    metrics: &str,
) -> String {
    let mut rules = Vec::new();
    for case in cases {
        let cast = Cast::new(case);
        let kept = |(_, rule): &(usize, &Rule)| !withdrawn(&case.id, &rule.job);
        for (index, rule) in case.rules.iter().enumerate().filter(kept) {
            let project = cast.jobs.get(&rule.job).map_or(0, |(project, _)| *project);
            let mut entry = table([("name", text(&format!("{}-{index}", case.id.to_lowercase())))]);
            match &rule.container {
                Some(label) => entry.extend(table([("container", table([("label", text(label))]).into())])),
                None => entry.extend(table([
                    ("runner", text(&cast.runner_id)),
                    ("gitlab", text(GITLAB)),
                    ("project", Value::Integer(project.try_into().unwrap_or(i64::MAX))),
                ])),
            }
            if !rule.kind.is_empty() {
                entry.insert("kind".to_owned(), list(&rule.kind));
            }
            if let Some(role) = &rule.role {
                entry.insert("role".to_owned(), text(&world_role(&case.id, role)));
            }
            if !rule.selectable.is_empty() {
                let names: Vec<String> = rule.selectable.iter().map(|role| world_role(&case.id, role)).collect();
                entry.insert("selectable".to_owned(), list(&names));
            }
            if !rule.refs.is_empty() {
                entry.insert("ref".to_owned(), list(&rule.refs));
            }
            let of = case.jobs.iter().filter(|job| rule.image_of.contains(&job.name));
            let images: Vec<String> = of.map(|job| image_id(&case.id, job)).collect();
            if !images.is_empty() {
                entry.insert("image".to_owned(), list(&images));
            }
            if let Some(id) = &rule.external_id {
                entry.insert("external_id".to_owned(), text(id));
            }
            if let Some(policy) = &rule.session_policy {
                entry.insert("session_policy".to_owned(), text(policy));
            }
            if !rule.policy_arns.is_empty() {
                entry.insert("policy_arns".to_owned(), list(&rule.policy_arns));
            }
            if let Some(seconds) = rule.duration_seconds {
                entry.insert("duration_seconds".to_owned(), Value::Integer(seconds.into()));
            }
            rules.push(Value::Table(entry));
        }
    }
    let config = table([
        (
            "listen",
            table([("port", Value::Integer(port.into())), ("metrics", text(metrics))]).into(),
        ),
        ("engine", table([("socket", text(engine_socket))]).into()),
        (
            "aws",
            table([
                ("account", text(ACCOUNT)),
                ("region", text(REGION)),
                ("sts_endpoint", text(sts)),
            ])
            .into(),
        ),
        // What is too old is so at once, or a scenario would wait for ten minutes.
        ("attestation", table([("grace_seconds", Value::Integer(0))]).into()),
        // The machine that the lab runs on may have a runner of its own, which is none of the instance's.
        ("runner", table([("config", text("off"))]).into()),
        ("rule", Value::Array(rules)),
    ]);
    config.to_string()
}

fn table<const N: usize>(entries: [(&str, Value); N]) -> Table {
    entries
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

fn text(value: &str) -> Value {
    Value::String(value.to_owned())
}

fn list(values: &[String]) -> Value {
    Value::Array(values.iter().map(|value| text(value)).collect())
}

/// A policy document with one statement; `subject` is `Principal` or `Resource`.
fn policy(effect: &str, subject: &str, value: Value, actions: &[&str], condition: Option<Table>) -> Value {
    let actions = match actions {
        [action] => text(action),
        several => Value::Array(several.iter().map(|action| text(action)).collect()),
    };
    let mut statement = table([("Effect", text(effect)), ("Action", actions)]);
    statement.insert(subject.to_owned(), value);
    if let Some(condition) = condition {
        statement.insert("Condition".to_owned(), condition.into());
    }
    table([
        ("Version", text("2012-10-17")),
        ("Statement", Value::Array(vec![statement.into()])),
    ])
    .into()
}
