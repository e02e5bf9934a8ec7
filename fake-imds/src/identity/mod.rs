//! Who an instance is: the identity document, and its signatures by a test CA whose keys are published (`test-ca`). It must not know how
//! they are served.

mod der;
mod envelope;
mod key;
#[cfg(test)]
mod tests;

use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fake_kit::seed::Seed;
use jiff::Timestamp;
use serde_json::Value;

use crate::credentials::{object, seconds};
use crate::world::{Signing, World};
use envelope::Signer;
use key::Hash;

/// Characters in a line of the signatures (captures).
const LINE: usize = 76;

/// The certificates that verify the signatures, and the CA that issued them: PEM, by the name of what they verify.
pub const CERTIFICATES: [(&str, &str); 5] = [
    ("signature", include_str!("../../test-ca/signature.pem")),
    ("pkcs7", include_str!("../../test-ca/pkcs7.pem")),
    ("rsa2048", include_str!("../../test-ca/rsa2048.pem")),
    ("dsa2048", include_str!("../../test-ca/dsa2048.pem")),
    ("ca", include_str!("../../test-ca/ca.pem")),
];

/// One form of the document's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A bare RSA signature.
    Signature,
    /// PKCS #7 with DSA over SHA-1.
    Pkcs7,
    /// PKCS #7 with RSA over SHA-256.
    Rsa2048,
    /// PKCS #7 with DSA over SHA-256.
    Dsa2048,
}

impl Form {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Signature, Self::Pkcs7, Self::Rsa2048, Self::Dsa2048];

    /// Its name in the tree.
    pub fn name(self) -> &'static str {
        match self {
            Self::Signature => "signature",
            Self::Pkcs7 => "pkcs7",
            Self::Rsa2048 => "rsa2048",
            Self::Dsa2048 => "dsa2048",
        }
    }
}

/// The document of one instance, and its signatures, made when they are first asked for: that takes longer than to start.
#[derive(Debug, Clone)]
pub struct Identity {
    document: String,
    launched: Timestamp,
    signing: Signing,
    seed: Seed,
    marker: Option<String>,
    made: [OnceLock<Bytes>; 4],
}

impl Identity {
    /// The identity of the world's instance. A marker stands where an AWS Marketplace product code would.
    pub fn of(world: &World, seed: &Seed, marker: Option<&str>, launched: Timestamp) -> Self {
        Self {
            document: document(world, marker, launched),
            launched,
            signing: world.instance.identity_signatures,
            seed: seed.clone(),
            marker: marker.map(str::to_owned),
            made: Default::default(),
        }
    }

    /// The document.
    pub fn document(&self) -> &str {
        &self.document
    }

    /// Its signature in that form: base64 in lines.
    pub fn signature(&self, form: Form) -> Bytes {
        let [signature, pkcs7, rsa2048, dsa2048] = &self.made;
        let cell = match form {
            Form::Signature => signature,
            Form::Pkcs7 => pkcs7,
            Form::Rsa2048 => rsa2048,
            Form::Dsa2048 => dsa2048,
        };
        cell.get_or_init(|| match self.signing {
            Signing::TestCa => lines(&STANDARD.encode(self.sign(form))),
            Signing::Marked => lines(&self.mark(form)),
        })
        .clone()
    }

    fn sign(&self, form: Form) -> Vec<u8> {
        let document = self.document.as_bytes();
        let signer = match form {
            Form::Signature => {
                return key::rsa(include_str!("../../test-ca/signature.key"), Hash::Sha256, document);
            }
            Form::Pkcs7 => Signer {
                certificate: include_str!("../../test-ca/pkcs7.pem"),
                key: include_str!("../../test-ca/pkcs7.key"),
                hash: Hash::Sha1,
                rsa: false,
            },
            Form::Rsa2048 => Signer {
                certificate: include_str!("../../test-ca/rsa2048.pem"),
                key: include_str!("../../test-ca/rsa2048.key"),
                hash: Hash::Sha256,
                rsa: true,
            },
            Form::Dsa2048 => Signer {
                certificate: include_str!("../../test-ca/dsa2048.pem"),
                key: include_str!("../../test-ca/dsa2048.key"),
                hash: Hash::Sha256,
                rsa: false,
            },
        };
        envelope::seal(signer, document, self.launched)
    }

    /// Text of a signature's form that no key made, with the marker at its start: what leaks it is recognised.
    fn mark(&self, form: Form) -> String {
        // Lengths of real ones: 128 bytes of RSA, and PKCS #7 envelopes of a document and one signature.
        let (start, length) = match form {
            Form::Signature => ("", 172),
            Form::Pkcs7 => ("MIAGCSqGSIb3DQEHAqCAMIACAQExCzAJ", 980),
            Form::Rsa2048 | Form::Dsa2048 => ("MIAGCSqGSIb3DQEHAqCAMIACAQExDzAN", 1412),
        };
        let filled = format!("{start}{}", self.marker.as_deref().unwrap_or_default());
        let rest = usize::saturating_sub(length, filled.len());
        let rest = self.seed.base64(&format!("document-{}", form.name()), 0, rest);
        format!("{filled}{rest}")
    }
}

fn lines(text: &str) -> Bytes {
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(LINE)
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    lines.join("\n").into()
}

/// The identity document: 15 keys in their order.
fn document(world: &World, marker: Option<&str>, launched: Timestamp) -> String {
    let instance = &world.instance;
    let list = |items: &[String]| {
        if items.is_empty() {
            Value::Null
        } else {
            Value::from(items.to_vec())
        }
    };
    let mut codes = instance.product_codes.clone();
    codes.extend(marker.map(str::to_owned));
    let optional = |text: &Option<String>| text.clone().map_or(Value::Null, Value::from);
    object([
        ("accountId", world.account.id.as_str().into()),
        ("architecture", instance.architecture.as_str().into()),
        ("availabilityZone", world.zone().into()),
        ("billingProducts", list(&instance.billing_products)),
        ("devpayProductCodes", Value::Null),
        ("marketplaceProductCodes", list(&codes)),
        ("imageId", instance.image.as_str().into()),
        ("instanceId", instance.id.as_str().into()),
        ("instanceType", instance.kind.as_str().into()),
        ("kernelId", optional(&instance.kernel)),
        ("pendingTime", seconds(launched).into()),
        ("privateIp", world.primary_ipv4().map_or(Value::Null, Value::from)),
        ("ramdiskId", optional(&instance.ramdisk)),
        ("region", world.account.region.as_str().into()),
        ("version", "2017-09-30".into()),
    ])
}
