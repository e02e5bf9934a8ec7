//! Somebody else's proxy in the instance: how it is started as such proxies are, and how one knows that it serves. It writes what it likes, so nothing that
//! it writes is waited for.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::Docker;
use bollard::query_parameters::ImportImageOptionsBuilder;
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use lab::{Process, Program};

use super::guard::Rules;
use super::{PROXY_PORT, STS_URL, Stage, Workshop};
use crate::ambient::Ambient;
use crate::cast::REGION;
use crate::external::{BadCommand, CLIENT, External, Redirect, Started, last_lines, locate};
use crate::play::PlayError;

/// How long it may take until it listens.
const LISTENING: Duration = Duration::from_secs(20);
/// How often the kernel's table is looked at meanwhile; nothing tells when it changes.
const LOOK: Duration = Duration::from_millis(20);
/// Where an image finds the engine.
const SOCKET: &str = "/var/run/docker.sock";
/// What its container, its control group and its log files are called.
const LABEL: &str = "external-proxy";

impl External {
    /// The program as it is started in an instance with this engine: what it needs to know comes in variables, and its credentials from the endpoint.
    ///
    /// # Errors
    /// When there is no such program.
    pub(crate) fn program(&self, ambient: &Ambient, docker_host: &str) -> Result<Program, BadCommand> {
        let find = |name: &str| locate(name, &ambient.directory, ambient.path.as_deref());
        let variables = |docker_host: &str| {
            [
                ("PORT", PROXY_PORT.to_string()),
                ("DOCKER_HOST", docker_host.to_owned()),
                // The fake STS speaks IAM on the same listener.
                ("AWS_ENDPOINT_URL", STS_URL.to_owned()),
                ("AWS_ENDPOINT_URL_STS", STS_URL.to_owned()),
                ("AWS_ENDPOINT_URL_IAM", STS_URL.to_owned()),
                ("AWS_REGION", REGION.to_owned()),
            ]
        };
        match &self.program {
            Started::Command(words) => {
                let (name, arguments) = words.split_first().ok_or(BadCommand::Empty)?;
                let program = Program::new(find(name)?).args(arguments).label(LABEL).service(LABEL);
                // Paths among the arguments are meant as they were typed.
                let program = program.directory(&ambient.directory);
                let variables = variables(docker_host).into_iter();
                Ok(variables.fold(program, |program, (name, value)| program.env(name, value)))
            }
            Started::Image(image) => {
                let socket = docker_host.trim_start_matches("unix://");
                let program = client(find(CLIENT)?, docker_host)
                    .args([
                        "run",
                        "--rm",
                        "--name",
                        LABEL,
                        "--network",
                        "host",
                        "--pull",
                        "never",
                        "--volume",
                    ])
                    .arg(format!("{socket}:{SOCKET}"));
                let variables = variables(&format!("unix://{SOCKET}")).into_iter();
                let program = variables.fold(program, |program, (name, value)| {
                    program.args(["--env".to_owned(), format!("{name}={value}")])
                });
                Ok(program.arg(image))
            }
        }
    }

    /// What else is said to the engine of an image's container; none where the proxy is a program.
    pub(super) fn handle(&self, ambient: &Ambient, docker_host: &str) -> Option<Program> {
        matches!(self.program, Started::Image(_)).then_some(())?;
        let found = locate(CLIENT, &ambient.directory, ambient.path.as_deref()).ok()?;
        Some(client(found, docker_host))
    }

    /// Brings the image from the machine's engine to the instance's.
    pub(super) async fn bring(&self, workshop: &Workshop, docker: &Docker) -> Result<(), PlayError> {
        let Started::Image(name) = &self.program else {
            return Ok(());
        };
        let archive = workshop.proxy_image.get_or_try_init(|| export(name)).await?;
        let options = ImportImageOptionsBuilder::default().quiet(true).build();
        let mut progress = Box::pin(docker.import_image(options, bollard::body_full(archive.clone()), None));
        while let Some(step) = progress.next().await {
            step.map_err(|error| PlayError::lab(format!("loading the image {name}"), &error))?;
        }
        Ok(())
    }

    /// The rules in front of it; none where they are metadata-proxy's.
    pub(super) fn documented_rules(&self) -> Option<Rules> {
        (self.rules == Redirect::Documented).then_some(Rules::Documented)
    }
}

fn client(path: PathBuf, docker_host: &str) -> Program {
    Program::new(path).label(LABEL).env("DOCKER_HOST", docker_host)
}

/// An image of the machine's own engine, as `docker save` writes it.
async fn export(name: &str) -> Result<Bytes, PlayError> {
    let failed = |error| PlayError::lab(format!("taking the image {name} from this machine's engine"), &error);
    let docker = Docker::connect_with_defaults().map_err(failed)?;
    // An engine exports what it has not as an empty archive.
    docker.inspect_image(name).await.map_err(failed)?;
    let mut archive = BytesMut::new();
    let mut pieces = Box::pin(docker.export_image(name));
    while let Some(piece) = pieces.next().await {
        archive.extend_from_slice(&piece.map_err(failed)?);
    }
    Ok(archive.freeze())
}

