//! An instance with the fakes upstream and the proxy on its host, and a child that uses its engine.

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use lab::{Instance, InstanceSpec, Lab, LabOptions, Place, Process, Program, RunId};
use libtest_mimic::Failed;

/// Longer than anything here takes on a machine that is busy.
const SOON: Duration = Duration::from_secs(120);
const STS: &str = "10.200.0.1:8081";

/// What both tests' STS knows.
pub(crate) const ROLES: &str = r#"
[account]
id = "123456789012"
region = "eu-central-1"
[[role]]
name = "lab-host"
trust = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}'
policy = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}]}'
[[role]]
name = "deploy"
trust = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:role/lab-host"},"Action":"sts:AssumeRole"}]}'
"#;

/// A running world.
pub(crate) struct World {
    lab: Lab,
    instance: Instance,
    proxy: Process,
    _imds: Process,
    _sts: Process,
}

impl World {
    pub(crate) async fn start() -> Result<Self, Failed> {
        build_programs().await?;
        let programs = programs()?;
        let lab = Lab::open(LabOptions::new(RunId::fresh()?)).await?;
        let upstream: [IpAddr; 2] = ["169.254.169.254".parse()?, "fd00:ec2::254".parse()?];
        let instance = lab.instance(&InstanceSpec::new("testcontainers", upstream)).await?;
        let state = instance.state_dir().to_owned();
        let place = |file: &str| state.join(file).display().to_string();
        fs::write(place("world.toml"), ROLES)?;
        fs::write(
            place("metadata-proxy.toml"),
            configuration(&instance.docker_host(), &place("metrics.sock")),
        )?;
        let control = format!("unix:{}", place("sts.sock"));
        let sts = Program::new(programs.join("fake-sts"))
            .args(["--listen", STS, "--control", &control])
            .args(["--world", &place("world.toml")]);
        let sts = instance.spawn(Place::Upstream, &sts)?;
        sts.wait_for_line("listening on", SOON).await?;
        let imds = Program::new(programs.join("fake-imds"))
            .args(["--listen", "169.254.169.254:80", "--listen", "[fd00:ec2::254]:80"])
            .args(["--sts-control", &control])
            .args(["--control", &format!("unix:{}", place("imds.sock"))]);
        let imds = instance.spawn(Place::Upstream, &imds)?;
        imds.wait_for_line("listening on", SOON).await?;
        let proxy = Program::new(programs.join("metadata-proxy"));
        let proxy = proxy.args(["run", "--config", &place("metadata-proxy.toml")]);
        let proxy = instance.spawn(Place::Host, &proxy)?;
        proxy.wait_for_line("listening on", SOON).await?;
        Ok(Self {
            lab,
            instance,
            proxy,
            _imds: imds,
            _sts: sts,
        })
    }

    /// Plays a test in a child whose engine is the instance's.
    pub(crate) async fn play(&self, test: &str) -> Result<(), Failed> {
        let child = tokio::process::Command::new(std::env::current_exe()?)
            .args(["inside", test])
            .env("DOCKER_HOST", self.instance.docker_host())
            // Registry credentials of whoever runs this are nobody's business.
            .env("DOCKER_CONFIG", self.instance.state_dir())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let played = tokio::time::timeout(SOON, child).await??;
        if played.status.success() {
            return Ok(());
        }
        let why = String::from_utf8_lossy(&played.stderr).into_owned();
        Err(format!("{why}\nthe proxy: {}\n{}", self.proxy.stdout(), self.proxy.stderr()).into())
    }

    pub(crate) async fn end(self) -> Result<(), Failed> {
        self.instance.teardown().await?;
        Ok(self.lab.close().await?)
    }
}

fn configuration(engine: &str, metrics: &str) -> String {
    format!(
        r#"
[listen]
port = 0
metrics = "unix:{metrics}"
[engine]
socket = "{engine}"
[aws]
account = "123456789012"
region = "eu-central-1"
sts_endpoint = "http://{STS}"
[runner]
config = "off"
[[rule]]
name = "deploy"
runner = "Ab3dEf9_x"
gitlab = "gitlab.example.com"
project = 20
role = "deploy"
"#
    )
}

/// Where the project's programs lie: test programs lie one directory below.
pub(crate) fn programs() -> Result<PathBuf, Failed> {
    let own = std::env::current_exe()?;
    let deps = own.parent().ok_or("this program lies nowhere")?;
    Ok(deps.parent().unwrap_or(deps).to_owned())
}

/// `REQUIRE_LAB=1`: a machine that cannot run the lab is a failure.
#[expect(
    clippy::disallowed_methods,
    reason = "the harness is a program, and this is its only setting"
)]
pub(crate) fn is_required() -> bool {
    std::env::var_os("REQUIRE_LAB").is_some_and(|value| value == "1")
}

/// `cargo test -p metadata-testcontainers` does not build the programs that it starts, so this does, in the same profile.
async fn build_programs() -> Result<(), Failed> {
    let Some(cargo) = cargo() else { return Ok(()) };
    let packages = ["fake-imds", "fake-sts", "metadata-proxy"].map(|package| ["-p", package]);
    let status = tokio::process::Command::new(cargo)
        .args(["build", "--quiet", "--bins"])
        .args(packages.as_flattened())
        .status()
        .await?;
    if status.success() {
        Ok(())
    } else {
        Err("the programs cannot be built".into())
    }
}

#[expect(clippy::disallowed_methods, reason = "cargo tells what it is by its environment")]
fn cargo() -> Option<std::ffi::OsString> {
    std::env::var_os("CARGO")
}
