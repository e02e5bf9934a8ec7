//! What a reset puts back, and what it leaves: the same by the control API and in the library.

use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use fake_kit::listen::Listen;
use fake_kit::question::matches;
use fake_sts::FakeSts;
use fake_sts::control::WantedToken;
use serde_json::{Value, json};

use crate::fake::Fake;

const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

const WORLD: &str = r#"
[account]
id = "123456789012"
region = "eu-central-1"

[[user]]
name = "alice"
access_key_id = "AKIAIOSFODNN7EXAMPLE"
secret_access_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
policy_arns = ["arn:aws:iam::aws:policy/AdministratorAccess"]

[[role]]
name = "deploy"
trust = { Statement = { Effect = "Allow", Principal = { AWS = "arn:aws:iam::123456789012:user/alice" }, Action = "sts:AssumeRole" } }

[[role]]
name = "jobs"
trust = { Statement = { Effect = "Allow", Principal = { Federated = "arn:aws:iam::123456789012:oidc-provider/gitlab.example.com" }, Action = "sts:AssumeRoleWithWebIdentity" } }

[[oidc_provider]]
url = "https://gitlab.example.com"
client_ids = ["https://gitlab.example.com"]

[[issuer]]
url = "https://gitlab.example.com"
kind = "gitlab"
algorithms = ["ES256"]
"#;

const TRUST: &str = "%7B%22Statement%22%3A%7B%22Effect%22%3A%22Allow%22%2C%22Principal%22%3A%7B%22AWS%22%3A%22123456789012%22%7D%2C%22Action%22%3A%22sts%3AAssumeRole%22%7D%7D";

async fn start() -> FakeSts {
    let control: Listen = "127.0.0.1:0".parse().unwrap();
    FakeSts::builder().world(WORLD).control(control).start().await.unwrap()
}

/// `POST` to the control API.
async fn order(sts: &FakeSts, method: &str, path: &str, body: &Value) -> Value {
    let url = format!("http://{}{path}", sts.control_address().unwrap());
    let request = reqwest::Client::new().request(method.parse().unwrap(), url);
    let answer = request.json(body).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    serde_json::from_str(&answer.text().await.unwrap()).unwrap()
}

/// One reset or the other.
async fn reset(sts: &FakeSts, by_control: bool) {
    if by_control {
        order(sts, "POST", "/reset", &Value::Null).await;
    } else {
        sts.reset();
    }
}

/// Asks IAM or STS, signed with these keys; status and body.
#[expect(
    clippy::disallowed_methods,
    reason = "the fake under test runs on the machine's clock"
)]
async fn ask(sts: &FakeSts, service: &str, keys: &Credentials, body: &str) -> (u16, String) {
    let identity = keys.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("eu-central-1")
        .name(service)
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .unwrap()
        .into();
    let version = if service == "iam" { "2010-05-08" } else { "2011-06-15" };
    let (url, body) = (format!("{}/", sts.url()), format!("{body}&Version={version}"));
    let host = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let kind = "application/x-www-form-urlencoded";
    let headers = [("host", host.as_str()), ("content-type", kind)];
    let signable =
        SignableRequest::new("POST", &url, headers.into_iter(), SignableBody::Bytes(body.as_bytes())).unwrap();
    let (instructions, _) = sign(signable, &params).unwrap().into_parts();
    let mut request = reqwest::Client::new().post(&url).header("content-type", kind);
    for (name, value) in instructions.headers() {
        request = request.header(name, value);
    }
    let answer = request.body(body).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

fn alice() -> Credentials {
    Credentials::new(KEY, SECRET, None, None, "test")
}

/// The text of an element.
fn text<'a>(xml: &'a str, name: &str) -> &'a str {
    let rest = xml.split_once(&format!("<{name}>")).unwrap().1;
    rest.split_once('<').unwrap().0
}

fn keys_in(xml: &str) -> Credentials {
    let token = xml
        .contains("<SessionToken>")
        .then(|| text(xml, "SessionToken").to_owned());
    let (id, secret) = (text(xml, "AccessKeyId"), text(xml, "SecretAccessKey"));
    Credentials::new(id, secret, token, None, "test")
}

async fn who(sts: &FakeSts, keys: &Credentials) -> (u16, String) {
    let (status, body) = ask(sts, "sts", keys, "Action=GetCallerIdentity").await;
    let name = if status == 200 { "Arn" } else { "Code" };
    (status, text(&body, name).to_owned())
}

async fn assume(sts: &FakeSts, role: &str) -> (u16, String) {
    let role = format!("arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2F{role}");
    let body = format!("Action=AssumeRole&RoleSessionName=s1&RoleArn={role}");
    ask(sts, "sts", &alice(), &body).await
}

async fn iam(sts: &FakeSts, body: &str) -> String {
    let (status, answer) = ask(sts, "iam", &alice(), body).await;
    assert_eq!(status, 200, "{body}: {answer}");
    answer
}

