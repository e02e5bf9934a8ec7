//! Whose temporary credentials some are: a role's, a user's, a federated user's or a root user's. It must not know keys or tokens.

use std::sync::Arc;

use crate::arn::RoleArn;
use crate::world::User;

/// The principal behind temporary credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// A session of a role.
    Role {
        /// Of which.
        arn: RoleArn,
        /// The unique id of the role when the session was issued.
        id: String,
        /// RoleSessionName.
        name: String,
        /// Whether the role stands in the world, and the session ends with it.
        of_world: bool,
    },
    /// The user itself (GetSessionToken).
    User(Arc<User>),
    /// A federated user (GetFederationToken).
    Federated {
        /// Who vouched for it: its permissions are the most that the federated user may have.
        user: Arc<User>,
        /// Name.
        name: String,
    },
    /// The root user of a member account (AssumeRoot).
    Root {
        /// Twelve digits.
        account: String,
        /// `aws`…
        partition: String,
        /// ARN of the task policy, which is all that it may do.
        task: String,
    },
}

impl Owner {
    /// The account.
    #[must_use]
    pub fn account(&self) -> &str {
        match self {
            Self::Role { arn, .. } => &arn.account,
            Self::User(user) | Self::Federated { user, .. } => &user.account,
            Self::Root { account, .. } => account,
        }
    }

    /// The partition.
    #[must_use]
    pub fn partition(&self) -> &str {
        match self {
            Self::Role { arn, .. } => &arn.partition,
            Self::User(user) | Self::Federated { user, .. } => &user.partition,
            Self::Root { partition, .. } => partition,
        }
    }

    /// What GetCallerIdentity calls it.
    #[must_use]
    pub fn arn(&self) -> String {
        match self {
            Self::Role { arn, name, .. } => arn.session_arn(name),
            Self::User(user) => user.arn.clone(),
            Self::Federated { user, name } => {
                format!("arn:{}:sts::{}:federated-user/{name}", user.partition, user.account)
            }
            Self::Root { account, partition, .. } => format!("arn:{partition}:iam::{account}:root"),
        }
    }

    /// The ARN of the principal whose session it is: `aws:PrincipalArn`.
    #[must_use]
    pub fn principal_arn(&self) -> String {
        match self {
            Self::Role { arn, .. } => arn.to_string(),
            Self::User(_) | Self::Federated { .. } | Self::Root { .. } => self.arn(),
        }
    }

    /// `aws:userid`: `AROA…:SESSION`, `AIDA…`, `ACCOUNT:NAME`, `ACCOUNT`.
    #[must_use]
    pub fn user_id(&self) -> String {
        match self {
            Self::Role { id, name, .. } => format!("{id}:{name}"),
            Self::User(user) => user.id.clone(),
            Self::Federated { user, name } => format!("{}:{name}", user.account),
            Self::Root { account, .. } => account.clone(),
        }
    }

    /// The unique id that a `Principal` element may name. Empty for what has none.
    #[must_use]
    pub fn unique_id(&self) -> &str {
        match self {
            Self::Role { id, .. } => id,
            Self::User(user) => &user.id,
            Self::Federated { .. } | Self::Root { .. } => "",
        }
    }

    /// What the session was called, where it was called anything.
    #[must_use]
    pub fn session_name(&self) -> &str {
        match self {
            Self::Role { name, .. } | Self::Federated { name, .. } => name,
            Self::User(_) | Self::Root { .. } => "",
        }
    }

    /// `aws:PrincipalType`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Role { .. } => "AssumedRole",
            Self::User(_) => "User",
            Self::Federated { .. } => "FederatedUser",
            Self::Root { .. } => "Account",
        }
    }
}
