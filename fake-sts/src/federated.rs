//! Sessions of those whom an identity provider vouches for, by a token or by an assertion: which condition keys they bring, which actions
//! they need, and what a role's trust policy says of them. Pure; it must not know what the provider wrote.

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::{Ask, Attributes, Finding, Keys, evaluate};
use crate::world::Role;

/// What a provider vouches for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vouched<'a> {
    /// The provider's ARN.
    pub(crate) provider: &'a str,
    /// RoleSessionName.
    pub(crate) session_name: &'a str,
    /// Session tags.
    pub(crate) tags: &'a BTreeMap<String, String>,
    /// Keys of the tags to hand on.
    pub(crate) transitive: &'a BTreeSet<String>,
    /// Source identity.
    pub(crate) source_identity: Option<&'a str>,
}

/// What a trust policy says of one of the actions that a session needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weighed {
    /// Which action.
    pub action: &'static str,
    /// What the policy says.
    pub finding: Finding,
}

/// What a role's trust policy says of a session that `action` makes, whose further keys are given. Nobody stands behind it but the provider:
/// no other policy takes part.
pub(crate) fn weigh(role: &Role, action: &'static str, vouched: Vouched<'_>, mut keys: Keys) -> Vec<Weighed> {
    keys.set("sts:RoleSessionName", [vouched.session_name]);
    keys.set("sts:SourceIdentity", vouched.source_identity);
    keys.set("sts:TransitiveTagKeys", vouched.transitive.iter().cloned());
    keys.set("aws:FederatedProvider", [vouched.provider]);
    keys.set("aws:TagKeys", vouched.tags.keys().cloned());
    for (key, value) in vouched.tags {
        keys.set(&format!("aws:RequestTag/{key}"), [value.as_str()]);
    }
    let caller = Attributes {
        arn: "",
        principal_arn: "",
        unique_id: "",
        account: &role.arn.account,
        partition: &role.arn.partition,
        service: None,
        federated: Some(vouched.provider),
    };
    let mut actions = vec![action];
    actions.extend((!vouched.tags.is_empty()).then_some("sts:TagSession"));
    actions.extend(vouched.source_identity.is_some().then_some("sts:SetSourceIdentity"));
    let resource = role.arn.to_string();
    let findings = actions.into_iter().map(|action| {
        let ask = Ask {
            action,
            resource: &resource,
            caller: &caller,
            keys: &keys,
        };
        let finding = evaluate(role.trust.policy(), &ask);
        Weighed { action, finding }
    });
    findings.collect()
}
