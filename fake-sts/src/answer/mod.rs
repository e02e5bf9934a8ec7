//! What STS answers: a pure function of state, time and request. Credentials are made afterwards, from the grant that this returns. It
//! must not know sockets, faults or the ledger.

#[cfg(test)]
mod tests;

use fake_kit::fault::Facts;
use jiff::Timestamp;

use crate::assume_role::{self, Origin};
use crate::envelope::Element;
use crate::front::{Action, Front, Plain, Received};
use crate::mint::Grant;
use crate::parameters::{self, AssumeRole};
use crate::refusal::Refusal;
use crate::request::Request;
use crate::signature;
use crate::state::{Caller, Session, State};

/// What comes of a request.
#[derive(Debug)]
pub enum Outcome {
    /// An answer without an envelope.
    Plain(Plain),
    /// An error.
    Refused {
        /// What the client sees, and why.
        refusal: Refusal,
        /// ARN of the caller, if its signature was right.
        caller: Option<String>,
    },
    /// A result that needs no credentials.
    Result {
        /// Its name.
        action: &'static str,
        /// Its elements.
        elements: Vec<Element>,
        /// ARN of the caller.
        caller: String,
    },
    /// Credentials are to be made.
    Granted {
        /// For what.
        grant: Box<Grant>,
        /// Percent of the limit that policy and tags take, where there are any.
        packed: Option<i64>,
        /// ARN of the caller.
        caller: String,
    },
}

/// Answers a request.
#[must_use]
pub fn answer(state: &State, now: Timestamp, request: &Request, received: &Received) -> Outcome {
    let action = match &received.front {
        Front::Plain(plain) => return Outcome::Plain(plain.clone()),
        Front::Refused(refusal) => {
            return Outcome::Refused {
                refusal: refusal.clone(),
                caller: None,
            };
        }
        Front::Action(action) => *action,
    };
    let caller = match signature::authenticate(request, now, state) {
        Ok(caller) => caller,
        Err(error) => {
            return Outcome::Refused {
                refusal: error.into(),
                caller: None,
            };
        }
    };
    let arn = caller.attributes().arn.to_owned();
    match action {
        // Allowed to everybody who can sign, an explicit Deny notwithstanding.
        Action::GetCallerIdentity => Outcome::Result {
            action: "GetCallerIdentity",
            elements: identity(&caller),
            caller: arn,
        },
        Action::AssumeRole => match assume(state, &caller, now, request, received) {
            Ok((asked, grant)) => Outcome::Granted {
                grant: Box::new(grant),
                packed: parameters::packed_size(&asked),
                caller: arn,
            },
            Err(refusal) => Outcome::Refused {
                refusal,
                caller: Some(arn),
            },
        },
    }
}

fn assume(
    state: &State,
    caller: &Caller,
    now: Timestamp,
    request: &Request,
    received: &Received,
) -> Result<(AssumeRole, Grant), Refusal> {
    let asked = parameters::read_assume_role(&received.parameters)?;
    let origin = Origin {
        source_ip: request.source,
        user_agent: request.header("user-agent").map(str::to_owned),
        region: region(request),
    };
    let grant = assume_role::decide(state, caller, &asked, &origin, now)?;
    Ok((asked, grant))
}

fn region(request: &Request) -> String {
    let claim = signature::claim_of(request);
    claim
        .and_then(|claim| claim.credential.split('/').nth(2).map(str::to_owned))
        .unwrap_or_default()
}

fn identity(caller: &Caller) -> Vec<Element> {
    let attributes = caller.attributes();
    vec![
        Element::Text("Arn", attributes.arn.to_owned()),
        Element::Text("UserId", caller.user_id()),
        Element::Text("Account", attributes.account.to_owned()),
    ]
}

/// The result of AssumeRole, once the credentials exist.
#[must_use]
pub fn assumed(session: &Session, packed: Option<i64>) -> Vec<Element> {
    let mut elements = vec![
        Element::Group(
            "AssumedRoleUser",
            vec![
                Element::Text("AssumedRoleId", format!("{}:{}", session.role_id, session.session_name)),
                Element::Text("Arn", session.arn.clone()),
            ],
        ),
        Element::Group(
            "Credentials",
            vec![
                Element::Text("AccessKeyId", session.access_key_id.clone()),
                Element::Secret("SecretAccessKey", session.secret.clone()),
                Element::Secret("SessionToken", session.token.clone()),
                Element::Time("Expiration", session.expiration),
            ],
        ),
    ];
    elements.extend(
        session
            .source_identity
            .clone()
            .map(|text| Element::Text("SourceIdentity", text)),
    );
    elements.extend(packed.map(|percent| Element::Number("PackedPolicySize", percent)));
    elements
}

/// Names of the facts that a fault may match on.
pub const FACTS: &[&str] = &[
    "action",
    "role_arn",
    "session_name",
    "external_id",
    "duration",
    "policy",
    "policy_arns",
    "caller",
    "access_key_id",
];

/// What a request states, before anything of it is believed.
#[must_use]
pub fn facts(state: &State, request: &Request, received: &Received) -> Facts {
    const NAMED: [(&str, &str); 6] = [
        ("action", "Action"),
        ("role_arn", "RoleArn"),
        ("session_name", "RoleSessionName"),
        ("external_id", "ExternalId"),
        ("duration", "DurationSeconds"),
        ("policy", "Policy"),
    ];
    let mut facts = Facts::new();
    for (fact, parameter) in NAMED {
        if let Some(value) = received.parameters.get(parameter) {
            facts.insert(fact.to_owned(), bounded(value));
        }
    }
    let arns = parameters::policy_arns(&received.parameters);
    if !arns.is_empty() {
        facts.insert("policy_arns".to_owned(), bounded(&arns.join(" ")));
    }
    if let Some(claim) = signature::claim_of(request) {
        if let Some(arn) = state.arn_of_key(claim.access_key_id()) {
            facts.insert("caller".to_owned(), arn.to_owned());
        }
        facts.insert("access_key_id".to_owned(), bounded(claim.access_key_id()));
    }
    facts
}

/// Facts stay in the ledger, and a client chooses their length: the longest parameter STS takes has 2,048 characters.
fn bounded(text: &str) -> String {
    text.chars().take(2_048).collect()
}
