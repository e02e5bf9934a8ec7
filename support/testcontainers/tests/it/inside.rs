//! What runs in the child: everything that testcontainers does.

#[path = "../../../../proxy/src/fixture/labels.rs"]
mod labels;

use std::collections::BTreeMap;
use std::time::Duration;

use libtest_mimic::Failed;
use metadata_testcontainers::{CONTROL_PORT, DATA_PORT, FakeImds, FakeSts, LocalImage, install};
use testcontainers::core::WaitFor;
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, GenericImage, ImageExt as _};

use labels::labels;

use crate::job::{END, Step};
use crate::world::{ROLES, programs};

pub(crate) const THE_FAKES_SERVE: &str = "the_fakes_serve_in_containers";
pub(crate) const A_JOB_GETS_ITS_ROLE: &str = "a_job_with_the_runners_labels_gets_its_role_and_one_without_is_refused";

const ENDPOINT: &str = "169.254.169.254:80";
/// Longer than a container takes on a machine that is busy.
const SOON: Duration = Duration::from_secs(60);
const JOB: (&str, &str) = ("metadata-lab/job", "it");

pub(crate) async fn play(test: &str) -> Result<(), Failed> {
    let own = std::env::current_exe()?;
    let program = format!("/bin/{}", own.file_name().unwrap_or_default().to_string_lossy());
    LocalImage::gather(JOB.0, JOB.1, &own).await?.load().await?;
    match test {
        THE_FAKES_SERVE => the_fakes_serve(&program).await,
        A_JOB_GETS_ITS_ROLE => a_job_gets_its_role(&program).await,
        other => Err(format!("no such test: {other}").into()),
    }
}

async fn the_fakes_serve(program: &str) -> Result<(), Failed> {
    install(&programs()?).await?;
    let sts = FakeSts::default()
        .with_world(ROLES)
        // By its name: testcontainers finds an address on a network that it was told alone.
        .with_network("bridge")
        .start()
        .await?;
    let control = format!("http://{}:{CONTROL_PORT}", sts.get_bridge_ip_address().await?);
    let imds = FakeImds::default()
        .with_world("[account]\nid = \"123456789012\"\nregion = \"eu-central-1\"\n[instance]\nrole = \"lab-host\"\nhttp_tokens = \"required\"\n")
        .with_sts_control(control)
        .with_seed("containers")
        .with_network("bridge")
        .start()
        .await?;
    let endpoint = format!("{}:{DATA_PORT}", imds.get_bridge_ip_address().await?);
    let steps = run_job(program, &endpoint, BTreeMap::new()).await?;
    check(
        &steps,
        &[("token", 200), ("list", 200), ("credentials", 200), ("v1", 401)],
    )?;
    // The world that was given is the one that is shown, and its credentials are of the other fake.
    has(&steps, "list", "lab-host")?;
    has(&steps, "credentials", "\"Token\" : \"IQoJb3JpZ2luX2Vj")?;
    imds.rm().await?;
    sts.rm().await?;
    Ok(())
}

async fn a_job_gets_its_role(program: &str) -> Result<(), Failed> {
    let steps = run_job(program, ENDPOINT, labels().into()).await?;
    check(
        &steps,
        &[("token", 200), ("list", 200), ("credentials", 200), ("v1", 401)],
    )?;
    has(&steps, "list", "deploy")?;
    has(&steps, "credentials", "\"Code\" : \"Success\"")?;
    let steps = run_job(program, ENDPOINT, BTreeMap::new()).await?;
    check(
        &steps,
        &[("token", 403), ("list", 403), ("credentials", 403), ("v1", 403)],
    )?;
    // A refusal says why, and nothing of the role that was asked for.
    let silent = |body: &str| body.contains("\"AccessDenied\"") && !body.contains("deploy");
    if steps.iter().all(|step| silent(&step.body)) {
        Ok(())
    } else {
        Err(format!("a refusal says something else: {steps:?}").into())
    }
}

/// Runs a job's container until it has said all; what it met.
async fn run_job(program: &str, endpoint: &str, labels: BTreeMap<String, String>) -> Result<Vec<Step>, Failed> {
    let job: ContainerAsync<GenericImage> = GenericImage::new(JOB.0, JOB.1)
        .with_entrypoint(program)
        // Mapped ports stay in the namespace of the engine: wait for what is logged.
        .with_wait_for(WaitFor::message_on_stdout(END))
        .with_cmd(["job", endpoint])
        .with_labels(labels)
        .with_startup_timeout(SOON)
        .start()
        .await?;
    let told = String::from_utf8(job.stdout_to_vec().await?)?;
    job.rm().await?;
    told.lines().filter(|line| *line != END).map(Step::read).collect()
}

fn check(steps: &[Step], wanted: &[(&str, u16)]) -> Result<(), Failed> {
    let met: Vec<(&str, u16)> = steps.iter().map(|step| (step.name.as_str(), step.status)).collect();
    if met == wanted {
        Ok(())
    } else {
        Err(format!("wanted {wanted:?}, met {steps:?}").into())
    }
}

fn has(steps: &[Step], name: &str, text: &str) -> Result<(), Failed> {
    if steps.iter().any(|step| step.name == name && step.body.contains(text)) {
        Ok(())
    } else {
        Err(format!("no `{text}` in {name}: {steps:?}").into())
    }
}
