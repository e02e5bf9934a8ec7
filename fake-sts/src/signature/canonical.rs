//! The canonical request and the signature over it. It must not know which requests are allowed.

use std::collections::BTreeMap;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

use super::{ALGORITHM, Claim, Scope};
use crate::query::Parameters;
use crate::request::Request;
use crate::secret::Secret;

/// A computed signature, compared in constant time and never printed.
pub struct Signature(Hmac<Sha256>);

impl std::fmt::Debug for Signature {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Signature(**redacted**)")
    }
}

impl Signature {
    /// Whether `text`, in lower-case hex, is this signature. Takes the same time wherever they differ.
    #[must_use]
    pub fn verify(self, text: &str) -> bool {
        let lower = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let Ok(bytes) = hex::decode(text) else { return false };
        lower && self.0.verify_slice(&bytes).is_ok()
    }
}

impl Signature {
    /// The signature as clients send it.
    #[cfg(test)]
    pub(crate) fn into_hex(self) -> String {
        hex::encode(self.0.finalize().into_bytes())
    }
}

/// The text that is signed in place of the request; `path` is its path in the form that the service gives it, [`canonical_path`]'s for STS.
#[must_use]
pub fn canonical_request(request: &Request, path: &str, query: &Parameters, claim: &Claim) -> String {
    let mut text = format!("{}\n{path}\n", request.method);
    text += &canonical_query(query, claim.presigned);
    text.push('\n');
    let values = signed_values(request, &claim.signed_headers);
    for name in &claim.signed_headers {
        text += name;
        text.push(':');
        text += values.get(name.as_str()).map(String::as_str).unwrap_or_default();
        text.push('\n');
    }
    text.push('\n');
    text += &claim.signed_list;
    text.push('\n');
    text += &payload_hash(request);
    text
}

/// Normalises dot segments and empty segments, then escapes once more what is already escaped, as every service but S3 does.
#[must_use]
pub fn canonical_path(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    let mut text: String = segments.iter().map(|segment| format!("/{}", escape(segment))).collect();
    if text.is_empty() || path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..") {
        text.push('/');
    }
    text
}

fn canonical_query(query: &Parameters, presigned: bool) -> String {
    let mut pairs: Vec<(String, String)> = query
        .iter()
        .filter(|(name, _)| !(presigned && *name == "X-Amz-Signature"))
        .map(|(name, value)| (escape(name), escape(value)))
        .collect();
    pairs.sort();
    let pairs: Vec<String> = pairs
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

/// Values trimmed, runs of spaces collapsed, duplicates joined by commas in wire order.
fn signed_values<'a>(request: &'a Request, names: &[String]) -> BTreeMap<&'a str, String> {
    let mut values: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in &request.headers {
        if names.binary_search(name).is_err() {
            continue;
        }
        let words: Vec<&str> = value.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
        let value = words.join(" ");
        values
            .entry(name)
            .and_modify(|joined| {
                joined.push(',');
                *joined += &value;
            })
            .or_insert(value);
    }
    values
}

/// `UNSIGNED-PAYLOAD` only where the header says so. Any other header value is compared by being ignored: a wrong one was signed, and
/// then the signature over the true hash differs.
fn payload_hash(request: &Request) -> String {
    match request.header("x-amz-content-sha256") {
        Some("UNSIGNED-PAYLOAD") => "UNSIGNED-PAYLOAD".to_owned(),
        Some(_) | None => hex::encode(Sha256::digest(&request.body)),
    }
}

/// RFC 3986: everything but unreserved characters.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            escaped.push(char::from(byte));
        } else {
            escaped.push('%');
            escaped.push(hex_digit(byte >> 4));
            escaped.push(hex_digit(byte & 15));
        }
    }
    escaped
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16)
        .unwrap_or('0')
        .to_ascii_uppercase()
}

/// Signs a canonical request.
#[must_use]
pub fn sign(secret: &Secret, scope: &Scope<'_>, date: &str, day_scope: &str, canonical: &str) -> Signature {
    let digest = hex::encode(Sha256::digest(canonical.as_bytes()));
    let text = format!("{ALGORITHM}\n{date}\n{day_scope}\n{digest}");
    let seed = zeroize::Zeroizing::new(format!("AWS4{}", secret.expose()));
    let mut key = keyed(seed.as_bytes(), scope.day.as_bytes());
    for part in [scope.region, scope.service, scope.terminator] {
        key = keyed(&key.finalize().into_bytes(), part.as_bytes());
    }
    Signature(keyed(&key.finalize().into_bytes(), text.as_bytes()))
}

fn keyed(key: &[u8], message: &[u8]) -> Hmac<Sha256> {
    // HMAC takes a key of any length; the fallback exists for the type only.
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| Hmac::<Sha256>::new(&Default::default()));
    mac.update(message);
    mac
}
