//! The ways to the engine other than its socket, and who else could stand there.

use std::fs;

use lab::{Place, Process, Program};
use libtest_mimic::Failed;

use crate::Outcome;
use crate::whole::check;
use crate::world::{PROXY, SOON, World, labels};

pub(crate) const ADDRESS: &str = "127.0.0.1:2376";

pub(crate) async fn a_socket_proxy_that_only_reads_will_do() -> Outcome {
    let world = World::start("reads").await?;
    world.proxy.stop(SOON).await?;
    let (relay, proxy) = start_behind_relay(&world).await?;
    let served = world.run_job(labels(20), &[]).await?;
    let got = served
        .iter()
        .filter(|step| step.name == "credentials" && step.status == 200);
    check(got.count() == 2, &(&served, proxy.stderr(), relay.stdout()), &world)?;
    check(!relay.stdout().contains("refused"), &relay.stdout(), &world)?;
    // The self-test makes a container, which takes more than reading.
    proxy.stop(SOON).await?;
    configure(&world, &format!("socket = \"http://{ADDRESS}\""))?;
    let (serves, told) = run(&world).await?;
    check(!serves && told.contains("self-test"), &told, &world)?;
    relay.wait_for_line("refused POST", SOON).await?;
    world.end().await
}

/// A relay to the engine, and the proxy that asks it, without the self-test, which takes more than reading.
pub(crate) async fn start_behind_relay(world: &World) -> Result<(Process, Process), Failed> {
    let relay = relay(world, &[]).await?;
    configure(
        world,
        &format!("socket = \"http://{ADDRESS}\"\n[attestation]\nself_test = false"),
    )?;
    Ok((relay, start(world).await?))
}

pub(crate) async fn nobody_else_answers_for_an_engine_behind_tls() -> Outcome {
    let world = World::start("tls").await?;
    world.proxy.stop(SOON).await?;
    let tls = |proxy: &str| {
        let (ca, cert, key) = (file("authority"), file(proxy), file(&format!("{proxy}-key")));
        format!(
            "socket = \"tcp://{ADDRESS}\"\ntls_ca = \"{ca}\"\ntls_cert = \"{cert}\"\ntls_key = \"{key}\"\n[attestation]\nself_test = false"
        )
    };
    let engine = relay(&world, &["engine", "engine-key", "authority"]).await?;
    configure(&world, &tls("proxy"))?;
    let proxy = start(&world).await?;
    let served = world.run_job(labels(20), &[]).await?;
    let got = served
        .iter()
        .filter(|step| step.name == "credentials" && step.status == 200);
    check(got.count() == 2, &(&served, proxy.stderr()), &world)?;
    proxy.stop(SOON).await?;
    // The engine believes nobody whom its authority did not sign.
    configure(&world, &tls("stranger-proxy"))?;
    let (serves, told) = run(&world).await?;
    check(!serves && told.contains("engine"), &told, &world)?;
    // And the proxy believes no engine whom its own did not.
    engine.stop(SOON).await?;
    let _stranger = relay(&world, &["stranger-engine", "stranger-engine-key", "authority"]).await?;
    configure(&world, &tls("proxy"))?;
    let (serves, told) = run(&world).await?;
    check(!serves && told.contains("engine"), &told, &world)?;
    world.end().await
}

/// A file of the tests' certificates.
fn file(name: &str) -> String {
    format!("{}/tests/it/tls/{name}.pem", env!("CARGO_MANIFEST_DIR"))
}

/// Starts what stands between proxy and engine.
pub(crate) async fn relay(world: &World, tls: &[&str]) -> Result<Process, Failed> {
    let host = world.instance.docker_host();
    let socket = host.strip_prefix("unix://").unwrap_or(&host);
    let program = Program::new(std::env::current_exe()?)
        .label("relay")
        .args(["relay", ADDRESS, socket]);
    let relay = world
        .instance
        .spawn(Place::Host, &program.args(tls.iter().map(|name| file(name))))?;
    relay.wait_for_line("listening on", SOON).await?;
    Ok(relay)
}

/// Puts these lines in place of the engine's socket.
pub(crate) fn configure(world: &World, engine: &str) -> Outcome {
    let text = fs::read_to_string(world.config())?;
    let (before, rest) = text.split_once("[engine]").ok_or("no engine")?;
    let (_, after) = rest.split_once("[aws]").ok_or("no account")?;
    Ok(fs::write(
        world.config(),
        format!("{before}[engine]\n{engine}\n[aws]{after}"),
    )?)
}

/// Runs the proxy where it does not come to serve; what it told.
async fn run(world: &World) -> Result<(bool, String), Failed> {
    world.on_host(PROXY, &["run", "--config", &world.config()]).await
}

pub(crate) async fn start(world: &World) -> Result<Process, Failed> {
    let proxy = spawn(world)?;
    proxy.wait_for_line("listening on", SOON).await?;
    Ok(proxy)
}

/// Starts the proxy, which does not serve yet.
pub(crate) fn spawn(world: &World) -> Result<Process, Failed> {
    let program = Program::new(PROXY).args(["run", "--config", &world.config()]);
    Ok(world.instance.spawn(Place::Host, &program)?)
}
