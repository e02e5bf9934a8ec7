//! Which scenarios share an instance, and whether they are on it together. Pure.
//!
//! An instance costs as much as eight containers, so as few as possible are made: whoever disturbs nobody shares one with all others of its kind; whoever
//! disturbs it for a while and leaves it as it was takes turns; and whoever leaves it changed has one alone.

use std::collections::BTreeMap;

use crate::case::model::{Action, Case, Defence};
use crate::stage::Standing;

/// How scenarios are on one instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Turns {
    /// At the same time.
    Together,
    /// One after the other.
    OneByOne,
}

/// Scenarios that share an instance.
#[derive(Debug)]
pub(crate) struct Party<'a> {
    /// What all of them stand against.
    pub(crate) standing: Standing,
    /// In the order given.
    pub(crate) cases: Vec<&'a Case>,
    /// How.
    pub(crate) turns: Turns,
}

/// The parties of a run. Those that take longest come first.
pub(crate) fn parties<'a>(items: &[(&'a Case, Standing)]) -> Vec<Party<'a>> {
    let mut shared: BTreeMap<(Turns, Standing, bool), Vec<&Case>> = BTreeMap::new();
    let mut alone = Vec::new();
    for (case, standing) in items {
        let turns = match (case.exclusive, leaves_as_found(case, standing.judged_as())) {
            (false, _) => Turns::Together,
            (true, true) => Turns::OneByOne,
            (true, false) => {
                alone.push(Party {
                    standing: standing.clone(),
                    cases: vec![*case],
                    turns: Turns::OneByOne,
                });
                continue;
            }
        };
        let kind = (turns, standing.clone(), case.default_bridge_ipv6);
        shared.entry(kind).or_default().push(*case);
    }
    let shared = shared
        .into_iter()
        .map(|((turns, standing, _), cases)| Party { standing, cases, turns });
    shared.chain(alone).collect()
}

/// Whether the proxy serves, and the rules are in place, when the scenario has ended, as before it began. Faults are lifted and containers removed in any
/// case; what a program of the host or the engine's restart changes only the scenario itself can take back, and says so.
fn leaves_as_found(case: &Case, defence: Defence) -> bool {
    let (mut serves, mut ruled) = (true, true);
    for step in case.steps.iter().filter(|step| step.applies(defence)) {
        match (step.action, step.signal.as_deref()) {
            (Action::Run | Action::Engine, _) if !case.restores => return false,
            (Action::Proxy, Some("stop" | "kill" | "pause" | "try")) => serves = false,
            (Action::Proxy, Some("start" | "resume")) => serves = true,
            (Action::Issuer, Some("unavailable")) => serves = false,
            (Action::Issuer, Some("available")) => serves = true,
            (Action::Rules, Some("remove")) => ruled = false,
            (Action::Rules, Some("apply")) => ruled = true,
            // With its last reload a case gives the policy back.
            (Action::Proxy, Some("reload")) if case.restores => {}
            // Of anything else nobody knows how it ends.
            (Action::Proxy | Action::Rules, _) => return false,
            _ => {}
        }
    }
    serves && ruled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(exclusive: bool, steps: &str) -> Case {
        let text = format!(
            "id = \"X-01\"\nname = \"x\"\ntitle = \"x\"\ndoc = \"x\"\nexclusive = {exclusive}\nexpect = {{}}\nhole = {{}}\nstep = [{steps}]"
        );
        toml::from_str(&text).unwrap()
    }

    fn proxy(signal: &str) -> String {
        format!("{{ in = \"lab\", do = \"proxy\", signal = \"{signal}\" }},")
    }

    fn turns(cases: &[&Case]) -> Vec<(Turns, usize)> {
        let items: Vec<_> = cases
            .iter()
            .map(|case| (*case, Standing::Defence(Defence::Proxy)))
            .collect();
        let parties = parties(&items);
        parties.iter().map(|party| (party.turns, party.cases.len())).collect()
    }

    #[test]
    fn who_disturbs_nobody_shares_and_who_mends_what_it_broke_takes_turns() {
        let peaceful = case(false, "");
        let paused = case(true, &(proxy("pause") + &proxy("resume")));
        let restarted = case(true, &(proxy("stop") + &proxy("start")));
        let cases = [&peaceful, &paused, &peaceful, &restarted];
        assert_eq!(turns(&cases), [(Turns::Together, 2), (Turns::OneByOne, 2)]);
    }

    #[test]
    fn who_leaves_an_instance_changed_is_alone() {
        for steps in [
            proxy("stop"),
            proxy("resume") + &proxy("kill"),
            proxy("try"),
            proxy("reload"),
            "{ in = \"lab\", do = \"rules\", signal = \"remove\" }".to_owned(),
            "{ in = \"lab\", do = \"engine\", signal = \"restart\" }".to_owned(),
            "{ in = \"host\", do = \"run\", args = [] }".to_owned(),
        ] {
            let changed = case(true, &steps);
            let alone = (Turns::OneByOne, 1);
            assert_eq!(turns(&[&changed, &changed]), [alone, alone], "{steps}");
        }
    }

    #[test]
    fn who_takes_back_what_it_did_to_the_host_takes_turns() {
        let run = "{ in = \"host\", do = \"run\", args = [] },";
        let restoring = |steps: &str| Case {
            restores: true,
            ..case(true, steps)
        };
        let (one, other) = (restoring(run), restoring(run));
        assert_eq!(turns(&[&one, &other]), [(Turns::OneByOne, 2)]);
        let reloaded = restoring(&proxy("reload"));
        assert_eq!(turns(&[&reloaded, &one]), [(Turns::OneByOne, 2)]);
        let stopped = restoring(&(run.to_owned() + &proxy("stop")));
        assert_eq!(turns(&[&stopped, &one]), [(Turns::OneByOne, 1), (Turns::OneByOne, 1)]);
    }

    #[test]
    fn another_kind_of_instance_is_another_instance() {
        let plain = case(false, "");
        let six = Case {
            default_bridge_ipv6: true,
            ..case(false, "")
        };
        assert_eq!(turns(&[&plain, &six]), [(Turns::Together, 1), (Turns::Together, 1)]);
    }
}
