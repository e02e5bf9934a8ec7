//! The program's whole loop behind the runner's whole channel, over a pipe in memory: both ends of the protocol at once.

use std::time::Duration;

use bollard::container::LogOutput;
use tokio::io::BufReader;
use tokio::net::TcpListener;

use super::*;
use crate::probe::bytes::Base64;
use crate::probe::channel::{Channel, ChannelError};
use crate::probe::protocol::*;

const SOON: Duration = Duration::from_secs(20);

fn probe(environment: &[(&str, &str)]) -> Channel {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let (their_input, their_output) = tokio::io::split(theirs);
    let (our_output, our_input) = tokio::io::split(ours);
    let environment = environment
        .iter()
        .map(|&(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    tokio::spawn(async move { serve(BufReader::new(their_input), their_output, Host::of(environment)).await });
    let output = futures_util::stream::unfold(our_output, async |mut output| {
        let mut chunk = bytes::BytesMut::new();
        let read = tokio::io::AsyncReadExt::read_buf(&mut output, &mut chunk)
            .await
            .unwrap();
        let message = chunk.freeze();
        (read > 0).then_some((Ok(LogOutput::StdOut { message }), output))
    });
    Channel::over("box", Box::pin(output), Box::pin(our_input))
}

/// A server that answers every connection with these bytes and closes or, where told so, resets it.
async fn server(answer: &'static [u8], reset: bool) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut chunk = [0; 1024];
            assert!(stream.read(&mut chunk).await.unwrap() > 0);
            stream.write_all(answer).await.unwrap();
            if reset {
                socket2::SockRef::from(&stream)
                    .set_linger(Some(Duration::ZERO))
                    .unwrap();
            }
        }
    });
    at
}

#[tokio::test]
async fn raw_tells_bytes_and_end_of_a_connection_that_is_closed() {
    let at = server(b"hello", false).await;
    let answer = probe(&[])
        .ask(
            Raw {
                to: at,
                send: "x".into(),
                ..Raw::default()
            },
            SOON,
        )
        .await
        .unwrap();
    assert_eq!(
        (answer.connect, answer.received, answer.end),
        (Connect::Ok, Base64::from("hello"), Some(End::Eof))
    );
}

#[tokio::test]
async fn raw_tells_a_reset_from_an_end() {
    let at = server(b"", true).await;
    let answer = probe(&[])
        .ask(
            Raw {
                to: at,
                send: "x".into(),
                ..Raw::default()
            },
            SOON,
        )
        .await
        .unwrap();
    assert_eq!(answer.end, Some(End::Reset));
}

#[tokio::test]
async fn raw_tells_refused_from_silent() {
    let closed = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let answer = probe(&[])
        .ask(
            Raw {
                to: closed,
                ..Raw::default()
            },
            SOON,
        )
        .await
        .unwrap();
    assert_eq!((answer.connect, answer.end), (Connect::Refused, None));
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = silent.local_addr().unwrap().to_string();
    let answer = probe(&[])
        .ask(
            Raw {
                to,
                read_ms: Some(1),
                ..Raw::default()
            },
            SOON,
        )
        .await
        .unwrap();
    assert_eq!((answer.connect, answer.end), (Connect::Ok, Some(End::Timeout)));
}

