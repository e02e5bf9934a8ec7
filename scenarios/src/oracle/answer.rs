//! Reads one answer as the job received it and says which verdict it is. Status, body and the token's provenance count together; a status alone decides nothing.

use std::collections::BTreeSet;

use fake_sts::provenance::{self, Provenance};
use serde::{Deserialize, Serialize};

use super::canary::Canaries;
use super::terms::Terms;
use crate::verdict::Verdict;

/// One request and what came back, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Exchange {
    /// Which container, and through what.
    pub place: String,
    /// The request as text, for people.
    pub request: String,
    /// `ok`, `refused`, `timeout`, `unreachable` or `error:…`.
    pub connect: String,
    /// Everything received.
    #[serde(skip)]
    pub received: Vec<u8>,
    /// `eof`, `reset` or `timeout`.
    pub end: String,
}

/// An HTTP answer taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Names and values as they came.
    pub headers: Vec<(String, String)>,
    /// What follows the header section; a chunked body is left as it is.
    pub body: Vec<u8>,
}

impl Answer {
    /// Takes the first answer of a stream apart; `None` if it is no HTTP answer.
    pub fn parse(received: &[u8]) -> Option<Self> {
        let (head, rest) = match memchr::memmem::find(received, b"\r\n\r\n") {
            Some(end) => (received.get(..end)?, received.get(end + 4..)?),
            None => (received, &[][..]),
        };
        let head = String::from_utf8_lossy(head);
        let mut lines = head.split("\r\n");
        let status = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
            .collect();
        let length = headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
            .and_then(|(_, value)| value.parse::<usize>().ok());
        let body = rest.get(..length.unwrap_or(rest.len()).min(rest.len()))?.to_vec();
        Some(Self { status, headers, body })
    }

    /// Every answer of a stream of several, each cut at its `Content-Length`.
    pub fn parse_all(received: &[u8]) -> Vec<Self> {
        let mut answers = Vec::new();
        let mut rest = received;
        while let Some(answer) = Self::parse(rest) {
            let head = memchr::memmem::find(rest, b"\r\n\r\n").map_or(rest.len(), |end| end + 4);
            let used = head + answer.body.len();
            answers.push(answer);
            match rest.get(used..) {
                Some(tail) if !tail.is_empty() && answers.len() < 64 => rest = tail,
                _ => break,
            }
        }
        answers
    }

    /// The body as text, white space trimmed.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).trim().to_owned()
    }
}

/// The parts of a credentials document that tell where it comes from. The secret key is not among them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// The access key id.
    pub access_key_id: String,
    /// What the fake STS wrote into the session token; `None` if the token is not one of its own.
    pub provenance: Option<Provenance>,
    /// `Expiration`, as written.
    pub expiration: String,
}

impl Credentials {
    /// Reads a credentials document.
    pub fn parse(body: &[u8]) -> Option<Self> {
        let document: serde_json::Value = serde_json::from_slice(body).ok()?;
        let field = |name: &str| {
            document
                .get(name)
                .and_then(serde_json::Value::as_str)
                .map(str::to_owned)
        };
        let token = field("Token")?;
        Some(Self {
            access_key_id: field("AccessKeyId")?,
            provenance: provenance::decode(&token).ok(),
            expiration: field("Expiration").unwrap_or_default(),
        })
    }
}

/// Everything needed to judge what a container received.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Canaries that this container may see: those of the roles that the operator sanctions for it.
    pub own: BTreeSet<String>,
    /// ARN → the case's own name of the role.
    pub roles: Vec<(String, String)>,
    /// ARN → on which terms the container may have sessions of the role; of a role that is not here, on any.
    pub terms: Vec<(String, Terms)>,
    /// Whom a session's name must name: the job by its id, or the container if it is of none.
    pub holder: String,
    /// Where set, a session need not name its holder: it may name anybody but these.
    pub others: Option<BTreeSet<String>>,
    /// Bodies of the container's own plain requests (role list), for `SAME`.
    pub plain: BTreeSet<String>,
    /// The instance's own role: its bare name in an answer is a leak of its own.
    pub host_role: String,
    /// The defence lets jobs talk to the endpoint itself: what it says without a canary is the plain answer.
    pub direct: bool,
}

/// The verdict on one exchange.
pub fn classify(exchange: &Exchange, canaries: &Canaries, view: &View) -> Verdict {
    if let Some(name) = foreign(canaries.find(&exchange.received), view) {
        return Verdict::Leak(name);
    }
    if exchange.connect != "ok" {
        return Verdict::Blocked;
    }
    if exchange.received.is_empty() {
        // Closed without a byte is a refusal; a connection left hanging is not.
        return if exchange.end == "timeout" {
            Verdict::Silent
        } else {
            Verdict::Deny
        };
    }
    Answer::parse_all(&exchange.received)
        .iter()
        .map(|answer| classify_answer(answer, view))
        .max_by_key(Verdict::reach)
        .unwrap_or_else(|| Verdict::Other("no HTTP answer".to_owned()))
}

