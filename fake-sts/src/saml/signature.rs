//! Enveloped signatures of XML-DSig as SAML uses them: one reference, to the element that the signature stands in; nothing else is taken,
//! because what is signed must be what is read. It must not know what the signed element means.

use std::collections::BTreeSet;

use aws_lc_rs::digest::{self, SHA256, SHA384, SHA512, digest};
use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RsaParameters,
    UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roxmltree::Node;

use super::canonical::Canonical;
use super::xml::{DSIG, SamlError, attribute, children, is, only, text};

pub(super) const EXCLUSIVE: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
pub(super) const ENVELOPED: &str = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";
pub(super) const RSA_SHA256: &str = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256";
pub(super) const DIGEST_SHA256: &str = "http://www.w3.org/2001/04/xmlenc#sha256";

fn wrong(text: impl Into<String>) -> SamlError {
    SamlError::Signature(text.into())
}

fn signature_method(uri: &str) -> Result<&'static RsaParameters, SamlError> {
    match uri {
        RSA_SHA256 => Ok(&RSA_PKCS1_2048_8192_SHA256),
        "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384" => Ok(&RSA_PKCS1_2048_8192_SHA384),
        "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512" => Ok(&RSA_PKCS1_2048_8192_SHA512),
        other => Err(wrong(format!(
            "SignatureMethod {other}: RSA with SHA-256, SHA-384 or SHA-512 is taken"
        ))),
    }
}

fn digest_method(uri: &str) -> Result<&'static digest::Algorithm, SamlError> {
    match uri {
        DIGEST_SHA256 => Ok(&SHA256),
        "http://www.w3.org/2001/04/xmldsig-more#sha384" => Ok(&SHA384),
        "http://www.w3.org/2001/04/xmlenc#sha512" => Ok(&SHA512),
        other => Err(wrong(format!(
            "DigestMethod {other}: SHA-256, SHA-384 or SHA-512 is taken"
        ))),
    }
}

/// Whether an element has a signature of its own.
pub(super) fn is_signed(node: Node<'_, '_>) -> bool {
    children(node, DSIG, "Signature").next().is_some()
}

/// Verifies the signature that stands in an element and covers it, by one of these public keys. Keys that the signature brings along are
/// not looked at.
pub(super) fn verify(node: Node<'_, '_>, keys: &[Vec<u8>]) -> Result<(), SamlError> {
    let signature = only(node, DSIG, "Signature")?;
    if signature.children().any(|one| is(one, DSIG, "Object")) {
        return Err(wrong("the signature carries an Object"));
    }
    let signed = only(signature, DSIG, "SignedInfo")?;
    check_reference(node, signature, only(signed, DSIG, "Reference")?)?;
    let how = only(signed, DSIG, "CanonicalizationMethod")?;
    if attribute(how, "Algorithm") != Some(EXCLUSIVE) {
        return Err(wrong("SignedInfo is not canonicalized exclusively, without comments"));
    }
    let method = only(signed, DSIG, "SignatureMethod")?;
    let method = signature_method(attribute(method, "Algorithm").unwrap_or_default())?;
    let value = decode(&text(only(signature, DSIG, "SignatureValue")?)?)?;
    let canonical = Canonical {
        without: None,
        inclusive: inclusive(how)?,
    };
    let message = canonical.write(signed)?;
    let mut verified = keys
        .iter()
        .map(|key| UnparsedPublicKey::new(method, key).verify(message.as_bytes(), &value));
    if verified.any(|one| one.is_ok()) {
        Ok(())
    } else {
        Err(wrong("no certificate of the provider's metadata made the signature"))
    }
}

fn check_reference(node: Node<'_, '_>, signature: Node<'_, '_>, reference: Node<'_, '_>) -> Result<(), SamlError> {
    let own = attribute(node, "ID").filter(|id| !id.is_empty());
    let meant = attribute(reference, "URI").and_then(|uri| uri.strip_prefix('#'));
    if own.is_none() || own != meant {
        return Err(wrong("the signature does not refer to the element that it stands in"));
    }
    let mut without = None;
    let mut exclusive = None;
    for transform in children(only(reference, DSIG, "Transforms")?, DSIG, "Transform") {
        match attribute(transform, "Algorithm").unwrap_or_default() {
            ENVELOPED if without.is_none() && exclusive.is_none() => without = Some(signature.id()),
            EXCLUSIVE if exclusive.is_none() => exclusive = Some(inclusive(transform)?),
            other => return Err(wrong(format!("Transform {other} is not taken here"))),
        }
    }
    let (Some(_), Some(inclusive)) = (without, exclusive) else {
        return Err(wrong(
            "the transforms are not enveloped-signature and exclusive canonicalization",
        ));
    };
    let method = only(reference, DSIG, "DigestMethod")?;
    let method = digest_method(attribute(method, "Algorithm").unwrap_or_default())?;
    let stated = decode(&text(only(reference, DSIG, "DigestValue")?)?)?;
    let computed = digest(method, Canonical { without, inclusive }.write(node)?.as_bytes());
    if computed.as_ref() == stated.as_slice() {
        Ok(())
    } else {
        Err(wrong("what was signed has been changed: the digest differs"))
    }
}

/// The prefixes of InclusiveNamespaces; `#default` is the default namespace.
fn inclusive<'a>(method: Node<'a, '_>) -> Result<BTreeSet<Option<&'a str>>, SamlError> {
    let mut found = BTreeSet::new();
    for one in method.children().filter(Node::is_element) {
        if !is(one, EXCLUSIVE, "InclusiveNamespaces") {
            return Err(wrong(format!(
                "{} is no parameter of exclusive canonicalization",
                one.tag_name().name()
            )));
        }
        let list = attribute(one, "PrefixList").unwrap_or_default();
        found.extend(
            list.split_ascii_whitespace()
                .map(|prefix| Some(prefix).filter(|prefix| *prefix != "#default")),
        );
    }
    Ok(found)
}

/// Base64 of several lines.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, SamlError> {
    let bare: String = text.chars().filter(|letter| !letter.is_ascii_whitespace()).collect();
    STANDARD
        .decode(bare)
        .map_err(|_| wrong("a value of the signature is not base64"))
}
