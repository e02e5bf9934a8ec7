//! The measurements, one after the other, on one instance.

use std::collections::HashMap;
use std::time::Duration;

use bollard::models::{ContainerCreateBody, HostConfig, NetworkCreateRequest};
use bollard::query_parameters::{ListContainersOptionsBuilder, RemoveContainerOptionsBuilder, WaitContainerOptions};
use futures_util::{StreamExt as _, TryStreamExt as _};
use lab::{Place, Process, Program};
use metadata_proxy::ambient;
use metadata_proxy::caller::{Facts, Run};
use metadata_proxy::config::{Config, Environment};
use metadata_proxy::credentials::{AssumeRole as _, Key, Sts};
use metadata_proxy::policy::{Decision, Policy, decide};
use metadata_proxy::selftest::image;
use metadata_proxy::upstream;
use tokio::time::Instant;

use crate::container::Comparison;
use crate::gate;
use crate::table::{Line, median};
use crate::world::{SOON, World, labels_of_job};

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// From a range that is kept for measurements between networks: nothing answers there but the redirect.
const BARE: &str = "198.18.0.1:80";
const BARE_PORT: u16 = 9001;
const FIRSTS: u32 = 20;
const BURST: usize = 500;
const CROWD: usize = 1000;
const EACH: usize = 10;
/// They are on several bridges, as those of a busy runner are: each question for a neighbour goes to every port of its bridge, of which there are 1,024
/// at most, and a thousand containers that begin at once drown in one another's.
const BRIDGES: usize = 8;
/// Containers that the engine makes at once.
const AT_ONCE: usize = 8;
/// A thousand containers take minutes.
const LONG: Duration = Duration::from_secs(600);
/// How many neighbours the kernel keeps.
const NEIGHBOURS: &str = "/proc/sys/net/ipv4/neigh/default/gc_thresh3";
const KIB_PER_MIB: f64 = 1024.0;

/// Measures everything, and prints each line of the table when it is known.
pub(crate) async fn measure() -> Outcome<()> {
    let world = World::start("bench").await.map_err(|failed| format!("{failed:?}"))?;
    let measured = measure_in(&world).await;
    let proxy = world.proxy.stderr();
    world.end().await.map_err(|failed| format!("{failed:?}"))?;
    measured.map_err(|error| format!("{error}\nthe proxy said:\n{proxy}").into())
}

async fn measure_in(world: &World) -> Outcome<()> {
    progress("the same bytes from a bare server and from the proxy");
    let _bare = start_bare(world).await?;
    let one = compare(world).await?;
    for comparison in &one {
        Line::of_rates(comparison).print()?;
    }
    Line::of_attestation(1, &one)?.print()?;
    progress("first credentials");
    first_credentials(world).await?.print()?;
    progress("first requests at once");
    burst(world).await?.print()?;
    if let Some(why) = lacks_neighbours()? {
        progress(&why);
        return Ok(());
    }
    progress("a thousand containers");
    let gate = start_gate(world).await?;
    crowd(world).await?;
    if let Err(error) = gate.wait_for_line("held", SOON).await {
        return Err(format!("{error}\nthe first container that ended: {}", last_words(world).await?).into());
    }
    memory(world).await?.print()?;
    progress("the same bytes, beside a thousand containers");
    let many = compare(world).await?;
    Line::of_attestation(CROWD, &many)?.print()?;
    Ok(())
}

/// Why a thousand containers would not reach anybody: the kernel keeps one table of neighbours for all network namespaces, and each container is in it
/// twice, as the host's neighbour and with the host as its own.
fn lacks_neighbours() -> Outcome<Option<String>> {
    let most: usize = std::fs::read_to_string(NEIGHBOURS)?.trim().parse()?;
    Ok((most < 4 * CROWD).then(|| {
        format!(
            "not measured with {CROWD} containers: the kernel keeps {most} neighbours; \
             `sysctl -w net.ipv4.neigh.default.gc_thresh3={}` and again",
            4 * CROWD
        )
    }))
}

#[expect(clippy::print_stderr, reason = "progress of a bench")]
fn progress(what: &str) {
    eprintln!("bench: {what}");
}

