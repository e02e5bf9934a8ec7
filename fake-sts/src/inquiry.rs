//! Questions to a world that is not served: may this caller assume that role, and who may at all? Pure; texts for people come out.

mod saml;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use thiserror::Error;

use crate::arn::RoleArn;
use crate::assume_role;
use crate::context::{Origin, connection_keys};
use crate::federated::Weighed;
use crate::oidc::{Token, unsigned};
use crate::parameters::{AssumeRole, Mfa};
use crate::policy::{Attributes, Decision, Finding, evaluate};
use crate::provenance::Via;
use crate::secret::Secret;
use crate::state::{Caller, Owner, Session, State};
use crate::web_identity::weigh;
use crate::world::{OidcProvider, Role, User};

pub use saml::{Bearer, ask_assertion};

/// What is asked of a role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Question {
    /// RoleSessionName.
    pub session_name: String,
    /// ExternalId.
    pub external_id: Option<String>,
    /// Session tags.
    pub tags: BTreeMap<String, String>,
    /// SourceIdentity.
    pub source_identity: Option<String>,
    /// Whether the caller showed a second factor.
    pub mfa: bool,
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InquiryError {
    /// No such role.
    #[error("the world has no role {role}: name one of {known}")]
    NoRole {
        /// As asked.
        role: String,
        /// Which there are.
        known: String,
    },
    /// No such caller.
    #[error(
        "the world has nobody called {caller}: name a user's or role's ARN, or a service such as ec2.amazonaws.com"
    )]
    NoCaller {
        /// As asked.
        caller: String,
    },
    /// No provider believes the token's issuer.
    #[error("account {account} has no [[oidc_provider]] for {issuer}")]
    NoProvider {
        /// The role's account.
        account: String,
        /// `iss`.
        issuer: String,
    },
    /// No such SAML provider.
    #[error("the world has no SAML provider {provider}: name one of {known}")]
    NoSamlProvider {
        /// As asked.
        provider: String,
        /// Which there are.
        known: String,
    },
    /// The claims are no token's.
    #[error("a token needs at least iss, as a text, and claims of the standard's types")]
    BadClaims,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Who asks.
    pub who: String,
    /// Whether it may.
    pub allowed: bool,
    /// In one line.
    pub because: String,
    /// What each policy said.
    pub steps: Vec<(String, Finding)>,
}

/// The role that is meant: by its ARN, or by its name in the world's own account.
///
/// # Errors
/// There is none.
pub fn find_role<'a>(state: &'a State, text: &str) -> Result<&'a Role, InquiryError> {
    let found = match RoleArn::parse(text) {
        Some(arn) => state.world.role_by_arn(&arn),
        None => state.world.role(&state.world.account.id, text),
    };
    found.ok_or_else(|| {
        let known: Vec<&str> = state
            .world
            .roles()
            .map(|role| role.arn.name.as_str())
            .take(20)
            .collect();
        InquiryError::NoRole {
            role: text.to_owned(),
            known: known.join(", "),
        }
    })
}

fn as_user(user: &Arc<User>) -> Caller {
    Caller::User(Arc::clone(user), String::new())
}

/// A session of a role as it would be just now.
fn as_role(role: &Role, now: Timestamp) -> Caller {
    let owner = Owner::Role {
        arn: role.arn.clone(),
        id: role.id.clone(),
        name: "session".to_owned(),
        of_world: true,
    };
    Caller::Session(Arc::new(Session {
        access_key_id: String::new(),
        secret: Secret::new(String::new()),
        token: Secret::new(String::new()),
        expiration: now.saturating_add(SignedDuration::from_hours(1)).unwrap_or(now),
        issued_at: now,
        arn: owner.arn(),
        principal_arn: owner.principal_arn(),
        owner,
        via: Via::AssumeRole,
        policy: None,
        policy_arns: Vec::new(),
        tags: BTreeMap::new(),
        transitive_tag_keys: BTreeSet::new(),
        source_identity: None,
        mfa: false,
        provider: None,
        delivery: None,
    }))
}

