//! The policy that is in force: asked for every request, replaced as a whole. Knows no file, no signal and no connection.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::caller::Facts;
use crate::policy::{Decision, Policy, decide};

/// The policy in force.
pub struct InForce {
    turn: AtomicU64,
    policy: RwLock<Arc<Policy>>,
}

/// Between two replacements. A decision holds for the turn in which it was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn(u64);

impl fmt::Debug for InForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InForce").field("policy", &self.policy()).finish()
    }
}

impl InForce {
    /// Puts the first policy in force.
    #[must_use]
    pub fn new(policy: Policy) -> Self {
        Self {
            turn: AtomicU64::new(0),
            policy: RwLock::new(Arc::new(policy)),
        }
    }

    /// The policy of this moment.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        self.read().1
    }

    /// What a container gets now, and the turn for which that holds.
    #[must_use]
    pub fn decide(&self, facts: &Facts) -> (Turn, Decision) {
        let (turn, policy) = self.read();
        (turn, decide(&policy, facts))
    }

    /// Whether a decision of that turn still holds. Costs as much as reading a number.
    #[must_use]
    pub fn holds(&self, turn: Turn) -> bool {
        self.turn.load(Ordering::Acquire) == turn.0
    }

    /// Replaces the policy: from here on no earlier decision holds.
    pub fn replace(&self, policy: Policy) {
        let mut place = self.policy.write().unwrap_or_else(PoisonError::into_inner);
        *place = Arc::new(policy);
        // While nobody can read the policy, so that nobody takes the new one for the old turn's.
        self.turn.fetch_add(1, Ordering::Release);
    }

    fn read(&self) -> (Turn, Arc<Policy>) {
        let place = self.policy.read().unwrap_or_else(PoisonError::into_inner);
        (Turn(self.turn.load(Ordering::Acquire)), Arc::clone(&place))
    }
}

#[cfg(test)]
mod tests {
    use super::InForce;
    use crate::fixture::{RULE, config, facts};
    use crate::policy::{Decision, Policy, Reason};

    #[test]
    fn a_decision_holds_until_the_policy_is_replaced() {
        let force = InForce::new(Policy::new(&config(RULE)));
        let (turn, decision) = force.decide(&facts());
        assert!(matches!(decision, Decision::Grant(_)) && force.holds(turn));
        force.replace(force.policy().succeed(&config("")));
        assert!(!force.holds(turn));
        let (turn, decision) = force.decide(&facts());
        assert_eq!(decision, Decision::Deny(Reason::NoRuleForRunner));
        assert!(force.holds(turn));
    }
}
