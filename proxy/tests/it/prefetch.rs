//! Credentials that are there before their container asks.

use std::time::Duration;

use libtest_mimic::Failed;
use serde_json::Value;

use crate::Outcome;
use crate::whole::check;
use crate::world::{SOON, World, labels};

pub(crate) async fn prepares_for_a_container() -> Outcome {
    let world = World::start_with("prefetch", "[credentials]\nprefetch = true\n").await?;
    let stranger = world.start_job("idle", "default", labels(21), &[]).await?;
    let container = world.start_job("idle", "default", labels(20), &[]).await?;
    // Nobody has asked, and STS was asked all the same, once and for the one that has a role.
    tokio::time::timeout(SOON, answered(&world)).await??;
    let ledger = world.sts_ledger().await?.to_string();
    check(ledger.contains("20-302-Ab3dEf9_x"), &ledger, &world)?;
    let record = world.proxy.wait_for_line("{\"time\"", SOON).await?;
    check(record.contains(r#""route":"prefetch""#), &record, &world)?;
    let steps = world.do_in(&container, "job").await?;
    let got = steps
        .iter()
        .filter(|step| step.name == "credentials" && step.status == 200);
    check(got.count() == 2, &steps, &world)?;
    let refused = world.do_in(&stranger, "job").await?;
    check(refused.iter().all(|step| step.status != 200), &refused, &world)?;
    check(calls(&world).await? == 1, &ledger, &world)?;
    world.end().await
}

/// Waits until STS has answered somebody.
async fn answered(world: &World) -> Outcome {
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    while calls(world).await? == 0 {
        looks.tick().await;
    }
    Ok(())
}

/// Calls of STS itself.
async fn calls(world: &World) -> Result<usize, Failed> {
    let ledger = world.sts_ledger().await?;
    let entries = ledger.get("entries").unwrap_or(&ledger).as_array().cloned();
    let of_sts = |entry: &&Value| entry.get("service").and_then(Value::as_str) == Some("sts");
    Ok(entries.unwrap_or_default().iter().filter(of_sts).count())
}
