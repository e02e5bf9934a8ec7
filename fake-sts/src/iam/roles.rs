//! Roles.

use super::input::{created, encoded, tag_list};
use super::{Call, Done, conflict, missing, taken};
use crate::arn::RoleArn;
use crate::envelope::{self, Element};
use crate::refusal::Refusal;
use crate::world::{Holder, Role};

fn element(role: &Role) -> Vec<Element> {
    let mut elements = vec![
        Element::Text("Path", role.arn.path.clone()),
        Element::Text("RoleName", role.arn.name.clone()),
        Element::Text("RoleId", role.id.clone()),
        Element::Text("Arn", role.arn.to_string()),
        created(role.created_at),
        Element::Text("AssumeRolePolicyDocument", encoded(&role.trust.text)),
    ];
    elements.extend(role.description.clone().map(|text| Element::Text("Description", text)));
    elements.push(Element::Number(
        "MaxSessionDuration",
        i64::from(role.max_session_seconds),
    ));
    if let Some(boundary) = &role.holder.boundary {
        let members = vec![
            Element::Text("PermissionsBoundaryType", "Policy".to_owned()),
            Element::Text("PermissionsBoundaryArn", boundary.clone()),
        ];
        elements.push(Element::Group("PermissionsBoundary", members));
    }
    elements.extend(tag_list(&role.holder));
    elements
}

impl Call<'_> {
    pub(super) fn role(&self) -> Result<&Role, Refusal> {
        let name = self.name("RoleName", 64)?;
        let found = self.state.world.role(&self.account, &name);
        found.ok_or_else(|| missing("role", &name))
    }

    pub(super) fn role_mut(&mut self) -> Result<&mut Role, Refusal> {
        let name = self.name("RoleName", 64)?;
        let key = (self.account.clone(), name);
        let found = self.state.world.role_mut(&key);
        found.ok_or_else(|| missing("role", &key.1))
    }

    fn max_session(&self) -> Result<Option<u32>, Refusal> {
        let Some(text) = self.parameters.get("MaxSessionDuration") else {
            return Ok(None);
        };
        let seconds = text.parse().ok().filter(|seconds| (3_600..=43_200).contains(seconds));
        seconds.map(Some).ok_or_else(|| {
            let text = format!(
                "1 validation error detected: Value '{text}' at 'maxSessionDuration' failed to satisfy constraint: Member must have value between 3600 and 43200"
            );
            Refusal::of_iam(400, "ValidationError", text)
        })
    }
}

pub(super) fn create(call: &mut Call<'_>) -> Done {
    let name = call.name("RoleName", 64)?;
    let path = call.path()?;
    let trust = call.trust_document("AssumeRolePolicyDocument")?;
    let max_session_seconds = call.max_session()?.unwrap_or(3_600);
    let tags = call.tags()?;
    let boundary = match call.parameters.get("PermissionsBoundary") {
        Some(_) => Some(call.managed_arn("PermissionsBoundary")?),
        None => None,
    };
    if call.state.world.role(&call.account, &name).is_some() {
        return Err(taken("Role", &name));
    }
    let role = Role {
        arn: RoleArn {
            partition: call.partition.clone(),
            account: call.account.clone(),
            path,
            name,
        },
        id: String::new(),
        max_session_seconds,
        trust,
        holder: Holder {
            boundary,
            tags,
            ..Holder::default()
        },
        created_at: Some(call.now),
        description: call.parameters.get("Description").map(str::to_owned),
    };
    let seed = call.state.seed.clone();
    let role = call.state.world.put_role(role, &seed);
    Ok(Some(vec![Element::Group("Role", element(role))]))
}

pub(super) fn get(call: &mut Call<'_>) -> Done {
    Ok(Some(vec![Element::Group("Role", element(call.role()?))]))
}

pub(super) fn list(call: &mut Call<'_>) -> Done {
    let prefix = call.parameters.get("PathPrefix").unwrap_or("/");
    let own = call.state.world.roles().filter(|role| role.arn.account == call.account);
    let members = own.filter(|role| role.arn.path.starts_with(prefix)).map(element);
    let roles = Element::List("Roles", members.collect());
    Ok(Some(vec![roles, whole()]))
}

/// Lists are never cut: a fake has no reason to.
pub(super) fn whole() -> Element {
    Element::Text("IsTruncated", "false".to_owned())
}

pub(super) fn update(call: &mut Call<'_>) -> Done {
    let seconds = call.max_session()?;
    let description = call.parameters.get("Description").map(str::to_owned);
    let role = call.role_mut()?;
    role.max_session_seconds = seconds.unwrap_or(role.max_session_seconds);
    role.description = description.or(role.description.take());
    Ok(Some(Vec::new()))
}

pub(super) fn update_trust(call: &mut Call<'_>) -> Done {
    call.role()?;
    let trust = call.trust_document("PolicyDocument")?;
    call.role_mut()?.trust = trust;
    Ok(None)
}

pub(super) fn delete(call: &mut Call<'_>) -> Done {
    let role = call.role()?;
    if !role.holder.attached.is_empty() {
        return Err(conflict("Cannot delete entity, must detach all policies first."));
    }
    if !role.holder.inline.is_empty() {
        return Err(conflict("Cannot delete entity, must delete policies first."));
    }
    let name = role.arn.name.clone();
    let held = |profile: &crate::world::Profile| profile.role.as_deref() == Some(name.as_str());
    if call.state.world.profiles().any(held) {
        return Err(conflict(
            "Cannot delete entity, must remove roles from instance profile first.",
        ));
    }
    call.state.world.delete_role(&call.account, &name);
    Ok(None)
}

pub(super) fn tag(call: &mut Call<'_>) -> Done {
    let tags = call.tags()?;
    call.role_mut()?.holder.tags.extend(tags);
    Ok(None)
}

pub(super) fn untag(call: &mut Call<'_>) -> Done {
    let members = call.parameters.members("TagKeys").into_iter();
    let keys: Vec<String> = members.map(|(_, _, key)| key.to_owned()).collect();
    let role = call.role_mut()?;
    role.holder.tags.retain(|key, _| !keys.contains(key));
    Ok(None)
}

pub(super) fn list_tags(call: &mut Call<'_>) -> Done {
    let tags = tag_list(&call.role()?.holder).unwrap_or_else(|| envelope::texts("Tags", []));
    Ok(Some(vec![tags, whole()]))
}
