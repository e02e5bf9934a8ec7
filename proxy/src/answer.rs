//! The bytes of an answer, as the metadata service writes them: its header fields, in its order, and constant bodies for refusals.
//! Pure; knows no caller.

mod notice;

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::SystemTime;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::config::Role;
use crate::credentials::Issued;
use crate::refusal::{Refusal, Status};
use crate::request::Named;

/// The page of the service for what does not exist: 339 bytes.
const NOT_FOUND: &str = concat!(
    "<?xml version=\"1.0\" encoding=\"iso-8859-1\"?>\n",
    "<!DOCTYPE html PUBLIC \"-//W3C//DTD XHTML 1.0 Transitional//EN\"\n",
    "\t\t \"http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd\">\n",
    "<html xmlns=\"http://www.w3.org/1999/xhtml\" xml:lang=\"en\" lang=\"en\">\n",
    " <head>\n  <title>404 - Not Found</title>\n </head>\n",
    " <body>\n  <h1>404 - Not Found</h1>\n </body>\n</html>\n",
);

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A new session token.
    Token(String),
    /// A text that is no secret.
    Text(String),
    /// The credentials document.
    Credentials(Arc<Issued>),
    /// The same credentials, as a container's.
    ContainerCredentials(Arc<Issued>, Role),
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// 200
    Content {
        /// What.
        body: Body,
        /// The token's time to live: asked for, or left.
        ttl: Option<u32>,
        /// When the content came to be.
        modified: SystemTime,
    },
    /// Anything else.
    Refusal(Refusal),
}

impl Answer {
    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Content { .. } => Status::Ok,
            Self::Refusal(refusal) => refusal.status(),
        }
    }
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Manner {
    /// For `HEAD`: the same without the body.
    pub without_body: bool,
    /// The connection ends with this answer.
    pub close: bool,
    /// Which service answers: each tells in its own way why there are no credentials.
    pub service: Named,
    /// The time of the answer.
    pub now: SystemTime,
}

/// Writes an answer. The buffer wipes itself, since it may hold credentials.
#[must_use]
pub fn render(answer: &Answer, manner: Manner) -> Zeroizing<String> {
    let made: Zeroizing<String>;
    let (body, media) = match answer {
        Answer::Content {
            body: Body::Token(text) | Body::Text(text),
            ..
        } => (text.as_str(), "text/plain"),
        Answer::Content {
            body: Body::Credentials(issued),
            ..
        } => (issued.reveal_document(), "text/plain"),
        Answer::Content {
            body: Body::ContainerCredentials(issued, role),
            ..
        } => {
            made = issued.reveal_container_document(role);
            (made.as_str(), "application/json")
        }
        Answer::Refusal(refusal) if refusal.status() == Status::NotFound => (NOT_FOUND, "text/html"),
        Answer::Refusal(refusal) => notice::of(refusal.status(), manner.service),
    };
    // Enough that the buffer never moves: an old copy would not be wiped.
    let mut text = Zeroizing::new(String::with_capacity(512 + body.len()));
    let _infallible = write_head(&mut text, answer, manner, media, body.len());
    if !manner.without_body {
        text.push_str(body);
    }
    text
}

fn write_head(text: &mut String, answer: &Answer, manner: Manner, media: &str, length: usize) -> std::fmt::Result {
    write!(text, "HTTP/1.1 {}\r\n", answer.status().line())?;
    if let Answer::Content { ttl: Some(ttl), .. } = answer {
        write!(text, "X-Aws-Ec2-Metadata-Token-Ttl-Seconds: {ttl}\r\n")?;
    }
    // The service names the type first of what has one of its own, and last where it only fills the line: tokens and empty answers.
    let type_last = match answer {
        Answer::Content { body, .. } => matches!(body, Body::Token(_)),
        Answer::Refusal(_) => length == 0,
    };
    if !type_last {
        write!(text, "Content-Type: {media}\r\n")?;
    }
    match answer {
        Answer::Content {
            body: Body::Text(_) | Body::Credentials(_) | Body::ContainerCredentials(..),
            modified,
            ..
        } => {
            write!(
                text,
                "Accept-Ranges: none\r\nLast-Modified: {}\r\n",
                HttpDate(*modified)
            )?;
        }
        Answer::Content {
            body: Body::Token(_), ..
        } => {}
        Answer::Refusal(Refusal::Method { allow }) => write!(text, "Allow: {allow}\r\n")?,
        Answer::Refusal(_) => {}
    }
    write!(
        text,
        "Content-Length: {length}\r\nDate: {}\r\nServer: EC2ws\r\n",
        HttpDate(manner.now)
    )?;
    if manner.close {
        text.push_str("Connection: close\r\n");
    }
    if type_last {
        write!(text, "Content-Type: {media}\r\n")?;
    }
    text.push_str("\r\n");
    Ok(())
}

/// A date of HTTP, such as `Sun, 06 Nov 1994 08:49:37 GMT`.
struct HttpDate(SystemTime);

impl std::fmt::Display for HttpDate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let seconds = self
            .0
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let seconds = i64::try_from(seconds).unwrap_or_default();
        let time = Timestamp::from_second(seconds)
            .unwrap_or_default()
            .to_zoned(jiff::tz::TimeZone::UTC);
        const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
        const MONTHS: [&str; 12] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        let day = usize::try_from(time.weekday().to_monday_zero_offset())
            .ok()
            .and_then(|day| DAYS.get(day));
        let month = usize::try_from(time.month() - 1)
            .ok()
            .and_then(|month| MONTHS.get(month));
        let (day, month) = (day.unwrap_or(&"Mon"), month.unwrap_or(&"Jan"));
        let (date, year) = (time.day(), time.year());
        let (hour, minute, second) = (time.hour(), time.minute(), time.second());
        write!(
            f,
            "{day}, {date:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT"
        )
    }
}

