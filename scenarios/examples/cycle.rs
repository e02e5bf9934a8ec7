//! How fast the engine alone cycles as many containers as a run started: `cargo run -p scenarios --example cycle -- REPORT_DIRECTORY`. `ci/bench` calls it
//! right after the run. Each container is created, started, waited for and removed on the default bridge of an instance like a run's own, as many at
//! once as serve the engine best.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use std::error::Error;
use std::path::Path;

use bollard::Docker;
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{CreateContainerOptions, RemoveContainerOptionsBuilder, WaitContainerOptions};
use futures_util::{StreamExt, TryStreamExt};
use lab::{InstanceSpec, Lab, LabOptions, RunId};
use scenarios::ambient::Ambient;
use scenarios::image::{Base, Images, JobImage};
use scenarios::report::RunReport;
use tokio::time::Instant;

/// Containers at once at which the engine was fastest on two processors (7.9 a second; 6.9 at four).
const AT_ONCE: usize = 8;
/// What a run owes to the engine's own rate.
const BUDGET: f64 = 0.7;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1).ok_or("usage: cycle REPORT_DIRECTORY")?;
    let report: RunReport = serde_json::from_slice(&std::fs::read(Path::new(&directory).join("report.json"))?)?;
    let count = report.containers;
    let ambient = Ambient::read()?;
    let run: RunId = ambient.run_name().parse()?;
    let lab = Lab::open(LabOptions::new(run)).await?;
    let seconds = cycle(&ambient, &lab, count).await;
    lab.close().await?;
    let seconds = seconds?;
    let share = seconds / report.seconds;
    println!("engine alone   {count} containers in {seconds:.1} s");
    println!(
        "the run        {count} containers in {:.1} s, {} scenarios",
        report.seconds,
        report.scenarios.len()
    );
    println!("rate of the run against the engine's: {share:.2} (budget: at least {BUDGET})");
    Ok(())
}

async fn cycle(ambient: &Ambient, lab: &Lab, count: usize) -> Result<f64, Box<dyn Error>> {
    let mut spec = InstanceSpec::new("bench", []);
    spec.default_bridge_v6 = None;
    let instance = lab.instance(&spec).await?;
    let docker = instance.docker();
    // An example lies in a folder beside the programs.
    let probe = ambient.programs.parent().unwrap_or(&ambient.programs).join("probe");
    let images = Images::new(docker.clone(), Base::gather(&probe).await?);
    let image = images.ensure(&JobImage::plain("cycle")).await?;
    let begun = Instant::now();
    let cycled = futures_util::stream::iter(0..count)
        .map(|_| one(&docker, &image))
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await;
    let seconds = begun.elapsed().as_secs_f64();
    instance.teardown().await?;
    cycled?;
    Ok(seconds)
}

/// The probe serves until its input ends, and here there is none.
async fn one(docker: &Docker, image: &str) -> Result<(), bollard::errors::Error> {
    let body = ContainerCreateBody {
        image: Some(image.to_owned()),
        cmd: Some(vec!["/bin/probe".to_owned(), "serve".to_owned()]),
        ..ContainerCreateBody::default()
    };
    let id = docker.create_container(None::<CreateContainerOptions>, body).await?.id;
    docker.start_container(&id, None).await?;
    docker
        .wait_container(&id, None::<WaitContainerOptions>)
        .try_for_each(|_| async { Ok(()) })
        .await?;
    let options = RemoveContainerOptionsBuilder::default().force(true).build();
    docker.remove_container(&id, Some(options)).await
}
