//! Values of the instance: what a job may read of them, and who asks the real endpoint.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Outcome;
use crate::job::VALUES;
use crate::whole::check;
use crate::world::{World, labels};

/// The host's own address; jobs would appear as the next one.
const HOST: &str = "10.200.0.2:";

pub(crate) async fn values_are_asked_for_by_the_proxy_alone() -> Outcome {
    let paths = "[imds]\npaths = [\"availability-zone\", \"instance-type\"]\n";
    let world = World::start_with("values", paths).await?;
    let container = world.start_job("idle", "default", labels(20), &[]).await?;
    for _ in 0..2 {
        let steps = world.do_in(&container, "values").await?;
        let statuses: Vec<u16> = steps.iter().skip(1).map(|step| step.status).collect();
        check(statuses == [200, 200, 200, 404, 404, 400, 404, 404], &steps, &world)?;
        let zone = steps.get(1).map(|step| step.body.as_str());
        check(
            zone.is_some_and(|zone| zone.starts_with("eu-central-1")),
            &steps,
            &world,
        )?;
    }
    let stranger = world.start_job("idle", "default", labels(21), &[]).await?;
    let steps = world.do_in(&stranger, "values").await?;
    check(steps.iter().all(|step| step.status >= 400), &steps, &world)?;

    // Each value was asked for once, at its own path, by the proxy; and the jobs' paths never left it.
    let ledger = world.imds_ledger().await?;
    let entries = ledger.get("entries").unwrap_or(&ledger);
    let entries = entries.as_array().ok_or_else(|| format!("no ledger: {ledger}"))?;
    let text = |entry: &Value, name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut asked: BTreeMap<String, usize> = BTreeMap::new();
    for entry in entries {
        check(text(entry, "source").starts_with(HOST), entry, &world)?;
        *asked.entry(text(entry, "target")).or_default() += 1;
    }
    let expected = BTreeMap::from([
        ("/latest/api/token".to_owned(), 1),
        ("/latest/meta-data/instance-type".to_owned(), 1),
        ("/latest/meta-data/placement/availability-zone".to_owned(), 1),
    ]);
    check(asked == expected, &(&asked, VALUES), &world)?;
    world.end().await
}
