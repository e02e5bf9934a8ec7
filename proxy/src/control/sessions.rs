//! How an operator takes away the sessions that STS has issued already: no proxy can call them back, but IAM can refuse them. Pure.

use std::time::{Duration, SystemTime};

use crate::credentials::write_time;

/// The name that IAM's own console gives to such a policy, so that it is found there.
const POLICY: &str = "AWSRevokeOlderSessions";

/// The command that refuses every session of a role that was issued until `now`. Those that come later are not touched, so that the proxy
/// must have forgotten its own before.
#[must_use]
pub fn refuse_older(role: &str, now: SystemTime) -> Option<String> {
    // STS counts whole seconds; what was issued within this one must not slip through.
    let until = write_time(now + Duration::from_secs(1))?;
    let document = serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Deny",
            "Action": "*",
            "Resource": "*",
            "Condition": {"DateLessThan": {"aws:TokenIssueTime": until}},
        }],
    });
    let name = role.rsplit('/').next()?;
    Some(format!(
        "aws iam put-role-policy --role-name '{name}' --policy-name {POLICY} \\\n  --policy-document '{document}'"
    ))
}

#[cfg(test)]
mod tests {
    use super::refuse_older;
    use crate::fixture::PausedClock;

    #[test]
    fn the_command_names_the_role_and_the_next_second() {
        let command = refuse_older("arn:aws:iam::123456789012:role/team/deploy", PausedClock::epoch()).unwrap();
        insta::assert_snapshot!(command, @r###"
        aws iam put-role-policy --role-name 'deploy' --policy-name AWSRevokeOlderSessions \
          --policy-document '{"Statement":[{"Action":"*","Condition":{"DateLessThan":{"aws:TokenIssueTime":"2027-01-15T08:00:01Z"}},"Effect":"Deny","Resource":"*"}],"Version":"2012-10-17"}'
        "###);
    }
}
