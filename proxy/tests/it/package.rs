//! What operators install: the units, and the image.

use std::fs;
use std::path::Path;

use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptionsBuilder, LogsOptionsBuilder, StartContainerOptions, WaitContainerOptions,
};
use futures_util::StreamExt as _;
use lab::{Place, Program};
use libtest_mimic::Failed;

use crate::Outcome;
use crate::whole::check;
use crate::world::{PROXY, SOON, World};

const PACKAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../ci/package");
const INSTALLED: &str = "/usr/local/bin/metadata-proxy";
const CONFIG: &str = "/etc/metadata-proxy/metadata-proxy.toml";
const ANALYZE: &str = "/usr/bin/systemd-analyze";

/// What keeps the units from being verified on this machine.
pub(crate) fn lacks_systemd() -> Option<String> {
    (!Path::new(ANALYZE).exists()).then(|| format!("the machine lacks {ANALYZE} (package systemd)"))
}

pub(crate) async fn units_are_as_systemd_wants_them() -> Outcome {
    let world = World::start("units").await?;
    let place = world.instance.state_dir().join("units");
    fs::create_dir(&place)?;
    for name in ["metadata-proxy.service", "metadata-proxy-firewall.service"] {
        let text = fs::read_to_string(Path::new(PACKAGE).join(name))?;
        check(text.contains(INSTALLED), &text, &world)?;
        fs::write(place.join(name), text.replace(INSTALLED, PROXY))?;
    }
    let verify = async |name: &str| {
        let unit = place.join(name).display().to_string();
        world.on_host(ANALYZE, &["verify", "--man=no", &unit]).await
    };
    for name in ["metadata-proxy.service", "metadata-proxy-firewall.service"] {
        // It is content with keys that it ignores, and says so; what it says of other units of the machine is not ours.
        let (is_good, told) = verify(name).await?;
        let ours: Vec<&str> = told.lines().filter(|line| line.contains("metadata-proxy")).collect();
        check(is_good && ours.is_empty(), &(name, &told), &world)?;
    }
    // And it would say so.
    let unit = place.join("metadata-proxy.service");
    fs::write(
        &unit,
        fs::read_to_string(&unit)?.replace("WatchdogSec=", "WatchdogSecs="),
    )?;
    let (_, told) = verify("metadata-proxy.service").await?;
    check(
        told.contains("metadata-proxy.service") && told.contains("WatchdogSecs"),
        &told,
        &world,
    )?;
    world.end().await
}

pub(crate) async fn image_starts_and_checks_a_configuration() -> Outcome {
    let world = World::start("image").await?;
    let archive = world.instance.state_dir().join("image.tar");
    let script = format!("{PACKAGE}/image {PROXY} >{}", archive.display());
    let make = Program::new("/bin/bash").args(["-c", &script]);
    let made = world.instance.run(Place::Host, &make, SOON).await?;
    check(made.status.success(), &String::from_utf8_lossy(&made.stderr), &world)?;
    let options = CreateImageOptionsBuilder::default()
        .from_src("-")
        .repo("metadata-proxy")
        .tag("it")
        .changes(vec![format!("ENTRYPOINT [{INSTALLED:?}]")])
        .build();
    let body = bollard::body_full(fs::read(&archive)?.into());
    let mut steps = world.docker.create_image(Some(options), Some(body), None);
    while let Some(step) = steps.next().await {
        step?;
    }
    let packaged = format!("{PACKAGE}/metadata-proxy.toml");
    let version = run(&world, &packaged, &["--version"]).await?;
    let expected = format!("metadata-proxy {}\n", env!("CARGO_PKG_VERSION"));
    check(version == (0, expected), &version, &world)?;
    let checked = run(&world, &packaged, &["check", "--config", CONFIG]).await?;
    check(
        checked.0 == 0 && checked.1.contains("1 rule, no fault"),
        &checked,
        &world,
    )?;
    // The programs that write the rules find their libraries there too: what nft lacks is the leave to write.
    let open = world.instance.state_dir().join("open.toml").display().to_string();
    let text = fs::read_to_string(&packaged)?;
    let is_of_cgroups = |line: &&str| line.starts_with("host_cgroups");
    let cgroups = text.lines().find(is_of_cgroups).ok_or("no host_cgroups")?;
    fs::write(&open, text.replace(cgroups, "host = \"open\""))?;
    let applied = run(&world, &open, &["firewall", "apply", "--config", CONFIG]).await?;
    check(
        applied.0 == 1 && applied.1.contains("Operation not permitted"),
        &applied,
        &world,
    )?;
    world.end().await
}

/// Runs the image's program with this configuration, as little privileged as a container can be; its exit code and what it said.
async fn run(world: &World, config: &str, words: &[&str]) -> Result<(i64, String), Failed> {
    let body = ContainerCreateBody {
        image: Some("metadata-proxy:it".to_owned()),
        cmd: Some(words.iter().map(ToString::to_string).collect()),
        host_config: Some(HostConfig {
            binds: Some(vec![format!("{config}:{CONFIG}:ro")]),
            cap_drop: Some(vec!["ALL".to_owned()]),
            readonly_rootfs: Some(true),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    let docker = &world.docker;
    let id = docker.create_container(None::<CreateContainerOptions>, body).await?.id;
    docker.start_container(&id, None::<StartContainerOptions>).await?;
    let mut ended = docker.wait_container(&id, None::<WaitContainerOptions>);
    let code = match tokio::time::timeout(SOON, ended.next()).await? {
        Some(Ok(end)) => end.status_code,
        Some(Err(bollard::errors::Error::DockerContainerWaitError { code, .. })) => code,
        Some(Err(error)) => return Err(error.into()),
        None => return Err("the engine does not say how it ended".into()),
    };
    let options = LogsOptionsBuilder::default().stdout(true).stderr(true).build();
    let mut logs = docker.logs(&id, Some(options));
    let mut text = String::new();
    while let Some(part) = logs.next().await {
        text += &part?.to_string();
    }
    Ok((code, text))
}
