//! The paths that exist. Everything else does not: no prefix, no pattern, no normalisation, nothing is passed on (P1).

use std::fmt;

use crate::instance::Leaf;

/// Every dated version that the service lists. A date that is not listed is no version.
const DATED: [&str; 28] = [
    "1.0",
    "2007-01-19",
    "2007-03-01",
    "2007-08-29",
    "2007-10-10",
    "2007-12-15",
    "2008-02-01",
    "2008-09-01",
    "2009-04-04",
    "2011-01-01",
    "2011-05-01",
    "2012-01-12",
    "2014-02-25",
    "2014-11-05",
    "2015-10-20",
    "2016-04-19",
    "2016-06-30",
    "2016-09-02",
    "2018-03-28",
    "2018-08-17",
    "2018-09-24",
    "2019-10-01",
    "2020-10-27",
    "2021-01-03",
    "2021-03-23",
    "2021-07-15",
    "2022-09-24",
    "2024-04-11",
];
/// The first version that has `iam/`.
const IAM_SINCE: &str = "2012-01-12";

/// What a path means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route<'p> {
    /// `PUT /latest/api/token`
    Token,
    /// `meta-data/iam/security-credentials/`: the name of the caller's role.
    RoleList,
    /// `meta-data/iam/security-credentials/ROLE`
    Credentials {
        /// The role that the path names.
        role: &'p str,
    },
    /// `meta-data/iam/info`
    IamInfo,
    /// A harmless value of the instance, such as `meta-data/placement/region`.
    Leaf(Leaf),
    /// No path of this service.
    Unknown,
}

