//! Sets the scene: networks, images, and the jobs as GitLab Runner launches them.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use sha2::{Digest, Sha256};

use super::actors::{missing, network_name, places};
use super::lines::Line;
use super::{Play, PlayError};
use crate::case::model::{Control, Defence, Image, Job, Network, Rule, Variable};
use crate::cast::{GITLAB, REGION, TWIN, project_path};
use crate::image::JobImage;
use crate::oracle::answer::View;
use crate::runner::{self, Circumstances, HELPER_IMAGE, NetworkSpec, Placement, ResolvedImage, RunnerConfig, Setting};
use crate::stage::STS_URL;

/// How much of a container's id a session's name holds, as Docker shows it.
const CONTAINER_DIGITS: usize = 12;

impl Play<'_> {
    /// Everything that is there before the first step.
    pub(super) async fn set_scene(&mut self) -> Result<(), PlayError> {
        for network in &self.case.networks {
            let spec = network_spec(&self.case.id, network);
            let created = runner::create_network(&self.stage.docker, &spec).await;
            created.map_err(|error| PlayError::lab(format!("creating network {}", network.name), &error))?;
            self.actors.note_network(spec.name);
        }
        let defence = self.defence;
        let starts = |job: &&Job| !job.later && job.is_launched_under(defence);
        for job in self.case.jobs.iter().filter(starts) {
            self.launch(job.name.clone()).await?;
        }
        if self.control() == Control::Twin && !self.case.jobs.iter().any(|job| job.name == TWIN) {
            self.launch(TWIN.to_owned()).await?;
        }
        Ok(())
    }

    /// Launches a job of the case, or the twin that only lacks the attack's ingredients.
    pub(super) async fn launch(&mut self, name: String) -> Result<(), PlayError> {
        let twin = Job {
            name: TWIN.to_owned(),
            ..Job::default()
        };
        let job = self.case.jobs.iter().find(|job| job.name == name).unwrap_or(&twin);
        let tokens = self.issue_tokens(job).await?;
        let (plan, setting) = self.plan(job, tokens).await?;
        let launched = runner::launch(&self.stage.docker, &plan, setting).await;
        let running = launched.map_err(|error| PlayError::lab(format!("launching job {name}"), &error))?;
        let aliases: Vec<String> = job.services.iter().map(|service| service.alias.clone()).collect();
        let places = places(&name, &running, &aliases);
        let begun: Vec<String> = places
            .iter()
            .map(|(place, _)| place.clone())
            .filter(|place| setting == Setting::Both || !place.ends_with(".predefined"))
            .collect();
        self.actors.enter(&name, running, places);
        for place in begun {
            self.begin(&place).await?;
            if let Some(other) = &job.shares {
                self.actors.share_wire(&place, other);
            }
        }
        Ok(())
    }

    /// Starts a container again, or joins a further network: its probe, addresses and interfaces are looked at anew.
    pub(super) async fn begin(&mut self, place: &str) -> Result<(), PlayError> {
        let member = self.actors.member(place).ok_or_else(|| missing(place))?;
        let channel = member
            .probe()
            .await
            .map_err(|error| PlayError::lab(format!("reaching the probe in {place}"), &error))?;
        let facts = self.actors.look(place).await?;
        let interfaces = match facts.pid {
            Some(pid) => self.stage.interfaces_of(pid)?,
            None => return Err(missing(place)),
        };
        let own = self.view_at(place).own;
        self.actors
            .connect_line(place, Line::Container(channel), interfaces, own);
        Ok(())
    }

    /// Joins a network of the case's.
    pub(super) async fn join(&mut self, place: &str, network: &str, address: Option<IpAddr>) -> Result<(), PlayError> {
        let member = self.actors.member(place).ok_or_else(|| missing(place))?;
        member
            .connect(network, address)
            .await
            .map_err(|error| PlayError::lab(format!("connecting {place} to {network}"), &error))?;
        self.begin(place).await
    }

    /// How to speak with a place.
    pub(super) fn line_at(&self, place: &str) -> Result<Line, PlayError> {
        match place {
            "host" => Ok(Line::Namespace(lab::Place::Host)),
            "upstream" => Ok(Line::Namespace(lab::Place::Upstream)),
            _ => self.actors.line(place).ok_or_else(|| missing(place)),
        }
    }

    /// What may be seen at a place.
    pub(super) fn view_at(&self, place: &str) -> View {
        match self.actors.job_and_kind(place) {
            Some((job, kind)) => {
                let view = self.view(&job, &kind);
                let is_marked = |rule: &Rule| rule.container.is_some();
                match self.actors.member(place) {
                    Some(member) if self.cast.rules(self.case, &job, &kind).any(is_marked) => View {
                        holder: member.id.chars().take(CONTAINER_DIGITS).collect(),
                        ..view
                    },
                    Some(_) | None => view,
                }
            }
            None => self.view("", ""),
        }
    }

    async fn plan(&self, job: &Job, tokens: Vec<runner::Variable>) -> Result<(runner::JobPlan, Setting), PlayError> {
        let failed = |error: &dyn std::error::Error| PlayError::lab(format!("planning job {}", job.name), error);
        let text = format!("[[runners]]\n{}", self.expand(&self.case.runner.config, None)?);
        let mut config = RunnerConfig::parse("runner.config", &text).map_err(|error| failed(&error))?;
        config.url = format!("https://{}", job.gitlab.as_deref().unwrap_or(GITLAB));
        config.token = format!("glrt-{}", job.runner.as_deref().unwrap_or(&self.cast.runner_id));
        config.executor = "docker".to_owned();
        // What an operator sets so that the SDKs in jobs find this account's STS.
        let mut environment = vec![
            format!("AWS_REGION={REGION}"),
            format!("AWS_ENDPOINT_URL_STS={STS_URL}"),
        ];
        environment.extend(self.told_to_external(job));
        environment.append(&mut config.environment);
        config.environment = environment;

        let git_ref = self.expand(job.git_ref.as_deref().unwrap_or("main"), None)?;
        let (project, id) = self.cast.jobs.get(&job.name).copied().unwrap_or_default();
        let mut payload = runner::Job::new(id, project, &project_path(self.case, job), &git_ref);
        payload.protected = job.protected;
        payload.variables = tokens;
        payload.variables.extend(self.variables(&job.variables)?);
        payload.secrets = self.variables(&job.secrets)?;
        payload.native_steps = job.native_steps;
        payload.timeout = job.timeout.unwrap_or(payload.timeout);
        payload.image = image_name(&self.case.id, job);
        let mut images = BTreeMap::new();
        images.insert(
            HELPER_IMAGE.to_owned(),
            self.image(HELPER_IMAGE, &Image::default()).await?,
        );
        images.insert(payload.image.clone(), self.image(&payload.image, &job.image).await?);
        let wait = format!("{}.wait", job.name);
        let is_waiting = self.case.steps.iter().any(|step| step.place == wait);
        for service in &job.services {
            let name = format!("{}-{}-{}", self.case.id.to_lowercase(), job.name, service.alias);
            let mut resolved = self.image(&name, &service.image).await?;
            if is_waiting {
                // The runner waits for services whose images expose a port.
                resolved.ports.push(SERVICE_PORT);
            }
            images.insert(name.clone(), resolved);
            payload.services.push(runner::Service {
                name,
                alias: service.alias.clone(),
                variables: self.variables(&service.variables)?,
                ..runner::Service::default()
            });
        }
        let digest = Sha256::digest(format!("{} {}", self.case.id, job.name));
        let circumstances = Circumstances {
            concurrent: 0,
            project_concurrent: 0,
            unique: digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect(),
            system_id: "s_0123456789ab".to_owned(),
            api_version: API_VERSION,
            images,
            placement: Placement {
                build_address: job.address.as_deref().and_then(|address| address.parse().ok()),
                ..Placement::default()
            },
        };
        let raw_env: Vec<String> = job
            .raw_env
            .iter()
            .map(|entry| self.expand(entry, None))
            .collect::<Result<_, _>>()?;
        let plan = runner::plan(&config, &payload, &circumstances)
            .map_err(|error| failed(&error))?
            .with_raw_env(&raw_env)
            .with_raw_labels(self.labels(job)?)
            .without_volumes();
        let plan = match &job.shares {
            Some(place) => plan.sharing(&self.actors.member(place).ok_or_else(|| missing(place))?.id),
            None => plan,
        };
        let plan = if is_waiting { plan.with_lasting_waits() } else { plan };
        let predefined = format!("{}.predefined", job.name);
        let setting = if self.case.steps.iter().any(|step| step.place == predefined) {
            Setting::Both
        } else {
            Setting::BuildAlone
        };
        Ok((plan, setting))
    }

    /// How the operator tells an external proxy of a job's role: in the environment that the runner gives to all of the job's containers. An ARN is the
    /// one form that all such proxies understand.
    fn told_to_external(&self, job: &Job) -> Vec<String> {
        let rule = (self.defence == Defence::External)
            .then(|| self.case.told(job))
            .flatten();
        let Some((rule, role)) = rule.and_then(|rule| Some((rule, rule.role.as_ref()?))) else {
            return Vec::new();
        };
        let arn = self.cast.roles.get(role).map(|arn| format!("IAM_ROLE={arn}"));
        let id = rule.external_id.as_ref().map(|id| format!("IAM_EXTERNAL_ID={id}"));
        arn.into_iter().chain(id).collect()
    }

    fn variables(&self, variables: &[Variable]) -> Result<Vec<runner::Variable>, PlayError> {
        variables
            .iter()
            .map(|variable| {
                Ok(runner::Variable {
                    raw: variable.raw,
                    file: variable.file,
                    ..runner::Variable::new(&variable.key, &self.expand(&variable.value, None)?)
                })
            })
            .collect()
    }

    fn labels(&self, job: &Job) -> Result<Option<HashMap<String, String>>, PlayError> {
        let Some(labels) = &job.raw_labels else { return Ok(None) };
        let expanded = labels.iter().map(|(key, value)| {
            let value = self.expand(value, None)?;
            Ok((key.clone(), value))
        });
        expanded.collect::<Result<_, PlayError>>().map(Some)
    }

    async fn image(&self, name: &str, image: &Image) -> Result<ResolvedImage, PlayError> {
        let expanded = |map: &BTreeMap<String, String>| -> Result<Vec<(String, String)>, PlayError> {
            map.iter()
                .map(|(key, value)| Ok((key.clone(), self.expand(value, None)?)))
                .collect()
        };
        let image = JobImage {
            env: expanded(&image.env)?,
            labels: expanded(&image.labels)?,
            entrypoint: entrypoint(image),
            ..JobImage::plain(name)
        };
        let id = self
            .stage
            .images
            .ensure(&image)
            .await
            .map_err(|error| PlayError::lab(format!("loading image {name}"), &error))?;
        Ok(ResolvedImage { id, ports: Vec::new() })
    }
}