/// Whether a caller, by its ARN or as a service, may assume a role.
///
/// # Errors
/// Nobody is called that.
pub fn ask(
    state: &State,
    role: &Role,
    caller: &str,
    question: &Question,
    now: Timestamp,
) -> Result<Answer, InquiryError> {
    if caller.ends_with(".amazonaws.com") {
        return Ok(ask_service(role, caller, question, now));
    }
    let user = state
        .world
        .users()
        .find(|user| user.arn == caller || user.name == caller);
    let found = match user {
        Some(user) => Some(as_user(user)),
        None => find_role(state, caller).ok().map(|role| as_role(role, now)),
    };
    let found = found.ok_or_else(|| InquiryError::NoCaller {
        caller: caller.to_owned(),
    })?;
    Ok(ask_caller(state, role, &found, question, now))
}

fn ask_service(role: &Role, service: &str, question: &Question, now: Timestamp) -> Answer {
    let mut keys = connection_keys(&Origin::default(), now);
    keys.set("aws:PrincipalServiceName", [service]);
    keys.set("aws:PrincipalIsAWSService", ["true"]);
    keys.set("aws:SourceAccount", [role.arn.account.as_str()]);
    keys.set("sts:RoleSessionName", [question.session_name.as_str()]);
    let caller = Attributes {
        arn: "",
        principal_arn: "",
        unique_id: "",
        account: &role.arn.account,
        partition: &role.arn.partition,
        service: Some(service),
        federated: None,
    };
    let resource = role.arn.to_string();
    let finding = evaluate(
        role.trust.policy(),
        &crate::policy::Ask {
            action: "sts:AssumeRole",
            resource: &resource,
            caller: &caller,
            keys: &keys,
        },
    );
    of_finding(service.to_owned(), "sts:AssumeRole", finding)
}

fn of_finding(who: String, action: &str, finding: Finding) -> Answer {
    let because = match &finding {
        Finding::Allowed(_, by) => format!("trust policy: {by}"),
        Finding::Denied(_) | Finding::Silent(_) => finding.objection("trust policy").unwrap_or_default(),
    };
    Answer {
        who,
        allowed: matches!(finding, Finding::Allowed(..)),
        because,
        steps: vec![(format!("{action}: trust policy"), finding)],
    }
}

fn ask_caller(state: &State, role: &Role, caller: &Caller, question: &Question, now: Timestamp) -> Answer {
    let request = AssumeRole {
        role_arn: role.arn.to_string(),
        session_name: question.session_name.clone(),
        duration: 900,
        external_id: question.external_id.clone(),
        policy: None,
        policy_arns: Vec::new(),
        tags: question.tags.clone(),
        transitive_tag_keys: BTreeSet::new(),
        source_identity: question.source_identity.clone(),
        mfa: Mfa::default(),
    };
    let origin = Origin {
        region: state.world.account.region.clone(),
        ..Origin::default()
    };
    let who = caller.attributes().principal_arn.to_owned();
    match assume_role::judge(state, caller, role, &request, &origin, question.mfa, now) {
        Ok(judged) => {
            let refused = judged.iter().find(|(_, decision)| !decision.allowed);
            let deciding = refused.or(judged.first());
            let because = deciding.map(|(action, decision)| match refused {
                Some(_) => format!("{action}: {}", decision.because),
                None => decision.because.clone(),
            });
            Answer {
                who,
                allowed: refused.is_none(),
                because: because.unwrap_or_default(),
                steps: judged
                    .into_iter()
                    .flat_map(|(action, decision)| steps(action, decision))
                    .collect(),
            }
        }
        Err(decline) => Answer {
            who,
            allowed: false,
            because: decline.to_string(),
            steps: Vec::new(),
        },
    }
}

fn steps(action: &str, decision: Decision) -> Vec<(String, Finding)> {
    let steps = decision.steps.into_iter();
    steps
        .map(|step| (format!("{action}: {}", step.policy), step.finding))
        .collect()
}

/// Whether the bearer of a token with these claims, once it is believed, may assume a role.
///
/// # Errors
/// The claims are no token's, or no provider of the role's account believes their issuer.
pub fn ask_token(
    state: &State,
    role: &Role,
    claims: &Value,
    question: &Question,
    now: Timestamp,
) -> Result<Answer, InquiryError> {
    let token = unsigned(claims).ok_or(InquiryError::BadClaims)?;
    let provider = state
        .world
        .provider_for(&role.arn.account, &token.issuer)
        .ok_or_else(|| InquiryError::NoProvider {
            account: role.arn.account.clone(),
            issuer: token.issuer.clone(),
        })?;
    Ok(of_token(role, provider, &token, question, now))
}

