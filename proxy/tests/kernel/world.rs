//! What every test stands on: the instance, an attestor that follows its engine, the redirected port, and containers.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptionsBuilder, InspectContainerOptions, RemoveContainerOptionsBuilder,
    StartContainerOptions,
};
use futures_util::StreamExt;
use metadata_proxy::attest::{self, KernelAttestor, Pin};
use metadata_proxy::caller::{Attestor, Connection, Facts, Level, Unattested};
use metadata_proxy::engine::Engine;
use metadata_proxy::firewall::{self, ENDPOINTS, Plan};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::instance::{self, SOCKET};

pub(crate) const ENDPOINT: &str = "169.254.169.254:80";
pub(crate) const ENDPOINT_V6: &str = "[fd00:ec2::254]:80";
const IMAGE: &str = "job:test";

pub(crate) struct World {
    pub(crate) runtime: Runtime,
    pub(crate) docker: Docker,
    pub(crate) engine: Engine,
    pub(crate) attestor: KernelAttestor,
    /// Of the weaker level.
    netns: KernelAttestor,
    level: Mutex<Level>,
    pub(crate) listeners: [TcpListener; 2],
    pub(crate) plan: Plan,
    daemon: Mutex<Child>,
    group: String,
    containers: AtomicUsize,
}

impl World {
    pub(crate) fn start() -> Self {
        let group = std::env::var(crate::outer::INSIDE).expect("the outer run set it");
        instance::lay_out();
        let daemon = instance::start_engine(&group);
        let runtime = Runtime::new().expect("threads can be started");
        let first = TcpListener::bind("0.0.0.0:0").expect("a free port");
        let port = first.local_addr().expect("it is bound").port();
        let second = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None).expect("IPv6 is there");
        second.set_only_v6(true).expect("it may");
        second
            .bind(&SocketAddr::new("::".parse().expect("an address"), port).into())
            .expect("the same port is free");
        second.listen(64).expect("it may");
        let plan = Plan::new(port.try_into().expect("not 0"));
        let docker = Docker::connect_with_unix(SOCKET, 30, bollard::API_DEFAULT_VERSION).expect("the socket exists");
        let (docker, engine, attestor, netns) = runtime.block_on(async {
            let docker = docker.negotiate_version().await.expect("the engine answers");
            let stream = metadata_proxy::selftest::image::stream_image().expect("this program can be read");
            let options = CreateImageOptionsBuilder::default()
                .from_src("-")
                .repo("job")
                .tag("test")
                .build();
            let mut steps = Box::pin(docker.create_image(Some(options), Some(bollard::body_try_stream(stream)), None));
            while let Some(step) = steps.next().await {
                step.expect("the image is imported");
            }
            firewall::apply(plan).await.expect("the rules are accepted");
            let engine = Engine::connect(SOCKET, None).await.expect("the engine answers");
            let start = async |level| {
                let started = KernelAttestor::start(engine.clone(), &ENDPOINTS, level, CancellationToken::new());
                started.await.expect("it starts")
            };
            let (attestor, netns) = (start(Level::Cgroup).await, start(Level::Netns).await);
            (docker, engine, attestor, netns)
        });
        let containers = AtomicUsize::new(0);
        let daemon = Mutex::new(daemon);
        Self {
            runtime,
            docker,
            engine,
            attestor,
            netns,
            level: Mutex::default(),
            listeners: [first, second.into()],
            plan,
            daemon,
            group,
            containers,
        }
    }

    /// From now on connections are attested by this level.
    pub(crate) fn set_level(&self, level: Level) {
        *self.level.lock().unwrap_or_else(PoisonError::into_inner) = level;
    }

    fn at_level(&self) -> &KernelAttestor {
        let level = *self.level.lock().unwrap_or_else(PoisonError::into_inner);
        match level {
            Level::Cgroup => &self.attestor,
            Level::Netns => &self.netns,
        }
    }

    /// Starts a container whose job waits for orders.
    pub(crate) fn container(&self, host: HostConfig) -> Container<'_> {
        self.container_with(host, &["job"])
    }

    pub(crate) fn container_with(&self, host: HostConfig, words: &[&str]) -> Container<'_> {
        let number = self.containers.fetch_add(1, Ordering::Relaxed);
        let control = format!("/run/jobs/{number}");
        fs::create_dir(&control).expect("/run is ours");
        let mut host = host;
        host.binds = Some(vec![format!("{control}:/control")]);
        let mut command = vec!["/metadata-proxy".to_owned()];
        command.extend(words.iter().map(|word| (*word).to_owned()));
        let body = ContainerCreateBody {
            image: Some(IMAGE.to_owned()),
            cmd: Some(command),
            env: Some(vec!["LD_LIBRARY_PATH=/lib".to_owned(), format!("NUMBER={number}")]),
            labels: Some(HashMap::from([
                ("number".to_owned(), number.to_string()),
                (
                    "com.gitlab.gitlab-runner.job.url".to_owned(),
                    "https://gitlab.example.com/g/p/-/jobs/1".to_owned(),
                ),
            ])),
            host_config: Some(host),
            ..ContainerCreateBody::default()
        };
        let id = self.runtime.block_on(async {
            let created = self
                .docker
                .create_container(None::<CreateContainerOptions>, body)
                .await
                .expect("it can be made");
            self.docker
                .start_container(&created.id, None::<StartContainerOptions>)
                .await
                .expect("it starts");
            created.id
        });
        Container {
            world: self,
            id,
            control: format!("{control}/socket"),
            number,
        }
    }

    /// The next redirected connection, of either family.
    pub(crate) fn accept(&self) -> (TcpStream, Connection) {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            for listener in &self.listeners {
                listener.set_nonblocking(true).expect("it may");
                if let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(false).expect("it may");
                    let connection = attest::connection(&stream).expect("the peer is there");
                    return (stream, connection);
                }
            }
            assert!(Instant::now() < deadline, "no connection arrives");
            std::thread::yield_now();
        }
    }

    /// Whether nothing waits to be accepted.
    pub(crate) fn is_quiet(&self) -> bool {
        self.listeners.iter().all(|listener| {
            listener.set_nonblocking(true).expect("it may");
            listener.accept().is_err()
        })
    }

    pub(crate) fn attest(&self, connection: &Connection) -> Result<(std::sync::Arc<Facts>, Pin), Unattested> {
        self.runtime.block_on(self.at_level().attest(connection))
    }

    pub(crate) fn confirm(&self, pin: &Pin) -> Result<(), Unattested> {
        self.at_level().confirm(pin)
    }

    pub(crate) fn kill_engine(&self) {
        let mut daemon = self.daemon.lock().expect("no test panicked with it");
        daemon.kill().expect("it runs");
        daemon.wait().expect("it ends");
        let _ = fs::remove_file("/run/docker.sock");
        let _ = fs::remove_file("/run/docker.pid");
        // The engine took its containerd along; nobody reaps that here, so that it would be taken for alive.
        let _ = fs::remove_file("/run/exec/containerd/containerd.pid");
    }

    pub(crate) fn start_engine(&self) {
        *self.daemon.lock().expect("no test panicked with it") = instance::start_engine(&self.group);
        let up = async {
            while self.docker.ping().await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        self.runtime
            .block_on(async { tokio::time::timeout(Duration::from_secs(20), up).await })
            .expect("the engine comes back");
    }

    /// Waits until the attestor says that the pin's run or address has ended.
    pub(crate) fn wait_for_end(&self, pin: &Pin) {
        let ended = self
            .runtime
            .block_on(async { tokio::time::timeout(Duration::from_secs(5), self.at_level().ended(pin)).await });
        ended.expect("the end is noticed");
    }
}

