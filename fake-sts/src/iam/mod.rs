//! The slice of IAM around STS, through its Query API: roles, users, keys, policies, instance profiles and identity providers can be made and
//! looked at by the tools that make them at AWS. A request is authenticated, allowed by the caller's policies, and then carried out on the
//! world. It must not know sessions.

mod input;
mod policies;
mod profiles;
mod providers;
mod roles;
mod saml;
mod simulate;
#[cfg(test)]
mod tests;
mod users;

use jiff::Timestamp;

use crate::answer::{Outcome, origin_of};
use crate::context::{Origin, caller_keys};
use crate::envelope::Element;
use crate::front::Received;
use crate::policy::{Ask, decide_identity};
use crate::query::Parameters;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::signature::{self, Service};
use crate::state::{Caller, Owner, State};

/// What comes of an action: its elements, or none where IAM answers without a result.
type Done = Result<Option<Vec<Element>>, Refusal>;

/// A request of somebody who may.
struct Call<'a> {
    state: &'a mut State,
    /// The caller's account: IAM reaches no other.
    account: String,
    partition: String,
    caller: Caller,
    origin: Origin,
    now: Timestamp,
    parameters: &'a Parameters,
}

/// What an action is about, which is the resource that policies name.
#[derive(Debug, Clone, Copy)]
enum About {
    Role,
    User,
    Policy,
    Profile,
    Provider,
    SamlProvider,
    Everything,
}

type Handler = fn(&mut Call<'_>) -> Done;

/// Every action of the slice.
const ACTIONS: &[(&str, About, Handler)] = &[
    (
        "AddClientIDToOpenIDConnectProvider",
        About::Provider,
        providers::add_client,
    ),
    ("AddRoleToInstanceProfile", About::Profile, profiles::add_role),
    ("AttachRolePolicy", About::Role, policies::attach_to_role),
    ("AttachUserPolicy", About::User, policies::attach_to_user),
    ("CreateAccessKey", About::User, users::create_key),
    ("CreateInstanceProfile", About::Profile, profiles::create),
    ("CreateOpenIDConnectProvider", About::Provider, providers::create),
    ("CreatePolicy", About::Policy, policies::create),
    ("CreateRole", About::Role, roles::create),
    ("CreateSAMLProvider", About::SamlProvider, saml::create),
    ("CreateUser", About::User, users::create),
    ("DeleteAccessKey", About::User, users::delete_key),
    ("DeleteInstanceProfile", About::Profile, profiles::delete),
    ("DeleteOpenIDConnectProvider", About::Provider, providers::delete),
    ("DeletePolicy", About::Policy, policies::delete),
    ("DeleteRole", About::Role, roles::delete),
    ("DeleteRolePermissionsBoundary", About::Role, policies::unbind_role),
    ("DeleteRolePolicy", About::Role, policies::delete_from_role),
    ("DeleteSAMLProvider", About::SamlProvider, saml::delete),
    ("DeleteUser", About::User, users::delete),
    ("DeleteUserPolicy", About::User, policies::delete_from_user),
    ("DetachRolePolicy", About::Role, policies::detach_from_role),
    ("DetachUserPolicy", About::User, policies::detach_from_user),
    ("GetInstanceProfile", About::Profile, profiles::get),
    ("GetOpenIDConnectProvider", About::Provider, providers::get),
    ("GetPolicy", About::Policy, policies::get),
    ("GetPolicyVersion", About::Policy, policies::get_version),
    ("GetRole", About::Role, roles::get),
    ("GetRolePolicy", About::Role, policies::get_of_role),
    ("GetSAMLProvider", About::SamlProvider, saml::get),
    ("GetUser", About::User, users::get),
    ("GetUserPolicy", About::User, policies::get_of_user),
    ("ListAccessKeys", About::User, users::list_keys),
    ("ListAttachedRolePolicies", About::Role, policies::list_attached_to_role),
    ("ListAttachedUserPolicies", About::User, policies::list_attached_to_user),
    ("ListInstanceProfilesForRole", About::Role, profiles::list_for_role),
    ("ListOpenIDConnectProviders", About::Everything, providers::list),
    ("ListPolicyVersions", About::Policy, policies::list_versions),
    ("ListRolePolicies", About::Role, policies::list_of_role),
    ("ListRoleTags", About::Role, roles::list_tags),
    ("ListRoles", About::Everything, roles::list),
    ("ListSAMLProviders", About::Everything, saml::list),
    ("ListUserPolicies", About::User, policies::list_of_user),
    ("ListUsers", About::Everything, users::list),
    ("PutRolePermissionsBoundary", About::Role, policies::bind_role),
    ("PutRolePolicy", About::Role, policies::put_into_role),
    ("PutUserPolicy", About::User, policies::put_into_user),
    (
        "RemoveClientIDFromOpenIDConnectProvider",
        About::Provider,
        providers::remove_client,
    ),
    ("RemoveRoleFromInstanceProfile", About::Profile, profiles::remove_role),
    ("SimulatePrincipalPolicy", About::Everything, simulate::simulate),
    ("TagRole", About::Role, roles::tag),
    ("UntagRole", About::Role, roles::untag),
    ("UpdateAccessKey", About::User, users::update_key),
    ("UpdateAssumeRolePolicy", About::Role, roles::update_trust),
    (
        "UpdateOpenIDConnectProviderThumbprint",
        About::Provider,
        providers::update_thumbprints,
    ),
    ("UpdateRole", About::Role, roles::update),
    ("UpdateSAMLProvider", About::SamlProvider, saml::update),
];

/// The action of that name, if the slice has it.
#[must_use]
pub fn action(name: &str) -> Option<&'static str> {
    ACTIONS.iter().map(|(own, ..)| *own).find(|own| *own == name)
}

