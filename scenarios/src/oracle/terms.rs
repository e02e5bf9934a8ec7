//! What the operator asks of the sessions of a rule, and whether a session is such a one. Whoever gets another rule's session has its rights,
//! however right its role is.

use std::collections::BTreeSet;

use fake_sts::provenance::Provenance;
use sha2::{Digest as _, Sha256};

use crate::case::model::Rule;

/// What a session was to be asked for with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    policy_sha256: Option<String>,
    policy_arns: BTreeSet<String>,
    /// Any, where the rule says nothing of it.
    duration_seconds: Option<u32>,
}

impl Terms {
    /// Those of a rule.
    pub fn of(rule: &Rule) -> Self {
        Self {
            policy_sha256: rule.session_policy.as_deref().map(digest),
            policy_arns: rule.policy_arns.iter().cloned().collect(),
            duration_seconds: rule.duration_seconds,
        }
    }

    /// Whether a session was issued on them.
    pub fn are_those_of(&self, session: &Provenance) -> bool {
        session.policy_sha256 == self.policy_sha256
            && session.policy_arns.iter().eq(&self.policy_arns)
            && self
                .duration_seconds
                .is_none_or(|seconds| seconds == session.duration_seconds)
    }
}

/// As the fake STS writes it.
fn digest(text: &str) -> String {
    let bytes = Sha256::digest(text);
    bytes
        .iter()
        .fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_the_terms_of_its_rule_if_nothing_of_them_differs() {
        let rule: Rule = toml::from_str(
            "job = \"a\"\nsession_policy = \"{}\"\npolicy_arns = [\"arn:b\", \"arn:a\"]\nduration_seconds = 900",
        )
        .unwrap();
        let issued = |policy: Option<&str>, arns: &[&str], seconds: u32| -> Provenance {
            serde_json::from_value(serde_json::json!({
                "role_arn": "r", "session_name": "s", "requester": "r", "requester_key": "k", "nonce": "n",
                "issued_at": "2026-01-01T00:00:00Z", "via": "assume-role", "duration_seconds": seconds,
                "policy_sha256": policy, "policy_arns": arns
            }))
            .unwrap()
        };
        let own = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        let terms = Terms::of(&rule);
        assert!(terms.are_those_of(&issued(Some(own), &["arn:a", "arn:b"], 900)));
        assert!(!terms.are_those_of(&issued(None, &["arn:a", "arn:b"], 900)));
        assert!(!terms.are_those_of(&issued(Some(own), &["arn:a"], 900)));
        assert!(!terms.are_those_of(&issued(Some(own), &["arn:a", "arn:b"], 3600)));
        let free = Terms::of(&Rule {
            duration_seconds: None,
            ..rule
        });
        assert!(free.are_those_of(&issued(Some(own), &["arn:a", "arn:b"], 3600)));
    }
}
