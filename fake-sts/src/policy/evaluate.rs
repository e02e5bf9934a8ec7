//! What one policy says of one ask. An Allow needs every element to be understood and to hold; a Deny applies unless one surely does
//! not. It must not combine policies: that is the action's.

use super::condition::{Keys, Truth};
use super::document::{Effect, Policy, Scope, Statement};
use super::pattern::{expand, fits};
use super::principal::{Attributes, Match};

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// `sts:AssumeRole`…
    pub action: &'a str,
    /// The ARN acted on.
    pub resource: &'a str,
    /// Who asks.
    pub caller: &'a Attributes<'a>,
    /// The condition keys.
    pub keys: &'a Keys,
}

/// What a policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// An explicit Deny, and by which statement.
    Denied(String),
    /// Allowed: how closely a trust statement names the caller (identity policies always say `Direct`), and by which statement.
    Allowed(Match, String),
    /// Nothing grants; why each Allow of this action did not.
    Silent(Vec<String>),
}

impl Finding {
    /// Why the policy does not grant, in one line; `None` when it does.
    #[must_use]
    pub fn objection(&self, which: &str) -> Option<String> {
        match self {
            Self::Allowed(..) => None,
            Self::Denied(by) => Some(format!("{which}: explicit deny in {by}")),
            Self::Silent(reasons) => Some(silent(which, reasons)),
        }
    }
}

/// What is told of policies that neither allow nor deny.
pub(super) fn silent(which: &str, reasons: &[String]) -> String {
    if reasons.is_empty() {
        format!("{which}: no statement allows the action")
    } else {
        format!("{which}: no statement allows; {}", reasons.join("; "))
    }
}

/// Evaluates one policy.
#[must_use]
pub fn evaluate(policy: &Policy, ask: &Ask<'_>) -> Finding {
    let mut best = (Match::Not, String::new());
    let mut reasons = Vec::new();
    for (index, statement) in policy.statements.iter().enumerate() {
        let name = statement.sid.clone().unwrap_or_else(|| format!("Statement[{index}]"));
        let outcome = weigh(statement, policy.variables, ask);
        match (statement.effect, outcome) {
            (Effect::Deny, Outcome::Holds(_)) => return Finding::Denied(name),
            (Effect::Deny, Outcome::Unclear(why)) => return Finding::Denied(format!("{name} (fails closed: {why})")),
            (Effect::Allow, Outcome::Holds(found)) if found > best.0 => best = (found, name),
            (Effect::Allow, Outcome::Holds(_)) => {}
            (Effect::Allow, Outcome::Fails(why)) => reasons.extend(why.map(|why| format!("{name}: {why}"))),
            (Effect::Allow, Outcome::Unclear(why)) => reasons.push(format!("{name}: {why}")),
            (Effect::Deny, Outcome::Fails(_)) => {}
        }
    }
    if best.0 > Match::Not {
        Finding::Allowed(best.0, best.1)
    } else {
        Finding::Silent(reasons)
    }
}

enum Outcome {
    Holds(Match),
    /// `None` when the statement is about another action: then there is nothing to explain.
    Fails(Option<String>),
    Unclear(String),
}

fn weigh(statement: &Statement, variables: bool, ask: &Ask<'_>) -> Outcome {
    if !covers_action(&statement.actions, ask.action) {
        return Outcome::Fails(None);
    }
    let mut unclear = None;
    if let Some(resources) = &statement.resources {
        match covers_resource(resources, ask, variables) {
            Some(true) => {}
            Some(false) => return Outcome::Fails(Some("another resource".to_owned())),
            None => unclear = Some("a policy variable in Resource has no value".to_owned()),
        }
    }
    let found = match &statement.principals {
        None => Match::Direct,
        Some(principals) if principals.except => {
            if principals.named.iter().any(|one| one.spares(ask.caller)) {
                Match::Not
            } else {
                Match::Account
            }
        }
        Some(principals) => principals
            .named
            .iter()
            .map(|one| one.meets(ask.caller))
            .max()
            .unwrap_or(Match::Not),
    };
    if found == Match::Not {
        return Outcome::Fails(Some("names another principal".to_owned()));
    }
    for condition in &statement.conditions {
        match condition.holds(ask.keys, variables) {
            Truth::True => {}
            Truth::False => return Outcome::Fails(Some(condition.failure(ask.keys))),
            Truth::Unknown(why) => unclear = Some(why),
        }
    }
    unclear.map_or(Outcome::Holds(found), Outcome::Unclear)
}

/// Actions are compared without regard to case, and know no variables.
fn covers_action(scope: &Scope, action: &str) -> bool {
    let action = action.to_ascii_lowercase();
    let named = scope.patterns.iter().any(|pattern| {
        expand(&pattern.to_ascii_lowercase(), &Keys::default(), false).is_some_and(|glyphs| fits(&glyphs, &action))
    });
    named != scope.except
}

fn covers_resource(scope: &Scope, ask: &Ask<'_>, variables: bool) -> Option<bool> {
    let mut unclear = false;
    for pattern in &scope.patterns {
        match expand(pattern, ask.keys, variables) {
            Some(glyphs) if fits(&glyphs, ask.resource) => return Some(!scope.except),
            Some(_) => {}
            None => unclear = true,
        }
    }
    (!unclear).then_some(scope.except)
}
