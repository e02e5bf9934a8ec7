//! OpenID Connect: tokens as STS reads them, keys as issuers publish them, and the issuers that this fake plays. It must not know roles.

mod algorithm;
mod claims;
mod issuer;
mod jwk;
mod key;
mod laxity;
#[cfg(test)]
mod tests;
mod token;

pub use algorithm::Algorithm;
pub(crate) use claims::uuid;
pub use claims::{Job, ServiceAccount, gitlab_claims, kubernetes_claims};
pub use issuer::{Issuer, IssuerError};
pub use jwk::{Jwk, KeyMaterial, read_jwks};
pub use key::{Extras, SigningKey};
pub(crate) use key::{overlay, take};
pub use laxity::{Check, Laxity, Reading};
pub(crate) use token::session_tags;
pub use token::{Token, TokenError, read_token, unsigned};
