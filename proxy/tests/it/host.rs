//! The rules on the host: when they come, and whom on the host itself they let through.

use std::fs;

use crate::Outcome;
use crate::whole::check;
use crate::world::{PROXY, SOON, World, labels};

pub(crate) async fn closes_before_the_engine() -> Outcome {
    let world = World::start("order").await?;
    world.proxy.stop(SOON).await?;
    let config = world.config();
    let removed = world
        .on_host(PROXY, &["firewall", "remove", "--config", &config])
        .await?;
    check(removed.0, &removed, &world)?;
    let verified = world
        .on_host(PROXY, &["firewall", "verify", "--config", &config])
        .await?;
    check(!verified.0, &verified, &world)?;
    let text = fs::read_to_string(&config)?;
    let nowhere = text.replace("unix://", "unix:///nowhere");
    check(nowhere != text, &text, &world)?;
    fs::write(&config, nowhere)?;
    let started = world.on_host(PROXY, &["run", "--config", &config]).await?;
    check(!started.0 && started.1.contains("engine"), &started, &world)?;
    let verified = world
        .on_host(PROXY, &["firewall", "verify", "--config", &config])
        .await?;
    check(verified.0, &verified, &world)?;
    let steps = world.run_job(labels(20), &[]).await?;
    check(steps.iter().all(|step| step.status == 0), &steps, &world)?;
    world.end().await
}

pub(crate) async fn closes_the_host() -> Outcome {
    let world = World::start("host").await?;
    let config = world.config();
    // The proxy itself gets through.
    let sanctioned = world.run_job(labels(20), &[]).await?;
    check(sanctioned.iter().any(|step| step.status == 200), &sanctioned, &world)?;
    let on_host = world.run_job_in("host", labels(20), &[]).await?;
    check(on_host.len() == 12, &on_host, &world)?;
    check(on_host.iter().all(|step| step.status == 0), &on_host, &world)?;
    // Whoever applies the rules again leaves a running proxy its own.
    for action in ["verify", "apply", "verify"] {
        let done = world.on_host(PROXY, &["firewall", action, "--config", &config]).await?;
        check(done.0, &(action, done), &world)?;
    }
    let listed = world
        .on_host(
            "/usr/sbin/nft",
            &["list", "chain", "inet", "metadata_proxy_host", "proxy_itself"],
        )
        .await?;
    check(listed.1.contains("socket cgroupv2 level 2"), &listed, &world)?;
    let flushed = ["flush", "chain", "inet", "metadata_proxy_host", "credential_endpoints"];
    let flushed = world.on_host("/usr/sbin/nft", &flushed).await?;
    check(flushed.0, &flushed, &world)?;
    world.proxy.stop(SOON).await?;
    // And it is these rules that close it.
    let removed = world
        .on_host(PROXY, &["firewall", "remove", "--config", &config])
        .await?;
    check(removed.0, &removed, &world)?;
    let open = world.run_job_in("host", labels(20), &[]).await?;
    check(open.iter().any(|step| step.status == 200), &open, &world)?;
    world.end().await
}
