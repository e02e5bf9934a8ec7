//! What the fake knows at one moment: the world and the sessions that were issued. It must not know requests or answers.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use fake_kit::seed::Seed;
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use crate::oidc::Issuer;
use crate::policy::{Attributes, Named, Policy, Standing};
use crate::provenance::Via;
use crate::secret::Secret;
use crate::signature::{Key, KeyRing};
use crate::world::{IssuerKind, IssuerPlan, User, World, bare_issuer, named};

pub use crate::principal::Owner;

/// Sessions kept; beyond that the oldest are forgotten, and their tokens become invalid.
const MOST_SESSIONS: usize = 200_000;

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

/// World and sessions.
#[derive(Debug)]
pub struct State {
    /// Accounts, roles, users.
    pub world: World,
    /// What ids and keys are derived from.
    pub seed: Seed,
    /// Accept any role; signatures are verified all the same.
    pub permissive: bool,
    /// Issuers of web identity tokens.
    pub issuers: Vec<Issuer>,
    /// Who signs the tokens of GetWebIdentityToken.
    pub outbound: Option<Issuer>,
    sessions: HashMap<String, Arc<Session>>,
    order: VecDeque<String>,
    made_keys: u64,
}

impl State {
    /// No session yet.
    #[must_use]
    pub fn new(world: World, permissive: bool, seed: Seed) -> Self {
        Self {
            seed,
            issuers: world.issuers.iter().cloned().map(Issuer::new).collect(),
            outbound: outbound(&world).map(Issuer::new),
            world,
            permissive,
            sessions: HashMap::new(),
            order: VecDeque::new(),
            made_keys: 0,
        }
    }

    /// The serial number of the next long-lived key.
    pub fn next_key(&mut self) -> u64 {
        self.made_keys += 1;
        self.made_keys
    }

    /// Remembers an issued session.
    pub fn remember(&mut self, session: Arc<Session>) {
        self.order.push_back(session.access_key_id.clone());
        self.sessions.insert(session.access_key_id.clone(), session);
        while self.order.len() > MOST_SESSIONS {
            if let Some(oldest) = self.order.pop_front() {
                self.sessions.remove(&oldest);
            }
        }
    }

    /// The ARN behind a key, for the ledger; not a proof of anything.
    #[must_use]
    pub fn arn_of_key(&self, access_key_id: &str) -> Option<&str> {
        match self.sessions.get(access_key_id) {
            Some(session) => Some(&session.arn),
            None => self.world.user(access_key_id).map(|user| user.arn.as_str()),
        }
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

    /// Sessions end with the principal they are of.
    fn alive(&self, session: &Session) -> bool {
        match &session.owner {
            Owner::Role { of_world: false, .. } | Owner::Root { .. } => true,
            Owner::Role { arn, id, .. } => self.world.role_by_arn(arn).is_some_and(|role| role.id == *id),
            Owner::User(user) | Owner::Federated { user, .. } => {
                let now = self.world.user_by_name(&user.account, &user.name);
                now.is_some_and(|now| now.id == user.id)
            }
        }
    }
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

    fn find(&self, access_key_id: &str, token: Option<&str>, now: Timestamp) -> Key<'_, Caller> {
        if let Some(session) = self.sessions.get(access_key_id) {
            if token != Some(session.token.expose()) || !self.alive(session) {
                return Key::Unknown;
            }
            if session.expiration <= now {
                return Key::Expired;
            }
            return Key::Valid {
                secret: &session.secret,
                caller: Caller::Session(Arc::clone(session)),
            };
        }
        let held = self.world.access_key(access_key_id).filter(|key| key.active);
        match (held, self.world.user(access_key_id), token) {
            (Some(key), Some(user), None) => Key::Valid {
                secret: &key.secret,
                caller: Caller::User(Arc::clone(user), key.id.clone()),
            },
            _ => Key::Unknown,
        }
    }
}
