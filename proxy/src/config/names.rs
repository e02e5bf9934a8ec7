//! The names that configuration, labels and requests are made of. Each is parsed once, whole, in ASCII, and then compared as a whole.
//! Knows no file and no container.

use std::collections::BTreeSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use thiserror::Error;

/// Why a text is not the name it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NameFault {
    /// An AWS account id is something else.
    #[error("an account is 12 digits")]
    Account,
    /// A region's name is something else.
    #[error("a region looks like eu-central-1")]
    Region,
    /// A partition's name is something else.
    #[error("a partition is aws, aws-cn, aws-us-gov, aws-iso, aws-iso-b, aws-iso-e, aws-iso-f or aws-eusc")]
    Partition,
    /// A role is something else.
    #[error("a role is a name, /path/name or a role ARN, in letters, digits and +=,.@_-")]
    Role,
    /// The ARN names another partition.
    #[error("the ARN is of another partition")]
    ForeignPartition,
    /// The ARN names an account that is not listed.
    #[error("the ARN is of an account that is neither aws.account nor one of aws.accounts")]
    ForeignAccount,
    /// A runner's short token is something else.
    #[error("a runner id is the runner's short token: 1 to 20 letters, digits, _, - and .")]
    Runner,
    /// A runner's system id is something else.
    #[error("a system id is 1 to 64 letters, digits, _, - and ., such as s_0123456789ab")]
    SystemId,
    /// A GitLab host is something else.
    #[error("a GitLab host is a lowercase host name with an optional port, without scheme and path")]
    Host,
    /// An id is something else.
    #[error("an id is a positive decimal number without leading zeros")]
    Number,
    /// A ref is something else.
    #[error("a ref is 1 to 1024 visible characters")]
    Ref,
    /// A pattern of refs is something else.
    #[error(
        "a ref is 1 to 256 characters that Git allows, * for any text within one part and ** for any text; ? [ ] ^ and the like are no part of it"
    )]
    RefPattern,
    /// A pattern of refs that are neither branches nor tags covers several kinds of them, or none.
    #[error(
        "what begins with refs/ is neither branch nor tag, and its first two parts are spelled out, as in refs/merge-requests/*/head"
    )]
    OutsideRef,
    /// An image is something else.
    #[error("an image is sha256: and 64 lowercase hexadecimal digits")]
    Image,
    /// A managed policy's ARN is something else.
    #[error("a managed policy is arn:PARTITION:iam::ACCOUNT:policy/NAME, with aws as the account of AWS's own")]
    PolicyArn,
    /// An external id is something else.
    #[error("an external id is 2 to 1224 letters, digits and +=,.@:/_-")]
    ExternalId,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The text, as it was written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// An AWS account id, twelve digits.
    Account
);
name!(
    /// An AWS region, such as `eu-central-1`.
    Region
);
name!(
    /// An AWS partition, such as `aws`.
    Partition
);
name!(
    /// GitLab Runner's short token: what the label `runner.id` holds.
    Runner
);
name!(
    /// GitLab Runner's system id, `s_…` or `r_…`: which machine, or which start, of those that share the runner's token.
    SystemId
);
name!(
    /// A GitLab server as its job URLs name it, with the port if they have one.
    Host
);
name!(
    /// A Git ref as the label `job.ref` holds it.
    Ref
);
name!(
    /// An image id or manifest digest, `sha256:…`.
    Image
);
name!(
    /// An STS external id.
    ExternalId
);

fn check(good: bool, text: &str, fault: NameFault) -> Result<String, NameFault> {
    if good { Ok(text.to_owned()) } else { Err(fault) }
}

impl Account {
    /// # Errors
    /// Unless the text is twelve digits.
    pub fn parse(text: &str) -> Result<Self, NameFault> {
        check(
            text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()),
            text,
            NameFault::Account,
        )
        .map(Self)
    }
}

