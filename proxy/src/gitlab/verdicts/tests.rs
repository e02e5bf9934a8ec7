//! How often GitLab is asked, and what of its word is kept for how long.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::advance;

use super::{REFUSED, RUNS_MAX, TROUBLE, Verdict, Verdicts};
use crate::caller::{Facts, Run};
use crate::config::Verification;
use crate::fixture::facts;
use crate::fixture::gitlab::{Counted, ScriptedGitlab, server, with_token};
use crate::gitlab::{Question, Unverified};
use crate::policy::{Edition, Policy, read_labels};

struct World {
    gitlab: Arc<ScriptedGitlab>,
    counted: Arc<Counted>,
    verdicts: Verdicts,
}

fn world() -> World {
    let (gitlab, counted) = (ScriptedGitlab::new(), Arc::new(Counted::default()));
    let verdicts = Verdicts::new(
        &[server("https://gitlab.example.com")],
        Arc::clone(&gitlab),
        Arc::<Counted>::clone(&counted),
    );
    World {
        gitlab,
        counted,
        verdicts,
    }
}

fn question(edition: Edition) -> Question {
    let facts: Facts = with_token(facts());
    let job = read_labels(&facts.labels, &facts.image_labels).unwrap();
    Question::new(&facts, &job, edition, &Verification::default()).unwrap()
}

fn run(number: usize) -> Run {
    Run {
        container_id: format!("{number:064x}"),
        ..facts().run
    }
}

/// Two rules that are not the same.
fn editions() -> [Edition; 2] {
    let rules = format!(
        "{0}{1}",
        crate::fixture::RULE,
        crate::fixture::RULE
            .replace("20", "21")
            .replace("\"deploy\"\nr", "\"two\"\nr")
    );
    let policy = Policy::new(&crate::fixture::config(&rules));
    let editions: Vec<Edition> = policy.editions().collect();
    editions.try_into().unwrap()
}

impl World {
    async fn ask(&self, number: usize) -> Verdict {
        self.verdicts.ask(&run(number), question(Edition::FIRST)).await
    }

    fn known(&self, number: usize) -> Option<Verdict> {
        self.verdicts.known(&run(number), Edition::FIRST)
    }
}