/// `iam/info` of the caller's own role. The host's profile is nobody's business: the id is made from the role.
#[must_use]
pub fn describe_profile(role: &Role, updated: &str) -> String {
    const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let hash = Sha256::digest(role.arn().as_bytes());
    let letters = hash
        .iter()
        .take(17)
        .filter_map(|byte| BASE32.get(usize::from(byte & 31)));
    let id: String = letters.map(|letter| char::from(*letter)).collect();
    let home = role.arn().split(":role/").next().unwrap_or_default();
    let name = role.name();
    format!(
        "{{\n  \"Code\" : \"Success\",\n  \"LastUpdated\" : \"{updated}\",\n  \
         \"InstanceProfileArn\" : \"{home}:instance-profile/{name}\",\n  \"InstanceProfileId\" : \"AIPA{id}\"\n}}"
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::time::{Duration, SystemTime};

    use super::{Answer, Body, Manner, NOT_FOUND, describe_profile, render};
    use crate::caller::Unattested;
    use crate::config::{Account, Home, Partition, Role};
    use crate::refusal::Refusal;
    use crate::request::Named;
    use crate::token::TokenFault;

    fn time() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)
    }

    fn manner() -> Manner {
        Manner {
            without_body: false,
            close: false,
            service: Named::Metadata,
            now: time(),
        }
    }

    #[test]
    fn the_page_of_404_has_the_length_of_the_services() {
        assert_eq!(NOT_FOUND.len(), 339);
    }

    #[test]
    fn a_text_is_answered_as_the_service_does() {
        let answer = Answer::Content {
            body: Body::Text("deploy".to_owned()),
            ttl: Some(60),
            modified: time(),
        };
        insta::assert_snapshot!(render(&answer, manner()).replace("\r\n", "\n"), @r"
        HTTP/1.1 200 OK
        X-Aws-Ec2-Metadata-Token-Ttl-Seconds: 60
        Content-Type: text/plain
        Accept-Ranges: none
        Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT
        Content-Length: 6
        Date: Sun, 06 Nov 1994 08:49:37 GMT
        Server: EC2ws

        deploy
        ");
    }

    #[test]
    fn a_head_request_gets_the_same_without_the_body() {
        let answer = Answer::Content {
            body: Body::Text("deploy".to_owned()),
            ttl: None,
            modified: time(),
        };
        let whole = render(&answer, manner());
        let head = render(
            &answer,
            Manner {
                without_body: true,
                ..manner()
            },
        );
        assert_eq!(format!("{}deploy", *head), *whole);
    }

    #[test]
    fn whoever_gets_no_credentials_is_told_so_as_the_service_would() {
        let refusal = Answer::Refusal(Refusal::Unattested(Unattested::Raced));
        insta::assert_snapshot!(render(&refusal, Manner { close: true, ..manner() }).replace("\r\n", "\n"), @r#"
        HTTP/1.1 403 Forbidden
        Content-Type: text/plain
        Content-Length: 261
        Date: Sun, 06 Nov 1994 08:49:37 GMT
        Server: EC2ws
        Connection: close

        {"Code" : "AccessDenied", "Message" : "The metadata proxy of this machine gives this container nothing: no rule of its operator does, or AWS refuses the role, or GitLab the job, or the container could not be told from others. The proxy's audit log says which."}
        "#);
        let refusal = Answer::Refusal(Refusal::Unattested(Unattested::EngineUnavailable));
        let manner = Manner {
            service: Named::Container,
            ..manner()
        };
        insta::assert_snapshot!(render(&refusal, manner).replace("\r\n", "\n"), @r#"
        HTTP/1.1 503 Service Unavailable
        Content-Type: application/json
        Content-Length: 222
        Date: Sun, 06 Nov 1994 08:49:37 GMT
        Server: EC2ws

        {"code":"ServiceUnavailable","message":"The metadata proxy of this machine cannot give credentials now: the container engine, GitLab or AWS does not answer it, or too many ask. Try again; the proxy's audit log says more."}
        "#);
    }

    #[test]
    fn a_refusal_says_nothing() {
        let refusal = Answer::Refusal(Refusal::Token(TokenFault::Expired));
        insta::assert_snapshot!(render(&refusal, Manner { close: true, ..manner() }).replace("\r\n", "\n"), @r"
        HTTP/1.1 401 Unauthorized
        Content-Length: 0
        Date: Sun, 06 Nov 1994 08:49:37 GMT
        Server: EC2ws
        Connection: close
        Content-Type: text/plain
        ");
    }

    #[test]
    fn the_profile_is_made_from_the_callers_role() {
        let home = Home {
            partition: Partition::default(),
            account: Account::parse("123456789012").unwrap(),
            others: BTreeSet::new(),
        };
        let role = Role::parse("/team/deploy", &home).unwrap();
        insta::assert_snapshot!(describe_profile(&role, "2026-11-21T10:00:00Z"), @r###"
        {
          "Code" : "Success",
          "LastUpdated" : "2026-11-21T10:00:00Z",
          "InstanceProfileArn" : "arn:aws:iam::123456789012:instance-profile/deploy",
          "InstanceProfileId" : "AIPAQDTVCKZXHCUMIMFUT"
        }
        "###);
    }
}
