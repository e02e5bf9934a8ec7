//! Each hole over a real connection on loopback: open with its switch, closed without. The containers have the addresses 127.0.0.2 and .3.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::task::AbortHandle;

use super::*;
use crate::credentials::tests::FakeSts;
use crate::identity::tests::{FakeEngine, FakeKernel};

const A: &str = "127.0.0.2";
const B: &str = "127.0.0.3";
const NOBODY: &str = "127.0.0.9";
const LIST: &str = "/latest/meta-data/iam/security-credentials/";
const TTL: (&str, &str) = (TTL_HEADER, "60");

const CONFIG: &str = r#"
[aws]
account = "123456789012"
region = "eu-central-1"
[[rule]]
runner = "Ab3dEf9_x"
gitlab = "gitlab.example.com"
project = 20
role = "deploy"
external_id = "of-20"
[[rule]]
runner = "Ab3dEf9_x"
gitlab = "gitlab.example.com"
project = 21
role = "deploy"
"#;

/// A service that answers anything with `upstream METHOD TARGET` and keeps what it was sent.
#[derive(Debug)]
struct FakeUpstream {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    task: AbortHandle,
}

impl FakeUpstream {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut head = Vec::new();
                while !head.windows(4).any(|end| end == b"\r\n\r\n") && stream.read_buf(&mut head).await.unwrap() > 0 {}
                let head = String::from_utf8(head).unwrap();
                let line = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
                log.lock().unwrap().push(head);
                let answer = match line.as_str() {
                    "PUT /latest/api/token" => "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhost-token".to_owned(),
                    "GET /moved" => {
                        "HTTP/1.1 302 Found\r\nLocation: /latest/user-data\r\nContent-Length: 0\r\n\r\n".to_owned()
                    }
                    "HEAD /latest/user-data" => {
                        "HTTP/1.1 200 OK\r\nContent-Length: 99\r\nX-From: upstream\r\n\r\n".to_owned()
                    }
                    line => format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\nupstream {line}",
                        line.len() + 9
                    ),
                };
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        });
        Self {
            address,
            seen,
            task: task.abort_handle(),
        }
    }
}

impl Drop for FakeUpstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Stage {
    address: SocketAddr,
    engine: Arc<FakeEngine>,
    kernel: Arc<FakeKernel>,
    sts: Arc<FakeSts>,
    upstream: FakeUpstream,
    _serving: JoinSet<()>,
}

async fn stage(hole: Option<Hole>) -> Stage {
    stage_with(hole, &[]).await
}

async fn stage_with(hole: Option<Hole>, env: &[&str]) -> Stage {
    let switches = Switches {
        hole,
        default_role: None,
    };
    let containers = vec![
        (A, Facts::of_job(20, 1, "build", env)),
        (B, Facts::of_job(21, 2, "build", &[])),
    ];
    let engine = FakeEngine::new(containers);
    let kernel = Arc::new(FakeKernel::default());
    let sts = Arc::new(FakeSts {
        expiration: Mutex::new(Timestamp::from_second(3600).unwrap()),
        ..FakeSts::default()
    });
    let upstream = FakeUpstream::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let minted = || -> [u8; 28] {
        static NEXT: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);
        [NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed); 28]
    };
    let proxy = Arc::new(Proxy {
        identity: Identity::new(Arc::clone(&engine), Arc::clone(&kernel), switches.clone()),
        cache: Cache::new(Arc::clone(&sts), switches.clone()),
        tokens: Tokens::default(),
        upstream: Upstream::new(&format!("http://{}", upstream.address)).unwrap(),
        config: RwLock::new(Arc::new(toml::from_str(CONFIG).unwrap())),
        granted: Mutex::default(),
        switches,
        leftovers: Mutex::default(),
        clock: Clock::new(|| Timestamp::UNIX_EPOCH),
        random: minted,
        original_destination: |_| "169.254.169.254:80".parse().ok(),
    });
    let mut serving = JoinSet::new();
    serving.spawn(proxy.serve(listener));
    Stage {
        address,
        engine,
        kernel,
        sts,
        upstream,
        _serving: serving,
    }
}