pub(crate) struct Container<'a> {
    world: &'a World,
    pub(crate) id: String,
    control: String,
    pub(crate) number: usize,
}

impl Container<'_> {
    /// Gives an order, and the answer to it.
    pub(crate) fn order(&self, line: &str) -> Result<String, String> {
        let deadline = Instant::now() + Duration::from_secs(5);
        let mut stream = loop {
            match UnixStream::connect(&self.control) {
                Ok(stream) => break stream,
                Err(error) => assert!(Instant::now() < deadline, "the job does not listen: {error}"),
            }
            std::thread::yield_now();
        };
        stream.write_all(format!("{line}\n").as_bytes()).expect("the job reads");
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).expect("the job answers");
        let answer = answer.trim_end();
        match answer.split_once(' ') {
            Some(("ok", text)) => Ok(text.to_owned()),
            _ if answer == "ok" => Ok(String::new()),
            _ => Err(answer.to_owned()),
        }
    }

    /// Opens a connection, and accepts it.
    pub(crate) fn connect(&self, name: &str, bind: &str, to: &str, options: &str) -> (TcpStream, Connection) {
        let opened = self
            .order(format!("open {name} {bind} {to} {options}").trim())
            .expect("it connects");
        let (stream, connection) = self.world.accept();
        let local: SocketAddr = opened.parse().expect("the job tells its address");
        assert_eq!(
            (connection.client.ip(), connection.client.port()),
            (local.ip().to_canonical(), local.port())
        );
        (stream, connection)
    }

    pub(crate) fn pid(&self) -> i64 {
        self.inspect().state.and_then(|state| state.pid).expect("it runs")
    }

    pub(crate) fn address(&self) -> IpAddr {
        self.endpoint(|endpoint| endpoint.ip_address)
    }

    pub(crate) fn address_v6(&self) -> IpAddr {
        self.endpoint(|endpoint| endpoint.global_ipv6_address)
    }

    pub(crate) fn mac(&self) -> String {
        let networks = self
            .inspect()
            .network_settings
            .and_then(|settings| settings.networks)
            .expect("it has networks");
        networks
            .into_values()
            .find_map(|endpoint| endpoint.mac_address)
            .expect("it has a network")
    }

    fn endpoint(&self, pick: impl Fn(bollard::models::EndpointSettings) -> Option<String>) -> IpAddr {
        let networks = self
            .inspect()
            .network_settings
            .and_then(|settings| settings.networks)
            .expect("it has networks");
        let mut found = networks
            .into_values()
            .filter_map(pick)
            .filter_map(|text| text.parse().ok());
        found.next().expect("it has an address")
    }

    fn inspect(&self) -> bollard::models::ContainerInspectResponse {
        let inspect = self
            .world
            .docker
            .inspect_container(&self.id, None::<InspectContainerOptions>);
        self.world.runtime.block_on(inspect).expect("it exists")
    }

    /// Runs a command line in the container's network namespace.
    pub(crate) fn in_network(&self, line: &str) {
        instance::run(&format!("nsenter --net=/proc/{}/ns/net {line}", self.pid()));
    }

    pub(crate) fn assert_is(&self, attested: &Facts) {
        assert_eq!(attested.run.container_id, self.id);
        assert_eq!(attested.labels.get("number"), Some(&self.number.to_string()));
        assert!(attested.env.contains(&format!("NUMBER={}", self.number)));
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        let options = RemoveContainerOptionsBuilder::default().force(true).build();
        // A test may have removed it, or stopped the engine.
        let _ = self
            .world
            .runtime
            .block_on(self.world.docker.remove_container(&self.id, Some(options)));
    }
}
