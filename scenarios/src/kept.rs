//! What `--keep` leaves up after a run: instances with their defence, and the containers of their scenarios as the last step left them. They live no
//! longer than this process; that is how the lab never leaves anything behind.

use std::fmt::{self, Write};
use std::sync::{Mutex, PoisonError};

use crate::play::Actors;
use crate::stage::{Entrance, Stage};

/// Scenarios kept at most: each may have an instance of its own, with an engine, two fakes and a proxy.
pub const KEPT_AT_MOST: usize = 16;

/// Stages that have been played on and stay up.
#[derive(Default)]
pub struct Kept {
    stages: Mutex<Vec<KeptStage>>,
}

/// A stage, and what each scenario left on it.
struct KeptStage {
    stage: Stage,
    left: Vec<(String, Actors)>,
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").finish_non_exhaustive()
    }
}

impl Kept {
    /// Takes a stage in, with what each scenario left there.
    pub(crate) fn take_in(&self, stage: Stage, left: Vec<(String, Actors)>) {
        self.stages
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(KeptStage { stage, left });
    }

    /// What is up and how to get in, for a person.
    pub fn describe(&self) -> String {
        let stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for KeptStage { stage, left } in stages.iter() {
            let containers: Vec<(String, Vec<(String, String)>)> = left
                .iter()
                .map(|(scenario, actors)| (scenario.clone(), actors.names()))
                .collect();
            text.push_str(&describe(&stage.standing.label(), &stage.entrance(), &containers));
        }
        text
    }

    /// Takes everything down.
    pub async fn strike(self) {
        let stages = self.stages.into_inner().unwrap_or_else(PoisonError::into_inner);
        for KeptStage { stage, left } in stages {
            // The probes end with their channels; the containers go with the instance.
            drop(left);
            stage.strike().await;
        }
    }
}

/// One instance, and each scenario's containers by the names that its steps use.
fn describe(standing: &str, entrance: &Entrance, containers: &[(String, Vec<(String, String)>)]) -> String {
    let mut text = format!("kept, with the defence {standing}:\n{entrance}\n");
    for (scenario, names) in containers {
        for (place, name) in names {
            let _ = writeln!(text, "  {scenario:<9} {place} is {name}");
        }
        if names.is_empty() {
            let _ = writeln!(text, "  {scenario:<9} has no container any more");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_is_told_every_way_in() {
        let entrance = Entrance {
            docker_host: "unix:///tmp/lab/0abc/1/docker.sock".to_owned(),
            first_process: 4711,
            state: "/tmp/lab/0abc/1".to_owned(),
        };
        let containers = [
            (
                "USE-01".to_owned(),
                vec![("a.build".to_owned(), "runner-u-project-1-concurrent-0-build".to_owned())],
            ),
            ("NET-01".to_owned(), Vec::new()),
        ];
        insta::assert_snapshot!(describe("proxy", &entrance, &containers), @r"
        kept, with the defence proxy:
          engine    DOCKER_HOST=unix:///tmp/lab/0abc/1/docker.sock docker ps --all
          host      nsenter --target 4711 --mount --uts --ipc --pid --net
          upstream  nsenter --target 4711 --mount --uts --ipc --pid --net ip netns exec upstream sh
          logs      /tmp/lab/0abc/1
          USE-01    a.build is runner-u-project-1-concurrent-0-build
          NET-01    has no container any more
        ");
    }
}