/// Of several foreign canaries the instance's own first: it is the worst.
pub fn foreign(found: BTreeSet<String>, view: &View) -> Option<String> {
    let mut foreign: Vec<String> = found.into_iter().filter(|name| !view.own.contains(name)).collect();
    foreign.sort_by_key(|name| (name != "host-role", name.clone()));
    foreign.into_iter().next()
}

fn classify_answer(answer: &Answer, view: &View) -> Verdict {
    match answer.status {
        200..=299 => classify_success(answer, view),
        400..=499 if tells(answer, view) => Verdict::Other(format!("status {} with the name of a role", answer.status)),
        400..=499 => Verdict::Deny,
        500..=599 => Verdict::Unavailable,
        status => Verdict::Other(format!("status {status}")),
    }
}

/// Whether a refusal names roles: it must be the same whatever the cause, or it tells what there is.
fn tells(answer: &Answer, view: &View) -> bool {
    let text = answer.text();
    text.contains(":role/") || !view.host_role.is_empty() && text.contains(&view.host_role)
}

fn classify_success(answer: &Answer, view: &View) -> Verdict {
    let text = answer.text();
    if let Some(credentials) = Credentials::parse(&answer.body) {
        return classify_credentials(&credentials, view);
    }
    if !view.host_role.is_empty() && text.split_whitespace().any(|word| word == view.host_role) {
        return Verdict::Leak("host-role-name".to_owned());
    }
    if view.direct
        || text.is_empty()
        || view.plain.contains(&text)
        || is_token(&text)
        || is_own_profile(&answer.body, view)
    {
        return Verdict::Same;
    }
    Verdict::Other(format!(
        "status {} with a body of {} bytes",
        answer.status,
        answer.body.len()
    ))
}

/// Credentials count as the container's own only if the token says so: role, a session that names its job, and the terms of its rule.
pub fn classify_credentials(credentials: &Credentials, view: &View) -> Verdict {
    let Some(provenance) = &credentials.provenance else {
        return Verdict::Other("credentials of unknown provenance".to_owned());
    };
    let Some((_, short)) = view.roles.iter().find(|(arn, _)| *arn == provenance.role_arn) else {
        return Verdict::Leak(format!(
            "role:{}",
            provenance.role_arn.rsplit('/').next().unwrap_or_default()
        ));
    };
    let mut parts = provenance.session_name.split(['-', '.', '_', '@', '=']);
    let names_right = match &view.others {
        None => parts.any(|part| part == view.holder),
        Some(others) => !parts.any(|part| others.contains(part)),
    };
    if !names_right {
        return Verdict::Leak(format!("session:{}", provenance.session_name));
    }
    let mut terms = view
        .terms
        .iter()
        .filter(|(arn, _)| *arn == provenance.role_arn)
        .peekable();
    let is_sanctioned = match terms.peek() {
        None => provenance.policy_sha256.is_none(),
        Some(_) => terms.any(|(_, terms)| terms.are_those_of(provenance)),
    };
    if is_sanctioned {
        Verdict::Role(short.clone())
    } else {
        Verdict::Leak(format!("session-of-another-rule:{short}"))
    }
}

/// `iam/info` of a role that the container is sanctioned for.
fn is_own_profile(body: &[u8], view: &View) -> bool {
    let document: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    document
        .as_ref()
        .and_then(|document| document.get("InstanceProfileArn"))
        .and_then(serde_json::Value::as_str)
        .and_then(|arn| arn.split_once(":instance-profile/"))
        .is_some_and(|(_, name)| view.plain.contains(name))
}

