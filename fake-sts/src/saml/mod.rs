//! SAML 2.0 as far as STS reads it: metadata of identity providers, signed responses, and an identity provider that the fake plays. Only
//! what a signature covers is read, in the tree that the signature was computed on. It must not know roles, policies or HTTP.

mod assertion;
mod canonical;
mod idp;
mod metadata;
mod signature;
#[cfg(test)]
mod tests;
mod xml;

pub use assertion::{Assertion, Confirmation, read_response};
pub use idp::{Claim, IdentityProvider, Signed};
pub use metadata::{Metadata, read_metadata};
pub use xml::SamlError;

/// Whom assertions are for, and where they are sent.
pub const SIGN_IN: &str = "https://signin.aws.amazon.com/saml";

/// The names of AWS's attributes begin so.
pub const ATTRIBUTES: &str = "https://aws.amazon.com/SAML/Attributes/";
