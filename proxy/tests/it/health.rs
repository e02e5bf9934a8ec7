//! What the metrics listener says of a proxy while its engine and its firewall come and go.

use crate::Outcome;
use crate::whole::check;
use crate::world::World;

const SOCKET: &str = "metrics.sock";

pub(crate) async fn tells_which_part_fails() -> Outcome {
    let world = World::start("health").await?;
    let alive = world.get(SOCKET, "/healthz").await?;
    check(alive == (200, "ok\n".to_owned()), &alive, &world)?;
    let ready = world.get(SOCKET, "/readyz").await?;
    check(ready.0 == 200 && !ready.1.contains("failed"), &ready, &world)?;
    let gauges = |body: &str, ready: u8, engine: u8, firewall: u8| {
        [
            ("ready", ready),
            ("engine_connected", engine),
            ("firewall_in_place{}", firewall),
        ]
        .iter()
        .all(|(name, value)| body.contains(&format!("\nmetadata_proxy_{name} {value}\n")))
    };
    let metrics = world.get(SOCKET, "/metrics").await?;
    check(gauges(&metrics.1, 1, 1, 1), &metrics, &world)?;

    world.instance.stop_engine().await?;
    let gone = |status, body: &str| status == 503 && body.contains("failed engine:");
    world.wait_for(SOCKET, "/readyz", gone).await?;
    let metrics = world.get(SOCKET, "/metrics").await?;
    check(gauges(&metrics.1, 0, 0, 1), &metrics, &world)?;
    // The process lives all the same.
    check(world.get(SOCKET, "/healthz").await?.0 == 200, &"/healthz", &world)?;
    world.instance.start_engine().await?;
    world.wait_for(SOCKET, "/readyz", |status, _| status == 200).await?;

    // It is seen at the next look and repaired at once; the look after that says so.
    let flushed = world
        .on_host("/usr/sbin/nft", &["delete", "table", "inet", "metadata_proxy"])
        .await?;
    check(flushed.0, &flushed, &world)?;
    let gone =
        |status, body: &str| status == 503 && body.contains("failed firewall: the last look found rules missing");
    world.wait_for(SOCKET, "/readyz", gone).await?;
    let metrics = world.get(SOCKET, "/metrics").await?;
    check(gauges(&metrics.1, 0, 1, 0), &metrics, &world)?;
    world.wait_for(SOCKET, "/readyz", |status, _| status == 200).await?;
    world.end().await
}
