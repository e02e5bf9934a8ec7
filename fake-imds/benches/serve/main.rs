//! What serving costs, beside a bare axum server that returns the same bytes, and beside amazon-ec2-metadata-mock where an argument names the address at which one
//! serves (`-- 127.0.0.1:1338`; it cannot be started from here). Judges nothing: prints ratios beside their budgets. `ci/bench` runs it.

mod load;
mod program;

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;

use axum::Router;
use axum::http::HeaderName;
use axum::routing::{get, put};
use clap::Parser as _;

use load::{Load, rate};
use program::Program;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Rounds, each server in turn; the best of each counts: what else runs on the machine makes them slower, never faster.
const ROUNDS: usize = 5;
const REQUESTS: usize = 40_000;
/// A connection for each request costs ports, which the kernel keeps for a minute.
const CONNECTIONS: usize = 4_000;
const CROWD: usize = 1_000;
const BODY: &str = "i-0123456789abcdef0";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let end = tokio::runtime::Runtime::new()
        .map_err(Failure::from)
        .and_then(|runtime| {
            runtime.block_on(async {
                match words.as_slice() {
                    ["fake-imds", ..] => {
                        let cli = fake_imds::cli::Cli::parse_from(&words);
                        Ok(fake_imds::cli::run(cli, &mut std::io::stdout()).await?)
                    }
                    ["bare"] => bare().await,
                    // `cargo bench` adds --bench.
                    words => measure(words.iter().find_map(|word| word.parse().ok())).await,
                }
            })
        });
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            drop(writeln!(std::io::stderr(), "{error}"));
            ExitCode::FAILURE
        }
    }
}

/// The same bytes without a thought: headers of a constant, the same body.
async fn bare() -> Result<(), Failure> {
    let headers = || {
        [
            ("x-aws-ec2-metadata-token-ttl-seconds", "21600"),
            ("content-type", "text/plain"),
            ("accept-ranges", "none"),
            ("last-modified", "Fri, 02 Jan 2026 03:04:05 GMT"),
            ("server", "EC2ws"),
        ]
        .map(|(name, value)| (HeaderName::from_static(name), value))
    };
    let router = Router::new()
        .route(
            "/latest/meta-data/instance-id",
            get(move || async move { (headers(), BODY) }),
        )
        .route(
            "/latest/api/token",
            put(move || async move { (headers(), "AQAEAIXkhdOR3sIqAVRdg0mVAdHYRr_kfkFDU7SDzH9whlWZJwANKg==") }),
        );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    writeln!(std::io::stdout(), "listening on http://{}", listener.local_addr()?)?;
    axum::serve(listener, router).await?;
    Ok(())
}

fn mebibytes(program: &Program) -> Result<f64, Failure> {
    Ok(f64::from(u32::try_from(program.memory()?)?) / 1024.0)
}

/// Connections that have had an answer and stay.
async fn crowd(address: SocketAddr) -> Result<Vec<tokio::net::TcpStream>, Failure> {
    fake_kit::ambient::take_descriptors();
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        tokio::io::AsyncWriteExt::write_all(
            &mut stream,
            request("GET", "")
                .replace("X-aws-ec2-metadata-token: \r\n", "")
                .as_bytes(),
        )
        .await?;
        load::whole(&mut stream, &mut vec![0; 8192]).await?;
        crowd.push(stream);
    }
    Ok(crowd)
}

struct Server {
    name: &'static str,
    address: SocketAddr,
    token: String,
    /// Whether it survives token requests that come at once.
    concurrent: bool,
}

