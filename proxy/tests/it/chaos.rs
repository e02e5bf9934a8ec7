//! What breaks around a proxy that serves, and the proxy itself, while jobs ask on: nobody ever gets what is not his own, and everybody gets
//! what is, once it is whole again, without anybody starting the proxy anew.

use std::collections::HashMap;

use bollard::query_parameters::ListContainersOptionsBuilder;
use libtest_mimic::Failed;
use serde_json::{Value, json};

use crate::Outcome;
use crate::asker::{Asker, Askers, PROJECTS, start_world};
use crate::transport::{spawn, start, start_behind_relay};
use crate::whole::check;
use crate::world::{SOON, World};

const METRICS: &str = "metrics.sock";
const STS: &str = "sts.sock";
const IMDS: &str = "imds.sock";

pub(crate) async fn engine_dies_and_stops() -> Outcome {
    let world = start_world("engine-dies").await?;
    let before = Askers::start(&world, PROJECTS, 1).await?;
    before.wait_served(&world, &[]).await?;
    // Its containers live on, and their requests are nobody's.
    world.instance.kill_engine().await?;
    before.wait_refused(&world, &before.mark()?).await?;
    world.instance.start_engine().await?;
    ready(&world).await?;
    // Others have their addresses now.
    let between = Askers::start(&world, PROJECTS.into_iter().rev(), 2).await?;
    between.wait_served(&world, &[]).await?;
    world.instance.restart_engine().await?;
    ready(&world).await?;
    let after = Askers::start(&world, PROJECTS, 3).await?;
    after.wait_served(&world, &[]).await?;
    for askers in [&before, &between, &after] {
        askers.check(&world)?;
    }
    world.end().await
}

pub(crate) async fn events_are_cut() -> Outcome {
    let world = start_world("events").await?;
    world.proxy.stop(SOON).await?;
    let (relay, proxy) = start_behind_relay(&world).await?;
    let first = Askers::start(&world, PROJECTS, 1).await?;
    first.wait_served(&world, &[]).await?;

    // Cut, again and again: what follows from events is nothing to rely upon.
    relay.reload()?;
    relay.wait_for_line("events now Cut", SOON).await?;
    relay.wait_for_lines("stream Cut", 2, SOON).await?;
    first.wait_refused(&world, &first.mark()?).await?;
    first.end(&world).await?;
    let second = Askers::start(&world, PROJECTS.into_iter().rev(), 2).await?;

    // Silent: the proxy is told of nothing that happens, and finds it out.
    relay.reload()?;
    relay.wait_for_line("stream Silent", SOON).await?;
    second.wait_served(&world, &[]).await?;
    second.end(&world).await?;
    let third = Askers::start(&world, PROJECTS, 3).await?;
    third.wait_served(&world, &[]).await?;

    // And whole again.
    relay.reload()?;
    relay.wait_for_lines("stream Open", 2, SOON).await?;
    third.wait_served(&world, &third.mark()?).await?;
    third.end(&world).await?;
    let fourth = Askers::start(&world, PROJECTS.into_iter().rev(), 4).await?;
    fourth.wait_served(&world, &[]).await?;
    fourth.end(&world).await?;
    check(proxy.status().is_none(), &proxy.stderr(), &world)?;
    world.end().await
}

