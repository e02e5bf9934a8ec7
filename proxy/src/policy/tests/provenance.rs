//! What shows that the runner made the container, for a job that still runs.

use std::time::{Duration, SystemTime};

use super::{DEPLOY, check};
use crate::fixture::{RULE, config, facts, label, labels};
use crate::policy::{Decision, Policy, Reason, decide};

#[test]
fn img_02_labels_that_the_image_has_as_well_show_nothing() {
    // Somebody other than the runner started an image that carries a whole set of labels.
    let refused = check(RULE, |facts| facts.image_labels = labels());
    assert_eq!(refused, Err(Reason::LabelFromImage("managed")));
    for key in labels().into_keys() {
        let refused = check(RULE, |facts| {
            let value = facts.labels.get(&key).cloned().unwrap();
            facts.image_labels.insert(key.clone(), value);
        });
        assert!(
            matches!(refused, Err(Reason::LabelFromImage(name)) if key.ends_with(name)),
            "{key}"
        );
    }
}

#[test]
fn img_02_labels_of_the_image_that_the_runner_overrode_do_no_harm() {
    let same = check(RULE, |facts| {
        facts
            .image_labels
            .insert("com.gitlab.gitlab-runner.project.id".into(), "21".into());
        facts.image_labels.insert("maintainer".into(), "somebody".into());
        facts.labels.insert("maintainer".into(), "somebody".into());
    });
    assert_eq!(same.as_deref(), Ok(DEPLOY));
}

fn until(started_at: &str, timeout: &str) -> Result<Duration, Reason> {
    let mut facts = facts();
    facts.run.started_at = started_at.into();
    label(&mut facts, "job.timeout", timeout);
    match decide(&Policy::new(&config(RULE)), &facts) {
        Decision::Grant(grant) => Ok(grant.until.unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap()),
        Decision::Deny(reason) => Err(reason),
    }
}

#[test]
fn a_grant_ends_ten_minutes_after_the_jobs_timeout() {
    for (timeout, seconds) in [
        ("1h0m0s", 3600),
        ("59m59s", 3599),
        ("1h0m0.5s", 3601),
        ("720h0m0s", 2_592_000),
        ("0s", 0),
    ] {
        let expected = Duration::from_secs(1_000_000_000 + seconds + 600);
        assert_eq!(until("2001-09-09T01:46:40Z", timeout), Ok(expected), "{timeout}");
    }
}

#[test]
fn the_operator_may_shorten_the_grace() {
    let strict = config(&format!("[attestation]\ngrace_seconds = 0\n{RULE}"));
    let Decision::Grant(grant) = decide(&Policy::new(&strict), &facts()) else {
        panic!("refused")
    };
    let Decision::Grant(usual) = decide(&Policy::new(&config(RULE)), &facts()) else {
        panic!("refused")
    };
    assert_eq!(usual.until.unwrap(), grant.until.unwrap() + Duration::from_mins(10));
}

#[test]
fn a_container_of_which_nobody_knows_the_start_gets_nothing() {
    for started_at in ["", "0", "yesterday", "2026-13-01T00:00:00Z", "2026-11-21T10:00:00"] {
        assert_eq!(until(started_at, "1h0m0s"), Err(Reason::StartUnknown), "{started_at}");
    }
}

#[test]
fn a_timeout_that_go_would_not_print_is_no_timeout() {
    for timeout in [
        "",
        "s",
        "1h",
        "1m1h0s",
        "-1s",
        "1.s",
        ".5s",
        "1h0.5m0s",
        "9999999999s",
        "1h 0s",
        "١s",
    ] {
        assert_eq!(
            until("2001-09-09T01:46:40Z", timeout),
            Err(Reason::LabelMalformed("job.timeout")),
            "{timeout}"
        );
    }
}
