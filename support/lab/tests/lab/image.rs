//! An image made of this program and its libraries, and containers of it: there is no registry.

use std::{collections::BTreeSet, fs, path::PathBuf};

use bollard::{
    Docker, body_full,
    exec::{CreateExecOptions, StartExecResults},
    models::ContainerCreateBody,
    models::HostConfig,
    query_parameters::{CreateContainerOptions, CreateImageOptionsBuilder, InspectContainerOptions},
};
use futures_util::TryStreamExt;
use libtest_mimic::Failed;

const NAME: &str = "probe:lab";

/// Imports the image.
pub(crate) async fn import(docker: &Docker) -> Result<(), Failed> {
    let options = CreateImageOptionsBuilder::default()
        .from_src("-")
        .repo("probe")
        .tag("lab")
        .build();
    let body = body_full(file_system()?.into());
    docker
        .create_image(Some(options), Some(body), None)
        .try_collect::<Vec<_>>()
        .await?;
    Ok(())
}

/// Starts a container on `network` that waits to be told what to do; returns its id and its first process as the instance numbers it.
pub(crate) async fn start(docker: &Docker, network: &str) -> Result<(String, u32), Failed> {
    let config = ContainerCreateBody {
        image: Some(NAME.to_owned()),
        cmd: Some(["/probe", "probe", "idle"].map(str::to_owned).to_vec()),
        host_config: Some(HostConfig {
            network_mode: Some(network.to_owned()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let id = docker
        .create_container(None::<CreateContainerOptions>, config)
        .await?
        .id;
    docker.start_container(&id, None).await?;
    let inspected = docker.inspect_container(&id, None::<InspectContainerOptions>).await?;
    let process = inspected
        .state
        .and_then(|state| state.pid)
        .ok_or("the container has no process")?;
    Ok((id, u32::try_from(process)?))
}

/// Runs the probe in a container; returns everything it wrote.
pub(crate) async fn probe(docker: &Docker, container: &str, words: &[&str]) -> Result<String, Failed> {
    let options = CreateExecOptions {
        cmd: Some(
            ["/probe", "probe"]
                .iter()
                .chain(words)
                .map(|word| (*word).to_owned())
                .collect::<Vec<_>>(),
        ),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        ..CreateExecOptions::default()
    };
    let exec = docker.create_exec(container, options).await?.id;
    match docker.start_exec(&exec, None).await? {
        StartExecResults::Attached { output, .. } => {
            let parts: Vec<_> = output.try_collect().await?;
            Ok(parts.iter().map(ToString::to_string).collect())
        }
        StartExecResults::Detached => Err("the exec is detached".into()),
    }
}

/// The program, the libraries that it has mapped, and the loader where programs look for it.
fn file_system() -> Result<Vec<u8>, Failed> {
    let mut archive = tar::Builder::new(Vec::new());
    // Engines of 2020 do not know GNU's sparse files.
    archive.sparse(false);
    archive.append_path_with_name("/proc/self/exe", "probe")?;
    let maps = fs::read_to_string("/proc/self/maps")?;
    let mapped: BTreeSet<PathBuf> = maps
        .lines()
        .filter_map(|line| line.find('/').and_then(|at| line.get(at..)))
        .map(PathBuf::from)
        .collect();
    for library in mapped.iter().filter(|path| path.to_string_lossy().contains(".so")) {
        archive.append_path_with_name(library, library.strip_prefix("/")?)?;
        let name = library.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("ld-linux") {
            archive.append_path_with_name(library, format!("lib64/{name}"))?;
            archive.append_path_with_name(library, format!("lib/{name}"))?;
        }
    }
    Ok(archive.into_inner()?)
}
