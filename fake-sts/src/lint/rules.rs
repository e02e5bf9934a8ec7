//! What is wrong with a policy. Documents are looked at as written, because templates have texts in them that no policy has.

use fake_kit::glob::Glob;

use super::catalogue::{
    ALL_ROLES, ANYONE, BESIDE, CUSTOM, DELIMITER, EXTERNAL_ID, LENIENT, NEVER, NO_AUD, NO_SUB, ROOT, SAML_AUD, SERVICE,
    SYNTAX, VACUOUS, WIDE,
};
use super::source::field;
use super::{Finding, Found, Rule, Settings};
use serde_json::Value;

use crate::arn::is_account;
use crate::policy::{Kind, parse};

/// Claims that AWS makes condition keys of, whoever issued the token.
const TOKEN_CLAIMS: [&str; 4] = ["aud", "sub", "amr", "oaud"];

/// Providers whose own claims are condition keys as well.
const FAVOURED: [&str; 5] = [
    "token.actions.githubusercontent.com",
    "accounts.google.com",
    "oidc.circleci.com",
    "cognito-identity.amazonaws.com",
    "graph.facebook.com",
];

pub(super) struct Judge<'a> {
    file: &'a str,
    pub(super) found: &'a Found,
    pub(super) settings: &'a Settings,
    findings: &'a mut Vec<Finding>,
}

/// One condition of a statement.
struct Condition<'a> {
    operator: &'a str,
    key: &'a str,
    values: Vec<&'a str>,
}

impl Condition<'_> {
    fn base(&self) -> &str {
        let base = self.operator.rsplit(':').next().unwrap_or_default();
        base.strip_suffix("IfExists").unwrap_or(base)
    }

    fn is_claim(&self, claim: &str) -> bool {
        self.key
            .rsplit_once(':')
            .is_some_and(|(provider, own)| provider.contains('.') && own.eq_ignore_ascii_case(claim))
    }

    /// Whether it can only hold for a value that is there and named.
    fn is_firm(&self) -> bool {
        let negated = self.base().contains("Not");
        !negated
            && !self.operator.ends_with("IfExists")
            && !self.operator.starts_with("ForAllValues:")
            && self.base() != "Null"
    }
}

pub(super) fn judge(file: &str, found: &Found, settings: &Settings, findings: &mut Vec<Finding>) {
    let mut judge = Judge {
        file,
        found,
        settings,
        findings,
    };
    judge.syntax();
    let statements = match field(&found.document, "Statement") {
        Value::Array(list) => list.iter().collect(),
        one => vec![one],
    };
    judge.beside(&statements);
    for (index, statement) in statements.into_iter().enumerate() {
        judge.statement(index, statement);
    }
}

pub(super) fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Vec::new(),
    }
}

fn conditions(statement: &Value) -> Vec<Condition<'_>> {
    let operators = field(statement, "Condition").as_object().into_iter().flatten();
    let pairs = operators.flat_map(|(operator, keys)| {
        let keys = keys.as_object().into_iter().flatten();
        keys.map(move |(key, values)| Condition {
            operator,
            key,
            values: texts(values),
        })
    });
    pairs.collect()
}

