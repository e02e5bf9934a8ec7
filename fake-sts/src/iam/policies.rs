//! Inline policies, managed policies and permissions boundaries, of roles and of users.

use super::input::{created, encoded};
use super::roles::whole;
use super::{Call, Done, conflict};
use crate::envelope::{self, Element};
use crate::refusal::Refusal;
use crate::world::{Holder, Managed};

/// Whose policies an action is about.
#[derive(Clone, Copy)]
enum Whose {
    Role,
    User,
}

impl Whose {
    fn word(self) -> &'static str {
        match self {
            Self::Role => "role",
            Self::User => "user",
        }
    }
}

impl Call<'_> {
    fn holder(&self, whose: Whose) -> Result<(String, Holder), Refusal> {
        match whose {
            Whose::Role => self.role().map(|role| (role.arn.name.clone(), role.holder.clone())),
            Whose::User => self.user().map(|user| (user.name, user.holder)),
        }
    }

    fn keep_holder(&mut self, whose: Whose, holder: Holder) -> Result<(), Refusal> {
        match whose {
            Whose::Role => self.role_mut()?.holder = holder,
            Whose::User => {
                let mut user = self.user()?;
                user.holder = holder;
                self.keep_user(user);
            }
        }
        Ok(())
    }

    fn put(&mut self, whose: Whose) -> Done {
        let (_, mut holder) = self.holder(whose)?;
        let name = self.name("PolicyName", 128)?;
        let document = self.identity_document("PolicyDocument")?;
        holder.inline.insert(name, document);
        self.keep_holder(whose, holder).map(|()| None)
    }

    fn get_inline(&self, whose: Whose) -> Done {
        let (own, holder) = self.holder(whose)?;
        let name = self.name("PolicyName", 128)?;
        let document = holder.inline.get(&name).ok_or_else(|| no_policy(whose, &name))?;
        let title = match whose {
            Whose::Role => "RoleName",
            Whose::User => "UserName",
        };
        Ok(Some(vec![
            Element::Text(title, own),
            Element::Text("PolicyName", name),
            Element::Text("PolicyDocument", encoded(&document.text)),
        ]))
    }

    fn list_inline(&self, whose: Whose) -> Done {
        let (_, holder) = self.holder(whose)?;
        let names = envelope::texts("PolicyNames", holder.inline.into_keys());
        Ok(Some(vec![names, whole()]))
    }

    fn delete_inline(&mut self, whose: Whose) -> Done {
        let (_, mut holder) = self.holder(whose)?;
        let name = self.name("PolicyName", 128)?;
        if holder.inline.remove(&name).is_none() {
            return Err(no_policy(whose, &name));
        }
        self.keep_holder(whose, holder).map(|()| None)
    }

    fn attach(&mut self, whose: Whose) -> Done {
        let (_, mut holder) = self.holder(whose)?;
        holder.attached.insert(self.managed_arn("PolicyArn")?);
        self.keep_holder(whose, holder).map(|()| None)
    }

    fn detach(&mut self, whose: Whose) -> Done {
        let (_, mut holder) = self.holder(whose)?;
        let arn = self.text("PolicyArn")?;
        if !holder.attached.remove(&arn) {
            let text = format!("Policy {arn} was not found.");
            return Err(Refusal::of_iam(404, "NoSuchEntity", text));
        }
        self.keep_holder(whose, holder).map(|()| None)
    }

    fn list_attached(&self, whose: Whose) -> Done {
        let (_, holder) = self.holder(whose)?;
        let members = holder.attached.into_iter().map(|arn| {
            let name = name_of(&arn).to_owned();
            vec![Element::Text("PolicyName", name), Element::Text("PolicyArn", arn)]
        });
        Ok(Some(vec![
            Element::List("AttachedPolicies", members.collect()),
            whole(),
        ]))
    }

    fn managed(&self) -> Result<&Managed, Refusal> {
        let arn = self.text("PolicyArn")?;
        self.state.world.managed(&arn).ok_or_else(|| {
            let text = format!("Policy {arn} was not found.");
            Refusal::of_iam(404, "NoSuchEntity", text)
        })
    }

    fn uses(&self, arn: &str) -> usize {
        let world = &self.state.world;
        let roles = world.roles().map(|role| &role.holder);
        let users = world.users().map(|user| &user.holder);
        roles
            .chain(users)
            .filter(|holder| holder.attached.contains(arn))
            .count()
    }

    fn managed_element(&self, managed: &Managed) -> Vec<Element> {
        let uses = i64::try_from(self.uses(&managed.arn)).unwrap_or(i64::MAX);
        vec![
            Element::Text("PolicyName", name_of(&managed.arn).to_owned()),
            Element::Text("PolicyId", managed.id.clone()),
            Element::Text("Arn", managed.arn.clone()),
            Element::Text("Path", "/".to_owned()),
            Element::Text("DefaultVersionId", "v1".to_owned()),
            Element::Number("AttachmentCount", uses),
            Element::Text("IsAttachable", "true".to_owned()),
            created(managed.created_at),
        ]
    }
}