impl Stage {
    /// Does to the container of an image what a signal to its program's process would not reach. `false` where there is none, or the program passes it on.
    pub(super) async fn signal_container(&self, signal: &str) -> Result<bool, PlayError> {
        let verb: &[&str] = match signal {
            // One that a killed client has left behind has the name still.
            "start" | "try" => &["rm", "--force"],
            "kill" => &["kill"],
            "pause" => &["pause"],
            "resume" => &["unpause"],
            _ => return Ok(false),
        };
        let Some(client) = &self.guard.client else {
            return Ok(false);
        };
        let output = self
            .run_on_host(&client.clone().args(verb).arg(LABEL), LISTENING)
            .await?;
        if output.status.success() || verb.contains(&"rm") {
            return Ok(true);
        }
        Err(PlayError::Lab {
            what: format!("{signal} the proxy under test"),
            why: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }

    /// Waits until it takes connections from elsewhere than its own host.
    pub(super) async fn wait_until_it_listens(&self, process: &Process) -> Result<(), PlayError> {
        // The instance's first process has the host's network namespace.
        let tables = PathBuf::from(format!("/proc/{}/net", self.instance.first_process()));
        let look = async {
            let mut look = tokio::time::interval(LOOK);
            loop {
                look.tick().await;
                let heard = heard_at(&tables, PROXY_PORT);
                if heard == Heard::Everywhere || process.status().is_some() {
                    return heard;
                }
            }
        };
        let heard = match tokio::time::timeout(LISTENING, look).await {
            Ok(heard) => heard,
            Err(_) => heard_at(&tables, PROXY_PORT),
        };
        let why = match (process.status(), heard) {
            (Some(status), _) => format!("it ended ({status}) before it listened on port {PROXY_PORT}"),
            (None, Heard::Everywhere) => return Ok(()),
            (None, Heard::OnLoopback) => format!(
                "it listens on port {PROXY_PORT} of the loopback interface alone, where no container's request gets to: let it listen on 0.0.0.0"
            ),
            (None, Heard::Nowhere) => format!(
                "it did not listen on port {PROXY_PORT} within {} s; PORT={PROXY_PORT} is in its environment",
                LISTENING.as_secs()
            ),
        };
        Err(PlayError::Lab {
            what: "starting the proxy under test".to_owned(),
            why: format!("{why}{}", self.end_of(process)),
        })
    }

    /// The end of what a process wrote, secrets taken out.
    fn end_of(&self, process: &Process) -> String {
        let text = format!("{}\n{}", process.stdout(), process.stderr());
        let end = last_lines(&text, |line| self.redactor.text(line));
        if end.is_empty() {
            return "\nit wrote nothing".to_owned();
        }
        format!("\nthe end of what it wrote:{end}")
    }
}

/// From where a port can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Heard {
    Nowhere,
    OnLoopback,
    Everywhere,
}

/// What the kernel's tables of a network namespace say of a port. A table that cannot be read has no listener.
fn heard_at(tables: &Path, port: u16) -> Heard {
    ["tcp", "tcp6"]
        .iter()
        .filter_map(|name| std::fs::read_to_string(tables.join(name)).ok())
        .flat_map(|table| table.lines().map(|line| heard_by(line, port)).collect::<Vec<_>>())
        .max()
        .unwrap_or(Heard::Nowhere)
}

/// A line of `/proc/net/tcp`: number, local address, remote address, state (`0A` is LISTEN).
fn heard_by(line: &str, port: u16) -> Heard {
    let mut fields = line.split_whitespace().skip(1);
    let (local, state) = (fields.next(), fields.nth(1));
    match local.and_then(|local| local.rsplit_once(':')) {
        Some((address, number)) if state == Some("0A") && u16::from_str_radix(number, 16) == Ok(port) => {
            // In the kernel's byte order: 127.0.0.1 and ::1.
            let is_loopback =
                address.ends_with("7F") && address.len() == 8 || address == "00000000000000000000000001000000";
            if is_loopback {
                Heard::OnLoopback
            } else {
                Heard::Everywhere
            }
        }
        Some(_) | None => Heard::Nowhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_tells_from_where_a_port_is_reached() {
        for (line, heard) in [
            (
                "   0: 00000000:1F40 00000000:0000 0A 00000000:00000000",
                Heard::Everywhere,
            ),
            ("   0: 0200C80A:1F40 00000000:0000 0A", Heard::Everywhere),
            (
                "   1: 00000000000000000000000000000000:1F40 00000000000000000000000000000000:0000 0A",
                Heard::Everywhere,
            ),
            ("   0: 0100007F:1F40 00000000:0000 0A", Heard::OnLoopback),
            (
                "   1: 00000000000000000000000001000000:1F40 00000000000000000000000000000000:0000 0A",
                Heard::OnLoopback,
            ),
            // A connection, another port, the heading.
            ("   2: 00000000:1F40 0100007F:9999 01", Heard::Nowhere),
            ("   3: 00000000:1F41 00000000:0000 0A", Heard::Nowhere),
            ("  sl  local_address rem_address   st", Heard::Nowhere),
        ] {
            assert_eq!(heard_by(line, 8000), heard, "{line}");
        }
        assert_eq!(heard_at(Path::new("/nonexistent"), 8000), Heard::Nowhere);
    }
}
