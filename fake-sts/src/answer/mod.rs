//! What STS answers: a pure function of state, time and request. Credentials are made afterwards, from the grant that this returns. It
//! must not know sockets, faults or the ledger.

mod elements;
#[cfg(test)]
pub(crate) mod tests;

use fake_kit::facts::Facts;
use jiff::Timestamp;

use crate::assume_role;
use crate::context::{Origin, caller_keys};
use crate::decline::Decline;
use crate::envelope::Element;
use crate::front::{Action, Front, Plain, Received};
use crate::message;
use crate::mint::{Grant, account_of_key};
use crate::oidc::Algorithm;
use crate::parameters;
use crate::permission;
use crate::query::Parameters;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::saml_identity::{self, Asserted};
use crate::secret::Secret;
use crate::session_token;
use crate::signature::{self, Service};
use crate::state::{Caller, State};
use crate::web_identity::{self, Identified};

pub(crate) use elements::canary_name;
pub use elements::granted;

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
        /// Its elements; `None` where the answer has no result at all.
        elements: Option<Vec<Element>>,
        /// ARN of the caller.
        caller: String,
    },
    /// Credentials are to be made.
    Granted {
        /// For what.
        grant: Box<Grant>,
        /// How the answer tells of them.
        form: Form,
        /// ARN of the caller, or who vouched for it.
        caller: String,
    },
    /// A token is to be signed.
    Token {
        /// Its claims.
        claims: serde_json::Value,
        /// By which algorithm.
        algorithm: Algorithm,
        /// When it ends.
        expires: Timestamp,
        /// ARN of the caller.
        caller: String,
    },
}

/// How an answer tells of credentials. The number is the percentage of the limit that policy and tags take, where there are any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// AssumeRole.
    AssumeRole(Option<i64>),
    /// AssumeRoleWithSAML.
    Saml(Asserted, Option<i64>),
    /// AssumeRoleWithWebIdentity.
    WebIdentity(Identified, Option<i64>),
    /// GetSessionToken.
    SessionToken,
    /// GetFederationToken.
    FederationToken(i64),
    /// AssumeRoot.
    AssumeRoot,
}

/// Answers a request to STS.
#[must_use]
pub fn answer(state: &State, now: Timestamp, request: &Request, received: &Received) -> Outcome {
    let action = match &received.front {
        Front::Plain(plain) => return Outcome::Plain(plain.clone()),
        Front::Refused(refusal) => return refused(refusal.clone(), None),
        // IAM changes what is known, and is answered elsewhere.
        Front::Iam(action) => return refused(Refusal::not_implemented(action), None),
        Front::Action(action) => *action,
    };
    let origin = origin_of(request);
    let unsigned = match action {
        Action::AssumeRoleWithWebIdentity => Some(with_web_identity(state, &origin, now, &received.parameters)),
        Action::AssumeRoleWithSaml => Some(with_saml(state, &origin, now, &received.parameters)),
        _ => None,
    };
    if let Some(vouched) = unsigned {
        return vouched.unwrap_or_else(|refusal| refused(refusal, None));
    }
    let caller = match signature::authenticate(request, Service::Sts, now, state) {
        Ok(caller) => caller,
        Err(error) => return refused(error.into(), None),
    };
    let asked = Asked {
        state,
        caller: &caller,
        origin: &origin,
        now,
        parameters: &received.parameters,
    };
    match asked.carry_out(action) {
        Ok(outcome) => outcome,
        Err(refusal) => refused(refusal, Some(caller.attributes().arn.to_owned())),
    }
}

fn refused(refusal: Refusal, caller: Option<String>) -> Outcome {
    Outcome::Refused { refusal, caller }
}

/// Nobody signs this one: the token vouches.
fn with_web_identity(
    state: &State,
    origin: &Origin,
    now: Timestamp,
    parameters: &Parameters,
) -> Result<Outcome, Refusal> {
    let asked = parameters::read_web_identity(parameters)?;
    let (grant, identified) = web_identity::decide(state, &asked, origin, now)?;
    let packed = parameters::packed_size(asked.policy.as_ref(), &asked.policy_arns, &grant.tags)?;
    Ok(Outcome::Granted {
        caller: grant.requester.clone(),
        grant: Box::new(grant),
        form: Form::WebIdentity(identified, packed),
    })
}

/// Nor this one: the identity provider vouches.
fn with_saml(state: &State, origin: &Origin, now: Timestamp, parameters: &Parameters) -> Result<Outcome, Refusal> {
    let asked = parameters::read_saml(parameters)?;
    let (grant, asserted) = saml_identity::decide(state, &asked, origin, now)?;
    let packed = parameters::packed_size(asked.policy.as_ref(), &asked.policy_arns, &grant.tags)?;
    Ok(Outcome::Granted {
        caller: grant.requester.clone(),
        grant: Box::new(grant),
        form: Form::Saml(asserted, packed),
    })
}

/// A request of somebody known.
struct Asked<'a> {
    state: &'a State,
    caller: &'a Caller,
    origin: &'a Origin,
    now: Timestamp,
    parameters: &'a Parameters,
}

