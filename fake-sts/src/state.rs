//! What the fake knows at one moment: the world and the sessions that were issued. It must not know requests or answers.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use jiff::Timestamp;

use crate::arn::RoleArn;
use crate::policy::{Attributes, Policy};
use crate::provenance::Via;
use crate::secret::Secret;
use crate::signature::{Key, KeyRing};
use crate::world::{User, World};

/// Sessions kept; beyond that the oldest are forgotten, and their tokens become invalid.
const MOST_SESSIONS: usize = 200_000;

/// One session of a role: its credentials and what they stand for.
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
    /// Whose session.
    pub role_arn: RoleArn,
    /// The role's ARN as principals write it.
    pub role_arn_text: String,
    /// The unique id of the role when the session was issued.
    pub role_id: String,
    /// RoleSessionName.
    pub session_name: String,
    /// `arn:aws:sts::…:assumed-role/NAME/SESSION`.
    pub arn: String,
    /// How it was issued.
    pub via: Via,
    /// Whether the role stands in the world, and the session ends with it.
    pub of_world: bool,
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
}

/// Who signed a request.
#[derive(Debug, Clone)]
pub enum Caller {
    /// An IAM user.
    User(Arc<User>),
    /// A session of a role.
    Session(Arc<Session>),
}

impl Caller {
    /// What principals match on.
    #[must_use]
    pub fn attributes(&self) -> Attributes<'_> {
        match self {
            Self::User(user) => user.attributes(),
            Self::Session(session) => Attributes {
                arn: &session.arn,
                principal_arn: &session.role_arn_text,
                unique_id: &session.role_id,
                account: &session.role_arn.account,
                partition: &session.role_arn.partition,
                service: None,
            },
        }
    }

    /// `aws:userid`: `AIDA…`, or `AROA…:SESSION`.
    #[must_use]
    pub fn user_id(&self) -> String {
        match self {
            Self::User(user) => user.id.clone(),
            Self::Session(session) => format!("{}:{}", session.role_id, session.session_name),
        }
    }

    /// The key that signed.
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        match self {
            Self::User(user) => &user.access_key_id,
            Self::Session(session) => &session.access_key_id,
        }
    }
}

/// World and sessions.
#[derive(Debug)]
pub struct State {
    /// Accounts, roles, users.
    pub world: World,
    /// Accept any role; signatures are verified all the same.
    pub permissive: bool,
    sessions: HashMap<String, Arc<Session>>,
    order: VecDeque<String>,
}

impl State {
    /// No session yet.
    #[must_use]
    pub fn new(world: World, permissive: bool) -> Self {
        Self {
            world,
            permissive,
            sessions: HashMap::new(),
            order: VecDeque::new(),
        }
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

    fn alive(&self, session: &Session) -> bool {
        !session.of_world
            || self
                .world
                .role_by_arn(&session.role_arn)
                .is_some_and(|role| role.id == session.role_id)
    }
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
        match (self.world.user(access_key_id), token) {
            (Some(user), None) => Key::Valid {
                secret: &user.secret,
                caller: Caller::User(Arc::clone(user)),
            },
            _ => Key::Unknown,
        }
    }
}
