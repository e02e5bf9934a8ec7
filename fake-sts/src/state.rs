//! What the fake knows at one moment: the world. Sessions it reads out of their tokens. It must not know requests or answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fake_kit::seed::Seed;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::arn::RoleArn;
use crate::mint::expiration;
use crate::oidc::{Issuer, Laxity};
use crate::policy::{Attributes, Kind, Named, Policy, Standing, parse_text};
use crate::provenance::{Delivery, Provenance, Via};
use crate::saml::{IdentityProvider, Metadata};
use crate::seal::{Bearer, Opened, Sealer};
use crate::secret::Secret;
use crate::signature::{Key, KeyRing};
use crate::world::{IssuerKind, IssuerPlan, SamlProvider, SamlSource, SharedWorld, User, World, bare_issuer, named};

pub use crate::principal::Owner;

/// Temporary credentials and what they stand for.
#[derive(Debug, Clone)]
pub struct Session {
    /// `ASIA…`.
    pub access_key_id: String,
    /// Its secret.
    pub secret: Secret,
    /// The session token.
    pub token: Secret,
    /// Until when.
    pub expiration: Timestamp,
    /// Since when.
    pub issued_at: Timestamp,
    /// Whose.
    pub owner: Owner,
    /// What GetCallerIdentity says, `arn:aws:sts::…:assumed-role/NAME/SESSION`.
    pub arn: String,
    /// The ARN of the role, or whoever else the session is of.
    pub principal_arn: String,
    /// How it was issued.
    pub via: Via,
    /// The session policy.
    pub policy: Option<Policy>,
    /// Managed session policies.
    pub policy_arns: Vec<String>,
    /// Session tags.
    pub tags: BTreeMap<String, String>,
    /// Keys of inherited tags.
    pub transitive_tag_keys: BTreeSet<String>,
    /// Source identity.
    pub source_identity: Option<String>,
    /// Whether a second factor was shown.
    pub mfa: bool,
    /// The ARN of the identity provider that vouched.
    pub provider: Option<String>,
    /// By which version of the metadata service an instance got them; `None` for whoever is no instance.
    pub delivery: Option<Delivery>,
}

/// Who signed a request.
#[derive(Debug, Clone)]
pub enum Caller {
    /// An IAM user with a long-lived key.
    User(Arc<User>, String),
    /// Temporary credentials.
    Session(Arc<Session>),
}

impl Caller {
    /// What principals match on.
    #[must_use]
    pub fn attributes(&self) -> Attributes<'_> {
        match self {
            Self::User(user, _) => user.attributes(),
            Self::Session(session) => Attributes {
                arn: &session.arn,
                principal_arn: &session.principal_arn,
                unique_id: session.owner.unique_id(),
                account: session.owner.account(),
                partition: session.owner.partition(),
                service: None,
                federated: None,
            },
        }
    }

    /// `aws:userid`.
    #[must_use]
    pub fn user_id(&self) -> String {
        match self {
            Self::User(user, _) => user.id.clone(),
            Self::Session(session) => session.owner.user_id(),
        }
    }

    /// The key that signed.
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        match self {
            Self::User(_, key) => key,
            Self::Session(session) => &session.access_key_id,
        }
    }

    /// The user whose permissions count, if they are a user's.
    #[must_use]
    pub fn user(&self) -> Option<&Arc<User>> {
        match self {
            Self::User(user, _) => Some(user),
            Self::Session(session) => match &session.owner {
                Owner::User(user) | Owner::Federated { user, .. } => Some(user),
                Owner::Role { .. } | Owner::Root { .. } => None,
            },
        }
    }

    /// Policies that decide what the caller may do, as they are now.
    #[must_use]
    pub fn standing<'a>(&'a self, world: &'a World) -> Standing<'a> {
        let mut standing = Standing::default();
        let holder = match self {
            Self::User(user, _) => world.user_by_name(&user.account, &user.name).map(|user| &user.holder),
            Self::Session(session) => match &session.owner {
                Owner::Role { arn, .. } => {
                    standing.of_role = true;
                    world.role_by_arn(arn).map(|role| &role.holder)
                }
                Owner::User(user) | Owner::Federated { user, .. } => {
                    world.user_by_name(&user.account, &user.name).map(|user| &user.holder)
                }
                // The task policy alone counts, and what it says is not known here.
                Owner::Root { .. } => None,
            },
        };
        if let Some(holder) = holder {
            standing.identity = holder.identity(world);
            standing.boundary = holder.limit(world);
        }
        if let Self::Session(session) = self {
            let inline = session.policy.iter().map(|policy| Named {
                name: String::new(),
                policy: Some(policy),
            });
            let managed = session.policy_arns.iter().map(|arn| named(arn, world));
            standing.session = inline.chain(managed).collect();
            // A federated user has what its session policies allow, and so nothing without any.
            if matches!(session.owner, Owner::Federated { .. }) && standing.session.is_empty() {
                standing.session.push(Named {
                    name: String::new(),
                    policy: Some(&NOTHING),
                });
            }
        }
        standing
    }
}

