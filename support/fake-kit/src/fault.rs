//! Faults: what a test plants so that chosen requests go wrong. It must not know which facts a fake states about its requests,
//! nor what a rewritten key means.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::facts::Facts;
use crate::glob::Glob;
use crate::hold::{End, Holds};
use crate::seed::Seed;

/// More faults at once are a mistake of the test.
pub const MOST_FAULTS: usize = 10_000;
/// No answer is delayed longer.
pub const LONGEST_DELAY: Duration = Duration::from_mins(10);

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
    /// How many that match are spared before.
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub skip: u32,
    /// How many in a hundred that match it strikes, by the seed; without a number, all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u8>,
    /// Since when, by the fake's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Until when, by the fake's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// What happens to them.
    pub effect: Effect,
}

fn is_nothing(number: &u32) -> bool {
    *number == 0
}

/// What is wrong with a fault that nobody should plant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// A fact that no request has.
    #[error("no fact is called {name:?}; there are: {known}")]
    UnknownFact {
        /// The name.
        name: String,
        /// The facts there are.
        known: String,
    },
    /// A status that is none.
    #[error("status {0} is not between 200 and 599")]
    Status(u16),
    /// A share that is none.
    #[error("percent is {0}; give a whole number from 1 to 100")]
    Percent(u8),
    /// A delay beyond the limit.
    #[error("no answer is delayed longer than {} s", LONGEST_DELAY.as_secs())]
    Delay,
    /// It would never strike.
    #[error("until is not later than from")]
    Never,
}

impl Fault {
    /// Whether it can be meant.
    ///
    /// # Errors
    /// The first thing that it cannot mean.
    pub fn check(&self, facts: &[&str]) -> Result<(), Mistake> {
        if let Some(name) = self.matches.keys().find(|name| !facts.contains(&name.as_str())) {
            return Err(Mistake::UnknownFact {
                name: name.clone(),
                known: facts.join(", "),
            });
        }
        match &self.effect {
            Effect::Error(failure) if !(200..=599).contains(&failure.status) => {
                return Err(Mistake::Status(failure.status));
            }
            Effect::DelayMilliseconds(delay) if u128::from(*delay) > LONGEST_DELAY.as_millis() => {
                return Err(Mistake::Delay);
            }
            _ => {}
        }
        if let Some(percent) = self.percent.filter(|percent| !(1..=100).contains(percent)) {
            return Err(Mistake::Percent(percent));
        }
        match (self.from, self.until) {
            (Some(from), Some(until)) if until <= from => Err(Mistake::Never),
            _ => Ok(()),
        }
    }
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
    /// The answer comes that much later.
    DelayMilliseconds(u64),
    /// No answer comes; after [`LONGEST_DELAY`] the connection is reset.
    Hang(bool),
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
#[derive(Debug)]
pub struct Faults {
    seed: Seed,
    clock: Clock,
    planted: Mutex<Planted>,
}

#[derive(Debug, Default)]
struct Planted {
    last_id: u64,
    faults: BTreeMap<u64, Standing>,
}

/// A planted fault, and how many requests matched it.
#[derive(Debug)]
struct Standing {
    fault: Fault,
    matched: u64,
}

impl Standing {
    /// Whether it strikes this request, which its facts match.
    fn strikes(&mut self, id: u64, now: Timestamp, seed: &Seed) -> bool {
        let fault = &mut self.fault;
        let early = fault.from.is_some_and(|from| now < from);
        let late = fault.until.is_some_and(|until| now >= until);
        if early || late {
            return false;
        }
        if fault.skip > 0 {
            fault.skip -= 1;
            return false;
        }
        self.matched += 1;
        let [high, low, ..] = seed.bytes(&format!("fault/{id}"), self.matched);
        // 65,536 parts of a hundred: nobody sees the rest.
        let drawn = u32::from(u16::from_be_bytes([high, low])) * 100 / 65_536;
        if fault.percent.is_some_and(|percent| drawn >= u32::from(percent)) {
            return false;
        }
        fault.times = fault.times.map(|times| times.saturating_sub(1));
        true
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::new(Seed::default(), Clock::system())
    }
}

impl Faults {
    /// No faults yet. The seed decides whom a share of them strikes, the clock when.
    pub fn new(seed: Seed, clock: Clock) -> Self {
        Self {
            seed,
            clock,
            planted: Mutex::default(),
        }
    }

    /// Plants a fault; its number, or nothing if there are too many.
    pub fn plant(&self, fault: Fault) -> Option<u64> {
        let mut planted = self.planted.lock().unwrap_or_else(PoisonError::into_inner);
        if planted.faults.len() >= MOST_FAULTS {
            return None;
        }
        planted.last_id += 1;
        let id = planted.last_id;
        planted.faults.insert(id, Standing { fault, matched: 0 });
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
        let planted = self.planted.lock().unwrap_or_else(PoisonError::into_inner);
        let faults = planted.faults.iter();
        faults.map(|(id, standing)| (*id, standing.fault.clone())).collect()
    }

