//! The one place that turns errors into what the client sees: status, code and text. It must not decide anything.

use crate::decline::Decline;
use crate::envelope::{self, Format};
use crate::parameters::ParameterError;
use crate::signature::SignatureError;

/// An error answer, whatever its cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// STS's code.
    pub code: String,
    /// STS's text, if it gives one.
    pub message: Option<String>,
    /// Written by the front end, in its own namespace.
    pub front_end: bool,
    /// Why in truth, for the ledger.
    pub denied_by: Option<String>,
}

impl Refusal {
    fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        let message = Some(message.into()).filter(|text| !text.is_empty());
        Self {
            status,
            code: code.to_owned(),
            message,
            front_end: false,
            denied_by: None,
        }
    }

    /// Says what the client is not told.
    #[must_use]
    pub fn because(mut self, why: impl Into<String>) -> Self {
        self.denied_by = Some(why.into());
        self
    }

    /// An action or version that STS does not have.
    #[must_use]
    pub fn invalid_action(action: &str, version: Option<&str>) -> Self {
        let version = version.unwrap_or("NO_VERSION_SPECIFIED");
        let text = format!("Could not find operation {action} for version {version}");
        Self {
            front_end: true,
            ..Self::new(400, "InvalidAction", text)
        }
        .because("unknown action or version")
    }

    /// An action that STS has and this fake has not.
    #[must_use]
    pub fn not_implemented(action: &str) -> Self {
        Self::new(501, "NotImplemented", format!("fake-sts does not implement {action}")).because(format!(
            "{action} is an action of STS that this fake does not implement"
        ))
    }

    /// A key id that carries no account and is nobody's.
    #[must_use]
    pub fn invalid_key_id(id: &str) -> Self {
        let text = format!("1 validation error detected: Value '{id}' at 'accessKeyId' is not a valid access key ID");
        Self::new(400, "ValidationError", text).because("this key id carries no account, and the world has no such key")
    }

    /// An error of IAM.
    #[must_use]
    pub fn of_iam(status: u16, code: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self::new(status, code, message.clone()).because(message)
    }

    /// An error that a fault asks for.
    #[must_use]
    pub fn planted(status: u16, code: &str, message: &str) -> Self {
        let code = if code.is_empty() { "InternalFailure" } else { code };
        Self::new(status, code, message).because("fault")
    }

    /// The envelope.
    #[must_use]
    pub fn body(&self, request_id: &str, namespace: &'static str, format: Format) -> String {
        let namespace = if self.front_end {
            envelope::FAULT_NAMESPACE
        } else {
            namespace
        };
        let kind = if self.status < 500 { "Sender" } else { "Receiver" };
        envelope::error(namespace, kind, &self.code, self.message.as_deref(), request_id, format)
    }
}

impl From<SignatureError> for Refusal {
    fn from(error: SignatureError) -> Self {
        let text = error.to_string();
        let (status, code) = match &error {
            SignatureError::Missing => (403, "MissingAuthenticationToken"),
            SignatureError::Ambiguous => return Self::new(403, "SignatureDoesNotMatch", "").because(text),
            SignatureError::UnsupportedAlgorithm { .. }
            | SignatureError::NotKeyValue { .. }
            | SignatureError::Incomplete { .. }
            | SignatureError::BadDate { .. }
            | SignatureError::BadCredential { .. } => (400, "IncompleteSignature"),
            SignatureError::HostNotSigned
            | SignatureError::Expired { .. }
            | SignatureError::NotYetCurrent { .. }
            | SignatureError::Scope { .. }
            | SignatureError::Mismatch => (403, "SignatureDoesNotMatch"),
            SignatureError::ExpiredToken => (403, "ExpiredToken"),
            SignatureError::InvalidClientTokenId => (403, "InvalidClientTokenId"),
        };
        Self::new(status, code, text.clone()).because(text)
    }
}

impl From<ParameterError> for Refusal {
    fn from(error: ParameterError) -> Self {
        let text = error.to_string();
        let refusal = match &error {
            ParameterError::MalformedDuration { .. } => {
                return Self::new(400, "MalformedInput", text).because("DurationSeconds is no 32-bit number");
            }
            ParameterError::MalformedPolicy { problem } => {
                return Self::new(400, "MalformedPolicyDocument", text).because(problem.clone());
            }
            ParameterError::PackedTooLarge { .. } => "PackedPolicyTooLarge",
            ParameterError::Constraints { .. } | ParameterError::BadArn { .. } | ParameterError::BadValue { .. } => {
                "ValidationError"
            }
            ParameterError::DuplicateTags | ParameterError::TransitiveWithoutTag => "InvalidParameterValue",
            ParameterError::Unbuilt { parameter } => return Self::not_implemented(parameter),
        };
        Self::new(400, refusal, text.clone()).because(text)
    }
}

impl From<Decline> for Refusal {
    fn from(error: Decline) -> Self {
        let text = error.to_string();
        let (status, code) = match error {
            Decline::AccessDenied { denied_by, .. } | Decline::WebIdentityDenied { denied_by, .. } => {
                return Self::new(403, "AccessDenied", text).because(denied_by);
            }
            Decline::InvalidIdentityToken { because, .. } => {
                return Self::new(400, "InvalidIdentityToken", text).because(because);
            }
            Decline::Forbidden { .. } => (403, "AccessDenied"),
            Decline::ExceedsRole | Decline::ExceedsChaining | Decline::SourceIdentityFixed => (400, "ValidationError"),
            Decline::TransitiveTagConflict => (400, "InvalidParameterValue"),
            Decline::RejectedClaim { because } => return Self::new(403, "IDPRejectedClaim", text).because(because),
            Decline::ExpiredIdentityToken { .. } | Decline::ExpiredAssertion => (400, "ExpiredTokenException"),
            Decline::InvalidAuthorizationMessage => (400, "InvalidAuthorizationMessageException"),
            Decline::OutboundDisabled { .. } => (403, "OutboundWebIdentityFederationDisabled"),
            Decline::DurationEscalation => (403, "SessionDurationEscalation"),
            Decline::Unsupported { .. } => (501, "NotImplemented"),
        };
        Self::new(status, code, text.clone()).because(text)
    }
}
