//! The defence while a case is played: the proxy's process, the rules, and what a case does to them. Knows no case.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lab::{Output, Place, Process, Program};

use super::{PROXY_PORT, SERVING, STS_URL, Stage};
use crate::case::model::Case;
use crate::compose;
use crate::play::{PlayError, literal_image};

/// How long a program may take to stop.
const STOPPING: Duration = Duration::from_secs(5);

/// How long a proxy that serves may take to put another policy in force.
const RELOADING: Duration = Duration::from_secs(10);
/// How a proxy says that it did.
const RELOADED: &str = "policy reloaded";
/// The operator's configuration, in the instance's state directory.
pub(super) const POLICY_FILE: &str = "metadata-proxy.toml";

/// Where rules of the defence come from.
#[derive(Debug)]
pub(super) enum Rules {
    /// The firewall defence.
    Firewall,
    /// The redirect that other people's proxies document.
    Documented,
    /// The proxy's own, by its own command.
    Proxy {
        /// Applies them.
        apply: Box<Program>,
        /// Removes them.
        remove: Box<Program>,
    },
}

impl Rules {
    /// The proxy's rules, by the command with this verb.
    pub(super) fn proxy(command: impl Fn(&'static str) -> Program) -> Self {
        Self::Proxy {
            apply: Box::new(command("apply")),
            remove: Box::new(command("remove")),
        }
    }
}

/// What guards the endpoint.
#[derive(Debug, Default)]
pub(super) struct Guard {
    /// None where there are none, or where the proxy brings its own.
    pub(super) rules: Vec<Rules>,
    /// How the proxy is started.
    pub(super) program: Option<Program>,
    /// It is somebody else's: that it serves is seen by its listener.
    pub(super) is_external: bool,
    /// Speaks with the engine of its container, where it runs in one.
    pub(super) client: Option<Program>,
    /// Every process of it there was; the last one is the one that may run.
    processes: Mutex<Vec<Arc<Process>>>,
}

impl Guard {
    fn processes(&self) -> Vec<Arc<Process>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn said(&self) -> String {
        let each = self.processes();
        let texts: Vec<String> = each
            .iter()
            .map(|process| format!("{}\n{}", process.stdout(), process.stderr()))
            .collect();
        texts.join("\n")
    }
}

impl Stage {
    /// Does to the proxy what a case asks for. `start` must end in a proxy that serves; `try` is content with one that refuses to.
    ///
    /// # Errors
    /// When it does not happen, or the kernel refuses.
    pub async fn signal_proxy(&self, signal: &str) -> Result<(), PlayError> {
        let failed = |error: &dyn std::error::Error| PlayError::lab(format!("{signal} the proxy"), error);
        if signal == "start" || signal == "try" {
            let Some(program) = &self.guard.program else {
                return Ok(());
            };
            if self.guard.is_external {
                // One that another step has left serves the port still, and would be taken for the new one.
                for earlier in self.guard.processes() {
                    earlier.kill().await.map_err(|error| failed(&error))?;
                }
                self.signal_container(signal).await?;
            }
            let process = self
                .instance
                .spawn(Place::Host, program)
                .map_err(|error| failed(&error))?;
            let served = if self.guard.is_external {
                self.wait_until_it_listens(&process).await
            } else {
                let line = process.wait_for_line("listening on", SERVING).await;
                line.map(drop).map_err(|error| failed(&error))
            };
            self.guard
                .processes
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(Arc::new(process));
            return match served {
                Err(error) if signal == "start" => Err(error),
                Ok(()) | Err(_) => Ok(()),
            };
        }
        let Some(proxy) = self.guard.processes().pop() else {
            return Ok(());
        };
        if self.signal_container(signal).await? {
            return Ok(());
        }
        let done = match signal {
            "stop" => proxy.stop(STOPPING).await.map(drop),
            "kill" => proxy.kill().await.map(drop),
            "pause" => proxy.pause(),
            _ => proxy.resume(),
        };
        done.map_err(|error| failed(&error))
    }

    /// The operator's configuration for the stage's cases, without the rules for some jobs, by case and job.
    pub(super) fn policy_text(&self, withdrawn: impl Fn(&str, &str) -> bool) -> String {
        let metrics = format!("unix:{}", self.instance.state_dir().join("metrics.sock").display());
        compose::proxy_config(
            &self.cases,
            withdrawn,
            |case_id, job| self.images.id(&literal_image(case_id, job)),
            &self.instance.docker_host(),
            STS_URL,
            PROXY_PORT,
            &metrics,
        )
    }

