//! What `doctor` finds on an instance of the lab.

use crate::Outcome;
use crate::whole::check;
use crate::world::{PROXY, SOON, World, labels};

pub(crate) async fn finds_what_breaks_isolation() -> Outcome {
    let world = World::start("doctor").await?;
    let config = world.config();
    let doctor = ["doctor", "--config", &config];
    world.start_waiting("plain", "default", labels(20), &[]).await?;
    let good = world.on_host(PROXY, &doctor).await?;
    check(
        good.0 && good.1.contains("every firewall and routing rule is in place"),
        &good,
        &world,
    )?;
    check(
        good.1.contains("nothing odd about the containers that run: 1"),
        &good,
        &world,
    )?;
    // A job's container in the host's network gets nothing, and is told of.
    world.start_waiting("on-host", "host", labels(20), &[]).await?;
    let noted = world.on_host(PROXY, &doctor).await?;
    check(
        noted.0 && noted.1.contains("on-host is in the host's network"),
        &noted,
        &world,
    )?;

    world.proxy.stop(SOON).await?;
    let removed = world
        .on_host(PROXY, &["firewall", "remove", "--config", &config])
        .await?;
    check(removed.0, &removed, &world)?;
    let bad = world.on_host(PROXY, &doctor).await?;
    check(
        !bad.0 && bad.1.starts_with("danger  the firewall is not as planned"),
        &bad,
        &world,
    )?;
    world.instance.stop_engine().await?;
    let bad = world.on_host(PROXY, &doctor).await?;
    check(
        !bad.0 && bad.1.contains("danger  the engine cannot be asked"),
        &bad,
        &world,
    )?;
    world.end().await
}