#[tokio::test]
async fn raw_stops_after_the_responses_that_were_asked_for() {
    let at = server(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", false).await;
    let raw = Raw {
        to: at,
        send: "GET".into(),
        responses: Some(1),
        ..Raw::default()
    };
    assert_eq!(probe(&[]).ask(raw, SOON).await.unwrap().end, Some(End::Complete));
}

#[tokio::test]
async fn a_connection_can_come_from_a_chosen_address_and_port() {
    let free = TcpListener::bind("127.0.0.3:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let at = server(b"x", false).await;
    let raw = Raw {
        to: at,
        send: "x".into(),
        bind: Some(free.clone()),
        ..Raw::default()
    };
    assert_eq!(probe(&[]).ask(raw, SOON).await.unwrap().local, Some(free));
}

#[tokio::test]
async fn http_gives_status_headers_and_body() {
    let at = server(
        b"HTTP/1.1 401 Unauthorized\r\nServer: EC2ws\r\nContent-Length: 2\r\n\r\nno",
        false,
    )
    .await;
    let http = Http {
        method: "GET".to_owned(),
        url: format!("http://{at}/x"),
        ..Http::default()
    };
    let answer = probe(&[]).ask(http, SOON).await.unwrap();
    assert_eq!((answer.status, answer.body), (Some(401), Base64::from("no")));
    assert_eq!(
        answer.headers.first().unwrap(),
        &("Server".to_owned(), "EC2ws".to_owned())
    );
}

#[tokio::test]
async fn imds_goes_on_as_far_as_it_is_answered() {
    let at = server(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nrole", false).await;
    let imds = Imds {
        version: 2,
        host: Some(at),
        role: None,
        connect_ms: None,
        read_ms: None,
    };
    let names: Vec<String> = probe(&[])
        .ask(imds, SOON)
        .await
        .unwrap()
        .steps
        .into_iter()
        .map(|step| step.name)
        .collect();
    assert_eq!(names, ["token", "list", "credentials"]);
    let at = server(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", false).await;
    let imds = Imds {
        version: 1,
        host: Some(at),
        role: None,
        connect_ms: None,
        read_ms: None,
    };
    assert_eq!(probe(&[]).ask(imds, SOON).await.unwrap().steps.len(), 1);
}

#[tokio::test]
async fn an_open_connection_lives_across_operations() {
    let probe = probe(&[]);
    let listen = Listen {
        name: "door".to_owned(),
        at: "127.0.0.1:0".to_owned(),
        answer: Some("bye".into()),
    };
    let at = probe.ask(listen, SOON).await.unwrap().at;
    let name = || "line".to_owned();
    let opened = probe
        .ask(
            Open {
                name: name(),
                to: at,
                ..Open::default()
            },
            SOON,
        )
        .await
        .unwrap();
    assert_eq!(opened.connect, Connect::Ok);
    assert!(
        probe
            .ask(
                Send {
                    name: name(),
                    data: "GET /\r\n".into(),
                    half_close: false
                },
                SOON
            )
            .await
            .unwrap()
            .sent
    );
    assert!(
        probe
            .ask(
                Send {
                    name: name(),
                    data: "\r\n".into(),
                    half_close: false
                },
                SOON
            )
            .await
            .unwrap()
            .sent
    );
    let received = probe
        .ask(
            Receive {
                name: name(),
                ..Receive::default()
            },
            SOON,
        )
        .await
        .unwrap();
    assert_eq!((received.received, received.end), (Base64::from("bye"), End::Eof));
    probe
        .ask(
            Close {
                name: name(),
                reset: true,
            },
            SOON,
        )
        .await
        .unwrap();
    let accepted = Accepted {
        name: "door".to_owned(),
        at_least: 1,
        wait_ms: Some(10_000),
    };
    let connections = probe.ask(accepted, SOON).await.unwrap().connections;
    assert_eq!(connections.first().unwrap().received, Base64::from("GET /\r\n\r\n"));
    assert_eq!(Some(connections.first().unwrap().peer.clone()), opened.local);
    probe
        .ask(
            Unlisten {
                name: "door".to_owned(),
            },
            SOON,
        )
        .await
        .unwrap();
    let gone = probe
        .ask(
            Unlisten {
                name: "door".to_owned(),
            },
            SOON,
        )
        .await
        .unwrap_err();
    assert!(matches!(
        gone,
        ChannelError::Failed {
            failure: Failure {
                kind: FailureKind::Name,
                ..
            },
            ..
        }
    ));
}

#[tokio::test]
async fn a_listener_and_a_connection_may_share_a_port() {
    let probe = probe(&[]);
    let at = server(b"x", false).await;
    let own = probe
        .ask(
            Listen {
                name: "own".to_owned(),
                at: "127.0.0.1:0".to_owned(),
                answer: None,
            },
            SOON,
        )
        .await
        .unwrap()
        .at;
    let open = Open {
        name: "line".to_owned(),
        to: at,
        bind: Some(own.clone()),
        connect_ms: None,
    };
    let opened = probe.ask(open, SOON).await.unwrap();
    assert_eq!((opened.connect, opened.local), (Connect::Ok, Some(own)));
}

#[tokio::test]
async fn env_shows_the_environment_in_order() {
    let answer = probe(&[("B", "2"), ("A", "1")]).ask(Env {}, SOON).await.unwrap();
    assert_eq!(
        answer.env,
        [("B".to_owned(), "2".to_owned()), ("A".to_owned(), "1".to_owned())]
    );
}

#[tokio::test]
async fn operations_run_side_by_side() {
    let probe = probe(&[]);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = silent.local_addr().unwrap().to_string();
    let slow = probe.ask(
        Raw {
            to,
            read_ms: Some(MAX_MS),
            ..Raw::default()
        },
        SOON,
    );
    let quick = probe.ask(Ping {}, SOON);
    tokio::select! {
        _ = slow => panic!("the slow one ended first"),
        quick = quick => assert_eq!(quick.unwrap(), Done {}),
    }
}

#[tokio::test]
async fn a_broken_line_is_answered_with_its_fault() {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    tokio::spawn(async move {
        let input: &[u8] = b"{\"id\":7,\"op\":\"raw\"}\n\n{\"id\":8,\"op\":\"ping\"}\nnonsense";
        serve(input, theirs, Host::default()).await.unwrap();
    });
    let mut lines = BufReader::new(ours).lines();
    let mut replies = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        replies.push(serde_json::from_str::<Reply>(&line).unwrap());
    }
    replies.sort_by_key(|reply| reply.id);
    let told: Vec<(u64, bool)> = replies
        .iter()
        .map(|reply| (reply.id, matches!(reply.outcome, Outcome::Ok(_))))
        .collect();
    assert_eq!(told, [(0, false), (7, false), (8, true)]);
}

#[tokio::test]
async fn a_request_to_a_probe_that_has_ended_fails_with_the_reason() {
    let probe = probe(&[]);
    probe.end_input().await;
    assert!(probe.ended(SOON).await);
    assert!(matches!(
        probe.ask(Ping {}, SOON).await,
        Err(ChannelError::Ended { .. })
    ));
}

#[tokio::test]
async fn an_address_that_is_none_never_reaches_a_program() {
    for (add, dev) in [
        ("-help", "eth0"),
        ("10.0.0.1/24", "eth0;x"),
        ("10.0.0.1/24", ""),
        ("10.0.0.1/999", "eth0"),
    ] {
        let address = Address {
            add: Some(add.to_owned()),
            del: None,
            dev: dev.to_owned(),
        };
        let refused = probe(&[]).ask(address, SOON).await.unwrap_err();
        assert!(matches!(
            refused,
            ChannelError::Failed {
                failure: Failure {
                    kind: FailureKind::Request,
                    ..
                },
                ..
            }
        ));
    }
}

#[tokio::test]
async fn what_a_job_prints_is_kept_and_is_no_reply() {
    let probe = probe(&[]);
    probe.ask(Ping {}, SOON).await.unwrap();
    assert_eq!(probe.transcript().stdout, b"{\"id\":1,\"ok\":{}}\n");
}
