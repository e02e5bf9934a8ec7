//! The policy that is in force, less what an operator revoked: asked for every request, replaced as a whole. Knows no file, no signal and no connection.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use crate::caller::Facts;
use crate::policy::{Decision, Policy, Revocations, Target, TooMany, decide};

/// The policy in force.
pub struct InForce {
    turn: AtomicU64,
    laws: RwLock<Laws>,
}

#[derive(Clone)]
struct Laws {
    policy: Arc<Policy>,
    revoked: Arc<Revocations>,
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
    /// Puts the first policy in force, less what was revoked before.
    #[must_use]
    pub fn new(policy: Policy, revoked: Revocations) -> Self {
        Self {
            turn: AtomicU64::new(0),
            laws: RwLock::new(Laws {
                policy: Arc::new(policy),
                revoked: Arc::new(revoked),
            }),
        }
    }

    /// The policy of this moment.
    #[must_use]
    pub fn policy(&self) -> Arc<Policy> {
        self.read().1.policy
    }

    /// Who is revoked at this moment.
    #[must_use]
    pub fn revoked(&self) -> Arc<Revocations> {
        self.read().1.revoked
    }

    /// What a container gets now, and the turn for which that holds.
    #[must_use]
    pub fn decide(&self, facts: &Facts) -> (Turn, Decision) {
        let (turn, Laws { policy, revoked }) = self.read();
        (turn, revoked.apply(facts, decide(&policy, facts)))
    }

    /// Whether a decision of that turn still holds. Costs as much as reading a number.
    #[must_use]
    pub fn holds(&self, turn: Turn) -> bool {
        self.turn.load(Ordering::Acquire) == turn.0
    }

    /// Replaces the policy: from here on no earlier decision holds.
    pub fn replace(&self, policy: Policy) {
        self.change(|laws| laws.policy = Arc::new(policy));
    }

    /// Takes from a subject what the rules give, whatever rules come; whether it had not been taken before.
    ///
    /// # Errors
    /// Too much is taken already.
    pub fn revoke(&self, subject: Target, now: SystemTime) -> Result<bool, TooMany> {
        self.change(|laws| Arc::make_mut(&mut laws.revoked).add(subject, now))
    }

    /// Leaves the subject to the rules again; whether it was revoked.
    pub fn lift(&self, subject: &Target) -> bool {
        self.change(|laws| Arc::make_mut(&mut laws.revoked).lift(subject))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Laws) -> T) -> T {
        let mut laws = self.laws.write().unwrap_or_else(PoisonError::into_inner);
        let result = change(&mut laws);
        // While nobody can read the laws, so that nobody takes the new ones for the old turn's.
        self.turn.fetch_add(1, Ordering::Release);
        result
    }

    fn read(&self) -> (Turn, Laws) {
        let laws = self.laws.read().unwrap_or_else(PoisonError::into_inner);
        (Turn(self.turn.load(Ordering::Acquire)), laws.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::InForce;
    use crate::fixture::{PausedClock, RULE, config, facts};
    use crate::policy::{Decision, Policy, Reason, Revocations, Target};

    #[test]
    fn a_decision_holds_until_the_policy_is_replaced() {
        let force = InForce::new(Policy::new(&config(RULE)), Revocations::default());
        let (turn, decision) = force.decide(&facts());
        assert!(matches!(decision, Decision::Grant(_)) && force.holds(turn));
        force.replace(force.policy().succeed(&config("")));
        assert!(!force.holds(turn));
        let (turn, decision) = force.decide(&facts());
        assert_eq!(decision, Decision::Deny(Reason::NoRuleForRunner));
        assert!(force.holds(turn));
    }

    #[test]
    fn what_is_revoked_stays_revoked_under_every_policy_until_it_is_lifted() {
        let force = InForce::new(Policy::new(&config(RULE)), Revocations::default());
        let (turn, _) = force.decide(&facts());
        assert_eq!(force.revoke(Target::Job(302), PausedClock::epoch()), Ok(true));
        assert!(!force.holds(turn));
        assert_eq!(force.decide(&facts()).1, Decision::Deny(Reason::Revoked));
        force.replace(force.policy().succeed(&config(RULE)));
        let (turn, decision) = force.decide(&facts());
        assert_eq!(decision, Decision::Deny(Reason::Revoked));
        assert!(force.lift(&Target::Job(302)) && !force.holds(turn));
        assert!(matches!(force.decide(&facts()).1, Decision::Grant(_)));
    }

    #[test]
    fn what_was_revoked_before_the_start_is_revoked_from_the_start() {
        let mut revoked = Revocations::default();
        revoked.add(Target::Job(302), PausedClock::epoch()).unwrap();
        let force = InForce::new(Policy::new(&config(RULE)), revoked);
        assert_eq!(force.decide(&facts()).1, Decision::Deny(Reason::Revoked));
    }
}
