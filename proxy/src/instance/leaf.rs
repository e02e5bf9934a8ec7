//! What an instance says of itself that harms nobody: an allow-list, each entry with the one path that is asked for it. Pure.

use std::fmt;

/// Characters of a value. The longest real one, an instance id, has 19.
const VALUE_MAX: usize = 128;

/// One harmless value of the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Leaf {
    /// The region. The configuration states it, so that it is never asked for.
    Region,
    /// The availability zone, such as `eu-central-1a`.
    AvailabilityZone,
    /// The zone's id, which is the same in every account, such as `euc1-az2`.
    AvailabilityZoneId,
    /// The partition, such as `aws-cn`.
    Partition,
    /// The domain of the partition's services, such as `amazonaws.com.cn`.
    Domain,
    /// The instance's type, such as `m5.large`.
    InstanceType,
    /// The instance's id.
    InstanceId,
}

impl Leaf {
    /// Every one.
    pub const ALL: [Self; 7] = [
        Self::Region,
        Self::AvailabilityZone,
        Self::AvailabilityZoneId,
        Self::Partition,
        Self::Domain,
        Self::InstanceType,
        Self::InstanceId,
    ];

    /// Its name in configurations, audit records and metric labels.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Region => "region",
            Self::AvailabilityZone => "availability-zone",
            Self::AvailabilityZoneId => "availability-zone-id",
            Self::Partition => "partition",
            Self::Domain => "domain",
            Self::InstanceType => "instance-type",
            Self::InstanceId => "instance-id",
        }
    }

    /// Reads its name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|leaf| leaf.as_str() == name)
    }

    /// Where the service has it, below `meta-data/`.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Region => "placement/region",
            Self::AvailabilityZone => "placement/availability-zone",
            Self::AvailabilityZoneId => "placement/availability-zone-id",
            Self::Partition => "services/partition",
            Self::Domain => "services/domain",
            Self::InstanceType => "instance-type",
            Self::InstanceId => "instance-id",
        }
    }

    /// The leaf at a path below `meta-data/`, byte for byte.
    #[must_use]
    pub fn at(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|leaf| leaf.path() == path)
    }

    /// The first listed version of the service that has it. The region and the zone's id came on 2020-08-24, between two versions.
    #[must_use]
    pub const fn since(self) -> &'static str {
        match self {
            Self::InstanceId => "1.0",
            Self::InstanceType => "2007-08-29",
            Self::AvailabilityZone => "2008-02-01",
            Self::Domain => "2014-02-25",
            Self::Partition => "2015-10-20",
            Self::Region | Self::AvailabilityZoneId => "2020-10-27",
        }
    }

    /// Whether the text can be such a value: letters, digits, `.` and `-`. A document, a page or a credential is none.
    #[must_use]
    pub fn admits(text: &str) -> bool {
        (1..=VALUE_MAX).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
    }
}

impl fmt::Display for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Leaf;

    #[test]
    fn each_leaf_has_a_name_and_a_path_of_its_own() {
        for leaf in Leaf::ALL {
            assert_eq!(Leaf::parse(leaf.as_str()), Some(leaf));
            assert_eq!(Leaf::at(leaf.path()), Some(leaf));
        }
        assert_eq!(Leaf::parse("user-data"), None);
        assert_eq!(Leaf::at("iam/info"), None);
    }

    #[test]
    fn values_are_short_and_plain() {
        for good in [
            "eu-central-1a",
            "euc1-az2",
            "aws",
            "amazonaws.com.cn",
            "m5.large",
            "i-0123456789abcdef0",
        ] {
            assert!(Leaf::admits(good), "{good}");
        }
        for bad in ["", "a\n", " a", "a b", "{}", "<html>", "a/b", "é", &"a".repeat(129)] {
            assert!(!Leaf::admits(bad), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_admitted_needs_no_care(text in "[ -~\\r\\n]{0,140}|\\PC{0,10}") {
            if Leaf::admits(&text) {
                let odd = text.contains(['\r', '\n', '"', '<', '{', ' ']);
                prop_assert!(text.len() <= 128 && !odd);
            }
        }
    }
}