impl Asked<'_> {
    fn carry_out(&self, action: Action) -> Result<Outcome, Refusal> {
        match action {
            // Allowed to everybody who can sign, an explicit Deny notwithstanding.
            Action::GetCallerIdentity => Ok(self.result(action, elements::identity(self.caller))),
            Action::AssumeRole => {
                let asked = parameters::read_assume_role(self.parameters)?;
                let packed = parameters::packed_size(asked.policy.as_ref(), &asked.policy_arns, &asked.tags)?;
                let grant = assume_role::decide(self.state, self.caller, &asked, self.origin, self.now)?;
                Ok(self.granted(grant, Form::AssumeRole(packed)))
            }
            Action::GetSessionToken => {
                let asked = parameters::read_session_token(self.parameters)?;
                let grant = session_token::decide_session(self.caller, &asked)?;
                Ok(self.granted(grant, Form::SessionToken))
            }
            Action::GetFederationToken => {
                let asked = parameters::read_federation_token(self.parameters)?;
                let packed = parameters::packed_size(asked.policy.as_ref(), &asked.policy_arns, &asked.tags)?;
                let grant = session_token::decide_federation(self.state, self.caller, &asked, self.origin, self.now)?;
                // This one tells of it even where there is nothing.
                Ok(self.granted(grant, Form::FederationToken(packed.unwrap_or_default())))
            }
            Action::GetAccessKeyInfo => self.access_key_info(action),
            Action::DecodeAuthorizationMessage => {
                let asked = parameters::read_decode_message(self.parameters)?;
                self.permit("sts:DecodeAuthorizationMessage")?;
                let account = self.caller.attributes().account;
                let text = message::decode(&self.state.seed, account, &asked.encoded)
                    .ok_or(Decline::InvalidAuthorizationMessage)?;
                Ok(self.result(action, vec![Element::Text("DecodedMessage", text)]))
            }
            Action::AssumeRoot => {
                let asked = parameters::read_root_session(self.parameters)?;
                let grant = permission::decide_root(self.state, self.caller, &asked, self.origin, self.now)?;
                Ok(self.granted(grant, Form::AssumeRoot))
            }
            Action::GetWebIdentityToken => {
                let asked = parameters::read_web_token(self.parameters)?;
                let (claims, expires) =
                    permission::decide_web_token(self.state, self.caller, &asked, self.origin, self.now)?;
                Ok(Outcome::Token {
                    claims,
                    algorithm: asked.algorithm,
                    expires,
                    caller: self.caller.attributes().arn.to_owned(),
                })
            }
            // Answered before anybody was known.
            Action::AssumeRoleWithWebIdentity | Action::AssumeRoleWithSaml => {
                Err(Refusal::not_implemented(action.name()))
            }
        }
    }

    fn access_key_info(&self, action: Action) -> Result<Outcome, Refusal> {
        let asked = parameters::read_access_key_info(self.parameters)?;
        self.permit("sts:GetAccessKeyInfo")?;
        // Keys of before 2019 carry no account: those of the world are looked up.
        let held = self.state.world.access_key(&asked.access_key_id);
        let account = account_of_key(&asked.access_key_id).or_else(|| held.map(|key| key.owner.0.clone()));
        match account {
            Some(account) => Ok(self.result(action, vec![Element::Text("Account", account)])),
            None => Err(Refusal::invalid_key_id(&asked.access_key_id)),
        }
    }

    fn permit(&self, action: &'static str) -> Result<(), Decline> {
        let keys = caller_keys(self.caller, &self.state.world, self.origin, self.now);
        permission::permit(self.state, self.caller, action, "*", &keys)
    }

    fn result(&self, action: Action, elements: Vec<Element>) -> Outcome {
        Outcome::Result {
            action: action.name(),
            elements: Some(elements),
            caller: self.caller.attributes().arn.to_owned(),
        }
    }

    fn granted(&self, grant: Grant, form: Form) -> Outcome {
        Outcome::Granted {
            grant: Box::new(grant),
            form,
            caller: self.caller.attributes().arn.to_owned(),
        }
    }
}

/// What the connection says of a request.
#[must_use]
pub fn origin_of(request: &Request) -> Origin {
    let claim = signature::claim_of(request);
    let region = claim.and_then(|claim| claim.credential.split('/').nth(2).map(str::to_owned));
    Origin {
        source_ip: request.source,
        user_agent: request.header("user-agent").map(str::to_owned),
        region: region.unwrap_or_default(),
    }
}

/// Names of the facts that a fault may match on.
pub const FACTS: &[&str] = &[
    "action",
    "role_arn",
    "principal_arn",
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
    const NAMED: [(&str, &str); 7] = [
        ("action", "Action"),
        ("role_arn", "RoleArn"),
        ("principal_arn", "PrincipalArn"),
        ("session_name", "RoleSessionName"),
        ("external_id", "ExternalId"),
        ("duration", "DurationSeconds"),
        ("policy", "Policy"),
    ];
    let mut facts = Facts::new();
    for (fact, parameter) in NAMED {
        if let Some(value) = received.parameters.get(parameter) {
            facts.insert(fact, bounded(value));
        }
    }
    let arns = parameters::policy_arns(&received.parameters);
    if !arns.is_empty() {
        facts.insert("policy_arns", bounded(&arns.join(" ")));
    }
    if let Some(claim) = signature::claim_of(request) {
        let token = claim.token.as_ref().map(Secret::expose);
        if let Some(arn) = state.arn_of_key(claim.access_key_id(), token) {
            facts.insert("caller", arn);
        }
        facts.insert("access_key_id", bounded(claim.access_key_id()));
    }
    facts
}

/// Facts stay in the ledger, and a client chooses their length: the longest parameter STS takes has 2,048 characters.
fn bounded(text: &str) -> String {
    text.chars().take(2_048).collect()
}
