//! Faults: what a test plants so that chosen requests go wrong. It must not know which facts a fake states about its requests,
//! nor what a rewritten key means.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::glob::Glob;
use crate::hold::{End, Holds};

/// What a fake states about a request, by name. Faults match on it and the ledger keeps it.
pub type Facts = BTreeMap<String, String>;

/// More faults at once are a mistake of the test.
pub const MOST_FAULTS: usize = 10_000;

/// A planted fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Every named fact must be present and match. No name matches every request.
    #[serde(rename = "match", default)]
    pub matches: BTreeMap<String, Glob>,
    /// How many requests it strikes; without a number, every one.
    #[serde(default)]
    pub times: Option<u32>,
    /// What happens to them.
    pub effect: Effect,
}

/// What a fault does to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Effect {
    /// The answer waits at the hold of this name.
    Hold(String),
    /// This error is answered.
    Error(Failure),
    /// What is issued lives this long.
    LifetimeSeconds(u64),
    /// The connection is reset instead of an answer.
    Reset(bool),
    /// The fake changes its answer; which keys there are is the fake's to say.
    Rewrite(BTreeMap<String, String>),
}

/// An error answer that a fault asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// HTTP status.
    pub status: u16,
    /// The protocol's error code, where it has one.
    #[serde(default)]
    pub code: String,
    /// Text for people.
    #[serde(default)]
    pub message: String,
}

/// The effects that struck one request, holds already waited for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Strike {
    /// The first error asked for.
    pub error: Option<Failure>,
    /// The first lifetime asked for.
    pub lifetime_seconds: Option<u64>,
    /// The connection is to be reset.
    pub reset: bool,
    /// All rewrites; where two name one key, the fault planted later wins.
    pub rewrite: BTreeMap<String, String>,
    /// What struck, in words, for the ledger. Empty if nothing did.
    pub story: Vec<String>,
}

/// The faults planted in one fake.
#[derive(Debug, Default)]
pub struct Faults {
    planted: Mutex<Planted>,
}

#[derive(Debug, Default)]
struct Planted {
    last_id: u64,
    faults: BTreeMap<u64, Fault>,
}

impl Faults {
    /// Plants a fault; its number, or nothing if there are too many.
    pub fn plant(&self, fault: Fault) -> Option<u64> {
        let mut planted = self.planted.lock().unwrap_or_else(PoisonError::into_inner);
        if planted.faults.len() >= MOST_FAULTS {
            return None;
        }
        planted.last_id += 1;
        let id = planted.last_id;
        planted.faults.insert(id, fault);
        Some(id)
    }

    /// Removes one; whether it was there.
    pub fn remove(&self, id: u64) -> bool {
        self.planted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .faults
            .remove(&id)
            .is_some()
    }

    /// Removes all; how many there were.
    pub fn clear(&self) -> usize {
        std::mem::take(&mut self.planted.lock().unwrap_or_else(PoisonError::into_inner).faults).len()
    }

    /// All that are planted, with what is left of their times.
    pub fn all(&self) -> BTreeMap<u64, Fault> {
        self.planted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .faults
            .clone()
    }

    /// The effects for a request with these facts, in the order of planting. Each matching fault is used once.
    pub fn take(&self, facts: &Facts) -> Vec<Effect> {
        let mut planted = self.planted.lock().unwrap_or_else(PoisonError::into_inner);
        let mut effects = Vec::new();
        planted.faults.retain(|_, fault| {
            let fits = fault
                .matches
                .iter()
                .all(|(name, glob)| facts.get(name).is_some_and(|fact| glob.matches(fact)));
            if !fits || fault.times == Some(0) {
                return fault.times != Some(0);
            }
            effects.push(fault.effect.clone());
            fault.times = fault.times.map(|times| times - 1);
            fault.times != Some(0)
        });
        effects
    }

