//! What the parts of a case mean together: names that refer to each other, expectations for every attempt, a hole for every scenario. Steps are in
//! `step`.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr as _;

use super::document::{Document, suggestion};
use super::federation;
use super::model::{Case, Defence, Job, Step};
use super::placeholder::Scope;
use super::step;
use super::switches::SWITCHES;
use crate::verdict::{Expected, Verdict};

/// The markers of the base world; each role of a case has `role:<name in the world>` besides.
pub const CANARIES: &[&str] = &[
    "host-role",
    "identity-role",
    "user-data",
    "identity-document",
    "tags",
    "public-key",
    "host-iam-info",
    "host-token",
    // Not a marker but the bare name of the instance's role, which is recognised as well.
    "host-role-name",
];

const TITLE_LETTERS: usize = 60;
/// IFNAMSIZ less the final zero.
const BRIDGE_BYTES: usize = 15;
/// Places of their own, and first words of placeholders.
const RESERVED: &[&str] = &[
    "host", "upstream", "lab", "role", "arn", "saved", "each", "network", "project", "job", "runner", "sts", "proxy",
    "issuer", "path", "token", "now", "account", "key", "jobs",
];

/// Adds everything to the document that is wrong with the case as a whole.
pub(super) fn check(case: &Case, family: &str, folder: &str, document: &mut Document) {
    name(case, family, folder, document);
    texts(case, document);
    parts(case, document);
    rules(case, document);
    runner(case, document);
    hole(case, document);
    federation::check(case, document);
    step::check(case, document);
    attempts(case, document);
    placeholders(case, document);
}

fn name(case: &Case, family: &str, folder: &str, document: &mut Document) {
    let (prefix, number) = case.id.split_once('-').unwrap_or((&case.id, ""));
    let well_formed = (2..=8).contains(&prefix.len())
        && prefix.bytes().all(|letter| letter.is_ascii_uppercase())
        && number.len() == 2
        && number.bytes().all(|digit| digit.is_ascii_digit());
    if !well_formed {
        document.add(
            "id",
            format!("`{}` is no catalogue number", case.id),
            "write capitals, a hyphen and two digits: ROLE-02",
        );
    } else if prefix.to_ascii_lowercase() != family {
        let remedy = format!("move the folder to {}/", prefix.to_ascii_lowercase());
        document.add("id", format!("`{}` stands in the folder {family}/", case.id), remedy);
    }
    if !is_hyphenated(&case.name) {
        document.add(
            "name",
            format!("`{}` names no folder", case.name),
            "write lower-case words joined by hyphens",
        );
    }
    let expected = format!("{}-{}", case.id, case.name);
    if folder != expected && well_formed && is_hyphenated(&case.name) {
        document.add(
            "name",
            format!("the folder is `{folder}`, not `{expected}`"),
            "rename the folder or change id and name",
        );
    }
}

fn texts(case: &Case, document: &mut Document) {
    let letters = case.title.chars().count();
    if case.title.trim().is_empty() {
        document.add("title", "empty".to_owned(), "say in one line what is tried");
    } else if letters > TITLE_LETTERS || case.title.contains('\n') {
        document.add(
            "title",
            format!("{letters} characters"),
            format!("write one line of at most {TITLE_LETTERS}"),
        );
    }
    if case.doc.trim().is_empty() {
        document.add(
            "doc",
            "empty".to_owned(),
            "tell what is tried, why it works where it works, and what stops it",
        );
    }
}

fn parts(case: &Case, document: &mut Document) {
    unique(document, "role", case.roles.iter().map(|role| role.name.as_str()));
    unique(
        document,
        "network",
        case.networks.iter().map(|network| network.name.as_str()),
    );
    unique(document, "job", case.jobs.iter().map(|job| job.name.as_str()));
    for (index, network) in case.networks.iter().enumerate() {
        if let Some(bridge) = network
            .bridge
            .as_deref()
            .filter(|name| !is_hyphenated(name) || name.len() > BRIDGE_BYTES)
        {
            let remedy = format!("write at most {BRIDGE_BYTES} lower-case letters, digits and hyphens");
            document.add(
                &format!("network[{index}].bridge"),
                format!("`{bridge}` names no interface"),
                remedy,
            );
        }
    }
    for (index, job) in case.jobs.iter().enumerate() {
        let field = format!("job[{index}]");
        if RESERVED.contains(&job.name.as_str()) {
            document.add(
                &format!("{field}.name"),
                format!("`{}` means something else", job.name),
                "choose another name",
            );
        }
        if let Some(other) = &job.project_of
            && (other == &job.name
                || !case
                    .jobs
                    .iter()
                    .any(|job| job.name == *other && job.project_of.is_none()))
        {
            let others: Vec<&str> = job_names(case).into_iter().filter(|name| *name != job.name).collect();
            let remedy = suggestion(other, &others);
            document.add(
                &format!("{field}.project_of"),
                format!("no other job `{other}` with a project of its own"),
                remedy,
            );
        }
        services(job, &field, document);
    }
}

