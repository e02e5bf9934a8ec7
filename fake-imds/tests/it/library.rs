//! Metadata services inside this process, many at once.

use std::sync::Arc;

use fake_imds::FakeImds;
use fake_imds::options::{Change, HttpTokens};
use fake_imds::world::Moment;
use fake_kit::listen::Listen;
use fake_kit::question::{Assertion, matches};
use jiff::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::running::body;

const ROLE: &str = "/latest/meta-data/iam/security-credentials/lab-host";

fn start() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

async fn spot(world: &str) -> FakeImds {
    FakeImds::builder()
        .world(world)
        .frozen_at(start())
        .start()
        .await
        .unwrap()
}

/// Sends the bytes to its `number`th address, and reads to the end; nothing if the connection was reset.
async fn raw(imds: &FakeImds, number: usize, request: &str) -> Option<String> {
    let Listen::Tcp(address) = &imds.addresses()[number] else {
        panic!("not an address")
    };
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

async fn get_with(imds: &FakeImds, path: &str, headers: &str) -> String {
    let answer = raw(imds, 0, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n")).await;
    answer.unwrap_or_else(|| "reset".to_owned())
}

async fn get(imds: &FakeImds, path: &str) -> String {
    get_with(imds, path, "").await
}

async fn token(imds: &FakeImds, number: usize) -> String {
    let put = "PUT /latest/api/token HTTP/1.1\r\nHost: x\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\nContent-Length: 0\r\n\r\n";
    body(&raw(imds, number, put).await.unwrap()).to_owned()
}

fn status(answer: &str) -> u16 {
    answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0)
}

#[tokio::test]
async fn a_thousand_connections_at_once_get_their_own_answers() {
    let imds = Arc::new(spot("").await);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..1000 {
        let imds = Arc::clone(&imds);
        tasks.spawn(async move {
            let token = token(&imds, 0).await;
            let header = format!("X-aws-ec2-metadata-token: {token}\r\nX-Number: {number}\r\n");
            let answer = get_with(&imds, "/latest/meta-data/instance-id", &header).await;
            assert!(answer.ends_with("i-0123456789abcdef0"), "{answer}");
            token
        });
    }
    let tokens: std::collections::BTreeSet<String> = tasks.join_all().await.into_iter().collect();
    assert_eq!(tokens.len(), 1000);
    imds.check(&Assertion::none(matches([("version", "v1")]))).unwrap();
    imds.check(&Assertion::exactly(
        1000,
        matches([("method", "PUT"), ("status", "200")]),
    ))
    .unwrap();
}

#[tokio::test]
async fn many_stand_beside_each_other_and_know_nothing_of_each_other() {
    let mut running = Vec::new();
    for number in 0..20 {
        running.push(spot(&format!("[instance]\nid = \"i-{number:017x}\"\n")).await);
    }
    for (number, imds) in running.iter().enumerate() {
        imds.clock().advance(i64::try_from(number).unwrap());
        assert!(
            get(imds, "/latest/meta-data/instance-id")
                .await
                .ends_with(&format!("i-{number:017x}"))
        );
        assert_eq!(imds.requests(matches([("method", "GET")])).unwrap().len(), 1);
    }
    let first = running.remove(0);
    let Listen::Tcp(address) = first.addresses()[0].clone() else {
        panic!("not an address")
    };
    first.stop().await;
    assert!(TcpStream::connect(address).await.is_err());
}

/// What a client without a token, and then one with a token, sees of options and roles.
async fn sight(imds: &FakeImds) -> String {
    let open = status(&get(imds, "/latest/meta-data/instance-id").await);
    let token = token(imds, 0).await;
    let header = format!("X-aws-ec2-metadata-token: {token}\r\n");
    let roles = get_with(imds, "/latest/meta-data/iam/security-credentials/", &header).await;
    let role = if status(&roles) == 200 {
        body(&roles).to_owned()
    } else {
        "-".to_owned()
    };
    let credentials = get_with(
        imds,
        &format!("/latest/meta-data/iam/security-credentials/{role}"),
        &header,
    )
    .await;
    let tags = get_with(imds, "/latest/meta-data/tags/instance/Name", &header).await;
    let hops = imds.instances()[0].options(imds.clock().now()).hop_limit;
    format!(
        "v1 {open}, hops {hops}, role {role} {}, tags {}",
        status(&credentials),
        status(&tags)
    )
}

#[tokio::test]
async fn options_and_roles_change_when_the_clock_says_so_and_orders_stand_between() {
    let imds = spot(
        "[[instance.timeline]]\nafter = 10\nhttp_tokens = \"required\"\nhop_limit = 1\n\
         [[instance.timeline]]\nafter = 20\nprofile = \"\"\n\
         [[instance.timeline]]\nafter = 30\nprofile = \"deploy-profile\"\nrole = \"deploy\"\n\
         [[instance.timeline]]\nafter = 40\nhttp_tokens = \"required\"\ninstance_metadata_tags = \"disabled\"\nprofile = \"ops\"\n\
         [[instance.timeline]]\nafter = 50\nprofile_state = \"not-found\"\n",
    )
    .await;
    let mut story = vec![sight(&imds).await];
    imds.clock().advance(10);
    story.push(sight(&imds).await);
    let optional = Change {
        http_tokens: Some(HttpTokens::Optional),
        ..Change::default()
    };
    imds.change_options(optional).unwrap();
    for _ in 0..4 {
        story.push(sight(&imds).await);
        imds.clock().advance(10);
    }
    story.push(sight(&imds).await);
    insta::assert_snapshot!(story.join("\n"), @r"
    v1 200, hops 2, role lab-host 200, tags 200
    v1 401, hops 1, role lab-host 200, tags 200
    v1 200, hops 1, role lab-host 200, tags 200
    v1 200, hops 1, role - 404, tags 200
    v1 200, hops 1, role deploy 200, tags 200
    v1 401, hops 1, role ops 200, tags 404
    v1 401, hops 1, role - 404, tags 404
    ");
    imds.reset();
    assert_eq!(sight(&imds).await, story[0]);
    for (order, said) in [
        ("hop_limit = 65", "hop_limit is not a whole number from 1 to 64"),
        (
            "role = \"a/b\"",
            "no profile or role can be called \"a/b\"; give up to 64 letters, digits or +=,.@_-, or \"\" for none",
        ),
    ] {
        let moment: Moment = toml::from_str(order).unwrap();
        assert_eq!(imds.order(&moment).unwrap_err().to_string(), said);
    }
    imds.order(&toml::from_str("after = 5\nendpoint = \"disabled\"").unwrap())
        .unwrap();
    imds.clock().advance(5);
    assert_eq!(status(&get(&imds, "/latest/meta-data/instance-id").await), 403);
}

#[tokio::test]
async fn what_is_to_happen_happens_when_the_clock_says_so() {
    let imds = spot(include_str!("../../examples/timeline.toml")).await;
    let action = "/latest/meta-data/spot/instance-action";
    let rebalance = "/latest/meta-data/events/recommendations/rebalance";
    let wanted = "/latest/meta-data/autoscaling/target-lifecycle-state";
    let scheduled = "/latest/meta-data/events/maintenance/scheduled";
    let seen = async || {
        let mut seen = Vec::new();
        for path in [rebalance, action, wanted, scheduled] {
            let answer = get(&imds, path).await;
            seen.push(if status(&answer) == 200 {
                body(&answer).lines().next().unwrap().to_owned()
            } else {
                "-".to_owned()
            });
        }
        seen.join(" ")
    };
    let mut story = Vec::new();
    let first = body(&get(&imds, ROLE).await).to_owned();
    for seconds in [0, 30, 30, 60, 3480] {
        imds.clock().advance(seconds);
        story.push(format!("{} {}", imds.clock().now(), seen().await));
    }
    insta::assert_snapshot!(story.join("\n"), @r#"
    2026-01-02T03:04:05Z - - InService [ {
    2026-01-02T03:04:35Z {"noticeTime": "2026-01-02T03:04:35Z"} - InService [ {
    2026-01-02T03:05:05Z {"noticeTime": "2026-01-02T03:04:35Z"} {"action": "terminate", "time": "2026-01-02T03:07:05Z"} InService [ {
    2026-01-02T03:06:05Z {"noticeTime": "2026-01-02T03:04:35Z"} {"action": "terminate", "time": "2026-01-02T03:07:05Z"} Terminated []
    2026-01-02T04:04:05Z - - Terminated []
    "#);
    assert_ne!(body(&get(&imds, ROLE).await), first, "rotated after an hour");
    let history = get(&imds, "/latest/meta-data/events/maintenance/history").await;
    assert!(
        history.contains("\"Description\" : \"[Completed] scheduled reboot\""),
        "{history}"
    );
    imds.reset();
    assert!(seen().await.starts_with("- - InService"));
}

#[tokio::test]
async fn orders_come_on_top_of_the_world() {
    let imds = spot("").await;
    let path = "/latest/meta-data/spot/termination-time";
    let order = serde_json::from_str(r#"{"after":10,"spot":"terminate","tags":{"new":"1"}}"#).unwrap();
    assert_eq!(imds.order(&order).unwrap().to_string(), "2026-01-02T03:04:15Z");
    assert_eq!(status(&get(&imds, path).await), 404);
    imds.clock().advance(10);
    let notice = get(&imds, path).await;
    assert!(
        notice.contains("Last-Modified: Fri, 02 Jan 2026 03:04:15 GMT") && notice.ends_with("2026-01-02T03:06:15Z"),
        "{notice}"
    );
    assert!(
        get(&imds, "/latest/meta-data/tags/instance/")
            .await
            .ends_with("lab:canary\nnew")
    );
    let unknown = serde_json::from_str(r#"{"complete":"instance-event-1"}"#).unwrap();
    assert_eq!(
        imds.order(&unknown).unwrap_err().to_string(),
        "there is no event \"instance-event-1\""
    );
}

#[tokio::test]
async fn revoked_tokens_are_no_tokens() {
    let imds = spot("").await;
    let (one, other) = (token(&imds, 0).await, token(&imds, 0).await);
    let shown = async |token: &str| {
        status(&get_with(&imds, "/latest/", &format!("X-aws-ec2-metadata-token: {token}\r\n")).await)
    };
    imds.revoke(Some(&one));
    assert_eq!((shown(&one).await, shown(&other).await), (401, 200));
    imds.revoke(None);
    assert_eq!(shown(&other).await, 401);
    assert_eq!(shown(&token(&imds, 0).await).await, 200);
}

#[tokio::test]
async fn instances_are_told_apart_by_address_and_their_tokens_do_not_mix() {
    let any = || "127.0.0.1:0".parse::<Listen>().unwrap();
    let world = "[[instance]]\nid = \"i-0000000000000000a\"\nlisten = [\"127.0.0.2\"]\nrole = \"a\"\n\
                 [[instance]]\nid = \"i-0000000000000000b\"\nrole = \"b\"\n";
    let builder = FakeImds::builder().world(world).frozen_at(start());
    let imds = builder
        .listen("127.0.0.2:0".parse().unwrap())
        .listen(any())
        .start()
        .await
        .unwrap();
    let ask = async |number, token: &str| {
        let request = format!(
            "GET /latest/meta-data/iam/security-credentials/ HTTP/1.1\r\nHost: x\r\nX-aws-ec2-metadata-token: {token}\r\n\r\n"
        );
        raw(&imds, number, &request).await.unwrap()
    };
    let (a, b) = (token(&imds, 0).await, token(&imds, 1).await);
    assert!(ask(0, &a).await.ends_with("\r\n\r\na") && ask(1, &b).await.ends_with("\r\n\r\nb"));
    assert_eq!((status(&ask(0, &b).await), status(&ask(1, &a).await)), (401, 401));
    let canaries: Vec<String> = imds.state().canaries.all().into_keys().collect();
    assert!(
        canaries.contains(&"host-role".to_owned()) && canaries.contains(&"host-role@i-0000000000000000b".to_owned())
    );
    assert_eq!(
        imds.requests(matches([("instance", "i-0000000000000000b")]))
            .unwrap()
            .len(),
        3
    );
}

#[tokio::test]
async fn a_throttled_client_gets_through_again() {
    let imds = spot("[instance]\nthrottle = { requests_per_second = 1, burst = 2 }\n").await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(status(&get(&imds, "/latest/").await));
    }
    imds.clock().advance(1);
    seen.push(status(&get(&imds, "/latest/").await));
    assert_eq!(seen, [200, 200, 503, 200]);
}

/// Every class of faults, as the documentation shows it.
#[tokio::test]
async fn every_class_of_faults_strikes() {
    let imds = spot("").await;
    let document = async |fault: &str| {
        imds.plant(fault).unwrap_or_else(|error| panic!("{fault}: {error}"));
        let answer = get(&imds, ROLE).await;
        imds.state().faults.clear();
        answer
    };
    for status_code in [400, 401, 403, 404, 405, 429, 500, 503] {
        let answer = document(&format!(r#"{{"effect":{{"error":{{"status":{status_code}}}}}}}"#)).await;
        assert_eq!(status(&answer), status_code);
    }
    let page = document(r#"{"effect":{"error":{"status":503,"message":"later"}}}"#).await;
    assert!(
        page.contains("Content-Type: text/html") && page.ends_with("\r\n\r\nlater"),
        "{page}"
    );
    assert_eq!(document(r#"{"effect":{"reset":true}}"#).await, "reset");
    let whole = get(&imds, ROLE).await;
    let cut = document(r#"{"effect":{"rewrite":{"truncate":"40"}}}"#).await;
    assert!(
        cut.contains("Content-Length: 40\r\n") && body(&whole).starts_with(body(&cut)),
        "{cut}"
    );
    assert_eq!(
        body(&document(r#"{"effect":{"rewrite":{"body":"{not json"}}}"#).await),
        "{not json"
    );
    assert_eq!(body(&document(r#"{"effect":{"rewrite":{"body":""}}}"#).await), "");
    let field = |answer: &str, name: &str| -> Option<String> {
        let document: serde_json::Value = serde_json::from_str(body(answer)).unwrap();
        document[name].as_str().map(str::to_owned)
    };
    let lacking = document(r#"{"effect":{"rewrite":{"credentials:Token":"","credentials:Expiration":""}}}"#).await;
    assert_eq!((field(&lacking, "Token"), field(&lacking, "Expiration")), (None, None));
    let failed = document(r#"{"effect":{"rewrite":{"credentials:Code":"Failed"}}}"#).await;
    assert_eq!(
        (status(&failed), field(&failed, "Code").as_deref()),
        (200, Some("Failed"))
    );
    let expired = document(r#"{"effect":{"rewrite":{"expires-in":"-60"}}}"#).await;
    assert_eq!(field(&expired, "Expiration").as_deref(), Some("2026-01-02T03:03:05Z"));
    let nearly = document(r#"{"effect":{"lifetime_seconds":30}}"#).await;
    assert_eq!(field(&nearly, "Expiration").as_deref(), Some("2026-01-02T03:04:35Z"));
    imds.plant(r#"{"match":{"path":"/latest/api/token"},"effect":{"rewrite":{"header:X-aws-ec2-metadata-token-ttl-seconds":""}}}"#).unwrap();
    let put = raw(
        &imds,
        0,
        "PUT /latest/api/token HTTP/1.1\r\nHost: x\r\nX-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n",
    )
    .await
    .unwrap();
    assert!(!put.contains("Ttl-Seconds") && body(&put).len() == 56, "{put}");
    let error = imds.plant(r#"{"effect":{"delay_milliseconds":999999}}"#).unwrap_err();
    assert_eq!(error.to_string(), "no answer is delayed longer than 600 s");
}

#[tokio::test]
async fn a_broken_world_does_not_start() {
    let error = FakeImds::builder()
        .world("[instance]\nid = 1\n")
        .start()
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("world:2: instance.id: is not a string"),
        "{error}"
    );
    FakeImds::builder()
        .world("[instance]\nid = \"x\"\n")
        .anything_goes()
        .start()
        .await
        .unwrap();
}

#[tokio::test]
async fn the_mocks_lists_end_in_a_line_feed_at_the_top_and_only_two_clients_see_notices() {
    let read = |text| fake_imds::aemm::read("aemm-config.json", text).unwrap();
    let config = read(r#"{"imdsv2": true}"#);
    let aemm = fake_imds::aemm::Aemm {
        config,
        ..Default::default()
    };
    let imds = FakeImds::builder()
        .aemm(aemm)
        .listen("[::]:0".parse().unwrap())
        .start()
        .await
        .unwrap();
    let port = match &imds.addresses()[0] {
        Listen::Tcp(address) => address.port(),
        Listen::Unix(_) => panic!("not an address"),
    };
    let ask = async |from: &str, path: &str, token: &str| {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
        let mut stream = socket
            .connect(format!("127.0.0.1:{port}").parse().unwrap())
            .await
            .unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nX-aws-ec2-metadata-token: {token}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let refused = ask("127.0.0.1", "/latest/meta-data/mac", "").await;
    assert!(
        status(&refused) == 401 && refused.contains("<title>401 - Unauthorized</title>"),
        "{refused}"
    );
    let token = imds.instances()[0].imds().issue(imds.clock().now(), 60, 1);
    assert_eq!(body(&ask("127.0.0.1", "/", &token).await), "latest\n");
    assert_eq!(
        body(&ask("127.0.0.1", "/latest/", &token).await),
        "dynamic\nmeta-data\nuser-data\n"
    );
    assert!(body(&ask("127.0.0.1", "/latest/meta-data", &token).await).ends_with("spot/\ntags/\n"));
    let action = "/latest/meta-data/spot/instance-action";
    let mut seen = Vec::new();
    for from in ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.1"] {
        seen.push(status(&ask(from, action, &token).await));
    }
    assert_eq!(seen, [200, 200, 404, 200]);
    let json = ask("127.0.0.2", action, &token).await;
    assert!(json.contains("Content-Type: application/json\r\n"), "{json}");
}
