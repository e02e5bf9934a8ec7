//! Containers that come and go on a network with room for five: each has the address of another one before it, and the first requests of many
//! come before the engine has told of them.

use bollard::models::{Ipam, IpamConfig, NetworkCreateRequest};
use futures_util::future::try_join_all;

use crate::Outcome;
use crate::asker::{Asker, PROJECTS, start_world};
use crate::world::World;

const NETWORK: &str = "few";
/// Containers at the same time. The network has two addresses more.
const LANES: usize = 3;

pub(crate) async fn come_and_go(generations: usize) -> Outcome {
    let world = start_world("generations").await?;
    let config = IpamConfig {
        subnet: Some("10.77.0.0/29".to_owned()),
        ..IpamConfig::default()
    };
    let request = NetworkCreateRequest {
        name: NETWORK.to_owned(),
        ipam: Some(Ipam {
            config: Some(vec![config]),
            ..Ipam::default()
        }),
        ..NetworkCreateRequest::default()
    };
    world.docker.create_network(request).await?;
    try_join_all((0..LANES).map(|lane| succeed(&world, lane, generations / LANES))).await?;
    world.end().await
}

/// One container after the other; each time of another project than the one before.
async fn succeed(world: &World, lane: usize, generations: usize) -> Outcome {
    let projects = PROJECTS.into_iter().cycle().skip(lane);
    for (generation, project) in projects.take(generations).enumerate() {
        // Jobs come again, so that STS is not the slowest of all.
        let job = 300 + u32::try_from(generation % 4)?;
        let name = format!("{lane}-{generation}");
        let asker = Asker::start(world, NETWORK, project, job, &name).await?;
        asker.wait_served(world, 0).await?;
        asker.end(world).await?;
    }
    Ok(())
}
