//! The subcommands, as somebody types them.

use serde_json::{Value, json};

use crate::fake::{Fake, run, text};

const WORLD: &str = r#"
[account]
id = "123456789012"
region = "eu-central-1"

[[oidc_provider]]
url = "https://gitlab.example.com"
client_ids = ["https://gitlab.example.com"]

[[issuer]]
url = "https://gitlab.example.com"
kind = "gitlab"
subjects = ["project_path:group/app:ref_type:branch:ref:main", "project_path:group/app-evil:ref_type:branch:ref:main"]

[[role]]
name = "host"
trust = { Statement = { Effect = "Allow", Principal = { Service = "ec2.amazonaws.com" }, Action = "sts:AssumeRole" } }
policy = { Statement = { Sid = "Roles", Effect = "Allow", Action = "sts:AssumeRole", Resource = "*" } }

[[role]]
name = "deploy"
trust = '{"Version":"2012-10-17","Statement":[{"Sid":"Job","Effect":"Allow","Principal":{"Federated":"arn:aws:iam::123456789012:oidc-provider/gitlab.example.com"},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringLike":{"gitlab.example.com:sub":"project_path:group/app*"}}},{"Sid":"Host","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:role/host"},"Action":"sts:AssumeRole","Condition":{"StringEquals":{"sts:ExternalId":"secret-7"}}}]}'

[[user]]
name = "alice"
access_key_id = "AKIAIOSFODNN7EXAMPLE"
secret_access_key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
"#;

/// Exit code and output.
fn told(arguments: &[&str]) -> (Option<i32>, String) {
    let ended = run(arguments);
    let out = text(ended.stdout.as_slice()) + &text(ended.stderr.as_slice());
    (ended.status.code(), out)
}

