//! STS inside this process, many at once.

use aws_credential_types::Credentials;
use aws_sdk_sts::config::timeout::TimeoutConfig;
use aws_sdk_sts::config::{BehaviorVersion, Region, SharedCredentialsProvider};
use aws_sdk_sts::error::ProvideErrorMetadata as _;
use fake_kit::question::{Assertion, matches};
use fake_sts::FakeSts;
use fake_sts::control::WantedToken;
use fake_sts::in_process::StartError;
use fake_sts::saml::Claim;
use serde_json::json;

const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

fn client(sts: &FakeSts, credentials: Credentials) -> aws_sdk_sts::Client {
    let config = aws_sdk_sts::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-central-1"))
        .endpoint_url(sts.url())
        .timeout_config(TimeoutConfig::disabled())
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build();
    aws_sdk_sts::Client::from_conf(config)
}

fn alice() -> Credentials {
    Credentials::new(KEY, SECRET, None, None, "test")
}

fn world(role: &str) -> String {
    format!(
        r#"
[account]
id = "123456789012"
region = "eu-central-1"

[[user]]
name = "alice"
access_key_id = "{KEY}"
secret_access_key = "{SECRET}"

[[role]]
name = "{role}"
trust = {{ Statement = {{ Effect = "Allow", Principal = {{ AWS = "arn:aws:iam::123456789012:user/alice" }}, Action = "sts:AssumeRole" }} }}

[[role]]
name = "people"
trust = {{ Statement = {{ Effect = "Allow", Principal = {{ Federated = "arn:aws:iam::123456789012:saml-provider/corp" }}, Action = "sts:AssumeRoleWithSAML" }} }}

[[role]]
name = "jobs"
trust = {{ Statement = {{ Effect = "Allow", Principal = {{ Federated = "arn:aws:iam::123456789012:oidc-provider/gitlab.example.com" }}, Action = "sts:AssumeRoleWithWebIdentity" }} }}

[[saml_provider]]
name = "corp"
entity_id = "https://idp.example.com/saml"

[[oidc_provider]]
url = "https://gitlab.example.com"
client_ids = ["https://gitlab.example.com"]

[[issuer]]
url = "https://gitlab.example.com"
kind = "gitlab"
"#
    )
}

#[tokio::test]
async fn many_stand_beside_each_other_and_know_nothing_of_each_other() {
    let mut running = Vec::new();
    for number in 0..20 {
        let sts = FakeSts::builder()
            .world(world(&format!("role-{number}")))
            .start()
            .await
            .unwrap();
        running.push(sts);
    }
    for (number, sts) in running.iter().enumerate() {
        let arn = format!("arn:aws:iam::123456789012:role/role-{number}");
        let assume = client(sts, alice()).assume_role().role_session_name("s1");
        assume.clone().role_arn(&arn).send().await.unwrap();
        let refused = assume.role_arn(format!("{arn}0")).send().await.unwrap_err();
        assert_eq!(refused.code(), Some("AccessDenied"));
        sts.check(&Assertion::exactly(2, matches([("action", "AssumeRole")])))
            .unwrap();
        assert_eq!(sts.requests(matches([("result", "ok")])).unwrap().len(), 1);
    }
    let first = running.remove(0);
    let url = first.url();
    first.stop().await;
    assert!(reqwest::get(url).await.is_err());
}

