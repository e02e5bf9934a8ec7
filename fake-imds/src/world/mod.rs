//! The world that the fake shows: an account and one instance in it. It must not know how a world file is written; [`read`] does.

mod read;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

pub use read::{BrokenWorld, parse};
pub use table::Fault;

use crate::credentials::Kind;
use crate::options::{Endpoint, HttpTokens, MetadataOptions};

/// An account and one instance in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    /// Twelve digits.
    pub account_id: String,
    /// The region.
    pub region: String,
    /// `aws`, `aws-cn` or `aws-us-gov`.
    pub partition: String,
    /// The instance's id.
    pub instance_id: String,
    /// The name of its instance profile; empty for an instance without one.
    pub profile: String,
    /// The name of the profile's role; empty for an instance without one.
    pub role: String,
    /// The metadata options it starts with.
    pub options: MetadataOptions,
    /// Its user data, without the canary.
    pub user_data: Option<String>,
    /// Its tags, without the canary.
    pub tags: BTreeMap<String, String>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            account_id: "123456789012".to_owned(),
            region: "eu-central-1".to_owned(),
            partition: "aws".to_owned(),
            instance_id: "i-0123456789abcdef0".to_owned(),
            profile: "lab-host-profile".to_owned(),
            role: "lab-host".to_owned(),
            options: MetadataOptions {
                http_tokens: HttpTokens::Optional,
                hop_limit: 2,
                endpoint: Endpoint::Enabled,
                ipv6: true,
            },
            user_data: Some("#!/bin/sh\nexport RUNNER_REGISTRATION=in-user-data\n".to_owned()),
            tags: BTreeMap::from([("Name".to_owned(), "runner-host".to_owned())]),
        }
    }
}

impl World {
    /// The ARN of the role whose credentials these are.
    pub fn role_arn(&self, kind: Kind) -> String {
        let role = match kind {
            Kind::Role => self.role.as_str(),
            Kind::Identity => "aws:ec2-instance",
        };
        format!("arn:{}:iam::{}:role/{role}", self.partition, self.account_id)
    }

    /// The domain of the partition's endpoints.
    pub fn domain(&self) -> &'static str {
        if self.partition == "aws-cn" {
            "amazonaws.com.cn"
        } else {
            "amazonaws.com"
        }
    }
}
