//! Runs cases against what stands in the defence's place: builds the stages, plays the cases on them, asks the run-wide oracles at the end, and folds
//! everything into a report. A late packet counts: ledgers and captures are read when the last scenario of a stage has ended.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::case::model::{Action, Case, Defence, Question};
use crate::cast::{Cast, world_role};
use crate::oracle::ledger::{Allowed, Sources, strays};
use crate::play::{Played, Watched, play};
use crate::report::progress::Progress;
use crate::report::{Finding, RunReport, ScenarioReport};
use crate::sharing::{Party, Turns, parties};
use crate::stage::{Stage, Standing, Workshop};
use crate::verdict::Verdict;

/// Version of `report.json`.
const FORMAT: u32 = 1;
/// Stages that are up at the same time: each has an engine, two fakes and a proxy.
const STAGES_AT_ONCE: usize = 3;

/// Scenarios at the same time for each processor: most of a scenario is waiting for an engine, a timeout or an answer.
const JOBS_PER_PROCESSOR: usize = 4;

/// How to run.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Scenarios at the same time, over all stages.
    pub jobs: usize,
    /// Documented leaks are part of what is expected.
    pub matrix: bool,
}

impl Pace {
    /// As many scenarios at once as this machine bears, unless the number is given.
    pub fn new(processors: usize, jobs: Option<usize>, matrix: bool) -> Self {
        Self {
            jobs: jobs.unwrap_or(processors * JOBS_PER_PROCESSOR),
            matrix,
        }
    }
}

/// A case and what it is run against.
pub type Item<'a> = (&'a Case, Standing);

/// Runs all items. The report holds them in the order given.
pub async fn run(workshop: &Workshop, items: &[Item<'_>], pace: Pace, progress: &Progress) -> RunReport {
    let begun = Instant::now();
    let started = format!("{:.0}", workshop.ambient.now());
    let places = Semaphore::new(pace.jobs.max(1));
    let outcomes: Vec<Outcome> = futures_util::stream::iter(parties(items))
        .map(|party| on_stages(workshop, party, &places, progress))
        .buffer_unordered(STAGES_AT_ONCE)
        .collect()
        .await;
    let mut findings = Vec::new();
    let mut reports: BTreeMap<(String, String), ScenarioReport> = BTreeMap::new();
    let mut containers = 0;
    for outcome in outcomes {
        findings.extend(outcome.unattributed);
        containers += outcome.containers;
        reports.extend(
            outcome
                .scenarios
                .into_iter()
                .map(|report| ((report.id.clone(), report.defence.clone()), report)),
        );
    }
    let scenarios = items
        .iter()
        .filter_map(|(case, standing)| reports.remove(&(case.id.clone(), standing.label())))
        .collect();
    progress.end();
    RunReport {
        format: FORMAT,
        started,
        seed: workshop.seed.clone(),
        matrix: pace.matrix,
        proxy: workshop.external.clone(),
        not_run: Vec::new(),
        scenarios,
        findings,
        seconds: begun.elapsed().as_secs_f64(),
        containers,
    }
}

/// What a stage brought.
#[derive(Debug, Default)]
struct Outcome {
    scenarios: Vec<ScenarioReport>,
    /// Findings that no scenario could be named for.
    unattributed: Vec<Finding>,
    containers: usize,
}

/// Plays a party to its end. Where scenarios take turns, one that did not end well may have left the instance in any state: the next ones get another.
async fn on_stages(workshop: &Workshop, party: Party<'_>, places: &Semaphore, progress: &Progress) -> Outcome {
    let mut total = Outcome::default();
    let mut rest = party.cases.as_slice();
    while !rest.is_empty() {
        let outcome = on_stage(workshop, &party, rest, places, progress).await;
        rest = rest.get(outcome.scenarios.len().max(1)..).unwrap_or_default();
        total.scenarios.extend(outcome.scenarios);
        total.unattributed.extend(outcome.unattributed);
        total.containers += outcome.containers;
    }
    total
}

/// Plays cases of a party, from the first on, as many as one instance can take. The outcome has a report for each that was played.
async fn on_stage(
    workshop: &Workshop,
    party: &Party<'_>,
    cases: &[&Case],
    places: &Semaphore,
    progress: &Progress,
) -> Outcome {
    let standing = &party.standing;
    let built = Stage::build(workshop, standing.clone(), cases).await;
    let stage = match built {
        Ok(stage) => stage,
        Err(error) => {
            let finding = Finding {
                oracle: "lab".to_owned(),
                verdict: Verdict::Void,
                what: error.to_string(),
            };
            let void: Vec<_> = cases
                .iter()
                .map(|case| report_of(case, standing, &Played::default(), vec![finding.clone()]))
                .collect();
            void.iter().for_each(|report| progress.finished(report));
            return Outcome {
                scenarios: void,
                ..Outcome::default()
            };
        }
    };
    let defence = standing.judged_as();
    let perform = async |case: &&'_ Case| {
        let mut played = play(&stage, case, defence).await;
        let doubt = played.findings.iter().any(|finding| finding.oracle == "lab");
        if stage.engine_died(doubt).await {
            played.findings.push(Finding {
                oracle: "lab".to_owned(),
                verdict: Verdict::Void,
                what: "the engine died in mid-run".to_owned(),
            });
        }
        progress.finished(&report_of(case, standing, &played, Vec::new()));
        played
    };
    let mut played: Vec<(&Case, Played)> = Vec::new();
    match party.turns {
        Turns::Together => {
            let each = futures_util::stream::iter(cases).map(|case| async {
                let _place = places.acquire().await;
                (*case, perform(case).await)
            });
            played = each.buffer_unordered(cases.len().max(1)).collect().await;
        }
        // They wait for each other, and not behind all those who share.
        Turns::OneByOne => {
            for case in cases {
                played.push((case, perform(case).await));
                // Where containers are kept, the next one would not find the instance as it was.
                if stage.keeps || played.iter().any(|(_, played)| !played.findings.is_empty()) {
                    break;
                }
            }
        }
    }
    let (mut late, unattributed) = ask_oracles(&stage, standing, &played).await;
    let scenarios: Vec<_> = played
        .iter()
        .map(|(case, played)| report_of(case, standing, played, late.remove(&case.id).unwrap_or_default()))
        .collect();
    if scenarios
        .iter()
        .any(|report| report.judgement == crate::verdict::Judgement::Void)
    {
        tracing::info!(said = %stage.last_words(), "what the proxy said last");
    }
    let containers = stage.containers();
    workshop.keep_log(&stage);
    match &workshop.kept {
        Some(kept) => {
            let left = played
                .iter_mut()
                .map(|(case, played)| (case.id.clone(), std::mem::take(&mut played.left)));
            kept.take_in(stage, left.collect());
        }
        None => stage.strike().await,
    }
    // What stands in for a defence is full of holes: only what its scenarios say of it counts.
    let unattributed = if matches!(standing, Standing::Defence(_)) {
        unattributed
    } else {
        Vec::new()
    };
    Outcome {
        scenarios,
        unattributed,
        containers,
    }
}