    /// The effects for a request with these facts, in the order of planting. Each matching fault is used once.
    pub fn take(&self, facts: &Facts) -> Vec<Effect> {
        let mut planted = self.planted.lock().unwrap_or_else(PoisonError::into_inner);
        if planted.faults.is_empty() {
            return Vec::new();
        }
        let now = self.clock.now();
        let mut effects = Vec::new();
        planted.faults.retain(|id, standing| {
            let fault = &standing.fault;
            let fits = fault
                .matches
                .iter()
                .all(|(name, glob)| facts.get(name).is_some_and(|fact| glob.matches(fact)));
            if fits && fault.times != Some(0) && standing.strikes(*id, now, &self.seed) {
                effects.push(standing.fault.effect.clone());
            }
            standing.fault.times != Some(0)
        });
        effects
    }

    /// Takes the effects for these facts and waits at the holds and for the time among them, outside any lock.
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
                Effect::DelayMilliseconds(delay) => {
                    strike.story.push(format!("fault: {delay} ms later"));
                    tokio::time::sleep(Duration::from_millis(delay).min(LONGEST_DELAY)).await;
                }
                Effect::Hang(hang) => {
                    strike.story.push("fault: no answer".to_owned());
                    if hang {
                        tokio::time::sleep(LONGEST_DELAY).await;
                    }
                    strike.reset |= hang;
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
        Facts::from([("path", path.to_owned().into())])
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
            r#"{"delay_milliseconds":250}"#,
            r#"{"hang":true}"#,
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
    fn the_first_requests_may_be_spared() {
        let faults = Faults::default();
        faults
            .plant(fault(r#"{"skip":2,"times":1,"effect":{"reset":true}}"#))
            .unwrap();
        let struck: Vec<bool> = (0..4).map(|_| !faults.take(&facts("/")).is_empty()).collect();
        assert_eq!(struck, [false, false, true, false]);
    }

    #[test]
    fn a_share_is_struck_and_always_the_same_one() {
        let struck = |seed: &str| -> Vec<bool> {
            let faults = Faults::new(Seed::new(seed), Clock::system());
            faults
                .plant(fault(r#"{"percent":30,"effect":{"reset":true}}"#))
                .unwrap();
            (0..1000).map(|_| !faults.take(&facts("/")).is_empty()).collect()
        };
        let count = struck("a").iter().filter(|struck| **struck).count();
        assert!((250..350).contains(&count), "{count}");
        assert_eq!(struck("a"), struck("a"));
        assert_ne!(struck("a"), struck("b"));
    }

    #[test]
    fn a_fault_may_have_its_time() {
        let clock = Clock::frozen("2026-01-02T03:00:00Z".parse().unwrap());
        let faults = Faults::new(Seed::default(), clock.clone());
        faults
            .plant(fault(
                r#"{"from":"2026-01-02T03:00:10Z","until":"2026-01-02T03:00:20Z","effect":{"reset":true}}"#,
            ))
            .unwrap();
        let mut struck = Vec::new();
        for _ in 0..4 {
            struck.push(!faults.take(&facts("/")).is_empty());
            clock.advance(7);
        }
        assert_eq!(struck, [false, false, true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_may_be_late_or_never_come() {
        let faults = Faults::default();
        let start = tokio::time::Instant::now();
        faults
            .plant(fault(r#"{"times":1,"effect":{"delay_milliseconds":1500}}"#))
            .unwrap();
        let strike = faults.strike(&Holds::default(), &facts("/")).await;
        assert_eq!((strike.reset, start.elapsed()), (false, Duration::from_millis(1500)));
        faults.plant(fault(r#"{"effect":{"hang":true}}"#)).unwrap();
        let strike = faults.strike(&Holds::default(), &facts("/")).await;
        assert!(strike.reset && start.elapsed() >= LONGEST_DELAY);
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        for (json, said) in [
            (
                r#"{"match":{"pth":"x"},"effect":{"reset":true}}"#,
                "no fact is called \"pth\"; there are: path",
            ),
            (
                r#"{"effect":{"error":{"status":99}}}"#,
                "status 99 is not between 200 and 599",
            ),
            (
                r#"{"percent":0,"effect":{"reset":true}}"#,
                "percent is 0; give a whole number from 1 to 100",
            ),
            (
                r#"{"effect":{"delay_milliseconds":600001}}"#,
                "no answer is delayed longer than 600 s",
            ),
            (
                r#"{"from":"2026-01-02T03:00:10Z","until":"2026-01-02T03:00:10Z","effect":{"reset":true}}"#,
                "until is not later than from",
            ),
        ] {
            assert_eq!(fault(json).check(&["path"]).unwrap_err().to_string(), said);
        }
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
