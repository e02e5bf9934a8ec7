//! An instance with the fakes upstream and the proxy on its host.

#[path = "../../src/fixture/labels.rs"]
mod labels;

use std::collections::HashMap;
use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use bollard::Docker;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::{ContainerCreateBody, ExecConfig, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptionsBuilder, LogsOptionsBuilder, RenameContainerOptionsBuilder,
    StartContainerOptions, WaitContainerOptions,
};
use futures_util::StreamExt as _;
use lab::{Instance, InstanceSpec, Lab, LabOptions, Place, Process, Program, RunId};
use libtest_mimic::Failed;
use metadata_proxy::selftest::image;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::job::Step;

/// Longer than anything here takes on a machine that is busy.
pub(crate) const SOON: Duration = Duration::from_secs(60);
/// The proxy's program.
pub(crate) const PROXY: &str = env!("CARGO_BIN_EXE_metadata-proxy");
const STS: &str = "10.200.0.1:8081";

const ROLES: &str = r#"
[account]
id = "123456789012"
region = "eu-central-1"
partition = "aws"
[[role]]
name = "lab-host"
trust = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}'
policy = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}]}'
[[role]]
name = "deploy"
trust = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:role/lab-host"},"Action":"sts:AssumeRole"}]}'
[[role]]
name = "admin"
trust = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}]}'
"#;

pub(crate) struct World {
    pub(crate) lab: Lab,
    pub(crate) instance: Instance,
    pub(crate) docker: Docker,
    pub(crate) proxy: Process,
    _imds: Process,
    _sts: Process,
}

impl World {
    pub(crate) async fn start(name: &str) -> Result<Self, Failed> {
        Self::start_with(name, "").await
    }

    /// The same, with more in the proxy's configuration.
    pub(crate) async fn start_with(name: &str, more: &str) -> Result<Self, Failed> {
        Self::start_in(name, "", more, "").await
    }

