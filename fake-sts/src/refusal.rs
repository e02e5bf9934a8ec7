//! The one place that turns errors into what the client sees: status, code and text. It must not decide anything.

use crate::assume_role::AssumeRoleError;
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

    fn because(mut self, why: impl Into<String>) -> Self {
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

    /// An error that a fault asks for.
    #[must_use]
    pub fn planted(status: u16, code: &str, message: &str) -> Self {
        let code = if code.is_empty() { "InternalFailure" } else { code };
        Self::new(status, code, message).because("fault")
    }

    /// The envelope.
    #[must_use]
    pub fn body(&self, request_id: &str, format: Format) -> String {
        let namespace = if self.front_end {
            envelope::FAULT_NAMESPACE
        } else {
            envelope::NAMESPACE
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
            ParameterError::Constraints { .. } | ParameterError::BadArn { .. } => "ValidationError",
            ParameterError::DuplicateTags | ParameterError::TransitiveWithoutTag => "InvalidParameterValue",
            ParameterError::Unbuilt { parameter } => return Self::not_implemented(parameter),
        };
        Self::new(400, refusal, text.clone()).because(text)
    }
}

impl From<AssumeRoleError> for Refusal {
    fn from(error: AssumeRoleError) -> Self {
        let text = error.to_string();
        match error {
            AssumeRoleError::AccessDenied { denied_by, .. } => Self::new(403, "AccessDenied", text).because(denied_by),
            AssumeRoleError::ExceedsRole | AssumeRoleError::ExceedsChaining | AssumeRoleError::SourceIdentityFixed => {
                Self::new(400, "ValidationError", text.clone()).because(text)
            }
            AssumeRoleError::TransitiveTagConflict => {
                Self::new(400, "InvalidParameterValue", text.clone()).because(text)
            }
        }
    }
}
