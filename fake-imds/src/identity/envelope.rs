//! PKCS #7 signed data as the real service makes it: lengths left open, the document inside, no certificate, signed attributes. It must not
//! know what the document says.

use jiff::Timestamp;

use super::der::{self, FIELD, OBJECT, OCTETS, SEQUENCE, SET, number, of_parts, open_ended, value};
use super::key::{self, Hash};

/// 1.2.840.113549.1.7.2
const SIGNED_DATA: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// 1.2.840.113549.1.7.1
const DATA: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
/// 1.2.840.113549.1.9.3
const CONTENT_TYPE: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x03];
/// 1.2.840.113549.1.9.4
const MESSAGE_DIGEST: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04];
/// 1.2.840.113549.1.9.5
const SIGNING_TIME: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x05];
/// 1.2.840.113549.1.1.1
const RSA: [u8; 9] = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// 1.2.840.10040.4.3
const DSA_WITH_SHA1: [u8; 7] = [0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x03];
/// 2.16.840.1.101.3.4.3.2
const DSA_WITH_SHA256: [u8; 9] = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x02];

/// With what an envelope is signed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Signer {
    pub(super) certificate: &'static str,
    pub(super) key: &'static str,
    pub(super) hash: Hash,
    pub(super) rsa: bool,
}

/// The document in an envelope, signed at that time.
pub(super) fn seal(signer: Signer, document: &[u8], at: Timestamp) -> Vec<u8> {
    let hash = signer.hash;
    let attributes = attributes(hash, document, at);
    // What is signed has the tag of a set; what stands in the envelope, that of a field.
    let signed = value(SET, &attributes);
    let (algorithm, signature) = if signer.rsa {
        let name = of_parts(SEQUENCE, &[&value(OBJECT, &RSA), &value(der::NULL, &[])]);
        (name, key::rsa(signer.key, hash, &signed))
    } else {
        let name: &[u8] = match hash {
            Hash::Sha1 => &DSA_WITH_SHA1,
            Hash::Sha256 => &DSA_WITH_SHA256,
        };
        let name = value(SEQUENCE, &value(OBJECT, name));
        (name, key::dsa(signer.key, hash, &signed))
    };
    let info = of_parts(
        SEQUENCE,
        &[
            &number(&[1]),
            &issued(signer.certificate),
            &hash.identifier(),
            &value(FIELD, &attributes),
            &algorithm,
            &value(OCTETS, &signature),
        ],
    );
    let inside = open_ended(der::OCTETS_IN_PARTS, &[&value(OCTETS, document)]);
    let inside = open_ended(SEQUENCE, &[&value(OBJECT, &DATA), &open_ended(FIELD, &[&inside])]);
    let data = open_ended(
        SEQUENCE,
        &[
            &number(&[1]),
            &value(SET, &hash.identifier()),
            &inside,
            &value(SET, &info),
        ],
    );
    open_ended(SEQUENCE, &[&value(OBJECT, &SIGNED_DATA), &open_ended(FIELD, &[&data])])
}

fn attributes(hash: Hash, document: &[u8], at: Timestamp) -> Vec<u8> {
    let attribute = |name: &[u8], content: &[u8]| of_parts(SEQUENCE, &[&value(OBJECT, name), &value(SET, content)]);
    let time = at.strftime("%y%m%d%H%M%SZ").to_string();
    // In the order that DER asks of a set: by their bytes.
    let mut attributes = [
        attribute(&CONTENT_TYPE, &value(OBJECT, &DATA)),
        attribute(&SIGNING_TIME, &value(der::TIME, time.as_bytes())),
        attribute(&MESSAGE_DIGEST, &value(OCTETS, &hash.of(document))),
    ];
    attributes.sort();
    attributes.concat()
}

/// Who issued a certificate, and its number.
fn issued(certificate: &str) -> Vec<u8> {
    let bytes = der::pem(certificate);
    let fields = der::read(&bytes)
        .and_then(|certificate| der::read(certificate.content))
        .map(|body| der::all(body.content))
        .unwrap_or_default();
    // The version, unless it is the first; number, algorithm, issuer.
    let stated = usize::from(fields.first().is_some_and(|version| version.tag == FIELD));
    match fields.get(stated..) {
        Some([serial, _, issuer, ..]) => of_parts(SEQUENCE, &[issuer.whole, serial.whole]),
        _ => value(SEQUENCE, &[]),
    }
}
