//! The endpoint for credentials of containers, with real containers.

use crate::Outcome;
use crate::job::Step;
use crate::whole::check;
use crate::world::{World, labels};

fn statuses(steps: &[Step]) -> Vec<u16> {
    steps.iter().map(|step| step.status).collect()
}

pub(crate) async fn is_closed_unless_it_is_wanted() -> Outcome {
    let world = World::start("no-container").await?;
    let container = world.start_job("idle", "default", labels(20), &[]).await?;
    let steps = world.do_in(&container, "container").await?;
    check(statuses(&steps) == [200, 0, 0, 0], &steps, &world)?;
    world.end().await?;

    let world = World::start_with("container", "[container_credentials]\nenabled = true\n").await?;
    let container = world.start_job("idle", "default", labels(20), &[]).await?;
    let steps = world.do_in(&container, "container").await?;
    check(statuses(&steps) == [200, 200, 401, 404], &steps, &world)?;
    let [token, credentials, ..] = &steps[..] else {
        return Err("too few steps".into());
    };
    let document: serde_json::Value = serde_json::from_str(&credentials.body)?;
    let role = document.get("RoleArn").and_then(serde_json::Value::as_str);
    check(role == Some("arn:aws:iam::123456789012:role/deploy"), &steps, &world)?;
    // Another container of the same job, and one without a role, with the first one's token.
    for (project, expected) in [(20, [200, 401, 401, 404]), (21, [403, 403, 403, 404])] {
        let other = world.start_job("idle", "default", labels(project), &[]).await?;
        let steps = world.do_in(&other, &format!("container {}", token.body)).await?;
        check(statuses(&steps) == expected, &steps, &world)?;
    }
    // The rules are those that `firewall` knows too.
    let (holds, told) = world
        .on_host(
            crate::world::PROXY,
            &["firewall", "verify", "--config", &world.config()],
        )
        .await?;
    check(holds, &told, &world)?;
    world.end().await
}
