//! Bearers of SAML assertions: what would come of one that nobody has to sign, because the provider that would is a given. Pure.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::{Answer, InquiryError, Question, compared, of_weighed};
use crate::context::{Origin, connection_keys};
use crate::decline::Decline;
use crate::saml::{ATTRIBUTES, Assertion, Confirmation, SIGN_IN};
use crate::saml_identity::{is_sign_in, weigh};
use crate::state::State;
use crate::world::{Role, SamlProvider};

/// How long an assertion may be presented; nothing waits here.
const LIFETIME: SignedDuration = SignedDuration::from_mins(5);

/// Who is asked for where neither the world nor the policy names anybody.
const ANYBODY: &str = "somebody";

/// Whom a provider vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    /// `NameID`.
    pub subject: String,
    /// Where the assertion is presented: AWS's own place when none is named.
    pub recipient: Option<String>,
}

/// Whether the bearer of an assertion of this SAML provider, by its name or ARN, may assume a role.
///
/// # Errors
/// The world has no such provider.
pub fn ask_assertion(
    state: &State,
    role: &Role,
    provider: &str,
    bearer: &Bearer,
    question: &Question,
    now: Timestamp,
) -> Result<Answer, InquiryError> {
    let named = |one: &&SamlProvider| one.arn == provider || one.name == provider;
    // One name may stand in several accounts; the role's is meant then.
    let own = |one: &&SamlProvider| one.account == role.arn.account;
    let found = state.world.saml_providers().filter(named).find(own);
    let found = found.or_else(|| state.world.saml_providers().find(named));
    let found = found.ok_or_else(|| InquiryError::NoSamlProvider {
        provider: provider.to_owned(),
        known: known(state),
    })?;
    Ok(of_bearer(role, found, bearer, question, now))
}

fn known(state: &State) -> String {
    let names: Vec<&str> = state.world.saml_providers().map(|one| one.name.as_str()).collect();
    match names.as_slice() {
        [] => "none: write [[saml_provider]]".to_owned(),
        names => names.join(", "),
    }
}

/// Everybody whom the world's SAML providers are said to vouch for, or somebody where nobody is named; and whom the trust policy names, because
/// a provider may vouch for any. Each with AWS's own place, and those of regions that the policy names.
pub(super) fn all_bearers(state: &State, role: &Role, question: &Question, now: Timestamp) -> Vec<Answer> {
    let exact = |value: &&String| !value.contains(['*', '?', '$']);
    let regions = compared(role, "saml:aud")
        .filter(exact)
        .filter(|place| is_sign_in(place));
    let mut recipients = vec![SIGN_IN.to_owned()];
    add(&mut recipients, regions);
    let mut answers = Vec::new();
    for provider in state.world.saml_providers() {
        let mut subjects = provider.subjects.clone();
        if subjects.is_empty() {
            subjects.push(ANYBODY.to_owned());
        }
        add(&mut subjects, compared(role, "saml:sub").filter(exact));
        for subject in &subjects {
            for recipient in &recipients {
                let bearer = Bearer {
                    subject: subject.clone(),
                    recipient: Some(recipient.clone()),
                };
                answers.push(of_bearer(role, provider, &bearer, question, now));
            }
        }
    }
    answers
}

fn add<'a>(to: &mut Vec<String>, more: impl Iterator<Item = &'a String>) {
    for one in more {
        if !to.contains(one) {
            to.push(one.clone());
        }
    }
}

fn of_bearer(role: &Role, provider: &SamlProvider, bearer: &Bearer, question: &Question, now: Timestamp) -> Answer {
    let recipient = bearer.recipient.as_deref().unwrap_or(SIGN_IN);
    let who = format!("{} of {} aud {recipient}", bearer.subject, provider.arn);
    let assertion = assertion(provider, bearer, recipient, question, now);
    let keys = connection_keys(&Origin::default(), now);
    match weigh(role, provider, &assertion, keys, now) {
        Ok(weighed) => of_weighed(&who, weighed),
        Err(decline) => Answer {
            who,
            allowed: false,
            because: match &decline {
                Decline::InvalidIdentityToken { text, because } => format!("{text}: {because}"),
                other => other.to_string(),
            },
            steps: Vec::new(),
        },
    }
}

/// What the provider would write, as it is read once its signature is right.
fn assertion(
    provider: &SamlProvider,
    bearer: &Bearer,
    recipient: &str,
    question: &Question,
    now: Timestamp,
) -> Assertion {
    let ends = now.saturating_add(LIFETIME).unwrap_or(now);
    let mut attributes = BTreeMap::new();
    let mut state = |name: &str, value: &str| {
        attributes.insert(format!("{ATTRIBUTES}{name}"), vec![value.to_owned()]);
    };
    state("RoleSessionName", &question.session_name);
    if let Some(identity) = &question.source_identity {
        state("SourceIdentity", identity);
    }
    for (key, value) in &question.tags {
        state(&format!("PrincipalTag:{key}"), value);
    }
    Assertion {
        issuer: provider.entity_id().to_owned(),
        subject: bearer.subject.clone(),
        format: Some("urn:oasis:names:tc:SAML:2.0:nameid-format:persistent".to_owned()),
        issued_at: now,
        confirmations: vec![Confirmation {
            recipient: recipient.to_owned(),
            not_on_or_after: ends,
            not_before: None,
        }],
        not_before: Some(now),
        not_on_or_after: Some(ends),
        audiences: vec![vec![recipient.to_owned()]],
        session_ends: None,
        attributes,
    }
}
