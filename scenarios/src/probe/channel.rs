//! The runner's side of the protocol: over a container's attached streams, or over an exec.
//!
//! Responsible for matching replies with requests, for deadlines, and for keeping every byte that came. It must not know what the
//! operations mean.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::Docker;
use bollard::container::{AttachContainerResults, LogOutput};
use bollard::exec::{CreateExecOptions, StartExecResults};
use bollard::query_parameters::AttachContainerOptionsBuilder;
use futures_util::{Stream, StreamExt as _};
use serde_json::Value;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::protocol::{Ask, Failure, MAX_LINE, Operation, Outcome, Reply, Request};
use super::transcript::Transcript;

type Output = Pin<Box<dyn Stream<Item = Result<LogOutput, bollard::errors::Error>> + Send>>;
type Input = Pin<Box<dyn AsyncWrite + Send>>;

/// Why a request to a probe has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The engine could not attach or exec.
    #[error("cannot reach the probe in container {container}")]
    Engine {
        /// The container.
        container: String,
        /// The engine's error.
        #[source]
        source: bollard::errors::Error,
    },
    /// The probe's output ended: the container or the exec is gone.
    #[error("the probe in {container} has ended{}{last_words}", if last_words.is_empty() { "" } else { ": " })]
    Ended {
        /// The container.
        container: String,
        /// The end of its standard error.
        last_words: String,
    },
    /// No reply in time.
    #[error("the probe in {container} did not answer within {deadline:?}")]
    Deadline {
        /// The container.
        container: String,
        /// What was granted.
        deadline: Duration,
    },
    /// The probe answered that it could not.
    #[error("the probe in {container} answers: {failure}")]
    Failed {
        /// The container.
        container: String,
        /// What the probe said.
        failure: Failure,
    },
    /// The answer is not what the operation answers: probe and runner are of different builds.
    #[error("the answer of the probe in {container} cannot be read")]
    Answer {
        /// The container.
        container: String,
        /// Where it cannot be read.
        #[source]
        source: serde_json::Error,
    },
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Option<HashMap<u64, oneshot::Sender<Outcome>>>>,
    transcript: Mutex<Transcript>,
}

