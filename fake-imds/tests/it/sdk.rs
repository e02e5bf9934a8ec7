//! aws-config, unmodified: credentials and region, and every class of fault that it documents a behaviour for.

use aws_config::imds::client::Client;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use fake_imds::FakeImds;
use fake_kit::question::{Assertion, matches};

async fn serve(world: &str, faults: &[&str]) -> FakeImds {
    let imds = FakeImds::builder().world(world).start().await.unwrap();
    for fault in faults {
        imds.plant(fault).unwrap();
    }
    imds
}

fn client(imds: &FakeImds) -> Client {
    Client::builder().endpoint(imds.url()).unwrap().build()
}

fn provider(imds: &FakeImds) -> ImdsCredentialsProvider {
    ImdsCredentialsProvider::builder().imds_client(client(imds)).build()
}

/// What it gets, or the whole chain of what went wrong.
async fn ask(provider: &ImdsCredentialsProvider) -> Result<Credentials, String> {
    provider.provide_credentials().await.map_err(|error| {
        let mut said = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            said = format!("{said}: {cause}");
            source = cause.source();
        }
        said
    })
}

#[tokio::test]
async fn one_token_serves_for_everything_and_v1_is_never_spoken() {
    let imds = serve("[instance]\nhttp_tokens = \"required\"\nhop_limit = 1\n", &[]).await;
    let provider = provider(&imds);
    let first = ask(&provider).await.unwrap();
    let canary = imds.state().canaries.all().remove("host-role").unwrap().to_string();
    assert!(first.secret_access_key().starts_with(&canary) && first.expiry().is_some());
    assert_eq!(ask(&provider).await.unwrap().access_key_id(), first.access_key_id());
    imds.check(&Assertion::none(matches([("version", "v1")]))).unwrap();
    imds.check(&Assertion::exactly(1, matches([("method", "PUT")])).per("client"))
        .unwrap();
}

#[tokio::test]
async fn the_region_is_read() {
    let imds = serve("[account]\nregion = \"ap-southeast-2\"\n", &[]).await;
    let provider = ImdsRegionProvider::builder()
        .configure(&ProviderConfig::without_region())
        .imds_client(client(&imds))
        .build();
    assert_eq!(provider.region().await.unwrap().as_ref(), "ap-southeast-2");
    imds.check(&Assertion::exactly(
        1,
        matches([("path", "/latest/meta-data/placement/region")]),
    ))
    .unwrap();
}

/// It keeps the token until its own clock says that it is old, and hands out the credentials that it had.
#[tokio::test]
async fn a_token_that_is_revoked_early_is_asked_with_again_and_the_old_credentials_are_kept() {
    let imds = serve("", &[]).await;
    let provider = provider(&imds);
    let before = ask(&provider).await.unwrap();
    imds.revoke(None);
    let after = ask(&provider).await.unwrap();
    assert_eq!(after.access_key_id(), before.access_key_id());
    imds.check(&Assertion::at_least(
        2,
        matches([("status", "401"), ("token", "invalid")]),
    ))
    .unwrap();
    imds.check(&Assertion::exactly(1, matches([("method", "PUT")])))
        .unwrap();
}

#[tokio::test]
async fn a_500_is_retried_and_a_404_is_not() {
    let fault = |status: u16| {
        format!(
            r#"{{"match":{{"path":"*/security-credentials/lab-host"}},"times":1,"effect":{{"error":{{"status":{status}}}}}}}"#
        )
    };
    for (status, gets, asked) in [
        (500, true, 2),
        (503, true, 2),
        (404, false, 1),
        (403, false, 1),
        (400, false, 1),
    ] {
        let imds = serve("", &[&fault(status)]).await;
        assert_eq!(ask(&provider(&imds)).await.is_ok(), gets, "{status}");
        let asking = Assertion::exactly(asked, matches([("path", "*/lab-host")]));
        imds.check(&asking).unwrap_or_else(|unmet| panic!("{status}: {unmet}"));
    }
}

#[tokio::test]
async fn it_fails_with_the_reason() {
    let ttl = r#"{"match":{"method":"PUT"},"effect":{"rewrite":{"header:X-aws-ec2-metadata-token-ttl-seconds":""}}}"#;
    let put = r#"{"match":{"method":"PUT"},"effect":{"error":{"status":403}}}"#;
    for (world, faults, expected) in [
        ("", vec![ttl], "TTL"),
        ("", vec![put], "token"),
        (
            "[instance]\nprofile_state = \"untrusted\"\n",
            vec![],
            "AssumeRoleUnauthorizedAccess",
        ),
        ("[instance]\nendpoint = \"disabled\"\n", vec![], "token"),
        ("[instance]\nprofile = \"\"\nrole = \"\"\n", vec![], "404"),
        ("", vec![r#"{"effect":{"rewrite":{"credentials:Token":""}}}"#], "Token"),
        (
            "",
            vec![r#"{"match":{"path":"*/lab-host"},"effect":{"rewrite":{"truncate":"60"}}}"#],
            "JSON",
        ),
    ] {
        let imds = serve(world, &faults).await;
        let said = ask(&provider(&imds)).await.map(|_| "credentials").unwrap_err();
        assert!(said.contains(expected), "{faults:?} {world}: {said}");
        imds.check(&Assertion::none(matches([("version", "v1")]))).unwrap();
    }
}

#[tokio::test]
async fn expired_credentials_are_used_on_rather_than_none() {
    let imds = serve("", &[r#"{"effect":{"rewrite":{"expires-in":"-60"}}}"#]).await;
    let credentials = ask(&provider(&imds)).await.unwrap();
    assert!(credentials.expiry().unwrap() > std::time::UNIX_EPOCH);
    assert!(jiff::Timestamp::try_from(credentials.expiry().unwrap()).unwrap() > imds.clock().now());
}

#[tokio::test]
async fn the_account_is_taken_from_the_extended_document_alone() {
    let imds = serve("[instance]\nswitches = { extended_credentials = true }\n", &[]).await;
    let credentials = ask(&provider(&imds)).await.unwrap();
    assert_eq!(
        credentials.account_id(),
        None,
        "this client asks for the plain document"
    );
    imds.check(&Assertion::none(matches([("path", "*extended*")]))).unwrap();
}
