//! What a case's steps mean one after the other: places that exist by then, keys that the action knows, names given by earlier steps.

use std::collections::BTreeSet;

use super::action::{Keys, Place, keys};
use super::bytes::unescape;
use super::check::{is_attempt, is_hyphenated, job_names};
use super::document::{Document, suggestion};
use super::model::{Action, Case, Step};
use super::placeholder::containers;

/// Keys that every action takes.
const COMMON: &[&str] = &["in", "do", "note", "only", "each", "attempt", "expect"];

/// What earlier steps have done.
#[derive(Debug, Default)]
struct Sofar {
    launched: BTreeSet<String>,
    saved: BTreeSet<String>,
    holds: BTreeSet<String>,
    connections: BTreeSet<(String, String)>,
    listeners: BTreeSet<(String, String)>,
}

pub(super) fn check(case: &Case, document: &mut Document) {
    let mut sofar = Sofar::default();
    for (index, step) in case.steps.iter().enumerate() {
        let field = format!("step[{index}]");
        let known = keys(step.action);
        place(case, step, &known, &field, &sofar, document);
        given(index, &known, &field, document);
        alone(step, &known, &field, document);
        references(case, step, &field, &sofar, document);
        remember(step, &mut sofar);
    }
}

fn place(case: &Case, step: &Step, known: &Keys, field: &str, sofar: &Sofar, document: &mut Document) {
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
    let job = step.place.split('.').next().unwrap_or_default();
    let waits = case.jobs.iter().any(|known| known.name == job && known.later);
    match (step.action, waits, sofar.launched.contains(job)) {
        (Action::Launch, true, true) => {
            document.add(&field, format!("`{job}` was launched before"), "launch it once");
        }
        (Action::Launch, false, _) if is_job => {
            document.add(
                &field,
                format!("`{job}` starts at the beginning"),
                "give the job `later = true`",
            );
        }
        (Action::Launch, _, _) | (_, false, _) | (_, true, true) => {}
        (_, true, false) => {
            document.add(
                &field,
                format!("`{job}` is not launched yet"),
                "add a launch step before this one",
            );
        }
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

fn references(case: &Case, step: &Step, field: &str, sofar: &Sofar, document: &mut Document) {
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
    let Some(name) = &step.name else { return };
    let here = (step.place.clone(), name.clone());
    let missing = match step.action {
        Action::Send | Action::Receive | Action::Close => {
            (!sofar.connections.contains(&here)).then_some(("connection", "an `open` step in the same place"))
        }
        Action::Accepted => {
            (!sofar.listeners.contains(&here)).then_some(("listener", "a `listen` step in the same place"))
        }
        Action::Hold | Action::Release => {
            (!sofar.holds.contains(name)).then_some(("hold", "a `fault` step with that effect"))
        }
        Action::Expired => (!sofar.saved.contains(name)).then_some(("saved credentials", "`save` to an earlier step")),
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
        | Action::Proxy
        | Action::Fault => None,
    };
    if let Some((kind, remedy)) = missing {
        document.add(
            &format!("{field}.name"),
            format!("no {kind} `{name}` by then"),
            format!("add {remedy} before this one"),
        );
    }
}

fn remember(step: &Step, sofar: &mut Sofar) {
    if let Some(name) = &step.save {
        sofar.saved.insert(name.clone());
    }
    if let Some(name) = step
        .effect
        .as_ref()
        .and_then(|effect| effect.get("hold"))
        .and_then(toml::Value::as_str)
    {
        sofar.holds.insert(name.to_owned());
    }
    if step.action == Action::Launch {
        sofar.launched.insert(step.place.clone());
    }
    if let Some(name) = &step.name {
        let here = (step.place.clone(), name.clone());
        if step.action == Action::Open {
            sofar.connections.insert(here);
        } else if step.action == Action::Listen {
            sofar.listeners.insert(here);
        }
    }
}
