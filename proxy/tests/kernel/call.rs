//! The self-test (rule A9): it proves what works, and says why when it does not.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use libtest_mimic::Failed;
use metadata_proxy::attest;
use metadata_proxy::caller::{Attestor, Connection, Facts, Unattested};
use metadata_proxy::selftest::{SelfTestError, prove};
use std::sync::Arc;

use bollard::models::HostConfig;
use metadata_proxy::firewall;

use crate::Test;
use crate::world::{ENDPOINT, World};

pub(crate) const TESTS: &[Test] = &[
    ("the_self_test_proves_attestation_and_leaves_nothing_behind", proves),
    ("the_program_starts_and_refuses_a_container_without_a_rule", program),
    ("the_self_test_refuses_a_machine_that_gives_no_cgroup", refuses),
];

/// An attestor for a kernel that is too old.
struct Blind;

impl Attestor for Blind {
    type Pin = ();

    async fn attest(&self, _: &Connection) -> Result<(Arc<Facts>, ()), Unattested> {
        Err(Unattested::NoCgroup)
    }

    fn confirm(&self, (): &()) -> Result<(), Unattested> {
        Err(Unattested::NoCgroup)
    }

    async fn ended(&self, (): &()) {}
}

fn run<A: Attestor>(world: &World, attestor: &A, nonce: &str) -> Result<(), SelfTestError> {
    let listener: TcpListener = world.listeners[0].try_clone().expect("a socket can be cloned");
    listener.set_nonblocking(true).expect("it may");
    world.runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).expect("a runtime is there");
        let accept = async || {
            let (stream, _) = listener.accept().await?;
            let connection = attest::connection(&stream)?;
            Ok((stream, connection))
        };
        prove(
            &world.engine,
            attestor,
            accept,
            ENDPOINT.parse().expect("an address"),
            nonce,
        )
        .await
    })
}

fn proves(world: &World) -> Result<(), Failed> {
    run(world, &world.attestor, "0123456789abcdef")?;
    let listed = crate::instance::printed(
        "docker -H unix:///run/docker.sock ps -aq; docker -H unix:///run/docker.sock images -q",
    );
    assert_eq!(listed.lines().count(), 1, "only the tests' own image remains: {listed}");
    Ok(())
}

fn refuses(world: &World) -> Result<(), Failed> {
    let refused = run(world, &Blind, "fedcba9876543210");
    assert!(
        matches!(
            refused,
            Err(SelfTestError::Unattested {
                reason: Unattested::NoCgroup
            })
        ),
        "{refused:?}"
    );
    Ok(())
}

const CONFIG: &str = r#"
[listen]
port = 0
[engine]
socket = "unix:///run/docker.sock"
[firewall]
host = "open"
[aws]
account = "123456789012"
region = "eu-central-1"
sts_endpoint = "http://127.0.0.1:1"
[[rule]]
name = "deploy"
runner = "Ab3dEf9_x"
gitlab = "gitlab.example.com"
project = 20
role = "deploy"
"#;

/// The whole program: firewall, self-test, and an answer to a container that it knows and that no rule knows.
fn program(world: &World) -> Result<(), Failed> {
    std::fs::write("/run/metadata-proxy.toml", CONFIG)?;
    let mut program = Command::new(env!("CARGO_BIN_EXE_metadata-proxy"))
        .args(["run", "--config", "/run/metadata-proxy.toml"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(program.stdout.take().ok_or("no output")?);
    let mut line = String::new();
    lines.read_line(&mut line)?;
    assert!(line.starts_with("listening on http://"), "{line}");
    let container = world.container(HostConfig::default());
    let address = container.address().to_string();
    container.order("open c - 169.254.169.254:80")?;
    container.order("send c PUT /latest/api/token HTTP/1.1\\r\\nHost: 169.254.169.254\\r\\nX-aws-ec2-metadata-token-ttl-seconds: 60\\r\\n\\r\\n")?;
    let answer = container.order("receive c")?;
    program.kill()?;
    program.wait()?;
    let record: Vec<String> = lines.lines().map_while(Result::ok).collect();
    // It was killed, so that what it kept for itself would only lapse after a while.
    world.runtime.block_on(firewall::remove_sources())?;
    world.runtime.block_on(firewall::apply(world.plan))?;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    assert!(
        record
            .iter()
            .any(|line| line.contains(&container.id) && line.contains(&address)),
        "{record:?}"
    );
    Ok(())
}
