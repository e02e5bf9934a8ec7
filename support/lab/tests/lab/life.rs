//! Instances come, run programs, and go.

use std::{fs, time::Duration};

use lab::{Place, Program};
use libtest_mimic::Trial;

use crate::{
    Outcome, SOON, abandoned, close, ensure,
    network::{listen_upstream, probe},
    open_lab, start_instance, trial,
};

pub(crate) fn add(trials: &mut Vec<Trial>) {
    trials.push(trial("two_instances_live_at_once_and_leave_nothing", two_at_once));
    trials.push(trial(
        "a_program_inherits_nothing_and_sees_the_instance_only",
        inherits_nothing,
    ));
    trials.push(trial("signals_reach_the_program_itself", signals_reach_the_program));
    trials.push(trial(
        "a_program_that_ends_early_or_stays_silent_is_told_apart",
        early_and_silent,
    ));
    trials.push(trial("the_death_of_the_engine_is_noticed", engine_death_is_noticed));
}

async fn two_at_once() -> Outcome {
    let lab = open_lab().await?;
    let (left, right) = tokio::try_join!(start_instance(&lab, "left"), start_instance(&lab, "right"))?;
    let (held, other) = (left.namespaces()?, right.namespaces()?);
    ensure(held.are_apart_from(&other)?, || format!("{held:?} {other:?}"))?;
    let (mine, yours) = (left.docker().info().await?.id, right.docker().info().await?.id);
    ensure(mine.is_some() && mine != yours, || {
        format!("engines {mine:?} {yours:?}")
    })?;
    // The same addresses twice, and nobody hears the other.
    let (here, there) = (listen_upstream(&left).await?, listen_upstream(&right).await?);
    left.run(Place::Host, &probe(&["connect", "198.51.100.1:80", "left"])?, SOON)
        .await?;
    ensure(here.stdout().contains("heard left"), || here.stdout())?;
    ensure(!there.stdout().contains("heard"), || there.stdout())?;
    left.teardown().await?;
    right.docker().ping().await?;
    right.teardown().await?;
    drop((here, there));
    abandoned(held).await?;
    abandoned(other).await?;
    close(lab).await
}

async fn inherits_nothing() -> Outcome {
    let lab = open_lab().await?;
    let instance = start_instance(&lab, "clean").await?;
    let script = "env | cut -d= -f1 | sort | tr '\\n' ' '; ls /sys/class/net | tr '\\n' ' '; cut -d: -f3 /proc/self/cgroup | tail -1; cat";
    let program = Program::new("/bin/sh")
        .args(["-c", script])
        .env("GIVEN", "1")
        .stdin("input");
    let output = instance.run(Place::Host, &program, SOON).await?;
    let said = String::from_utf8_lossy(&output.stdout);
    let expected = format!("GIVEN PATH PWD docker0 lo up0 /lab-{}-1/host\ninput", lab.run());
    ensure(said == expected, || format!("{said:?} {output:?}"))?;
    let service = Program::new("/bin/sh").args(["-c", "cut -d: -f3 /proc/self/cgroup | tail -1"]);
    let output = instance.run(Place::Host, &service.service("agent"), SOON).await?;
    let said = String::from_utf8_lossy(&output.stdout);
    let expected = format!("/lab-{}-1/agent\n", lab.run());
    ensure(said == expected, || format!("{said:?} {output:?}"))?;
    let names = instance
        .run(Place::Upstream, &Program::new("ip").args(["-o", "link"]), SOON)
        .await?;
    let names = String::from_utf8_lossy(&names.stdout).into_owned();
    ensure(names.lines().count() == 2 && names.contains("instance0"), || names)?;
    instance.teardown().await?;
    close(lab).await
}

