//! What `explain` says of containers that run.

use std::collections::HashMap;

use crate::Outcome;
use crate::whole::check;
use crate::world::{PROXY, World, labels};

pub(crate) async fn says_what_the_proxy_does() -> Outcome {
    let world = World::start("explain").await?;
    let config = world.config();
    // Whatever it says, a request has that answer.
    for (name, network, labels, env, reason) in [
        ("sanctioned", "default", labels(20), vec![], "granted"),
        (
            "selects",
            "default",
            labels(20),
            vec!["IAM_ROLE=admin"],
            "selector-not-allowed",
        ),
        ("another", "default", labels(21), vec![], "no-rule-for-project"),
        ("plain", "default", HashMap::new(), vec![], "no-rule-for-container"),
        ("on-host", "host", labels(20), vec![], "unknown-address"),
    ] {
        let id = world.start_waiting(name, network, labels, &env).await?;
        for asked in [name, &id[..12]] {
            let told = world.on_host(PROXY, &["explain", "--config", &config, asked]).await?;
            let is_granted = reason == "granted";
            check(told.0 == is_granted, &told, &world)?;
            let word = if is_granted {
                "\ngranted\n".to_owned()
            } else {
                format!("reason      {reason}\n")
            };
            check(
                told.1.contains(&word) && told.1.contains(&id[..12]),
                &(name, told),
                &world,
            )?;
        }
        let steps = world.do_in(&id, "job").await?;
        let got = steps
            .iter()
            .filter(|step| step.name == "credentials" && step.status == 200)
            .count();
        check((got > 0) == (reason == "granted"), &(name, steps), &world)?;
    }
    let json = ["explain", "--config", &config, "--format", "json", "sanctioned"];
    let (_, told) = world.on_host(PROXY, &json).await?;
    let document: serde_json::Value = serde_json::from_str(&told)?;
    let role = document.pointer("/outcome/role").and_then(serde_json::Value::as_str);
    check(role == Some("arn:aws:iam::123456789012:role/deploy"), &document, &world)?;
    let unknown = world
        .on_host(PROXY, &["explain", "--config", &config, "nobody"])
        .await?;
    check(
        !unknown.0 && unknown.1.contains("has no container \"nobody\""),
        &unknown,
        &world,
    )?;
    world.end().await
}
