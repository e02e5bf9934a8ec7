//! One JSON line for each decision, refusals included (P15), and a bound on how many a container can cause. Holds no secret and no text
//! that a container chose freely: paths appear as classes, names as what policy verified.

mod limit;
mod writer;

use serde::Serialize;

pub use limit::{Allowance, Limiter};
pub use writer::{AuditLog, Sink, open};

/// What is recorded of a decision. Absent is what was not known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Record<'r> {
    /// When, in UTC.
    pub time: String,
    /// The peer's address and port.
    pub client: String,
    /// The container's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<&'r str>,
    /// The job's kind of container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// The GitLab server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gitlab: Option<&'r str>,
    /// The runner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runner: Option<&'r str>,
    /// The project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<u64>,
    /// The pipeline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<u64>,
    /// The job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<u64>,
    /// The rule that matched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<&'r str>,
    /// The role that the container may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<&'r str>,
    /// The session's name at STS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<&'r str>,
    /// The access key that the container was given, to be joined with CloudTrail's `userIdentity.accessKeyId`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key: Option<&'r str>,
    /// What was asked: a class, not the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<&'static str>,
    /// The status of the answer.
    pub status: u16,
    /// `granted`, or why not.
    pub reason: &'static str,
    /// A sentence where the word does not say all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Records of this caller that were left out since the last one.
    #[serde(skip_serializing_if = "is_zero")]
    pub suppressed: u64,
}

/// What is recorded of an operator's order. It is told from a decision by `order`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Action {
    /// When, in UTC.
    pub time: String,
    /// `revoke`, `lift` or `list`.
    pub order: String,
    /// Whom it means.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The user who gave it.
    pub user: u32,
    /// The process that gave it, if the kernel told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<i32>,
    /// Whether it changed anything.
    pub is_change: bool,
    /// Sets of cached credentials that are forgotten.
    pub forgotten: usize,
    /// Why it was not obeyed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl Action {
    /// One line of JSON, with its line end.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Record<'_> {
    /// One line of JSON, with its line end.
    #[must_use]
    pub fn line(&self) -> String {
        // A record of texts and numbers always serialises.
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use super::{Action, Record};

    #[test]
    fn a_grant_and_a_refusal_are_one_line_each() {
        let grant = Record {
            time: "2026-11-21T10:00:00Z".to_owned(),
            client: "172.17.0.2:40000".to_owned(),
            container: Some("0123456789ab"),
            kind: Some("build"),
            gitlab: Some("gitlab.example.com"),
            runner: Some("Ab3dEf9_x"),
            project: Some(20),
            pipeline: Some(574),
            job: Some(302),
            rule: Some("deploy"),
            role: Some("arn:aws:iam::123456789012:role/deploy"),
            session: Some("20-302-Ab3dEf9_x"),
            access_key: Some("ASIAIOSFODNN7EXAMPLE"),
            route: Some("credentials"),
            status: 200,
            reason: "granted",
            detail: None,
            suppressed: 0,
        };
        insta::assert_snapshot!(grant.line(), @r###"{"time":"2026-11-21T10:00:00Z","client":"172.17.0.2:40000","container":"0123456789ab","kind":"build","gitlab":"gitlab.example.com","runner":"Ab3dEf9_x","project":20,"pipeline":574,"job":302,"rule":"deploy","role":"arn:aws:iam::123456789012:role/deploy","session":"20-302-Ab3dEf9_x","access_key":"ASIAIOSFODNN7EXAMPLE","route":"credentials","status":200,"reason":"granted"}"###);
        let refusal = Record {
            time: "2026-11-21T10:00:00Z".to_owned(),
            client: "172.17.0.3:40001".to_owned(),
            status: 403,
            reason: "unknown-address",
            suppressed: 7,
            ..Record::default()
        };
        insta::assert_snapshot!(refusal.line(), @r###"{"time":"2026-11-21T10:00:00Z","client":"172.17.0.3:40001","status":403,"reason":"unknown-address","suppressed":7}"###);
    }

    #[test]
    fn an_order_is_one_line() {
        let action = Action {
            time: "2026-11-21T10:00:00Z".to_owned(),
            order: "revoke".to_owned(),
            subject: Some("job 302".to_owned()),
            user: 0,
            process: Some(7),
            is_change: true,
            forgotten: 2,
            refused: None,
        };
        insta::assert_snapshot!(action.line(), @r###"{"time":"2026-11-21T10:00:00Z","order":"revoke","subject":"job 302","user":0,"process":7,"is_change":true,"forgotten":2}"###);
    }

    #[test]
    fn a_line_end_in_a_value_stays_inside_the_line() {
        let record = Record {
            rule: Some("a\r\nb\u{1b}\u{0}"),
            ..Record::default()
        };
        assert_eq!(record.line().matches(['\n', '\r', '\u{1b}', '\0']).count(), 1);
    }
}
