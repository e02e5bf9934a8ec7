//! What policy makes of a container, once for all of its connections: a job opens many, and all say the same of it. Knows no connection.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::force::{InForce, Turn};
use crate::caller::{Facts, Run};
use crate::credentials::Key;
use crate::policy::{Decision, Job, read_labels};

/// An attested container, with what policy gives it for one turn.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) facts: Arc<Facts>,
    pub(super) job: Option<Job>,
    pub(super) decision: Decision,
    /// For which the decision holds.
    pub(super) turn: Turn,
    pub(super) key: Option<Arc<Key>>,
}

impl Standing {
    fn new(facts: Arc<Facts>, policy: &InForce) -> Self {
        let (turn, decision) = policy.decide(&facts);
        let key = match &decision {
            Decision::Grant(grant) => Some(Arc::new(Key::new(grant))),
            Decision::Deny(_) => None,
        };
        Self {
            job: read_labels(&facts.labels, &facts.image_labels).ok(),
            facts,
            decision,
            turn,
            key,
        }
    }

    /// Whether it is what would be made of these facts now.
    fn holds(&self, facts: &Arc<Facts>, policy: &InForce) -> bool {
        policy.holds(self.turn) && (Arc::ptr_eq(&self.facts, facts) || self.facts == *facts)
    }
}

/// The standings that connections hold now.
#[derive(Debug, Default)]
pub struct Standings {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    by_run: HashMap<Run, Weak<Standing>>,
    /// How many there may be before those that nobody holds any more are thrown away.
    enough: usize,
}

/// Fewer are not worth looking through.
const FEW: usize = 64;

impl Standings {
    /// What a container is to the policy in force: the standing that its other connections hold, or a new one for all that follow.
    pub(super) fn of(&self, facts: &Arc<Facts>, policy: &InForce) -> Arc<Standing> {
        let known = self.held().by_run.get(&facts.run).and_then(Weak::upgrade);
        if let Some(known) = known
            && known.holds(facts, policy)
        {
            return known;
        }
        // Not under the lock: two connections may both make one, which say the same.
        let made = Arc::new(Standing::new(Arc::clone(facts), policy));
        let mut held = self.held();
        if held.by_run.len() >= held.enough {
            held.by_run.retain(|_, standing| standing.strong_count() > 0);
            held.enough = FEW.max(2 * held.by_run.len());
        }
        held.by_run.insert(facts.run.clone(), Arc::downgrade(&made));
        made
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{FEW, Standings};
    use crate::caller::Facts;
    use crate::fixture::{RULE, config, facts};
    use crate::policy::{Decision, Policy, Reason, Revocations};
    use crate::serve::InForce;

    fn force() -> InForce {
        InForce::new(Policy::new(&config(RULE)), Revocations::default())
    }

    fn another(number: usize) -> Arc<Facts> {
        let mut facts = facts();
        facts.run.container_id = format!("{number:064x}");
        Arc::new(facts)
    }

    #[test]
    fn connections_of_one_run_share_one() {
        let (standings, force, facts) = (Standings::default(), force(), Arc::new(facts()));
        let first = standings.of(&facts, &force);
        assert!(matches!(first.decision, Decision::Grant(_)) && first.key.is_some());
        assert!(Arc::ptr_eq(&first, &standings.of(&facts, &force)));
        assert!(!Arc::ptr_eq(&first, &standings.of(&another(1), &force)));
    }

    #[test]
    fn a_replaced_policy_makes_a_new_one() {
        let (standings, force, facts) = (Standings::default(), force(), Arc::new(facts()));
        let before = standings.of(&facts, &force);
        force.replace(force.policy().succeed(&config("")));
        let after = standings.of(&facts, &force);
        assert!(matches!(before.decision, Decision::Grant(_)));
        assert_eq!(after.decision, Decision::Deny(Reason::NoRuleForRunner));
        assert!(after.key.is_none());
        assert!(Arc::ptr_eq(&after, &standings.of(&facts, &force)));
    }

    #[test]
    fn other_facts_are_not_judged_by_what_was_known() {
        let (standings, force) = (Standings::default(), force());
        let first = standings.of(&Arc::new(facts()), &force);
        let mut unlabelled = facts();
        unlabelled.labels.clear();
        let second = standings.of(&Arc::new(unlabelled), &force);
        assert!(matches!(first.decision, Decision::Grant(_)));
        assert!(matches!(second.decision, Decision::Deny(_)));
    }

    #[test]
    fn what_nobody_holds_is_not_kept() {
        let (standings, force) = (Standings::default(), force());
        let kept = standings.of(&another(0), &force);
        for number in 1..20 * FEW {
            drop(standings.of(&another(number), &force));
        }
        assert!(standings.held().by_run.len() <= 2 * FEW);
        assert!(Arc::ptr_eq(&kept, &standings.of(&another(0), &force)));
    }
}
