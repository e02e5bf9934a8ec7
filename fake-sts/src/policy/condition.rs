//! Conditions: operators, keys of the request, and what holds when something is missing. Three outcomes: what is not understood is
//! neither true nor false, and the caller of this module must let it refuse. It must not know effects.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::Timestamp;

use super::pattern::{Glyph, expand, fits, fits_arn, literal};

/// The condition keys of one request. Names are compared without regard to case, as IAM does.
#[derive(Debug, Clone, Default)]
pub struct Keys(BTreeMap<String, Vec<String>>);

/// Keys that this fake knows the meaning of; one that is known and not in the request is truly absent.
const KNOWN: [&str; 59] = [
    "aws:assumedroot",
    "aws:currenttime",
    "aws:epochtime",
    "aws:federatedprovider",
    "aws:multifactorauthage",
    "aws:multifactorauthpresent",
    "aws:principalaccount",
    "aws:principalarn",
    "aws:principalisawsservice",
    "aws:principalorgid",
    "aws:principalorgpaths",
    "aws:principalservicename",
    "aws:principalservicenameslist",
    "aws:principaltype",
    "aws:referer",
    "aws:requestedregion",
    "aws:securetransport",
    "aws:sourceaccount",
    "aws:sourcearn",
    "aws:sourceidentity",
    "aws:sourceip",
    "aws:sourceorgid",
    "aws:sourceorgpaths",
    "aws:sourcevpc",
    "aws:sourcevpcarn",
    "aws:sourcevpce",
    "aws:tagkeys",
    "aws:tokenissuetime",
    "aws:useragent",
    "aws:userid",
    "aws:username",
    "aws:viaawsservice",
    "aws:vpcsourceip",
    "ec2:roledelivery",
    "ec2:rolesourceinstancearn",
    "ec2:sourceinstancearn",
    "iam:awsservicename",
    "iam:passedtoservice",
    "iam:permissionsboundary",
    "iam:policyarn",
    "lambda:sourcefunctionarn",
    "saml:aud",
    "saml:doc",
    "saml:iss",
    "saml:namequalifier",
    "saml:sub",
    "saml:sub_type",
    "sts:awsservicename",
    "sts:durationseconds",
    "sts:externalid",
    "sts:identitytokenaudience",
    "sts:roleauthorizedbyidp",
    "sts:rolesessionname",
    "sts:samlhttppost",
    "sts:signingalgorithm",
    "sts:sourceidentity",
    "sts:taskpolicyarn",
    "sts:transitivetagkeys",
    "sts:webidentitytoken",
];

/// What AWS takes out of a web identity token, whoever issued it: `PROVIDER:aud` and so on.
const TOKEN_KEYS: [&str; 4] = ["aud", "sub", "amr", "oaud"];

/// How much of a value an explanation repeats: a client chooses its length.
const TOLD_CHARACTERS: usize = 120;

impl Keys {
    /// Sets a key to its values.
    pub fn set<V: Into<String>>(&mut self, name: &str, values: impl IntoIterator<Item = V>) {
        self.0
            .insert(name.to_ascii_lowercase(), values.into_iter().map(Into::into).collect());
    }

    /// The values of a key; empty when it is absent.
    #[must_use]
    pub fn values(&self, name: &str) -> &[String] {
        self.0
            .get(&name.to_ascii_lowercase())
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    /// Makes every claim of a provider a key, those too that this token has not.
    pub fn know_claims_of(&mut self, provider: &str) {
        self.set(&format!("{provider}:"), None::<String>);
    }

    /// Forgets a key.
    pub fn remove(&mut self, name: &str) {
        self.0.remove(&name.to_ascii_lowercase());
    }

    /// Whether the meaning of a key is known: by itself, as a tag, as a claim that AWS takes from tokens, or because this request has it.
    fn knows(&self, name: &str) -> bool {
        KNOWN.contains(&name)
            || [
                "aws:principaltag/",
                "aws:requesttag/",
                "aws:resourcetag/",
                "iam:resourcetag/",
            ]
            .iter()
            .any(|prefix| name.starts_with(prefix))
            || is_token_key(name)
            || self.0.contains_key(name)
            || name
                .rsplit_once(':')
                .is_some_and(|(provider, _)| self.0.contains_key(&format!("{provider}:")))
    }
}

/// `gitlab.example.com:sub`, `oidc.eks.eu-central-1.amazonaws.com/id/ABC:aud`…
fn is_token_key(name: &str) -> bool {
    name.rsplit_once(':')
        .is_some_and(|(provider, claim)| provider.contains('.') && TOKEN_KEYS.contains(&claim))
}

/// Whether a condition holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Truth {
    True,
    False,
    /// Not understood, and why.
    Unknown(String),
}