fn services(job: &Job, field: &str, document: &mut Document) {
    unique(
        document,
        &format!("{field}.services"),
        job.services.iter().map(|service| service.alias.as_str()),
    );
    for (index, service) in job.services.iter().enumerate() {
        if ["build", "predefined", "wait"].contains(&service.alias.as_str()) {
            let field = format!("{field}.services[{index}].alias");
            document.add(
                &field,
                format!("`{}` is another container of the job", service.alias),
                "choose another alias",
            );
        }
    }
}

fn unique<'n>(document: &mut Document, list: &str, names: impl Iterator<Item = &'n str>) {
    let key = if list.ends_with("services") { "alias" } else { "name" };
    let mut seen = BTreeSet::new();
    for (index, name) in names.enumerate() {
        let field = format!("{list}[{index}].{key}");
        if !is_hyphenated(name) {
            document.add(
                &field,
                format!("`{name}` is no short name"),
                "write lower-case words joined by hyphens",
            );
        } else if !seen.insert(name) {
            document.add(&field, format!("`{name}` stands there twice"), "choose another name");
        }
    }
}

fn rules(case: &Case, document: &mut Document) {
    let roles = role_names(case);
    for (index, rule) in case.rules.iter().enumerate() {
        let field = format!("rule[{index}]");
        if !case.jobs.iter().any(|job| job.name == rule.job) {
            document.add(
                &format!("{field}.job"),
                format!("no job `{}`", rule.job),
                suggestion(&rule.job, &job_names(case)),
            );
        }
        if rule.role.is_none() && rule.selectable.is_empty() {
            document.add(&field, "sanctions nothing".to_owned(), "add role or selectable");
        }
        if let Some(role) = rule.role.as_deref().filter(|role| !roles.contains(role)) {
            document.add(
                &format!("{field}.role"),
                format!("no role `{role}`"),
                suggestion(role, &roles),
            );
        }
        for (place, job) in rule.image_of.iter().enumerate() {
            let field = format!("{field}.image_of[{place}]");
            match case.jobs.iter().find(|known| known.name == *job) {
                None => document.add(&field, format!("no job `{job}`"), suggestion(job, &job_names(case))),
                Some(known) => {
                    let mut texts = known.image.env.values().chain(known.image.labels.values());
                    if !known.variants.is_empty() || texts.any(|text| text.contains("${")) {
                        let remedy =
                            "write the image out, without placeholders and variants: the rule needs its id beforehand";
                        document.add(&field, format!("the image of `{job}` is not known by then"), remedy);
                    }
                }
            }
        }
        for (place, role) in rule
            .selectable
            .iter()
            .enumerate()
            .filter(|(_, role)| !roles.contains(&role.as_str()))
        {
            let field = format!("{field}.selectable[{place}]");
            document.add(&field, format!("no role `{role}`"), suggestion(role, &roles));
        }
    }
}

fn runner(case: &Case, document: &mut Document) {
    // What the keys mean is the runner's own business; here it is only made sure that they can be read below `[[runners]]`.
    if let Err(error) = toml::Table::from_str(&format!("[[runners]]\n{}", case.runner.config)) {
        let what = error.message().lines().collect::<Vec<_>>().join(", ");
        document.add(
            "runner.config",
            what,
            "write the keys below one [[runners]], tables as [runners.docker]",
        );
    }
}

fn hole(case: &Case, document: &mut Document) {
    if case.hole.is_empty() {
        let remedy = "name a switch of weak-proxy, a defence or a role's policy with which the scenario turns red";
        document.add("hole", "nothing opens the hole".to_owned(), remedy);
    }
    for (index, switch) in case
        .hole
        .weak
        .iter()
        .enumerate()
        .filter(|(_, switch)| !SWITCHES.contains(&switch.as_str()))
    {
        document.add(
            &format!("hole.weak[{index}]"),
            format!("unknown switch `{switch}`"),
            suggestion(switch, SWITCHES),
        );
    }
    for (index, defence) in case.hole.defence.iter().enumerate() {
        let main = case.main_defence();
        if *defence == main {
            let remedy = "name none, firewall, or a switch of weak-proxy";
            document.add(
                &format!("hole.defence[{index}]"),
                format!("the {main} is what is held against it"),
                remedy,
            );
        } else if !case.steps.iter().any(|step| turns_red(case, step, *defence)) {
            let what = format!("whatever {defence} answers is allowed to the {main} too");
            let remedy = format!("name a switch or a defence that the {main}'s expectations do not allow");
            document.add(&format!("hole.defence[{index}]"), what, remedy);
        }
    }
}

/// Whether what this defence is expected to answer is more than the one that the case is about may.
fn turns_red(case: &Case, step: &Step, defence: Defence) -> bool {
    let main = case.main_defence();
    let (red, may) = (case.expected(step, defence), case.expected(step, main));
    if red.0.is_empty() || may.0.is_empty() {
        return true;
    }
    let taken = step.applies(main) && step.applies(defence);
    is_attempt(step) && taken && red.0.iter().any(|verdict| !may.allows(verdict))
}