async fn signals_reach_the_program() -> Outcome {
    let lab = open_lab().await?;
    let instance = start_instance(&lab, "signals").await?;
    let script = |text: &str| Program::new("/bin/sh").args(["-c", text]);
    let polite = instance.spawn(
        Place::Host,
        &script("trap 'echo bye; exit 7' TERM; echo ready; sleep 600 >/dev/null & wait"),
    )?;
    polite.wait_for_line("ready", SOON).await?;
    let stopped = polite.stop(SOON).await?;
    ensure(stopped.status.code() == Some(7) && !stopped.forced, || {
        format!("{stopped:?}")
    })?;
    polite.wait_for_line("bye", SOON).await?;

    let asked = instance.spawn(
        Place::Host,
        &script("trap 'echo read again >&2' HUP; echo ready; while :; do sleep 600 >/dev/null 2>&1 & wait; done"),
    )?;
    asked.wait_for_line("ready", SOON).await?;
    asked.reload()?;
    asked.wait_for_words("read again", SOON).await?;
    asked.kill().await?;

    let deaf = instance.spawn(Place::Upstream, &script("trap '' TERM; echo ready; exec sleep 600"))?;
    deaf.wait_for_line("ready", SOON).await?;
    deaf.pause()?;
    let state = fs::read_to_string(format!("/proc/{}/stat", deaf.id()))?;
    ensure(state.contains(") T "), || state)?;
    deaf.resume()?;
    let stopped = deaf.stop(Duration::from_millis(50)).await?;
    ensure(stopped.forced, || format!("{stopped:?}"))?;

    let listener = listen_upstream(&instance).await?;
    listener.pause()?;
    // The kernel accepts for a paused program; it answers once it goes on.
    let asking = instance.spawn(Place::Host, &probe(&["connect", "198.51.100.1:80", "patient"])?)?;
    listener.resume()?;
    asking.wait_for_line("you are", SOON).await?;
    let log = fs::read_dir(instance.state_dir())?.flatten().map(|entry| entry.path());
    let logged = log.filter(|path| path.extension().is_some_and(|ending| ending == "out"));
    let logged: Vec<String> = logged.filter_map(|path| fs::read_to_string(path).ok()).collect();
    ensure(logged.iter().any(|text| text.contains("you are")), || {
        format!("logs {logged:?}")
    })?;
    instance.teardown().await?;
    close(lab).await
}

async fn early_and_silent() -> Outcome {
    let lab = open_lab().await?;
    let instance = start_instance(&lab, "errors").await?;
    let early = instance.spawn(
        Place::Host,
        &Program::new("/bin/sh").args(["-c", "echo why >&2; exit 3"]),
    )?;
    let error = early
        .wait_for_line("ready", SOON)
        .await
        .map_err(|error| error.to_string());
    let expected = "sh ended (exit status: 3) before it wrote \"ready\"; it said: why";
    ensure(error == Err(expected.to_owned()), || format!("{error:?}"))?;
    let silent = instance.spawn(Place::Host, &Program::new("sleep").arg("600"))?;
    let error = silent.wait_for_line("ready", Duration::from_millis(20)).await;
    ensure(matches!(error, Err(lab::ProcessError::Silent { .. })), || {
        format!("{error:?}")
    })?;
    let absent = instance.spawn(Place::Host, &Program::new("/no/such/program"));
    ensure(absent.is_err(), || format!("{absent:?}"))?;
    instance.teardown().await?;
    close(lab).await
}

async fn engine_death_is_noticed() -> Outcome {
    let lab = open_lab().await?;
    let instance = start_instance(&lab, "engine").await?;
    let before = instance.engine_state();
    instance.restart_engine().await?;
    let restarted = instance.engine_state();
    ensure(
        restarted.alive && restarted.died == 0 && restarted.started == before.started + 1,
        || format!("{restarted:?}"),
    )?;
    instance.docker().ping().await?;
    let mut states = instance.watch_engine();
    let kill = Program::new("/bin/sh").args(["-c", "kill -9 $(cat /run/docker.pid)"]);
    instance.run(Place::Host, &kill, SOON).await?;
    tokio::time::timeout(SOON, states.wait_for(|state| state.died == 1)).await??;
    ensure(!instance.engine_alive(), || "a dead engine is alive".to_owned())?;
    instance.start_engine().await?;
    instance.docker().ping().await?;
    instance.kill_engine().await?;
    ensure(instance.engine_state().died == 2, || {
        format!("{:?}", instance.engine_state())
    })?;
    instance.teardown().await?;
    close(lab).await
}
