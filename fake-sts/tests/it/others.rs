//! The unmodified SDK against the actions beside AssumeRole: answers that it can read, errors that it knows by type.

use aws_sdk_sts::config::Credentials;
use aws_sdk_sts::types::{PolicyDescriptorType, Tag};
use serde_json::json;

use crate::fake::{Fake, alice, refusal};

const WORLD: &str = r#"
[account]
id = "123456789012"
region = "eu-central-1"
outbound_web_identity = true

[organization]
id = "o-exampleorgid"
management = "123456789012"
accounts = ["222222222222"]
root_sessions = true

[[oidc_provider]]
url = "https://gitlab.example.com"
client_ids = ["https://gitlab.example.com"]

[[issuer]]
url = "https://gitlab.example.com"
kind = "gitlab"
algorithms = ["ES256"]

[[role]]
name = "deploy"
trust = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::123456789012:oidc-provider/gitlab.example.com"},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"gitlab.example.com:sub":"project_path:group/app:ref_type:branch:ref:main"}}}]}'
policy = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:*","Resource":"*"}]}'

[[user]]
name = "alice"
access_key_id = "AKIAIOSFODNN7EXAMPLE"
secret_access_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
policy_arns = ["arn:aws:iam::aws:policy/AdministratorAccess"]
"#;

fn keys(keys: Option<&aws_sdk_sts::types::Credentials>) -> Credentials {
    let keys = keys.unwrap();
    let token = Some(keys.session_token().to_owned());
    Credentials::new(keys.access_key_id(), keys.secret_access_key(), token, None, "test")
}

async fn who(fake: &Fake, keys: Credentials) -> String {
    let answer = fake.client(keys).get_caller_identity().send().await.unwrap();
    answer.arn().unwrap().to_owned()
}

async fn token(fake: &Fake, claims: serde_json::Value) -> String {
    let wanted = json!({ "job": { "project": "group/app" }, "claims": claims });
    let (status, answer) = fake.control("POST", "/tokens", wanted).await;
    assert_eq!(status, 200, "{answer}");
    answer["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn sessions_that_a_user_makes_of_its_own() {
    let fake = Fake::start_in(WORLD);
    let sts = fake.client(alice());
    let session = sts.get_session_token().duration_seconds(900).send().await.unwrap();
    assert_eq!(
        who(&fake, keys(session.credentials())).await,
        "arn:aws:iam::123456789012:user/alice"
    );
    let tag = Tag::builder().key("team").value("blue").build().unwrap();
    let federated = sts.get_federation_token().name("ci").tags(tag).send().await.unwrap();
    assert_eq!(
        federated.federated_user().unwrap().federated_user_id(),
        "123456789012:ci"
    );
    let arn = "arn:aws:sts::123456789012:federated-user/ci";
    assert_eq!(who(&fake, keys(federated.credentials())).await, arn);
    let again = fake
        .client(keys(federated.credentials()))
        .get_session_token()
        .send()
        .await;
    assert_eq!(refusal(&again.unwrap_err()), (403, "AccessDenied".to_owned()));
}

#[tokio::test]
async fn keys_messages_and_root_sessions() {
    let fake = Fake::start_in(WORLD);
    let sts = fake.client(alice());
    let info = sts
        .get_access_key_info()
        .access_key_id("ASIAQNZGKIQY56JQ7WML")
        .send()
        .await
        .unwrap();
    assert_eq!(info.account(), Some("029608264753"));
    let (_, made) = fake
        .control("POST", "/authorization-messages", json!({ "text": "why" }))
        .await;
    let encoded = made["encoded"].as_str().unwrap();
    let decoded = sts
        .decode_authorization_message()
        .encoded_message(encoded)
        .send()
        .await
        .unwrap();
    assert_eq!(decoded.decoded_message(), Some("why"));
    let broken = sts
        .decode_authorization_message()
        .encoded_message("x")
        .send()
        .await
        .unwrap_err();
    assert!(
        broken
            .as_service_error()
            .unwrap()
            .is_invalid_authorization_message_exception()
    );
    let task = PolicyDescriptorType::builder()
        .arn("arn:aws:iam::aws:policy/root-task/IAMAuditRootUserCredentials")
        .build();
    let root = sts
        .assume_root()
        .target_principal("222222222222")
        .task_policy_arn(task)
        .send()
        .await
        .unwrap();
    assert_eq!(
        who(&fake, keys(root.credentials())).await,
        "arn:aws:iam::222222222222:root"
    );
}

#[tokio::test]
async fn tokens_in_and_out() {
    let fake = Fake::start_in(WORLD);
    let sts = fake.client(alice());
    let assume = |token: String| {
        sts.assume_role_with_web_identity()
            .role_arn("arn:aws:iam::123456789012:role/deploy")
            .role_session_name("job-1")
            .web_identity_token(token)
            .send()
    };
    let answer = assume(token(&fake, json!({})).await).await.unwrap();
    let session = fake.client(keys(answer.credentials()));
    let out = session
        .get_web_identity_token()
        .audience("https://api.example.com")
        .signing_algorithm("ES384")
        .send()
        .await
        .unwrap();
    // Whoever is shown the token finds the key where the issuer says, and believes it.
    let issued = fake_sts::oidc::read_token(out.web_identity_token().unwrap()).unwrap();
    let document = async |path: &str| {
        let host = issued.issuer.trim_start_matches("https://");
        let asked = reqwest::Client::new()
            .get(format!("{}{path}", fake.endpoint))
            .header("host", host);
        asked.send().await.unwrap().text().await.unwrap()
    };
    let discovery: serde_json::Value =
        serde_json::from_str(&document("/.well-known/openid-configuration").await).unwrap();
    let place = discovery["jwks_uri"]
        .as_str()
        .unwrap()
        .strip_prefix(&issued.issuer)
        .unwrap()
        .to_owned();
    let published = fake_sts::oidc::read_jwks(&document(&place).await).unwrap();
    assert!(published.len() == 2 && issued.verifies(&published));
    let expired = assume(token(&fake, json!({ "exp": 1 })).await).await.unwrap_err();
    assert!(expired.as_service_error().unwrap().is_expired_token_exception());
    let unknown = assume(token(&fake, json!({ "iss": "https://else.example.com" })).await)
        .await
        .unwrap_err();
    assert!(
        unknown
            .as_service_error()
            .unwrap()
            .is_invalid_identity_token_exception()
    );
    // Within the second of its issue a session may be as old as the revocation.
    fake.control("POST", "/clock", json!({ "advance_seconds": 1 })).await;
    let (status, _) = fake
        .control("POST", "/roles/deploy/revoke", serde_json::Value::Null)
        .await;
    assert_eq!(status, 200);
    let revoked = session
        .get_web_identity_token()
        .audience("https://api.example.com")
        .signing_algorithm("RS256")
        .send()
        .await;
    assert_eq!(refusal(&revoked.unwrap_err()), (403, "AccessDenied".to_owned()));
    assert!(
        fake.last_facts().await["denied_by"]
            .as_str()
            .unwrap()
            .starts_with("identity policy: explicit deny")
    );
    // It may still ask who it is.
    assert!(session.get_caller_identity().send().await.is_ok());
}