async fn measure(mock: Option<SocketAddr>) -> Result<(), Failure> {
    let folder = std::env::temp_dir().join(format!("fake-imds-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let control = |name: &str| format!("unix:{}", folder.join(name).display());
    let start = |name: &'static str, keep: bool| {
        let mut arguments = vec![
            "fake-imds".to_owned(),
            "--listen=127.0.0.1:0".to_owned(),
            format!("--control={}", control(name)),
        ];
        arguments.extend(keep.then(|| "--keep-alive".to_owned()));
        async move {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            Program::start(&arguments).await
        }
    };
    let mut out = std::io::stdout();
    let mut firsts = Vec::new();
    for _ in 0..ROUNDS {
        let program = start("first", false).await?;
        firsts.push(program.first);
        program.end().await?;
    }
    let first = firsts.iter().min().copied().unwrap_or_default();
    writeln!(
        out,
        "first answer after {:.1} ms (budget 10)",
        first.as_secs_f64() * 1000.0
    )?;

    let (closing, keeping, bare) = (
        start("closing", false).await?,
        start("keeping", true).await?,
        Program::start(&["bare"]).await?,
    );
    writeln!(out, "memory {:.1} MiB (budget 15)", mebibytes(&keeping)?)?;
    let mut servers = vec![
        Server::of("fake-imds", keeping.address).await?,
        Server::of("bare axum", bare.address).await?,
    ];
    if let Some(address) = mock {
        let server = Server::of("amazon-ec2-metadata-mock", address).await?;
        servers.push(Server {
            concurrent: false,
            ..server
        });
    }
    for connections in [16, 1] {
        compare(&mut out, "GET", &servers, true, connections).await?;
    }
    compare(&mut out, "PUT", &servers, true, 16).await?;
    let closing_servers = [
        Server::of("fake-imds", closing.address).await?,
        Server::of("bare axum", bare.address).await?,
    ];
    compare(&mut out, "GET", &closing_servers, false, 16).await?;
    writeln!(
        out,
        "memory after the load {:.1} MiB, its ledger full (budget 15)",
        mebibytes(&keeping)?
    )?;
    let crowd = crowd(keeping.address).await?;
    writeln!(
        out,
        "memory with {CROWD} connections more {:.1} MiB",
        mebibytes(&keeping)?
    )?;
    drop(crowd);
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

impl Server {
    async fn of(name: &'static str, address: SocketAddr) -> Result<Self, Failure> {
        let mut stream = tokio::net::TcpStream::connect(address).await?;
        let put = request("PUT", "");
        tokio::io::AsyncWriteExt::write_all(&mut stream, put.as_bytes()).await?;
        let token = load::whole(&mut stream, &mut vec![0; 8192]).await?;
        Ok(Self {
            name,
            address,
            token,
            concurrent: true,
        })
    }
}

fn request(method: &str, token: &str) -> String {
    match method {
        "PUT" => "PUT /latest/api/token HTTP/1.1\r\nHost: x\r\nX-aws-ec2-metadata-token-ttl-seconds: 21600\r\nContent-Length: 0\r\n\r\n".to_owned(),
        _ => format!("GET /latest/meta-data/instance-id HTTP/1.1\r\nHost: x\r\nX-aws-ec2-metadata-token: {token}\r\n\r\n"),
    }
}

/// Each server in turn, round by round, and the best of each beside the first's.
async fn compare(
    out: &mut std::io::Stdout,
    method: &str,
    servers: &[Server],
    keep_alive: bool,
    connections: usize,
) -> Result<(), Failure> {
    let mut best = vec![0.0_f64; servers.len()];
    for _ in 0..ROUNDS {
        for (server, best) in servers.iter().zip(&mut best) {
            if method == "PUT" && !server.concurrent {
                continue;
            }
            let load = Load {
                request: request(method, &server.token),
                connections,
                keep_alive,
                requests: if keep_alive { REQUESTS } else { CONNECTIONS },
            };
            *best = best.max(rate(server.address, &load).await?);
        }
    }
    let how = if keep_alive { "kept alive" } else { "a connection each" };
    let own = best.first().copied().unwrap_or_default();
    for (server, rate) in servers.iter().zip(best) {
        let (name, ratio) = (server.name, own / rate);
        let budget = match name {
            "bare axum" => format!(": {ratio:.2} of it (budget 0.80)"),
            "fake-imds" => String::new(),
            _ => format!(": {ratio:.2} of it (budget 1.20)"),
        };
        writeln!(
            out,
            "{method}, {connections} connections, {how}: {name} {rate:.0}/s{budget}"
        )?;
    }
    Ok(())
}
