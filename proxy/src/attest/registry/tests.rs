//! What is taken in and what is dropped, as the engine speaks.

use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;

use tokio::runtime::Builder;

use super::*;
use crate::attest::process::Process;
use crate::fixture::engine::{FakeEngine, Script};
use crate::fixture::facts;

async fn registry(fake: &FakeEngine) -> Arc<Registry> {
    let engine = Engine::connect(&fake.socket(), None).await.unwrap();
    Arc::new(Registry::new(engine, Vec::new(), Level::Cgroup))
}

#[tokio::test]
async fn whatever_is_wrong_with_the_engine_is_unavailable_and_nobody_is_admitted() {
    let fake = FakeEngine::start(Script::text("nonsense"));
    let registry = registry(&fake).await;
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n";
    for script in [
        Script::text(""),
        Script::json("[{]"),
        Script::Endless(head, vec![b' '; 65_536]),
    ] {
        fake.tell(script.clone());
        let admitted = registry.admit("aa").await.map(drop);
        assert_eq!(admitted, Err(Unattested::EngineUnavailable), "{script:?}");
        let address = "172.17.0.2".parse().unwrap();
        assert_eq!(
            registry.refresh_address(address).await,
            Err(Unattested::EngineUnavailable),
            "{script:?}"
        );
    }
    assert!(registry.check_synced().is_err() && registry.index().all().is_empty());
    // A process that is no container's is none, however well the engine speaks of it.
    let us = format!(
        r#"{{"Id":"{}","Image":"i","State":{{"Running":true,"Pid":{},"StartedAt":"t"}},"Config":{{}}}}"#,
        "a".repeat(64),
        std::process::id()
    );
    fake.tell(Script::json(&us));
    assert_eq!(registry.admit("aa").await.map(drop), Err(Unattested::NoCgroup));
}

fn known(registry: &Registry, container: &str, cgroup_id: u64, process: Process) -> Arc<Run> {
    let body = Body::of(process, cgroup_id);
    let place = Place {
        container: container.to_owned(),
        started_at: "t".to_owned(),
        cgroup_id,
        ancestors: Vec::new(),
        namespace: body.network,
        addresses: Vec::new(),
    };
    let mut facts = facts();
    facts.run.container_id = container.to_owned();
    facts.run.cgroup_id = cgroup_id;
    let run = Arc::new(Run::new(Arc::new(facts), body, Vec::new()));
    registry.index().insert(place, Arc::clone(&run));
    run
}

/// Ends once it is waited for.
#[expect(clippy::disallowed_methods, reason = "the one program that these tests start")]
fn short_lived() -> Child {
    Command::new("/bin/cat").stdin(Stdio::piped()).spawn().unwrap()
}

#[test]
fn what_the_engine_does_not_list_is_dropped_unless_it_lives() {
    // On a thread of its own: what waits for itself waits for ever, and the test should not.
    let (done, ended) = mpsc::channel();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let fake = FakeEngine::start(Script::json("[]"));
            let registry = registry(&fake).await;
            let mut child = short_lived();
            let dead = Process::open(i32::try_from(child.id()).unwrap()).unwrap();
            let dead = known(&registry, "dead", 1, dead);
            child.wait().unwrap();
            let own = i32::try_from(std::process::id()).unwrap();
            let living = known(&registry, "living", 2, Process::open(own).unwrap());
            registry.resync().await.unwrap();
            assert!(dead.ended().is_cancelled() && !living.ended().is_cancelled());
            assert_eq!(registry.index().containers(), ["living"]);
        });
        done.send(()).unwrap();
    });
    ended.recv_timeout(Duration::from_secs(20)).unwrap();
}
