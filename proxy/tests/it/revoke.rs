//! An operator takes away what a job has, while the job runs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::Outcome;
use crate::transport::start;
use crate::whole::check;
use crate::world::{PROXY, SOON, World, labels};

pub(crate) async fn takes_away_and_gives_back() -> Outcome {
    let world = World::start("revoke").await?;
    let socket = world.instance.state_dir().join("control.sock");
    let mode = fs::metadata(&socket)?.permissions().mode() & 0o777;
    check(mode == 0o600, &mode, &world)?;
    let id = world.start_waiting("job", "default", labels(20), &[]).await?;
    let mut other = labels(20);
    for (key, value) in [
        ("job.id", "303"),
        ("job.url", "https://gitlab.example.com/g/p/-/jobs/303"),
    ] {
        other.insert(format!("com.gitlab.gitlab-runner.{key}"), value.to_owned());
    }
    let other = world.start_waiting("other", "default", other, &[]).await?;
    expect(&world, [(&id, true), (&other, true)]).await?;

    let role = "arn:aws:iam::123456789012:role/deploy";
    for (subject, others_too) in [
        (["--job", "302"], false),
        (["--container", &id[..12]], false),
        (["--project", "20"], true),
        (["--role", "deploy"], true),
    ] {
        let told = revoke(&world, &subject).await?;
        check(told.0 && told.1.starts_with("revoked: "), &told, &world)?;
        expect(&world, [(&id, false), (&other, !others_too)]).await?;
        let lifted = revoke(&world, &[subject[0], subject[1], "--lift"]).await?;
        check(lifted.0 && lifted.1.starts_with("lifted: "), &lifted, &world)?;
        expect(&world, [(&id, true), (&other, true)]).await?;
    }
    let again = revoke(&world, &["--job", "302", "--lift"]).await?;
    check(!again.0 && again.1.contains("was not revoked"), &again, &world)?;

    // What was cached is gone: STS is asked again. And the operator learns what AWS has to refuse.
    let before = calls(&world).await?;
    let told = revoke(&world, &["--role", "deploy", "--sessions"]).await?;
    check(
        told.1.contains("forgotten: 2") && told.1.contains("aws iam put-role-policy"),
        &told,
        &world,
    )?;
    let listed = revoke(&world, &["--list"]).await?;
    check(listed == (true, format!("role {role}\n")), &listed, &world)?;
    // A reload changes nothing about it.
    world.proxy.reload()?;
    world.proxy.wait_for_line("policy reloaded", SOON).await?;
    expect(&world, [(&id, false), (&other, false)]).await?;
    check(calls(&world).await? == before, &"a revoked job caused a call", &world)?;
    revoke(&world, &["--role", "deploy", "--lift"]).await?;
    expect(&world, [(&id, true), (&other, true)]).await?;
    check(calls(&world).await? == before + 2, &before, &world)?;
    let orders = world.proxy.stdout().matches(r#""order":"revoke""#).count();
    check(orders == 5, &orders, &world)?;
    let audited = world.proxy.stdout().contains(r#""reason":"revoked""#);
    check(audited, &"no refusal is recorded", &world)?;
    world.end().await
}

pub(crate) async fn outlives_the_proxy() -> Outcome {
    let world = World::start("revoked").await?;
    world.proxy.stop(SOON).await?;
    let file = world.instance.state_dir().join("state/revocations.json");
    let text = fs::read_to_string(world.config())?;
    fs::write(world.config(), format!("{text}[revocations]\nfile = {file:?}\n"))?;
    let proxy = start(&world).await?;
    let id = world.start_waiting("job", "default", labels(20), &[]).await?;
    expect(&world, [(&id, true)]).await?;
    let told = revoke(&world, &["--job", "302"]).await?;
    check(told.0 && !told.1.contains("warning"), &told, &world)?;
    let mode = fs::metadata(&file)?.permissions().mode() & 0o777;
    check(mode == 0o600, &mode, &world)?;
    // However it ends.
    proxy.kill().await?;
    let proxy = start(&world).await?;
    expect(&world, [(&id, false)]).await?;
    let listed = revoke(&world, &["--list"]).await?;
    check(listed == (true, "job 302\n".to_owned()), &listed, &world)?;
    let lifted = revoke(&world, &["--job", "302", "--lift"]).await?;
    check(lifted.0, &lifted, &world)?;
    proxy.stop(SOON).await?;
    let proxy = start(&world).await?;
    expect(&world, [(&id, true)]).await?;

    // What cannot be kept is in force all the same.
    fs::remove_file(&file)?;
    fs::create_dir(&file)?;
    let told = revoke(&world, &["--job", "302"]).await?;
    check(
        told.0 && told.1.contains("warning: this holds until the proxy ends") && told.1.contains("cannot write"),
        &told,
        &world,
    )?;
    expect(&world, [(&id, false)]).await?;
    proxy.stop(SOON).await?;
    fs::remove_dir(&file)?;

    // A file that is not whole: nobody is served, and the endpoint stays closed.
    fs::write(&file, "{\"version\":1,\"revoked\":[{\"sub")?;
    let (serves, told) = world.on_host(PROXY, &["run", "--config", &world.config()]).await?;
    check(
        !serves
            && told.contains(&format!("{} does not say who is revoked", file.display()))
            && told.contains("not whole"),
        &told,
        &world,
    )?;
    let closed = world.do_in(&id, "job").await?;
    check(closed.iter().all(|step| step.status == 0), &closed, &world)?;
    world.end().await
}

async fn revoke(world: &World, words: &[&str]) -> Result<(bool, String), libtest_mimic::Failed> {
    let config = world.config();
    let mut arguments = vec!["revoke", "--config", &config];
    arguments.extend(words);
    world.on_host(PROXY, &arguments).await
}

async fn expect<const N: usize>(world: &World, containers: [(&String, bool); N]) -> Outcome {
    for (id, gets) in containers {
        let steps = world.do_in(id, "job").await?;
        let got = steps
            .iter()
            .filter(|step| step.name == "credentials" && step.status == 200)
            .count();
        check(got == if gets { 2 } else { 0 }, &(id, gets, steps), world)?;
    }
    Ok(())
}

async fn calls(world: &World) -> Result<usize, libtest_mimic::Failed> {
    Ok(world
        .sts_ledger()
        .await?
        .to_string()
        .matches(r#""service":"sts""#)
        .count())
}