async fn what_iam_made_is_gone_and_what_was_deleted_is_back(by_control: bool) {
    let sts = start().await;
    let at_start = sts.accounts().world.clone();
    let session = keys_in(&assume(&sts, "deploy").await.1);

    let made = |name: &str| format!("Action=CreateRole&RoleName={name}&AssumeRolePolicyDocument={TRUST}");
    iam(&sts, &made("made")).await;
    iam(&sts, "Action=CreateUser&UserName=bob").await;
    let key = keys_in(&iam(&sts, "Action=CreateAccessKey&UserName=bob").await);
    iam(&sts, "Action=DeleteRole&RoleName=deploy").await;
    iam(
        &sts,
        &format!("Action=UpdateAssumeRolePolicy&RoleName=jobs&PolicyDocument={TRUST}"),
    )
    .await;
    let provider = "arn%3Aaws%3Aiam%3A%3A123456789012%3Aoidc-provider%2Fgitlab.example.com";
    iam(
        &sts,
        &format!("Action=DeleteOpenIDConnectProvider&OpenIDConnectProviderArn={provider}"),
    )
    .await;
    order(&sts, "POST", "/roles/made/revoke", &Value::Null).await;
    order(&sts, "POST", "/faults", &json!({ "effect": { "lifetime_seconds": 5 } })).await;
    sts.clock().advance(60);
    assert_eq!(who(&sts, &key).await.0, 200);
    assert_eq!(who(&sts, &session).await, (403, "InvalidClientTokenId".to_owned()));
    assert_ne!(sts.accounts().world, at_start);

    reset(&sts, by_control).await;
    assert_eq!(sts.accounts().world, at_start);
    assert!(sts.state().faults.all().is_empty());
    assert_eq!(sts.requests(matches([("service", "*")])).unwrap(), []);
    assert!(sts.state().canaries.all().contains_key("role:deploy"));

    assert_eq!(who(&sts, &key).await, (403, "InvalidClientTokenId".to_owned()));
    let arn = "arn:aws:sts::123456789012:assumed-role/deploy/s1";
    assert_eq!(who(&sts, &session).await, (200, arn.to_owned()));
    assert_eq!(assume(&sts, "made").await.0, 403);
    let (status, again) = assume(&sts, "deploy").await;
    assert_eq!(status, 200);
    assert_ne!(
        keys_in(&again).access_key_id(),
        session.access_key_id(),
        "no session is given twice"
    );
    iam(&sts, "Action=CreateUser&UserName=bob").await;
    let same = keys_in(&iam(&sts, "Action=CreateAccessKey&UserName=bob").await);
    assert_eq!(same.access_key_id(), key.access_key_id());
}

#[tokio::test]
async fn the_control_api_restores_the_world() {
    what_iam_made_is_gone_and_what_was_deleted_is_back(true).await;
}

#[tokio::test]
async fn the_library_restores_the_world() {
    what_iam_made_is_gone_and_what_was_deleted_is_back(false).await;
}

#[tokio::test]
async fn issuers_begin_again_with_other_keys() {
    let job = serde_json::from_value(json!({ "project": "group/app" })).unwrap();
    let wanted = WantedToken {
        job: Some(job),
        ..WantedToken::default()
    };
    for by_control in [true, false] {
        let sts = start().await;
        let before = sts.token(&wanted).unwrap();
        order(&sts, "POST", "/issuers/availability", &json!({ "unavailable": true })).await;
        reset(&sts, by_control).await;
        let redeem = async |token: &str| {
            let role = "arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fjobs";
            let query = format!(
                "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleSessionName=s1&RoleArn={role}&WebIdentityToken={token}"
            );
            let answer = reqwest::get(format!("{}/?{query}", sts.url())).await.unwrap();
            let status = answer.status().as_u16();
            let body = answer.text().await.unwrap();
            (status, body.contains("InvalidIdentityToken"))
        };
        let after = sts.token(&wanted).unwrap();
        assert_eq!(redeem(&after).await, (200, false));
        assert_eq!(redeem(&before).await, (400, true));
    }
}

#[tokio::test]
async fn what_the_command_line_says_holds_after_a_reset_too() {
    let fake = Fake::start_whole(WORLD, &["--permissive", "--skip-check", "audience"]);
    let stranger = json!({ "job": { "project": "group/app", "audience": ["https://elsewhere.example.com"] } });
    for _ in 0..2 {
        let (_, made) = fake.control("POST", "/tokens", stranger.clone()).await;
        let jobs = fake.client(crate::fake::alice()).assume_role_with_web_identity();
        jobs.role_arn("arn:aws:iam::123456789012:role/jobs")
            .role_session_name("s1")
            .web_identity_token(made["token"].as_str().unwrap())
            .send()
            .await
            .unwrap();
        let unknown = fake.client(crate::fake::alice()).assume_role();
        unknown
            .role_arn("arn:aws:iam::123456789012:role/nobody-made-it")
            .role_session_name("s1")
            .send()
            .await
            .unwrap();
        assert_eq!(fake.control("POST", "/reset", Value::Null).await.0, 200);
        assert_eq!(fake.ledger().await, Vec::<Value>::new());
    }
}
