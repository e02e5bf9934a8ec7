//! Metadata of an identity provider: who it is, and by which certificates it signs. It must not know assertions.

use roxmltree::Node;

use super::signature::decode;
use super::xml::{DSIG, METADATA, SamlError, attribute, children, is, parse, shape, text};
use crate::oidc::take;

/// What metadata says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// `entityID`: the issuer of its assertions.
    pub entity_id: String,
    /// The public keys of its signing certificates, as RSAPublicKey in DER.
    pub keys: Vec<Vec<u8>>,
    /// `validUntil`, as written.
    pub valid_until: Option<String>,
}

/// Reads an `EntityDescriptor`.
///
/// # Errors
/// It is not one of an identity provider with an RSA certificate to sign with.
pub fn read_metadata(document: &str) -> Result<Metadata, SamlError> {
    let document = parse(document)?;
    let root = document.root_element();
    if !is(root, METADATA, "EntityDescriptor") {
        return Err(shape("the root is no EntityDescriptor of SAML 2.0"));
    }
    let entity_id = attribute(root, "entityID").filter(|id| !id.is_empty());
    let entity_id = entity_id.ok_or_else(|| shape("EntityDescriptor has no entityID"))?;
    let descriptors = children(root, METADATA, "IDPSSODescriptor");
    let descriptors = descriptors.flat_map(|one| children(one, METADATA, "KeyDescriptor"));
    let signing = descriptors.filter(|one| attribute(*one, "use").is_none_or(|purpose| purpose == "signing"));
    let mut keys = Vec::new();
    for descriptor in signing {
        let within = |node: Node<'_, '_>| is(node, DSIG, "X509Certificate");
        for certificate in descriptor.descendants().filter(|one| within(*one)) {
            let der = decode(&text(certificate)?).map_err(|_| shape("an X509Certificate is not base64"))?;
            keys.extend(rsa_key(&der).map(<[u8]>::to_vec));
        }
    }
    if keys.is_empty() {
        return Err(shape(
            "IDPSSODescriptor has no X509Certificate with an RSA key to sign with",
        ));
    }
    Ok(Metadata {
        entity_id: entity_id.to_owned(),
        keys,
        valid_until: attribute(root, "validUntil").map(str::to_owned),
    })
}

const SEQUENCE: u8 = 0x30;

/// The contents of `rsaEncryption`, 1.2.840.113549.1.1.1.
pub(super) const RSA_ENCRYPTION: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];

/// The RSAPublicKey in a certificate of any version. Nothing else of it counts: IAM believes the metadata, not an authority.
fn rsa_key(certificate: &[u8]) -> Option<&[u8]> {
    let (certificate, _) = take(certificate, SEQUENCE)?;
    let (mut rest, _) = take(certificate, SEQUENCE)?;
    // The version is absent in the first one.
    if let Some((_, after)) = take(rest, 0xa0) {
        rest = after;
    }
    let (_, after) = take(rest, 0x02)?;
    rest = after;
    // Signature algorithm, issuer, validity, subject.
    for _ in 0..4 {
        let (_, after) = take(rest, SEQUENCE)?;
        rest = after;
    }
    let (info, _) = take(rest, SEQUENCE)?;
    let (algorithm, key) = take(info, SEQUENCE)?;
    let (algorithm, _) = take(algorithm, 0x06)?;
    let (bits, _) = take(key, 0x03)?;
    let (unused, key) = bits.split_first()?;
    (algorithm == RSA_ENCRYPTION && *unused == 0).then_some(key)
}
