//! Users and their keys.

use super::input::{created, tag_list};
use super::roles::whole;
use super::{Call, Done, conflict, missing, taken};
use crate::envelope::Element;
use crate::mint::long_lived;
use crate::refusal::Refusal;
use crate::world::{AccessKey, Holder, Key, User};

/// IAM's quota.
const MOST_KEYS: usize = 2;

fn element(user: &User) -> Vec<Element> {
    let mut elements = vec![
        Element::Text("Path", user.path.clone()),
        Element::Text("UserName", user.name.clone()),
        Element::Text("UserId", user.id.clone()),
        Element::Text("Arn", user.arn.clone()),
        created(user.created_at),
    ];
    elements.extend(tag_list(&user.holder));
    elements
}

impl Call<'_> {
    pub(super) fn user(&self) -> Result<User, Refusal> {
        let name = self.user_name()?;
        let found = self.state.world.user_by_name(&self.account, &name);
        found.map(|user| (**user).clone()).ok_or_else(|| missing("user", &name))
    }

    pub(super) fn keep_user(&mut self, user: User) {
        let seed = self.state.seed.clone();
        self.state.world.put_user(user, &seed);
    }

    fn key_of_user(&self) -> Result<(Key, String), Refusal> {
        let owner = self.user()?.key();
        Ok((owner, self.text("AccessKeyId")?))
    }
}

pub(super) fn create(call: &mut Call<'_>) -> Done {
    let name = call.name("UserName", 64)?;
    let path = call.path()?;
    let tags = call.tags()?;
    if call.state.world.user_by_name(&call.account, &name).is_some() {
        return Err(taken("User", &name));
    }
    let user = User {
        arn: format!("arn:{}:iam::{}:user{path}{name}", call.partition, call.account),
        id: String::new(),
        account: call.account.clone(),
        partition: call.partition.clone(),
        name,
        path,
        holder: Holder {
            tags,
            ..Holder::default()
        },
        mfa: None,
        created_at: Some(call.now),
    };
    let seed = call.state.seed.clone();
    let user = call.state.world.put_user(user, &seed);
    Ok(Some(vec![Element::Group("User", element(&user))]))
}

pub(super) fn get(call: &mut Call<'_>) -> Done {
    Ok(Some(vec![Element::Group("User", element(&call.user()?))]))
}

pub(super) fn list(call: &mut Call<'_>) -> Done {
    let own = call.state.world.users().filter(|user| user.account == call.account);
    let users = Element::List("Users", own.map(|user| element(user)).collect());
    Ok(Some(vec![users, whole()]))
}

pub(super) fn delete(call: &mut Call<'_>) -> Done {
    let user = call.user()?;
    if call.state.world.keys_of(&user.key()).next().is_some() {
        return Err(conflict("Cannot delete entity, must delete access keys first."));
    }
    if !user.holder.attached.is_empty() {
        return Err(conflict("Cannot delete entity, must detach all policies first."));
    }
    if !user.holder.inline.is_empty() {
        return Err(conflict("Cannot delete entity, must delete policies first."));
    }
    call.state.world.delete_user(&user.key());
    Ok(None)
}

pub(super) fn create_key(call: &mut Call<'_>) -> Done {
    let user = call.user()?;
    if call.state.world.keys_of(&user.key()).count() >= MOST_KEYS {
        let text = format!("Cannot exceed quota for AccessKeysPerUser: {MOST_KEYS}");
        return Err(Refusal::of_iam(409, "LimitExceeded", text));
    }
    let serial = call.state.next_key();
    let (id, secret) = long_lived(&user.account, &call.state.seed, serial);
    let key = AccessKey {
        id: id.clone(),
        secret: secret.clone(),
        owner: user.key(),
        active: true,
        created_at: Some(call.now),
    };
    if !call.state.world.add_key(key) {
        return Err(Refusal::of_iam(409, "EntityAlreadyExists", "The key is taken."));
    }
    let elements = vec![
        Element::Text("UserName", user.name),
        Element::Text("AccessKeyId", id),
        Element::Text("Status", "Active".to_owned()),
        Element::Secret("SecretAccessKey", secret),
        created(Some(call.now)),
    ];
    Ok(Some(vec![Element::Group("AccessKey", elements)]))
}

pub(super) fn list_keys(call: &mut Call<'_>) -> Done {
    let user = call.user()?;
    let owner = user.key();
    let members = call.state.world.keys_of(&owner).map(|key| {
        let status = if key.active { "Active" } else { "Inactive" };
        vec![
            Element::Text("UserName", user.name.clone()),
            Element::Text("AccessKeyId", key.id.clone()),
            Element::Text("Status", status.to_owned()),
            created(key.created_at),
        ]
    });
    let keys = Element::List("AccessKeyMetadata", members.collect());
    Ok(Some(vec![keys, whole()]))
}

fn no_such_key(id: &str) -> Refusal {
    let text = format!("The Access Key with id {id} cannot be found.");
    Refusal::of_iam(404, "NoSuchEntity", text)
}

pub(super) fn update_key(call: &mut Call<'_>) -> Done {
    let (owner, id) = call.key_of_user()?;
    let active = match call.text("Status")?.as_str() {
        "Active" => true,
        "Inactive" => false,
        other => {
            let text = format!(
                "1 validation error detected: Value '{other}' at 'status' failed to satisfy constraint: Member must satisfy enum value set: [Active, Inactive]"
            );
            return Err(Refusal::of_iam(400, "ValidationError", text));
        }
    };
    let found = call.state.world.set_key(&owner, &id, active);
    found.then_some(None).ok_or_else(|| no_such_key(&id))
}

pub(super) fn delete_key(call: &mut Call<'_>) -> Done {
    let (owner, id) = call.key_of_user()?;
    let found = call.state.world.remove_key(&owner, &id);
    found.then_some(None).ok_or_else(|| no_such_key(&id))
}
