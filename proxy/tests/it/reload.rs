//! The operator changes the configuration under a proxy that serves, and sends SIGHUP.

use std::fs;

use crate::Outcome;
use crate::job::Step;
use crate::whole::check;
use crate::world::{PROXY, SOON, World, labels};

pub(crate) async fn takes_over_rules_and_nothing_else() -> Outcome {
    let world = World::start("reload").await?;
    let config = world.config();
    let text = fs::read_to_string(&config)?;
    expect(&world, 20, true).await?;

    // A fault: nothing changes, and the log says what `check` says.
    let faulty = text.replace("project = 20", "project = 21\nduration_seconds = 60");
    refuse(&world, &faulty, 1).await?;
    let (is_good, told) = world.on_host(PROXY, &["check", "--config", &config]).await?;
    check(!is_good, &told, &world)?;
    let fault = told.trim_start_matches("error: ").trim_end();
    check(fault.contains("rule[0].duration_seconds"), &told, &world)?;
    world.proxy.wait_for_words(fault, SOON).await?;

    // Good rules, but not only rules: nothing changes either.
    let elsewhere = text
        .replace("project = 20", "project = 21")
        .replace("port = 8000", "port = 8001");
    refuse(&world, &elsewhere, 2).await?;
    let told = "[listen] changed, and only [[rule]] can be reloaded";
    world.proxy.wait_for_words(told, SOON).await?;
    fs::remove_file(&config)?;
    world.proxy.reload()?;
    world.proxy.wait_for_lines("policy not reloaded", 3, SOON).await?;
    world.proxy.wait_for_words("cannot read", SOON).await?;
    expect(&world, 20, true).await?;
    expect(&world, 21, false).await?;

    // Another rule.
    fs::write(&config, text.replace("project = 20", "project = 21"))?;
    world.proxy.reload()?;
    let told = world.proxy.wait_for_line("policy reloaded", SOON).await?;
    check(told == "policy reloaded: 1 rule in force", &told, &world)?;
    expect(&world, 20, false).await?;
    expect(&world, 21, true).await?;
    world.end().await
}

pub(crate) async fn follows_the_file() -> Outcome {
    let world = World::start_with("watch", "[reload]\nwatch = true").await?;
    let config = world.config();
    let text = fs::read_to_string(&config)?;
    let replace = |text: &str| {
        // As editors do it.
        let fresh = format!("{config}~");
        fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, &config))
    };
    replace(&text.replace("project = 20", "project = 21"))?;
    world
        .proxy
        .wait_for_line("policy reloaded: 1 rule in force", SOON)
        .await?;
    expect(&world, 20, false).await?;
    expect(&world, 21, true).await?;
    // A fault changes nothing, however the file came to have it.
    replace("[[rule]]")?;
    world.proxy.wait_for_line("policy not reloaded", SOON).await?;
    expect(&world, 21, true).await?;
    fs::write(&config, &text)?;
    world.proxy.wait_for_lines("policy reloaded", 2, SOON).await?;
    expect(&world, 20, true).await?;
    world.end().await
}

/// Has the proxy refuse a configuration; the refusal of that number.
async fn refuse(world: &World, text: &str, number: usize) -> Outcome {
    fs::write(world.config(), text)?;
    world.proxy.reload()?;
    world.proxy.wait_for_lines("policy not reloaded", number, SOON).await?;
    Ok(())
}

/// Runs a job of that project, and checks whether it gets credentials.
async fn expect(world: &World, project: u32, gets: bool) -> Outcome {
    let steps: Vec<Step> = world.run_job(labels(project), &[]).await?;
    let got = steps
        .iter()
        .filter(|step| step.name == "credentials" && step.status == 200);
    check(got.count() == if gets { 2 } else { 0 }, &(project, gets, &steps), world)
}
