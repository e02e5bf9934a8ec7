//! The claim in a query string (`X-Amz-Signature=…`). It must not judge the claim.

use super::{ALGORITHM, Claim, SignatureError, authorization};
use crate::query::Parameters;
use crate::request::Request;
use crate::secret::Secret;

/// Seven days, the longest that SigV4 allows.
const MAX_EXPIRES: u32 = 604_800;

const REQUIRED: [&str; 4] = [
    "X-Amz-Credential",
    "X-Amz-Signature",
    "X-Amz-SignedHeaders",
    "X-Amz-Date",
];

pub(super) fn read(query: &Parameters, request: &Request) -> Result<Claim, SignatureError> {
    let algorithm = query.get("X-Amz-Algorithm").unwrap_or_default();
    if algorithm != ALGORITHM {
        return Err(SignatureError::UnsupportedAlgorithm {
            algorithm: algorithm.to_owned(),
        });
    }
    let [Some(credential), Some(signature), Some(signed_headers), Some(date)] = REQUIRED.map(|name| query.get(name))
    else {
        let missing: Vec<String> = REQUIRED
            .iter()
            .filter(|name| query.get(name).is_none())
            .map(|name| format!("AWS query-string parameters must include '{name}'."))
            .collect();
        return Err(SignatureError::Incomplete {
            text: format!("{} Re-examine the query-string parameters.", missing.join(" ")),
        });
    };
    // STS checks that the number is sane and then gives every signature its 15 minutes: EKS tokens say 60 and live for 15 minutes.
    if let Some(expires) = query.get("X-Amz-Expires")
        && !expires
            .parse::<u32>()
            .is_ok_and(|seconds| (1..=MAX_EXPIRES).contains(&seconds))
    {
        return Err(SignatureError::Incomplete {
            text: format!("X-Amz-Expires must be a number of seconds from 1 to {MAX_EXPIRES}."),
        });
    }
    let token = query
        .get(super::TOKEN_PARAMETER)
        .or_else(|| request.header("x-amz-security-token").map(str::trim));
    Ok(Claim {
        credential: credential.to_owned(),
        signed_headers: authorization::split_names(signed_headers),
        signed_list: signed_headers.to_owned(),
        signature: signature.to_owned(),
        date: date.to_owned(),
        token: token.map(|token| Secret::new(token.to_owned())),
        presigned: true,
    })
}
