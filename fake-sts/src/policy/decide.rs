//! Many policies, one decision: a resource's policy (here always a role's trust), the caller's identity policies, its permissions boundary
//! and its session's policies. It must not know where policies are kept.

use super::document::Policy;
use super::evaluate::{Ask, Finding, evaluate, silent};
use super::principal::Match;

/// A policy with the name it is told by.
#[derive(Debug, Clone)]
pub struct Named<'a> {
    /// `inline/deploy`, an ARN…
    pub name: String,
    /// What it says; `None` when that is not known, and then nothing may be granted over it.
    pub policy: Option<&'a Policy>,
}

/// What a caller brings of its own.
#[derive(Debug, Clone, Default)]
pub struct Standing<'a> {
    /// Whether the caller is a session of a role: a trust that names the role is then still limited by boundary and session policies.
    pub of_role: bool,
    /// What grants to it.
    pub identity: Vec<Named<'a>>,
    /// What limits it, whatever grants.
    pub boundary: Option<Named<'a>>,
    /// What limits this session: one of them must allow. Empty when the session was not narrowed.
    pub session: Vec<Named<'a>>,
}

/// One policy's part in a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// `trust policy`, `identity policy inline/deploy`…
    pub policy: String,
    /// What it says.
    pub finding: Finding,
}

/// Whether something is allowed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The answer.
    pub allowed: bool,
    /// In one line: what decided.
    pub because: String,
    /// What each policy said, in the order in which they were asked.
    pub steps: Vec<Step>,
}

impl Decision {
    fn denied(because: String, steps: Vec<Step>) -> Self {
        Self {
            allowed: false,
            because,
            steps,
        }
    }
}

/// Decides an ask that a role's trust policy must grant. `same_account` is whether role and caller belong to one account: then a trust that
/// names the caller itself is enough, and otherwise the caller's own policies must allow it too.
#[must_use]
pub fn decide_trust(trust: &Policy, same_account: bool, standing: &Standing<'_>, ask: &Ask<'_>) -> Decision {
    let found = evaluate(trust, ask);
    let mut steps = vec![step("trust policy", found.clone())];
    if let Some(objection) = found.objection("trust policy") {
        return Decision::denied(objection, steps);
    }
    let named = match found {
        Finding::Allowed(found, _) if same_account => found,
        Finding::Allowed(..) | Finding::Denied(_) | Finding::Silent(_) => Match::Account,
    };
    decide_standing(named, standing, ask, &mut steps)
}

/// Decides an ask that no resource's policy takes part in.
#[must_use]
pub fn decide_identity(standing: &Standing<'_>, ask: &Ask<'_>) -> Decision {
    decide_standing(Match::Account, standing, ask, &mut Vec::new())
}

fn decide_standing(named: Match, standing: &Standing<'_>, ask: &Ask<'_>, steps: &mut Vec<Step>) -> Decision {
    let done = |allowed, because, steps: &mut Vec<Step>| Decision {
        allowed,
        because,
        steps: std::mem::take(steps),
    };
    let groups: [(&str, Vec<&Named<'_>>); 3] = [
        ("identity policy", standing.identity.iter().collect()),
        ("permissions boundary", standing.boundary.iter().collect()),
        ("session policy", standing.session.iter().collect()),
    ];
    // Every policy is asked before any may grant, because an explicit Deny wins wherever it stands.
    let mut grants: [Option<String>; 3] = [None, None, None];
    let mut reasons: [Vec<String>; 3] = [Vec::new(), Vec::new(), Vec::new()];
    for (((kind, policies), grant), reasons) in groups.iter().zip(&mut grants).zip(&mut reasons) {
        for named in policies {
            let Some(policy) = named.policy else {
                let because = format!("{kind}: this fake does not know what {} says", named.name);
                return done(false, because, steps);
            };
            let found = evaluate(policy, ask);
            let title = match named.name.as_str() {
                "" => (*kind).to_owned(),
                name => format!("{kind} {name}"),
            };
            steps.push(step(&title, found.clone()));
            match found {
                Finding::Denied(by) => return done(false, format!("{kind}: explicit deny in {by}"), steps),
                Finding::Allowed(_, by) => *grant = grant.take().or(Some(format!("{title}: {by}"))),
                Finding::Silent(why) => reasons.extend(why),
            }
        }
    }
    let [identity, boundary, session] = &grants;
    // IAM's documentation, "evaluating policies within a single account": a session's own ARN is granted to whatever else is silent; a
    // user's ARN past its boundary; a role's ARN only past its identity policies.
    let bounded = match named {
        Match::Session => false,
        Match::Direct => standing.of_role,
        Match::Account | Match::Not => true,
    };
    let [no_identity, no_boundary, no_session] = &reasons;
    if named < Match::Direct && identity.is_none() {
        return done(false, silent("identity policy", no_identity), steps);
    }
    if bounded && standing.boundary.is_some() && boundary.is_none() {
        return done(false, silent("permissions boundary", no_boundary), steps);
    }
    if named < Match::Session && !standing.session.is_empty() && session.is_none() {
        return done(false, silent("session policy", no_session), steps);
    }
    let because = match steps.first().map(|step| (&step.policy, &step.finding)) {
        Some((policy, Finding::Allowed(_, by))) if named >= Match::Direct => format!("{policy}: {by}"),
        _ => identity.clone().unwrap_or_default(),
    };
    done(true, because, steps)
}

fn step(policy: &str, finding: Finding) -> Step {
    Step {
        policy: policy.to_owned(),
        finding,
    }
}
