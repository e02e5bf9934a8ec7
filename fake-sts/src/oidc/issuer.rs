//! An issuer that this fake plays, or whose published keys it was given: which keys exist, which are published, what its documents say.

use serde_json::{Value, json};
use thiserror::Error;

use super::algorithm::Algorithm;
use super::jwk::{Jwk, read_jwks};
use super::key::{Extras, SigningKey};
use crate::world::{IssuerKind, IssuerPlan, bare_issuer};

/// Keys that an issuer keeps at most: rotations beyond that forget the oldest.
const MOST_KEYS: usize = 24;

/// Why an issuer signs nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IssuerError {
    /// Only its public keys are known.
    #[error("{url} has keys of its own (jwks): this fake cannot sign for it")]
    Foreign {
        /// Which issuer.
        url: String,
    },
    /// No such key.
    #[error("{url} has no key for {algorithm}: add it to algorithms in its [[issuer]]")]
    NoKey {
        /// Which issuer.
        url: String,
        /// Which algorithm.
        algorithm: String,
    },
    /// The machine gives no randomness.
    #[error("no key could be made")]
    Generation,
}

/// A key and whether it is published.
#[derive(Debug)]
struct Held {
    key: SigningKey,
    published: bool,
}

/// An issuer.
#[derive(Debug)]
pub struct Issuer {
    plan: IssuerPlan,
    keys: Vec<Held>,
    foreign: Vec<Jwk>,
    /// Whether its documents cannot be fetched.
    pub unavailable: bool,
}

impl Issuer {
    /// An issuer without keys: they are made when they are first asked for.
    #[must_use]
    pub fn new(plan: IssuerPlan) -> Self {
        // The world was read, so its keys are sound.
        let foreign = plan
            .jwks
            .as_deref()
            .and_then(|text| read_jwks(text).ok())
            .unwrap_or_default();
        Self {
            plan,
            keys: Vec::new(),
            foreign,
            unavailable: false,
        }
    }

    /// Its URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.plan.url
    }

    /// Whose tokens look like its.
    #[must_use]
    pub fn kind(&self) -> IssuerKind {
        self.plan.kind
    }

    /// GitLab's components of `sub`.
    #[must_use]
    pub fn sub_components(&self) -> &[String] {
        &self.plan.sub_components
    }

    /// The keys that verifiers may believe.
    #[must_use]
    pub fn published(&self) -> Vec<Jwk> {
        let own = self
            .keys
            .iter()
            .filter(|held| held.published)
            .map(|held| held.key.public().clone());
        own.chain(self.foreign.iter().cloned()).collect()
    }

    /// Its own keys that are published no more.
    #[must_use]
    pub fn withdrawn(&self) -> Vec<Jwk> {
        let gone = self.keys.iter().filter(|held| !held.published);
        gone.map(|held| held.key.public().clone()).collect()
    }

    /// Whether keys are still to be made.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        self.keys.is_empty() && self.foreign.is_empty()
    }

    /// Makes the keys that are missing.
    ///
    /// # Errors
    /// The machine gives no randomness.
    pub fn equip(&mut self) -> Result<(), IssuerError> {
        if self.is_bare() { self.rotate(false) } else { Ok(()) }
    }

    /// Makes a new key for each algorithm; the old ones stay published, or vanish.
    ///
    /// # Errors
    /// The keys are somebody else's, or the machine gives no randomness.
    pub fn rotate(&mut self, withdraw: bool) -> Result<(), IssuerError> {
        if !self.foreign.is_empty() {
            return Err(IssuerError::Foreign {
                url: self.plan.url.clone(),
            });
        }
        let mut fresh = Vec::new();
        for algorithm in self.plan.algorithms.iter().filter_map(|name| Algorithm::parse(name)) {
            let key = SigningKey::generate(algorithm).ok_or(IssuerError::Generation)?;
            fresh.push(Held { key, published: true });
        }
        if withdraw {
            self.keys.iter_mut().for_each(|held| held.published = false);
        }
        fresh.append(&mut self.keys);
        fresh.truncate(MOST_KEYS);
        self.keys = fresh;
        Ok(())
    }

    /// Signs claims with the newest key of an algorithm, of the first one when none is named.
    ///
    /// # Errors
    /// It has no such key.
    pub fn sign(&self, claims: &Value, algorithm: Option<Algorithm>) -> Result<String, IssuerError> {
        self.sign_with(claims, algorithm, &Extras::default())
    }

    /// The same, of a token whose header or payload says what no sound issuer writes.
    ///
    /// # Errors
    /// It has no such key.
    pub fn sign_with(
        &self,
        claims: &Value,
        algorithm: Option<Algorithm>,
        extras: &Extras,
    ) -> Result<String, IssuerError> {
        if !self.foreign.is_empty() {
            return Err(IssuerError::Foreign {
                url: self.plan.url.clone(),
            });
        }
        let wanted = |held: &&Held| algorithm.is_none_or(|wanted| held.key.algorithm() == wanted);
        let held = self.keys.iter().find(wanted);
        held.and_then(|held| held.key.sign_with(claims, extras))
            .ok_or_else(|| IssuerError::NoKey {
                url: self.plan.url.clone(),
                algorithm: algorithm.map_or("any", Algorithm::name).to_owned(),
            })
    }

    /// Whether a host and path, `gitlab.example.com/…`, are below its URL.
    #[must_use]
    pub fn owns(&self, asked: &str) -> bool {
        let bare = bare_issuer(&self.plan.url).unwrap_or_default();
        asked.strip_prefix(bare).is_some_and(|rest| rest.starts_with('/'))
    }

    /// The document at a host and path; keys are made when they are first asked for.
    ///
    /// # Errors
    /// No key could be made.
    pub fn document(&mut self, asked: &str) -> Result<Option<Value>, IssuerError> {
        let bare = bare_issuer(&self.plan.url).unwrap_or_default();
        let path = asked.strip_prefix(bare).unwrap_or_default();
        if path == "/.well-known/openid-configuration" {
            return Ok(Some(self.discovery()));
        }
        if path == self.keys_path() {
            self.equip()?;
            return Ok(Some(self.jwks()));
        }
        Ok(None)
    }

    /// `/.well-known/openid-configuration`.
    #[must_use]
    pub fn discovery(&self) -> Value {
        let base = self.plan.url.trim_end_matches('/');
        json!({
            "issuer": self.plan.url,
            "jwks_uri": format!("{base}{}", self.keys_path()),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": self.plan.algorithms,
            "claims_supported": ["aud", "exp", "iat", "iss", "sub"],
        })
    }

    /// Where its keys are, below its URL.
    #[must_use]
    pub fn keys_path(&self) -> &'static str {
        match self.plan.kind {
            IssuerKind::Gitlab => "/oauth/discovery/keys",
            IssuerKind::Kubernetes => "/keys",
            IssuerKind::Plain => "/.well-known/jwks.json",
        }
    }

    /// The set of its keys.
    #[must_use]
    pub fn jwks(&self) -> Value {
        let keys: Vec<Value> = self.published().iter().map(Jwk::to_json).collect();
        json!({ "keys": keys })
    }
}