impl Region {
    /// # Errors
    /// Unless the text looks like a region: at least two lowercase words and a number, joined by dashes.
    pub fn parse(text: &str) -> Result<Self, NameFault> {
        let words: Vec<&str> = text.split('-').collect();
        let good = words.len() >= 3
            && text.len() <= 32
            && words
                .iter()
                .all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()))
            && words
                .last()
                .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
        check(good, text, NameFault::Region).map(Self)
    }
}

impl Partition {
    const KNOWN: [&str; 8] = [
        "aws",
        "aws-cn",
        "aws-us-gov",
        "aws-iso",
        "aws-iso-b",
        "aws-iso-e",
        "aws-iso-f",
        "aws-eusc",
    ];

    /// # Errors
    /// Unless AWS has a partition of that name.
    pub fn parse(text: &str) -> Result<Self, NameFault> {
        check(Self::KNOWN.contains(&text), text, NameFault::Partition).map(Self)
    }
}

impl Default for Partition {
    fn default() -> Self {
        Self("aws".to_owned())
    }
}

impl Runner {
    // Longer ids would not leave room for project and job in the 64 characters of a usual session name.
    const MAX: usize = 20;

    /// # Errors
    /// Unless the text is a short token.
    pub fn parse(text: &str) -> Result<Self, NameFault> {
        let good = !text.is_empty()
            && text.len() <= Self::MAX
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
        check(good, text, NameFault::Runner).map(Self)
    }
}

impl Runner {
    /// Whether other runners may well have the same short token. Until about April 2025 GitLab's routable tokens began with what all runners of
    /// a cell, organisation, group, project or user have in common (`o:1`, in base64url), and nine characters hold no more than that.
    #[must_use]
    pub fn may_collide(&self) -> bool {
        let beginning = self.0.get(..4).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        matches!(
            beginning.as_deref(),
            Some([b'c' | b'g' | b'o' | b'p' | b't' | b'u', b':', b'0'..=b'9' | b'a'..=b'z'])
        )
    }
}

impl SystemId {
    /// # Errors
    /// Unless the text is a system id.
    pub fn parse(text: &str) -> Result<Self, NameFault> {
        let good = (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
        check(good, text, NameFault::SystemId).map(Self)
    }
}

impl Host {
    /// # Errors
    /// Unless the text is a lowercase host name or address, with an optional port.
    pub fn parse(text: &str) -> Result<Self, NameFault> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        let port_is_good =
            port.is_none_or(|port| !port.starts_with('0') && port.parse::<u16>().is_ok_and(|n| n.to_string() == port));
        let host_is_good = host.len() <= 253
            && host.split('.').all(|label| {
                !label.is_empty()
                    && label.len() <= 63
                    && !label.starts_with('-')
                    && !label.ends_with('-')
                    && label
                        .bytes()
                        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            });
        check(host_is_good && port_is_good, text, NameFault::Host).map(Self)
    }
}

impl Ref {
    /// # Errors
    /// Unless the text is visible and of a sensible length.
    pub fn parse(text: &str) -> Result<Self, NameFault> {
        let good = !text.is_empty() && text.len() <= 1024 && text.chars().all(|c| !c.is_control() && c != ' ');
        check(good, text, NameFault::Ref).map(Self)
    }
}

impl Image {
    /// # Errors
    /// Unless the text is a SHA-256 digest as the engine writes it.
    pub fn parse(text: &str) -> Result<Self, NameFault> {
        let good = text.strip_prefix("sha256:").is_some_and(|hex| {
            hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        });
        check(good, text, NameFault::Image).map(Self)
    }
}

impl ExternalId {
    /// # Errors
    /// Unless STS takes the text as an external id.
    pub fn parse(text: &str) -> Result<Self, NameFault> {
        let good =
            (2..=1224).contains(&text.len()) && text.bytes().all(|b| is_role_character(b) || matches!(b, b':' | b'/'));
        check(good, text, NameFault::ExternalId).map(Self)
    }
}

/// Parses an id as GitLab writes it. One number has one spelling, so that comparing numbers compares texts.
///
/// # Errors
/// Unless the text is a positive decimal number without sign and leading zeros.
pub fn parse_number(text: &str) -> Result<u64, NameFault> {
    if text.starts_with('0') || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(NameFault::Number);
    }
    text.parse().map_err(|_| NameFault::Number)
}

