//! Which proxy of somebody else's is put under test, as the command line says it.

use std::path::Path;

use clap::Args;

use crate::ambient::Ambient;
use crate::case::model::{Case, Defence};
use crate::external::{CLIENT, External, Redirect, Started, last_lines, locate, split};
use crate::report::NotRun;
use crate::run::Item;
use crate::stage::{Stage, Standing, Workshop};

use super::{Exit, complain};

/// What `run` takes beside everything else.
#[derive(Debug, Args)]
pub(super) struct ExternalArguments {
    /// Somebody else's metadata proxy, as the defence external: a program and its arguments. Quotes and backslashes count as in a shell, nothing is expanded. It runs on the instance, in this working directory, with PORT=8000, DOCKER_HOST, AWS_ENDPOINT_URL (also _STS, _IAM) and AWS_REGION, nothing else but PATH; its own credentials are at 169.254.169.254. More variables: 'env NAME=VALUE … program'
    #[arg(long, value_name = "CMD")]
    proxy_command: Option<String>,
    /// The same as an image of this machine's engine: it runs on the instance's engine with --network host, the instance's Docker socket at /var/run/docker.sock, and the same variables
    #[arg(long, value_name = "IMAGE", conflicts_with = "proxy_command")]
    proxy_image: Option<String>,
    /// What leads jobs to that proxy [default: documented]
    #[arg(long, value_enum, value_name = "RULES")]
    proxy_rules: Option<Redirect>,
}

impl ExternalArguments {
    /// Whether a proxy is named.
    pub(super) const fn is_named(&self) -> bool {
        self.proxy_command.is_some() || self.proxy_image.is_some()
    }

    /// The proxy under test, if one is named, and the defences of the run: naming one implies `external`.
    pub(super) fn read(
        &self,
        defences: &mut Vec<Standing>,
        implied: bool,
        ambient: &Ambient,
    ) -> Result<Option<External>, String> {
        let external = Standing::Defence(Defence::External);
        let program = match (&self.proxy_command, &self.proxy_image) {
            (Some(line), _) => Started::Command(split(line).map_err(|error| format!("--proxy-command: {error}"))?),
            (None, Some(image)) => Started::Image(image.clone()),
            (None, None) if defences.contains(&external) => {
                return Err("the defence external is somebody else's proxy: say which with --proxy-command CMD or --proxy-image IMAGE".to_owned());
            }
            (None, None) if self.proxy_rules.is_some() => {
                return Err(
                    "--proxy-rules are for a proxy under test: name it with --proxy-command CMD or --proxy-image IMAGE"
                        .to_owned(),
                );
            }
            (None, None) => return Ok(None),
        };
        if implied {
            defences.push(external);
        } else if !defences.contains(&external) {
            return Err(
                "a proxy under test is for the defence external: add it to --defence, or leave --defence out"
                    .to_owned(),
            );
        }
        let proxy = External {
            program,
            rules: self.proxy_rules.unwrap_or_default(),
        };
        is_there(&proxy, ambient)?;
        Ok(Some(proxy))
    }
}

/// Whether the program can be found: told before anything is built for it.
pub(super) fn is_there(proxy: &External, ambient: &Ambient) -> Result<(), String> {
    let (name, option) = match &proxy.program {
        Started::Command(words) => (words.first().map_or("", String::as_str), "--proxy-command"),
        Started::Image(_) => (CLIENT, "--proxy-image"),
    };
    let found = locate(name, &ambient.directory, ambient.path.as_deref());
    found.map(drop).map_err(|error| format!("{option}: {error}"))
}

/// Starts the proxy once, on an instance of its own, so that one that cannot serve is told of once.
pub(super) async fn try_out(workshop: &Workshop) -> Result<(), Exit> {
    let Some(external) = &workshop.external else {
        return Ok(());
    };
    match Stage::build(workshop, Standing::Defence(Defence::External), &[]).await {
        Ok(stage) => {
            stage.strike().await;
            Ok(())
        }
        Err(error) => {
            complain(&format!("error: {external}: {}", error.why()));
            Err(Exit::CannotRun)
        }
    }
}

/// What is run, and what is not because the question does not arise for the defence. A case that says nothing of a defence is left out without a word, but
/// of an external proxy somebody may wonder.
pub(super) fn divide<'a>(selected: &[&'a Case], standings: &[Standing]) -> (Vec<Item<'a>>, Vec<NotRun>) {
    let mut items = Vec::new();
    let mut left_out = Vec::new();
    for (standing, case) in standings
        .iter()
        .flat_map(|standing| selected.iter().map(move |case| (standing, *case)))
    {
        let defence = standing.judged_as();
        match case.unasked_because(defence) {
            Some(reason) => left_out.push(NotRun {
                id: case.id.clone(),
                title: case.title.clone(),
                defence: standing.label(),
                reason,
            }),
            None if case.is_for(defence) => items.push((case, standing.clone())),
            None => {}
        }
    }
    (items, left_out)
}

/// Writes what the proxy wrote beside the reports.
pub(super) fn write_log(workshop: &Workshop, directory: &Path) -> std::io::Result<()> {
    if workshop.external.is_none() {
        return Ok(());
    }
    std::fs::write(directory.join("proxy.log"), workshop.proxy_log())
}

/// What the proxy wrote last, for a person whose run ends in nothing.
pub(super) fn tell_last_words(workshop: &Workshop) {
    let last = last_lines(&workshop.proxy_log(), str::to_owned);
    complain(&format!(
        "what the proxy under test wrote last (all of it with --report DIR, in DIR/proxy.log):{last}"
    ));
}