    /// The same, with more settings of `[aws]` too, and more roles in the world.
    pub(crate) async fn start_in(name: &str, aws: &str, more: &str, roles: &str) -> Result<Self, Failed> {
        let lab = Lab::open(LabOptions::new(RunId::fresh()?)).await?;
        let upstream: [IpAddr; 2] = ["169.254.169.254".parse()?, "fd00:ec2::254".parse()?];
        let instance = lab.instance(&InstanceSpec::new(name, upstream)).await?;
        let state = instance.state_dir().to_owned();
        let place = |file: &str| state.join(file).display().to_string();
        fs::write(place("world.toml"), format!("{ROLES}{roles}"))?;
        fs::write(
            place("metadata-proxy.toml"),
            configuration(
                &instance.docker_host(),
                &place("metrics.sock"),
                &place("control.sock"),
                aws,
            ) + more,
        )?;
        let own = std::env::current_exe()?;
        let sts_control = format!("unix:{}", place("sts.sock"));
        let sts = Program::new(&own)
            .label("sts")
            .args(["fake-sts", "--listen", STS, "--control", &sts_control]);
        let sts = instance.spawn(Place::Upstream, &sts.args(["--world", &place("world.toml")]))?;
        sts.wait_for_line("listening on", SOON).await?;
        let imds = Program::new(&own)
            .label("imds")
            .args(["fake-imds", "--sts-control", &sts_control]);
        let imds = imds.args(["--listen", "169.254.169.254:80", "--listen", "[fd00:ec2::254]:80"]);
        let imds = imds.args(["--control", &format!("unix:{}", place("imds.sock"))]);
        let imds = instance.spawn(Place::Upstream, &imds)?;
        imds.wait_for_line("listening on", SOON).await?;
        let docker = instance.docker();
        import(&docker, "job", &[]).await?;
        let proxy = Program::new(PROXY);
        let proxy = proxy.args(["run", "--config", &place("metadata-proxy.toml")]);
        // Where its own credentials come from is not for the environment to say.
        let proxy = proxy.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:9");
        // Nor who else hears of them (P17).
        let proxy = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]
            .into_iter()
            .fold(proxy, |proxy, name| proxy.env(name, "http://127.0.0.1:9"));
        let proxy = instance.spawn(Place::Host, &proxy)?;
        proxy.wait_for_line("listening on", SOON).await?;
        Ok(Self {
            lab,
            instance,
            docker,
            proxy,
            _imds: imds,
            _sts: sts,
        })
    }

    /// Runs a job's container to its end; what it met, by name and IP version.
    pub(crate) async fn run_job(&self, labels: HashMap<String, String>, env: &[&str]) -> Result<Vec<Step>, Failed> {
        self.run_job_in("default", labels, env).await
    }

    /// The same, in a network of that name or mode.
    pub(crate) async fn run_job_in(
        &self,
        network: &str,
        labels: HashMap<String, String>,
        env: &[&str],
    ) -> Result<Vec<Step>, Failed> {
        self.run_image_in("job:it", network, labels, env).await
    }

    /// The same, of another image.
    pub(crate) async fn run_image_in(
        &self,
        image: &str,
        network: &str,
        labels: HashMap<String, String>,
        env: &[&str],
    ) -> Result<Vec<Step>, Failed> {
        let id = self.start_image(image, "job", network, labels, env).await?;
        let mut ended = self.docker.wait_container(&id, None::<WaitContainerOptions>);
        while let Some(end) = tokio::time::timeout(SOON, ended.next()).await? {
            end?;
        }
        steps(&self.logs_of(&id).await?)
    }

    /// What a container has printed.
    pub(crate) async fn logs_of(&self, id: &str) -> Result<String, Failed> {
        let options = LogsOptionsBuilder::default().stdout(true).stderr(true).build();
        let mut logs = self.docker.logs(id, Some(options));
        let mut text = String::new();
        while let Some(part) = logs.next().await {
            text += &part?.to_string();
        }
        Ok(text)
    }

    /// Starts a job's container that does this.
    pub(crate) async fn start_job(
        &self,
        what: &str,
        network: &str,
        labels: HashMap<String, String>,
        env: &[&str],
    ) -> Result<String, Failed> {
        self.start_image("job:it", what, network, labels, env).await
    }

    async fn start_image(
        &self,
        image: &str,
        what: &str,
        network: &str,
        labels: HashMap<String, String>,
        env: &[&str],
    ) -> Result<String, Failed> {
        let mut env: Vec<String> = env.iter().map(ToString::to_string).collect();
        env.push(format!("LD_LIBRARY_PATH={}", image::LIBRARIES));
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            cmd: Some(vec![image::PROGRAM.to_owned(), what.to_owned()]),
            env: Some(env),
            labels: Some(labels),
            host_config: Some(HostConfig {
                network_mode: Some(network.to_owned()),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        self.launch(body).await
    }

    /// Creates a container and starts it; its id.
    pub(crate) async fn launch(&self, body: ContainerCreateBody) -> Result<String, Failed> {
        let created = self
            .docker
            .create_container(None::<CreateContainerOptions>, body)
            .await?;
        self.docker
            .start_container(&created.id, None::<StartContainerOptions>)
            .await?;
        Ok(created.id)
    }

    /// Does this in a container that runs; what it met.
    pub(crate) async fn do_in(&self, container: &str, what: &str) -> Result<Vec<Step>, Failed> {
        let exec = ExecConfig {
            attach_stdout: Some(true),
            cmd: Some(
                [image::PROGRAM]
                    .into_iter()
                    .chain(what.split(' '))
                    .map(str::to_owned)
                    .collect(),
            ),
            ..ExecConfig::default()
        };
        let exec = self.docker.create_exec(container, exec).await?;
        let started = self.docker.start_exec(&exec.id, None::<StartExecOptions>).await?;
        let StartExecResults::Attached { mut output, .. } = started else {
            return Err("the exec is not attached".into());
        };
        let mut text = String::new();
        while let Some(part) = tokio::time::timeout(SOON, output.next()).await? {
            text += &part?.to_string();
        }
        steps(&text)
    }

    /// Starts a job's container of this name that waits; its id.
    pub(crate) async fn start_waiting(
        &self,
        name: &str,
        network: &str,
        labels: HashMap<String, String>,
        env: &[&str],
    ) -> Result<String, Failed> {
        let id = self.start_job("idle", network, labels, env).await?;
        let options = RenameContainerOptionsBuilder::default().name(name).build();
        self.docker.rename_container(&id, options).await?;
        Ok(id)
    }

    /// Runs a program on the host to its end; what it printed, and whether it succeeded.
    pub(crate) async fn on_host(&self, program: &str, arguments: &[&str]) -> Result<(bool, String), Failed> {
        let program = Program::new(program).args(arguments.iter().map(ToString::to_string));
        let output = self.instance.run(Place::Host, &program, SOON).await?;
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok((output.status.success(), text))
    }

    /// Where the proxy's configuration is.
    pub(crate) fn config(&self) -> String {
        self.instance
            .state_dir()
            .join("metadata-proxy.toml")
            .display()
            .to_string()
    }

    /// What the fake STS recorded.
    pub(crate) async fn sts_ledger(&self) -> Result<serde_json::Value, Failed> {
        self.ledger("sts.sock").await
    }

    /// What the fake endpoint recorded.
    pub(crate) async fn imds_ledger(&self) -> Result<serde_json::Value, Failed> {
        self.ledger("imds.sock").await
    }

    async fn ledger(&self, socket: &str) -> Result<serde_json::Value, Failed> {
        let (_, body) = self.get(socket, "/ledger").await?;
        Ok(serde_json::from_str(&body)?)
    }

    /// Asks one of the instance's socket files; the status and the body.
    pub(crate) async fn get(&self, socket: &str, path: &str) -> Result<(u16, String), Failed> {
        self.send(socket, "GET", path, "").await
    }

    /// Sends JSON to one of the instance's socket files; the status and the body of the answer.
    pub(crate) async fn send(
        &self,
        socket: &str,
        method: &str,
        path: &str,
        json: &str,
    ) -> Result<(u16, String), Failed> {
        let mut stream = UnixStream::connect(self.instance.state_dir().join(socket)).await?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{json}",
            json.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        let status = head.get(9..12).unwrap_or_default().parse()?;
        Ok((status, body.to_owned()))
    }

    /// Asks again until the answer is as expected: what it tells of changes on the host, which nobody announces.
    pub(crate) async fn wait_for(
        &self,
        socket: &str,
        path: &str,
        is_expected: impl Fn(u16, &str) -> bool,
    ) -> Result<String, Failed> {
        let asked = async {
            loop {
                let (status, body) = self.get(socket, path).await?;
                if is_expected(status, &body) {
                    return Ok(body);
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(SOON, asked).await?
    }

    pub(crate) async fn end(self) -> Result<(), Failed> {
        self.instance.teardown().await?;
        Ok(self.lab.close().await?)
    }
}

/// What a job has told, line by line.
fn steps(text: &str) -> Result<Vec<Step>, Failed> {
    text.lines()
        .map(|line| serde_json::from_str(line).map_err(|error| format!("{error}: {line}").into()))
        .collect()
}

fn configuration(engine: &str, metrics: &str, control: &str, aws: &str) -> String {
    format!(
        r#"
[listen]
port = 8000
metrics = "unix:{metrics}"
control = "unix:{control}"
[engine]
socket = "{engine}"
[aws]
account = "123456789012"
region = "eu-central-1"
sts_endpoint = "http://{STS}"
{aws}
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

/// Makes the job's image, with these lines of a Dockerfile.
pub(crate) async fn import(docker: &Docker, name: &str, lines: &[&str]) -> Result<(), Failed> {
    let body = bollard::body_try_stream(image::stream_image()?);
    let options = CreateImageOptionsBuilder::default()
        .from_src("-")
        .repo(name)
        .tag("it")
        .changes(lines.iter().map(ToString::to_string).collect())
        .build();
    let mut steps = docker.create_image(Some(options), Some(body), None);
    while let Some(step) = steps.next().await {
        step?;
    }
    Ok(())
}

/// The labels that GitLab Runner sets.
pub(crate) fn labels(project: u32) -> HashMap<String, String> {
    let mut labels = HashMap::from(labels::labels());
    labels.insert("com.gitlab.gitlab-runner.project.id".to_owned(), project.to_string());
    labels
}

/// The same, of another job than the usual one.
pub(crate) fn labels_of_job(project: u32, job: u32) -> HashMap<String, String> {
    let mut labels = labels(project);
    let url = format!("https://gitlab.example.com/g/p/-/jobs/{job}");
    for (key, value) in [("job.id", job.to_string()), ("job.url", url)] {
        labels.insert(format!("com.gitlab.gitlab-runner.{key}"), value);
    }
    labels
}

/// A role of the world that the instance's own may assume.
pub(crate) fn role(name: &str) -> String {
    format!(
        r#"
[[role]]
name = "{name}"
trust = '{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{{"AWS":"arn:aws:iam::123456789012:role/lab-host"}},"Action":"sts:AssumeRole"}}]}}'
"#
    )
}