impl Route<'_> {
    /// A short fixed word for logs and metric labels.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::RoleList => "role-list",
            Self::Credentials { .. } => "credentials",
            Self::IamInfo => "iam-info",
            Self::Leaf(leaf) => leaf.as_str(),
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Route<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Finds the route of a path, byte for byte.
#[must_use]
pub fn route(path: &str) -> Route<'_> {
    if path == "/latest/api/token" {
        return Route::Token;
    }
    let Some((version, rest)) = path.strip_prefix('/').and_then(|path| path.split_once("/meta-data/")) else {
        return Route::Unknown;
    };
    // "latest" sorts after every date, and "1.0" before.
    let has = |since: &str| (version == "latest" || DATED.contains(&version)) && version >= since;
    match rest {
        "iam/security-credentials" | "iam/security-credentials/" if has(IAM_SINCE) => Route::RoleList,
        // The real service answers a leaf with one slash behind it as well.
        "iam/info" | "iam/info/" if has(IAM_SINCE) => Route::IamInfo,
        _ => match rest.strip_prefix("iam/security-credentials/") {
            Some(role) if has(IAM_SINCE) => {
                let role = role.strip_suffix('/').unwrap_or(role);
                if role.is_empty() || role.contains('/') {
                    Route::Unknown
                } else {
                    Route::Credentials { role }
                }
            }
            Some(_) => Route::Unknown,
            None => {
                let leaf = Leaf::at(rest.strip_suffix('/').unwrap_or(rest));
                leaf.filter(|leaf| has(leaf.since()))
                    .map_or(Route::Unknown, Route::Leaf)
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Route, route};
    use crate::instance::Leaf;

    #[test]
    fn the_paths_of_the_service_are_found() {
        let role = Route::Credentials { role: "deploy" };
        for (path, expected) in [
            ("/latest/api/token", Route::Token),
            ("/latest/meta-data/iam/security-credentials", Route::RoleList),
            ("/latest/meta-data/iam/security-credentials/", Route::RoleList),
            ("/latest/meta-data/iam/security-credentials/deploy", role),
            ("/latest/meta-data/iam/security-credentials/deploy/", role),
            ("/2012-01-12/meta-data/iam/security-credentials/deploy", role),
            ("/2021-07-15/meta-data/iam/info", Route::IamInfo),
            ("/latest/meta-data/iam/info/", Route::IamInfo),
            ("/latest/meta-data/placement/region", Route::Leaf(Leaf::Region)),
            ("/2020-10-27/meta-data/placement/region/", Route::Leaf(Leaf::Region)),
            (
                "/latest/meta-data/placement/availability-zone/",
                Route::Leaf(Leaf::AvailabilityZone),
            ),
            (
                "/2008-02-01/meta-data/placement/availability-zone",
                Route::Leaf(Leaf::AvailabilityZone),
            ),
            (
                "/latest/meta-data/placement/availability-zone-id",
                Route::Leaf(Leaf::AvailabilityZoneId),
            ),
            ("/latest/meta-data/services/partition", Route::Leaf(Leaf::Partition)),
            ("/latest/meta-data/services/domain/", Route::Leaf(Leaf::Domain)),
            ("/2009-04-04/meta-data/instance-type", Route::Leaf(Leaf::InstanceType)),
            ("/1.0/meta-data/instance-id", Route::Leaf(Leaf::InstanceId)),
        ] {
            assert_eq!(route(path), expected, "{path}");
        }
    }

    #[test]
    fn everything_else_is_unknown() {
        for path in [
            "/",
            "/latest",
            "/latest/",
            "/latest/meta-data",
            "/latest/meta-data/",
            "/latest/meta-data/iam",
            "/latest/meta-data/iam/",
            "/latest/api/token/",
            "/2021-03-23/api/token",
            "/LATEST/api/token",
            "//latest/api/token",
            "/latest/meta-data/iam/security-credentials//",
            "/latest/meta-data/iam/security-credentials/deploy//",
            "/latest/meta-data/iam/security-credentials/deploy/x",
            "/latest/meta-data/iam/security-credentials//deploy",
            "/latest/meta-data//iam/security-credentials/deploy",
            "/latest//meta-data/iam/security-credentials/deploy",
            "//latest/meta-data/iam/security-credentials/deploy",
            "/./latest/meta-data/iam/security-credentials/deploy",
            "/x/../latest/meta-data/iam/security-credentials/deploy",
            "/Latest/Meta-Data/IAM/security-credentials/deploy",
            "/2011-05-01/meta-data/iam/security-credentials/deploy",
            "/2009-04-04/meta-data/iam/info",
            "/1.0/meta-data/iam/security-credentials/",
            "/0/meta-data/iam/security-credentials/",
            "/9999-99-99/meta-data/iam/security-credentials/",
            "/2012-01-13/meta-data/iam/security-credentials/",
            "/meta-data/iam/security-credentials/deploy",
            "/2019-10-01/meta-data/placement/region",
            "/2019-10-01/meta-data/placement/availability-zone-id",
            "/2007-12-15/meta-data/placement/availability-zone",
            "/2015-10-20/meta-data/services/partition//",
            "/2014-11-05/meta-data/services/partition",
            "/latest/meta-data/services",
            "/latest/meta-data/services/",
            "/latest/meta-data/placement/",
            "/latest/meta-data/placement/group-name",
            "/latest/meta-data/placement/region/x",
            "/latest/meta-data/placement//region",
            "/latest/meta-data//instance-id",
            "/latest/meta-data/instance-id/../user-data",
            "/latest/instance-id",
            "/1.0/meta-data/instance-type",
            "/latest/meta-data/iam/info/x/y",
            "/latest/meta-data/iam/security-credentials-extended/deploy",
            "/latest/meta-data/identity-credentials/ec2/security-credentials/ec2-instance",
            "/latest/meta-data/identity-credentials/ec2/info",
            "/latest/user-data",
            "/latest/dynamic/instance-identity/document",
            "/latest/meta-data/tags/instance/Name",
            "/latest/meta-data/public-keys/",
            "/metrics",
            "/healthz",
            "/v2/credentials/1",
            "/role/deploy",
            "/creds",
        ] {
            assert_eq!(route(path), Route::Unknown, "{path}");
        }
    }

    proptest! {
        #[test]
        fn a_changed_path_never_reaches_a_credential(at in 0usize..49, byte in 0x21u8..0x7f, insert: bool) {
            let good = "/latest/meta-data/iam/security-credentials/deploy";
            let mut bytes = good.as_bytes().to_vec();
            if insert { bytes.insert(at, byte) } else { bytes[at] = byte }
            let path = String::from_utf8(bytes).unwrap();
            match route(&path) {
                Route::Credentials { role: "deploy" } => {
                    prop_assert!(path == good || path == format!("{good}/"), "{}", path);
                }
                Route::RoleList => prop_assert!(false, "{}", path),
                Route::Credentials { .. } | Route::Unknown => {}
                Route::Token | Route::IamInfo | Route::Leaf(_) => prop_assert!(false, "{}", path),
            }
        }

        #[test]
        fn no_text_makes_it_panic(path in ".*") {
            let _ = route(&path);
        }
    }
}