async fn start_bare(world: &World) -> Outcome<Process> {
    let document: String = serde_json::from_str(&run(world, job_of(0), &["show"]).await?)?;
    let bare =
        Program::new(std::env::current_exe()?)
            .label("bare")
            .args(["bare".to_owned(), BARE_PORT.to_string(), document]);
    let bare = world.instance.spawn(Place::Host, &bare)?;
    let (address, port) = BARE.split_once(':').ok_or("no port")?;
    let rules = format!(
        "table ip bench {{ chain to_bare {{ type nat hook prerouting priority dstnat; ip daddr {address} tcp dport {port} redirect to :{BARE_PORT}; }}; }}"
    );
    let (applied, said) = world
        .on_host("nft", &[&rules])
        .await
        .map_err(|failed| format!("{failed:?}"))?;
    if applied { Ok(bare) } else { Err(said.into()) }
}

async fn compare(world: &World) -> Outcome<Vec<Comparison>> {
    let said = run(world, job_of(0), &["compare", BARE]).await?;
    Ok(said.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// Each job has a session of its own, so that each of these is a call of STS.
async fn first_credentials(world: &World) -> Outcome<Line> {
    let mut firsts = Vec::new();
    for job in 1..=FIRSTS {
        let micros: u32 = serde_json::from_str(&run(world, job_of(job), &["first"]).await?)?;
        firsts.push(f64::from(micros) / 1000.0);
    }
    let program = Program::new(std::env::current_exe()?)
        .label("assume")
        .args(["assume".to_owned(), FIRSTS.to_string()]);
    // Beside the fakes, where nothing stands between: the endpoint of the host is the proxy's alone.
    let output = world.instance.run(Place::Upstream, &program, SOON).await?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let calls: Vec<f64> = serde_json::from_slice(&output.stdout)?;
    Ok(Line::of_first(median(firsts)?, median(calls)?))
}

/// Calls STS as the proxy does, so many times; prints milliseconds.
pub(crate) async fn time_calls(count: &str) -> Outcome<()> {
    let count: u32 = count.parse()?;
    let text = "[aws]\naccount = \"123456789012\"\nregion = \"eu-central-1\"\nsts_endpoint = \"http://10.200.0.1:8081\"\n\
                [[rule]]\nname = \"deploy\"\nrunner = \"Ab3dEf9_x\"\ngitlab = \"gitlab.example.com\"\nproject = 20\nrole = \"deploy\"\n";
    let config = Config::read("bench.toml", text, &Environment::default()).map_err(|faults| format!("{faults:?}"))?;
    let sts = Sts::new(&config.aws, &ambient::clock(), &upstream::client(), ambient::variable)?;
    let policy = Policy::new(&config);
    let mut calls = Vec::new();
    for job in 0..=count {
        let Decision::Grant(grant) = decide(&policy, &facts(job_of(10_000 + job))) else {
            return Err("the bench's own job is refused".into());
        };
        let begun = Instant::now();
        sts.assume_role(&Key::new(&grant)).await?;
        calls.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    // The first one fetched the base credentials.
    calls.remove(0);
    let mut stdout = std::io::stdout().lock();
    serde_json::to_writer(&mut stdout, &calls)?;
    Ok(())
}

fn facts(labels: HashMap<String, String>) -> Facts {
    Facts {
        run: Run {
            container_id: "0".repeat(64),
            started_at: "2026-11-21T10:00:00Z".to_owned(),
            cgroup_id: 2,
        },
        labels: labels.into_iter().collect(),
        env: Vec::new(),
        image_env: Vec::new(),
        image_labels: std::collections::BTreeMap::new(),
        image_id: "sha256:0".to_owned(),
        repo_digests: Vec::new(),
    }
}

async fn burst(world: &World) -> Outcome<Line> {
    let before = calls_of_sts(world).await?;
    let said = run(world, job_of(FIRSTS + 1), &["burst", &BURST.to_string()]).await?;
    let answered: usize = serde_json::from_str(&said)?;
    Ok(Line::of_burst(BURST, answered, calls_of_sts(world).await? - before))
}

async fn calls_of_sts(world: &World) -> Outcome<usize> {
    let ledger = world.sts_ledger().await.map_err(|failed| format!("{failed:?}"))?;
    Ok(ledger.to_string().matches(r#""action":"AssumeRole""#).count())
}

async fn start_gate(world: &World) -> Outcome<Process> {
    let gate = Program::new(std::env::current_exe()?)
        .label("gate")
        .args(["gate".to_owned(), CROWD.to_string()]);
    let gate = world.instance.spawn(Place::Host, &gate)?;
    gate.wait_for_line("open", SOON).await?;
    Ok(gate)
}

async fn crowd(world: &World) -> Outcome<()> {
    let bridges: Vec<String> = (0..BRIDGES).map(|bridge| format!("bench-{bridge}")).collect();
    for bridge in &bridges {
        let request = NetworkCreateRequest {
            name: bridge.clone(),
            ..NetworkCreateRequest::default()
        };
        world.docker.create_network(request).await?;
    }
    let gate = format!("172.17.0.1:{}", gate::PORT);
    let started = futures_util::stream::iter(bridges.iter().cycle().take(CROWD))
        .map(|bridge| {
            let words = ["hold".to_owned(), gate.clone(), EACH.to_string()];
            start(world, bridge, job_of(FIRSTS + 2), words.into())
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<String>>();
    tokio::time::timeout(LONG, started).await??;
    Ok(())
}

/// What one of the containers said that should go on and did not.
async fn last_words(world: &World) -> Outcome<String> {
    let filters = HashMap::from([("status", vec!["exited"])]);
    let options = ListContainersOptionsBuilder::default()
        .all(true)
        .filters(&filters)
        .build();
    let ended = world.docker.list_containers(Some(options)).await?;
    match ended.into_iter().find_map(|container| container.id) {
        Some(id) => read_logs(world, &id).await,
        None => Ok("none has".to_owned()),
    }
}

async fn read_logs(world: &World, id: &str) -> Outcome<String> {
    Ok(world.logs_of(id).await.map_err(|failed| format!("{failed:?}"))?)
}

/// What the proxy takes while a thousand containers hold ten connections each.
async fn memory(world: &World) -> Outcome<Line> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", world.proxy.id()))?;
    let (_, metrics) = world
        .get("metrics.sock", "/metrics")
        .await
        .map_err(|failed| format!("{failed:?}"))?;
    let kib = number_behind(&status, "VmRSS:").ok_or("no VmRSS")?;
    let connections = number_behind(&metrics, "metadata_proxy_connections ").ok_or("no count of connections")?;
    Ok(Line::of_memory(kib / KIB_PER_MIB, connections))
}

fn number_behind(text: &str, word: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(word))?;
    line.split_whitespace().next()?.parse().ok()
}

fn job_of(job: u32) -> HashMap<String, String> {
    labels_of_job(20, 1000 + job)
}

async fn start(world: &World, network: &str, labels: HashMap<String, String>, words: Vec<String>) -> Outcome<String> {
    let body = ContainerCreateBody {
        image: Some("job:it".to_owned()),
        cmd: Some([vec![image::PROGRAM.to_owned()], words].concat()),
        env: Some(vec![format!("LD_LIBRARY_PATH={}", image::LIBRARIES)]),
        labels: Some(labels),
        host_config: Some(HostConfig {
            network_mode: Some(network.to_owned()),
            // A connection for each request uses up what the kernel gives by default.
            sysctls: Some(HashMap::from([(
                "net.ipv4.ip_local_port_range".to_owned(),
                "1024 65535".to_owned(),
            )])),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    };
    Ok(world.launch(body).await.map_err(|failed| format!("{failed:?}"))?)
}

/// Runs a container to its end; what it printed.
async fn run(world: &World, labels: HashMap<String, String>, words: &[&str]) -> Outcome<String> {
    let id = start(world, "bridge", labels, words.iter().map(ToString::to_string).collect()).await?;
    let ended = world
        .docker
        .wait_container(&id, None::<WaitContainerOptions>)
        .try_for_each(|_| async { Ok(()) });
    let end = tokio::time::timeout(LONG, ended).await?;
    let said = read_logs(world, &id).await?;
    end.map_err(|error| format!("{words:?}: {error}: {said}"))?;
    let options = RemoveContainerOptionsBuilder::default().force(true).build();
    world.docker.remove_container(&id, Some(options)).await?;
    Ok(said)
}
