//! `${…}` inside a case's texts: which there are, and whether one means something where it stands. Puts nothing in; that is for `play`.

use std::collections::BTreeSet;

use super::document::suggestion;
use super::model::Case;
use crate::expand::{expand, repeat};

/// Facts of a container that a placeholder may name.
const FACTS: &[&str] = &["ip", "ip6", "mac", "gateway", "name"];

/// A placeholder that means nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unresolved {
    pub(super) what: String,
    pub(super) remedy: String,
}

/// What placeholders may refer to at one place of a case.
#[derive(Debug)]
pub(super) struct Scope<'c> {
    pub(super) case: &'c Case,
    /// Saved by earlier steps.
    pub(super) saved: &'c BTreeSet<String>,
    /// Whether the step runs once for each of several values.
    pub(super) each: bool,
    /// Whether the job is launched once for each of several values.
    pub(super) variant: bool,
    /// Whether it is part of the simulated account, which is there before anything runs.
    pub(super) world: bool,
}

/// First words of what is known before anything runs.
const WORLD: &[&str] = &[
    "account", "issuer", "jobs", "host", "role", "arn", "path", "project", "job", "runner",
];

impl Scope<'_> {
    /// Everything in the text that means nothing here.
    pub(super) fn unresolved(&self, text: &str) -> Vec<Unresolved> {
        let mut found = Vec::new();
        let mut rest = text;
        while let Some((_, after)) = rest.split_once("${") {
            let Some((inner, behind)) = after.split_once('}') else {
                found.push(Unresolved {
                    what: "`${` without `}`".to_owned(),
                    remedy: "close the placeholder; a dollar sign alone stands for itself".to_owned(),
                });
                break;
            };
            found.extend(
                self.resolve(inner)
                    .err()
                    .map(|(what, remedy)| Unresolved { what, remedy }),
            );
            rest = behind;
        }
        found
    }

    fn resolve(&self, inner: &str) -> Result<(), (String, String)> {
        let known = |kind: &str, name: &str, names: &[&str]| {
            if names.contains(&name) {
                Ok(())
            } else {
                Err((format!("`${{{inner}}}`: no {kind} `{name}`"), suggestion(name, names)))
            }
        };
        let roles: Vec<&str> = self.case.roles.iter().map(|role| role.name.as_str()).collect();
        let jobs: Vec<&str> = self.case.jobs.iter().map(|job| job.name.as_str()).collect();
        let networks: Vec<&str> = self.case.networks.iter().map(|network| network.name.as_str()).collect();
        let saved: Vec<&str> = self.saved.iter().map(String::as_str).collect();
        if let Some(argument) = inner.strip_prefix("repeat:") {
            let unreadable = || {
                let remedy = "write ${repeat:TEXT:N}, two million bytes at most".to_owned();
                (format!("`${{{inner}}}` does not say how often"), remedy)
            };
            return repeat(argument).map(drop).ok_or_else(unreadable);
        }
        if let Some(offset) = inner.strip_prefix("now").filter(|offset| !offset.is_empty()) {
            return offset.parse::<i64>().map(drop).map_err(|_| {
                (
                    format!("`${{{inner}}}` names no moment"),
                    "write ${now}, ${now+300} or ${now-300}: seconds".to_owned(),
                )
            });
        }
        let words: Vec<&str> = inner.split('.').collect();
        if self.world && !words.first().is_some_and(|first| WORLD.contains(first)) {
            return Err((
                format!("`${{{inner}}}` is not known before anything runs"),
                format!("policies may name {}", WORLD.join(", ")),
            ));
        }
        match words.as_slice() {
            ["issuer" | "now" | "account"] | ["jobs", "ip"] | ["issuer", "stranger" | "ids"] | ["key", "stranger"] => Ok(()),
            ["path", name] => known("job", name, &jobs),
            ["token", job, variable] => {
                let tokens: Vec<&str> = self
                    .case
                    .jobs
                    .iter()
                    .filter(|known| known.name == *job)
                    .flat_map(|known| known.id_tokens.keys().map(String::as_str))
                    .collect();
                known("job", job, &jobs)?;
                known("ID token of the job", variable, &tokens)
            }
            ["host", "role" | "arn"] | ["runner", "id"] | ["sts"] | ["proxy", "port"] | ["dollar"] => Ok(()),
            ["each"] if self.each => Ok(()),
            ["variant"] if self.variant => Ok(()),
            ["variant"] => Err((
                "`${variant}` in a job without `variants`".to_owned(),
                "add `variants` to the job".to_owned(),
            )),
            ["each"] => Err((
                "`${each}` in a step without `each`".to_owned(),
                "add `each` to the step".to_owned(),
            )),
            ["role" | "arn", name] => known("role", name, &roles),
            ["saved", name] => known("value saved by an earlier step", name, &saved),
            ["network", name] => known("network", name, &networks),
            ["project" | "job", name] => known("job", name, &jobs),
            [job, container, fact] => {
                let containers = containers(self.case);
                let place = format!("{job}.{container}");
                known(
                    "container",
                    &place,
                    &containers.iter().map(String::as_str).collect::<Vec<_>>(),
                )?;
                known("fact of a container", fact, FACTS)
            }
            _ => Err((
                format!("unknown placeholder `${{{inner}}}`"),
                "known are role.X, arn.X, host.role, host.arn, saved.X, each, network.X, project.J, job.J, runner.id, \
                 J.build.ip (ip6, mac, gateway, name), sts, proxy.port, dollar, repeat:TEXT:N, variant, account, jobs.ip, issuer, \
                 issuer.stranger, issuer.ids, key.stranger, path.J, token.J.NAME, now+300"
                    .to_owned(),
            )),
        }
    }
}

/// The text with a number in the place of every placeholder, which fits where a text or a number is meant.
pub(super) fn without_placeholders(text: &str) -> String {
    expand(text, |_| Some("0".to_owned())).unwrap_or_else(|_| text.to_owned())
}

/// The containers of a case, as steps name them.
pub(super) fn containers(case: &Case) -> Vec<String> {
    let mut names = Vec::new();
    for job in &case.jobs {
        let wait = (!job.services.is_empty()).then_some("wait");
        for kind in ["build", "predefined"]
            .into_iter()
            .chain(wait)
            .chain(job.services.iter().map(|service| service.alias.as_str()))
        {
            names.push(format!("{}.{kind}", job.name));
        }
    }
    names
}
