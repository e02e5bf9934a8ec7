//! Rates and breakers, step by step and under arbitrary histories.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::{
    LONGEST_PAUSE, OVERALL_FAILURES, QUEUE, ROLE_FAILURES, ROLES_MAX, Rates, Restraint, Scope, TRY, Turn, pause,
};
use crate::config::{Account, Home, Partition, Role};
use crate::credentials::Failure;

const RATES: Rates = Rates { overall: 10, role: 2 };

fn role(name: &str) -> Role {
    let home = Home {
        partition: Partition::default(),
        account: Account::parse("123456789012").unwrap(),
        others: BTreeSet::new(),
    };
    Role::parse(name, &home).unwrap()
}

fn start() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn millis(number: u64) -> Duration {
    Duration::from_millis(number)
}

#[test]
fn a_role_has_its_burst_then_its_rate_and_the_others_have_theirs() {
    let (mut restraint, now) = (Restraint::new(RATES), start());
    for _ in 0..20 {
        assert_eq!(restraint.admit(&role("a"), now), Ok(Duration::ZERO));
    }
    // Two a second: the next ones wait half a second each, and none longer than two.
    for wait in [500, 1000, 1500, 2000] {
        assert_eq!(restraint.admit(&role("a"), now), Ok(millis(wait)));
    }
    assert_eq!(restraint.admit(&role("a"), now), Err(Failure::Limited));
    assert_eq!(restraint.admit(&role("b"), now), Ok(Duration::ZERO));
    // What was refused has cost nothing.
    assert_eq!(restraint.admit(&role("a"), now + millis(500)), Ok(QUEUE));
    assert_eq!(
        restraint.admit(&role("a"), now + Duration::from_mins(1)),
        Ok(Duration::ZERO)
    );
}

#[test]
fn all_roles_together_have_a_rate_too() {
    let (mut restraint, now) = (Restraint::new(RATES), start());
    for number in 0..100 {
        assert_eq!(restraint.admit(&role(&format!("r{number}")), now), Ok(Duration::ZERO));
    }
    assert_eq!(restraint.admit(&role("another"), now), Ok(millis(100)));
}

#[test]
fn a_role_that_keeps_failing_is_tried_one_call_at_a_time_and_ever_less_often() {
    let (mut restraint, mut now) = (Restraint::new(RATES), start());
    let a = role("a");
    for number in 1..=ROLE_FAILURES {
        assert_eq!(restraint.admit(&a, now), Ok(Duration::ZERO));
        let turns = restraint.learn(&a, Err(Failure::Broken), now, 0.0);
        let opens = number == ROLE_FAILURES;
        assert_eq!(
            turns,
            if opens {
                vec![Turn::Suspended(Scope::Role)]
            } else {
                vec![]
            }
        );
    }
    for pause in [1, 2, 4, 8, 16, 30, 30] {
        assert_eq!(restraint.admit(&a, now), Err(Failure::Suspended));
        assert_eq!(
            restraint.admit(&role("b"), now),
            Ok(Duration::ZERO),
            "others are asked for"
        );
        assert_eq!(restraint.learn(&role("b"), Ok(()), now, 0.0), []);
        now += Duration::from_secs(pause) - millis(1);
        assert_eq!(restraint.admit(&a, now), Err(Failure::Suspended));
        now += millis(1);
        assert_eq!(restraint.admit(&a, now), Ok(Duration::ZERO));
        assert_eq!(restraint.admit(&a, now), Err(Failure::Suspended), "one at a time");
        assert_eq!(restraint.learn(&a, Err(Failure::TimedOut), now, 0.0), []);
    }
    now += LONGEST_PAUSE;
    assert_eq!(restraint.admit(&a, now), Ok(Duration::ZERO));
    assert_eq!(restraint.learn(&a, Ok(()), now, 0.0), [Turn::Resumed(Scope::Role)]);
    assert_eq!(restraint.admit(&a, now), Ok(Duration::ZERO));
}

#[test]
fn when_every_role_fails_sts_is_left_alone() {
    let (mut restraint, now) = (Restraint::new(RATES), start());
    let mut turns = Vec::new();
    for number in 0..OVERALL_FAILURES {
        let role = role(&format!("r{number}"));
        assert_eq!(restraint.admit(&role, now), Ok(Duration::ZERO));
        turns.extend(restraint.learn(&role, Err(Failure::Unreachable), now, 0.0));
    }
    assert_eq!(turns, [Turn::Suspended(Scope::Overall)]);
    assert!(restraint.is_suspended());
    assert_eq!(restraint.admit(&role("new"), now), Err(Failure::Suspended));
    assert_eq!(restraint.admit_spare(&role("new"), now), Err(Failure::Suspended));
    let later = now + Duration::from_secs(1);
    assert_eq!(restraint.admit(&role("new"), later), Ok(Duration::ZERO));
    assert_eq!(restraint.admit(&role("other"), later), Err(Failure::Suspended));
    assert_eq!(
        restraint.learn(&role("new"), Ok(()), later, 0.0),
        [Turn::Resumed(Scope::Overall)]
    );
    assert!(!restraint.is_suspended());
}

