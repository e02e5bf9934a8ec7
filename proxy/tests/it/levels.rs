//! A proxy whose operator chose a weaker level of attestation.

use crate::Outcome;
use crate::job::Step;
use crate::whole::check;
use crate::world::{PROXY, World, labels};

fn credentials(steps: &[Step]) -> Vec<u16> {
    let credentials = steps.iter().filter(|step| step.name == "credentials");
    credentials.map(|step| step.status).collect()
}

pub(crate) async fn a_weaker_one_says_so_and_refuses_whom_it_cannot_tell_apart() -> Outcome {
    let world = World::start_with("netns", "[attestation]\nlevel = \"netns\"\n").await?;
    let metrics = world.get("metrics.sock", "/metrics").await?.1;
    check(
        metrics.contains("\nmetadata_proxy_attestation_info{level=\"netns\"} 1\n"),
        &metrics,
        &world,
    )?;
    let host = world.start_job("idle", "default", labels(20), &[]).await?;
    let alone = world.do_in(&host, "job").await?;
    check(credentials(&alone) == [200, 200], &alone, &world)?;
    let guest = world
        .start_job("idle", &format!("container:{host}"), labels(20), &[])
        .await?;
    for container in [&host, &guest] {
        let shared = world.do_in(container, "job").await?;
        check(credentials(&shared) == [403, 403], &shared, &world)?;
    }
    let records = world.proxy.stdout();
    let decisions: Vec<&str> = records.lines().filter(|line| line.contains("\"status\":")).collect();
    check(
        !decisions.is_empty() && decisions.iter().all(|line| line.contains("\"attestation\":\"netns\"")),
        &decisions,
        &world,
    )?;
    check(records.contains("\"reason\":\"shared-network\""), &records, &world)?;
    let (_, told) = world.on_host(PROXY, &["doctor", "--config", &world.config()]).await?;
    check(told.contains("attestation.level is \"netns\""), &told, &world)?;
    world.end().await
}
