//! What a case's steps mean one after the other: places that exist by then, keys that the action knows, names given by earlier steps.

use super::action::{Keys, Place, keys};
use super::bytes::unescape;
use super::check::{is_attempt, is_hyphenated, job_names};
use super::document::{Document, suggestion};
use super::model::{Action, Case, Step};
use super::placeholder::containers;

/// Keys that every action takes.
const COMMON: &[&str] = &["in", "do", "note", "only", "each", "attempt", "expect"];

/// Whether, under every defence for which the step at `index` is taken, an earlier step that fits is taken too.
pub(super) fn happened(case: &Case, index: usize, fits: impl Fn(&Step) -> bool) -> bool {
    let Some(step) = case.steps.get(index) else {
        return false;
    };
    case.stated()
        .iter()
        .copied()
        .filter(|defence| step.applies(*defence))
        .all(|defence| {
            case.steps
                .iter()
                .take(index)
                .any(|earlier| earlier.applies(defence) && fits(earlier))
        })
}

pub(super) fn check(case: &Case, document: &mut Document) {
    for (index, step) in case.steps.iter().enumerate() {
        let field = format!("step[{index}]");
        let known = keys(step.action);
        place(case, step, &known, &field, document);
        launched(case, index, step, &field, document);
        given(index, &known, &field, document);
        alone(step, &known, &field, document);
        references(case, index, step, &field, document);
        disturbing(case, step, &field, document);
        reload(case, step, &field, document);
    }
}

/// What a reload leaves out must have been in the policy, and nothing else leaves anything out.
fn reload(case: &Case, step: &Step, field: &str, document: &mut Document) {
    if !step.without.is_empty() && step.action == Action::Proxy && step.signal.as_deref() != Some("reload") {
        let remedy = "remove it, or write signal = \"reload\"";
        document.add(
            &format!("{field}.without"),
            "only a reload changes the policy".to_owned(),
            remedy,
        );
    }
    let ruled: Vec<&str> = case.rules.iter().map(|rule| rule.job.as_str()).collect();
    for (at, job) in step.without.iter().enumerate() {
        if !ruled.contains(&job.as_str()) {
            document.add(
                &format!("{field}.without[{at}]"),
                format!("no rule is for `{job}`"),
                suggestion(job, &ruled),
            );
        }
    }
}

fn place(case: &Case, step: &Step, known: &Keys, field: &str, document: &mut Document) {
    let field = format!("{field}.in");
    let containers = containers(case);
    let is_container = containers.contains(&step.place);
    let is_job = case.jobs.iter().any(|job| job.name == step.place);
    let elsewhere = ["host", "upstream", "lab"].contains(&step.place.as_str());
    let fits = match known.place {
        Place::Container => is_container,
        Place::Anywhere => is_container || step.place == "host" || step.place == "upstream",
        Place::Job => is_job,
        Place::ContainerOrJob => is_container || is_job,
        Place::Lab => step.place == "lab",
        Place::Host => step.place == "host",
    };
    if !fits && (is_container || is_job || elsewhere) {
        let remedy = format!("name {}", known.place.described());
        document.add(&field, format!("this is not done in `{}`", step.place), remedy);
    } else if !fits {
        let mut names: Vec<&str> = containers.iter().map(String::as_str).collect();
        names.extend(job_names(case));
        names.extend(["host", "upstream", "lab"]);
        document.add(
            &field,
            format!("no place `{}`", step.place),
            suggestion(&step.place, &names),
        );
    }
}

fn launched(case: &Case, index: usize, step: &Step, field: &str, document: &mut Document) {
    let field = format!("{field}.in");
    let job = step.place.split('.').next().unwrap_or_default();
    let Some(known) = case.jobs.iter().find(|known| known.name == job) else {
        return;
    };
    if case
        .stated()
        .iter()
        .copied()
        .any(|defence| step.applies(defence) && !known.is_launched_under(defence))
    {
        let remedy = "write the job's `only` into the step too";
        document.add(
            &field,
            format!("`{job}` is not there under every defence of the step"),
            remedy,
        );
    }
    let is_launched = happened(case, index, |earlier| {
        earlier.action == Action::Launch && earlier.place == job
    });
    match (step.action == Action::Launch, known.later, is_launched) {
        (true, true, true) => document.add(&field, format!("`{job}` was launched before"), "launch it once"),
        (true, false, _) => {
            document.add(
                &field,
                format!("`{job}` starts at the beginning"),
                "give the job `later = true`",
            );
        }
        (false, true, false) => {
            let remedy = "add a launch step before this one, for the same defences";
            document.add(&field, format!("`{job}` is not launched yet"), remedy);
        }
        (true, true, false) | (false, _, _) => {}
    }
}

