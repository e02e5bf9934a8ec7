//! What serving costs: requests a second beside moto's, first answer after the start, memory. Judges nothing: prints what it measured beside
//! its budget, except for memory: 20 MiB with 10,000 roles, and nothing for a session. `cargo bench -p fake-sts`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench may end the program, and prints"
)]

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Lines};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::Instant;

/// GetCallerIdentity of moto server 5.2.5 on two cores, which verifies nothing.
const MOTO: f64 = 397.0;

const CONNECTIONS: usize = 8;
const MEASURED: Duration = Duration::from_secs(2);
/// In turns, since what else the machine does comes and goes.
const ROUNDS: usize = 5;
const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

const IDENTITY: &str = "Action=GetCallerIdentity&Version=2011-06-15";
const ASSUME: &str = "Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Frole-7&RoleSessionName=job-1&ExternalId=secret-7";

struct Fake {
    process: Child,
    address: String,
    control: PathBuf,
    /// Kept open: a program whose words nobody hears ends.
    _words: Lines<BufReader<ChildStdout>>,
    _folder: tempfile::TempDir,
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A world of so many roles, all with one trust policy or each with its own.
fn world(roles: usize, alike: bool) -> String {
    let mut text = format!(
        "[account]\nid = \"123456789012\"\nregion = \"eu-central-1\"\n\n[[user]]\nname = \"alice\"\naccess_key_id = \"{KEY}\"\nsecret_access_key = \"{SECRET}\"\npolicy = '{{\"Version\":\"2012-10-17\",\"Statement\":{{\"Effect\":\"Allow\",\"Action\":\"sts:AssumeRole\",\"Resource\":\"*\"}}}}'\n"
    );
    text.push_str("\n[[role]]\nname = \"host\"\ntrust = { Statement = { Effect = \"Allow\", Principal = { Service = \"ec2.amazonaws.com\" }, Action = \"sts:AssumeRole\" } }\n");
    for number in 0..roles {
        let secret = if alike { 7 } else { number };
        let _ = write!(
            text,
            "\n[[role]]\nname = \"role-{number}\"\ntrust = '{{\"Version\":\"2012-10-17\",\"Statement\":[{{\"Effect\":\"Allow\",\"Principal\":{{\"AWS\":\"arn:aws:iam::123456789012:root\"}},\"Action\":\"sts:AssumeRole\",\"Condition\":{{\"StringEquals\":{{\"sts:ExternalId\":\"secret-{secret}\"}}}}}}]}}'\n"
        );
    }
    text
}

#[expect(
    clippy::disallowed_methods,
    reason = "the program under test is started here and nowhere else"
)]
fn start(world: &str) -> Fake {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("world.toml");
    std::fs::write(&file, world).unwrap();
    let socket = folder.path().join("control.sock");
    let control = format!("unix:{}", socket.display());
    let mut process = Command::new(env!("CARGO_BIN_EXE_fake-sts"))
        .args(["--listen", "127.0.0.1:0", "--control", &control, "--world"])
        .arg(&file)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    Fake {
        address: line.trim_start_matches("listening on http://").to_owned(),
        control: socket,
        process,
        _words: lines,
        _folder: folder,
    }
}

