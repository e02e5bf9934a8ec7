//! A job that asks on through whatever happens, and the record of all that it ever got.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::RemoveContainerOptionsBuilder;
use fake_sts::provenance;
use libtest_mimic::Failed;
use metadata_proxy::selftest::image;

use crate::Outcome;
use crate::job::{RECORDS, Step};
use crate::whole::check;
use crate::world::{SOON, World, labels_of_job, role};

/// A second sanctioned project, beside the one that every world has.
const RULE: &str = r#"
[[rule]]
name = "release"
runner = "Ab3dEf9_x"
gitlab = "gitlab.example.com"
project = 30
role = "release"
"#;

/// A project with one role, one with another, and one with none.
pub(crate) const PROJECTS: [u32; 3] = [20, 30, 21];

/// A world with a place for records.
pub(crate) async fn start_world(name: &str) -> Result<World, Failed> {
    let world = World::start_in(name, "", RULE, &role("release")).await?;
    fs::create_dir(world.instance.state_dir().join("records"))?;
    Ok(world)
}

pub(crate) struct Asker {
    pub(crate) id: String,
    record: PathBuf,
    project: u32,
    job: u32,
}

impl Asker {
    /// Starts a job's container. No two of a world have one name.
    pub(crate) async fn start(
        world: &World,
        network: &str,
        project: u32,
        job: u32,
        name: &str,
    ) -> Result<Self, Failed> {
        let records = world.instance.state_dir().join("records");
        let body = ContainerCreateBody {
            image: Some("job:it".to_owned()),
            cmd: Some([image::PROGRAM, "ask-on", name].map(str::to_owned).into()),
            env: Some(vec![format!("LD_LIBRARY_PATH={}", image::LIBRARIES)]),
            labels: Some(labels_of_job(project, job)),
            // As the first process of its container it would ignore anything else, and an engine that stops would wait.
            stop_signal: Some("SIGKILL".to_owned()),
            host_config: Some(HostConfig {
                network_mode: Some(network.to_owned()),
                binds: Some(vec![format!("{}:{RECORDS}", records.display())]),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        Ok(Self {
            id: world.launch(body).await?,
            record: records.join(name),
            project,
            job,
        })
    }

    /// Its role, if its project has one.
    const fn role(&self) -> Option<&'static str> {
        match self.project {
            20 => Some("deploy"),
            30 => Some("release"),
            _ => None,
        }
    }

    /// All that it met so far.
    pub(crate) fn steps(&self) -> Result<Vec<Step>, Failed> {
        let text = fs::read_to_string(&self.record).unwrap_or_default();
        // The last line may be on its way.
        let (whole, _) = text.rsplit_once('\n').unwrap_or_default();
        let steps = whole.lines().map(serde_json::from_str);
        Ok(steps.collect::<Result<_, _>>()?)
    }

    /// Waits until it has met such a step after the first so many.
    pub(crate) async fn wait(
        &self,
        world: &World,
        words: &str,
        after: usize,
        is_met: impl Fn(&Step) -> bool,
    ) -> Outcome {
        let look = async {
            let mut looks = tokio::time::interval(Duration::from_millis(20));
            while !self.steps()?.iter().skip(after).any(&is_met) {
                looks.tick().await;
            }
            Ok(())
        };
        match tokio::time::timeout(SOON, look).await {
            Ok(met) => met,
            Err(_) => check(
                false,
                &(
                    words,
                    self.project,
                    self.steps()?.iter().rev().take(8).collect::<Vec<_>>(),
                ),
                world,
            ),
        }
    }

    /// Waits until it has what is its own, after the first so many steps; who has no role, until he was told so.
    pub(crate) async fn wait_served(&self, world: &World, after: usize) -> Outcome {
        let status = if self.role().is_some() { 200 } else { 403 };
        let name = if status == 200 { "credentials" } else { "token" };
        self.wait(world, "never served", after, |step| {
            step.name == name && step.status == status
        })
        .await
    }

    /// Waits until a request for its credentials came to nothing, after the first so many steps.
    pub(crate) async fn wait_refused(&self, world: &World, after: usize) -> Outcome {
        self.wait(world, "always served", after, |step| {
            step.name == "credentials" && step.status != 200
        })
        .await
    }

    /// Checks that it never got anything but its own.
    pub(crate) fn check(&self, world: &World) -> Outcome {
        let steps = self.steps()?;
        check(!steps.is_empty(), &"it never asked", world)?;
        match steps.iter().find(|step| !self.may_get(step)) {
            None => Ok(()),
            Some(step) => check(false, &(self.project, self.job, step), world),
        }
    }

    fn may_get(&self, step: &Step) -> bool {
        if step.status != 200 {
            return !step.body.contains("AccessKeyId") && !step.body.contains("lab-host");
        }
        let Some(role) = self.role() else { return false };
        match step.name.as_str() {
            "token" => step.body.len() == 56,
            "list" => step.body == role,
            "credentials" => {
                let document: serde_json::Value = serde_json::from_str(&step.body).unwrap_or_default();
                let token = document.get("Token").and_then(serde_json::Value::as_str);
                provenance::decode(token.unwrap_or_default()).is_ok_and(|provenance| {
                    provenance.role_arn == format!("arn:aws:iam::123456789012:role/{role}")
                        && provenance.session_name == format!("{}-{}-Ab3dEf9_x", self.project, self.job)
                })
            }
            _ => false,
        }
    }

    /// Removes its container, as the runner does, and checks what it got.
    pub(crate) async fn end(self, world: &World) -> Outcome {
        let options = RemoveContainerOptionsBuilder::default().force(true).build();
        world.docker.remove_container(&self.id, Some(options)).await?;
        self.check(world)
    }
}

/// One job of each project.
pub(crate) struct Askers(Vec<Asker>);

impl Askers {
    /// Starts them in this order, so that their addresses are in this order too.
    pub(crate) async fn start(
        world: &World,
        projects: impl IntoIterator<Item = u32>,
        job: u32,
    ) -> Result<Self, Failed> {
        let mut askers = Vec::new();
        for project in projects {
            askers.push(Asker::start(world, "default", project, job, &format!("{project}-{job}")).await?);
        }
        Ok(Self(askers))
    }

    /// How much each has met.
    pub(crate) fn mark(&self) -> Result<Vec<usize>, Failed> {
        self.0.iter().map(|asker| Ok(asker.steps()?.len())).collect()
    }

    /// Waits until each has what is its own, from this mark on.
    pub(crate) async fn wait_served(&self, world: &World, mark: &[usize]) -> Outcome {
        for (at, asker) in self.0.iter().enumerate() {
            asker
                .wait_served(world, mark.get(at).copied().unwrap_or_default())
                .await?;
        }
        Ok(())
    }

    /// Waits until nobody gets anything, from this mark on.
    pub(crate) async fn wait_refused(&self, world: &World, mark: &[usize]) -> Outcome {
        for (at, asker) in self.0.iter().enumerate() {
            asker
                .wait_refused(world, mark.get(at).copied().unwrap_or_default())
                .await?;
        }
        Ok(())
    }

    /// Checks them all, whether their containers are still there or not.
    pub(crate) fn check(&self, world: &World) -> Outcome {
        self.0.iter().try_for_each(|asker| asker.check(world))
    }

    /// Ends them all.
    pub(crate) async fn end(self, world: &World) -> Outcome {
        for asker in self.0 {
            asker.end(world).await?;
        }
        Ok(())
    }
}
