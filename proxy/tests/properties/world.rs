//! A small world for the properties: an operator's rules, and a container that they are for.

#[path = "../../src/fixture/labels.rs"]
mod labels;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use metadata_proxy::caller::{Facts, Run};
use metadata_proxy::config::{Config, Environment};
use metadata_proxy::policy::{Decision, Grant, Policy, decide};

use labels::labels;

const RULES: &str = r#"
[listen]
port = 0
[aws]
account = "123456789012"
accounts = ["222222222222"]
region = "eu-central-1"
[imds]
require_token = false
paths = ["region", "availability-zone", "availability-zone-id", "partition", "domain", "instance-type", "instance-id"]
[[rule]]
name = "deploy"
runner = "Ab3dEf9_x"
gitlab = "gitlab.example.com"
project = 20
role = "deploy"
selectable = ["/team/deploy", "arn:aws:iam::222222222222:role/deploy"]
"#;

/// The operator's rules.
pub(crate) static CONFIG: LazyLock<Config> =
    LazyLock::new(|| Config::read("test.toml", RULES, &Environment::default()).unwrap());

/// The same, ready to decide.
pub(crate) static POLICY: LazyLock<Policy> = LazyLock::new(|| Policy::new(&CONFIG));

/// What the container of [`facts`] is given.
pub(crate) static GRANT: LazyLock<Grant> = LazyLock::new(|| match decide(&POLICY, &facts()) {
    Decision::Grant(grant) => *grant,
    Decision::Deny(reason) => panic!("{reason}"),
});

/// A container of the job that the rule is for.
pub(crate) fn facts() -> Facts {
    Facts {
        run: Run {
            container_id: "a".repeat(64),
            started_at: "2027-01-15T07:59:00.5Z".to_owned(),
            cgroup_id: 4242,
        },
        labels: labels().into(),
        env: Vec::new(),
        image_env: Vec::new(),
        image_labels: BTreeMap::new(),
        image_id: format!("sha256:{}", "1".repeat(64)),
        repo_digests: Vec::new(),
    }
}
