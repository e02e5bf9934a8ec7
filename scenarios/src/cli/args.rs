//! The command line's words. Names are a contract: other people's scripts use them.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::external::ExternalArguments;
use crate::case::model::Defence;
use crate::stage::Standing;

/// Attacks a defence of the EC2 metadata endpoint from real job containers, and says with evidence what held.
///
/// An instance in a box is built for it: namespaces with a Docker engine of their own, a fake metadata service behind a routed hop, a fake STS. Nothing
/// of this machine is touched and no packet leaves it. Only `audit` needs no lab: it looks at the real endpoint, from inside a live job.
#[derive(Debug, Parser)]
#[command(name = "scenarios", version, max_term_width = 100, after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// Where the case files are
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) cases: Option<PathBuf>,
    /// Tell what is done, step by step, on stderr
    #[arg(long, short, global = true)]
    pub(super) verbose: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  scenarios run                            every scenario against the metadata proxy
  scenarios run NET --defence none         what happens without a defence
  scenarios run --matrix --report report   every defence, judged by what the cases say of it
  scenarios run --proxy-command CMD        somebody else's metadata proxy, on an instance of the lab
  scenarios controls                       each scenario against the hole it exists for
  scenarios explain ROLE-02                what an attack is and what stops it
  scenarios run ROLE-02 --keep             and leave instance and containers up to look at
  scenarios replay report ROLE-02          again, from a report: same seed, same order
  scenarios shell -- get /latest/          one request from a job container behind the proxy
  scenarios audit --expect ROLE            in a job of your own pipeline: what is open there

Exit codes: 0 everything held, 1 something leaked, was unexpected or void, 2 usage or a broken file,
3 this machine cannot run the lab, or the proxy under test does not start, 4 nothing matched.";

const AUDIT: &str = "\
It talks to the real endpoint of wherever it runs, and refuses outside a container of a CI job.

What it sends   GETs of role lists, of the credentials of a role that is listed, and of what only
                the host should have (user-data, identity document, tags and the like); a PUT for
                a token of 60 seconds; GETs at the gateway's ports 80, 2375, 8000, 8181, 51678 and
                51679, at 169.254.170.2 and 169.254.170.23, and at the engine, web proxy and
                container credentials that the environment names. 160 requests at most, within
                20 seconds. AWS is asked only with --identify.
What it reads   Its environment, /proc of its own process, the SDKs' files. It connects to
                engines' sockets and sends nothing there.
What it never   prints, logs or stores: a credential, a token, a body. Of credentials it tells
                the role, the last four characters of the key id, and whether they have the
                right shape.

Exit codes: 0 nothing is open that was not sanctioned, 1 something is (or time ran out), 2 usage,
3 this is no CI job.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run scenarios against a defence
    Run {
        #[command(flatten)]
        options: RunArguments,
        #[command(flatten)]
        external: ExternalArguments,
    },
    /// Run every scenario against the hole it exists for; red is success
    Controls(RunArguments),
    /// List the scenarios
    List {
        /// Ids, families or parts of names; all when absent
        filter: Vec<String>,
        /// How to print them
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Say what an attack is, why it works where it works, and what stops it
    Explain {
        /// The scenario's id, for example ROLE-02
        id: String,
    },
    /// Run what a report holds again, with the same seed and in the same order, and say whether the same came out
    Replay {
        /// A report.json, or the directory it is in
        report: PathBuf,
        /// Only these scenarios
        id: Vec<String>,
    },
    /// Make requests from a job container by hand: one after the `--`, or at a prompt (`help` lists them)
    Shell {
        /// What stands between the job and credentials [default: proxy]
        #[arg(long, value_name = "DEFENCE", value_parser = defence)]
        defence: Option<Defence>,
        #[command(flatten)]
        external: ExternalArguments,
        /// Seed of every marker and id
        #[arg(long, default_value = "lab")]
        seed: String,
        /// What to do in the container, instead of asking at a prompt
        #[arg(last = true, value_name = "PROBE-ARGS")]
        words: Vec<String>,
    },
    /// From inside a live CI job: which ways to credentials are open here
    #[command(after_help = AUDIT)]
    Audit(AuditArguments),
    /// Print the JSON schema of case files
    Schema,
    /// Say what this machine lacks to run the lab, and the command that installs it
    Doctor,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A line each
    Text,
    /// JSON
    Json,
}

