//! What narrows the sessions of a rule: a session policy, managed policies, a duration. Each is checked against the limits of STS before
//! STS is ever asked. Knows no file and no container.

use std::collections::BTreeSet;
use std::fmt;

use super::names::{Home, NameFault, is_role_character};

/// Characters that STS takes as session policies of one session, the inline one and the managed ones' ARNs together.
pub const SESSION_POLICIES_MAX: usize = 2048;
/// Managed policies that STS takes for one session.
pub const POLICY_ARNS_MAX: usize = 10;

/// An inline session policy, as STS is given it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionPolicy(String);

impl SessionPolicy {
    /// # Errors
    /// Unless the text is a JSON object with a statement, in the characters and the length that STS takes. What the statement means is
    /// judged by STS alone.
    pub fn parse(text: &str) -> Result<Self, String> {
        let length = text.chars().count();
        if length > SESSION_POLICIES_MAX {
            return Err(format!("{length} characters, and STS takes {SESSION_POLICIES_MAX}"));
        }
        if let Some(odd) = text.chars().find(|c| !matches!(c, '\t' | '\n' | '\r' | ' '..='\u{ff}')) {
            return Err(format!("STS takes no {odd:?} in a policy"));
        }
        let document: serde_json::Value = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
        match document.get("Statement") {
            Some(_) => Ok(Self(text.to_owned())),
            None => Err("not a policy: it has no Statement".to_owned()),
        }
    }

    /// The text, as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The ARN of a managed policy: the account's own, or one of AWS.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyArn(String);

impl PolicyArn {
    /// # Errors
    /// Unless the text is the ARN of a managed policy that some role of this home may have.
    pub fn parse(text: &str, home: &Home) -> Result<Self, NameFault> {
        let mut parts = text.splitn(6, ':');
        let (arn, partition, service) = (parts.next(), parts.next(), parts.next());
        let (region, account, resource) = (parts.next(), parts.next(), parts.next());
        let path = resource.and_then(|resource| resource.strip_prefix("policy/"));
        let (Some("arn"), Some("iam"), Some(""), Some(path)) = (arn, service, region, path) else {
            return Err(NameFault::PolicyArn);
        };
        let plain = |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(is_role_character);
        let name = path.rsplit('/').next().unwrap_or_default();
        if !path.split('/').all(plain) || name.len() > 128 || path.len() > 640 {
            return Err(NameFault::PolicyArn);
        }
        if partition != Some(home.partition.as_str()) {
            return Err(NameFault::ForeignPartition);
        }
        if !account.is_some_and(|account| account == "aws" || home.has(account)) {
            return Err(NameFault::ForeignAccount);
        }
        Ok(Self(text.to_owned()))
    }

    /// The account whose roles it can narrow; absent: all of them, since it is one of AWS.
    #[must_use]
    pub fn account(&self) -> Option<&str> {
        self.0.split(':').nth(4).filter(|account| *account != "aws")
    }

    /// The text, as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PolicyArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What every session of a rule is asked for with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Session {
    /// `Policy`
    pub policy: Option<SessionPolicy>,
    /// `PolicyArns`
    pub policy_arns: BTreeSet<PolicyArn>,
    /// `DurationSeconds`, 900 to 43200; absent: `aws.session_seconds`.
    pub duration_seconds: Option<u32>,
}

impl Session {
    /// How many characters of policies STS is given.
    #[must_use]
    pub fn length(&self) -> usize {
        let policy = self.policy.as_ref().map_or(0, |policy| policy.0.chars().count());
        policy + self.policy_arns.iter().map(|arn| arn.0.len()).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::{PolicyArn, SESSION_POLICIES_MAX, SessionPolicy};
    use crate::config::{Account, Home, NameFault, Partition};

    fn home() -> Home {
        Home {
            partition: Partition::default(),
            account: Account::parse("123456789012").unwrap(),
            others: BTreeSet::new(),
        }
    }

    fn policy_of(length: usize) -> String {
        let frame = r#"{"Statement":[],"Id":""}"#;
        frame.replace(r#""Id":"""#, &format!(r#""Id":"{}""#, "x".repeat(length - frame.len())))
    }

    #[test]
    fn a_policy_is_json_with_a_statement_as_long_as_sts_takes() {
        for good in [
            policy_of(100),
            policy_of(SESSION_POLICIES_MAX),
            "{\n\t\"Statement\": {}\r\n}".to_owned(),
        ] {
            assert_eq!(
                SessionPolicy::parse(&good).map(|policy| policy.as_str().to_owned()),
                Ok(good)
            );
        }
        for (bad, why) in [
            (
                policy_of(SESSION_POLICIES_MAX + 1),
                "2049 characters, and STS takes 2048",
            ),
            (String::new(), "not JSON: EOF while parsing a value at line 1 column 0"),
            ("{}".to_owned(), "not a policy: it has no Statement"),
            ("[]".to_owned(), "not a policy: it has no Statement"),
            ("\"Statement\"".to_owned(), "not a policy: it has no Statement"),
            (
                "{\"Statement\":[]} {}".to_owned(),
                "not JSON: trailing characters at line 1 column 18",
            ),
            (
                "{\"Statement\":\"\u{200b}\"}".to_owned(),
                "STS takes no '\\u{200b}' in a policy",
            ),
        ] {
            assert_eq!(SessionPolicy::parse(&bad), Err(why.to_owned()));
        }
    }

    #[test]
    fn a_managed_policy_is_of_the_account_or_of_aws() {
        for good in [
            "arn:aws:iam::aws:policy/ReadOnlyAccess",
            "arn:aws:iam::aws:policy/job-function/ViewOnlyAccess",
            "arn:aws:iam::123456789012:policy/ci/deploy",
        ] {
            assert_eq!(PolicyArn::parse(good, &home()).unwrap().as_str(), good);
        }
        for (bad, fault) in [
            ("ReadOnlyAccess", NameFault::PolicyArn),
            ("arn:aws:iam::123456789012:role/deploy", NameFault::PolicyArn),
            ("arn:aws:iam::123456789012:policy/", NameFault::PolicyArn),
            ("arn:aws:iam::123456789012:policy/a//b", NameFault::PolicyArn),
            ("arn:aws:iam::123456789012:policy/../b", NameFault::PolicyArn),
            ("arn:aws:iam::123456789012:policy/a*", NameFault::PolicyArn),
            ("arn:aws:iam:eu-central-1:123456789012:policy/a", NameFault::PolicyArn),
            ("arn:aws-cn:iam::123456789012:policy/a", NameFault::ForeignPartition),
            ("arn:aws:iam::999999999999:policy/a", NameFault::ForeignAccount),
        ] {
            assert_eq!(PolicyArn::parse(bad, &home()), Err(fault), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_taken_is_within_the_limits_of_sts(text in "\\PC{0,40}|\\{\"Statement\":\"[ -~]{0,2100}\"\\}") {
            if let Ok(policy) = SessionPolicy::parse(&text) {
                prop_assert!(policy.as_str() == text && text.chars().count() <= SESSION_POLICIES_MAX);
                prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
            }
        }
    }
}
