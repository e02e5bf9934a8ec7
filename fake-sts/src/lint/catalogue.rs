//! Every rule: its name, how bad it is to break it, and why, for `lint --explain`.

use super::{Rule, Severity};

const fn error(id: &'static str, title: &'static str, why: &'static str) -> Rule {
    Rule {
        id,
        severity: Severity::Error,
        title,
        why,
    }
}

const fn warning(id: &'static str, title: &'static str, why: &'static str) -> Rule {
    Rule {
        id,
        severity: Severity::Warning,
        title,
        why,
    }
}

pub(super) const SYNTAX: Rule = error(
    "policy-syntax",
    "A policy is one that IAM takes",
    "IAM refuses the document, so what is deployed is an older one or none.",
);
pub(super) const ANYONE: Rule = error(
    "trust-anyone",
    "A trust names whom it means",
    "\"*\" is everybody who has an AWS account, not everybody in yours. A condition on aws:PrincipalOrgID or aws:PrincipalArn says who is meant.",
);
pub(super) const ROOT: Rule = warning(
    "trust-account-root",
    "A trust names roles or users, not a whole account",
    "An account or its :root stands for every principal of it whose own policies allow sts:AssumeRole: whoever may write policies there decides who gets the role.",
);
pub(super) const EXTERNAL_ID: Rule = error(
    "trust-external-id",
    "Another company's account is asked for an external id",
    "A service that assumes roles for many customers can be told another customer's role ARN. With sts:ExternalId it gets only the roles of whom it works for (the confused deputy).",
);
pub(super) const NO_SUB: Rule = error(
    "oidc-no-sub",
    "A token's subject is asked for",
    "Without PROVIDER:sub each job of each project that the issuer knows gets the role; with gitlab.com as the issuer, everybody's.",
);
pub(super) const NO_AUD: Rule = warning(
    "oidc-no-aud",
    "A token's audience is asked for",
    "Without PROVIDER:aud a token that a job made for somebody else (Vault, a registry) is taken as well: whoever receives it gets the role.",
);
pub(super) const DELIMITER: Rule = error(
    "oidc-wildcard-delimiter",
    "A wildcard follows a delimiter",
    "project_path:group/app* matches group/app-evil too, and *:ref:main matches every project. Anybody may make a project of such a name.",
);
pub(super) const WIDE: Rule = warning(
    "oidc-wildcard-wide",
    "A subject names one project and one ref",
    "group/* is every project of the group, the ones to come included; ref_type:* lets a tag or branch of any name in, and whoever may push can make one.",
);
pub(super) const NEVER: Rule = warning(
    "oidc-never",
    "A condition can hold",
    "StringEquals takes a * for a *, and GitLab writes ref_type branch or tag only. What never holds is found when it is needed, and then replaced in haste.",
);
pub(super) const CUSTOM: Rule = error(
    "oidc-custom-claim",
    "Conditions use claims that AWS takes from tokens",
    "From most issuers AWS takes aud, sub, amr and oaud. A condition on another claim never holds, and one with IfExists or a negation always does.",
);
pub(super) const VACUOUS: Rule = error(
    "condition-vacuous",
    "ForAllValues does not stand alone",
    "ForAllValues holds for a request without the key: of no values all are right. Null with \"false\" on the same key says that it must be there.",
);
pub(super) const LENIENT: Rule = error(
    "condition-lenient",
    "Who is meant is not asked for by IfExists or by a negation",
    "IfExists and negations hold when the claim is absent, and a negation for everybody but the one who was thought of.",
);
pub(super) const ALL_ROLES: Rule = error(
    "assume-any-role",
    "A policy names the roles that may be assumed",
    "sts:AssumeRole on * is every role, in any account, that trusts this account: each trust of a whole account becomes a way there.",
);
pub(super) const SERVICE: Rule = warning(
    "service-principal",
    "A trust names the one service that uses the role",
    "A role that several services share has the rights of all of them in each.",
);
pub(super) const BESIDE: Rule = error(
    "service-beside-callers",
    "A role that is assumed is not a service's as well",
    "A job's role that also trusts ec2.amazonaws.com is had by whoever may start an instance with it (iam:PassRole), without any of the other conditions.",
);
pub(super) const INSTANCE: Rule = error(
    "instance-rights",
    "An instance of a runner may assume roles and pull images, and nothing else",
    "Whatever reaches the metadata service of the instance has these rights: a job that gets past the proxy, and every process of the host. --allow names further ones.",
);
pub(super) const SAML_AUD: Rule = warning(
    "saml-no-aud",
    "An assertion's audience is asked for",
    "Without saml:aud an assertion that was posted to another service of the same identity provider may be taken.",
);

/// Every rule.
pub const RULES: [Rule; 17] = [
    SYNTAX,
    ANYONE,
    ROOT,
    EXTERNAL_ID,
    NO_SUB,
    NO_AUD,
    DELIMITER,
    WIDE,
    NEVER,
    CUSTOM,
    VACUOUS,
    LENIENT,
    ALL_ROLES,
    SERVICE,
    BESIDE,
    INSTANCE,
    SAML_AUD,
];