/// The bytes of a request, signed once: a signature is good for a quarter of an hour.
#[expect(
    clippy::disallowed_methods,
    reason = "the program under test runs on the machine's clock"
)]
fn request(address: &str, body: &str) -> Vec<u8> {
    let identity = Credentials::new(KEY, SECRET, None, None, "bench").into();
    let settings = SigningSettings::default();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("eu-central-1")
        .name("sts")
        .time(SystemTime::now())
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let kind = "application/x-www-form-urlencoded";
    let headers = [("host", address), ("content-type", kind)];
    let uri = format!("http://{address}/");
    let signable =
        SignableRequest::new("POST", &uri, headers.into_iter(), SignableBody::Bytes(body.as_bytes())).unwrap();
    let (instructions, _) = sign(signable, &params).unwrap().into_parts();
    let mut head = format!(
        "POST / HTTP/1.1\r\nhost: {address}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n",
        body.len()
    );
    for (name, value) in instructions.headers() {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    format!("{head}\r\n{body}").into_bytes()
}

/// Sends and reads one answer; its status.
async fn exchange(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), request: &[u8], buffer: &mut Vec<u8>) -> u16 {
    stream.write_all(request).await.unwrap();
    buffer.clear();
    loop {
        let count = stream.read_buf(buffer).await.unwrap();
        assert!(count > 0, "the connection ended");
        let text = String::from_utf8_lossy(buffer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .split("content-length: ")
            .nth(1)
            .and_then(|rest| rest.lines().next());
        let length: usize = length
            .and_then(|length| length.parse().ok())
            .expect("an answer says how long it is");
        if body.len() >= length {
            return head.split(' ').nth(1).unwrap().parse().unwrap();
        }
    }
}

/// Requests a second, all of them answered with 200.
async fn rate(fake: &Fake, body: &str, most: Option<u64>) -> f64 {
    let request = Arc::new(request(&fake.address, body));
    let (count, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let began = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..CONNECTIONS {
        let (request, count, over) = (Arc::clone(&request), Arc::clone(&count), Arc::clone(&over));
        let address = fake.address.clone();
        tasks.push(tokio::spawn(async move {
            let mut stream = TcpStream::connect(&address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut buffer = Vec::with_capacity(8_192);
            while !over.load(Ordering::Relaxed) {
                assert_eq!(exchange(&mut stream, &request, &mut buffer).await, 200);
                let done = count.fetch_add(1, Ordering::Relaxed) + 1;
                if most.map_or_else(|| began.elapsed() > MEASURED, |most| done >= most) {
                    over.store(true, Ordering::Relaxed);
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let count: f64 = count.load(Ordering::Relaxed).to_string().parse().unwrap();
    count / began.elapsed().as_secs_f64()
}

/// The rates of two fakes that are asked in turns: medians, and the median of the second beside the first.
async fn rates_in_turns(few: &Fake, many: &Fake, body: &str) -> (f64, f64, f64) {
    let (mut fews, mut manys, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (one, other) = (rate(few, body, None).await, rate(many, body, None).await);
        fews.push(one);
        manys.push(other);
        ratios.push(other / one);
    }
    (median(fews), median(manys), median(ratios))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

/// Sessions that the control API hands out, which leaves no line in the ledger: what they alone take.
async fn issue(fake: &Fake, count: usize) {
    let body = r#"{"role_arn":"arn:aws:iam::123456789012:role/host","session_name":"i-0123456789abcdef0","via":"instance-profile","duration_seconds":21600,"canary":"host"}"#;
    let request = format!(
        "POST /credentials HTTP/1.1\r\nhost: control\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = UnixStream::connect(&fake.control).await.unwrap();
    let mut buffer = Vec::with_capacity(8_192);
    for _ in 0..count {
        assert_eq!(exchange(&mut stream, request.as_bytes(), &mut buffer).await, 200);
    }
}

/// Resident memory in MiB.
fn memory(fake: &Fake) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", fake.process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    kib / 1_024.0
}

#[tokio::main]
async fn main() {
    println!("{:<52} {:>12} {:>14}", "", "measured", "budget");
    let row = |what: &str, measured: String, budget: &str| println!("{what:<52} {measured:>12} {budget:>14}");
    let mut times = Vec::new();
    for _ in 0..5 {
        let began = Instant::now();
        let fake = start(&world(10, true));
        let mut stream = TcpStream::connect(&fake.address).await.unwrap();
        let bytes = request(&fake.address, IDENTITY);
        assert_eq!(exchange(&mut stream, &bytes, &mut Vec::new()).await, 200);
        times.push(began.elapsed().as_secs_f64() * 1_000.0);
    }
    row(
        "start to first answer, median of 5",
        format!("{:.1} ms", median(times)),
        "10 ms",
    );
    let few = start(&world(10, true));
    let identity = rate(&few, IDENTITY, None).await;
    row("GetCallerIdentity, signature verified", format!("{identity:.0}/s"), "");
    row(
        "  beside moto server (397/s, nothing verified)",
        format!("{:.0} x", identity / MOTO),
        "25 x",
    );
    let many = start(&world(10_000, true));
    // As the other was: its ledger has grown to its limit, or the growth would be measured.
    rate(&many, IDENTITY, None).await;
    let (assume, assume_many, ratio) = rates_in_turns(&few, &many, ASSUME).await;
    row("AssumeRole, policies evaluated, 10 roles", format!("{assume:.0}/s"), "");
    row(
        "  beside moto's GetCallerIdentity",
        format!("{:.0} x", assume / MOTO),
        "15 x",
    );
    row("AssumeRole, 10,000 roles", format!("{assume_many:.0}/s"), "");
    row(
        "  beside 10 roles, median of 5 pairs",
        format!("{:.0} %", ratio * 100.0),
        ">= 90 %",
    );
    drop(few);
    drop(many);
    let many = start(&world(10_000, true));
    let bare = start(&world(0, true));
    row("memory without roles", format!("{:.1} MiB", memory(&bare)), "");
    drop(bare);
    // The first buffers and connections are no session's.
    issue(&many, 100).await;
    let before = memory(&many);
    row("memory with 10,000 roles", format!("{before:.1} MiB"), "");
    issue(&many, 100_000).await;
    let after = memory(&many);
    row("  and 100,000 live sessions", format!("{after:.1} MiB"), "20 MiB");
    assert!(
        after - before < 1.0,
        "sessions are kept: {before} MiB, then {after} MiB"
    );
    assert!(after <= 20.0, "{after} MiB");
    let different = start(&world(10_000, false));
    row("  with 10,000 policies", format!("{:.1} MiB", memory(&different)), "");
    drop(different);
    rate(&many, ASSUME, Some(100_000)).await;
    let ledger = memory(&many);
    row("  and a ledger of 100,000 requests", format!("{ledger:.1} MiB"), "");
}
