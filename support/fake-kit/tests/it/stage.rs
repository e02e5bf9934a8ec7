//! A fake that echoes, served in this process, and raw clients for it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use fake_kit::clock::Clock;
use fake_kit::control::{self, ControlState};
use fake_kit::facts::Facts;
use fake_kit::ledger::Ledger;
use fake_kit::listen::Listen;
use fake_kit::malformed::Malformed;
use fake_kit::seed::{Canaries, Seed};
use fake_kit::serve::{self, Options, Reply, Request, Service};
use http::Response;
use jiff::Timestamp;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

struct Echo(ControlState);

impl Service for Echo {
    async fn answer(&self, request: Request) -> Reply {
        let facts = Facts::from([("path", request.uri.path().to_owned().into())]);
        let open = self.0.ledger.open("echo", self.0.clock.now(), &request, &facts);
        let strike = self.0.faults.strike(&self.0.holds, &facts).await;
        if strike.reset {
            open.answer(0, "reset");
            return Reply::Reset;
        }
        open.answer(200, strike.story.join("; "));
        let text = format!("{} {} {}", request.method, request.target(), request.body.len());
        Reply::Response(Response::new(Bytes::from(text)))
    }

    fn malformed(&self, malformed: Malformed) -> Option<Response<Bytes>> {
        self.0.ledger.record_malformed("echo", self.0.clock.now(), &malformed);
        None
    }
}

pub(crate) struct Stage {
    pub(crate) tcp: String,
    pub(crate) unix: PathBuf,
    pub(crate) control: PathBuf,
    pub(crate) ledger: Arc<Ledger>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<String>,
    _folder: TempDir,
}

impl Stage {
    pub(crate) async fn set(keep_alive: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (unix, control) = (folder.path().join("data"), folder.path().join("control"));
        let tcp = "127.0.0.1:0".parse::<Listen>().unwrap().bind().await.unwrap();
        let address = tcp.listen().unwrap().to_string();
        let data = vec![tcp, Listen::Unix(unix.clone()).bind().await.unwrap()];
        let bound = Listen::Unix(control.clone()).bind().await.unwrap();
        let clock = Clock::frozen(Timestamp::UNIX_EPOCH);
        let canaries = Canaries::new(Seed::default());
        canaries.plant("one");
        let state = ControlState::new(clock, canaries, &["path"]);
        let ledger = Arc::clone(&state.ledger);
        let (stop, stopped) = oneshot::channel();
        let served = tokio::spawn(async move {
            let router = control::router(state.clone());
            let options = Options {
                title_case_headers: true,
                keep_alive,
                body_limit: 10,
            };
            let mut out = Vec::new();
            let stopped = async { stopped.await.unwrap_or(()) };
            serve::run(data, bound, router, Arc::new(Echo(state)), options, &mut out, stopped)
                .await
                .unwrap();
            String::from_utf8(out).unwrap()
        });
        Self {
            tcp: address,
            unix,
            control,
            ledger,
            stop,
            served,
            _folder: folder,
        }
    }

    /// Sends bytes and reads to the end.
    pub(crate) async fn raw(&self, request: &str) -> String {
        exchange(TcpStream::connect(&self.tcp).await.unwrap(), request)
            .await
            .unwrap()
    }

    pub(crate) async fn over_unix(&self, request: &str) -> String {
        exchange(UnixStream::connect(&self.unix).await.unwrap(), request)
            .await
            .unwrap()
    }

    pub(crate) async fn control(&self, method: &str, path: &str, body: &str) -> String {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        );
        let answer = exchange(UnixStream::connect(&self.control).await.unwrap(), &request)
            .await
            .unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        format!("{} {body}", head.split(' ').nth(1).unwrap())
    }

    /// Stops serving; what was announced.
    pub(crate) async fn stop(self) -> String {
        self.stop.send(()).unwrap();
        self.served.await.unwrap()
    }
}

pub(crate) async fn exchange<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, request: &str) -> io::Result<String> {
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}