fn given(index: usize, known: &Keys, field: &str, document: &mut Document) {
    let written: Vec<String> = document
        .table
        .get("step")
        .and_then(|steps| steps.get(index))
        .and_then(toml::Value::as_table)
        .map(|step| step.keys().cloned().collect())
        .unwrap_or_default();
    for key in known
        .needs
        .iter()
        .filter(|key| !written.iter().any(|name| name == *key))
    {
        document.add(
            &format!("{field}.{key}"),
            "missing: the action needs it".to_owned(),
            format!("add `{key}`"),
        );
    }
    for name in &written {
        let name = name.as_str();
        if !COMMON.contains(&name) && !known.needs.contains(&name) && !known.takes.contains(&name) {
            let others: Vec<&str> = known.needs.iter().chain(known.takes).copied().collect();
            let remedy = if others.is_empty() {
                "remove it: the action takes no keys of its own".to_owned()
            } else {
                format!("remove it: the action takes {}", others.join(", "))
            };
            document.add(
                &format!("{field}.{name}"),
                "the action does not take this".to_owned(),
                remedy,
            );
        }
    }
}

fn alone(step: &Step, known: &Keys, field: &str, document: &mut Document) {
    if step.attempt == Some(true) && !known.judged {
        let remedy = "remove it: only a request has a verdict";
        document.add(
            &format!("{field}.attempt"),
            "the action has no verdict".to_owned(),
            remedy,
        );
    } else if !is_attempt(step) && !step.expect.is_empty() {
        let remedy = "remove the expectation or add `attempt = true`";
        document.add(&format!("{field}.expect"), "the step is no attempt".to_owned(), remedy);
    }
    if let Some(signal) = step.signal.as_deref()
        && known.needs.contains(&"signal")
        && !signals(step.action).contains(&signal)
    {
        let remedy = format!("write one of {}", signals(step.action).join(", "));
        document.add(
            &format!("{field}.signal"),
            format!("`{signal}` is not done to that"),
            remedy,
        );
    }
    if let Some(error) = step.send.as_deref().and_then(|text| unescape(text).err()) {
        document.add(
            &format!("{field}.send"),
            error.to_string(),
            r"write \r, \n, \\ or \xNN, in single quotes",
        );
    }
    if let Some(path) = step
        .path
        .as_deref()
        .filter(|path| path.contains([' ', '\r', '\n']) || path.is_empty())
    {
        document.add(
            &format!("{field}.path"),
            format!("`{}` is no request target", path.escape_debug()),
            "use `raw` for such bytes",
        );
    }
    if let Some(name) = step.save.as_deref().filter(|name| !is_hyphenated(name)) {
        document.add(
            &format!("{field}.save"),
            format!("`{name}` is no short name"),
            "write lower-case words joined by hyphens",
        );
    }
}

/// What can be done to the proxy, to the engine and to the rules.
const fn signals(action: Action) -> &'static [&'static str] {
    match action {
        Action::Engine => &["restart"],
        Action::Rules => &["remove", "apply"],
        Action::Issuer => &["rotate", "withdraw", "unavailable", "available"],
        _ => &["stop", "kill", "pause", "resume", "start", "try", "reload"],
    }
}

/// Others share the instance unless the case says otherwise.
fn disturbing(case: &Case, step: &Step, field: &str, document: &mut Document) {
    if case.exclusive {
        return;
    }
    if matches!(
        step.action,
        Action::Proxy | Action::Rules | Action::Engine | Action::Run | Action::Issuer
    ) {
        document.add(
            field,
            "every scenario on the instance would feel this".to_owned(),
            "add `exclusive = true` to the case",
        );
    } else if step.action == Action::Fault && step.matching.is_empty() {
        let remedy = "name facts that only this scenario's requests have, or add `exclusive = true` to the case";
        document.add(
            &format!("{field}.match"),
            "every scenario's requests would meet this fault".to_owned(),
            remedy,
        );
    }
}

