//! Which refusals the unmodified SDK of Rust tries again, and which it believes. The ledger counts.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_sts::Client;
use aws_sdk_sts::config::retry::RetryConfig;
use aws_sdk_sts::config::{BehaviorVersion, Region, SharedCredentialsProvider};
use aws_sdk_sts::error::ProvideErrorMetadata as _;
use fake_kit::question::matches;
use fake_sts::FakeSts;
use serde_json::json;

fn client(sts: &FakeSts) -> Client {
    let keys = Credentials::new(
        "AKIAIOSFODNN7EXAMPLE",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        None,
        None,
        "test",
    );
    let retry = RetryConfig::standard()
        .with_max_attempts(3)
        .with_initial_backoff(Duration::from_millis(1));
    let config = aws_sdk_sts::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .endpoint_url(sts.url())
        .retry_config(retry)
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .build();
    Client::from_conf(config)
}

fn asked(sts: &FakeSts) -> usize {
    sts.requests(matches([("action", "GetCallerIdentity")])).unwrap().len()
}

fn plant(sts: &FakeSts, action: &str, times: u32, effect: &serde_json::Value) {
    let fault = json!({ "match": { "action": action }, "times": times, "effect": effect });
    sts.plant(&fault.to_string()).unwrap();
}

#[tokio::test]
async fn each_class_of_errors_is_tried_as_often_as_the_sdk_says() {
    for (status, code, attempts) in [
        (400, "Throttling", 2),
        (400, "ThrottlingException", 2),
        (400, "RequestLimitExceeded", 2),
        (429, "TooManyRequestsException", 2),
        (400, "RequestTimeout", 2),
        (500, "InternalFailure", 2),
        (502, "BadGateway", 2),
        (503, "ServiceUnavailable", 2),
        (504, "GatewayTimeout", 2),
        (403, "AccessDenied", 1),
        (403, "ExpiredToken", 1),
        (403, "InvalidClientTokenId", 1),
        (403, "SignatureDoesNotMatch", 1),
        (400, "ValidationError", 1),
        (400, "PackedPolicyTooLarge", 1),
        (501, "NotImplemented", 1),
    ] {
        let sts = FakeSts::builder().start().await.unwrap();
        let error = json!({ "error": { "status": status, "code": code, "message": "planted" } });
        plant(&sts, "GetCallerIdentity", 1, &error);
        let answer = client(&sts).get_caller_identity().send().await;
        assert_eq!(asked(&sts), attempts, "{code}");
        match answer {
            Ok(_) => assert_eq!(attempts, 2, "{code}"),
            Err(error) => assert_eq!((error.code(), attempts), (Some(code), 1)),
        }
    }
}

#[tokio::test]
async fn an_answer_that_never_comes_is_asked_for_again_until_it_is_enough() {
    let sts = FakeSts::builder().start().await.unwrap();
    plant(&sts, "GetCallerIdentity", 1, &json!({ "reset": true }));
    client(&sts).get_caller_identity().send().await.unwrap();
    assert_eq!(asked(&sts), 2);
    plant(&sts, "GetCallerIdentity", 3, &json!({ "reset": true }));
    client(&sts).get_caller_identity().send().await.unwrap_err();
    assert_eq!(asked(&sts), 5);
    let error = json!({ "error": { "status": 400, "code": "Throttling", "message": "Rate exceeded" } });
    plant(&sts, "GetCallerIdentity", 3, &error);
    let refused = client(&sts).get_caller_identity().send().await.unwrap_err();
    assert_eq!((refused.code(), asked(&sts)), (Some("Throttling"), 8));
}

#[tokio::test]
async fn a_token_is_presented_again_where_the_identity_provider_could_not_be_reached() {
    let sts = FakeSts::builder().start().await.unwrap();
    let action = "AssumeRoleWithWebIdentity";
    let error = json!({ "error": { "status": 400, "code": "IDPCommunicationError", "message": "planted" } });
    plant(&sts, action, 1, &error);
    let refused = client(&sts)
        .assume_role_with_web_identity()
        .role_arn("arn:aws:iam::123456789012:role/deploy")
        .role_session_name("job-1")
        .web_identity_token("a.b.c")
        .send()
        .await
        .unwrap_err();
    // The second time the token itself is looked at.
    assert_eq!(refused.code(), Some("InvalidIdentityToken"));
    assert_eq!(sts.requests(matches([("action", action)])).unwrap().len(), 2);
}

#[tokio::test]
async fn a_clock_that_is_an_hour_off_is_set_right_by_the_date_of_the_refusal() {
    let sts = FakeSts::builder().start().await.unwrap();
    for hours in [1, -2] {
        sts.clock().advance(hours * 3_600);
        let before = asked(&sts);
        client(&sts).get_caller_identity().send().await.unwrap();
        assert_eq!(asked(&sts), before + 2);
        let refused = sts.requests(matches([("result", "SignatureDoesNotMatch")])).unwrap();
        let told = refused.last().unwrap().facts.get("denied_by").unwrap();
        let wanted = if hours > 0 {
            "Signature expired: "
        } else {
            "Signature not yet current: "
        };
        assert!(told.starts_with(wanted), "{told}");
    }
}