fn report_of(case: &Case, standing: &Standing, played: &Played, late: Vec<Finding>) -> ScenarioReport {
    let findings: Vec<Finding> = played.findings.iter().cloned().chain(late).collect();
    ScenarioReport {
        id: case.id.clone(),
        name: case.name.clone(),
        title: case.title.clone(),
        defence: standing.label(),
        judgement: ScenarioReport::judge(&played.attempts, &findings),
        attempts: played.attempts.clone(),
        findings,
        seconds: played.seconds,
    }
}

/// Findings by scenario, and those that no scenario can be named for.
type Late = (BTreeMap<String, Vec<Finding>>, Vec<Finding>);

async fn ask_oracles(stage: &Stage, standing: &Standing, played: &[(&Case, Played)]) -> Late {
    let mut late: BTreeMap<String, Vec<Finding>> = BTreeMap::new();
    let mut unattributed = Vec::new();
    let void = |what: String| Finding {
        oracle: "lab".to_owned(),
        verdict: Verdict::Void,
        what,
    };

    match read_ledgers(stage).await {
        Ok(entries) => {
            let direct = matches!(standing, Standing::Defence(defence) if defence.is_direct());
            let (allowed, roles) = allowances(played, direct, standing.judged_as());
            let sources = Sources {
                host: vec![lab::plan::HOST_V4.to_string(), lab::plan::HOST_V6.to_string()],
                jobs: vec![lab::plan::FORWARDED_V4.to_string(), lab::plan::FORWARDED_V6.to_string()],
            };
            for stray in strays(&entries, &sources, &allowed, &roles) {
                let finding = Finding {
                    oracle: "ledger".to_owned(),
                    verdict: Verdict::Other("stray request".to_owned()),
                    what: stray.what,
                };
                match stray.scenario {
                    Some(id) if allowed.contains_key(&id) => late.entry(id).or_default().push(finding),
                    _ => unattributed.push(finding),
                }
            }
        }
        Err(what) => unattributed.push(void(what)),
    }

    let interfaces = played
        .iter()
        .flat_map(|(_, played)| &played.watched)
        .flat_map(|watched| watched.interfaces.iter().copied())
        .collect();
    match stage.markers_on_wires(&interfaces).await {
        Ok(wires) => {
            // Where a leak is documented and happened, what else went over that wire on the way to it says nothing new.
            for (case, played) in played.iter().filter(|(_, played)| !leaked_as_documented(played)) {
                let found = played
                    .watched
                    .iter()
                    .flat_map(|watched| strangers_on(watched, &wires, &played.leaked));
                late.entry(case.id.clone()).or_default().extend(found);
            }
        }
        Err(error) => unattributed.push(void(error.to_string())),
    }

    if standing.judged_as().like() == Defence::Proxy {
        for name in stage.markers_in_logs() {
            let owner = owner_of(&name, played).map(|case| case.id.clone());
            let finding = Finding {
                oracle: "log".to_owned(),
                verdict: Verdict::Leak(name.clone()),
                what: format!("the proxy wrote the marker {name} into its log"),
            };
            match owner {
                Some(id) => late.entry(id).or_default().push(finding),
                None => unattributed.push(finding),
            }
        }
        let mut bodies: BTreeMap<u16, BTreeSet<&[u8]>> = BTreeMap::new();
        // One text for each status is metadata-proxy's own promise.
        let own = played.iter().filter(|_| standing.judged_as() != Defence::External);
        for (status, body) in own.flat_map(|(_, played)| &played.denials) {
            bodies
                .entry(*status)
                .or_default()
                .extend(body.iter().map(Vec::as_slice));
        }
        for (status, bodies) in bodies.into_iter().filter(|(_, bodies)| bodies.len() > 1) {
            unattributed.push(Finding {
                oracle: "denial".to_owned(),
                verdict: Verdict::Other("telling refusal".to_owned()),
                what: format!("refusals with status {status} have {} different bodies", bodies.len()),
            });
        }
    }
    (late, unattributed)
}

