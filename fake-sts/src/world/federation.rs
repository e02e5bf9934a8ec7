//! Who else vouches for identities: OpenID Connect providers that accounts have registered, the issuers behind them, and the organization.
//! It must not know tokens.

use std::collections::BTreeSet;

use crate::saml::Metadata;

/// An OIDC provider that is registered in an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcProvider {
    /// `arn:aws:iam::ACCOUNT:oidc-provider/HOST/PATH`.
    pub arn: String,
    /// Twelve digits.
    pub account: String,
    /// As registered, `https://gitlab.example.com`.
    pub url: String,
    /// Audiences that are taken.
    pub client_ids: Vec<String>,
    /// As registered; they take no part in the decision.
    pub thumbprints: Vec<String>,
    /// Off in AWS: every claim becomes a condition key, so that what AWS does not offer can be tried.
    pub custom_claims: bool,
}

/// Where the metadata of a SAML provider are from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SamlSource {
    /// The fake plays the identity provider of this entity id.
    Played {
        /// Who issues the assertions.
        entity_id: String,
    },
    /// Somebody else's.
    Foreign {
        /// As registered.
        document: String,
        /// What it says.
        metadata: Metadata,
    },
}

/// A SAML provider that is registered in an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SamlProvider {
    /// `arn:aws:iam::ACCOUNT:saml-provider/NAME`.
    pub arn: String,
    /// Twelve digits.
    pub account: String,
    /// Its friendly name.
    pub name: String,
    /// Its metadata.
    pub source: SamlSource,
    /// Whom it vouches for (`NameID`): whom "who may assume this role?" is asked of.
    pub subjects: Vec<String>,
}

impl SamlProvider {
    /// Who issues its assertions.
    #[must_use]
    pub fn entity_id(&self) -> &str {
        match &self.source {
            SamlSource::Played { entity_id } => entity_id,
            SamlSource::Foreign { metadata, .. } => &metadata.entity_id,
        }
    }
}

/// The ARN of a SAML provider.
#[must_use]
pub(crate) fn saml_provider_arn(partition: &str, account: &str, name: &str) -> String {
    format!("arn:{partition}:iam::{account}:saml-provider/{name}")
}

/// What an issuer's tokens look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IssuerKind {
    /// GitLab's ID tokens.
    Gitlab,
    /// Service accounts of a Kubernetes cluster (EKS).
    Kubernetes,
    /// The claims that the caller states, and nothing else.
    Plain,
}

/// An issuer as the world file describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerPlan {
    /// `https://gitlab.example.com`.
    pub url: String,
    /// Whose tokens.
    pub kind: IssuerKind,
    /// One key is made for each.
    pub algorithms: Vec<String>,
    /// GitLab's `ci_id_token_sub_claim_components`.
    pub sub_components: Vec<String>,
    /// Subjects that it writes: whom "who may assume this role?" is asked of.
    pub subjects: Vec<String>,
    /// Keys of somebody else, as JSON; then the fake verifies and cannot sign.
    pub jwks: Option<String>,
}

impl IssuerPlan {
    /// A GitLab server as it is without any setting.
    #[must_use]
    pub fn gitlab(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            kind: IssuerKind::Gitlab,
            algorithms: vec!["RS256".to_owned()],
            sub_components: SUB_COMPONENTS.map(str::to_owned).to_vec(),
            subjects: Vec::new(),
            jwks: None,
        }
    }
}

/// What GitLab takes for `ci_id_token_sub_claim_components` (project API), and its default.
pub(super) const SUB_COMPONENTS: [&str; 3] = ["project_path", "ref_type", "ref"];

/// An organization, as far as AssumeRoot and condition keys ask for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization {
    /// `o-…`.
    pub id: String,
    /// The management account.
    pub management: String,
    /// Every member, the management account included.
    pub accounts: BTreeSet<String>,
    /// Whether centralised root access is switched on.
    pub root_sessions: bool,
}

/// An issuer without scheme and trailing slash, as condition keys and provider ARNs write it. `None` when it is no https URL.
#[must_use]
pub(crate) fn bare_issuer(url: &str) -> Option<&str> {
    let bare = url.strip_prefix("https://")?;
    Some(bare.strip_suffix('/').unwrap_or(bare)).filter(|bare| !bare.is_empty())
}

/// The ARN of the provider for an issuer.
#[must_use]
pub(crate) fn provider_arn(partition: &str, account: &str, url: &str) -> Option<String> {
    Some(format!(
        "arn:{partition}:iam::{account}:oidc-provider/{}",
        bare_issuer(url)?
    ))
}