/// Where roles live: accounts of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// The partition of every role.
    pub partition: Partition,
    /// The account of every role that is written without one.
    pub account: Account,
    /// Accounts whose roles may be written as whole ARNs beside it.
    pub others: BTreeSet<Account>,
}

impl Home {
    /// Whether roles of the account may be given out.
    #[must_use]
    pub fn has(&self, account: &str) -> bool {
        self.account.as_str() == account || self.others.iter().any(|other| other.as_str() == account)
    }
}

/// A role, canonical: two are the same exactly when their whole ARNs are equal, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Role {
    arn: String,
    name_at: usize,
}

impl Role {
    /// Reads a name, `/path/name` or a whole ARN, of this home. Only an ARN is of another account than the first one.
    ///
    /// # Errors
    /// When the text is outside the grammar, or an ARN of another partition or of an account that is not listed.
    pub fn parse(text: &str, home: &Home) -> Result<Self, NameFault> {
        let own = home.account.as_str();
        let (account, path_and_name) = if text.starts_with("arn:") {
            Self::path_of_arn(text, home)?
        } else if text.starts_with('/') {
            (own, text.to_owned())
        } else if text.contains('/') {
            return Err(NameFault::Role);
        } else {
            (own, format!("/{text}"))
        };
        let segments = path_and_name.strip_prefix('/').ok_or(NameFault::Role)?;
        let good = path_and_name.len() <= 512
            && segments.split('/').all(is_role_segment)
            && segments.rsplit('/').next().is_some_and(|name| name.len() <= 64);
        if !good {
            return Err(NameFault::Role);
        }
        let arn = format!("arn:{}:iam::{account}:role{path_and_name}", home.partition);
        let name_at = arn.rfind('/').map_or(arn.len(), |slash| slash + 1);
        Ok(Self { arn, name_at })
    }

    /// Whether a text is the whole ARN of a role, of whatever partition and account.
    #[must_use]
    pub fn is_arn(text: &str) -> bool {
        let mut parts = text.split(':').skip(1);
        let (partition, account) = (parts.next().map(Partition::parse), parts.nth(2).map(Account::parse));
        let (Some(Ok(partition)), Some(Ok(account))) = (partition, account) else {
            return false;
        };
        let home = Home {
            partition,
            account,
            others: BTreeSet::new(),
        };
        Self::parse(text, &home).is_ok_and(|role| role.arn() == text)
    }

    fn path_of_arn<'t>(text: &'t str, home: &Home) -> Result<(&'t str, String), NameFault> {
        let mut parts = text.splitn(6, ':');
        let (_arn, partition, service) = (parts.next(), parts.next(), parts.next());
        let (region, account, resource) = (parts.next(), parts.next(), parts.next());
        let path = resource.and_then(|resource| resource.strip_prefix("role"));
        match (service, region, account, path) {
            (Some("iam"), Some(""), Some(account), Some(path)) if path.starts_with('/') => {
                if partition != Some(home.partition.as_str()) {
                    Err(NameFault::ForeignPartition)
                } else if home.has(account) {
                    Ok((account, path.to_owned()))
                } else {
                    Err(NameFault::ForeignAccount)
                }
            }
            _ => Err(NameFault::Role),
        }
    }

    /// The account that it belongs to.
    #[must_use]
    pub fn account(&self) -> &str {
        self.arn.split(':').nth(4).unwrap_or_default()
    }

    /// The whole ARN.
    #[must_use]
    pub fn arn(&self) -> &str {
        &self.arn
    }

    /// The name alone, without the path: what the role list shows and what an assumed-role ARN holds.
    #[must_use]
    pub fn name(&self) -> &str {
        self.arn.get(self.name_at..).unwrap_or_default()
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.arn)
    }
}

fn is_role_segment(segment: &str) -> bool {
    !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(is_role_character)
}

/// IAM's `[\w+=,.@-]`, in ASCII.
#[must_use]
pub fn is_role_character(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b'=' | b',' | b'.' | b'@' | b'-')
}
