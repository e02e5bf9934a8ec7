//! Signing with the keys of the test CA. They are published, so nothing here hides how long it takes; the library that does refuses keys as
//! short as the real service's. It must not know what is signed.

use num_bigint::BigUint;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::der;

/// A digest that signatures are made over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha1,
    Sha256,
}

impl Hash {
    pub(super) fn of(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => Sha1::digest(bytes).to_vec(),
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
        }
    }

    /// Its name, as `AlgorithmIdentifier` with parameters of nothing.
    pub(super) fn identifier(self) -> Vec<u8> {
        let name: &[u8] = match self {
            Self::Sha1 => &[0x2b, 0x0e, 0x03, 0x02, 0x1a],
            Self::Sha256 => &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01],
        };
        der::of_parts(
            der::SEQUENCE,
            &[&der::value(der::OBJECT, name), &der::value(der::NULL, &[])],
        )
    }
}

/// The numbers of a traditional PEM key, in their order.
fn numbers(pem: &str) -> Vec<BigUint> {
    let bytes = der::pem(pem);
    let Some(key) = der::read(&bytes) else {
        return Vec::new();
    };
    let values = der::all(key.content);
    values
        .iter()
        .map(|value| BigUint::from_bytes_be(value.content))
        .collect()
}

/// An RSA signature (PKCS #1, version 1.5) with the key of that PEM text; empty if it is none.
pub(super) fn rsa(pem: &str, hash: Hash, message: &[u8]) -> Vec<u8> {
    let numbers = numbers(pem);
    let [_version, modulus, _public, private, ..] = numbers.as_slice() else {
        return Vec::new();
    };
    let length = modulus.to_bytes_be().len();
    let told = der::of_parts(
        der::SEQUENCE,
        &[&hash.identifier(), &der::value(der::OCTETS, &hash.of(message))],
    );
    let filling = vec![0xff; length.saturating_sub(told.len() + 3)];
    let block = [&[0, 1], filling.as_slice(), &[0], &told].concat();
    let signed = BigUint::from_bytes_be(&block).modpow(private, modulus).to_bytes_be();
    [vec![0; length - signed.len().min(length)], signed].concat()
}

/// A DSA signature with the key of that PEM text; empty if it is none. The same message gets the same one.
pub(super) fn dsa(pem: &str, hash: Hash, message: &[u8]) -> Vec<u8> {
    let numbers = numbers(pem);
    let [_version, p, q, g, _public, private, ..] = numbers.as_slice() else {
        return Vec::new();
    };
    let zero = BigUint::ZERO;
    // FIPS 186: the leftmost bits of the digest, as many as q has.
    let digest = hash.of(message);
    let taken = q.to_bytes_be().len().min(digest.len());
    let digest = BigUint::from_bytes_be(digest.get(..taken).unwrap_or_default());
    for round in 0_u8..=u8::MAX {
        let drawn = [private.to_bytes_be().as_slice(), &digest.to_bytes_be(), &[round]].concat();
        let once = BigUint::from_bytes_be(&Hash::Sha256.of(&drawn)) % q;
        let r = g.modpow(&once, p) % q;
        let Some(inverse) = once.modinv(q) else { continue };
        let s = (inverse * (&digest + private * &r)) % q;
        if r != zero && s != zero {
            let (r, s) = (der::number(&r.to_bytes_be()), der::number(&s.to_bytes_be()));
            return der::of_parts(der::SEQUENCE, &[&r, &s]);
        }
    }
    Vec::new()
}