/// A policy that allows nothing.
static NOTHING: Policy = Policy {
    variables: false,
    statements: Vec::new(),
};

/// The world, and what tokens are read with.
#[derive(Debug)]
pub struct State {
    /// Accounts, roles, users.
    pub world: SharedWorld,
    /// What ids and keys are derived from.
    pub seed: Seed,
    /// Accept any role; signatures are verified all the same.
    pub permissive: bool,
    /// Checks of web identity tokens that are left out; none in STS.
    pub laxity: Laxity,
    /// Issuers of web identity tokens.
    pub issuers: Vec<Issuer>,
    /// Who signs the tokens of GetWebIdentityToken.
    pub outbound: Option<Issuer>,
    /// What session tokens are written and read with.
    pub sealer: Sealer,
    /// Identity providers that are played, of `[[saml_provider]]`.
    pub identity_providers: Vec<IdentityProvider>,
    made_keys: u64,
}

/// What a state begins with.
#[derive(Debug)]
pub struct Beginning {
    world: SharedWorld,
    permissive: bool,
    laxity: Laxity,
    seed: Seed,
}

impl Beginning {
    /// A state in which nothing has happened: issuers and identity providers have no keys yet.
    #[must_use]
    pub fn state(&self) -> State {
        State {
            laxity: self.laxity.clone(),
            ..State::new(self.world.clone(), self.permissive, self.seed.clone())
        }
    }
}

impl State {
    /// A world as it was read.
    #[must_use]
    pub fn new(world: impl Into<SharedWorld>, permissive: bool, seed: Seed) -> Self {
        let world = world.into();
        Self {
            sealer: Sealer::new(&seed),
            seed,
            issuers: world.issuers.iter().cloned().map(Issuer::new).collect(),
            outbound: outbound(&world).map(Issuer::new),
            identity_providers: played(&world),
            world,
            permissive,
            laxity: Laxity::default(),
            made_keys: 0,
        }
    }

    /// The same world and settings as they are now, to begin with again.
    #[must_use]
    pub fn beginning(&self) -> Beginning {
        Beginning {
            world: self.world.clone(),
            permissive: self.permissive,
            laxity: self.laxity.clone(),
            seed: self.seed.clone(),
        }
    }

    /// The serial number of the next long-lived key.
    pub fn next_key(&mut self) -> u64 {
        self.made_keys += 1;
        self.made_keys
    }

    /// The ARN behind a key and the token sent with it, for faults to match on; not a proof of anything.
    #[must_use]
    pub fn arn_of_key(&self, access_key_id: &str, token: Option<&str>) -> Option<String> {
        match token {
            Some(token) => self.session(access_key_id, token).map(|session| session.arn),
            None => self.world.user(access_key_id).map(|user| user.arn.clone()),
        }
    }

    /// What is known of who stands behind a SAML provider; `None` when it is played and has no key yet, so that it signed nothing.
    #[must_use]
    pub fn saml_metadata(&self, provider: &SamlProvider) -> Option<Metadata> {
        match &provider.source {
            SamlSource::Foreign { metadata, .. } => Some(metadata.clone()),
            SamlSource::Played { entity_id } => {
                let played = self
                    .identity_providers
                    .iter()
                    .find(|one| one.entity_id() == entity_id)?;
                Some(Metadata {
                    entity_id: entity_id.clone(),
                    keys: vec![played.public_key()?.to_vec()],
                    valid_until: None,
                })
            }
        }
    }

    /// A played identity provider, to use.
    pub fn identity_provider_mut(&mut self, entity_id: &str) -> Option<&mut IdentityProvider> {
        self.identity_providers
            .iter_mut()
            .find(|one| one.entity_id() == entity_id)
    }

    /// Every issuer that is played, STS itself included.
    pub fn all_issuers(&self) -> impl Iterator<Item = &Issuer> {
        self.issuers.iter().chain(&self.outbound)
    }