fn name_of(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or_default()
}

fn no_policy(whose: Whose, name: &str) -> Refusal {
    let text = format!("The {} policy with name {name} cannot be found.", whose.word());
    Refusal::of_iam(404, "NoSuchEntity", text)
}

pub(super) fn put_into_role(call: &mut Call<'_>) -> Done {
    call.put(Whose::Role)
}

pub(super) fn put_into_user(call: &mut Call<'_>) -> Done {
    call.put(Whose::User)
}

pub(super) fn get_of_role(call: &mut Call<'_>) -> Done {
    call.get_inline(Whose::Role)
}

pub(super) fn get_of_user(call: &mut Call<'_>) -> Done {
    call.get_inline(Whose::User)
}

pub(super) fn list_of_role(call: &mut Call<'_>) -> Done {
    call.list_inline(Whose::Role)
}

pub(super) fn list_of_user(call: &mut Call<'_>) -> Done {
    call.list_inline(Whose::User)
}

pub(super) fn delete_from_role(call: &mut Call<'_>) -> Done {
    call.delete_inline(Whose::Role)
}

pub(super) fn delete_from_user(call: &mut Call<'_>) -> Done {
    call.delete_inline(Whose::User)
}

pub(super) fn attach_to_role(call: &mut Call<'_>) -> Done {
    call.attach(Whose::Role)
}

pub(super) fn attach_to_user(call: &mut Call<'_>) -> Done {
    call.attach(Whose::User)
}

pub(super) fn detach_from_role(call: &mut Call<'_>) -> Done {
    call.detach(Whose::Role)
}

pub(super) fn detach_from_user(call: &mut Call<'_>) -> Done {
    call.detach(Whose::User)
}

pub(super) fn list_attached_to_role(call: &mut Call<'_>) -> Done {
    call.list_attached(Whose::Role)
}

pub(super) fn list_attached_to_user(call: &mut Call<'_>) -> Done {
    call.list_attached(Whose::User)
}

pub(super) fn bind_role(call: &mut Call<'_>) -> Done {
    let arn = call.managed_arn("PermissionsBoundary")?;
    call.role_mut()?.holder.boundary = Some(arn);
    Ok(None)
}

pub(super) fn unbind_role(call: &mut Call<'_>) -> Done {
    call.role_mut()?.holder.boundary = None;
    Ok(None)
}

pub(super) fn create(call: &mut Call<'_>) -> Done {
    let name = call.name("PolicyName", 128)?;
    let path = call.path()?;
    let document = call.identity_document("PolicyDocument")?;
    let arn = format!("arn:{}:iam::{}:policy{path}{name}", call.partition, call.account);
    if call.state.world.managed(&arn).is_some() {
        let text = format!("A policy called {name} already exists. Duplicate names are not allowed.");
        return Err(Refusal::of_iam(409, "EntityAlreadyExists", text));
    }
    let id = call.state.seed.base32(&format!("policy:{arn}"), 0, 17);
    let managed = Managed {
        arn,
        id: format!("ANPA{id}"),
        document,
        created_at: Some(call.now),
    };
    call.state.world.put_managed(managed.clone());
    Ok(Some(vec![Element::Group("Policy", call.managed_element(&managed))]))
}

pub(super) fn get(call: &mut Call<'_>) -> Done {
    let managed = call.managed()?;
    Ok(Some(vec![Element::Group("Policy", call.managed_element(managed))]))
}

fn version(managed: &Managed, with_document: bool) -> Vec<Element> {
    let document = with_document.then(|| Element::Text("Document", encoded(&managed.document.text)));
    let mut elements: Vec<Element> = document.into_iter().collect();
    elements.push(Element::Text("VersionId", "v1".to_owned()));
    elements.push(Element::Text("IsDefaultVersion", "true".to_owned()));
    elements.push(created(managed.created_at));
    elements
}

pub(super) fn get_version(call: &mut Call<'_>) -> Done {
    let managed = call.managed()?;
    let wanted = call.text("VersionId")?;
    if wanted != "v1" {
        let text = format!(
            "Policy {} version {wanted} does not exist or is not attachable.",
            managed.arn
        );
        return Err(Refusal::of_iam(404, "NoSuchEntity", text));
    }
    Ok(Some(vec![Element::Group("PolicyVersion", version(managed, true))]))
}

pub(super) fn list_versions(call: &mut Call<'_>) -> Done {
    let versions = Element::List("Versions", vec![version(call.managed()?, false)]);
    Ok(Some(vec![versions, whole()]))
}

pub(super) fn delete(call: &mut Call<'_>) -> Done {
    let arn = call.managed()?.arn.clone();
    if call.uses(&arn) > 0 {
        return Err(conflict("Cannot delete a policy attached to entities."));
    }
    if !arn.contains(&format!("::{}:", call.account)) {
        let text = format!("Policy {arn} is AWS's and cannot be deleted.");
        return Err(Refusal::of_iam(403, "AccessDenied", text));
    }
    call.state.world.delete_managed(&arn);
    Ok(None)
}
