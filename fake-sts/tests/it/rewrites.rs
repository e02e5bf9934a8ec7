//! What a fault rewrites, as a client gets it over a connection.

use aws_credential_types::Credentials;
use aws_sdk_sts::config::retry::RetryConfig;
use aws_sdk_sts::config::{BehaviorVersion, Region, SharedCredentialsProvider};
use aws_sdk_sts::operation::RequestId as _;
use fake_kit::question::matches;
use fake_sts::FakeSts;
use serde_json::{Value, json};

async fn start() -> FakeSts {
    FakeSts::builder().start().await.unwrap()
}

fn client(sts: &FakeSts) -> aws_sdk_sts::Client {
    let keys = Credentials::new(
        "AKIAIOSFODNN7EXAMPLE",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        None,
        None,
        "test",
    );
    let config = aws_sdk_sts::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .endpoint_url(sts.url())
        .retry_config(RetryConfig::disabled())
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .build();
    aws_sdk_sts::Client::from_conf(config)
}

fn plant(sts: &FakeSts, rewrite: &Value) {
    let fault = json!({ "times": 1, "effect": { "rewrite": rewrite } });
    sts.plant(&fault.to_string()).unwrap();
}

/// An answer to somebody who did not sign.
async fn unsigned(sts: &FakeSts) -> (u16, http::HeaderMap, String) {
    let url = format!("{}/?Action=GetCallerIdentity&Version=2011-06-15", sts.url());
    let answer = reqwest::get(url).await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    (status, headers, answer.text().await.unwrap())
}

/// What the ledger says of the last request.
fn told(sts: &FakeSts) -> (u16, String) {
    let entries = sts.requests(matches([("service", "sts")])).unwrap();
    let answer = entries.last().unwrap().answer.clone();
    (answer.status, answer.reason)
}

#[tokio::test]
async fn a_refusal_may_be_cut_replaced_and_have_another_status() {
    let sts = start().await;
    let (status, _, usual) = unsigned(&sts).await;
    assert_eq!(status, 403);

    plant(&sts, &json!({ "truncate": "40" }));
    let (status, headers, body) = unsigned(&sts).await;
    assert_eq!((status, body.as_str()), (403, &usual[..40]));
    assert_eq!(headers["content-length"], "40");

    plant(&sts, &json!({ "body": "<not xml", "status": "502" }));
    let (status, headers, body) = unsigned(&sts).await;
    assert_eq!((status, body.as_str()), (502, "<not xml"));
    assert_eq!(headers["content-length"], "8");
    let reason = "MissingAuthenticationToken: Request is missing Authentication Token; fault: rewrite";
    assert_eq!(told(&sts), (502, reason.to_owned()));

    plant(&sts, &json!({ "body": "" }));
    let (status, _, body) = unsigned(&sts).await;
    assert_eq!((status, body.as_str()), (403, ""));
    assert_eq!(unsigned(&sts).await.0, 403);
}

#[tokio::test]
async fn headers_are_replaced_added_and_taken_away() {
    let sts = start().await;
    plant(
        &sts,
        &json!({ "header:Content-Type": "text/html", "header:Retry-After": "7", "header:x-amzn-RequestId": "", "header:Date": "" }),
    );
    let (status, headers, _) = unsigned(&sts).await;
    assert_eq!(status, 403);
    assert_eq!(
        (&headers["content-type"], &headers["retry-after"]),
        (&"text/html".parse().unwrap(), &"7".parse().unwrap())
    );
    assert!(!headers.contains_key("x-amzn-requestid") && !headers.contains_key("date"));

    plant(
        &sts,
        &json!({ "header:Content-Length": "5", "status": "99", "truncate": "few" }),
    );
    let (status, headers, body) = unsigned(&sts).await;
    assert_eq!(
        (status, headers["content-length"].to_str().unwrap()),
        (403, body.len().to_string().as_str())
    );
    assert!(
        told(&sts).1.ends_with(
            "fault: rewrite; a rewrite was not understood: header:Content-Length=5; a rewrite was not understood: status=99; \
             a rewrite was not understood: truncate=few"
        ),
        "{:?}",
        told(&sts)
    );
}

#[tokio::test]
async fn a_grant_that_no_client_can_read_was_given_all_the_same() {
    let sts = start().await;
    let client = client(&sts);
    let ask = || client.get_caller_identity().send();
    for rewrite in [
        json!({ "truncate": "60" }),
        json!({ "status": "500" }),
        json!({ "body": "<GetCallerIdentityResponse>" }),
    ] {
        plant(&sts, &rewrite);
        let error = ask().await.unwrap_err();
        let sent = error.raw_response().unwrap().status().as_u16();
        assert_eq!(told(&sts), (sent, "GetCallerIdentity; fault: rewrite".to_owned()));
    }
    assert_eq!(sts.requests(matches([("result", "ok")])).unwrap().len(), 3);
    plant(
        &sts,
        &json!({ "header:x-amzn-requestid": "", "arn": "arn:aws:iam::123456789012:user/bob" }),
    );
    let answer = ask().await.unwrap();
    assert_eq!(
        (answer.request_id(), answer.arn()),
        (None, Some("arn:aws:iam::123456789012:user/bob"))
    );
}

#[tokio::test]
async fn an_error_that_is_planted_may_be_rewritten_too() {
    let sts = start().await;
    let error = r#"{"times":1,"effect":{"error":{"status":503,"code":"ServiceUnavailable","message":"later"}}}"#;
    sts.plant(error).unwrap();
    plant(&sts, &json!({ "header:Retry-After": "1", "body": "upstream gone" }));
    let (status, headers, body) = unsigned(&sts).await;
    assert_eq!((status, body.as_str()), (503, "upstream gone"));
    assert_eq!(headers["retry-after"], "1");
}
