//! Requests in, whole answers out: the pure core with signatures made here by [`crate::signature::sign`], which its own tests judge by
//! the SDK's signer.

mod assume;
mod delivery;
mod envelopes;
mod others;
mod parameters;
mod saml;
mod web_identity;

use bytes::Bytes;
use fake_kit::seed::{Canary, Seed};
use jiff::{SignedDuration, Timestamp};

use super::{Outcome, answer, granted};
use crate::envelope;
use crate::front;
use crate::mint::mint;
use crate::query::Parameters;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::secret::Secret;
use crate::signature::{Claim, Scope, canonical_request, format_basic, sign};
use crate::state::{Session, State};
use crate::world;

pub(super) const WORLD: &str = r#"
[account]
id = "123456789012"
region = "eu-central-1"

[[role]]
name = "lab-host"
max_session_seconds = 43200
trust = { Statement = { Effect = "Allow", Principal = { AWS = ["arn:aws:iam::123456789012:user/alice", "arn:aws:iam::123456789012:role/lab-host"] }, Action = "sts:*" } }
policy = { Statement = [{ Effect = "Allow", Action = "sts:*", Resource = "*" }, { Sid = "never", Effect = "Deny", Action = "sts:AssumeRole", Resource = "*role/forbidden" }] }

[[role]]
name = "deploy"
path = "/team/"
trust = { Version = "2012-10-17", Statement = { Effect = "Allow", Principal = { AWS = "arn:aws:iam::123456789012:root" }, Action = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"] } }
policy = { Statement = { Effect = "Allow", Action = "sts:AssumeRole", Resource = "*" } }

[[role]]
name = "long"
max_session_seconds = 7200
trust = { Statement = { Effect = "Allow", Principal = { AWS = "arn:aws:iam::123456789012:root" }, Action = "sts:AssumeRole" } }

[[role]]
name = "partner"
trust = { Statement = { Effect = "Allow", Principal = { AWS = "arn:aws:iam::123456789012:role/lab-host" }, Action = "sts:AssumeRole", Condition = { StringEquals = { "sts:ExternalId" = "secret-7" } } } }

[[role]]
name = "forbidden"
trust = { Statement = { Effect = "Allow", Principal = { AWS = "arn:aws:iam::123456789012:role/lab-host" }, Action = "sts:AssumeRole" } }

[[role]]
name = "shut"
trust = { Statement = [{ Effect = "Allow", Principal = { AWS = "123456789012" }, Action = "sts:AssumeRole" }, { Effect = "Deny", Principal = "*", Action = "sts:AssumeRole", Condition = { ArnLike = { "aws:PrincipalArn" = "arn:aws:iam::*:role/lab-*" } } }] }

[[role]]
name = "abroad"
account = "999999999999"
trust = { Statement = { Effect = "Allow", Principal = { AWS = "arn:aws:iam::123456789012:user/bob" }, Action = "sts:AssumeRole" } }

[[user]]
name = "alice"
access_key_id = "AKIAIOSFODNN7EXAMPLE"
secret_access_key = "alice-secret"
policy = { Statement = { Effect = "Allow", Action = "sts:AssumeRole", Resource = "arn:aws:iam::123456789012:role/team/*" } }

[[user]]
name = "bob"
access_key_id = "AKIAIOSFODNN7BOBBOBB"
secret_access_key = "bob-secret"
"#;

/// A key pair, with a token when it is temporary.
#[derive(Clone)]
pub(crate) struct Keys {
    pub(crate) id: String,
    pub(crate) secret: Secret,
    pub(crate) token: Option<Secret>,
}

impl From<&Session> for Keys {
    fn from(session: &Session) -> Self {
        Self {
            id: session.access_key_id.clone(),
            secret: session.secret.clone(),
            token: Some(session.token.clone()),
        }
    }
}

pub(crate) fn alice() -> Keys {
    Keys {
        id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
        secret: Secret::new("alice-secret".to_owned()),
        token: None,
    }
}

pub(crate) fn bob() -> Keys {
    Keys {
        id: "AKIAIOSFODNN7BOBBOBB".to_owned(),
        secret: Secret::new("bob-secret".to_owned()),
        token: None,
    }
}

/// A fake without a shell: a state, a time, and the last serial number.
pub(crate) struct Bench {
    pub(crate) state: State,
    pub(crate) now: Timestamp,
    serial: u64,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::of(WORLD)
    }

    pub(crate) fn of(world: &str) -> Self {
        let world = world::read(world, "world.toml", &Seed::default()).unwrap_or_else(|faults| panic!("{faults}"));
        Self {
            state: State::new(world, false, Seed::default()),
            now: "2026-03-04T05:06:07Z".parse().unwrap(),
            serial: 0,
        }
    }

    pub(crate) fn pass(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
    }

    pub(super) fn signed(&self, keys: &Keys, form: &str) -> Request {
        self.signed_for(keys, &format!("{form}&Version=2011-06-15"), "eu-central-1", "sts")
    }

    pub(crate) fn signed_for(&self, keys: &Keys, form: &str, region: &str, service: &str) -> Request {
        let date = format_basic(self.now);
        let mut request = Request {
            method: "POST".to_owned(),
            path: "/".to_owned(),
            headers: vec![
                ("host".to_owned(), "127.0.0.1:4566".to_owned()),
                (
                    "content-type".to_owned(),
                    "application/x-www-form-urlencoded".to_owned(),
                ),
                ("x-amz-date".to_owned(), date.clone()),
            ],
            body: Bytes::from(form.to_owned()),
            ..Request::default()
        };
        let scope = Scope {
            access_key_id: &keys.id,
            day: &date[..8],
            region,
            service,
            terminator: "aws4_request",
        };
        let day_scope = format!("{}/{region}/{service}/aws4_request", scope.day);
        let claim = Claim {
            credential: String::new(),
            signed_headers: vec!["host".to_owned(), "x-amz-date".to_owned()],
            signed_list: "host;x-amz-date".to_owned(),
            signature: String::new(),
            date: date.clone(),
            token: None,
            presigned: false,
        };
        let canonical = canonical_request(&request, "/", &Parameters::default(), &claim);
        let signature = sign(&keys.secret, &scope, &date, &day_scope, &canonical).into_hex();
        let header = format!(
            "AWS4-HMAC-SHA256 Credential={}/{day_scope}, SignedHeaders=host;x-amz-date, Signature={signature}",
            keys.id
        );
        request.headers.push(("authorization".to_owned(), header));
        if let Some(token) = &keys.token {
            request
                .headers
                .push(("x-amz-security-token".to_owned(), token.expose().to_owned()));
        }
        request
    }

    /// A request that nobody signed.
    pub(super) fn unsigned(&self, form: &str) -> Request {
        Request {
            method: "POST".to_owned(),
            path: "/".to_owned(),
            headers: vec![
                ("host".to_owned(), "127.0.0.1:4566".to_owned()),
                (
                    "content-type".to_owned(),
                    "application/x-www-form-urlencoded".to_owned(),
                ),
            ],
            body: Bytes::from(format!("{form}&Version=2011-06-15")),
            ..Request::default()
        }
    }

    pub(crate) fn outcome(&self, request: &Request) -> Outcome {
        answer(&self.state, self.now, request, &front::receive(request))
    }

    /// The whole text of an answer, with its status before it.
    pub(super) fn text(&mut self, request: &Request) -> String {
        let format = front::receive(request).format;
        match self.outcome(request) {
            Outcome::Plain(plain) => {
                let headers: Vec<_> = plain
                    .headers
                    .iter()
                    .map(|(name, value)| format!("{name}: {value}\n"))
                    .collect();
                format!("{}\n{}{}", plain.status, headers.concat(), plain.body)
            }
            Outcome::Refused { refusal, .. } => {
                format!("{}\n{}", refusal.status, refusal.body("R", envelope::NAMESPACE, format))
            }
            Outcome::Result { action, elements, .. } => {
                format!(
                    "200\n{}",
                    envelope::success(action, elements.as_deref(), "R", envelope::NAMESPACE, format)
                )
            }
            Outcome::Granted { grant, form, .. } => {
                let session = self.keep(*grant);
                let (action, elements) = granted(&session, &form);
                format!(
                    "200\n{}",
                    envelope::success(action, Some(&elements), "R", envelope::NAMESPACE, format)
                )
            }
            Outcome::Token { claims, .. } => format!("200\n{claims}"),
        }
    }

    pub(crate) fn keep(&mut self, grant: crate::mint::Grant) -> Session {
        let canary = Canary::derive(&Seed::default(), "role:test");
        let session = mint(grant, &self.state.sealer, self.serial, &canary, self.now);
        self.serial += 1;
        session
    }

    /// AssumeRole, kept when granted.
    pub(super) fn assume(&mut self, keys: &Keys, role: &str, more: &str) -> Result<Session, Refusal> {
        let form = format!("Action=AssumeRole&RoleArn=arn:aws:iam::{role}&RoleSessionName=job-1{more}");
        match self.outcome(&self.signed(keys, &form)) {
            Outcome::Granted { grant, .. } => Ok(self.keep(*grant)),
            Outcome::Refused { refusal, .. } => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    /// A session of the instance's role.
    pub(super) fn host(&mut self) -> Keys {
        Keys::from(
            &self
                .assume(&alice(), "123456789012:role/lab-host", "&DurationSeconds=43200")
                .unwrap(),
        )
    }
}
