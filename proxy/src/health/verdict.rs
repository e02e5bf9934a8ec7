//! Judges whether the proxy can do its work: a pure function of what its parts have published.

use std::fmt;
use std::time::Duration;

use crate::credentials::Failure;

/// The rules are compared with the plan every 5 s, and a look may take 10 s: what was seen longer ago is not known any more.
pub const VERIFIED_FOR: Duration = Duration::from_secs(20);
/// A self-test on a host that is busy may take minutes; one that has not come to an end by then does not come to one.
const PROVEN_LATE: Duration = Duration::from_mins(10);
/// One lost call is nothing; that many in a row are a state.
const FAILURES: u32 = 3;
/// Calls are made when jobs ask, so that failures grow old: after that long without another, nothing is known.
const REMEMBERED: Duration = Duration::from_mins(5);

/// What the proxy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It answers nobody yet.
    Starting,
    /// It answers.
    Serving,
    /// It lets connections end.
    Stopping,
}

/// What is known of the firewall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rules {
    /// Somebody else looks after it (`firewall.manage = false`).
    Unmanaged,
    /// Nobody has looked yet.
    Unknown,
    /// The rules were compared with the plan.
    Verified {
        /// How long ago.
        ago: Duration,
        /// Whether each of them was there.
        is_in_place: bool,
    },
}

/// The proof that callers can be told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SelfTest {
    /// It was not made yet. One that fails before anybody is served ends the proxy.
    Pending,
    /// Callers were told apart.
    Passed {
        /// How long ago.
        ago: Duration,
        /// How often it is made; None: only when the proxy starts.
        every: Option<Duration>,
    },
    /// They were not, while the proxy serves.
    Failed {
        /// How long ago.
        ago: Duration,
        /// Why.
        why: String,
    },
    /// Left out (`attestation.self_test = false`).
    Skipped,
}

/// What is known of STS, and of the credentials that its requests are signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sts {
    /// Calls in a row that found no STS.
    pub failures: u32,
    /// How the last of them failed, and how long ago.
    pub last: Option<(Failure, Duration)>,
}

/// All that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What the proxy does.
    pub phase: Phase,
    /// Whether the engine's events are followed now; None: not connected yet.
    pub is_engine_followed: Option<bool>,
    /// The firewall.
    pub firewall: Rules,
    /// The self-test.
    pub self_test: SelfTest,
    /// What the rules refuse is not refused (`compat.mode = "observe"`).
    pub is_observing: bool,
    /// STS.
    pub sts: Sts,
}

/// One part, and whether it does its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Which part.
    pub name: &'static str,
    /// Whether it does.
    pub is_good: bool,
    /// What was seen.
    pub words: String,
}

/// Every part, and whether it does its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// One for each part.
    pub checks: Vec<Check>,
    /// Whether the engine's events are followed.
    pub is_engine_followed: bool,
    /// Whether every rule is in place; None if that is not this proxy's to say.
    pub is_firewall_in_place: Option<bool>,
    /// Whether what the rules refuse is refused.
    pub is_enforced: bool,
}

impl Verdict {
    /// Whether a job that asks now is answered as the operator wants it.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.checks.iter().all(|check| check.is_good)
    }
}

impl fmt::Display for Verdict {
    /// One line for each part.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Check { name, is_good, words } in &self.checks {
            let word = if *is_good { "ok" } else { "failed" };
            writeln!(f, "{word} {name}: {words}")?;
        }
        Ok(())
    }
}

/// Judges what is known.
#[must_use]
pub fn judge(seen: &Seen) -> Verdict {
    let firewall = judge_firewall(seen.firewall);
    let is_firewall_in_place = match seen.firewall {
        Rules::Unmanaged => None,
        Rules::Unknown | Rules::Verified { .. } => Some(firewall.is_good),
    };
    Verdict {
        checks: vec![
            judge_phase(seen.phase),
            judge_engine(seen.is_engine_followed),
            firewall,
            judge_self_test(&seen.self_test),
            judge_sts(seen.sts),
            judge_enforcement(seen.is_observing),
        ],
        is_engine_followed: seen.is_engine_followed == Some(true),
        is_firewall_in_place,
        is_enforced: !seen.is_observing,
    }
}

fn check(name: &'static str, is_good: bool, words: impl Into<String>) -> Check {
    Check {
        name,
        is_good,
        words: words.into(),
    }
}

fn judge_phase(phase: Phase) -> Check {
    match phase {
        Phase::Starting => check("serving", false, "it starts, and answers nobody yet"),
        Phase::Serving => check("serving", true, "it answers"),
        Phase::Stopping => check("serving", false, "it stops, and takes no new connection"),
    }
}

fn judge_engine(is_followed: Option<bool>) -> Check {
    match is_followed {
        None => check("engine", false, "not connected yet"),
        Some(false) => check(
            "engine",
            false,
            "its events are not followed: nobody is attested until they are",
        ),
        Some(true) => check("engine", true, "its events are followed"),
    }
}

fn judge_firewall(rules: Rules) -> Check {
    match rules {
        Rules::Unmanaged => check("firewall", true, "not looked after here (firewall.manage = false)"),
        Rules::Unknown => check("firewall", false, "not verified yet"),
        Rules::Verified { ago, .. } if ago > VERIFIED_FOR => {
            let words = format!("not verified for {} s: the log says why", ago.as_secs());
            check("firewall", false, words)
        }
        Rules::Verified { is_in_place: false, .. } => check(
            "firewall",
            false,
            "the last look found rules missing; they are being repaired",
        ),
        Rules::Verified { ago, .. } => check("firewall", true, format!("in place {} s ago", ago.as_secs())),
    }
}

