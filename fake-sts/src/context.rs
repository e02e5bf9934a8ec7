//! The condition keys that every request has: who asks, from where, when. It must not know actions.

use jiff::Timestamp;

use crate::policy::Keys;
use crate::provenance::{Delivery, Via};
use crate::state::{Caller, Owner, Session};
use crate::world::World;

/// What the connection says of a request, for condition keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// Peer address.
    pub source_ip: Option<std::net::IpAddr>,
    /// `User-Agent`.
    pub user_agent: Option<String>,
    /// Region of the credential scope.
    pub region: String,
}

/// Keys of a request that nobody signed, or of which only its connection is known.
#[must_use]
pub fn connection_keys(origin: &Origin, now: Timestamp) -> Keys {
    let mut keys = Keys::default();
    keys.set("aws:CurrentTime", [now.to_string()]);
    keys.set("aws:EpochTime", [now.as_second().to_string()]);
    // The real service speaks TLS only, so its policies see nothing else.
    keys.set("aws:SecureTransport", ["true"]);
    keys.set("aws:RequestedRegion", [origin.region.as_str()]);
    keys.set("aws:SourceIp", origin.source_ip.map(|ip| ip.to_string()));
    keys.set("aws:UserAgent", origin.user_agent.clone());
    keys
}

/// Keys of a signed request. Tags of a session stand over those of its role.
#[must_use]
pub fn caller_keys(caller: &Caller, world: &World, origin: &Origin, now: Timestamp) -> Keys {
    let mut keys = connection_keys(origin, now);
    let attributes = caller.attributes();
    keys.set("aws:PrincipalArn", [attributes.principal_arn]);
    keys.set("aws:PrincipalAccount", [attributes.account]);
    keys.set("aws:userid", [caller.user_id()]);
    keys.set("aws:PrincipalIsAWSService", ["false"]);
    keys.set("aws:ViaAWSService", ["false"]);
    if let Some(organization) = &world.organization
        && organization.accounts.contains(attributes.account)
    {
        keys.set("aws:PrincipalOrgID", [organization.id.as_str()]);
    }
    let tag = |keys: &mut Keys, key: &str, value: &str| keys.set(&format!("aws:PrincipalTag/{key}"), [value]);
    match caller {
        Caller::User(user, _) => {
            keys.set("aws:PrincipalType", ["User"]);
            keys.set("aws:username", [user.name.as_str()]);
            for (key, value) in &user.holder.tags {
                tag(&mut keys, key, value);
            }
        }
        Caller::Session(session) => {
            keys.set("aws:PrincipalType", [session.owner.kind()]);
            keys.set("aws:TokenIssueTime", [session.issued_at.to_string()]);
            // Temporary credentials always carry the key.
            keys.set("aws:MultiFactorAuthPresent", [session.mfa.to_string()]);
            if session.mfa {
                let age = now.as_second().saturating_sub(session.issued_at.as_second());
                keys.set("aws:MultiFactorAuthAge", [age.to_string()]);
            }
            keys.set("aws:FederatedProvider", session.provider.clone());
            keys.set("aws:SourceIdentity", session.source_identity.clone());
            set_instance(&mut keys, session, world);
            let own = match &session.owner {
                Owner::Role { arn, .. } => world.role_by_arn(arn).map(|role| &role.holder.tags),
                Owner::User(user) => {
                    keys.set("aws:username", [user.name.as_str()]);
                    Some(&user.holder.tags)
                }
                Owner::Federated { .. } => None,
                Owner::Root { .. } => {
                    keys.set("aws:AssumedRoot", ["true"]);
                    None
                }
            };
            for (key, value) in own.into_iter().flatten().chain(&session.tags) {
                tag(&mut keys, key, value);
            }
        }
    }
    keys
}

/// What credentials of an instance say of it, and those of nobody else. EC2 names their sessions after the instance.
fn set_instance(keys: &mut Keys, session: &Session, world: &World) {
    if !matches!(session.via, Via::InstanceProfile | Via::InstanceIdentity) {
        return;
    }
    let (partition, account) = (session.owner.partition(), session.owner.account());
    let (region, instance) = (&world.account.region, session.owner.session_name());
    keys.set(
        "ec2:SourceInstanceARN",
        [format!("arn:{partition}:ec2:{region}:{account}:instance/{instance}")],
    );
    keys.set("ec2:RoleDelivery", session.delivery.map(Delivery::as_str));
}
