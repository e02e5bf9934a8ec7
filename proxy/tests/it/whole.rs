//! What a job gets from a proxy that runs as it would in production.

use std::collections::HashMap;

use fake_sts::provenance;

use crate::Outcome;
use crate::job::Step;
use crate::world::{SOON, World, labels};

pub(crate) async fn grants_and_refuses() -> Outcome {
    let world = World::start("whole").await?;
    let sanctioned = world.run_job(labels(20), &[]).await?;
    let statuses: Vec<u16> = sanctioned.iter().map(|step| step.status).collect();
    check(
        statuses == [200, 200, 200, 404, 404, 401].repeat(2),
        &sanctioned,
        &world,
    )?;
    for step in sanctioned.iter().filter(|step| step.name == "credentials") {
        let document: serde_json::Value = serde_json::from_str(&step.body)?;
        let token = document
            .get("Token")
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default();
        let provenance = provenance::decode(token)?;
        check(
            provenance.role_arn == "arn:aws:iam::123456789012:role/deploy",
            &provenance,
            &world,
        )?;
        check(provenance.session_name == "20-302-Ab3dEf9_x", &provenance, &world)?;
    }
    // None of these may cause a call of STS, let alone get anything.
    for (labels, env) in [
        (labels(21), vec![]),
        (HashMap::new(), vec![]),
        (labels(20), vec!["IAM_ROLE=admin"]),
    ] {
        let refused = world.run_job(labels, &env).await?;
        let statuses: Vec<u16> = refused.iter().map(|step| step.status).collect();
        check(statuses == [403, 403, 403, 403, 404, 403].repeat(2), &refused, &world)?;
        // Whatever the reason is, the text is the same.
        let first = refused.first().map(|step| step.body.clone()).unwrap_or_default();
        check(
            first.contains("AccessDenied") && refused.iter().all(|step| step.status == 404 || step.body == first),
            &refused,
            &world,
        )?;
    }
    let ledger = world.sts_ledger().await?.to_string();
    check(ledger.matches(r#""service":"sts""#).count() == 1, &ledger, &world)?;
    world.end().await
}

pub(crate) async fn stays_closed() -> Outcome {
    let world = World::start("closed").await?;
    let stopped = world.proxy.stop(SOON).await?;
    check(stopped.status.success(), &stopped, &world)?;
    let steps: Vec<Step> = world.run_job(labels(20), &[]).await?;
    check(steps.iter().all(|step| step.status == 0), &steps, &world)?;
    world.end().await
}

/// Fails with what was seen, and with what the proxy said.
pub(crate) fn check(holds: bool, seen: &impl std::fmt::Debug, world: &World) -> Outcome {
    if holds {
        Ok(())
    } else {
        Err(format!("{seen:#?}\n{}\n{}", world.proxy.stdout(), world.proxy.stderr()).into())
    }
}
