//! The `Principal` element: whom a statement names, and whether a caller is meant. It must not know conditions or actions.

use crate::arn::{Arn, is_account};

/// One entry of a `Principal` element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// `"*"`.
    Anyone,
    /// An account number or the account's root ARN.
    Account {
        /// `None` when only the number was given.
        partition: Option<String>,
        /// Twelve digits.
        id: String,
    },
    /// The ARN of a user, a role, or one role session; exact.
    Arn(String),
    /// A unique id such as `AROA…`: what IAM keeps in place of the ARN of a principal that was deleted.
    UniqueId(String),
    /// A service, `ec2.amazonaws.com`.
    Service(String),
    /// An identity provider.
    Federated(String),
}

/// What a caller is, as far as principals and ledgers care.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes<'a> {
    /// The ARN that AWS calls the caller by: user ARN or session ARN. Empty for a service.
    pub arn: &'a str,
    /// The role's ARN for a session, the user's own for a user.
    pub principal_arn: &'a str,
    /// The role's or the user's unique id.
    pub unique_id: &'a str,
    /// The account.
    pub account: &'a str,
    /// The partition.
    pub partition: &'a str,
    /// The service, if a service asks.
    pub service: Option<&'a str>,
    /// The ARN of the identity provider whose token or assertion is presented, if one is.
    pub federated: Option<&'a str>,
}

/// How a principal was meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Match {
    /// Not at all.
    Not,
    /// Through its account or `*`: within the account the caller's own policy must still allow.
    Account,
    /// By its own ARN or id, or by its role's.
    Direct,
    /// By the ARN of this one session.
    Session,
}

impl Principal {
    /// Reads an entry under `"AWS"`. `None` for text that IAM would refuse.
    #[must_use]
    pub fn parse_aws(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Anyone);
        }
        if is_account(text) {
            return Some(Self::Account {
                partition: None,
                id: text.to_owned(),
            });
        }
        if text.len() >= 16 && (text.starts_with("AROA") || text.starts_with("AIDA")) {
            let plain = text
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
            return plain.then(|| Self::UniqueId(text.to_owned()));
        }
        let arn = Arn::parse(text)?;
        if !is_account(arn.account) || !arn.region.is_empty() || text.contains(['*', '?']) {
            return None;
        }
        match (arn.service, arn.resource) {
            ("iam", "root") => Some(Self::Account {
                partition: Some(arn.partition.to_owned()),
                id: arn.account.to_owned(),
            }),
            ("iam", resource) if resource.starts_with("role/") || resource.starts_with("user/") => {
                Some(Self::Arn(text.to_owned()))
            }
            ("sts", resource) if resource.starts_with("assumed-role/") || resource.starts_with("federated-user/") => {
                Some(Self::Arn(text.to_owned()))
            }
            _ => None,
        }
    }

    /// How this entry means a caller.
    #[must_use]
    pub fn meets(&self, caller: &Attributes<'_>) -> Match {
        let direct = |yes: bool| if yes { Match::Direct } else { Match::Not };
        match self {
            Self::Anyone => Match::Account,
            Self::Service(name) => direct(caller.service == Some(name.as_str())),
            Self::Federated(provider) => direct(caller.federated == Some(provider.as_str())),
            _ if caller.service.is_some() || caller.federated.is_some() => Match::Not,
            Self::Account { partition, id } => {
                let same = id == caller.account && partition.as_ref().is_none_or(|own| own == caller.partition);
                if same { Match::Account } else { Match::Not }
            }
            Self::Arn(arn) if arn == caller.principal_arn => Match::Direct,
            Self::Arn(arn) if arn == caller.arn => Match::Session,
            Self::Arn(_) => Match::Not,
            Self::UniqueId(id) => direct(id == caller.unique_id),
        }
    }

    /// Whether this entry of a `NotPrincipal` spares a caller. An account is its root user alone there: IAM looks at the account, then at the
    /// role or user, then at the session, so that an account beside a user spares that user and nobody else of it (IAM User Guide, NotPrincipal).
    #[must_use]
    pub fn spares(&self, caller: &Attributes<'_>) -> bool {
        match (self, self.meets(caller)) {
            (Self::Anyone, _) | (_, Match::Direct | Match::Session) => true,
            (_, Match::Account) => caller.principal_arn.ends_with(":root"),
            (_, Match::Not) => false,
        }
    }
}
