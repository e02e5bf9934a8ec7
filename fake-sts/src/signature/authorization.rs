//! The claim in an `Authorization` header. It must not judge the claim.

use super::{ALGORITHM, Claim, SignatureError};
use crate::request::Request;
use crate::secret::Secret;

pub(super) fn read(header: &str, request: &Request) -> Result<Claim, SignatureError> {
    let header = header.trim();
    let (algorithm, rest) = header.split_once(' ').unwrap_or((header, ""));
    if algorithm != ALGORITHM {
        return Err(SignatureError::UnsupportedAlgorithm {
            algorithm: algorithm.to_owned(),
        });
    }
    let mut credential = None;
    let mut signature = None;
    let mut signed_headers = None;
    // White space ends a piece as a comma does: a key with a space in it was told as two (error quoted in Hadoop's documentation).
    let pieces = rest.split(|letter: char| letter == ',' || letter.is_ascii_whitespace());
    for piece in pieces.filter(|piece| !piece.is_empty()) {
        let Some((name, value)) = piece.split_once('=') else {
            return Err(SignatureError::NotKeyValue {
                piece: piece.to_owned(),
                header: header.to_owned(),
            });
        };
        let slot = match name {
            "Credential" => &mut credential,
            "Signature" => &mut signature,
            "SignedHeaders" => &mut signed_headers,
            _ => continue,
        };
        slot.get_or_insert_with(|| value.to_owned());
    }
    let date = request
        .header("x-amz-date")
        .or_else(|| request.header("date"))
        .map(|date| date.trim().to_owned());
    match (credential, signature, signed_headers, date) {
        (Some(credential), Some(signature), Some(signed_headers), Some(date)) => Ok(Claim {
            credential,
            signed_headers: split_names(&signed_headers),
            signed_list: signed_headers,
            signature,
            date,
            token: request
                .header("x-amz-security-token")
                .map(|token| Secret::new(token.trim().to_owned())),
            presigned: false,
        }),
        (credential, signature, signed_headers, date) => {
            let missing = [
                (
                    "Authorization header requires 'Credential' parameter.",
                    credential.is_none(),
                ),
                (
                    "Authorization header requires 'Signature' parameter.",
                    signature.is_none(),
                ),
                (
                    "Authorization header requires 'SignedHeaders' parameter.",
                    signed_headers.is_none(),
                ),
                (
                    "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.",
                    date.is_none(),
                ),
            ];
            let text: Vec<&str> = missing
                .iter()
                .filter(|(_, absent)| *absent)
                .map(|(text, _)| *text)
                .collect();
            Err(SignatureError::Incomplete { text: text.join(" ") })
        }
    }
}

pub(super) fn split_names(list: &str) -> Vec<String> {
    let mut names: Vec<String> = list.split(';').map(str::to_ascii_lowercase).collect();
    names.sort();
    names
}