fn judge_self_test(self_test: &SelfTest) -> Check {
    let name = "self-test";
    match self_test {
        SelfTest::Pending => check(name, false, "not made yet"),
        SelfTest::Passed { every: None, .. } => check(name, true, "passed when the proxy started"),
        SelfTest::Passed {
            ago,
            every: Some(every),
        } => {
            let words = format!("passed {} s ago", ago.as_secs());
            if *ago <= every.saturating_add(PROVEN_LATE) {
                check(name, true, words)
            } else {
                let words = format!(
                    "{words}, and not made again since: it should be every {} s",
                    every.as_secs()
                );
                check(name, false, words)
            }
        }
        SelfTest::Failed { ago, why } => check(name, false, format!("failed {} s ago: {why}", ago.as_secs())),
        SelfTest::Skipped => check("self-test", true, "left out (attestation.self_test = false)"),
    }
}

/// Observing is what the operator wants for a while, and no reason to take the proxy away from jobs: it is said, and it is an alarm's to see.
fn judge_enforcement(is_observing: bool) -> Check {
    if is_observing {
        let words = "NOTHING IS ENFORCED: what the rules refuse is observed (compat.mode = \"observe\")";
        check("enforcement", true, words)
    } else {
        check("enforcement", true, "what the rules refuse is refused")
    }
}

fn judge_sts(sts: Sts) -> Check {
    match sts.last {
        Some((failure, ago)) if sts.failures >= FAILURES && ago <= REMEMBERED => {
            let words = format!(
                "the last {} calls failed, the last one {} s ago: {failure}",
                sts.failures,
                ago.as_secs()
            );
            check("sts", false, words)
        }
        Some(_) | None => check("sts", true, "not known to be broken"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_has_a_line() {
        let seen = Seen {
            phase: Phase::Serving,
            is_engine_followed: Some(true),
            firewall: Rules::Verified {
                ago: Duration::from_secs(3),
                is_in_place: true,
            },
            self_test: SelfTest::Passed {
                ago: Duration::from_secs(9),
                every: None,
            },
            is_observing: false,
            sts: Sts {
                failures: 0,
                last: None,
            },
        };
        let verdict = judge(&seen);
        assert!(verdict.is_ready() && verdict.is_engine_followed && verdict.is_enforced);
        assert_eq!(verdict.is_firewall_in_place, Some(true));
        insta::assert_snapshot!(verdict, @r###"
        ok serving: it answers
        ok engine: its events are followed
        ok firewall: in place 3 s ago
        ok self-test: passed when the proxy started
        ok sts: not known to be broken
        ok enforcement: what the rules refuse is refused
        "###);
        let seen = Seen {
            phase: Phase::Starting,
            is_engine_followed: Some(false),
            firewall: Rules::Verified {
                ago: Duration::from_secs(25),
                is_in_place: true,
            },
            self_test: SelfTest::Pending,
            is_observing: true,
            sts: Sts {
                failures: 4,
                last: Some((Failure::TimedOut, Duration::from_secs(2))),
            },
        };
        let verdict = judge(&seen);
        assert!(!verdict.is_ready() && !verdict.is_engine_followed && !verdict.is_enforced);
        assert_eq!(verdict.is_firewall_in_place, Some(false));
        insta::assert_snapshot!(verdict, @r###"
        failed serving: it starts, and answers nobody yet
        failed engine: its events are not followed: nobody is attested until they are
        failed firewall: not verified for 25 s: the log says why
        failed self-test: not made yet
        failed sts: the last 4 calls failed, the last one 2 s ago: sts-timed-out
        ok enforcement: NOTHING IS ENFORCED: what the rules refuse is observed (compat.mode = "observe")
        "###);
    }

    #[test]
    fn a_self_test_is_told_with_its_age_and_one_that_fails_or_is_missing_is_a_fault() {
        let passed = |ago, every| SelfTest::Passed {
            ago: Duration::from_secs(ago),
            every: Some(Duration::from_secs(every)),
        };
        let why = "the redirect is missing".to_owned();
        let ago = Duration::from_secs(7);
        let checks = [
            judge_self_test(&passed(12, 3600)),
            judge_self_test(&passed(4200, 3600)),
            judge_self_test(&passed(4201, 3600)),
            judge_self_test(&SelfTest::Failed { ago, why }),
        ];
        assert_eq!(checks.clone().map(|check| check.is_good), [true, true, false, false]);
        let words: Vec<String> = checks.into_iter().map(|check| check.words).collect();
        insta::assert_snapshot!(words.join("\n"), @r###"
        passed 12 s ago
        passed 4200 s ago
        passed 4201 s ago, and not made again since: it should be every 3600 s
        failed 7 s ago: the redirect is missing
        "###);
    }

    #[test]
    fn what_the_operator_left_to_others_is_no_fault_and_no_alarm() {
        let verdict = judge(&Seen {
            phase: Phase::Serving,
            is_engine_followed: Some(true),
            firewall: Rules::Unmanaged,
            self_test: SelfTest::Skipped,
            is_observing: false,
            sts: Sts {
                failures: 0,
                last: None,
            },
        });
        assert!(verdict.is_ready());
        assert_eq!(verdict.is_firewall_in_place, None);
    }
}