impl Stage {
    async fn connect(&self, from: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(from.parse().unwrap(), 0)).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    async fn ask(&self, from: &str, method: &str, target: &str, headers: &[(&str, &str)]) -> (u16, String) {
        let mut stream = self.connect(from).await;
        let headers: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let request =
            format!("{method} {target} HTTP/1.1\r\nHost: 169.254.169.254\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    async fn token(&self, from: &str) -> String {
        let (status, token) = self.ask(from, "PUT", "/latest/api/token", &[TTL]).await;
        assert_eq!(status, 200);
        token
    }

    async fn get(&self, from: &str, target: &str) -> (u16, String) {
        let token = self.token(from).await;
        self.ask(from, "GET", target, &[(TOKEN_HEADER, &token)]).await
    }

    fn forwarded(&self) -> usize {
        self.upstream.seen.lock().unwrap().len()
    }
}

#[tokio::test]
async fn a_sanctioned_container_gets_its_role_and_nothing_is_asked_upstream() {
    let stage = stage(None).await;
    assert_eq!(stage.get(A, LIST).await, (200, "deploy".to_owned()));
    let (status, body) = stage.get(A, &format!("{LIST}deploy")).await;
    assert_eq!(status, 200);
    assert!(
        body.contains("\"Token\" : \"arn:aws:iam::123456789012:role/deploy 20-1-Ab3dEf9_x\""),
        "{body}"
    );
    assert_eq!(
        stage.get(A, "/latest/meta-data/placement/region").await.1,
        "eu-central-1"
    );
    assert!(
        stage
            .get(A, "/latest/meta-data/iam/info")
            .await
            .1
            .contains("instance-profile/deploy")
    );
    assert_eq!(stage.sts.asked.lock().unwrap()[0].external_id.as_deref(), Some("of-20"));
    assert_eq!(stage.forwarded(), 0);
}

#[tokio::test]
async fn refusals_have_constant_bodies() {
    let stage = stage(None).await;
    assert_eq!(stage.get(A, "/latest/user-data").await, (404, "Not Found".to_owned()));
    assert_eq!(
        stage.get(A, &format!("{LIST}other")).await,
        (404, "Not Found".to_owned())
    );
    assert_eq!(stage.ask(A, "GET", LIST, &[]).await, (401, "Unauthorized".to_owned()));
    assert_eq!(
        stage.ask(A, "POST", LIST, &[]).await,
        (405, "Method Not Allowed".to_owned())
    );
    assert_eq!(
        stage.ask(A, "GET", "http://x/", &[]).await,
        (400, "Bad Request".to_owned())
    );
    assert_eq!(stage.ask(NOBODY, "GET", LIST, &[]).await, (403, "Forbidden".to_owned()));
    let forwarded_for = [TTL, ("X-Forwarded-For", "127.0.0.3")];
    assert_eq!(
        stage.ask(A, "PUT", "/latest/api/token", &forwarded_for).await,
        (403, "Forbidden".to_owned())
    );
    for ttl in ["0", "-1", "21601", "x", ""] {
        assert_eq!(
            stage.ask(A, "PUT", "/latest/api/token", &[(TTL_HEADER, ttl)]).await.0,
            400,
            "{ttl:?}"
        );
    }
    *stage.sts.fails.lock().unwrap() = true;
    assert_eq!(
        stage.get(A, &format!("{LIST}deploy")).await,
        (503, "Service Unavailable".to_owned())
    );
}

#[tokio::test]
async fn a_role_in_the_path_counts_only_with_its_switch() {
    for (hole, status) in [(None, 404), (Some(Hole::RoleInPath), 200)] {
        let stage = stage(hole).await;
        assert_eq!(stage.get(A, &format!("{LIST}prod-admin")).await.0, status, "{hole:?}");
        assert_eq!(stage.get(A, LIST).await.1, "deploy", "{hole:?}");
    }
}

#[tokio::test]
async fn policy_is_by_passed_over_the_wire_only_with_the_switch() {
    for (hole, answer) in [
        (None, (403, "Forbidden")),
        (Some(Hole::EnvOverPolicy), (200, "prod-admin")),
    ] {
        let stage = stage_with(hole, &["IAM_ROLE=prod-admin"]).await;
        assert_eq!(stage.get(A, LIST).await, (answer.0, answer.1.to_owned()), "{hole:?}");
    }
}

#[tokio::test]
async fn an_unknown_peer_gets_the_default_role_only_with_the_switch() {
    let open = stage(Some(Hole::DefaultRole)).await;
    assert_eq!(open.get(NOBODY, LIST).await, (200, "deploy".to_owned()));
    let closed = stage(None).await;
    assert_eq!(closed.ask(NOBODY, "PUT", "/latest/api/token", &[TTL]).await.0, 403);
}

#[tokio::test]
async fn paths_go_upstream_only_with_their_switches() {
    for (hole, target, expected) in [
        (
            Hole::SingleSegmentRoleRoute,
            "/latest/meta-data/iam/security-credentials/host/x",
            None,
        ),
        (
            Hole::ClientSidePathNormalisation,
            "/%2e/latest//user-data",
            Some("/latest/user-data"),
        ),
        (Hole::CatchAllPassthrough, "/%2e/latest//user-data", None),
    ] {
        let open = stage(Some(hole)).await;
        let expected = format!("upstream GET {}", expected.unwrap_or(target));
        assert_eq!(open.get(A, target).await, (200, expected), "{hole:?}");
        let closed = stage(None).await;
        assert_eq!(closed.get(A, target).await.0, 404, "{hole:?}");
        assert_eq!(closed.forwarded(), 0);
    }
}

#[tokio::test]
async fn only_the_catch_all_serves_the_unknown() {
    for (hole, status) in [
        (Hole::CatchAllPassthrough, 200),
        (Hole::ClientSidePathNormalisation, 403),
    ] {
        let stage = stage(Some(hole)).await;
        assert_eq!(
            stage.ask(NOBODY, "GET", "/latest/user-data", &[]).await.0,
            status,
            "{hole:?}"
        );
        assert_eq!(stage.ask(NOBODY, "GET", LIST, &[]).await.0, 403, "{hole:?}");
    }
}

#[tokio::test]
async fn a_token_of_ours_is_exchanged_and_a_foreign_one_kept_upstream() {
    let stage = stage(Some(Hole::CatchAllPassthrough)).await;
    let own = stage.token(A).await;
    stage.ask(A, "GET", "/latest/user-data", &[(TOKEN_HEADER, &own)]).await;
    stage
        .ask(A, "GET", "/latest/user-data", &[(TOKEN_HEADER, "foreign")])
        .await;
    stage.ask(A, "GET", "/latest/user-data", &[]).await;
    let seen = stage.upstream.seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 4, "{seen:?}");
    assert!(seen[0].starts_with("PUT /latest/api/token "));
    assert!(seen[1].contains("x-aws-ec2-metadata-token: host-token\r\n") && !seen[1].contains(&own));
    assert!(seen[2].contains("x-aws-ec2-metadata-token: foreign\r\n"));
    assert!(!seen[3].contains("x-aws-ec2-metadata-token"));
}

