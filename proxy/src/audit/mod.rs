//! One JSON line for each decision, refusals included (P15), and for each key that STS gives, and a bound on how many a container can cause.
//! Holds no secret and no text that a container chose freely: paths appear as classes, names as what policy verified.

mod keys;
mod limit;
mod writer;

use serde::Serialize;

pub use keys::Given;
pub use limit::{Allowance, Limiter, Remainder};
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
    /// By what callers are told apart: `cgroup`, or a weaker level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attestation: Option<&'static str>,
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
    /// The container was not given this key before. Such a record is never left out.
    #[serde(skip_serializing_if = "is_false")]
    pub first: bool,
    /// What was asked: a class, not the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<&'static str>,
    /// The status of the answer.
    pub status: u16,
    /// `granted`, or why not; `observed` if it is given although the rules refuse it.
    pub reason: &'static str,
    /// Whether GitLab confirmed the job, where the rule has it asked and the answer depends on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified: Option<bool>,
    /// What is observed: the reason for which the rules refuse it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub would_be: Option<&'static str>,
    /// A sentence where the word does not say all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Records of this caller that were left out since the last one.
    #[serde(skip_serializing_if = "is_zero")]
    pub suppressed: u64,
}

/// What is recorded of a key that STS gave, whoever gets it. It is told from a decision by `issued`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Issue<'r> {
    /// When, in UTC.
    pub time: String,
    /// The access key.
    pub issued: &'r str,
    /// The role.
    pub role: &'r str,
    /// The session's name at STS.
    pub session: &'r str,
    /// When it ends, in UTC.
    pub expires: String,
}

/// What is recorded of a self-test that was made while the proxy serves. It is told from a decision by `self_test`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// When, in UTC.
    pub time: String,
    /// `passed` or `failed`.
    pub self_test: &'static str,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What is recorded of records that were left out and that no later one tells of. It is told from a decision by having neither `status` nor
/// `order`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Silence<'r> {
    /// When, in UTC.
    pub time: &'r str,
    /// Who caused them: a container's id, or the address of somebody who could not be tied to one. Absent: many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<&'r str>,
    /// How many.
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
    /// Why a restart of the proxy will undo it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unkept: Option<String>,
}

/// One line of JSON, with its line end. Records of texts and numbers always serialise.
fn line(record: &impl Serialize) -> String {
    let mut line = serde_json::to_string(record).unwrap_or_default();
    line.push('\n');
    line
}

impl Action {
    /// One line of JSON, with its line end.
    #[must_use]
    pub fn line(&self) -> String {
        line(self)
    }
}

impl Issue<'_> {
    /// One line of JSON, with its line end.
    #[must_use]
    pub fn line(&self) -> String {
        line(self)
    }
}

impl Proof {
    /// One line of JSON, with its line end.
    #[must_use]
    pub fn line(&self) -> String {
        line(self)
    }
}

impl Silence<'_> {
    /// One line of JSON, with its line end.
    #[must_use]
    pub fn line(&self) -> String {
        line(self)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(truth: &bool) -> bool {
    !*truth
}

impl Record<'_> {
    /// One line of JSON, with its line end.
    #[must_use]
    pub fn line(&self) -> String {
        line(self)
    }
}

#[cfg(test)]
mod tests {
    use super::{Action, Issue, Proof, Record, Silence};

    #[test]
    fn a_grant_and_a_refusal_are_one_line_each() {
        let grant = Record {
            time: "2026-11-21T10:00:00Z".to_owned(),
            client: "172.17.0.2:40000".to_owned(),
            container: Some("0123456789ab"),
            attestation: Some("cgroup"),
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
            first: true,
            route: Some("credentials"),
            status: 200,
            reason: "granted",
            verified: Some(true),
            would_be: None,
            detail: None,
            suppressed: 0,
        };
        insta::assert_snapshot!(grant.line(), @r###"{"time":"2026-11-21T10:00:00Z","client":"172.17.0.2:40000","container":"0123456789ab","attestation":"cgroup","kind":"build","gitlab":"gitlab.example.com","runner":"Ab3dEf9_x","project":20,"pipeline":574,"job":302,"rule":"deploy","role":"arn:aws:iam::123456789012:role/deploy","session":"20-302-Ab3dEf9_x","access_key":"ASIAIOSFODNN7EXAMPLE","first":true,"route":"credentials","status":200,"reason":"granted","verified":true}"###);
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
            unkept: None,
        };
        insta::assert_snapshot!(action.line(), @r###"{"time":"2026-11-21T10:00:00Z","order":"revoke","subject":"job 302","user":0,"process":7,"is_change":true,"forgotten":2}"###);
    }

    #[test]
    fn a_key_that_was_issued_and_what_was_left_out_are_one_line_each() {
        let issue = Issue {
            time: "2026-11-21T10:00:00Z".to_owned(),
            issued: "ASIAIOSFODNN7EXAMPLE",
            role: "arn:aws:iam::123456789012:role/deploy",
            session: "20-302-Ab3dEf9_x",
            expires: "2026-11-21T11:00:00Z".to_owned(),
        };
        insta::assert_snapshot!(issue.line(), @r###"{"time":"2026-11-21T10:00:00Z","issued":"ASIAIOSFODNN7EXAMPLE","role":"arn:aws:iam::123456789012:role/deploy","session":"20-302-Ab3dEf9_x","expires":"2026-11-21T11:00:00Z"}"###);
        let silence = Silence {
            time: "2026-11-21T10:00:00Z",
            caller: Some("172.17.0.3"),
            suppressed: 7,
        };
        insta::assert_snapshot!(silence.line(), @r###"{"time":"2026-11-21T10:00:00Z","caller":"172.17.0.3","suppressed":7}"###);
    }

    #[test]
    fn a_self_test_is_one_line() {
        let proof = Proof {
            time: "2026-11-21T10:00:00Z".to_owned(),
            self_test: "failed",
            detail: Some("the redirect is missing".to_owned()),
        };
        insta::assert_snapshot!(proof.line(), @r###"{"time":"2026-11-21T10:00:00Z","self_test":"failed","detail":"the redirect is missing"}"###);
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
