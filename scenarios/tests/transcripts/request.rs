//! The bytes of a request: placeholders filled in, and signed by AWS's own signer where the record says so.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    SignableBody, SignableRequest, SignatureLocation, SigningInstructions, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use transcript::{Transcript, Values};

use crate::fake::{Credentials as Issued, Fake};

const USER: (&str, &str) = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");

/// Writes and signs requests for a fake.
pub(crate) struct Signer<'a> {
    pub(crate) fake: &'a Fake,
}

/// What the words after `signed` ask for.
#[derive(Debug)]
struct Asked {
    key: String,
    secret: String,
    token: Option<String>,
    region: String,
    service: String,
    seconds: i64,
    credential: Option<String>,
    /// Into the query string instead of a header, valid for so many seconds.
    expires: Option<u64>,
}

impl Signer<'_> {
    /// The request of a record.
    pub(crate) fn request(&self, transcript: &Transcript, values: &Values) -> Result<Vec<u8>, String> {
        let body = values
            .fill(&transcript.request_body)
            .map_err(|error| error.to_string())?;
        let values = values.clone().with("length", body.len().to_string());
        let mut head = Vec::new();
        let mut signed = None;
        for line in &transcript.request_head {
            match line.strip_prefix("{signed").and_then(|rest| rest.strip_suffix('}')) {
                Some(words) => signed = Some(words),
                None => head.push(values.fill(line).map_err(|error| error.to_string())?),
            }
        }
        if let Some(words) = signed {
            let asked = self.read(words, &transcript.session)?;
            let instructions = self.sign(&asked, &head, body.as_bytes())?;
            head.extend(header_lines(&instructions, &asked));
            presign(&mut head, &instructions);
        }
        Ok(format!("{}\r\n\r\n{body}", head.join("\r\n")).into_bytes())
    }

    fn read(&self, words: &str, session: &str) -> Result<Asked, String> {
        let mut asked = Asked {
            key: USER.0.to_owned(),
            secret: USER.1.to_owned(),
            token: None,
            region: "eu-central-1".to_owned(),
            service: "sts".to_owned(),
            seconds: 0,
            credential: None,
            expires: None,
        };
        for word in words.split_whitespace() {
            match word.split_once('=').ok_or_else(|| format!("`{word}` has no `=`"))? {
                ("key", which @ ("instance" | "expired" | "session")) => {
                    let credentials = match which {
                        "expired" => self.fake.issue(0),
                        "session" => self.session(session)?,
                        _ => self.fake.instance_credentials(),
                    };
                    asked.key = credentials.access_key_id;
                    asked.secret = credentials.secret_access_key;
                    asked.token = Some(credentials.session_token);
                }
                ("expires", seconds) => {
                    let seconds = seconds.parse();
                    asked.expires = Some(seconds.map_err(|_| format!("`{word}` is no number of seconds"))?);
                }
                ("key", "unknown") => "AKIAUNKNOWNUNKNOWN77".clone_into(&mut asked.key),
                ("secret", "wrong") => asked.secret = "0".repeat(40),
                ("token", "none") => asked.token = None,
                ("token", "wrong") => asked.token = Some(self.fake.issue(21_600).session_token),
                ("region", region) => region.clone_into(&mut asked.region),
                ("service", service) => service.clone_into(&mut asked.service),
                ("credential", credential) => asked.credential = Some(credential.to_owned()),
                ("time", seconds) => {
                    asked.seconds = seconds
                        .parse()
                        .map_err(|_| format!("`{word}` is no number of seconds"))?;
                }
                _ => return Err(format!("`{word}` asks for nothing that this test can do")),
            }
        }
        Ok(asked)
    }

    /// The credentials that a form gets, sent by the instance's role, or by the user where it begins with `alice: `.
    fn session(&self, form: &str) -> Result<Issued, String> {
        let (words, form) = match form.strip_prefix("alice: ") {
            Some(form) => ("", form),
            None => (" key=instance", form),
        };
        let head = [
            "POST / HTTP/1.1".to_owned(),
            "Host: sts.eu-central-1.amazonaws.com".to_owned(),
            "Content-Type: application/x-www-form-urlencoded".to_owned(),
            format!("Content-Length: {}", form.len()),
            format!("{{signed{words}}}"),
        ];
        let asked = Transcript {
            request_head: head.to_vec(),
            request_body: form.to_owned(),
            ..Transcript::default()
        };
        let answer = self.fake.exchange(&self.request(&asked, &Values::new())?);
        let answer = String::from_utf8_lossy(&answer);
        let element = |name: &str| {
            let (_, rest) = answer.split_once(&format!("<{name}>"))?;
            Some(rest.split_once(&format!("</{name}>"))?.0.to_owned())
        };
        let credentials = || {
            Some(Issued {
                access_key_id: element("AccessKeyId")?,
                secret_access_key: element("SecretAccessKey")?,
                session_token: element("SessionToken")?,
            })
        };
        credentials().ok_or_else(|| format!("the session of this record was refused:\n{answer}"))
    }

    fn sign(&self, asked: &Asked, head: &[String], body: &[u8]) -> Result<SigningInstructions, String> {
        let line = head.first().ok_or("no request line")?;
        let mut parts = line.split(' ');
        let (method, target) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let headers = head.iter().skip(1).filter_map(|line| line.split_once(": "));
        let headers = headers.filter(|(name, _)| !name.eq_ignore_ascii_case("content-length"));
        let host = head
            .iter()
            .find_map(|line| line.strip_prefix("Host: "))
            .ok_or("no host")?;
        let identity = Credentials::new(&asked.key, &asked.secret, asked.token.clone(), None, "record").into();
        let seconds = self.fake.started.as_second() + asked.seconds;
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.unsigned_abs());
        let mut settings = SigningSettings::default();
        if let Some(seconds) = asked.expires {
            settings.signature_location = SignatureLocation::QueryParams;
            settings.expires_in = Some(Duration::from_secs(seconds));
        }
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&asked.region)
            .name(&asked.service)
            .time(time)
            .settings(settings)
            .build()
            .map_err(|error| error.to_string())?
            .into();
        let request = SignableRequest::new(
            method,
            format!("https://{host}{target}"),
            headers,
            SignableBody::Bytes(body),
        );
        let signed = request
            .and_then(|request| sign(request, &parameters))
            .map_err(|error| error.to_string())?;
        Ok(signed.into_parts().0)
    }
}

fn header_lines(instructions: &SigningInstructions, asked: &Asked) -> Vec<String> {
    let lines = instructions.headers().map(|(name, value)| match &asked.credential {
        Some(credential) if name == "authorization" => {
            let (before, rest) = value.split_once("Credential=").unwrap_or((value, ""));
            let after = rest.split_once(',').map(|(_, after)| after).unwrap_or_default();
            format!("{name}: {before}Credential={credential},{after}")
        }
        Some(_) | None => format!("{name}: {value}"),
    });
    lines.collect()
}

/// Adds what was signed in the query string to the target.
fn presign(head: &mut [String], instructions: &SigningInstructions) {
    let Some(line) = head.first_mut() else { return };
    for (name, value) in instructions.params() {
        let value: String = value.bytes().map(escape).collect();
        if let Some((target, version)) = line.rsplit_once(' ') {
            let join = if target.contains('?') { '&' } else { '?' };
            *line = format!("{target}{join}{name}={value} {version}");
        }
    }
}

/// RFC 3986: everything but unreserved characters.
pub(crate) fn escape(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}