#[tokio::test]
async fn absolute_form_is_fetched_with_redirects_only_with_its_switch() {
    for (hole, answer) in [
        (None, (400, "Bad Request")),
        (Some(Hole::FollowAbsoluteForm), (200, "upstream GET /latest/user-data")),
    ] {
        let stage = stage(hole).await;
        let url = format!("http://{}/moved", stage.upstream.address);
        assert_eq!(
            stage.ask(A, "GET", &url, &[]).await,
            (answer.0, answer.1.to_owned()),
            "{hole:?}"
        );
    }
}

#[tokio::test]
async fn other_methods_go_upstream_only_with_get_only_interception() {
    for (hole, answer) in [
        (None, (405, "Method Not Allowed".to_owned())),
        (
            Some(Hole::GetOnlyInterception),
            (200, format!("upstream POST {LIST}host")),
        ),
    ] {
        let stage = stage(hole).await;
        assert_eq!(
            stage.ask(A, "POST", &format!("{LIST}host"), &[]).await,
            answer,
            "{hole:?}"
        );
        assert_eq!(stage.get(A, LIST).await.1, "deploy", "{hole:?}");
    }
}

#[tokio::test]
async fn the_hosts_token_comes_back_only_with_its_switch_and_then_serves() {
    let open = stage(Some(Hole::ForwardTokenRoute)).await;
    assert_eq!(open.token(A).await, "host-token");
    assert_eq!(
        open.ask(A, "GET", LIST, &[(TOKEN_HEADER, "host-token")]).await,
        (200, "deploy".to_owned())
    );
    assert_eq!(open.ask(B, "GET", LIST, &[(TOKEN_HEADER, "host-token")]).await.0, 401);
    let closed = stage(None).await;
    assert_ne!(closed.token(A).await, "host-token");
    assert_eq!(closed.ask(A, "GET", LIST, &[(TOKEN_HEADER, "host-token")]).await.0, 401);
}