impl Judge<'_> {
    pub(super) fn report(&mut self, rule: Rule, at: &str, problem: impl Into<String>, remedy: impl Into<String>) {
        let place = match (self.found.place.as_str(), at) {
            ("", at) => at.to_owned(),
            (place, "") => place.to_owned(),
            (place, at) => format!("{place}.{at}"),
        };
        self.findings.push(Finding {
            file: self.file.to_owned(),
            place,
            rule,
            problem: problem.into(),
            remedy: remedy.into(),
        });
    }

    /// Texts that a template fills in later are no fault.
    fn syntax(&mut self) {
        let Err(faults) = parse(&self.found.document, self.found.kind) else {
            return;
        };
        for fault in faults.into_iter().filter(|fault| !fault.problem.contains("${")) {
            let at = fault.at.clone();
            self.report(SYNTAX, &at, fault.problem, fault.remedy);
        }
    }

    fn statement(&mut self, index: usize, statement: &Value) {
        if field(statement, "Effect") != "Allow" {
            return;
        }
        let at = format!("Statement[{index}]");
        let conditions = conditions(statement);
        self.vacuous(&at, &conditions);
        match self.found.kind {
            Kind::Trust => {
                self.principals(&at, field(statement, "Principal"), &conditions);
                self.federated(&at, field(statement, "Principal"), &conditions);
                self.services(&at, field(statement, "Principal"));
                self.saml(&at, field(statement, "Principal"), &conditions);
            }
            Kind::Identity => {
                self.any_role(&at, statement);
                self.rights(&at, statement);
            }
        }
    }

    fn principals(&mut self, at: &str, principal: &Value, conditions: &[Condition<'_>]) {
        let spot = format!("{at}.Principal");
        let named = if principal == "*" {
            vec!["*"]
        } else {
            texts(field(principal, "AWS"))
        };
        let firm = |key: &str| {
            let mut found = conditions.iter().filter(|one| one.key.eq_ignore_ascii_case(key));
            found.any(|one| one.is_firm() && !one.values.contains(&"*"))
        };
        let narrowed = [
            "aws:PrincipalArn",
            "aws:PrincipalOrgID",
            "aws:userid",
            "aws:PrincipalAccount",
        ]
        .iter()
        .any(|key| firm(key))
            || conditions
                .iter()
                .any(|one| one.is_firm() && one.key.to_lowercase().starts_with("aws:principaltag/"));
        for one in named {
            let account = one.split(':').nth(4).unwrap_or(one);
            if one == "*" && !narrowed {
                self.report(
                    ANYONE,
                    &spot,
                    "everybody who has an AWS account may assume the role",
                    "name roles or users; if it must be \"*\", add StringEquals on aws:PrincipalOrgID or ArnEquals on aws:PrincipalArn",
                );
            }
            if (is_account(one) || one.ends_with(":root")) && !narrowed {
                self.report(
                    ROOT,
                    &spot,
                    format!("every principal of account {account} whose own policies allow it may assume the role"),
                    "name the role, or add ArnEquals on aws:PrincipalArn",
                );
            }
            let foreign = self
                .settings
                .account
                .as_deref()
                .is_some_and(|own| is_account(account) && own != account);
            if foreign && !firm("sts:ExternalId") && !narrowed_to_organization(conditions) {
                self.report(
                    EXTERNAL_ID,
                    &spot,
                    format!("{one} is of another account, and no external id is asked for"),
                    "add StringEquals on sts:ExternalId with a value that the other side chose for you alone; within one organization, StringEquals on aws:PrincipalOrgID",
                );
            }
        }
    }

    fn federated(&mut self, at: &str, principal: &Value, conditions: &[Condition<'_>]) {
        let providers: Vec<&str> = texts(field(principal, "Federated"))
            .into_iter()
            .filter(|one| one.contains("oidc-provider/"))
            .collect();
        if providers.is_empty() {
            return;
        }
        let spot = format!("{at}.Condition");
        for (claim, rule, what) in [("sub", NO_SUB, "subject"), ("aud", NO_AUD, "audience")] {
            let stated: Vec<&Condition<'_>> = conditions.iter().filter(|one| one.is_claim(claim)).collect();
            if stated.is_empty() {
                self.report(
                    rule,
                    &spot,
                    format!("no condition asks for the token's {what}: any token of the issuer with the right rest is enough"),
                    format!("add StringEquals on PROVIDER:{claim}"),
                );
            } else if !stated.iter().any(|one| one.is_firm()) {
                self.report(
                    LENIENT,
                    &spot,
                    format!(
                        "the token's {what} is only asked for by {}",
                        stated.iter().map(|one| one.operator).collect::<Vec<_>>().join(", ")
                    ),
                    format!("write StringEquals on PROVIDER:{claim}"),
                );
            }
        }
        for condition in conditions {
            self.claim(&spot, condition);
            if condition.is_claim("sub") {
                for value in &condition.values {
                    self.subject(&spot, condition, value);
                }
            }
        }
    }

    fn claim(&mut self, field: &str, condition: &Condition<'_>) {
        let Some((provider, claim)) = condition.key.rsplit_once(':') else {
            return;
        };
        let of_provider = provider.contains('.') && !FAVOURED.contains(&provider);
        if of_provider && !TOKEN_CLAIMS.iter().any(|own| own.eq_ignore_ascii_case(claim)) {
            self.report(
                CUSTOM,
                field,
                format!("{} is no condition key: AWS takes aud, sub, amr and oaud from this provider's tokens and nothing else", condition.key),
                "ask for what you mean in PROVIDER:sub",
            );
        }
    }

    fn subject(&mut self, field: &str, condition: &Condition<'_>, value: &str) {
        let literal = condition.base() == "StringEquals" || condition.base() == "StringEqualsIgnoreCase";
        if literal && value.contains(['*', '?']) {
            self.report(
                NEVER,
                field,
                format!("{value} stands under {}, which takes a * for a *", condition.operator),
                "write StringLike, or spell the subject out",
            );
            return;
        }
        if value.contains(":ref_type:") && !value.contains(":ref_type:*") {
            let kind = value
                .split(":ref_type:")
                .nth(1)
                .and_then(|rest| rest.split(':').next())
                .unwrap_or_default();
            if !matches!(kind, "branch" | "tag") {
                self.report(
                    NEVER,
                    field,
                    format!("GitLab writes ref_type branch or tag, never {kind}"),
                    "merge requests have the branch's name; give them a role of their own that may only read",
                );
            }
        }
        if literal {
            return;
        }
        for (at, _) in value.match_indices('*') {
            let before = value.get(..at).unwrap_or_default();
            if !before.ends_with([':', '/']) {
                self.report(
                    DELIMITER,
                    field,
                    format!("{value}: what stands before * may go on, so {before}evil matches as well"),
                    "end it with a delimiter (: or /) before the *, or spell it out",
                );
                return;
            }
        }
        if value.contains(['*', '?']) {
            self.report(
                WIDE,
                field,
                format!("{value} is for more than one project, ref or type of ref"),
                "spell out project, ref_type and ref; anybody who may push can make a tag of any name",
            );
        }
    }

    fn vacuous(&mut self, at: &str, conditions: &[Condition<'_>]) {
        for condition in conditions
            .iter()
            .filter(|one| one.operator.starts_with("ForAllValues:"))
        {
            let guarded = conditions.iter().any(|other| {
                other.key.eq_ignore_ascii_case(condition.key)
                    && (other.is_firm() || (other.base() == "Null" && other.values.contains(&"false")))
            });
            if !guarded {
                self.report(
                    VACUOUS,
                    &format!("{at}.Condition.{}", condition.operator),
                    format!("holds for a request without {}", condition.key),
                    format!(
                        "add Null with \"{}\": \"false\", or use ForAnyValue or no quantifier",
                        condition.key
                    ),
                );
            }
        }
    }

    fn services(&mut self, at: &str, principal: &Value) {
        let named = texts(field(principal, "Service"));
        let spot = format!("{at}.Principal.Service");
        for one in &named {
            if !(one.ends_with(".amazonaws.com") || one.ends_with(".amazonaws.com.cn") || one.contains("${")) {
                self.report(
                    SERVICE,
                    &spot,
                    format!("{one} is no service principal"),
                    "write ec2.amazonaws.com, lambda.amazonaws.com…",
                );
            } else if self.found.of_instance && !one.starts_with("ec2.") {
                self.report(
                    SERVICE,
                    &spot,
                    format!("an instance profile holds the role, and {one} may assume it too"),
                    "give the service a role of its own",
                );
            }
        }
        if named.len() > 1 && !self.found.of_instance {
            self.report(
                SERVICE,
                &spot,
                format!("{} share the role", named.join(" and ")),
                "give each service a role of its own",
            );
        }
    }

    /// Services and callers in one trust, over all its statements.
    fn beside(&mut self, statements: &[&Value]) {
        if self.found.kind != Kind::Trust {
            return;
        }
        let allowing = || {
            let allowing = statements.iter().filter(|one| field(one, "Effect") == "Allow");
            allowing.map(|one| field(one, "Principal"))
        };
        let named = |of: &str| -> Vec<&str> { allowing().flat_map(|principal| texts(field(principal, of))).collect() };
        let services = named("Service");
        let callers = [named("AWS"), named("Federated")].concat();
        if let (Some(service), Some(caller)) = (services.first(), callers.first()) {
            self.report(
                BESIDE,
                "Statement",
                format!("{service} may assume the role that {caller} assumes"),
                "give the service a role of its own",
            );
        }
    }

    fn any_role(&mut self, at: &str, statement: &Value) {
        let covers = |pattern: &str| Glob::new(pattern.to_ascii_lowercase()).matches("sts:assumerole");
        let assumes = match statement.get("NotAction") {
            Some(except) => !texts(except).into_iter().any(covers),
            None => texts(field(statement, "Action")).into_iter().any(covers),
        };
        let resources = texts(field(statement, "Resource"));
        let every = |one: &&str| *one == "*" || one.ends_with(":role/*") || one.ends_with(":*");
        let wide = statement.get("NotResource").is_some() || resources.iter().any(every);
        if assumes && wide {
            self.report(
                ALL_ROLES,
                &format!("{at}.Resource"),
                "every role that trusts this account may be assumed",
                "name the roles",
            );
        }
    }

    fn saml(&mut self, at: &str, principal: &Value, conditions: &[Condition<'_>]) {
        let of_saml = texts(field(principal, "Federated"))
            .into_iter()
            .any(|one| one.contains(":saml-provider/"));
        let asked = conditions
            .iter()
            .any(|one| one.key.eq_ignore_ascii_case("saml:aud") && one.is_firm());
        if of_saml && !asked {
            self.report(
                SAML_AUD,
                &format!("{at}.Condition"),
                "no condition asks for the assertion's audience",
                "add StringEquals on saml:aud with https://signin.aws.amazon.com/saml",
            );
        }
    }
}

fn narrowed_to_organization(conditions: &[Condition<'_>]) -> bool {
    let mut own = conditions
        .iter()
        .filter(|one| one.key.eq_ignore_ascii_case("aws:PrincipalOrgID"));
    own.any(Condition::is_firm)
}
