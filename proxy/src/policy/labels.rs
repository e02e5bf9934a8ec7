//! The labels that GitLab Runner always sets, read strictly. An image can add labels of its own but cannot override these; one that is
//! absent was not set by the runner, so that an image's label of that name must not count (rule: missing is a refusal).

use std::collections::BTreeMap;
use std::time::Duration;

use super::Reason;
use crate::config::{Host, Kind, RUNNER_PREFIX, Ref, Runner, SystemId, parse_number};

/// What the runner says of the job that a container belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// What the container is to the job.
    pub kind: Kind,
    /// The runner that made it.
    pub runner: Runner,
    /// The machine that the runner runs on.
    pub system_id: SystemId,
    /// The GitLab server.
    pub gitlab: Host,
    /// The project that the pipeline runs in.
    pub project: u64,
    /// The job.
    pub job: u64,
    /// The pipeline.
    pub pipeline: u64,
    /// The ref: branch, tag or merge request, protected or not. The label does not tell.
    pub r#ref: Ref,
    /// How long the job may take.
    pub timeout: Duration,
}

/// Whether the container carries any label of the runner's, whoever set it. Then it is a job's container or nobody's.
#[must_use]
pub(super) fn has_any(labels: &BTreeMap<String, String>) -> bool {
    labels.keys().any(|key| key.starts_with(RUNNER_PREFIX))
}

/// Reads the runner's labels.
///
/// # Errors
/// When one is absent, is not as the runner writes it, or may be the image's.
pub fn read(labels: &BTreeMap<String, String>, image_labels: &BTreeMap<String, String>) -> Result<Job, Reason> {
    let labels = Labels {
        of_container: labels,
        of_image: image_labels,
    };
    labels.read("managed", |text| (text == "true").then_some(()))?;
    let kind = labels.read("type", Kind::parse)?;
    let runner = labels.read("runner.id", |text| Runner::parse(text).ok())?;
    labels.read("runner.local_id", is_slot)?;
    let system_id = labels.read("runner.system_id", |text| SystemId::parse(text).ok())?;
    let project = labels.read("project.id", |text| parse_number(text).ok())?;
    labels.read("project.runner_id", is_slot)?;
    let job = labels.read("job.id", |text| parse_number(text).ok())?;
    let (gitlab, job_of_url) = labels.read("job.url", parse_job_url)?;
    labels.read("job.sha", is_commit)?;
    labels.read("job.before_sha", is_commit)?;
    let r#ref = labels.read("job.ref", |text| Ref::parse(text).ok())?;
    let timeout = labels.read("job.timeout", parse_duration)?;
    let pipeline = labels.read("pipeline.id", |text| parse_number(text).ok())?;
    if job_of_url != job {
        return Err(Reason::JobUrlOfAnotherJob);
    }
    Ok(Job {
        kind,
        runner,
        system_id,
        gitlab,
        project,
        job,
        pipeline,
        r#ref,
        timeout,
    })
}

struct Labels<'l> {
    of_container: &'l BTreeMap<String, String>,
    of_image: &'l BTreeMap<String, String>,
}

impl Labels<'_> {
    fn read<T>(&self, name: &'static str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T, Reason> {
        let key = format!("{RUNNER_PREFIX}{name}");
        let text = self.of_container.get(&key).ok_or(Reason::LabelMissing(name))?;
        // The engine fills labels that the create request lacks from the image. With an equal value there, nothing says that the
        // runner set it, or that the runner made this container at all (IMG-02).
        if self.of_image.get(&key) == Some(text) {
            return Err(Reason::LabelFromImage(name));
        }
        parse(text).ok_or(Reason::LabelMalformed(name))
    }
}

/// A concurrency slot: a decimal number, from 0.
fn is_slot(text: &str) -> Option<()> {
    ((1..=10).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())).then_some(())
}

/// A SHA-1 or SHA-256 object name.
fn is_commit(text: &str) -> Option<()> {
    let good = matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    good.then_some(())
}

/// A duration as Go prints it, such as `1h0m0s` or `1m0.5s`: hours, minutes and seconds, in that order, seconds always.
fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut seconds = 0_u64;
    for (unit, factor) in [('h', 3600), ('m', 60)] {
        if let Some((number, behind)) = rest.split_once(unit) {
            seconds = seconds.checked_add(parse_whole(number)?.checked_mul(factor)?)?;
            rest = behind;
        }
    }
    let last = rest.strip_suffix('s')?;
    let whole = match last.split_once('.') {
        // Rounded up: what is compared is minutes and hours.
        Some((whole, fraction)) => parse_whole(fraction).and(parse_whole(whole))?.checked_add(1)?,
        None => parse_whole(last)?,
    };
    seconds.checked_add(whole).map(Duration::from_secs)
}

fn parse_whole(text: &str) -> Option<u64> {
    let good = (1..=9).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    good.then(|| text.parse().ok()).flatten()
}

/// `https://HOST/PATH/-/jobs/ID`: the host and the job.
fn parse_job_url(text: &str) -> Option<(Host, u64)> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
    let (host, path) = rest.split_once('/')?;
    let host = Host::parse(host).ok()?;
    let (project, job) = path.rsplit_once("/-/jobs/")?;
    let plain = |segment: &str| {
        !segment.is_empty()
            && segment != "."
            && segment != ".."
            && segment
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'~' | b'+'))
    };
    let good = text.len() <= 2048 && project.split('/').all(plain);
    good.then_some(())?;
    Some((host, parse_number(job).ok()?))
}