/// Every action of the slice, by name.
pub fn actions() -> impl Iterator<Item = &'static str> {
    ACTIONS.iter().map(|(name, ..)| *name)
}

/// Answers a request to IAM, and changes the world as it asks.
#[must_use]
pub fn answer(
    state: &mut State,
    now: Timestamp,
    action: &'static str,
    request: &Request,
    received: &Received,
) -> Outcome {
    let refused = |refusal: Refusal, caller: Option<String>| Outcome::Refused { refusal, caller };
    let Some((_, about, handler)) = ACTIONS.iter().find(|(own, ..)| *own == action) else {
        return refused(Refusal::not_implemented(action), None);
    };
    let caller = match signature::authenticate(request, Service::Iam, now, state) {
        Ok(caller) => caller,
        Err(error) => return refused(error.into(), None),
    };
    let attributes = caller.attributes();
    let arn = attributes.arn.to_owned();
    let mut call = Call {
        account: attributes.account.to_owned(),
        partition: attributes.partition.to_owned(),
        origin: origin_of(request),
        caller: caller.clone(),
        now,
        parameters: &received.parameters,
        state,
    };
    if let Err(refusal) = call.permit(action, *about) {
        return refused(refusal, Some(arn));
    }
    match handler(&mut call) {
        Ok(elements) => Outcome::Result {
            action,
            elements,
            caller: arn,
        },
        Err(refusal) => refused(refusal, Some(arn)),
    }
}

impl Call<'_> {
    /// Whether the caller's policies allow the action on what it is about.
    fn permit(&self, action: &str, about: About) -> Result<(), Refusal> {
        if let Caller::Session(session) = &self.caller {
            let barred = match session.owner {
                Owner::User(_) => !session.mfa,
                Owner::Federated { .. } => true,
                Owner::Role { .. } | Owner::Root { .. } => false,
            };
            if barred {
                let text = "The security token included in the request is invalid";
                return Err(Refusal::of_iam(403, "InvalidClientTokenId", text));
            }
        }
        let resource = self.resource(about);
        let action = format!("iam:{action}");
        let keys = caller_keys(&self.caller, &self.state.world, &self.origin, self.now);
        let attributes = self.caller.attributes();
        let ask = Ask {
            action: &action,
            resource: &resource,
            caller: &attributes,
            keys: &keys,
        };
        let decision = decide_identity(&self.caller.standing(&self.state.world), &ask);
        if decision.allowed || self.state.permissive {
            return Ok(());
        }
        let reason = if decision.because.contains("explicit deny") {
            "with an explicit deny in an identity-based policy".to_owned()
        } else {
            format!("because no identity-based policy allows the {action} action")
        };
        let arn = attributes.arn;
        let text = format!("User: {arn} is not authorized to perform: {action} on resource: {resource} {reason}");
        Err(Refusal::of_iam(403, "AccessDenied", text).because(decision.because))
    }

    fn resource(&self, about: About) -> String {
        let text = |name: &str| self.parameters.get(name).unwrap_or_default();
        let path = self.parameters.get("Path").unwrap_or("/");
        let prefix = format!("arn:{}:iam::{}:", self.partition, self.account);
        let world = &self.state.world;
        match about {
            About::Everything => "*".to_owned(),
            About::Role => match world.role(&self.account, text("RoleName")) {
                Some(role) => role.arn.to_string(),
                None => format!("{prefix}role{path}{}", text("RoleName")),
            },
            About::User => match world.user_by_name(&self.account, text("UserName")) {
                Some(user) => user.arn.clone(),
                None => format!("{prefix}user{path}{}", text("UserName")),
            },
            About::Profile => match world.profile(&self.account, text("InstanceProfileName")) {
                Some(profile) => profile.arn.clone(),
                None => format!("{prefix}instance-profile{path}{}", text("InstanceProfileName")),
            },
            About::Policy => match self.parameters.get("PolicyArn") {
                Some(arn) => arn.to_owned(),
                None => format!("{prefix}policy{path}{}", text("PolicyName")),
            },
            About::SamlProvider => match self.parameters.get("SAMLProviderArn") {
                Some(arn) => arn.to_owned(),
                None => format!("{prefix}saml-provider/{}", text("Name")),
            },
            About::Provider => match self.parameters.get("OpenIDConnectProviderArn") {
                Some(arn) => arn.to_owned(),
                None => format!("{prefix}oidc-provider/{}", text("Url").trim_start_matches("https://")),
            },
        }
    }
}

/// An entity that is not there.
fn missing(what: &str, name: &str) -> Refusal {
    Refusal::of_iam(
        404,
        "NoSuchEntity",
        format!("The {what} with name {name} cannot be found."),
    )
}

/// An entity that is there already.
fn taken(what: &str, name: &str) -> Refusal {
    Refusal::of_iam(
        409,
        "EntityAlreadyExists",
        format!("{what} with name {name} already exists."),
    )
}

/// An entity that others still hold.
fn conflict(text: &str) -> Refusal {
    Refusal::of_iam(409, "DeleteConflict", text)
}