#[derive(Debug, Args)]
pub(super) struct AuditArguments {
    /// The role that this job is sanctioned for, by name or ARN, or `none`: everything else that is open is a finding
    #[arg(long, value_name = "ROLE")]
    pub(super) expect: Option<String>,
    /// Ways that are meant to be open, by the name in the table's first column
    #[arg(long, value_name = "WAY", value_delimiter = ',')]
    pub(super) allow: Vec<String>,
    /// How to print the report
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
    /// Have an unmodified SDK find credentials, and STS say whose they are (GetCallerIdentity)
    #[arg(long)]
    pub(super) identify: bool,
    /// Also outside a container of a CI job: the endpoint may be the operator's own
    #[arg(long)]
    pub(super) anyway: bool,
}

#[derive(Debug, Args)]
pub(super) struct RunArguments {
    /// Ids, families or parts of names; all when absent
    pub(super) filter: Vec<String>,
    /// What stands between jobs and credentials: none, firewall, hop-limit, hop-limit-2, hop-limit-v1, instance-profile, proxy, firewall+proxy, oidc, oidc-only, external [default: proxy, or all with --matrix]
    #[arg(long, value_name = "DEFENCE", value_delimiter = ',', value_parser = defence)]
    pub(super) defence: Vec<Defence>,
    /// Judge every defence by what the cases expect of it: a documented leak is no failure
    #[arg(long)]
    pub(super) matrix: bool,
    /// Scenarios at the same time [default: four times the processors]
    #[arg(long, value_name = "N")]
    pub(super) jobs: Option<usize>,
    /// Run only the K-th of N parts
    #[arg(long, value_name = "K/N", value_parser = shard, default_value = "1/1")]
    pub(super) shard: (usize, usize),
    /// Write report.json, junit.xml and report.html here
    #[arg(long, value_name = "DIR")]
    pub(super) report: Option<PathBuf>,
    /// Seed of every marker and id
    #[arg(long, default_value = "lab")]
    pub(super) seed: String,
    /// No progress on stderr
    #[arg(long)]
    pub(super) quiet: bool,
    /// Leave instances and containers up until Enter or Ctrl-C, and say how to get in
    #[arg(long)]
    pub(super) keep: bool,
}

impl RunArguments {
    /// The arguments of a run that repeats another.
    pub(super) const fn replaying(seed: String, matrix: bool) -> Self {
        Self {
            filter: Vec::new(),
            defence: Vec::new(),
            matrix,
            jobs: None,
            shard: (1, 1),
            report: None,
            seed,
            quiet: false,
            keep: false,
        }
    }

    /// What to run against: the proxy unless said otherwise, everything with `--matrix`.
    pub(super) fn defences(&self) -> Vec<Standing> {
        let chosen = match (self.defence.is_empty(), self.matrix) {
            (false, _) => self.defence.clone(),
            (true, true) => Defence::MATRIX.to_vec(),
            (true, false) => vec![Defence::Proxy],
        };
        chosen.into_iter().map(Standing::Defence).collect()
    }

    /// Whether a proxy that is named is a defence without being called one.
    pub(super) const fn implies_external(&self) -> bool {
        self.defence.is_empty()
    }

    /// Whether documented leaks are no failure.
    pub(super) const fn matrix(&self) -> bool {
        self.matrix
    }
}

fn defence(word: &str) -> Result<Defence, String> {
    Defence::parse(word).ok_or_else(|| {
        let known: Vec<_> = Defence::ALL.iter().map(|defence| defence.as_str()).collect();
        format!("one of {}", known.join(", "))
    })
}

fn shard(word: &str) -> Result<(usize, usize), String> {
    let parts = word
        .split_once('/')
        .and_then(|(k, n)| Some((k.parse().ok()?, n.parse().ok()?)));
    match parts {
        Some((k, n)) if 1 <= k && k <= n => Ok((k, n)),
        _ => Err("K/N with 1 ≤ K ≤ N, for example 1/2".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_help_teaches() {
        insta::assert_snapshot!(Arguments::command().term_width(100).render_long_help());
    }
}
