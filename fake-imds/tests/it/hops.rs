//! The hop limit on the sockets themselves. Loopback does not count hops, so it is read back from the descriptor.

use std::sync::{Arc, Mutex};

use fake_imds::assembly::{Assembly, Settings, assemble};
use fake_imds::canonical::Profile;
use fake_imds::service::Endpoint;
use fake_imds::world::World;
use fake_kit::clock::Clock;
use fake_kit::ledger::Size;
use fake_kit::listen::Listen;
use fake_kit::malformed::Malformed;
use fake_kit::seed::Seed;
use fake_kit::serve::{self, Options, Reply, Request, Service};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Notes the socket's hop limit before and after each answer.
struct Watched {
    endpoint: Arc<Endpoint>,
    hops: Mutex<Vec<(u32, u32)>>,
}

impl Service for Watched {
    async fn answer(&self, request: Request) -> Reply {
        let connection = request.connection.clone();
        let before = connection.hop_limit().unwrap().unwrap();
        let reply = self.endpoint.answer(request).await;
        self.hops
            .lock()
            .unwrap()
            .push((before, connection.hop_limit().unwrap().unwrap()));
        reply
    }

    fn malformed(&self, malformed: Malformed) -> Option<http::Response<bytes::Bytes>> {
        panic!("{malformed:?}");
    }
}

async fn hops(listen: &str, reach: fn(u16) -> String) -> Vec<(u32, u32)> {
    let mut world = World::default();
    world.instance.hop_limit = 3;
    let settings = Settings {
        profile: Profile::Ec2,
        keep_alive: true,
        sts: None,
        aemm: None,
        clock: Clock::frozen("2026-01-02T03:04:05Z".parse().unwrap()),
        seed: Seed::default(),
        ledger: Size::DEFAULT,
    };
    let Assembly { endpoint, router } = assemble(&[world], settings);
    let watched = Arc::new(Watched {
        endpoint,
        hops: Mutex::default(),
    });
    let data = listen.parse::<Listen>().unwrap().bind().await.unwrap();
    let Listen::Tcp(address) = data.listen().unwrap() else {
        panic!("not an address")
    };
    let control = "127.0.0.1:0".parse::<Listen>().unwrap().bind().await.unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let served = tokio::spawn({
        let watched = Arc::clone(&watched);
        async move {
            let options = Options {
                title_case_headers: true,
                keep_alive: true,
                body_limit: 1024,
            };
            let stopped = async { stopped.await.unwrap_or(()) };
            serve::run(
                vec![data],
                control,
                router,
                watched,
                options,
                &mut std::io::sink(),
                stopped,
            )
            .await
            .unwrap();
        }
    });
    let mut stream = TcpStream::connect(reach(address.port())).await.unwrap();
    let requests = "GET /latest/ HTTP/1.1\r\nHost: x\r\n\r\n\
                    PUT /latest/api/token HTTP/1.1\r\nHost: x\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n\
                    GET /latest/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(requests.as_bytes()).await.unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3, "{answers}");
    stop.send(()).unwrap();
    served.await.unwrap();
    watched.hops.lock().unwrap().clone()
}

#[tokio::test]
async fn a_token_put_limits_the_hops_for_the_rest_of_the_connection() {
    let expected = [(64, 64), (64, 3), (3, 3)];
    assert_eq!(hops("127.0.0.1:0", |port| format!("127.0.0.1:{port}")).await, expected);
    assert_eq!(hops("[::1]:0", |port| format!("[::1]:{port}")).await, expected);
    // An IPv4 client of an IPv6 wildcard listener.
    assert_eq!(hops("[::]:0", |port| format!("127.0.0.1:{port}")).await, expected);
}
