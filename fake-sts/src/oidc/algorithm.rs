//! The signature algorithms that IAM takes from identity providers.

use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaParameters, RsaSignatureEncoding,
};

/// RS and ES, 256 to 512; nothing else, and never `none` or HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// With SHA-384.
    Rs384,
    /// With SHA-512.
    Rs512,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// On P-384 with SHA-384.
    Es384,
    /// On P-521 with SHA-512.
    Es512,
}

/// How keys of an algorithm are made and used.
pub(super) enum Family {
    Rsa {
        sign: &'static RsaSignatureEncoding,
        verify: &'static RsaParameters,
        size: KeySize,
    },
    Ec {
        sign: &'static EcdsaSigningAlgorithm,
        verify: &'static EcdsaVerificationAlgorithm,
        curve: &'static str,
    },
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Es256,
        Self::Es384,
        Self::Es512,
    ];

    /// The name in a token's header.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
        }
    }

    /// By its exact name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    pub(super) fn family(self) -> Family {
        let rsa = |sign, verify| Family::Rsa {
            sign,
            verify,
            size: KeySize::Rsa2048,
        };
        let ec = |sign, verify, curve| Family::Ec { sign, verify, curve };
        match self {
            Self::Rs256 => rsa(&RSA_PKCS1_SHA256, &RSA_PKCS1_2048_8192_SHA256),
            Self::Rs384 => rsa(&RSA_PKCS1_SHA384, &RSA_PKCS1_2048_8192_SHA384),
            Self::Rs512 => rsa(&RSA_PKCS1_SHA512, &RSA_PKCS1_2048_8192_SHA512),
            Self::Es256 => ec(&ECDSA_P256_SHA256_FIXED_SIGNING, &ECDSA_P256_SHA256_FIXED, "P-256"),
            Self::Es384 => ec(&ECDSA_P384_SHA384_FIXED_SIGNING, &ECDSA_P384_SHA384_FIXED, "P-384"),
            Self::Es512 => ec(&ECDSA_P521_SHA512_FIXED_SIGNING, &ECDSA_P521_SHA512_FIXED, "P-521"),
        }
    }
}