#[test]
fn answers_of_sts_are_no_trouble_however_many_they_are() {
    let (mut restraint, now) = (Restraint::new(RATES), start());
    for failure in [Failure::Denied, Failure::Rejected, Failure::WrongAnswer].repeat(20) {
        assert_eq!(restraint.learn(&role("a"), Err(failure), now, 0.0), []);
    }
    assert_eq!(restraint.admit(&role("a"), now), Ok(Duration::ZERO));
}

#[test]
fn a_try_whose_end_is_lost_is_not_waited_for_for_ever() {
    let (mut restraint, now) = (Restraint::new(RATES), start());
    let a = role("a");
    for _ in 0..ROLE_FAILURES {
        assert_eq!(restraint.admit(&a, now), Ok(Duration::ZERO));
        restraint.learn(&a, Err(Failure::Broken), now, 1.0);
    }
    let later = now + Duration::from_secs(2);
    assert_eq!(restraint.admit(&a, later), Ok(Duration::ZERO));
    assert_eq!(restraint.admit(&a, later + TRY - millis(1)), Err(Failure::Suspended));
    assert_eq!(restraint.admit(&a, later + TRY), Ok(Duration::ZERO));
}

#[test]
fn spare_calls_leave_half_of_the_rate_to_those_who_wait() {
    let (mut restraint, now) = (Restraint::new(RATES), start());
    let admitted = (0..100)
        .filter(|_| restraint.admit_spare(&role("a"), now).is_ok())
        .count();
    assert_eq!(admitted, 10);
    assert_eq!(restraint.admit(&role("a"), now), Ok(Duration::ZERO));
}

#[test]
fn roles_are_forgotten_before_they_are_too_many() {
    let (mut restraint, mut now) = (Restraint::new(RATES), start());
    for number in 0..3 * ROLES_MAX {
        now += Duration::from_secs(1);
        assert_eq!(restraint.admit(&role(&format!("r{number}")), now), Ok(Duration::ZERO));
        assert!(restraint.roles.len() <= ROLES_MAX);
    }
}

#[test]
fn what_sts_will_not_change_soon_is_asked_for_less_often() {
    assert_eq!(pause(Failure::Denied, 1.0), Duration::from_secs(5));
    assert_eq!(pause(Failure::Throttled, 0.0), Duration::from_secs(4));
    assert_eq!(pause(Failure::Throttled, 1.0), Duration::from_secs(8));
    assert_eq!(pause(Failure::Unreachable, 0.0), Duration::from_secs(1));
}

proptest! {
    #[test]
    fn no_history_exceeds_the_rates_or_shuts_the_door_for_ever(
        steps in proptest::collection::vec((0_usize..3, 0_u64..400, 0_u8..4, any::<bool>()), 1..300)
    ) {
        let (mut restraint, first) = (Restraint::new(RATES), start());
        let roles = ["a", "b", "c"].map(role);
        let mut now = first;
        let mut calls: Vec<(usize, Instant)> = Vec::new();
        for (which, step, end, spare) in steps {
            now += millis(step);
            let admitted = if spare { restraint.admit_spare(&roles[which], now) } else { restraint.admit(&roles[which], now) };
            if let Ok(wait) = admitted {
                prop_assert!(wait <= QUEUE);
                calls.push((which, now + wait));
                let end = [Ok(()), Err(Failure::Denied), Err(Failure::Broken), Err(Failure::Throttled)][usize::from(end)];
                restraint.learn(&roles[which], end, now, 0.5);
            }
        }
        for (index, role) in roles.iter().enumerate() {
            let own: Vec<Instant> = calls.iter().filter(|(which, _)| *which == index).map(|(_, at)| *at).collect();
            for (count, at) in own.iter().enumerate() {
                // Ten seconds' worth at once, and two a second from the first call on.
                let most = 20.0 + 2.0 * at.saturating_duration_since(own[0]).as_secs_f64() + 1e-6;
                prop_assert!(f64::from(u32::try_from(count).unwrap()) < most);
            }
            // However it went: in two minutes all are asked for again.
            let later = now + Duration::from_mins(2);
            prop_assert!(restraint.admit(role, later).is_ok());
            restraint.learn(role, Ok(()), later, 0.5);
        }
    }
}
