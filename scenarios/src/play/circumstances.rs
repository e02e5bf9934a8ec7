//! What changes around the requests: a container frozen, renamed or started anew, rules of the host flushed, the engine restarted. Judges nothing
//! but whether a datagram came through.

use std::time::Duration;

use bollard::query_parameters::{RenameContainerOptionsBuilder, WaitContainerOptions};
use futures_util::StreamExt as _;
use lab::Program;

use super::actors::missing;
use super::lines::Line;
use super::steps::Got;
use super::{Play, PlayError};
use crate::case::model::{Action, Step};
use crate::oracle::answer::Exchange;
use crate::probe::protocol::{Knock, Knocked};
use crate::verdict::Verdict;

/// How long a program of the host, or the end of a container, may take.
const SOON: Duration = Duration::from_secs(10);

/// Moves a process into a control group below its own, in the unified hierarchy wherever that is mounted: process, name.
const NEST: &str = r#"own=$(sed -n 's/^0:://p' "/proc/$1/cgroup")
root=/sys/fs/cgroup
[ -d "$root/unified" ] && root=$root/unified
mkdir "$root$own/$2" && echo "$1" > "$root$own/$2/cgroup.procs""#;

impl Play<'_> {
    /// Changes what is around the requests.
    pub(super) async fn change(&mut self, step: &Step, each: Option<&str>) -> Result<(), PlayError> {
        let place = step.place.as_str();
        match step.action {
            Action::Run => {
                let program = step.program.as_deref().unwrap_or_default();
                let args: Vec<String> = step
                    .args
                    .iter()
                    .map(|arg| self.expand(arg, each))
                    .collect::<Result<_, _>>()?;
                self.on_host(&Program::new(program).args(args)).await
            }
            Action::Rules => {
                self.stage
                    .change_rules(step.signal.as_deref().unwrap_or_default())
                    .await
            }
            Action::Engine => {
                self.actors.silence();
                self.stage.restart_engine().await
            }
            Action::Exec => {
                let channel = self
                    .member_at(place)?
                    .exec()
                    .await
                    .map_err(|error| PlayError::lab(format!("another process in {place}"), &error))?;
                let own = self.view_at(place).own;
                self.actors
                    .connect_line(place, Line::Container(channel), Vec::new(), own);
                Ok(())
            }
            Action::Nest => self.nest(place, step.name.as_deref().unwrap_or_default()).await,
            Action::Restart => self.restart(place).await,
            _ => self.ask_engine(step, each).await,
        }
    }

    fn member_at(&self, place: &str) -> Result<std::sync::Arc<crate::runner::Member>, PlayError> {
        self.actors.member(place).ok_or_else(|| missing(place))
    }

    async fn ask_engine(&self, step: &Step, each: Option<&str>) -> Result<(), PlayError> {
        let docker = &self.stage.docker;
        let id = &self.member_at(&step.place)?.id;
        let done = match step.action {
            Action::Pause => docker.pause_container(id).await,
            Action::Unpause => docker.unpause_container(id).await,
            _ => {
                let name = self.expand(step.name.as_deref().unwrap_or_default(), each)?;
                let options = RenameContainerOptionsBuilder::default().name(&name).build();
                docker.rename_container(id, options).await
            }
        };
        done.map_err(|error| PlayError::lab(format!("{:?} {}", step.action, step.place), &error))
    }

    /// SIGKILL, the end awaited, and another run under the same id.
    async fn restart(&mut self, place: &str) -> Result<(), PlayError> {
        let member = self.member_at(place)?;
        self.actors.kill(&self.stage.docker, place).await?;
        let mut ended = self
            .stage
            .docker
            .wait_container(&member.id, None::<WaitContainerOptions>);
        if tokio::time::timeout(SOON, ended.next()).await.is_err() {
            return Err(PlayError::Lab {
                what: format!("restarting {place}"),
                why: "it does not end".to_owned(),
            });
        }
        self.begin(place).await
    }

    /// What a job with a writable cgroup file system does to itself; here the host does it for the job.
    async fn nest(&mut self, place: &str, victim: &str) -> Result<(), PlayError> {
        let pid = self.actors.look(place).await?.pid.ok_or_else(|| missing(place))?;
        // With the cgroupfs driver, which the lab's engine uses, a container's group is called by its id.
        let name = self.member_at(victim)?.id.clone();
        let program = Program::new("/bin/sh").args(["-ec", NEST, "nest", &pid.to_string(), &name]);
        self.on_host(&program).await
    }

    async fn on_host(&self, program: &Program) -> Result<(), PlayError> {
        let what = || format!("running {program:?} on the instance");
        let output = self.stage.run_on_host(program, SOON).await?;
        if output.status.success() {
            return Ok(());
        }
        Err(PlayError::Lab {
            what: what(),
            why: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }

    /// One datagram. Whatever answers for the address, be it that no such port is there, shows that the packet came through.
    pub(super) async fn knock(&mut self, step: &Step, each: Option<&str>) -> Result<Got, PlayError> {
        let to = self.expand(step.to.as_deref().unwrap_or_default(), each)?;
        let protocol = step.protocol.clone().unwrap_or_default();
        let line = self.line_at(&step.place)?;
        let knock = Knock {
            to: to.clone(),
            protocol: protocol.clone(),
            wait_ms: None,
        };
        let answer = line.must(self.stage, &step.place, knock).await?;
        let what = format!("{protocol} to {to}");
        Ok(Got {
            verdict: Some(match answer.outcome {
                Knocked::Reached => Verdict::Other("reached".to_owned()),
                Knocked::Stopped | Knocked::Nothing => Verdict::Blocked,
            }),
            exchanges: vec![Exchange {
                place: step.place.clone(),
                request: what.clone(),
                connect: answer.said,
                ..Exchange::default()
            }],
            what,
        })
    }
}
