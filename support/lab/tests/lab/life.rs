//! Instances come, run programs, and go.

use std::time::Duration;

use lab::{Place, Program};
use libtest_mimic::Trial;

use crate::{Outcome, open_lab, start_instance, trial};

const SOON: Duration = Duration::from_secs(20);

pub(crate) fn add(trials: &mut Vec<Trial>) {
    trials.push(trial("an_instance_comes_up_and_goes", comes_and_goes));
}

async fn comes_and_goes() -> Outcome {
    let lab = open_lab().await?;
    let started = std::time::Instant::now();
    let instance = start_instance(&lab, "one").await?;
    eprintln!("up {:?}", started.elapsed());
    let version = instance.docker().version().await?;
    eprintln!("{:?}", version.version);
    for (place, args) in [
        (Place::Host, vec!["-br", "addr"]),
        (Place::Upstream, vec!["-br", "addr"]),
        (Place::Host, vec!["route"]),
        (Place::Host, vec!["-6", "route"]),
        (Place::Upstream, vec!["route"]),
    ] {
        let output = instance.run(place, &Program::new("ip").args(args), SOON).await?;
        eprintln!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    let output = instance.run(Place::Host, &Program::new("sh").args(["-c", "env; ps ax; cat /proc/self/cgroup; ls /sys/class/net; cat /etc/resolv.conf; nft list ruleset; mount | tail -5"]), SOON).await?;
    eprintln!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let ending = std::time::Instant::now();
    instance.teardown().await?;
    lab.close().await?;
    eprintln!("down {:?}", ending.elapsed());
    Ok(())
}