#[tokio::test]
async fn a_tokenless_request_is_served_only_with_token_optional() {
    for (hole, status) in [(None, 401), (Some(Hole::TokenOptional), 200)] {
        let stage = stage(hole).await;
        assert_eq!(stage.ask(A, "GET", LIST, &[]).await.0, status, "{hole:?}");
        assert_eq!(
            stage.ask(A, "GET", LIST, &[(TOKEN_HEADER, "bad")]).await.0,
            401,
            "{hole:?}"
        );
    }
}

#[tokio::test]
async fn a_stolen_token_serves_only_when_unbound() {
    for (hole, status) in [(None, 401), (Some(Hole::UnboundTokens), 200)] {
        let stage = stage(hole).await;
        let token = stage.token(A).await;
        assert_eq!(
            stage.ask(B, "GET", LIST, &[(TOKEN_HEADER, &token)]).await.0,
            status,
            "{hole:?}"
        );
    }
}

#[tokio::test]
async fn another_projects_session_comes_from_the_cache_only_by_arn() {
    for (hole, name) in [(None, "21-2-Ab3dEf9_x"), (Some(Hole::CacheByArn), "20-1-Ab3dEf9_x")] {
        let stage = stage(hole).await;
        stage.get(A, &format!("{LIST}deploy")).await;
        let (_, body) = stage.get(B, &format!("{LIST}deploy")).await;
        assert!(body.contains(name), "{hole:?}: {body}");
    }
}

async fn is_cut(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.is_err()
}

#[tokio::test]
async fn the_connection_of_an_ended_container_is_reset_at_once() {
    let stage = stage(None).await;
    let mut stream = stage.connect(A).await;
    let put = format!("PUT /latest/api/token HTTP/1.1\r\nHost: 169.254.169.254\r\n{TTL_HEADER}: 60\r\n\r\n");
    stream.write_all(put.as_bytes()).await.unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    stage.engine.stop("build-1");
    assert!(is_cut(&mut stream).await);
}

#[tokio::test]
async fn a_connection_that_changed_hands_is_reset_unless_attested_once() {
    for (hole, cut) in [(None, true), (Some(Hole::AttestOncePerConnection), false)] {
        let stage = stage(hole).await;
        let token = stage.token(A).await;
        let mut stream = stage.connect(A).await;
        let get = |connection| {
            format!(
                "GET {LIST} HTTP/1.1\r\nHost: 169.254.169.254\r\n{TOKEN_HEADER}: {token}\r\nConnection: {connection}\r\n\r\n"
            )
        };
        stream.write_all(get("keep-alive").as_bytes()).await.unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        *stage.kernel.disowned.lock().unwrap() = true;
        if hole.is_some() {
            stage.engine.stop("build-1");
        }
        stream.write_all(get("close").as_bytes()).await.unwrap();
        assert_eq!(is_cut(&mut stream).await, cut, "{hole:?}");
    }
}

#[tokio::test]
async fn an_unattested_peer_is_refused_unless_the_address_is_enough() {
    for (hole, status) in [
        (None, 403),
        (Some(Hole::AddressOnly), 200),
        (Some(Hole::CachedAddressLookup), 200),
    ] {
        let stage = stage(hole).await;
        *stage.kernel.disowned.lock().unwrap() = true;
        assert_eq!(
            stage.ask(A, "PUT", "/latest/api/token", &[TTL]).await.0,
            status,
            "{hole:?}"
        );
    }
}

#[tokio::test]
async fn what_a_client_leaves_behind_reaches_the_next_one_only_where_leftovers_are_shared() {
    for (hole, status) in [(None, 200), (Some(Hole::SharesLeftovers), 400)] {
        let stage = stage(hole).await;
        let mut stream = stage.connect(A).await;
        stream.write_all(b"leftover bytes ").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.is_empty());
        let (got, _) = stage.ask(B, "PUT", "/latest/api/token", &[TTL]).await;
        assert_eq!(got, status, "{hole:?}");
    }
}