/// An IMDSv2 token: 56 characters of URL-safe base64.
fn is_token(text: &str) -> bool {
    text.len() == 56
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'='))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::model::Rule;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const MARKER: &str = "QWERTYUIOPASDFG2";

    fn classified(connect: &str, received: &str, end: &str) -> String {
        let canaries = Canaries::new(&BTreeMap::from([
            ("host-role".to_owned(), MARKER.to_owned()),
            ("role:x-own".to_owned(), "ZXCVBNMLKJHGFDS7".to_owned()),
        ]));
        let view = View {
            own: BTreeSet::from(["role:x-own".to_owned()]),
            roles: vec![("arn:aws:iam::1:role/x-own".to_owned(), "own".to_owned())],
            terms: Vec::new(),
            holder: "500".to_owned(),
            others: None,
            plain: BTreeSet::from(["x-own".to_owned()]),
            host_role: "lab-host".to_owned(),
            direct: false,
        };
        let exchange = Exchange {
            connect: connect.to_owned(),
            received: received.as_bytes().to_vec(),
            end: end.to_owned(),
            ..Exchange::default()
        };
        classify(&exchange, &canaries, &view).to_string()
    }

    #[test]
    fn no_connection_is_blocked_and_no_answer_is_silent() {
        assert_eq!(classified("timeout", "", "timeout"), "BLOCKED");
        assert_eq!(classified("refused", "", "eof"), "BLOCKED");
        assert_eq!(classified("ok", "", "timeout"), "SILENT");
        assert_eq!(classified("ok", "", "reset"), "DENY");
    }

    #[test]
    fn the_status_classes_are_told_apart() {
        assert_eq!(classified("ok", "HTTP/1.1 404 Not Found\r\n\r\n", "eof"), "DENY");
        assert_eq!(classified("ok", "HTTP/1.1 503 x\r\n\r\n", "eof"), "UNAVAILABLE");
        assert_eq!(
            classified("ok", "HTTP/1.1 301 x\r\nLocation: /\r\n\r\n", "eof"),
            "OTHER(status 301)"
        );
        assert_eq!(
            classified("ok", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nx-own", "eof"),
            "SAME"
        );
        assert_eq!(
            classified("ok", "HTTP/1.1 200 OK\r\n\r\nsomething", "eof"),
            "OTHER(status 200 with a body of 9 bytes)"
        );
    }

    #[test]
    fn the_own_profile_is_as_plain_as_the_own_role() {
        let answer = |name: &str| {
            format!("HTTP/1.1 200 OK\r\n\r\n{{\"InstanceProfileArn\" : \"arn:aws:iam::1:instance-profile/{name}\"}}")
        };
        assert_eq!(classified("ok", &answer("x-own"), "eof"), "SAME");
        assert_eq!(
            classified("ok", &answer("x-other"), "eof"),
            "OTHER(status 200 with a body of 66 bytes)"
        );
    }

    #[test]
    fn a_canary_in_any_byte_is_a_leak_whatever_the_status_says() {
        let answer = format!("HTTP/1.1 404 Not Found\r\nX-Hint: {MARKER}\r\n\r\n");
        assert_eq!(classified("ok", &answer, "eof"), "LEAK(host-role)");
    }

    #[test]
    fn the_instance_role_s_name_is_a_leak() {
        assert_eq!(
            classified("ok", "HTTP/1.1 200 OK\r\n\r\nlab-host", "eof"),
            "LEAK(host-role-name)"
        );
    }

    #[test]
    fn the_furthest_of_several_answers_counts() {
        let answers = "HTTP/1.1 404 x\r\nContent-Length: 2\r\n\r\nnoHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nx-own";
        assert_eq!(classified("ok", answers, "eof"), "SAME");
    }

    #[test]
    fn own_credentials_need_the_own_job_in_the_session_name_and_no_foreign_policy() {
        let view = View {
            roles: vec![("arn:aws:iam::1:role/x-own".to_owned(), "own".to_owned())],
            holder: "500".to_owned(),
            others: None,
            ..View::default()
        };
        let issued = |role: &str, session: &str| Credentials {
            access_key_id: "ASIA".to_owned(),
            provenance: Some(
                serde_json::from_value(serde_json::json!({
                    "role_arn": role, "session_name": session, "requester": "r", "requester_key": "k", "nonce": "n",
                    "issued_at": "2026-01-01T00:00:00Z", "via": "assume-role", "duration_seconds": 3600
                }))
                .unwrap(),
            ),
            expiration: String::new(),
        };
        let own = "arn:aws:iam::1:role/x-own";
        let mut narrowed = issued(own, "20-500-Ab3");
        narrowed.provenance.as_mut().unwrap().policy_sha256 = Some("00".repeat(32));
        assert_eq!(
            classify_credentials(&narrowed, &view),
            Verdict::Leak("session-of-another-rule:own".to_owned())
        );
        assert_eq!(
            classify_credentials(&issued(own, "20-500-Ab3"), &view),
            Verdict::Role("own".to_owned())
        );
        assert_eq!(
            classify_credentials(&issued(own, "20-501-Ab3"), &view),
            Verdict::Leak("session:20-501-Ab3".to_owned())
        );
        assert_eq!(
            classify_credentials(&issued("arn:aws:iam::1:role/x-b", "20-500-Ab3"), &view),
            Verdict::Leak("role:x-b".to_owned())
        );
        let terms = |text: &str| {
            let rule: Rule = toml::from_str(&format!("job = \"a\"\n{text}")).unwrap();
            (own.to_owned(), Terms::of(&rule))
        };
        let on = |terms: Vec<(String, Terms)>| {
            classify_credentials(&issued(own, "20-500-Ab3"), &View { terms, ..view.clone() })
        };
        let (plain, narrow) = (terms(""), terms("session_policy = \"{}\""));
        assert_eq!(on(vec![narrow.clone(), plain]), Verdict::Role("own".to_owned()));
        assert_eq!(
            on(vec![narrow]),
            Verdict::Leak("session-of-another-rule:own".to_owned())
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Answer::parse_all(&bytes);
            let _ = Credentials::parse(&bytes);
        }
    }
}