fn world(folder: &tempfile::TempDir) -> String {
    let file = folder.path().join("world.toml");
    std::fs::write(&file, WORLD).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn an_explanation_names_what_decided() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(&folder);
    let explain = |more: &[&str]| told(&[&["explain", "--world", &world, "--role", "deploy"], more].concat());
    let (code, out) = explain(&["--caller", "host", "--external-id", "guess"]);
    assert_eq!(code, Some(1));
    insta::assert_snapshot!(out, @r"
    arn:aws:iam::123456789012:role/host may not assume arn:aws:iam::123456789012:role/deploy
      because sts:AssumeRole: trust policy: no statement allows; Host: StringEquals sts:externalid does not hold: the request has guess, the policy wants secret-7
      sts:AssumeRole: trust policy does not allow: Host: StringEquals sts:externalid does not hold: the request has guess, the policy wants secret-7
    ");
    let (code, out) = explain(&["--caller", "host", "--external-id", "secret-7"]);
    assert_eq!(code, Some(0));
    insta::assert_snapshot!(out, @r"
    arn:aws:iam::123456789012:role/host may assume arn:aws:iam::123456789012:role/deploy
      because trust policy: Host
      sts:AssumeRole: trust policy allows by Host
      sts:AssumeRole: identity policy policy allows by Roles
    ");
    let (code, out) = explain(&["--project", "group/app", "--ref", "main"]);
    assert_eq!(code, Some(0), "{out}");
    let (code, out) = explain(&["--subject", "project_path:other/app:ref_type:branch:ref:main"]);
    assert!(
        code == Some(1) && out.contains("StringLike gitlab.example.com:sub does not hold"),
        "{out}"
    );
    let (code, out) = explain(&["--project", "group/app", "--aud", "https://elsewhere.example.com"]);
    assert!(code == Some(1) && out.contains("Incorrect token audience"), "{out}");
    let (code, out) = explain(&["--caller", "ec2.amazonaws.com"]);
    assert!(code == Some(1) && out.contains("names another principal"), "{out}");
    for wrong in [
        vec!["--caller", "nobody"],
        vec!["--caller", "host", "--tag", "x"],
        vec![],
    ] {
        assert_eq!(explain(&wrong).0, Some(2), "{wrong:?}");
    }
}

#[test]
fn who_may_assume_a_role_is_answered_for_everybody_of_the_world() {
    let folder = tempfile::tempdir().unwrap();
    let world = world(&folder);
    let (code, out) = told(&["lint", "--world", &world, "--who", "deploy"]);
    assert_eq!(code, Some(0));
    insta::assert_snapshot!(out, @r"
    3 of 5 may assume arn:aws:iam::123456789012:role/deploy
    yes  arn:aws:iam::123456789012:role/host
           trust policy: Host, with the external id
    yes  project_path:group/app:ref_type:branch:ref:main aud https://gitlab.example.com
           trust policy: Job
    yes  project_path:group/app-evil:ref_type:branch:ref:main aud https://gitlab.example.com
           trust policy: Job
    no   arn:aws:iam::123456789012:user/alice
           sts:AssumeRole: trust policy: no statement allows; Host: names another principal
    no   ec2.amazonaws.com
           trust policy: no statement allows; Host: names another principal
    ");
    let (code, out) = told(&["lint", "--world", &world, "--who", "deploy", "--format", "json"]);
    let list: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, list["who"].as_array().unwrap().len()), (Some(0), 5));
    assert_eq!(told(&["lint", "--world", &world, "--who", "nothing"]).0, Some(2));
}

#[test]
fn bearers_of_assertions_are_asked_for_too() {
    let (code, out) = told(&["lint", "--who", "people"]);
    assert_eq!(code, Some(0));
    // What the page shows, to the letter.
    let page = include_str!("../../../docs/fake-sts/lint.md");
    let shown = page.split_once("fake-sts lint --who people\n").unwrap().1;
    let shown = shown.split_once("```").unwrap().0;
    assert!(out.starts_with(shown), "{out}");
    let explain = |more: &[&str]| told(&[&["explain", "--role", "people", "--provider", "corp"], more].concat());
    let (code, out) = explain(&["--subject", "alice", "--tag", "team=blue"]);
    assert_eq!(code, Some(0));
    insta::assert_snapshot!(out, @r"
    alice of arn:aws:iam::123456789012:saml-provider/corp aud https://signin.aws.amazon.com/saml may assume arn:aws:iam::123456789012:role/people
      because trust policy: People
      sts:AssumeRoleWithSAML: trust policy allows by People
      sts:TagSession: trust policy allows by People
    ");
    let (code, out) = explain(&["--source-identity", "alice"]);
    assert!(
        code == Some(1) && out.contains("sts:SetSourceIdentity: trust policy has no statement for the action"),
        "{out}"
    );
    let (code, out) = explain(&["--aud", "https://elsewhere.example.com"]);
    assert!(code == Some(1) && out.contains("no bearer's Recipient is"), "{out}");
    for wrong in [
        vec!["--provider", "corp", "--caller", "alice"],
        vec!["--provider", "corp", "--project", "group/app"],
        vec!["--provider", "crop"],
        vec!["--provider", "corp", "--aud", "a", "--aud", "b"],
    ] {
        let command = [vec!["explain", "--role", "people"], wrong.clone()].concat();
        assert_eq!(told(&command).0, Some(2), "{wrong:?}");
    }
}

#[test]
fn findings_end_with_one_and_unreadable_files_with_two() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, document: Value| {
        let path = folder.path().join(name);
        std::fs::write(&path, document.to_string()).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let good = file(
        "good.json",
        json!({ "Statement": { "Effect": "Allow", "Principal": { "Service": "ec2.amazonaws.com" }, "Action": "sts:AssumeRole" } }),
    );
    let bad = file(
        "bad.json",
        json!({ "Statement": { "Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole" } }),
    );
    assert_eq!(told(&["lint", &good]), (Some(0), "0 errors, 0 warnings\n".to_owned()));
    let (code, out) = told(&["lint", &good, &bad]);
    assert!(
        code == Some(1) && out.contains("[trust-anyone]") && out.ends_with("1 error, 0 warnings\n"),
        "{out}"
    );
    let missing = folder.path().join("missing.json");
    assert_eq!(told(&["lint", missing.to_str().unwrap()]).0, Some(2));
    assert_eq!(told(&["lint"]).0, Some(2));
    let host = file(
        "host.json",
        json!({ "Statement": { "Effect": "Allow", "Action": ["sts:TagSession", "s3:GetObject"], "Resource": "*" } }),
    );
    assert_eq!(told(&["lint", &host]).0, Some(0));
    let (code, out) = told(&["lint", "--instance", &host]);
    assert!(code == Some(1) && out.contains("[instance-rights]"), "{out}");
    assert_eq!(told(&["lint", "--instance", "--allow", "s3:Get*", &host]).0, Some(0));
    let (code, out) = told(&["lint", "--explain", "instance-rights"]);
    assert!(code == Some(0) && out.starts_with("instance-rights (error): "), "{out}");
    let (code, out) = told(&["lint", "--explain", "instance"]);
    assert!(
        code == Some(2) && out.contains("there is no rule instance: name one of policy-syntax, "),
        "{out}"
    );
}

#[tokio::test]
async fn an_assertion_of_a_running_fake_is_one_that_it_believes() {
    let trust = r#"{"Statement":{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::123456789012:saml-provider/corp"},"Action":["sts:AssumeRoleWithSAML","sts:TagSession"]}}"#;
    let fake = Fake::start_in(&format!(
        "{WORLD}\n[[role]]\nname = \"people\"\ntrust = '{trust}'\n[[saml_provider]]\nname = \"corp\"\nentity_id = \"https://idp.example.com/saml\"\n"
    ));
    let control = fake.control_argument();
    let saml = |more: &[&str]| told(&[&["saml", "--control", &control], more].concat());
    let people = "arn:aws:iam::123456789012:role/people";
    let (code, assertion) = saml(&[
        "--role",
        people,
        "--subject",
        "bob",
        "--tag",
        "team=blue",
        "--transitive",
        "team",
    ]);
    assert_eq!(code, Some(0), "{assertion}");
    let answer = fake
        .client(crate::fake::alice())
        .assume_role_with_saml()
        .role_arn(people)
        .principal_arn("arn:aws:iam::123456789012:saml-provider/corp")
        .saml_assertion(assertion.trim())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.subject(), Some("bob"));
    let facts = fake.last_facts().await;
    assert_eq!(facts["caller"], "arn:aws:iam::123456789012:saml-provider/corp bob");
    assert_eq!(facts["principal_arn"], "arn:aws:iam::123456789012:saml-provider/corp");
    let (code, metadata) = saml(&["--metadata"]);
    assert_eq!(code, Some(0));
    let read = fake_sts::saml::read_metadata(metadata.trim()).unwrap();
    assert_eq!(read.entity_id, "https://idp.example.com/saml");
    let (code, out) = saml(&["--role", people, "--provider", "other"]);
    assert!(
        code == Some(1) && out.contains("404: the world has no SAML provider other that is played"),
        "{out}"
    );
    assert_eq!(saml(&[]).0, Some(2));
}

#[tokio::test]
async fn a_token_of_a_running_fake_is_one_that_it_believes() {
    let fake = Fake::start_in(WORLD);
    let control = fake.control_argument();
    let token = |more: &[&str]| told(&[&["token", "--control", &control], more].concat());
    let (code, out) = token(&[
        "--project",
        "group/app",
        "--ref",
        "main",
        "--protected",
        "--claim",
        "user_login=mallory",
    ]);
    assert_eq!(code, Some(0), "{out}");
    let answer = fake
        .client(crate::fake::alice())
        .assume_role_with_web_identity()
        .role_arn("arn:aws:iam::123456789012:role/deploy")
        .role_session_name("job-1")
        .web_identity_token(out.trim())
        .send()
        .await
        .unwrap();
    assert_eq!(answer.audience(), Some("https://gitlab.example.com"));
    assert_eq!(
        answer.subject_from_web_identity_token(),
        Some("project_path:group/app:ref_type:branch:ref:main")
    );
    let facts = fake.last_facts().await;
    assert!(
        facts["caller"]
            .as_str()
            .unwrap()
            .ends_with("gitlab.example.com project_path:group/app:ref_type:branch:ref:main")
    );
    let (code, out) = token(&["--project", "group/app", "--issuer", "https://other.example.com"]);
    assert!(
        code == Some(1) && out.contains("404: the world has no issuer https://other.example.com"),
        "{out}"
    );
    assert_eq!(token(&[]).0, Some(2));
}

#[tokio::test]
async fn an_issuer_serves_its_documents_under_its_own_name() {
    let fake = Fake::start_in(WORLD);
    let client = reqwest::Client::new();
    let get = |path: &str| {
        client
            .get(format!("{}{path}", fake.endpoint))
            .header("host", "gitlab.example.com")
            .send()
    };
    let discovery: Value = serde_json::from_str(
        &get("/.well-known/openid-configuration")
            .await
            .unwrap()
            .text()
            .await
            .unwrap(),
    )
    .unwrap();
    assert_eq!(discovery["jwks_uri"], "https://gitlab.example.com/oauth/discovery/keys");
    let keys: Value = serde_json::from_str(&get("/oauth/discovery/keys").await.unwrap().text().await.unwrap()).unwrap();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
    assert_eq!(get("/else").await.unwrap().status(), 404);
    let (_, rotated) = fake
        .control("POST", "/issuers/rotate", json!({ "withdraw": true }))
        .await;
    assert_eq!(rotated["jwks"]["keys"].as_array().unwrap().len(), 1);
    assert_ne!(rotated["jwks"], keys);
    fake.control("POST", "/issuers/availability", json!({ "unavailable": true }))
        .await;
    assert_eq!(get("/oauth/discovery/keys").await.unwrap().status(), 503);
    let (status, listed) = fake.control("GET", "/issuers", Value::Null).await;
    assert_eq!((status, &listed["issuers"][0]["unavailable"]), (200, &json!(true)));
}
