//! What the service manager hears of a proxy that starts, reads its rules again, loses its engine, and stops.

use std::fs;
use std::time::Duration;

use lab::{Place, Process, Program};
use libtest_mimic::Failed;
use tokio::net::UnixDatagram;

use crate::Outcome;
use crate::whole::check;
use crate::world::{PROXY, SOON, World};

const ALIVE: &str = "WATCHDOG=1";
const SERVING: &str = "READY=1\nSTATUS=serving: 1 rule in force";

/// The manager's end.
struct Manager {
    socket: UnixDatagram,
    place: String,
}

impl Manager {
    fn new(world: &World) -> Result<Self, Failed> {
        let place = world.instance.state_dir().join("notify");
        Ok(Self {
            socket: UnixDatagram::bind(&place)?,
            place: place.display().to_string(),
        })
    }

    fn start(&self, world: &World) -> Result<Process, Failed> {
        let program = Program::new(PROXY).args(["run", "--config", &world.config()]);
        let program = program
            .env("NOTIFY_SOCKET", &self.place)
            .env("WATCHDOG_USEC", "1000000");
        Ok(world.instance.spawn(Place::Host, &program)?)
    }

    async fn next(&self) -> Result<String, Failed> {
        let mut bytes = [0; 512];
        let length = tokio::time::timeout(SOON, self.socket.recv(&mut bytes)).await??;
        Ok(String::from_utf8_lossy(bytes.get(..length).unwrap_or_default()).into_owned())
    }

    /// The next word that says more than that the proxy lives.
    async fn news(&self) -> Result<String, Failed> {
        loop {
            let word = self.next().await?;
            if word != ALIVE {
                return Ok(word);
            }
        }
    }

    fn is_silent(&self) -> bool {
        self.socket.try_recv(&mut [0; 512]).is_err()
    }
}

pub(crate) async fn hears_what_the_proxy_does() -> Outcome {
    let world = World::start("supervisor").await?;
    world.proxy.stop(SOON).await?;
    let manager = Manager::new(&world)?;

    // A proxy that does not come to serve is never ready.
    world.instance.stop_engine().await?;
    let failing = manager.start(&world)?;
    let ended = failing.wait(SOON).await?;
    check(!ended.success() && manager.is_silent(), &failing.stderr(), &world)?;
    world.instance.start_engine().await?;

    let proxy = manager.start(&world)?;
    let word = manager.next().await?;
    check(word == SERVING, &word, &world)?;
    proxy.wait_for_line("listening on", SOON).await?;
    check(manager.next().await? == ALIVE, &"it does not live", &world)?;

    // A reload, and one that changes nothing.
    let text = fs::read_to_string(world.config())?;
    let before = monotonic()?;
    proxy.reload()?;
    let word = manager.news().await?;
    let since = word.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").map(str::parse::<u64>);
    let is_since = since.is_some_and(|since| since.is_ok_and(|since| since >= before));
    check(is_since, &(word, before), &world)?;
    let word = manager.news().await?;
    check(word == SERVING, &word, &world)?;
    fs::write(world.config(), "nonsense")?;
    proxy.reload()?;
    let word = manager.news().await?;
    check(word.starts_with("RELOADING=1\n"), &word, &world)?;
    let word = manager.news().await?;
    check(
        word.starts_with("READY=1\nSTATUS=serving; the last reload was refused"),
        &word,
        &world,
    )?;
    fs::write(world.config(), text)?;

    // Neither an engine nor an STS that is gone is a reason to end the proxy: another one would find no more of them.
    world.instance.stop_engine().await?;
    let gone = |status, body: &str| status == 503 && body.contains("failed engine:");
    world.wait_for("metrics.sock", "/readyz", gone).await?;
    for _ in 0..4 {
        let word = manager.next().await?;
        check(word == ALIVE, &word, &world)?;
    }
    let health = world.get("metrics.sock", "/healthz").await?;
    check(health.0 == 200, &health, &world)?;

    let stopped = proxy.stop(SOON).await?;
    check(stopped.status.success(), &proxy.stderr(), &world)?;
    let word = manager.news().await?;
    check(word.starts_with("STOPPING=1\n") && manager.is_silent(), &word, &world)?;
    world.end().await
}

/// The time in microseconds since the machine started, rounded down.
fn monotonic() -> Result<u64, Failed> {
    let now = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)?;
    Ok(u64::try_from(Duration::from(now).as_micros())?)
}
