//! What the fakes' ledgers must and must not hold: requests are attributed to scenarios by role, nonce and source, whenever they arrived.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

/// One request as a fake recorded it. Only what the oracle reads.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// Position in that fake's ledger.
    pub seq: u64,
    /// `imds` or `sts`.
    pub service: String,
    /// Address and port of the client.
    pub source: String,
    /// The method.
    #[serde(default)]
    pub method: String,
    /// The request target as received.
    #[serde(default)]
    pub target: String,
    /// The headers as received.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// What the fake understood.
    #[serde(default)]
    pub facts: BTreeMap<String, String>,
}

/// The header in which the probe names its scenario, so that a forwarded request can be recognised.
pub const NONCE_HEADER: &str = "x-lab-scenario";

/// Where requests of the lab may come from.
#[derive(Debug, Clone)]
pub struct Sources {
    /// Addresses of the instance itself.
    pub host: Vec<String>,
    /// Addresses that forwarded (jobs') traffic is translated to.
    pub jobs: Vec<String>,
}

/// What may be asked on behalf of a scenario.
#[derive(Debug, Clone, Default)]
pub struct Allowed {
    /// World role ARNs that the operator sanctions for some container of the scenario.
    pub roles: BTreeSet<String>,
    /// Jobs may reach the endpoint themselves (defence `none`).
    pub endpoint: bool,
    /// Most AssumeRole calls for one (role, session name, policies, duration); a credential cache needs one.
    pub calls_per_session: usize,
    /// The token request may be forwarded.
    pub forwards_tokens: bool,
    /// The proxy may ask the endpoint for more than credentials on its own behalf.
    pub asks_itself: bool,
}

/// A request that should not have been made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stray {
    /// The scenario it belongs to; `None` if nothing tells.
    pub scenario: Option<String>,
    /// What was seen, without secrets.
    pub what: String,
}

/// Requests of the instance itself (the proxy's base credentials) that every proxy needs.
fn is_base_request(entry: &Entry) -> bool {
    let path = entry.target.as_str();
    match entry.method.as_str() {
        "PUT" => path == "/latest/api/token",
        "GET" => {
            let listing = "/latest/meta-data/iam/security-credentials";
            // aws-config asks the extended path first where it knows it.
            [listing, "/latest/meta-data/iam/security-credentials-extended"]
                .iter()
                .any(|base| {
                    path.strip_prefix(base).is_some_and(|rest| {
                        rest.is_empty()
                            || (rest.starts_with('/') && !rest.get(1..).unwrap_or("").contains(['/', '.', '%']))
                    })
                })
                || path == "/latest/meta-data/placement/region"
        }
        _ => false,
    }
}

/// Whether a request of the instance itself, for whichever scenario, is none of a job's.
fn is_tolerated(entry: &Entry, nonce: Option<&str>, scenarios: &BTreeMap<String, Allowed>) -> bool {
    match nonce {
        Some(id) => {
            let forwards = scenarios.get(id).is_some_and(|allowed| allowed.forwards_tokens);
            forwards && entry.method == "PUT" && entry.target == "/latest/api/token"
        }
        None => is_base_request(entry) || scenarios.values().any(|allowed| allowed.asks_itself),
    }
}

/// Finds what should not be in the ledgers. `scenarios` maps a scenario's id to what it may cause; `roles` maps a world role's ARN to its scenario.
pub fn strays(
    entries: &[Entry],
    sources: &Sources,
    scenarios: &BTreeMap<String, Allowed>,
    roles: &BTreeMap<String, String>,
) -> Vec<Stray> {
    let mut found = Vec::new();
    let mut sessions: BTreeMap<(&str, [&str; 4]), usize> = BTreeMap::new();
    for entry in entries {
        let host = sources.host.iter().any(|address| from(entry, address));
        let job = sources.jobs.iter().any(|address| from(entry, address));
        let nonce = entry
            .headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(NONCE_HEADER))
            .map(|(_, value)| value.clone());
        if entry.service == "imds" {
            // A defence that lets jobs through lets all of them through.
            if scenarios.values().any(|allowed| allowed.endpoint) {
                continue;
            }
            if job {
                found.push(Stray {
                    scenario: nonce,
                    what: format!("a job reached the endpoint: {} {}", entry.method, cut(&entry.target)),
                });
            } else if host && !is_tolerated(entry, nonce.as_deref(), scenarios) {
                found.push(Stray {
                    scenario: nonce,
                    what: format!("forwarded to the endpoint: {} {}", entry.method, cut(&entry.target)),
                });
            }
            continue;
        }
        if entry.facts.get("action").map(String::as_str) != Some("AssumeRole") {
            continue;
        }
        let Some(arn) = entry.facts.get("role_arn") else {
            continue;
        };
        let scenario = roles.get(arn);
        let allowed = scenario.and_then(|id| scenarios.get(id));
        let session = ["session_name", "policy", "policy_arns", "duration"]
            .map(|fact| entry.facts.get(fact).map_or("", String::as_str));
        if !host {
            // A job that assumes a role with its own credentials is LIFE-12's subject, judged there by what STS answers.
            continue;
        }
        let calls = sessions.entry((arn, session)).or_default();
        *calls += 1;
        match allowed {
            Some(allowed) if allowed.roles.contains(arn) => {
                if *calls == allowed.calls_per_session + 1 {
                    found.push(Stray {
                        scenario: scenario.cloned(),
                        what: format!(
                            "more than {} AssumeRole calls for one session of {}",
                            allowed.calls_per_session,
                            cut(arn)
                        ),
                    });
                }
            }
            Some(_) | None => {
                found.push(Stray {
                    scenario: scenario.cloned(),
                    what: format!("AssumeRole for {}, which nobody sanctioned", cut(arn)),
                });
            }
        }
    }
    found
}