    /// Takes the rules for some jobs of a case out of the policy, has the proxy read it again, and waits until it says that it has.
    ///
    /// # Errors
    /// When it does not, or not in time.
    pub async fn reload_policy(&self, case: &Case, without: &[String]) -> Result<(), PlayError> {
        let failed = |error: &dyn std::error::Error| PlayError::lab("reloading the policy", error);
        let Some(proxy) = self.guard.processes().pop() else {
            return Ok(());
        };
        let text = self.policy_text(|id, job| id == case.id && without.iter().any(|name| name == job));
        // Beside it and then in its place: nobody reads half a file.
        let (fresh, file) = ("metadata-proxy.new", POLICY_FILE);
        let state = self.instance.state_dir();
        std::fs::write(state.join(fresh), text).map_err(|error| failed(&error))?;
        std::fs::rename(state.join(fresh), state.join(file)).map_err(|error| failed(&error))?;
        let told = proxy.stdout().lines().filter(|line| line.starts_with(RELOADED)).count();
        proxy.reload().map_err(|error| failed(&error))?;
        let again = proxy.wait_for_lines(RELOADED, told + 1, RELOADING).await;
        again.map(drop).map_err(|error| failed(&error))
    }

    /// Applies or removes the rules of the defence.
    ///
    /// # Errors
    /// When they are refused.
    pub async fn change_rules(&self, verb: &str) -> Result<(), PlayError> {
        for rules in &self.guard.rules {
            self.change(rules, verb).await?;
        }
        Ok(())
    }

    async fn change(&self, rules: &Rules, verb: &str) -> Result<(), PlayError> {
        let failed = |error: &dyn std::error::Error| PlayError::lab(format!("{verb} the rules"), error);
        let program = match (rules, verb) {
            (Rules::Firewall, "remove") => &Program::new("nft").args(["delete", "table", "inet", "lab_firewall"]),
            (Rules::Documented, "remove") => {
                &Program::new("nft").args(["delete", "table", "ip", "documented_redirect"])
            }
            (Rules::Firewall | Rules::Documented, _) => {
                let rules = match rules {
                    Rules::Documented => include_str!("documented.nft"),
                    Rules::Firewall | Rules::Proxy { .. } => include_str!("firewall.nft"),
                };
                let applied = self.instance.apply_rules(Place::Host, rules).await;
                return applied.map_err(|error| failed(&error));
            }
            (Rules::Proxy { remove, .. }, "remove") => remove,
            (Rules::Proxy { apply, .. }, _) => apply,
        };
        let output = self.run_on_host(program, SERVING).await?;
        if output.status.success() {
            return Ok(());
        }
        Err(PlayError::Lab {
            what: format!("{verb} the rules"),
            why: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Restarts the engine as an operator would: its containers end, its own rules are written anew.
    ///
    /// # Errors
    /// When it does not come back.
    pub async fn restart_engine(&self) -> Result<(), PlayError> {
        let restarted = self.instance.restart_engine().await;
        restarted.map_err(|error| PlayError::lab("restarting the engine", &error))?;
        if self.guard.client.is_some() {
            // Its container has ended too, and a service manager starts it with its engine.
            self.signal_proxy("start").await?;
        }
        Ok(())
    }

    /// Runs a program of the host to its end.
    ///
    /// # Errors
    /// When it cannot be run to its end in time.
    pub async fn run_on_host(&self, program: &Program, within: Duration) -> Result<Output, PlayError> {
        let ran = self.instance.run(Place::Host, program, within).await;
        ran.map_err(|error| PlayError::lab(format!("running {}", program.label), &error))
    }

    /// Markers in what the proxy wrote: secrets never reach a log.
    pub fn markers_in_logs(&self) -> BTreeSet<String> {
        self.canaries.find(self.guard.said().as_bytes())
    }

    /// Everything that the proxy said, secrets taken out.
    pub fn proxy_log(&self) -> String {
        let said = self.guard.said();
        said.lines().map(|line| self.redactor.text(line) + "\n").collect()
    }

    /// What the proxy said last, for a person who asks why it failed.
    pub fn last_words(&self) -> String {
        let text = self.guard.said();
        let lines: Vec<&str> = text.lines().collect();
        lines
            .iter()
            .rev()
            .take(20)
            .rev()
            .map(|line| self.redactor.text(line))
            .collect::<Vec<_>>()
            .join("\n")
    }
}
