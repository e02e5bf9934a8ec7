//! The self-test of a proxy that serves: it passes while jobs are served, says so when the way to the proxy is broken, and leaves nothing behind.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{CreateContainerOptions, ListContainersOptionsBuilder, ListImagesOptionsBuilder};
use libtest_mimic::Failed;
use metadata_proxy::selftest::image;

use crate::Outcome;
use crate::whole::check;
use crate::world::{SOON, World, import, labels};

const SOCKET: &str = "metrics.sock";
const LABEL: &str = "metadata-proxy.self-test";
const IMAGE: &str = "metadata-proxy-self-test";
const PASSED: &str = "metadata_proxy_self_test_last_success_timestamp_seconds{} ";
const FAILED: &str = "metadata_proxy_self_test_failures_total ";
/// What stands in the way of every container.
const SPOILER: &str = "add table inet spoiler; add chain inet spoiler way { type filter hook prerouting priority -350; }; \
                       add rule inet spoiler way ip daddr 169.254.169.254 drop";

pub(crate) async fn proves_it_again_while_it_serves() -> Outcome {
    let world = World::start_with("canary", "[attestation]\nself_test_every_seconds = 10\n").await?;
    let first = number(&world, PASSED).await?;
    // What a proxy that was killed left behind, and a job whose image says that it is the same.
    import(&world.docker, IMAGE, &[]).await?;
    let label = HashMap::from([(LABEL.to_owned(), "left".to_owned())]);
    let body = ContainerCreateBody {
        image: Some(format!("{IMAGE}:it")),
        cmd: Some(vec![image::PROGRAM.to_owned()]),
        labels: Some(label.clone()),
        ..ContainerCreateBody::default()
    };
    let left = world
        .docker
        .create_container(None::<CreateContainerOptions>, body)
        .await?;
    let mut of_job = labels(20);
    of_job.extend(label);
    let job = world.start_waiting("job", "default", of_job, &[]).await?;

    let later = |_, body: &str| find(body, PASSED).is_some_and(|passed| passed > first);
    world.wait_for(SOCKET, "/metrics", later).await?;
    recorded(&world, r#""self_test":"passed"}"#).await?;
    // Its own call, and what it was refused.
    recorded(&world, r#""route":"self-test","status":200,"reason":"self-test"}"#).await?;
    let refused = world
        .proxy
        .stdout()
        .matches(r#""status":403,"reason":"no-rule-for-container""#)
        .count();
    check(refused >= 2, &refused, &world)?;
    let ready = world.get(SOCKET, "/readyz").await?;
    check(
        ready.0 == 200 && ready.1.contains("ok self-test: passed "),
        &ready,
        &world,
    )?;
    check(number(&world, FAILED).await? == 0, &"a failure", &world)?;
    // The job was not disturbed.
    let served = world.do_in(&job, "job").await?;
    let got = served
        .iter()
        .filter(|step| step.name == "credentials" && step.status == 200);
    check(got.count() == 2, &served, &world)?;
    let there = containers(&world).await?;
    check(there.contains(&job) && !there.contains(&left.id), &there, &world)?;

    let (is_done, told) = world.on_host("/usr/sbin/nft", &[SPOILER]).await?;
    check(is_done, &told, &world)?;
    let failed = |status, body: &str| {
        status == 503 && body.contains("failed self-test: failed ") && body.contains("did not come to this proxy")
    };
    world.wait_for(SOCKET, "/readyz", failed).await?;
    check(number(&world, FAILED).await? >= 1, &"no failure", &world)?;
    recorded(
        &world,
        r#""self_test":"failed","detail":"the self-test's container called"#,
    )
    .await?;
    let (is_done, told) = world.on_host("/usr/sbin/nft", &["delete table inet spoiler"]).await?;
    check(is_done, &told, &world)?;
    world.wait_for(SOCKET, "/readyz", |status, _| status == 200).await?;

    // Also a proof that is broken off leaves nothing behind.
    let probe = async {
        while containers(&world).await?.len() < 2 {
            tokio::task::yield_now().await;
        }
        Ok::<_, Failed>(())
    };
    tokio::time::timeout(SOON, probe).await??;
    let stopped = world.proxy.stop(SOON).await?;
    check(stopped.status.success(), &stopped, &world)?;
    let there = containers(&world).await?;
    check(there == [job], &there, &world)?;
    let filters = HashMap::from([("reference", vec![IMAGE])]);
    let options = ListImagesOptionsBuilder::default().filters(&filters).build();
    let images = world.docker.list_images(Some(options)).await?;
    check(images.is_empty(), &images, &world)?;
    world.end().await
}

/// Waits for a record.
async fn recorded(world: &World, text: &str) -> Outcome {
    let told = async {
        while !world.proxy.stdout().contains(text) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let told = tokio::time::timeout(SOON, told).await;
    check(told.is_ok(), &text, world)
}

/// Containers that say that they are the self-test's.
async fn containers(world: &World) -> Result<Vec<String>, Failed> {
    let filters = HashMap::from([("label", vec![LABEL])]);
    let options = ListContainersOptionsBuilder::default()
        .all(true)
        .filters(&filters)
        .build();
    let listed = world.docker.list_containers(Some(options)).await?;
    Ok(listed.into_iter().filter_map(|container| container.id).collect())
}

async fn number(world: &World, name: &str) -> Result<u64, Failed> {
    let (_, body) = world.get(SOCKET, "/metrics").await?;
    find(&body, name).ok_or_else(|| format!("no {name}: {body}").into())
}

fn find(metrics: &str, name: &str) -> Option<u64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name))?;
    line.parse().ok()
}
