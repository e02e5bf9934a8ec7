//! The unmodified SDK against the fake.

use std::time::Duration;

use fake_sts::provenance::{self, Via};
use serde_json::{Value, json};

use crate::fake::{Fake, alice, keys, refusal};

const DEPLOY: &str = "arn:aws:iam::123456789012:role/deploy";
const NEXT: &str = "arn:aws:iam::123456789012:role/next";

#[tokio::test]
async fn a_user_and_an_instance_learn_who_they_are() {
    let fake = Fake::start();
    let user = fake.client(alice()).get_caller_identity().send().await.unwrap();
    assert_eq!(user.arn(), Some("arn:aws:iam::123456789012:user/alice"));
    let host = fake
        .client(fake.host().await)
        .get_caller_identity()
        .send()
        .await
        .unwrap();
    assert_eq!(host.account(), Some("123456789012"));
    assert_eq!(
        host.arn(),
        Some("arn:aws:sts::123456789012:assumed-role/lab-host/i-0123456789abcdef0")
    );
    assert!(host.user_id().unwrap().ends_with(":i-0123456789abcdef0"));
    let facts = fake.last_facts().await;
    assert_eq!(facts["action"], "GetCallerIdentity");
    assert_eq!(
        facts["caller"],
        "arn:aws:sts::123456789012:assumed-role/lab-host/i-0123456789abcdef0"
    );
    assert_eq!(facts["result"], "ok");
}

#[tokio::test]
async fn an_assumed_role_tells_where_it_came_from() {
    let fake = Fake::start();
    let host = fake.host().await;
    let answer = fake
        .client(host.clone())
        .assume_role()
        .role_arn(DEPLOY)
        .role_session_name("20-31-abc")
        .external_id("secret-7")
        .duration_seconds(900)
        .send()
        .await
        .unwrap();
    assert_eq!(
        answer.assumed_role_user().unwrap().arn(),
        "arn:aws:sts::123456789012:assumed-role/deploy/20-31-abc"
    );
    let session = keys(&answer);
    let token = session.session_token().unwrap();
    let told = provenance::decode(token).unwrap();
    assert_eq!(
        (told.role_arn.as_str(), told.session_name.as_str()),
        (DEPLOY, "20-31-abc")
    );
    assert_eq!(
        (told.external_id.as_deref(), told.via),
        (Some("secret-7"), Via::AssumeRole)
    );
    assert_eq!(told.requester_key, host.access_key_id());
    let (_, canaries) = fake.control("GET", "/canaries", Value::Null).await;
    let canary = canaries["role:deploy"].as_str().unwrap();
    assert_eq!(provenance::canary(token), Ok(canary));
    assert!(session.secret_access_key().starts_with(canary) && session.secret_access_key().len() == 40);
    assert!(
        host.secret_access_key()
            .starts_with(canaries["host-role"].as_str().unwrap())
    );
    let identity = fake.client(session).get_caller_identity().send().await.unwrap();
    assert_eq!(
        identity.arn(),
        Some("arn:aws:sts::123456789012:assumed-role/deploy/20-31-abc")
    );
}

#[tokio::test]
async fn a_wrong_external_id_is_denied_and_the_ledger_says_why() {
    let fake = Fake::start();
    let client = fake.client(fake.host().await);
    let asked = client
        .assume_role()
        .role_arn(DEPLOY)
        .role_session_name("job-1")
        .external_id("guess");
    assert_eq!(
        refusal(&asked.send().await.unwrap_err()),
        (403, "AccessDenied".to_owned())
    );
    let facts = fake.last_facts().await;
    assert_eq!(facts["external_id"], "guess");
    assert_eq!(facts["result"], "AccessDenied");
    assert_eq!(
        facts["denied_by"],
        "trust policy: no statement allows; Statement[0]: StringEquals sts:externalid does not hold: the request has guess, the policy wants secret-7"
    );
    let closed = client
        .assume_role()
        .role_arn("arn:aws:iam::123456789012:role/closed")
        .role_session_name("job-1");
    assert_eq!(
        refusal(&closed.send().await.unwrap_err()),
        (403, "AccessDenied".to_owned())
    );
}

#[tokio::test]
async fn chained_sessions_last_an_hour_at_most() {
    let fake = Fake::start();
    let first = fake.client(fake.host().await);
    let first = first
        .assume_role()
        .role_arn(DEPLOY)
        .role_session_name("job-1")
        .external_id("secret-7");
    let second = fake.client(keys(&first.send().await.unwrap()));
    let chained = second
        .assume_role()
        .role_arn(NEXT)
        .role_session_name("job-2")
        .send()
        .await
        .unwrap();
    let told = provenance::decode(chained.credentials().unwrap().session_token()).unwrap();
    assert_eq!(told.requester, "arn:aws:sts::123456789012:assumed-role/deploy/job-1");
    let longer = second
        .assume_role()
        .role_arn(NEXT)
        .role_session_name("job-2")
        .duration_seconds(3601);
    assert_eq!(
        refusal(&longer.send().await.unwrap_err()),
        (400, "ValidationError".to_owned())
    );
}

#[tokio::test]
async fn a_session_expires_on_the_clock_of_the_fake() {
    let fake = Fake::start();
    let host = fake.host().await;
    let (status, _) = fake
        .control("POST", "/clock", json!({ "advance_seconds": 21_601 }))
        .await;
    assert_eq!(status, 200);
    let behind = fake
        .client(host.clone())
        .get_caller_identity()
        .send()
        .await
        .unwrap_err();
    assert_eq!(refusal(&behind), (403, "SignatureDoesNotMatch".to_owned()));
    let later = fake.client_at(host, Some(Duration::from_secs(21_601)));
    assert_eq!(
        refusal(&later.get_caller_identity().send().await.unwrap_err()),
        (403, "ExpiredToken".to_owned())
    );
}

#[tokio::test]
async fn a_permissive_fake_still_verifies_signatures() {
    let fake = Fake::start_with(&["--permissive"]);
    let any = "arn:aws:iam::123456789012:role/any/where";
    let client = fake.client(alice());
    let answer = client
        .assume_role()
        .role_arn(any)
        .role_session_name("job-1")
        .send()
        .await
        .unwrap();
    assert_eq!(
        answer.assumed_role_user().unwrap().arn(),
        "arn:aws:sts::123456789012:assumed-role/where/job-1"
    );
    let forged = aws_sdk_sts::config::Credentials::new("AKIAIOSFODNN7EXAMPLE", "guess", None, None, "test");
    let forged = fake
        .client(forged)
        .assume_role()
        .role_arn(any)
        .role_session_name("job-1")
        .send()
        .await;
    assert_eq!(refusal(&forged.unwrap_err()), (403, "SignatureDoesNotMatch".to_owned()));
    let facts = fake.last_facts().await;
    assert_eq!(facts.get("caller"), None);
    assert_eq!(facts["access_key_id"], "AKIAIOSFODNN7EXAMPLE");
}

#[tokio::test]
async fn the_same_seed_gives_the_same_credentials() {
    let mut seen = Vec::new();
    for seed in ["one", "one", "two"] {
        let fake = Fake::start_with(&["--seed", seed]);
        let host = fake.host().await;
        seen.push((host.access_key_id().to_owned(), host.secret_access_key().to_owned()));
    }
    assert_eq!(seen[0], seen[1]);
    assert_ne!(seen[0], seen[2]);
}