    /// Every issuer that is played, to change.
    pub fn all_issuers_mut(&mut self) -> impl Iterator<Item = &mut Issuer> {
        self.issuers.iter_mut().chain(&mut self.outbound)
    }

    /// The issuer of that URL; a trailing slash takes no part.
    #[must_use]
    pub fn issuer(&self, url: &str) -> Option<&Issuer> {
        let wanted = bare_issuer(url)?;
        self.issuers
            .iter()
            .find(|issuer| bare_issuer(issuer.url()) == Some(wanted))
    }

    /// The session that a token carries. Sessions end with the principal they are of.
    #[must_use]
    pub fn session(&self, access_key_id: &str, token: &str) -> Option<Session> {
        let Opened {
            provenance,
            content,
            secret,
        } = self.sealer.open(access_key_id, token)?;
        let owner = self.owner(content.bearer, &provenance)?;
        let policy = match content.policy {
            Some(text) => Some(parse_text(&text, Kind::Identity).ok()?),
            None => None,
        };
        Some(Session {
            access_key_id: access_key_id.to_owned(),
            secret,
            token: Secret::new(token.to_owned()),
            expiration: expiration(provenance.issued_at, provenance.duration_seconds),
            issued_at: provenance.issued_at,
            arn: owner.arn(),
            principal_arn: owner.principal_arn(),
            owner,
            via: provenance.via,
            policy,
            policy_arns: provenance.policy_arns,
            tags: content.tags,
            transitive_tag_keys: content.transitive,
            source_identity: provenance.source_identity,
            mfa: content.mfa,
            provider: content.provider,
            delivery: content.delivery,
        })
    }

    fn owner(&self, bearer: Bearer, provenance: &Provenance) -> Option<Owner> {
        let name = provenance.session_name.clone();
        match bearer {
            Bearer::Role { id, of_world } => {
                let arn = RoleArn::parse(&provenance.role_arn)?;
                let alive = || self.world.role_by_arn(&arn).is_some_and(|role| role.id == id);
                (!of_world || alive()).then(|| Owner::Role {
                    arn: arn.clone(),
                    id: id.clone(),
                    name,
                    of_world,
                })
            }
            Bearer::User {
                account,
                name: user,
                id,
                federated,
            } => {
                let user = self.world.user_by_name(&account, &user).filter(|user| user.id == id)?;
                let user = Arc::clone(user);
                Some(if federated {
                    Owner::Federated { user, name }
                } else {
                    Owner::User(user)
                })
            }
            Bearer::Root {
                account,
                partition,
                task,
            } => Some(Owner::Root {
                account,
                partition,
                task,
            }),
        }
    }
}

fn played(world: &World) -> Vec<IdentityProvider> {
    let ids: BTreeSet<&str> = world
        .saml_providers()
        .filter_map(|provider| match &provider.source {
            SamlSource::Played { entity_id } => Some(entity_id.as_str()),
            SamlSource::Foreign { .. } => None,
        })
        .collect();
    ids.into_iter().map(IdentityProvider::new).collect()
}

/// The issuer that STS is for an account's outbound federation; the real one's host name is a UUID of the account.
fn outbound(world: &World) -> Option<IssuerPlan> {
    world.account.outbound_web_identity.then(|| {
        let digits = hex::encode(Sha256::digest(&world.account.id));
        let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
        IssuerPlan {
            url: format!(
                "https://{}-{}-4{}-8{}-{}.tokens.sts.global.api.aws",
                part(0, 8),
                part(8, 12),
                part(13, 16),
                part(17, 20),
                part(20, 32)
            ),
            kind: IssuerKind::Plain,
            algorithms: vec!["RS256".to_owned(), "ES384".to_owned()],
            sub_components: Vec::new(),
            subjects: Vec::new(),
            jwks: None,
        }
    })
}

impl KeyRing for State {
    type Caller = Caller;

    fn find(&self, access_key_id: &str, token: Option<&str>, now: Timestamp) -> Key<Caller> {
        if let Some(token) = token {
            let Some(session) = self.session(access_key_id, token) else {
                return Key::Unknown;
            };
            if session.expiration <= now {
                return Key::Expired;
            }
            return Key::Valid {
                secret: session.secret.clone(),
                caller: Caller::Session(Arc::new(session)),
            };
        }
        let held = self.world.access_key(access_key_id).filter(|key| key.active);
        match (held, self.world.user(access_key_id)) {
            (Some(key), Some(user)) => Key::Valid {
                secret: key.secret.clone(),
                caller: Caller::User(Arc::clone(user), key.id.clone()),
            },
            _ => Key::Unknown,
        }
    }
}