fn from(entry: &Entry, address: &str) -> bool {
    entry
        .source
        .rsplit_once(':')
        .is_some_and(|(host, _)| host.trim_matches(['[', ']']).trim_start_matches("::ffff:") == address)
}

/// Targets are the attacker's text: escaped and cut before a person reads them.
fn cut(text: &str) -> String {
    let escaped: String = text.escape_debug().take(160).collect();
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(service: &str, source: &str, method: &str, target: &str, facts: &[(&str, &str)]) -> Entry {
        // What the instance itself asks carries no scenario's name.
        let headers = if source.contains("10.200.0.2") {
            Vec::new()
        } else {
            vec![("X-Lab-Scenario".to_owned(), "ROLE-01".to_owned())]
        };
        Entry {
            seq: 1,
            service: service.to_owned(),
            source: source.to_owned(),
            method: method.to_owned(),
            target: target.to_owned(),
            headers,
            facts: facts
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    fn found(entries: &[Entry], endpoint: bool) -> Vec<String> {
        let sources = Sources {
            host: vec!["10.200.0.2".to_owned()],
            jobs: vec!["10.200.0.3".to_owned()],
        };
        let allowed = Allowed {
            roles: BTreeSet::from(["arn:own".to_owned()]),
            endpoint,
            calls_per_session: 1,
            ..Allowed::default()
        };
        let scenarios = BTreeMap::from([("ROLE-01".to_owned(), allowed)]);
        let roles = BTreeMap::from([
            ("arn:own".to_owned(), "ROLE-01".to_owned()),
            ("arn:other".to_owned(), "ROLE-01".to_owned()),
        ]);
        strays(entries, &sources, &scenarios, &roles)
            .into_iter()
            .map(|stray| format!("{}: {}", stray.scenario.unwrap_or_default(), stray.what))
            .collect()
    }

    #[test]
    fn base_credentials_may_be_fetched_by_the_instance_only() {
        let list = "/latest/meta-data/iam/security-credentials/";
        assert!(found(&[entry("imds", "10.200.0.2:1", "GET", list, &[])], false).is_empty());
        assert_eq!(
            found(&[entry("imds", "10.200.0.3:1", "GET", list, &[])], false),
            ["ROLE-01: a job reached the endpoint: GET /latest/meta-data/iam/security-credentials/"]
        );
        assert!(found(&[entry("imds", "10.200.0.3:1", "GET", list, &[])], true).is_empty());
    }

    #[test]
    fn a_forwarded_path_is_told() {
        for target in [
            "/latest/user-data",
            "/./latest/api/token",
            "/latest/meta-data/iam/security-credentials/lab-host/x",
        ] {
            assert_eq!(
                found(&[entry("imds", "[::ffff:10.200.0.2]:1", "GET", target, &[])], false).len(),
                1,
                "{target}"
            );
        }
    }

    #[test]
    fn only_sanctioned_roles_are_assumed_and_only_as_often_as_needed() {
        let own = [("action", "AssumeRole"), ("role_arn", "arn:own"), ("session_name", "s")];
        let other = [
            ("action", "AssumeRole"),
            ("role_arn", "arn:other"),
            ("session_name", "s"),
        ];
        let call = |facts: &[(&str, &str)]| entry("sts", "10.200.0.2:1", "POST", "/", facts);
        assert!(found(&[call(&own)], false).is_empty());
        assert_eq!(
            found(&[call(&own), call(&own)], false),
            ["ROLE-01: more than 1 AssumeRole calls for one session of arn:own"]
        );
        let narrowed = [&own[..], &[("policy", "{}")]].concat();
        assert!(found(&[call(&own), call(&narrowed)], false).is_empty());
        assert_eq!(found(&[call(&narrowed), call(&own), call(&narrowed)], false).len(), 1);
        assert_eq!(
            found(&[call(&other)], false),
            ["ROLE-01: AssumeRole for arn:other, which nobody sanctioned"]
        );
    }
}