fn leaked_as_documented(played: &Played) -> bool {
    played
        .attempts
        .iter()
        .any(|attempt| attempt.verdict.is_leak() && attempt.expected.allows(&attempt.verdict))
}

async fn read_ledgers(stage: &Stage) -> Result<Vec<crate::oracle::ledger::Entry>, String> {
    let mut entries = stage.fake("imds").ledger().await.map_err(|error| error.to_string())?;
    entries.extend(stage.fake("sts").ledger().await.map_err(|error| error.to_string())?);
    Ok(entries)
}

/// What each scenario may cause in the ledgers, and which scenario each role belongs to.
fn allowances(
    played: &[(&Case, Played)],
    direct: bool,
    defence: Defence,
) -> (BTreeMap<String, Allowed>, BTreeMap<String, String>) {
    let mut allowed = BTreeMap::new();
    let mut roles = BTreeMap::new();
    for (case, played) in played {
        let cast = Cast::new(case);
        let sanctioned = case
            .rules
            .iter()
            .flat_map(|rule| rule.role.iter().chain(&rule.selectable));
        let has_faults = case
            .steps
            .iter()
            .any(|step| matches!(step.action, Action::Fault | Action::Expired));
        // A proxy that was started again remembers nothing.
        let starts_again = case
            .steps
            .iter()
            .any(|step| step.action == Action::Proxy && matches!(step.signal.as_deref(), Some("start" | "try")));
        // Where a case takes the rules away by itself, as documented, what came through then is no news.
        let came_through = case.exclusive && leaked_as_documented(played);
        allowed.insert(
            case.id.clone(),
            Allowed {
                roles: sanctioned.filter_map(|role| cast.roles.get(role).cloned()).collect(),
                endpoint: direct || came_through,
                // Where a case breaks STS, asking again is what a proxy should do.
                calls_per_session: if has_faults || starts_again || !case.puts(Question::Calls, defence) {
                    usize::MAX - 1
                } else {
                    1
                },
                forwards_tokens: !case.puts(Question::ForwardedToken, defence),
                asks_itself: defence == Defence::External,
            },
        );
        roles.extend(cast.roles.values().map(|arn| (arn.clone(), case.id.clone())));
    }
    (allowed, roles)
}

/// The scenario whose role a marker is of; the instance's own secrets are nobody's.
fn owner_of<'a>(marker: &str, played: &[(&'a Case, Played)]) -> Option<&'a Case> {
    let role = marker.strip_prefix("role:")?;
    let is_of = |case: &Case| case.roles.iter().any(|known| world_role(&case.id, &known.name) == role);
    played.iter().map(|(case, _)| *case).find(|case| is_of(case))
}

/// Markers on a container's wires that are neither its own nor reported by an attempt already.
fn strangers_on<'a>(
    watched: &'a Watched,
    wires: &'a BTreeMap<u32, BTreeSet<String>>,
    leaked: &'a BTreeSet<String>,
) -> impl Iterator<Item = Finding> + 'a {
    watched
        .interfaces
        .iter()
        .filter_map(|interface| wires.get(interface))
        .flatten()
        .filter(|name| !watched.own.contains(*name) && !leaked.contains(*name))
        .map(|name| Finding {
            oracle: "capture".to_owned(),
            verdict: Verdict::Leak(name.clone()),
            what: format!("the marker {name} was on the wire of {}", watched.place),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_belongs_to_the_scenario_whose_role_it_is_of() {
        let text = r#"
            id = "LIFE-98"
            name = "x"
            title = "x"
            doc = "x"
            role = [{ name = "own" }]
            step = []
            expect = {}
            hole = {}
        "#;
        let case: Case = toml::from_str(text).unwrap();
        let played = [(&case, Played::default())];
        let owner = |marker| owner_of(marker, &played).map(|case| case.id.as_str());
        assert_eq!(owner("role:life-98-own"), Some("LIFE-98"));
        assert_eq!(owner("role:life-98-other"), None);
        assert_eq!(owner("host-role"), None);
    }
}
