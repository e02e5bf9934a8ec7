//! What a client is told that gets no credentials: one constant text for each status, so that a person reads why in the SDK's error or debug
//! log, and the author of an attack learns nothing from it (HTTP-37). Which of the reasons it was is in the audit record. Pure.
//!
//! The status decides what an SDK does next, and is chosen so that each ends soon: 403 is tried again by none (aws-config takes it for "IMDS is
//! disabled", botocore and the Go and JavaScript SDKs ask once more without a token, and are refused again), 503 by some, a few times within
//! seconds. The real service answers 200 with another `Code` than `Success` where a role cannot be assumed; a status of its own keeps
//! clients that never look at `Code` from taking that for credentials.

use crate::refusal::Status;
use crate::request::Named;

/// With the metadata service's names, and with those of the endpoint for containers. In one line: a script may take it for a token and send it
/// back in a header.
struct Notice {
    metadata: &'static str,
    container: &'static str,
}

macro_rules! notice {
    ($code:literal, $message:literal) => {
        Notice {
            metadata: concat!("{\"Code\" : \"", $code, "\", \"Message\" : \"", $message, "\"}"),
            container: concat!("{\"code\":\"", $code, "\",\"message\":\"", $message, "\"}"),
        }
    };
}

const DENIED: Notice = notice!(
    "AccessDenied",
    "The metadata proxy of this machine gives this container nothing: no rule of its operator does, or AWS refuses the role, or GitLab \
     the job, or the container could not be told from others. The proxy's audit log says which."
);
const UNAVAILABLE: Notice = notice!(
    "ServiceUnavailable",
    "The metadata proxy of this machine cannot give credentials now: the container engine, GitLab or AWS does not answer it, or too many \
     ask. Try again; the proxy's audit log says more."
);

/// The body of a refusal and its type.
pub(super) const fn of(status: Status, service: Named) -> (&'static str, &'static str) {
    let notice = match status {
        Status::Forbidden => DENIED,
        Status::Unavailable => UNAVAILABLE,
        // Empty, as the service's own; that of 404 is a page.
        Status::Ok | Status::BadRequest | Status::Unauthorized | Status::NotFound | Status::NotAllowed => {
            return ("", "text/plain");
        }
    };
    match service {
        Named::Metadata => (notice.metadata, "text/plain"),
        Named::Container => (notice.container, "application/json"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn both_services_say_the_same_in_json_and_none_names_anybody() {
        for status in [Status::Forbidden, Status::Unavailable] {
            let read = |service| serde_json::from_str::<Value>(of(status, service).0).unwrap();
            let (metadata, container) = (read(Named::Metadata), read(Named::Container));
            assert_eq!(metadata["Code"], container["code"]);
            assert_eq!(metadata["Message"], container["message"]);
            // What an SDK would take for credentials, and what would tell of accounts.
            let text = metadata.to_string();
            for word in ["AccessKeyId", "Success", "Token", "arn:", "role/"] {
                assert!(!text.contains(word), "{text}");
            }
            assert!(
                text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_digit()),
                "{text}"
            );
        }
        assert_eq!(of(Status::Unauthorized, Named::Metadata).0, "");
    }
}
