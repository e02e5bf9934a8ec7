//! Instance profiles.

use super::input::{created, encoded};
use super::roles::whole;
use super::{Call, Done, conflict, taken};
use crate::envelope::Element;
use crate::refusal::Refusal;
use crate::world::{Profile, World};

fn element(profile: &Profile, account: &str, world: &World) -> Vec<Element> {
    let role = profile.role.as_ref().and_then(|name| world.role(account, name));
    let roles = role.map(|role| {
        vec![
            Element::Text("Path", role.arn.path.clone()),
            Element::Text("RoleName", role.arn.name.clone()),
            Element::Text("RoleId", role.id.clone()),
            Element::Text("Arn", role.arn.to_string()),
            created(role.created_at),
            Element::Text("AssumeRolePolicyDocument", encoded(&role.trust.text)),
        ]
    });
    vec![
        Element::Text("Path", profile.path.clone()),
        Element::Text("InstanceProfileName", profile.name.clone()),
        Element::Text("InstanceProfileId", profile.id.clone()),
        Element::Text("Arn", profile.arn.clone()),
        created(profile.created_at),
        Element::List("Roles", roles.into_iter().collect()),
    ]
}

impl Call<'_> {
    fn profile(&self) -> Result<Profile, Refusal> {
        let name = self.name("InstanceProfileName", 128)?;
        let found = self.state.world.profile(&self.account, &name);
        found.cloned().ok_or_else(|| {
            let text = format!("Instance Profile {name} cannot be found.");
            Refusal::of_iam(404, "NoSuchEntity", text)
        })
    }

    fn keep_profile(&mut self, profile: Profile) {
        let account = self.account.clone();
        self.state.world.put_profile(&account, profile);
    }
}

pub(super) fn create(call: &mut Call<'_>) -> Done {
    let name = call.name("InstanceProfileName", 128)?;
    let path = call.path()?;
    if call.state.world.profile(&call.account, &name).is_some() {
        return Err(taken("Instance Profile", &name));
    }
    let label = format!("profile:{}:{name}", call.account);
    let profile = Profile {
        arn: format!(
            "arn:{}:iam::{}:instance-profile{path}{name}",
            call.partition, call.account
        ),
        id: format!("AIPA{}", call.state.seed.base32(&label, 0, 17)),
        name,
        path,
        role: None,
        created_at: Some(call.now),
    };
    call.keep_profile(profile.clone());
    let elements = element(&profile, &call.account, &call.state.world);
    Ok(Some(vec![Element::Group("InstanceProfile", elements)]))
}

pub(super) fn get(call: &mut Call<'_>) -> Done {
    let elements = element(&call.profile()?, &call.account, &call.state.world);
    Ok(Some(vec![Element::Group("InstanceProfile", elements)]))
}

pub(super) fn list_for_role(call: &mut Call<'_>) -> Done {
    let name = call.role()?.arn.name.clone();
    let profiles = call.state.world.profiles();
    let members = profiles
        .filter(|profile| profile.role.as_ref() == Some(&name))
        .map(|profile| element(profile, &call.account, &call.state.world));
    Ok(Some(vec![
        Element::List("InstanceProfiles", members.collect()),
        whole(),
    ]))
}

pub(super) fn add_role(call: &mut Call<'_>) -> Done {
    let mut profile = call.profile()?;
    let role = call.role()?.arn.name.clone();
    if profile.role.is_some() {
        let text = "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1";
        return Err(Refusal::of_iam(409, "LimitExceeded", text));
    }
    profile.role = Some(role);
    call.keep_profile(profile);
    Ok(None)
}

pub(super) fn remove_role(call: &mut Call<'_>) -> Done {
    let mut profile = call.profile()?;
    let role = call.name("RoleName", 64)?;
    if profile.role.as_ref() != Some(&role) {
        let text = format!("The role with name {role} cannot be found.");
        return Err(Refusal::of_iam(404, "NoSuchEntity", text));
    }
    profile.role = None;
    call.keep_profile(profile);
    Ok(None)
}

pub(super) fn delete(call: &mut Call<'_>) -> Done {
    let profile = call.profile()?;
    if profile.role.is_some() {
        return Err(conflict(
            "Cannot delete entity, must remove roles from instance profile first.",
        ));
    }
    call.state.world.delete_profile(&call.account, &profile.name);
    Ok(None)
}