#[tokio::test(start_paused = true)]
async fn a_yes_counts_from_when_it_was_asked_for_and_no_longer() {
    let world = world();
    assert_eq!((world.known(0), world.gitlab.calls()), (None, 0));
    assert_eq!(world.ask(0).await, Ok(()));
    assert_eq!(world.known(0), Some(Ok(())));
    advance(Duration::from_secs(59)).await;
    assert_eq!((world.known(0), world.ask(0).await), (Some(Ok(())), Ok(())));
    assert_eq!(world.gitlab.calls(), 1);
    // The answer took 50 ms, and came less than a minute ago.
    advance(Duration::from_millis(970)).await;
    assert_eq!(world.known(0), None);
    world.gitlab.say(Err(Unverified::Unreachable));
    assert_eq!(
        world.ask(0).await,
        Err(Unverified::Unreachable),
        "what has lapsed is worth nothing"
    );
    assert_eq!(world.gitlab.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_no_and_the_want_of_an_answer_are_remembered_so_that_no_job_sets_the_pace() {
    for (why, pause) in [
        (Unverified::TokenRefused, REFUSED),
        (Unverified::Differs("job"), REFUSED),
        (Unverified::Unreachable, TROUBLE),
        (Unverified::Broken, TROUBLE),
    ] {
        let world = world();
        world.gitlab.say(Err(why));
        for _ in 0..1000 {
            assert_eq!(world.ask(0).await, Err(why));
        }
        assert_eq!(world.gitlab.calls(), 1, "{why}");
        advance(pause).await;
        world.gitlab.say(Ok(()));
        assert_eq!((world.ask(0).await, world.gitlab.calls()), (Ok(()), 2), "{why}");
    }
}

#[tokio::test(start_paused = true)]
async fn however_many_wait_for_it_one_question_is_put() {
    let world = world();
    let waiting: Vec<_> = (0..500)
        .map(|_| {
            let verdicts = world.verdicts.clone();
            tokio::spawn(async move { verdicts.ask(&run(0), question(Edition::FIRST)).await })
        })
        .collect();
    for one in waiting {
        assert_eq!(one.await.unwrap(), Ok(()));
    }
    assert_eq!(world.gitlab.calls(), 1);
    assert_eq!(world.ask(1).await, Ok(()), "another container is another question");
    assert_eq!(world.gitlab.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_keeps_nobody_waiting() {
    let world = world();
    *world.gitlab.delay.lock().unwrap() = None;
    let began = tokio::time::Instant::now();
    assert_eq!(world.ask(0).await, Err(Unverified::TimedOut));
    assert_eq!(began.elapsed(), Duration::from_secs(2));
    assert_eq!(
        (world.ask(0).await, world.gitlab.calls()),
        (Err(Unverified::TimedOut), 1)
    );
    assert_eq!(*world.counted.0.lock().unwrap(), [(Err(Unverified::TimedOut), true)]);
}

#[tokio::test(start_paused = true)]
async fn who_goes_away_leaves_the_question_to_the_others() {
    let world = world();
    let verdicts = world.verdicts.clone();
    let impatient = tokio::spawn(async move { verdicts.ask(&run(0), question(Edition::FIRST)).await });
    tokio::task::yield_now().await;
    impatient.abort();
    assert_eq!(world.ask(0).await, Ok(()));
    assert_eq!(world.gitlab.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn all_containers_together_keep_to_the_rate() {
    let world = world();
    let mut limited = 0;
    for number in 0..200 {
        match world.verdicts.look(&run(number), question(Edition::FIRST)) {
            super::Look::Known(Err(Unverified::Limited)) => limited += 1,
            super::Look::Known(other) => panic!("{other:?}"),
            super::Look::Wait(_) => {}
        }
    }
    // Ten seconds' worth of ten a second at once, and those of the next second, who wait.
    assert_eq!(limited, 90);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let counted = world.counted.0.lock().unwrap();
    let put = counted.iter().filter(|(_, is_put)| *is_put).count();
    assert_eq!((put, counted.len()), (110, 200));
}

#[tokio::test(start_paused = true)]
async fn the_number_of_containers_is_bounded_and_who_waits_is_not_forgotten() {
    let world = world();
    *world.gitlab.delay.lock().unwrap() = None;
    let waiting = world.verdicts.clone();
    let waiting = tokio::spawn(async move { waiting.ask(&run(0), question(Edition::FIRST)).await });
    tokio::task::yield_now().await;
    for number in 1..RUNS_MAX + 100 {
        drop(world.verdicts.look(&run(number), question(Edition::FIRST)));
    }
    assert!(world.verdicts.slots().by_run.len() <= RUNS_MAX);
    assert_eq!(waiting.await.unwrap(), Err(Unverified::TimedOut));
    assert!(world.verdicts.slots().by_run.contains_key(&run(0)));
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_rules_verdicts_are_gone_at_once_also_those_under_way() {
    let [kept, withdrawn] = editions();
    let world = world();
    for (number, edition) in [(0, kept), (1, withdrawn)] {
        assert_eq!(world.verdicts.ask(&run(number), question(edition)).await, Ok(()));
    }
    let under_way = world.verdicts.clone();
    let under_way = tokio::spawn(async move { under_way.ask(&run(2), question(withdrawn)).await });
    tokio::task::yield_now().await;
    world.verdicts.keep_only([kept].into_iter());
    assert_eq!(world.verdicts.known(&run(0), kept), Some(Ok(())));
    assert_eq!(world.verdicts.known(&run(1), withdrawn), None);
    assert_eq!(
        under_way.await.unwrap(),
        Ok(()),
        "whoever waited hears it, and is judged anew"
    );
    assert_eq!(world.verdicts.known(&run(2), withdrawn), None);
    let refused = world.verdicts.ask(&run(1), question(withdrawn)).await;
    assert_eq!((refused, world.gitlab.calls()), (Err(Unverified::Withdrawn), 3));
    // What was said for one rule says nothing for another.
    assert_eq!(world.verdicts.known(&run(0), withdrawn), None);
}

#[tokio::test(start_paused = true)]
async fn another_run_of_a_container_is_asked_about_anew() {
    let world = world();
    assert_eq!(world.ask(0).await, Ok(()));
    let restarted = Run {
        started_at: "2027-01-15T08:01:00Z".to_owned(),
        ..run(0)
    };
    assert_eq!(world.verdicts.known(&restarted, Edition::FIRST), None);
}

#[test]
fn the_token_is_in_no_words() {
    let question = question(Edition::FIRST);
    assert!(!format!("{question:?}").contains("canary"));
    assert!(!format!("{:?}", with_token(facts())).contains("canary"));
}
