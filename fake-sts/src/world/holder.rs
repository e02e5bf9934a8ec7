//! What a role or a user has of policies: inline ones, attached managed ones, a permissions boundary. It must not know who asks.

use std::collections::{BTreeMap, BTreeSet};

use std::sync::Arc;

use crate::policy::{Document, Kind, Named, read_document};

use super::{Managed, World};

/// The name of the one AWS-managed policy that every world has.
pub const ADMINISTRATOR: &str = "AdministratorAccess";

/// As AWS publishes it.
const ADMINISTRATOR_TEXT: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;

/// Policies and tags of a role or a user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Holder {
    /// By name. Those of a world file have none, and are numbered.
    pub inline: BTreeMap<String, Arc<Document>>,
    /// ARNs of attached managed policies.
    pub attached: BTreeSet<String>,
    /// The ARN of the permissions boundary.
    pub boundary: Option<String>,
    /// Tags of the principal.
    pub tags: BTreeMap<String, String>,
}

impl Holder {
    /// The identity policies, each with the name it is told by.
    #[must_use]
    pub fn identity<'a>(&'a self, world: &'a World) -> Vec<Named<'a>> {
        let inline = self.inline.iter().map(|(name, document)| Named {
            name: name.clone(),
            policy: Some(document.policy()),
        });
        inline
            .chain(self.attached.iter().map(|arn| named(arn, world)))
            .collect()
    }

    /// The permissions boundary.
    #[must_use]
    pub fn limit<'a>(&'a self, world: &'a World) -> Option<Named<'a>> {
        self.boundary.as_ref().map(|arn| named(arn, world))
    }
}

/// A managed policy by its ARN; without a meaning when the world has it not.
#[must_use]
pub(crate) fn named<'a>(arn: &str, world: &'a World) -> Named<'a> {
    Named {
        name: arn.to_owned(),
        policy: world.managed(arn).map(|managed| managed.document.policy()),
    }
}

/// Policies that are there without being written into a world.
pub(super) fn built_in(partition: &str) -> Vec<Managed> {
    let document = read_document(ADMINISTRATOR_TEXT, Kind::Identity).ok();
    let one = document.map(|document| Managed {
        arn: format!("arn:{partition}:iam::aws:policy/{ADMINISTRATOR}"),
        id: "ANPAIWMBCKSKIEE64ZLYK".to_owned(),
        document: Arc::new(document),
        created_at: None,
    });
    one.into_iter().collect()
}