fn attempts(case: &Case, document: &mut Document) {
    if case.steps.is_empty() {
        document.add(
            "step",
            "no step".to_owned(),
            "add at least one attempt for every defence",
        );
        return;
    }
    for defence in case.stated() {
        let attempted = case.steps.iter().any(|step| is_attempt(step) && step.applies(*defence));
        if !attempted {
            document.add(
                "step",
                format!("no attempt against {defence}"),
                "add one, or widen a step's `only`",
            );
        }
    }
    expectation(case, "expect", &case.expect, document);
    for (index, step) in case.steps.iter().enumerate() {
        let field = format!("step[{index}].expect");
        expectation(case, &field, &step.expect, document);
        for defence in case
            .stated()
            .iter()
            .filter(|defence| is_attempt(step) && step.applies(**defence))
        {
            if !step.expect.contains_key(defence) && !case.expect.contains_key(defence) {
                let remedy = format!("add `{defence} = [\"…\"]` to [expect] or to the step");
                document.add(
                    &format!("{field}.{defence}"),
                    format!("what {defence} may answer is not said"),
                    remedy,
                );
            }
        }
    }
}

fn expectation(case: &Case, field: &str, expect: &BTreeMap<Defence, Expected>, document: &mut Document) {
    let roles = role_names(case);
    for (defence, expected) in expect {
        let field = format!("{field}.{defence}");
        if expected.0.is_empty() {
            document.add(&field, "no verdict".to_owned(), "name at least one");
        }
        for (index, verdict) in expected.0.iter().enumerate() {
            let field = format!("{field}[{index}]");
            match verdict {
                Verdict::Role(role) if !roles.contains(&role.as_str()) => {
                    document.add(&field, format!("no role `{role}`"), suggestion(role, &roles));
                }
                Verdict::Leak(canary) if !canary.is_empty() && !CANARIES.contains(&canary.as_str()) => {
                    let of_role = canary
                        .strip_prefix("role:${role.")
                        .and_then(|rest| rest.strip_suffix('}'));
                    match of_role {
                        Some(role) if roles.contains(&role) => {}
                        Some(role) => document.add(&field, format!("no role `{role}`"), suggestion(role, &roles)),
                        None => {
                            let remedy = format!("known are {}, role:${{role.X}}", CANARIES.join(", "));
                            document.add(&field, format!("unknown canary `{canary}`"), remedy);
                        }
                    }
                }
                Verdict::Void => {
                    document.add(
                        &field,
                        "nothing can be learnt from VOID".to_owned(),
                        "name what the defence answers",
                    );
                }
                Verdict::Role(_)
                | Verdict::Leak(_)
                | Verdict::Blocked
                | Verdict::Silent
                | Verdict::Deny
                | Verdict::Unavailable
                | Verdict::Same
                | Verdict::Unusable
                | Verdict::Other(_) => {}
            }
        }
    }
}

fn placeholders(case: &Case, document: &mut Document) {
    let mut faults = Vec::new();
    for text in &document.texts {
        let Some((list, rest)) = text.field.split_once('[').or_else(|| text.field.split_once('.')) else {
            continue;
        };
        if !["step", "job", "network", "runner", "role", "hole"].contains(&list) {
            continue;
        }
        let index = rest
            .split_once(']')
            .and_then(|(digits, _)| digits.parse::<usize>().ok())
            .unwrap_or(0);
        let variant = list == "job" && case.jobs.get(index).is_some_and(|job| !job.variants.is_empty());
        let (saved, each) = if list == "step" {
            let names = case.steps.iter().take(index).filter_map(|step| step.save.clone());
            // A value that is saved under one defence only is not there under the others.
            let saved = names.filter(|name| step::happened(case, index, |earlier| earlier.save.as_ref() == Some(name)));
            (
                saved.collect(),
                case.steps.get(index).is_some_and(|step| !step.each.is_empty()),
            )
        } else {
            (BTreeSet::new(), false)
        };
        let scope = Scope {
            case,
            saved: &saved,
            each,
            variant,
            world: list == "role" || list == "hole",
        };
        faults.extend(
            scope
                .unresolved(&text.text)
                .into_iter()
                .map(|unresolved| (text.field.clone(), unresolved)),
        );
    }
    for (field, unresolved) in faults {
        document.add(&field, unresolved.what, unresolved.remedy);
    }
}

pub(super) fn is_attempt(step: &Step) -> bool {
    step.attempt.unwrap_or_else(|| step.action.is_attempt())
}

pub(super) fn job_names(case: &Case) -> Vec<&str> {
    case.jobs.iter().map(|job| job.name.as_str()).collect()
}

fn role_names(case: &Case) -> Vec<&str> {
    case.roles.iter().map(|role| role.name.as_str()).collect()
}

/// Lower-case words joined by hyphens.
pub(super) fn is_hyphenated(name: &str) -> bool {
    name.starts_with(|letter: char| letter.is_ascii_lowercase())
        && name.split('-').all(|word| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit())
        })
}