/// Whether a connection of that name is handed to that place.
fn is_taken(step: &Step, place: &str, name: &str) -> bool {
    step.action == Action::Give && step.taker.as_deref() == Some(place) && step.name.as_deref() == Some(name)
}

fn references(case: &Case, index: usize, step: &Step, field: &str, document: &mut Document) {
    if let Some(network) = &step.network
        && !case.networks.iter().any(|known| known.name == *network)
    {
        let names: Vec<&str> = case.networks.iter().map(|network| network.name.as_str()).collect();
        document.add(
            &format!("{field}.network"),
            format!("no network `{network}`"),
            suggestion(network, &names),
        );
    }
    let places = containers(case);
    if let Some(taker) = step.taker.as_ref().filter(|taker| !places.contains(taker)) {
        let names: Vec<&str> = places.iter().map(String::as_str).collect();
        document.add(
            &format!("{field}.taker"),
            format!("no container `{taker}`"),
            suggestion(taker, &names),
        );
    }
    for (at, _) in step
        .places
        .iter()
        .enumerate()
        .filter(|(_, place)| !places.contains(*place))
    {
        let names: Vec<&str> = places.iter().map(String::as_str).collect();
        let name = step.places.get(at).map_or("", String::as_str);
        document.add(
            &format!("{field}.places[{at}]"),
            format!("no container `{name}`"),
            suggestion(name, &names),
        );
    }
    if let Some(name) = &step.newer_than
        && !happened(case, index, |earlier| earlier.save.as_ref() == Some(name))
    {
        document.add(
            &format!("{field}.newer_than"),
            format!("no saved credentials `{name}` by then"),
            "add `save` to a step before this one, for the same defences",
        );
    }
    if let Some(name) = &step.with
        && !happened(case, index, |earlier| earlier.save.as_ref() == Some(name))
    {
        document.add(
            &format!("{field}.with"),
            format!("no saved credentials `{name}` by then"),
            "add `save` to a step before this one, for the same defences",
        );
    }
    let Some(name) = &step.name else { return };
    let here = |earlier: &Step, action| {
        earlier.action == action && earlier.place == step.place && earlier.name.as_deref() == Some(name)
    };
    let holds = |earlier: &Step| {
        let hold = earlier
            .effect
            .as_ref()
            .and_then(|effect| effect.get("hold"))
            .and_then(toml::Value::as_str);
        hold == Some(name)
    };
    let (kind, remedy, is_there) = match step.action {
        Action::Send | Action::Receive | Action::Close | Action::Give => {
            let is_open = happened(case, index, |earlier| {
                here(earlier, Action::Open) || is_taken(earlier, &step.place, name)
            });
            ("connection", "an `open` step in the same place", is_open)
        }
        Action::Accepted => {
            let listens = happened(case, index, |earlier| here(earlier, Action::Listen));
            ("listener", "a `listen` step in the same place", listens)
        }
        Action::Hold | Action::Release => ("hold", "a `fault` step with that effect", happened(case, index, holds)),
        Action::Expired | Action::Lives => {
            let is_saved = happened(case, index, |earlier| earlier.save.as_ref() == Some(name));
            let kind = if step.action == Action::Lives {
                "saved token"
            } else {
                "saved credentials"
            };
            (kind, "`save` to a step", is_saved)
        }
        Action::Imds
        | Action::Get
        | Action::Token
        | Action::Raw
        | Action::Sdk
        | Action::Reach
        | Action::Open
        | Action::Listen
        | Action::Ip
        | Action::Launch
        | Action::Remove
        | Action::Kill
        | Action::Start
        | Action::Connect
        | Action::Disconnect
        | Action::Restart
        | Action::Pause
        | Action::Unpause
        | Action::Rename
        | Action::Exec
        | Action::Knock
        | Action::Run
        | Action::Rules
        | Action::Engine
        | Action::Proxy
        | Action::Rush
        | Action::Began
        | Action::Outlast
        | Action::Assume
        | Action::IdToken
        | Action::Environment
        | Action::Issuer
        | Action::Lint
        | Action::Fault => return,
        Action::Nest => ("container", "a job", containers(case).iter().any(|known| known == name)),
    };
    if !is_there {
        let remedy = format!("add {remedy} before this one, for the same defences");
        document.add(&format!("{field}.name"), format!("no {kind} `{name}` by then"), remedy);
    }
}
