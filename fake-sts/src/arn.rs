//! Amazon Resource Names, as far as STS and IAM principals need them. It must not know what exists: that is the world's.

use std::fmt;

/// The six parts of an ARN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arn<'a> {
    /// `aws`, `aws-cn`, `aws-us-gov`…
    pub partition: &'a str,
    /// `iam`, `sts`…
    pub service: &'a str,
    /// Empty for IAM and STS.
    pub region: &'a str,
    /// The account number.
    pub account: &'a str,
    /// Everything after the fifth colon.
    pub resource: &'a str,
}

impl<'a> Arn<'a> {
    /// Splits `text` at its first five colons; `None` when it is not an ARN.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.splitn(6, ':');
        if parts.next()? != "arn" {
            return None;
        }
        let arn = Self {
            partition: parts.next()?,
            service: parts.next()?,
            region: parts.next()?,
            account: parts.next()?,
            resource: parts.next()?,
        };
        (!arn.partition.is_empty() && !arn.service.is_empty() && !arn.resource.is_empty()).then_some(arn)
    }
}

/// The ARN of an IAM role, taken apart. Displays as the ARN.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RoleArn {
    /// `aws`…
    pub partition: String,
    /// Twelve digits.
    pub account: String,
    /// Begins and ends with `/`.
    pub path: String,
    /// The last segment; unique within the account whatever the path.
    pub name: String,
}

impl RoleArn {
    /// Reads `arn:PARTITION:iam::ACCOUNT:role/PATH/NAME`; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let arn = Arn::parse(text)?;
        let resource = arn.resource.strip_prefix("role/")?;
        let (path, name) = match resource.rsplit_once('/') {
            Some((path, name)) => (format!("/{path}/"), name),
            None => ("/".to_owned(), resource),
        };
        let well_formed = arn.service == "iam" && arn.region.is_empty() && is_account(arn.account) && !name.is_empty();
        well_formed.then(|| Self {
            partition: arn.partition.to_owned(),
            account: arn.account.to_owned(),
            path,
            name: name.to_owned(),
        })
    }

    /// The ARN of a session of this role. The path is dropped, as STS does.
    #[must_use]
    pub fn session_arn(&self, session_name: &str) -> String {
        format!(
            "arn:{}:sts::{}:assumed-role/{}/{session_name}",
            self.partition, self.account, self.name
        )
    }
}

impl fmt::Display for RoleArn {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "arn:{}:iam::{}:role{}{}",
            self.partition, self.account, self.path, self.name
        )
    }
}

/// Whether `text` is an account number: twelve digits.
#[must_use]
pub fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::{Arn, RoleArn};

    #[test]
    fn a_role_arn_is_taken_apart_and_put_together_again() {
        for text in [
            "arn:aws:iam::123456789012:role/deploy",
            "arn:aws-cn:iam::123456789012:role/team/a/deploy",
        ] {
            assert_eq!(RoleArn::parse(text).unwrap().to_string(), text);
        }
        let role = RoleArn::parse("arn:aws:iam::123456789012:role/team/a/deploy").unwrap();
        assert_eq!((role.path.as_str(), role.name.as_str()), ("/team/a/", "deploy"));
        assert_eq!(
            role.session_arn("job-1"),
            "arn:aws:sts::123456789012:assumed-role/deploy/job-1"
        );
    }

    #[test]
    fn what_is_not_a_role_arn_is_refused() {
        for text in [
            "",
            "arn:aws:iam",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::123456789012:role/a/",
            "arn:aws:iam::1:role/a",
            "arn:aws:iam::123456789012:user/a",
            "arn:aws:iam:eu-central-1:123456789012:role/a",
            "arn:aws:sts::123456789012:assumed-role/a/b",
        ] {
            assert_eq!(RoleArn::parse(text), None, "{text}");
        }
        assert_eq!(Arn::parse("arn:aws:iam::123456789012"), None);
    }
}