#[tokio::test]
async fn sessions_end_when_the_clock_says_so_and_outlive_the_fake() {
    let sts = FakeSts::builder().world(world("r")).start().await.unwrap();
    let arn = "arn:aws:iam::123456789012:role/r";
    let assume = client(&sts, alice())
        .assume_role()
        .role_arn(arn)
        .role_session_name("s1");
    let given = assume.send().await.unwrap().credentials.unwrap();
    let session = Credentials::new(
        &given.access_key_id,
        &given.secret_access_key,
        Some(given.session_token.clone()),
        None,
        "test",
    );
    let ask = async |sts: &FakeSts| {
        let answer = client(sts, session.clone()).get_caller_identity().send().await;
        answer.map_or_else(
            |error| error.code().unwrap_or_default().to_owned(),
            |identity| identity.user_id.unwrap_or_default(),
        )
    };
    let id = ask(&sts).await;
    assert!(id.starts_with("AROA") && id.ends_with(":s1"), "{id}");
    // Nothing of it was kept: another fake of the same seed knows it, one of another seed does not.
    let other = FakeSts::builder().world(world("r")).start().await.unwrap();
    assert_eq!(ask(&other).await, id);
    let stranger = FakeSts::builder()
        .world(world("r"))
        .seed("stranger")
        .start()
        .await
        .unwrap();
    assert_eq!(ask(&stranger).await, "InvalidClientTokenId");
    sts.clock().advance(3_600);
    // The SDK sets its clock right by the date of the first refusal, and hears the second.
    assert_eq!(ask(&sts).await, "ExpiredToken");
    sts.reset();
    assert_eq!(ask(&sts).await, id);
}

#[tokio::test]
async fn faults_roles_tokens_and_assertions() {
    let sts = FakeSts::builder().world(world("r")).start().await.unwrap();
    let client = client(&sts, alice());
    let planted = r#"{"match":{"action":"AssumeRole"},"times":1,"effect":{"error":{"status":403,"code":"AccessDenied","message":"planted"}}}"#;
    sts.plant(planted).unwrap();
    assert!(
        sts.plant(r#"{"match":{"colour":"red"},"effect":{"reset":true}}"#)
            .is_err()
    );
    let arn = "arn:aws:iam::123456789012:role/r";
    let assume = client.assume_role().role_arn(arn).role_session_name("s1");
    assert_eq!(assume.clone().send().await.unwrap_err().message(), Some("planted"));
    assume.send().await.unwrap();

    let trust = json!({ "Statement": { "Effect": "Allow", "Principal": { "AWS": "arn:aws:iam::123456789012:user/alice" }, "Action": "sts:AssumeRole" } });
    let arn = sts.put_role(&json!({ "name": "later", "trust": trust })).unwrap();
    let assume = client.assume_role().role_arn(&arn).role_session_name("s1");
    assume.clone().send().await.unwrap();
    assert!(sts.put_role(&json!({ "name": "later" })).is_err());

    let job = serde_json::from_value(json!({ "project": "group/app" })).unwrap();
    let wanted = WantedToken {
        job: Some(job),
        ..WantedToken::default()
    };
    let token = sts.token(&wanted).unwrap();
    let jobs = client
        .assume_role_with_web_identity()
        .role_arn("arn:aws:iam::123456789012:role/jobs");
    jobs.role_session_name("s1")
        .web_identity_token(token)
        .send()
        .await
        .unwrap();

    let people = "arn:aws:iam::123456789012:role/people";
    let claim = Claim {
        roles: vec![people.to_owned()],
        subject: "alice".to_owned(),
        ..Claim::default()
    };
    let made = sts.assertion(claim).unwrap();
    let answer = client
        .assume_role_with_saml()
        .role_arn(people)
        .principal_arn(&made.provider_arn)
        .saml_assertion(made.encoded())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.subject(), Some("alice"));
    assert_eq!(answer.subject_type(), Some("persistent"));
    assert_eq!(answer.issuer(), Some("https://idp.example.com/saml"));
    assert_eq!(
        answer.assumed_role_user().unwrap().arn(),
        "arn:aws:sts::123456789012:assumed-role/people/alice"
    );

    sts.reset();
    assert!(sts.requests(matches([("action", "AssumeRole")])).unwrap().is_empty());
    assert_eq!(assume.send().await.unwrap_err().code(), Some("AccessDenied"));
}

#[tokio::test]
async fn a_broken_world_says_what_and_where() {
    let error = FakeSts::builder()
        .world("[account]\nid = \"1\"\n")
        .start()
        .await
        .unwrap_err();
    assert!(
        matches!(&error, StartError::BrokenWorld(faults) if faults.faults.len() == 2),
        "{error}"
    );
    let error = FakeSts::builder()
        .world_file("/nowhere/world.toml")
        .start()
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "cannot read /nowhere/world.toml");
}
