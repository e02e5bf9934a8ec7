//! What goes back to the caller: constant bodies, and the documents of the service in its own layout. Decides nothing.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::credentials::Credentials;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers beside the length and the fate of the connection.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
    /// Whether the connection ends with it.
    pub close: bool,
}

impl Answer {
    /// 200 with a text.
    #[must_use]
    pub fn text(body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![
            ("Content-Type".to_owned(), "text/plain".to_owned()),
            ("Server".to_owned(), "EC2ws".to_owned()),
        ];
        Self {
            status: 200,
            headers,
            body: body.into(),
            close: false,
        }
    }

    /// A refusal: the body is the reason phrase, whatever the cause.
    #[must_use]
    pub fn refusal(status: u16) -> Self {
        Self {
            status,
            close: status == 400 || status == 431,
            ..Self::text(reason(status))
        }
    }

    /// The same with one more header.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    /// As bytes; a HEAD keeps the length and loses the body.
    #[must_use]
    pub fn render(&self, is_head: bool, close: bool) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            // Writing to a String cannot fail.
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let connection = if close { "close" } else { "keep-alive" };
        let _ = write!(
            head,
            "Content-Length: {}\r\nConnection: {connection}\r\n\r\n",
            self.body.len()
        );
        let mut bytes = head.into_bytes();
        if !is_head {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }
}

const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Answer",
    }
}

fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn document(fields: &[(&str, &str)]) -> String {
    let fields: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("  \"{name}\" : {}", serde_json::Value::from(*value)))
        .collect();
    format!("{{\n{}\n}}", fields.join(",\n"))
}

/// The credentials document.
#[must_use]
pub fn credentials(given: &Credentials, now: Timestamp) -> String {
    document(&[
        ("Code", "Success"),
        ("LastUpdated", &seconds(now)),
        ("Type", "AWS-HMAC"),
        ("AccessKeyId", &given.access_key_id),
        ("SecretAccessKey", given.secret_access_key.expose()),
        ("Token", given.session_token.expose()),
        ("Expiration", &seconds(given.expiration)),
    ])
}

/// `iam/info`: the profile is named like the role.
#[must_use]
pub fn info(role_arn: &str, now: Timestamp) -> String {
    let profile = role_arn.replacen(":role/", ":instance-profile/", 1);
    document(&[
        ("Code", "Success"),
        ("LastUpdated", &seconds(now)),
        ("InstanceProfileArn", &profile),
        ("InstanceProfileId", "AIPAWEAKPROXY00000000"),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credentials::Secret;

    #[test]
    fn documents_have_the_layout_of_the_service() {
        let given = Credentials {
            access_key_id: "ASIA1".to_owned(),
            secret_access_key: Secret::new("s".to_owned()),
            session_token: Secret::new("t".to_owned()),
            expiration: Timestamp::from_second(3600).unwrap(),
        };
        insta::assert_snapshot!(credentials(&given, Timestamp::UNIX_EPOCH), @r#"
        {
          "Code" : "Success",
          "LastUpdated" : "1970-01-01T00:00:00Z",
          "Type" : "AWS-HMAC",
          "AccessKeyId" : "ASIA1",
          "SecretAccessKey" : "s",
          "Token" : "t",
          "Expiration" : "1970-01-01T01:00:00Z"
        }
        "#);
        insta::assert_snapshot!(info("arn:aws:iam::123456789012:role/deploy", Timestamp::UNIX_EPOCH), @r#"
        {
          "Code" : "Success",
          "LastUpdated" : "1970-01-01T00:00:00Z",
          "InstanceProfileArn" : "arn:aws:iam::123456789012:instance-profile/deploy",
          "InstanceProfileId" : "AIPAWEAKPROXY00000000"
        }
        "#);
    }

    #[test]
    fn a_head_keeps_the_length_and_loses_the_body() {
        let bytes = String::from_utf8(Answer::text("deploy").render(true, false)).unwrap();
        assert!(
            bytes.contains("Content-Length: 6\r\n") && bytes.ends_with("\r\n\r\n"),
            "{bytes}"
        );
    }
}
