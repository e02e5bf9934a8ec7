//! What STS is told of who a session is for: the rule's templates, filled with what is known of the container.

use std::collections::BTreeSet;

use super::Job;
use crate::caller::Facts;
use crate::config::{Field, Identity};

/// Digits of a container's id that Docker shows.
const CONTAINER_DIGITS: usize = 12;

/// What STS is told of one session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Told {
    /// `RoleSessionName`
    pub session_name: String,
    /// `Tags`, by name.
    pub tags: Vec<(String, String)>,
    /// `TransitiveTagKeys`
    pub transitive: BTreeSet<String>,
    /// `SourceIdentity`
    pub source_identity: Option<String>,
}

impl Told {
    /// Fills the templates of a rule for a job.
    #[must_use]
    pub fn of_job(identity: &Identity, job: &Job, facts: &Facts) -> Self {
        Self::new(identity, |field| tell(field, job, facts))
    }

    /// Fills the templates of a rule for a container that is of no job: they name nothing but the container.
    #[must_use]
    pub fn of_container(identity: &Identity, facts: &Facts) -> Self {
        Self::new(identity, |_| shorten(facts))
    }

    fn new(identity: &Identity, value: impl Fn(Field) -> String + Copy) -> Self {
        let tags = identity.tags.iter();
        Self {
            session_name: identity.name.fill(value),
            tags: tags
                .map(|(key, template)| (key.to_string(), template.fill(value)))
                .collect(),
            transitive: identity.transitive.iter().map(ToString::to_string).collect(),
            source_identity: identity.source_identity.as_ref().map(|template| template.fill(value)),
        }
    }
}

fn tell(field: Field, job: &Job, facts: &Facts) -> String {
    match field {
        Field::Gitlab => job.gitlab.to_string(),
        Field::Runner => job.runner.to_string(),
        Field::SystemId => job.system_id.to_string(),
        Field::Project => job.project.to_string(),
        Field::Pipeline => job.pipeline.to_string(),
        Field::Job => job.job.to_string(),
        Field::Ref => job.r#ref.to_string(),
        Field::Kind => job.kind.to_string(),
        Field::Container => shorten(facts),
    }
}

fn shorten(facts: &Facts) -> String {
    facts.run.container_id.chars().take(CONTAINER_DIGITS).collect()
}