fn of_token(role: &Role, provider: &OidcProvider, token: &Token, question: &Question, now: Timestamp) -> Answer {
    let who = format!(
        "{} aud {}",
        token.subject.as_deref().unwrap_or("no subject"),
        token.audiences.join(" ")
    );
    let registered = token.audiences.iter().chain(&token.authorized_party);
    if !registered
        .clone()
        .any(|audience| provider.client_ids.contains(audience))
    {
        return Answer {
            who,
            allowed: false,
            because: format!(
                "Incorrect token audience: the provider takes {}",
                provider.client_ids.join(", ")
            ),
            steps: Vec::new(),
        };
    }
    let keys = connection_keys(&Origin::default(), now);
    of_weighed(&who, weigh(role, provider, token, &question.session_name, keys))
}

/// Each action that a session needs must be allowed: the first refusal decides.
fn of_weighed(who: &str, weighed: Vec<Weighed>) -> Answer {
    let mut answers: Vec<Answer> = weighed
        .into_iter()
        .map(|weighed| of_finding(who.to_owned(), weighed.action, weighed.finding))
        .collect();
    let at = answers.iter().position(|answer| !answer.allowed).unwrap_or_default();
    let steps = answers
        .iter_mut()
        .flat_map(|answer| std::mem::take(&mut answer.steps))
        .collect();
    let mut deciding = answers.swap_remove(at);
    deciding.steps = steps;
    deciding
}

/// The values that a role's trust policy compares a key with.
fn compared<'a>(role: &'a Role, key: &'static str) -> impl Iterator<Item = &'a String> {
    let statements = role.trust.policy().statements.iter();
    let conditions = statements.flat_map(|statement| &statement.conditions);
    conditions
        .filter(move |condition| condition.key() == key)
        .flat_map(|condition| condition.values())
}

/// Everybody in the world, asked one by one: users, roles, EC2, each subject that an issuer of the world writes for each audience that
/// its provider takes, and the bearers of each SAML provider's assertions. External ids that the trust policy names are tried, because
/// whoever knows one may.
#[must_use]
pub fn who_may(state: &State, role: &Role, now: Timestamp) -> Vec<Answer> {
    let named = compared(role, "sts:externalid").cloned().map(Some);
    let ids: Vec<Option<String>> = std::iter::once(None).chain(named).collect();
    let users = state.world.users().map(as_user);
    let roles = state
        .world
        .roles()
        .filter(|other| other.arn != role.arn)
        .map(|other| as_role(other, now));
    let mut answers = Vec::new();
    for caller in users.chain(roles) {
        let asked = ids.iter().map(|id| {
            let question = Question {
                session_name: "session".to_owned(),
                external_id: id.clone(),
                ..Question::default()
            };
            let mut answer = ask_caller(state, role, &caller, &question, now);
            if id.is_some() && answer.allowed {
                answer.because += ", with the external id";
            }
            answer
        });
        let mut asked: Vec<Answer> = asked.collect();
        let at = asked.iter().position(|answer| answer.allowed).unwrap_or_default();
        answers.push(asked.swap_remove(at));
    }
    let plain = Question {
        session_name: "session".to_owned(),
        ..Question::default()
    };
    answers.push(ask_service(role, "ec2.amazonaws.com", &plain, now));
    for issuer in &state.world.issuers {
        let Some(provider) = state.world.provider_for(&role.arn.account, &issuer.url) else {
            continue;
        };
        for subject in &issuer.subjects {
            for audience in &provider.client_ids {
                let claims = json!({ "iss": issuer.url, "sub": subject, "aud": audience });
                let token = unsigned(&claims);
                answers.extend(token.map(|token| of_token(role, provider, &token, &plain, now)));
            }
        }
    }
    answers.extend(saml::all_bearers(state, role, &plain, now));
    answers
}

/// An answer for people: what decided, then what each policy said.
#[must_use]
pub fn tell(answer: &Answer, role: &Role) -> String {
    let verb = if answer.allowed { "may" } else { "may not" };
    let mut text = format!(
        "{} {verb} assume {}\n  because {}\n",
        answer.who, role.arn, answer.because
    );
    for (policy, finding) in &answer.steps {
        let said = match finding {
            Finding::Allowed(_, by) => format!("allows by {by}"),
            Finding::Denied(by) => format!("denies by {by}"),
            Finding::Silent(reasons) if reasons.is_empty() => "has no statement for the action".to_owned(),
            Finding::Silent(reasons) => format!("does not allow: {}", reasons.join("; ")),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {policy} {said}");
    }
    text
}
