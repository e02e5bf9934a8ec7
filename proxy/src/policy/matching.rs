//! Which of the rules is for a container: the one that is left when every criterion has narrowed them.

use super::{Enacted, Job, Reason};
use crate::caller::Facts;
use crate::config::{Jobs, Marker, Rule, is_outside};

/// Rules that still match.
struct Narrowing<'r, C> {
    left: Vec<(&'r Enacted, &'r C)>,
}

impl<'r, C> Narrowing<'r, C> {
    fn new(rules: &'r [Enacted], criteria: impl Fn(&'r Rule) -> Option<&'r C>) -> Self {
        let left = rules
            .iter()
            .filter_map(|enacted| Some((enacted, criteria(&enacted.rule)?)));
        Self { left: left.collect() }
    }

    /// Drops those that do not match.
    ///
    /// # Errors
    /// When that leaves none.
    fn narrow(&mut self, reason: Reason, matches: impl Fn(&C) -> bool) -> Result<(), Reason> {
        self.left.retain(|(_, criteria)| matches(criteria));
        if self.left.is_empty() { Err(reason) } else { Ok(()) }
    }

    /// The rule that is left, when what runs is one of its images. Several are as good as one if they give the same.
    fn finish(mut self, facts: &Facts, none: Reason) -> Result<&'r Enacted, Reason> {
        self.left
            .retain(|(enacted, _)| enacted.rule.images.is_empty() || has_image(&enacted.rule, facts));
        let ((first, _), others) = self.left.split_first().ok_or(none)?;
        if others.iter().all(|(other, _)| other.rule.has_outcome_of(&first.rule)) {
            Ok(first)
        } else {
            Err(Reason::SeveralRules)
        }
    }
}

/// Finds the one rule for a job's container, or the first criterion that left none.
pub(super) fn find_for_job<'r>(rules: &'r [Enacted], job: &Job, facts: &Facts) -> Result<&'r Enacted, Reason> {
    let mut rules: Narrowing<'_, Jobs> = Narrowing::new(rules, |rule| rule.subject.jobs());
    rules.narrow(Reason::NoRuleForRunner, |jobs| {
        jobs.runner == job.runner && jobs.gitlab == job.gitlab
    })?;
    rules.narrow(Reason::NoRuleForSystemId, |jobs| {
        jobs.system_ids.is_empty() || jobs.system_ids.contains(&job.system_id)
    })?;
    rules.narrow(Reason::NoRuleForProject, |jobs| jobs.projects.contains(&job.project))?;
    rules.narrow(Reason::NoRuleForKind, |jobs| jobs.kinds.contains(&job.kind))?;
    let no_ref = if is_outside(&job.r#ref) {
        Reason::NoRuleForMergeRequest
    } else {
        Reason::NoRuleForRef
    };
    rules.narrow(no_ref, |jobs| jobs.cover_ref(&job.r#ref))?;
    rules.finish(facts, Reason::NoRuleForImage)
}

/// Finds the one rule for a container that is of no job: its label must be the container's own. Whoever may start containers on the host owns
/// the host anyway; what an image brings along is its author's.
pub(super) fn find_for_container<'r>(rules: &'r [Enacted], facts: &Facts) -> Result<&'r Enacted, Reason> {
    let mut rules: Narrowing<'_, Marker> = Narrowing::new(rules, |rule| rule.subject.marker());
    rules.narrow(Reason::NoRuleForContainer, |marker| {
        facts
            .labels
            .get(marker.key())
            .is_some_and(|value| value == marker.value())
    })?;
    rules.narrow(Reason::MarkerFromImage, |marker| {
        facts
            .image_labels
            .get(marker.key())
            .is_none_or(|value| value != marker.value())
    })?;
    rules.finish(facts, Reason::NoRuleForContainerImage)
}

/// Whether the image that runs is one of the rule's, by id or by digest: never by name, which anybody can give (P20).
fn has_image(rule: &Rule, facts: &Facts) -> bool {
    let digests = facts
        .repo_digests
        .iter()
        .filter_map(|digest| digest.rsplit_once('@'))
        .map(|(_, digest)| digest);
    let mut identities = digests.chain([facts.image_id.as_str()]);
    identities.any(|identity| rule.images.iter().any(|image| image.as_str() == identity))
}