pub(crate) async fn upstreams_fail() -> Outcome {
    let world = start_world("upstreams").await?;
    // A job for each trouble with STS, all at once, beside jobs that have none.
    let effects = [
        json!({"error": {"status": 503, "code": "ServiceUnavailable"}}),
        json!({"error": {"status": 200, "message": "well"}}),
        json!({"reset": true}),
        json!({"hold": "slow"}),
        json!({"rewrite": {"expiration": "soon"}}),
    ];
    let mut troubled = Vec::new();
    for (job, effect) in (10..).zip(&effects) {
        let project = if job % 2 == 0 { 20 } else { 30 };
        let session = json!({"session_name": format!("{project}-{job}-*")});
        plant(&world, STS, &session, effect).await?;
        troubled.push(Asker::start(&world, "default", project, job, &format!("troubled-{job}")).await?);
    }
    for asker in &troubled {
        asker.wait_refused(&world, 0).await?;
    }
    control(&world, STS, "DELETE", "/faults", "").await?;
    control(&world, STS, "POST", "/holds/slow/release", "").await?;
    for asker in troubled {
        asker.wait_served(&world, 0).await?;
        asker.end(&world).await?;
    }

    // What the proxy itself has from the endpoint lasts for hours: one that has nothing yet meets the troubles of the endpoint.
    world.proxy.kill().await?;
    let path = json!({"path": "/latest/meta-data/iam/security-credentials/*"});
    let troubles = [
        (json!({"error": {"status": 500}}), "fault: error 500"),
        (json!({"rewrite": {"truncate": "100"}}), "fault: rewrite"),
        (json!({"reset": true}), "fault: reset"),
        (json!({"hold": "slow"}), ""),
    ];
    plant(&world, IMDS, &path, &troubles[0].0).await?;
    let proxy = start(&world).await?;
    let askers = Askers::start(&world, PROJECTS, 1).await?;
    for (number, (effect, told)) in (1..).zip(&troubles) {
        if number > 1 {
            // The next one before the last one goes, so that there is no time without any.
            plant(&world, IMDS, &path, effect).await?;
            control(&world, IMDS, "DELETE", &format!("/faults/{}", number - 1), "").await?;
        }
        if told.is_empty() {
            control(&world, IMDS, "GET", "/holds/slow?waiting=1", "").await?;
        } else {
            world
                .wait_for(IMDS, "/ledger", |_, ledger| ledger.contains(told))
                .await?;
        }
        askers.wait_refused(&world, &askers.mark()?).await?;
    }
    control(&world, IMDS, "DELETE", "/faults", "").await?;
    control(&world, IMDS, "POST", "/holds/slow/release", "").await?;
    askers.wait_served(&world, &askers.mark()?).await?;
    askers.end(&world).await?;
    check(proxy.status().is_none(), &proxy.stderr(), &world)?;
    world.end().await
}

pub(crate) async fn proxy_is_killed() -> Outcome {
    let world = start_world("proxy-killed").await?;
    // While STS is asked for a job.
    plant(
        &world,
        STS,
        &json!({"action": "AssumeRole"}),
        &json!({"hold": "killed"}),
    )
    .await?;
    let askers = Askers::start(&world, PROJECTS, 1).await?;
    control(&world, STS, "GET", "/holds/killed?waiting=2", "").await?;
    world.proxy.kill().await?;
    control(&world, STS, "DELETE", "/faults", "").await?;
    control(&world, STS, "POST", "/holds/killed/release", "").await?;
    // While it starts: before it has done anything, and while its probe is there.
    drop(spawn(&world)?);
    let starting = spawn(&world)?;
    let probe = async {
        while probes(&world).await? == 0 {
            tokio::task::yield_now().await;
        }
        Ok::<_, Failed>(())
    };
    tokio::time::timeout(SOON, probe).await??;
    starting.kill().await?;
    // While it answers.
    for _ in 0..3 {
        let proxy = start(&world).await?;
        askers.wait_served(&world, &askers.mark()?).await?;
        proxy.kill().await?;
    }
    let proxy = start(&world).await?;
    check(probes(&world).await? == 0, &"a probe was left behind", &world)?;
    askers.wait_served(&world, &askers.mark()?).await?;
    askers.end(&world).await?;
    // Who comes now finds nothing of those before.
    let last = Asker::start(&world, "default", 30, 2, "last").await?;
    last.wait_served(&world, 0).await?;
    last.end(&world).await?;
    check(proxy.status().is_none(), &proxy.stderr(), &world)?;
    world.end().await
}

/// Containers of the self-test.
async fn probes(world: &World) -> Result<usize, Failed> {
    let filters = HashMap::from([("label", vec!["metadata-proxy.self-test"])]);
    let options = ListContainersOptionsBuilder::default()
        .all(true)
        .filters(&filters)
        .build();
    Ok(world.docker.list_containers(Some(options)).await?.len())
}

async fn ready(world: &World) -> Outcome {
    world
        .wait_for(METRICS, "/readyz", |status, _| status == 200)
        .await
        .map(drop)
}

async fn plant(world: &World, fake: &str, matches: &Value, effect: &Value) -> Outcome {
    let fault = json!({"match": matches, "effect": effect}).to_string();
    control(world, fake, "POST", "/faults", &fault).await
}

async fn control(world: &World, fake: &str, method: &str, path: &str, json: &str) -> Outcome {
    let answer = world.send(fake, method, path, json).await?;
    check(answer.0 == 200, &(method, path, json, &answer), world)
}
