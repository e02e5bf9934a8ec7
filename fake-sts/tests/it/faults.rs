//! Faults, holds and the control routes of this fake.

use aws_sdk_sts::Client;
use fake_sts::provenance;
use serde_json::{Value, json};

use crate::fake::{Fake, alice, keys, refusal};

const DEPLOY: &str = "arn:aws:iam::123456789012:role/deploy";

async fn assume(
    client: &Client,
) -> Result<
    aws_sdk_sts::operation::assume_role::AssumeRoleOutput,
    aws_sdk_sts::error::SdkError<aws_sdk_sts::operation::assume_role::AssumeRoleError>,
> {
    client
        .assume_role()
        .role_arn(DEPLOY)
        .role_session_name("job-1")
        .external_id("secret-7")
        .send()
        .await
}

#[tokio::test]
async fn a_held_answer_waits_until_it_is_released() {
    let fake = Fake::start();
    let client = fake.client(fake.host().await);
    fake.fault(json!({ "role_arn": "*:role/dep*" }), json!({ "hold": "swap" }))
        .await;
    let asked = tokio::spawn({
        let client = client.clone();
        async move { assume(&client).await }
    });
    let (status, waiting) = fake.control("GET", "/holds/swap?waiting=1", Value::Null).await;
    assert_eq!((status, &waiting["waiting"]), (200, &json!(1)));
    assert_eq!(fake.last_facts().await.get("result"), None);
    // What happens while the answer is held counts: the role is gone when it is looked up.
    assert_eq!(fake.control("DELETE", "/roles/deploy", Value::Null).await.0, 200);
    assert_eq!(
        fake.control("POST", "/holds/swap/release", Value::Null).await.1["released"],
        1
    );
    assert_eq!(refusal(&asked.await.unwrap().unwrap_err()).1, "AccessDenied");
    let ledger = fake.ledger().await;
    assert!(
        ledger.last().unwrap()["answer"]["reason"]
            .as_str()
            .unwrap()
            .contains("held at swap")
    );
}

#[tokio::test]
async fn errors_resets_and_lifetimes_strike_once() {
    let fake = Fake::start();
    let client = fake.client(fake.host().await);
    let error = json!({ "error": { "status": 503, "code": "ServiceUnavailable", "message": "later" } });
    fake.fault(json!({ "action": "AssumeRole" }), error).await;
    assert_eq!(
        refusal(&assume(&client).await.unwrap_err()),
        (503, "ServiceUnavailable".to_owned())
    );
    fake.fault(json!({ "caller": "*/i-0123456789abcdef0" }), json!({ "reset": true }))
        .await;
    assert!(assume(&client).await.unwrap_err().raw_response().is_none());
    fake.fault(json!({ "external_id": "secret-7" }), json!({ "lifetime_seconds": 5 }))
        .await;
    let short = assume(&client).await.unwrap();
    let told = provenance::decode(short.credentials().unwrap().session_token()).unwrap();
    assert_eq!(told.duration_seconds, 5);
    assert_eq!(
        short.credentials().unwrap().expiration().secs(),
        told.issued_at.as_second() + 5
    );
    let usual = assume(&client).await.unwrap();
    let told = provenance::decode(usual.credentials().unwrap().session_token()).unwrap();
    assert_eq!(told.duration_seconds, 3600);
}

#[tokio::test]
async fn an_answer_can_name_or_be_another_role() {
    let fake = Fake::start();
    let client = fake.client(fake.host().await);
    let wrong = "arn:aws:sts::123456789012:assumed-role/admin/job-1";
    fake.fault(json!({}), json!({ "rewrite": { "assumed_role_arn": wrong } }))
        .await;
    let answer = assume(&client).await.unwrap();
    assert_eq!(answer.assumed_role_user().unwrap().arn(), wrong);
    let other = "arn:aws:iam::123456789012:role/next";
    fake.fault(json!({}), json!({ "rewrite": { "role_arn": other, "colour": "red" } }))
        .await;
    let answer = assume(&client).await.unwrap();
    let told = provenance::decode(answer.credentials().unwrap().session_token()).unwrap();
    assert_eq!(told.role_arn, other);
    let identity = fake.client(keys(&answer)).get_caller_identity().send().await.unwrap();
    assert_eq!(
        identity.arn(),
        Some("arn:aws:sts::123456789012:assumed-role/next/job-1")
    );
    let ledger = fake.ledger().await;
    let reason = ledger[ledger.len() - 2]["answer"]["reason"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        reason,
        "AssumeRole; fault: rewrite; rewrite ignored: this answer has no colour"
    );
}

#[tokio::test]
async fn roles_come_and_go() {
    let fake = Fake::start();
    let client = fake.client(alice());
    let ask = || {
        client
            .assume_role()
            .role_arn("arn:aws:iam::123456789012:role/fresh")
            .role_session_name("job-1")
            .send()
    };
    assert_eq!(refusal(&ask().await.unwrap_err()).1, "AccessDenied");
    let trust = json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::123456789012:user/alice" }, "Action": "sts:AssumeRole" }
    ]});
    let (status, answer) = fake.control("PUT", "/roles/fresh", json!({ "trust": trust })).await;
    assert_eq!(
        (status, &answer["arn"]),
        (200, &json!("arn:aws:iam::123456789012:role/fresh"))
    );
    let session = keys(&ask().await.unwrap());
    let (_, canaries) = fake.control("GET", "/canaries", Value::Null).await;
    assert!(canaries["role:fresh"].is_string());
    assert_eq!(fake.control("DELETE", "/roles/fresh", Value::Null).await.0, 200);
    assert_eq!(fake.control("DELETE", "/roles/fresh", Value::Null).await.0, 404);
    let orphan = fake.client(session).get_caller_identity().send().await.unwrap_err();
    assert_eq!(refusal(&orphan).1, "InvalidClientTokenId");
    let (status, answer) = fake
        .control("PUT", "/roles/fresh", json!({ "trust": {}, "colour": 1 }))
        .await;
    assert_eq!(status, 400);
    let text = answer["error"].as_str().unwrap();
    assert!(
        text.contains("role.colour is not known") && text.contains("role.trust.Statement is missing"),
        "{text}"
    );
}

#[tokio::test]
async fn an_instance_gets_only_what_ec2_may_have() {
    let fake = Fake::start();
    let ask = |role: &str, via: &str| json!({ "role_arn": role, "session_name": "i-1", "via": via, "duration_seconds": 21600, "canary": "host-role" });
    for (role, via, expected) in [
        ("arn:aws:iam::123456789012:role/lab-host", "instance-profile", 200),
        ("arn:aws:iam::123456789012:role/closed", "instance-profile", 403),
        ("arn:aws:iam::123456789012:role/missing", "instance-profile", 404),
        (
            "arn:aws:iam::123456789012:role/aws:ec2-instance",
            "instance-identity",
            200,
        ),
        ("lab-host", "instance-profile", 400),
        ("arn:aws:iam::123456789012:role/lab-host", "assume-role", 400),
    ] {
        let (status, answer) = fake.control("POST", "/credentials", ask(role, via)).await;
        assert_eq!(status, expected, "{role} {via}: {answer}");
    }
}