/// One key under one operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    operator: String,
    key: String,
    values: Vec<String>,
    meaning: Option<Operator>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Operator {
    test: Test,
    negated: bool,
    if_exists: bool,
    quantifier: Quantifier,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantifier {
    Single,
    AnyValue,
    AllValues,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    Equals,
    EqualsIgnoreCase,
    Like,
    Arn,
    Number(Order),
    Date(Order),
    Bool,
    Ip,
    Null,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Order {
    fn holds<T: PartialOrd>(self, left: &T, right: &T) -> bool {
        match self {
            Self::Equal => left == right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

impl Operator {
    fn parse(text: &str) -> Option<Self> {
        let (quantifier, text) = match text.split_once(':') {
            Some(("ForAnyValue", rest)) => (Quantifier::AnyValue, rest),
            Some(("ForAllValues", rest)) => (Quantifier::AllValues, rest),
            Some(_) => return None,
            None => (Quantifier::Single, text),
        };
        let (text, if_exists) = text.strip_suffix("IfExists").map_or((text, false), |base| (base, true));
        let (test, negated) = match text {
            "StringEquals" | "BinaryEquals" => (Test::Equals, false),
            "StringNotEquals" => (Test::Equals, true),
            "StringEqualsIgnoreCase" => (Test::EqualsIgnoreCase, false),
            "StringNotEqualsIgnoreCase" => (Test::EqualsIgnoreCase, true),
            "StringLike" => (Test::Like, false),
            "StringNotLike" => (Test::Like, true),
            "ArnEquals" | "ArnLike" => (Test::Arn, false),
            "ArnNotEquals" | "ArnNotLike" => (Test::Arn, true),
            "NumericEquals" => (Test::Number(Order::Equal), false),
            "NumericNotEquals" => (Test::Number(Order::Equal), true),
            "NumericLessThan" => (Test::Number(Order::Less), false),
            "NumericLessThanEquals" => (Test::Number(Order::LessOrEqual), false),
            "NumericGreaterThan" => (Test::Number(Order::Greater), false),
            "NumericGreaterThanEquals" => (Test::Number(Order::GreaterOrEqual), false),
            "DateEquals" => (Test::Date(Order::Equal), false),
            "DateNotEquals" => (Test::Date(Order::Equal), true),
            "DateLessThan" => (Test::Date(Order::Less), false),
            "DateLessThanEquals" => (Test::Date(Order::LessOrEqual), false),
            "DateGreaterThan" => (Test::Date(Order::Greater), false),
            "DateGreaterThanEquals" => (Test::Date(Order::GreaterOrEqual), false),
            "Bool" => (Test::Bool, false),
            "IpAddress" => (Test::Ip, false),
            "NotIpAddress" => (Test::Ip, true),
            "Null" if !if_exists && quantifier == Quantifier::Single => (Test::Null, false),
            _ => return None,
        };
        Some(Self {
            test,
            negated,
            if_exists,
            quantifier,
        })
    }
}

impl Condition {
    /// A condition as written. An operator that does not exist is kept, and never holds.
    #[must_use]
    pub fn new(operator: &str, key: &str, values: Vec<String>) -> Self {
        Self {
            operator: operator.to_owned(),
            key: key.to_ascii_lowercase(),
            values,
            meaning: Operator::parse(operator),
        }
    }

    /// The operator as written.
    #[must_use]
    pub fn operator(&self) -> &str {
        &self.operator
    }

    /// The key, in lower case.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The values as written.
    #[must_use]
    pub fn values(&self) -> &[String] {
        &self.values
    }

    pub(super) fn holds(&self, keys: &Keys, variables: bool) -> Truth {
        let Some(operator) = self.meaning else {
            return Truth::Unknown(format!("operator {} is not known", self.operator));
        };
        if !keys.knows(&self.key) {
            return Truth::Unknown(format!("condition key {} is not known", self.key));
        }
        let present = keys.values(&self.key);
        if operator.test == Test::Null {
            return self.null(present.is_empty());
        }
        if present.is_empty() {
            // ForAllValues over nothing is true, the trap that IAM documents; the real service grants, so does the fake.
            let vacuous = operator.quantifier == Quantifier::AllValues;
            let negated = operator.negated && operator.quantifier == Quantifier::Single;
            return truth(operator.if_exists || vacuous || negated);
        }
        let mut patterns = Vec::with_capacity(self.values.len());
        for value in &self.values {
            match expand(value, keys, variables) {
                Some(glyphs) => patterns.push(glyphs),
                None => return Truth::Unknown(format!("a policy variable in {value} has no value")),
            }
        }
        let mut outcomes = Vec::with_capacity(present.len());
        for value in present {
            let mut any = false;
            for pattern in &patterns {
                match compare(operator.test, pattern, value) {
                    Some(same) => any |= same,
                    None => return Truth::Unknown(format!("{} cannot compare {}", self.operator, literal(pattern))),
                }
            }
            outcomes.push(any != operator.negated);
        }
        let mut outcomes = outcomes.into_iter();
        truth(match operator.quantifier {
            Quantifier::AllValues => outcomes.all(|held| held),
            // A negated operator without a quantifier must hold for each value, a positive one for some.
            Quantifier::Single if operator.negated => outcomes.all(|held| held),
            Quantifier::Single | Quantifier::AnyValue => outcomes.any(|held| held),
        })
    }

    /// Why this condition does not hold: both sides, shortened.
    pub(super) fn failure(&self, keys: &Keys) -> String {
        let has = match keys.values(&self.key) {
            [] => "no such key".to_owned(),
            values => tell(values),
        };
        format!(
            "{} {} does not hold: the request has {has}, the policy wants {}",
            self.operator,
            self.key,
            tell(&self.values)
        )
    }

    fn null(&self, absent: bool) -> Truth {
        let mut any = false;
        for value in &self.values {
            any |= match value.to_ascii_lowercase().as_str() {
                "true" => absent,
                "false" => !absent,
                _ => return Truth::Unknown(format!("Null cannot compare {value}")),
            };
        }
        truth(any)
    }
}

fn tell(values: &[String]) -> String {
    let text = values.join(" or ");
    if text.chars().count() <= TOLD_CHARACTERS {
        return text;
    }
    text.chars().take(TOLD_CHARACTERS).chain(['…']).collect()
}

fn truth(yes: bool) -> Truth {
    if yes { Truth::True } else { Truth::False }
}

/// `None` when one of the sides is not of the operator's type.
fn compare(test: Test, pattern: &[Glyph], value: &str) -> Option<bool> {
    let text = || literal(pattern);
    Some(match test {
        Test::Equals => text() == value,
        Test::EqualsIgnoreCase => text().to_lowercase() == value.to_lowercase(),
        Test::Like => fits(pattern, value),
        Test::Arn => fits_arn(pattern, value),
        Test::Number(order) => order.holds(&value.parse::<f64>().ok()?, &text().parse::<f64>().ok()?),
        Test::Date(order) => order.holds(&read_date(value)?, &read_date(&text())?),
        Test::Bool => read_bool(value)? == read_bool(&text())?,
        Test::Ip => read_net(&text())?.contains(&value.parse::<IpAddr>().ok()?),
        // Answered before any comparison.
        Test::Null => return None,
    })
}

fn read_bool(text: &str) -> Option<bool> {
    text.to_ascii_lowercase().parse().ok()
}

fn read_date(text: &str) -> Option<Timestamp> {
    text.parse::<i64>()
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .or_else(|| text.parse().ok())
}

fn read_net(text: &str) -> Option<IpNet> {
    text.parse()
        .ok()
        .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}
