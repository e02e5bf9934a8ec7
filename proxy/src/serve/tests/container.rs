//! The endpoint for credentials of containers.

use std::sync::Arc;

use super::{Client, LIST, PUT, ROLE, World, get, status, world};
use crate::caller::{Connection, Run, Unattested};
use crate::firewall::{CONTAINER_ENDPOINT, ENDPOINTS};
use crate::fixture::{facts, label};
use crate::request::Named;
use crate::serve::container::service_at;

const HOST: &str = "Host: 169.254.170.2";

fn connect(world: &World) -> Client {
    world.connect_to(Connection {
        client: "172.17.0.2:40000".parse().unwrap(),
        original_destination: CONTAINER_ENDPOINT,
    })
}

/// One request on a connection of its own; status and body.
async fn ask(world: &World, line: &str, headers: &str) -> (u16, String) {
    let mut client = connect(world);
    client.send(&format!("{line} HTTP/1.1\r\n{headers}\r\n\r\n")).await;
    let answer = client.answer().await;
    drop(client.stream);
    client.served.await.unwrap();
    answer
}

fn token_of(world: &World, run: &Run) -> String {
    world.token(run, 60)
}

const GET: &str = "GET /v1/credentials";

#[tokio::test(start_paused = true)]
async fn a_containers_own_token_gets_it_its_own_role() {
    let world = world();
    let token = token_of(&world, &facts().run);
    let (status, body) = ask(&world, GET, &format!("{HOST}\r\nAuthorization: {token}")).await;
    assert_eq!(status, 200);
    insta::assert_snapshot!(body, @r#"{"RoleArn":"arn:aws:iam::123456789012:role/deploy","AccessKeyId":"ASIA0","SecretAccessKey":"secret0ofdeploy","Token":"IQoJ0","Expiration":"2027-01-15T09:00:00Z"}"#);
    // They are those of the metadata service, and cost no other call.
    assert!(
        world
            .ask(&get(ROLE, &token))
            .await
            .contains("\"AccessKeyId\" : \"ASIA0\"")
    );
    assert_eq!(world.sts.calls(), 1);
    let records = world.records();
    assert!(
        records.contains(r#""route":"container-credentials","status":200"#),
        "{records}"
    );
    assert!(!records.contains(&token) && !records.contains("secret0"), "{records}");
}

#[tokio::test(start_paused = true)]
async fn nothing_else_authorizes() {
    let world = world();
    let token = token_of(&world, &facts().run);
    let other = token_of(
        &world,
        &Run {
            cgroup_id: 4243,
            ..facts().run
        },
    );
    for headers in [
        String::new(),
        "Authorization: ".to_owned(),
        "Authorization: secret".to_owned(),
        format!("Authorization: Bearer {token}"),
        format!("Authorization: {other}"),
        format!("Authorization: {token}\r\nAuthorization: {token}"),
        format!("X-aws-ec2-metadata-token: {token}"),
    ] {
        let headers = format!("{HOST}\r\n{headers}").trim_end().to_owned();
        assert_eq!(ask(&world, GET, &headers).await.0, 401, "{headers}");
    }
    let good = format!("{HOST}\r\nAuthorization: {token}");
    for (line, expected) in [
        ("PUT /v1/credentials", 405),
        ("POST /v1/credentials", 405),
        ("GET /v1/credentials/", 404),
        ("GET /v1/credentials?x", 404),
        ("GET //v1/credentials", 404),
        ("GET /", 404),
        (&format!("GET {LIST}"), 404),
        (&format!("GET {ROLE}"), 404),
        ("PUT /latest/api/token", 404),
        ("GET /latest/meta-data/placement/region", 404),
    ] {
        assert_eq!(ask(&world, line, &good).await.0, expected, "{line}");
    }
    // Nor does the one service answer for the other.
    let wrong = format!("Host: 169.254.169.254\r\nAuthorization: {token}");
    assert_eq!(ask(&world, GET, &wrong).await.0, 400);
    assert_eq!(
        status(&world.ask(&PUT.replace("169.254.169.254", "169.254.170.2")).await),
        400
    );
    assert_eq!(status(&world.ask(&get("/v1/credentials", &token)).await), 404);
    assert_eq!(world.sts.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_kernel_and_the_rules_decide_here_too() {
    let world = world();
    let token = token_of(&world, &facts().run);
    let good = format!("{HOST}\r\nAuthorization: {token}");
    *world.attestor.confirmations.lock().unwrap() = Some(0);
    assert_eq!(ask(&world, GET, &good).await.0, 403);
    *world.attestor.confirmations.lock().unwrap() = None;
    let mut stranger = facts();
    label(&mut stranger, "project.id", "21");
    *world.attestor.facts.lock().unwrap() = Some(Arc::new(stranger));
    assert_eq!(ask(&world, GET, &good).await.0, 403);
    *world.attestor.unattested.lock().unwrap() = Some(Unattested::NoSuchSocket);
    assert_eq!(ask(&world, GET, &good).await.0, 403);
    assert_eq!(world.sts.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn it_is_answered_only_where_the_operator_says_so() {
    let mut terms = Arc::into_inner(world().service).unwrap().terms;
    assert_eq!(service_at(CONTAINER_ENDPOINT, &terms), Some(Named::Container));
    terms.container_endpoint = false;
    assert_eq!(service_at(CONTAINER_ENDPOINT, &terms), None);
    for endpoint in ENDPOINTS {
        assert_eq!(service_at(endpoint, &terms), Some(Named::Metadata));
    }
}
