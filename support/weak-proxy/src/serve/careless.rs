//! What a request may claim, and what it may be told, through an open hole. Without its hole each function leaves the request as it is.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use crate::answer::Answer;
use crate::config::Config;
use crate::hole::{Hole, Switches};
use crate::identity::Facts;
use crate::policy::{Grant, Refusal, Role};
use crate::request::Request;

/// Headers in which intermediaries name whom they speak for.
const FORWARDED: [&str; 5] = [
    "x-forwarded-for",
    "x-real-ip",
    "x-client-ip",
    "true-client-ip",
    "forwarded",
];

/// The method that counts.
pub(super) fn method<'a>(switches: &Switches, request: &'a Request) -> &'a str {
    let chosen = match switches.hole {
        Some(Hole::MethodOverride) => request.header("x-http-method-override").next(),
        _ => None,
    };
    chosen
        .and_then(|value| std::str::from_utf8(value).ok())
        .unwrap_or(&request.method)
}

/// The target that counts.
pub(super) fn target<'a>(switches: &Switches, target: &'a str) -> &'a str {
    match switches.hole {
        Some(Hole::AllowIpQuery) => target.split('?').next().unwrap_or_default(),
        _ => target,
    }
}

/// The address that the request claims to come from.
pub(super) fn claimed_address(switches: &Switches, request: &Request) -> Option<IpAddr> {
    match switches.hole? {
        Hole::ProxyProtocol => request.announced,
        Hole::AllowIpQuery => {
            let (_, query) = request.target.split_once('?')?;
            query.split('&').find_map(|pair| pair.strip_prefix("ip=")?.parse().ok())
        }
        Hole::TrustsForwardedFor => FORWARDED
            .iter()
            .flat_map(|name| request.header(name))
            .filter_map(|value| std::str::from_utf8(value).ok())
            .find_map(forwarded),
        _ => None,
    }
}

/// The first address of a list, plain or as `for=`, with or without port.
fn forwarded(value: &str) -> Option<IpAddr> {
    let first = value.split([',', ';']).next()?.trim();
    let plain = first
        .strip_prefix("for=")
        .or_else(|| first.strip_prefix("For="))
        .unwrap_or(first)
        .trim_matches('"');
    let with_port = || plain.parse::<SocketAddr>().ok().map(|address| address.ip());
    plain.trim_matches(['[', ']']).parse().ok().or_else(with_port)
}

/// The caller with labels of its own choice, where its container has none of the runner.
pub(super) fn claimed_labels(switches: &Switches, request: &Request, caller: &Facts) -> Option<Facts> {
    if !switches.open(Hole::LabelsFromHeader) || caller.label("managed").is_some() {
        return None;
    }
    let labels = serde_json::from_slice(request.header("x-container-labels").next()?).ok()?;
    Some(Facts {
        labels,
        ..caller.clone()
    })
}

/// A role that only the request names.
pub(super) fn grant(text: &str, config: &Config) -> Grant {
    Grant::plain(Role::from_anything(text, &config.aws))
}

/// The decision, or what the container was granted once.
pub(super) fn remembered(
    switches: &Switches,
    granted: &Mutex<HashMap<String, Grant>>,
    facts: &Facts,
    decision: Result<Grant, Refusal>,
) -> Result<Grant, Refusal> {
    if !switches.open(Hole::KeepsRemovedRules) {
        return decision;
    }
    let mut granted = granted.lock().unwrap_or_else(PoisonError::into_inner);
    match granted.get(&facts.container_id) {
        Some(grant) => Ok(grant.clone()),
        None => decision.inspect(|grant| {
            granted.insert(facts.container_id.clone(), grant.clone());
        }),
    }
}

/// Why, with everything that the operator would like to know.
pub(super) fn complaint(refusal: Refusal, container: &str, config: &Config) -> String {
    let allowed: Vec<&str> = config
        .rules
        .iter()
        .flat_map(|rule| rule.role.iter().chain(&rule.selectable))
        .map(String::as_str)
        .collect();
    format!("{refusal}: container {container}, allowed are {}", allowed.join(", "))
}

/// A page for operators: who has which role.
pub(super) fn admin(sessions: &[String]) -> Answer {
    Answer::text(format!("# sessions {}\n{}", sessions.len(), sessions.concat()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_outlives_its_rule_only_with_its_switch() {
        let facts = Facts::of_job(20, 1, "build", &[]);
        let aws = toml::from_str::<Config>("[aws]\naccount = \"123456789012\"\nregion = \"eu-central-1\"\n")
            .unwrap()
            .aws;
        let grant = Grant::plain(Role::from_anything("deploy", &aws));
        for (hole, kept) in [(None, false), (Some(Hole::KeepsRemovedRules), true)] {
            let switches = Switches {
                hole,
                default_role: None,
            };
            let granted = Mutex::default();
            let ask = |decision| remembered(&switches, &granted, &facts, decision);
            assert_eq!(ask(Err(Refusal::NoRule)), Err(Refusal::NoRule), "{hole:?}");
            assert_eq!(ask(Ok(grant.clone())), Ok(grant.clone()), "{hole:?}");
            assert_eq!(ask(Err(Refusal::NoRule)).is_ok(), kept, "{hole:?}");
        }
    }
}