impl Shared {
    fn waiting<T>(&self, act: impl FnOnce(&mut Option<HashMap<u64, oneshot::Sender<Outcome>>>) -> T) -> T {
        act(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn transcript<T>(&self, act: impl FnOnce(&mut Transcript) -> T) -> T {
        act(&mut self.transcript.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A conversation with one probe. Requests may overlap.
pub struct Channel {
    container: String,
    input: tokio::sync::Mutex<Option<Input>>,
    shared: Arc<Shared>,
    next: AtomicU64,
    ended: watch::Receiver<bool>,
    reader: JoinHandle<()>,
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Channel")
            .field("container", &self.container)
            .finish_non_exhaustive()
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Channel {
    /// Attaches to a container that is about to be started, as the runner does for each stage.
    pub async fn attach(docker: &Docker, container: &str) -> Result<Self, ChannelError> {
        let options = AttachContainerOptionsBuilder::default()
            .stream(true)
            .stdin(true)
            .stdout(true)
            .stderr(true)
            .build();
        let AttachContainerResults { output, input } = docker
            .attach_container(container, Some(options))
            .await
            .map_err(|source| engine(container, source))?;
        Ok(Self::over(container, output, input))
    }

    /// Starts another probe inside a running container, for services and for any process beside the job's own.
    pub async fn exec(docker: &Docker, container: &str, command: &[&str]) -> Result<Self, ChannelError> {
        let options = CreateExecOptions {
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(command.iter().map(|&word| word.to_owned()).collect()),
            ..CreateExecOptions::<String>::default()
        };
        let created = docker
            .create_exec(container, options)
            .await
            .map_err(|source| engine(container, source))?;
        let started = docker
            .start_exec(&created.id, None)
            .await
            .map_err(|source| engine(container, source))?;
        match started {
            StartExecResults::Attached { output, input } => Ok(Self::over(container, output, input)),
            StartExecResults::Detached => Err(ChannelError::Ended {
                container: container.to_owned(),
                last_words: "the engine detached the exec".to_owned(),
            }),
        }
    }

    /// A conversation over any pair of streams.
    pub fn over(container: &str, output: Output, input: Input) -> Self {
        let shared = Arc::new(Shared {
            waiting: Mutex::new(Some(HashMap::new())),
            transcript: Mutex::default(),
        });
        let (end, ended) = watch::channel(false);
        let reader = tokio::spawn(read(output, Arc::clone(&shared), end));
        Self {
            container: container.to_owned(),
            input: tokio::sync::Mutex::new(Some(input)),
            shared,
            next: AtomicU64::new(1),
            ended,
            reader,
        }
    }

    /// Asks and reads the typed answer.
    pub async fn ask<A: Ask>(&self, ask: A, deadline: Duration) -> Result<A::Answer, ChannelError> {
        let value = self.request(ask.into(), deadline).await?;
        serde_json::from_value(value).map_err(|source| ChannelError::Answer {
            container: self.container.clone(),
            source,
        })
    }

    /// Asks and gives the answer as it came.
    pub async fn request(&self, operation: Operation, deadline: Duration) -> Result<Value, ChannelError> {
        let asking = self.converse(operation);
        match tokio::time::timeout(deadline, asking).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ChannelError::Deadline {
                container: self.container.clone(),
                deadline,
            }),
        }
    }

    async fn converse(&self, operation: Operation) -> Result<Value, ChannelError> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, reply) = oneshot::channel();
        let is_open = self.shared.waiting(|waiting| match waiting {
            Some(waiting) => {
                waiting.insert(id, sender);
                true
            }
            None => false,
        });
        if !is_open {
            return Err(self.gone());
        }
        // Forgets the request also when the deadline drops this future.
        let _forget = Forget {
            shared: &self.shared,
            id,
        };
        let mut line = serde_json::to_vec(&Request { id, operation }).map_err(|source| ChannelError::Answer {
            container: self.container.clone(),
            source,
        })?;
        line.push(b'\n');
        {
            let mut input = self.input.lock().await;
            let Some(input) = input.as_mut() else {
                return Err(self.gone());
            };
            if input.write_all(&line).await.is_err() || input.flush().await.is_err() {
                return Err(self.gone());
            }
        }
        match reply.await {
            Ok(Outcome::Ok(value)) => Ok(value),
            Ok(Outcome::Err(failure)) => Err(ChannelError::Failed {
                container: self.container.clone(),
                failure,
            }),
            Err(_) => Err(self.gone()),
        }
    }

    fn gone(&self) -> ChannelError {
        ChannelError::Ended {
            container: self.container.clone(),
            last_words: self.shared.transcript(|transcript| transcript.last_words()),
        }
    }

    /// Ends the probe's input, as the runner does once a stage's script is written: a probe that has nothing to do exits.
    pub async fn end_input(&self) {
        let input = self.input.lock().await.take();
        if let Some(mut input) = input {
            // It may be gone already, which is what was wanted.
            let _ = input.shutdown().await;
        }
    }

    /// Waits until the output has ended; whether it did in time.
    pub async fn ended(&self, deadline: Duration) -> bool {
        let mut ended = self.ended.clone();
        let waiting = ended.wait_for(|ended| *ended);
        // A closed watch means that the reader is gone, and with it the output.
        tokio::time::timeout(deadline, waiting).await.is_ok()
    }

    /// Every byte so far.
    pub fn transcript(&self) -> Transcript {
        self.shared.transcript(|transcript| transcript.clone())
    }
}

struct Forget<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.shared.waiting(|waiting| {
            if let Some(waiting) = waiting {
                waiting.remove(&self.id);
            }
        });
    }
}

fn engine(container: &str, source: bollard::errors::Error) -> ChannelError {
    ChannelError::Engine {
        container: container.to_owned(),
        source,
    }
}

async fn read(mut output: Output, shared: Arc<Shared>, end: watch::Sender<bool>) {
    let mut line = Vec::new();
    while let Some(Ok(chunk)) = output.next().await {
        let is_error = matches!(chunk, LogOutput::StdErr { .. });
        let bytes = chunk.into_bytes();
        shared.transcript(|transcript| transcript.add(is_error, &bytes));
        if is_error {
            continue;
        }
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                deliver(&shared, &line);
                line.clear();
            } else if line.len() > 2 * MAX_LINE {
                // Not a reply of ours; it stays in the transcript.
                line.clear();
            }
        }
    }
    // Whoever waits learns that nothing will come.
    shared.waiting(|waiting| drop(waiting.take()));
    let _ = end.send(true);
}

/// A job may print what it likes between the replies: what is no reply, or nobody's, is only log.
fn deliver(shared: &Shared, line: &[u8]) {
    let Ok(reply) = serde_json::from_slice::<Reply>(line) else {
        return;
    };
    let waiting = shared.waiting(|waiting| waiting.as_mut().and_then(|waiting| waiting.remove(&reply.id)));
    if let Some(waiting) = waiting {
        let _ = waiting.send(reply.outcome);
    }
}