/// A port as a database's image exposes it; nobody listens there.
const SERVICE_PORT: u16 = 5432;

/// The name of a job's image in the engine.
pub(crate) fn image_name(case_id: &str, job: &Job) -> String {
    match &job.image.name {
        Some(name) => name.clone(),
        None => format!("{}-{}", case_id.to_lowercase(), job.name),
    }
}

/// A job's image where nothing in it is a placeholder; its id is then known before any engine has it.
pub(crate) fn literal_image(case_id: &str, job: &Job) -> JobImage {
    let literal =
        |map: &BTreeMap<String, String>| map.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    JobImage {
        env: literal(&job.image.env),
        labels: literal(&job.image.labels),
        entrypoint: entrypoint(&job.image),
        ..JobImage::plain(&image_name(case_id, job))
    }
}

/// The probe's own way to ask at once; what the runner has it do comes behind.
fn entrypoint(image: &Image) -> Vec<String> {
    let words: &[&str] = if image.asks_at_once {
        &["/bin/probe", "ask-at-once"]
    } else {
        &[]
    };
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// What Docker 20.10 and later speak with every client; no container here needs more.
const API_VERSION: (u32, u32) = (1, 41);

fn network_spec(case_id: &str, network: &Network) -> NetworkSpec {
    let name = network_name(case_id, &network.name);
    // Docker 20.10 chooses no IPv6 subnet itself: one of its own for each network, from a digest of its name.
    let digest = Sha256::digest(&name);
    let group = |at: usize| {
        digest
            .get(at..at + 2)
            .map(|pair| pair.iter().fold(0_u16, |sum, byte| sum << 8 | u16::from(*byte)))
            .unwrap_or_default()
    };
    let v6 = network.ipv6.then(|| format!("fd1a:{:x}:{:x}::/64", group(0), group(2)));
    let subnets = network.subnet.clone().into_iter().chain(v6).collect();
    NetworkSpec {
        bridge: network.bridge.clone(),
        subnets,
        ..NetworkSpec::named(&name)
    }
}