    /// Takes the effects for these facts and waits at the holds among them, outside any lock.
    pub async fn strike(&self, holds: &Holds, facts: &Facts) -> Strike {
        let mut strike = Strike::default();
        for effect in self.take(facts) {
            match effect {
                Effect::Hold(name) => {
                    let end = holds.wait(&name).await;
                    strike.story.push(match end {
                        End::Released => format!("held at {name}"),
                        End::TimedOut => format!("held at {name} until the time limit"),
                    });
                }
                Effect::Error(failure) => {
                    strike.story.push(format!("fault: error {}", failure.status));
                    strike.error.get_or_insert(failure);
                }
                Effect::LifetimeSeconds(seconds) => {
                    strike.story.push(format!("fault: lifetime {seconds} s"));
                    strike.lifetime_seconds.get_or_insert(seconds);
                }
                Effect::Reset(reset) => {
                    strike.story.push("fault: reset".to_owned());
                    strike.reset |= reset;
                }
                Effect::Rewrite(keys) => {
                    strike.story.push("fault: rewrite".to_owned());
                    strike.rewrite.extend(keys);
                }
            }
        }
        strike
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(json: &str) -> Fault {
        serde_json::from_str(json).unwrap()
    }

    fn facts(path: &str) -> Facts {
        Facts::from([("path".to_owned(), path.to_owned())])
    }

    #[test]
    fn a_fault_strikes_matching_requests_as_often_as_it_says() {
        let faults = Faults::default();
        faults
            .plant(fault(r#"{"match":{"path":"/a*"},"times":2,"effect":{"reset":true}}"#))
            .unwrap();
        assert!(faults.take(&facts("/b")).is_empty());
        assert_eq!(faults.take(&facts("/a")), [Effect::Reset(true)]);
        assert_eq!(faults.take(&facts("/ab")), [Effect::Reset(true)]);
        assert!(faults.take(&facts("/a")).is_empty());
        assert!(faults.all().is_empty());
    }

    #[test]
    fn a_fact_that_the_request_lacks_does_not_match() {
        let faults = Faults::default();
        faults
            .plant(fault(r#"{"match":{"other":"*"},"effect":{"lifetime_seconds":5}}"#))
            .unwrap();
        assert!(faults.take(&facts("/a")).is_empty());
    }

    #[test]
    fn every_effect_has_the_form_of_the_control_api() {
        for json in [
            r#"{"hold":"swap"}"#,
            r#"{"error":{"status":503,"code":"Slow","message":"later"}}"#,
            r#"{"lifetime_seconds":5}"#,
            r#"{"reset":true}"#,
            r#"{"rewrite":{"key":"value"}}"#,
        ] {
            let effect: Effect = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&effect).unwrap(), json);
        }
        assert!(serde_json::from_str::<Effect>(r#"{"explode":true}"#).is_err());
        assert!(serde_json::from_str::<Fault>(r#"{"matches":{},"effect":{"reset":true}}"#).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn effects_of_several_faults_are_joined() {
        let faults = Faults::default();
        faults.plant(fault(r#"{"effect":{"hold":"nobody"}}"#)).unwrap();
        faults.plant(fault(r#"{"effect":{"error":{"status":500}}}"#)).unwrap();
        faults
            .plant(fault(r#"{"effect":{"rewrite":{"a":"1","b":"1"}}}"#))
            .unwrap();
        faults.plant(fault(r#"{"effect":{"rewrite":{"b":"2"}}}"#)).unwrap();
        let strike = faults.strike(&Holds::default(), &facts("/")).await;
        assert_eq!(strike.error.unwrap().status, 500);
        assert_eq!(strike.rewrite.get("b").unwrap(), "2");
        assert_eq!(
            strike.story,
            [
                "held at nobody until the time limit",
                "fault: error 500",
                "fault: rewrite",
                "fault: rewrite"
            ]
        );
    }

    #[test]
    fn a_removed_fault_strikes_nobody() {
        let faults = Faults::default();
        let id = faults.plant(fault(r#"{"effect":{"reset":true}}"#)).unwrap();
        assert!(faults.remove(id));
        assert!(!faults.remove(id));
        assert!(faults.take(&facts("/")).is_empty());
        assert_eq!(faults.clear(), 0);
    }
}
