//! Operations of clients: HTTP, the metadata flow, the SDK. Pure data.

use serde::{Deserialize, Serialize};

use super::{Connect, End};
use crate::probe::bytes::Base64;

/// `http`: an ordinary HTTP/1.1 request without redirects or proxies.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// The method, as sent.
    pub method: String,
    /// `http://HOST[:PORT]/PATH`; the path is sent exactly as given.
    pub url: String,
    /// The request's target, where it is not the path: an absolute one, for example.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Headers in order, beside `Host` and `Connection: close` where these are not among them.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The body; `Content-Length` is added where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Base64>,
    /// How long the connect may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_ms: Option<u64>,
    /// How long reading may take altogether.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_ms: Option<u64>,
}

/// What an HTTP request brought.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HttpAnswer {
    /// How the connect ended.
    pub connect: Connect,
    /// The status, where a complete response head arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The response's headers in order.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The body, decoded from chunks.
    #[serde(default)]
    pub body: Base64,
    /// Every byte received.
    #[serde(default)]
    pub raw: Base64,
    /// Why reading stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<End>,
}

/// `imds`: token, list, credentials.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Imds {
    /// 1 sends no token, 2 fetches one first.
    pub version: u8,
    /// `169.254.169.254` where absent; `[fd00:ec2::254]`, or another, with or without port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The role to ask for; the first listed where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// How long each connect may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_ms: Option<u64>,
    /// How long each read may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_ms: Option<u64>,
}

/// `began`: told once, when the flow that began with the process has come to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Began {}

/// The steps that were taken: it stops at the first that brings nothing to go on with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImdsAnswer {
    /// `token`, `list`, `credentials`, as far as it went.
    pub steps: Vec<ImdsStep>,
}

/// One request of the metadata flow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ImdsStep {
    /// `token`, `list` or `credentials`.
    pub name: String,
    /// What it brought.
    #[serde(flatten)]
    pub answer: HttpAnswer,
}

/// `sdk`: no options, since the chain is unmodified.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sdk {
    /// A role to assume with the credentials found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assume: Option<String>,
}

/// What the SDK found and what STS said of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SdkAnswer {
    /// The credentials, without the secret key.
    pub credentials: SdkCredentials,
    /// The answer of `GetCallerIdentity`.
    pub identity: SdkIdentity,
    /// What assuming the role came to, where one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assumed: Option<SdkAssumed>,
}

/// What came of `AssumeRole`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SdkAssumed {
    /// The session token of the new session.
    Token(String),
    /// STS refused, or could not be asked.
    Refused(String),
}

/// What identifies credentials.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SdkCredentials {
    /// The access key id.
    pub access_key_id: String,
    /// The session token, which carries the fake's provenance.
    pub session_token: Option<String>,
    /// Seconds since 1970 at which they end.
    pub expires: Option<u64>,
}

/// Whom STS takes the caller for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SdkIdentity {
    /// The ARN.
    pub arn: String,
    /// The account.
    pub account: String,
    /// The unique id.
    pub user_id: String,
}

/// Credentials, to sign with. They cannot be printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// The access key id.
    pub access_key_id: String,
    /// The secret access key.
    pub secret_access_key: String,
    /// The session token.
    pub session_token: String,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

/// `assume`: AssumeRoleWithWebIdentity where there is a token, AssumeRole where there are keys.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assume {
    /// The URL of STS.
    pub endpoint: String,
    /// Its region.
    pub region: String,
    /// `RoleArn`.
    pub role_arn: String,
    /// `RoleSessionName`.
    pub session_name: String,
    /// `WebIdentityToken`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// What signs the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<Keys>,
    /// `DurationSeconds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<i32>,
    /// `Policy`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

impl std::fmt::Debug for Assume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Assume")
            .field("role_arn", &self.role_arn)
            .field("session_name", &self.session_name)
            .finish_non_exhaustive()
    }
}

/// What STS said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Assumed {
    /// A session.
    Issued {
        /// Its credentials.
        keys: Keys,
        /// Seconds since 1970 at which they end.
        expires: i64,
    },
    /// An error of the service.
    Refused {
        /// HTTP status.
        status: u16,
        /// `Code`.
        code: String,
        /// `Message`.
        message: String,
    },
    /// No answer of the service.
    Unreachable {
        /// Why.
        message: String,
    },
}
