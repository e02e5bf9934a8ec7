//! AssumeRoleWithWebIdentity, with tokens that the fake's own issuers make.

use serde_json::{Value, json};

use super::Bench;
use crate::control::{WantedToken, issue_token};
use crate::provenance::{self, Via};
use crate::request::Request;

const WORLD: &str = r#"
[account]
id = "123456789012"
region = "eu-central-1"

[[oidc_provider]]
url = "https://gitlab.example.com"
client_ids = ["https://gitlab.example.com", "sts.amazonaws.com"]

[[oidc_provider]]
url = "https://oidc.eks.eu-central-1.amazonaws.com/id/ABC"
client_ids = ["sts.amazonaws.com"]

[[oidc_provider]]
url = "https://lenient.example.com"
client_ids = ["x"]
custom_claims = true

[[oidc_provider]]
url = "https://nobody.example.com"
client_ids = ["x"]

[[issuer]]
url = "https://gitlab.example.com"
kind = "gitlab"
algorithms = ["ES256", "ES384", "ES512"]

[[issuer]]
url = "https://oidc.eks.eu-central-1.amazonaws.com/id/ABC"
kind = "kubernetes"
algorithms = ["ES256"]

[[issuer]]
url = "https://lenient.example.com"
algorithms = ["ES256"]

[[issuer]]
url = "https://other.example.com"
kind = "gitlab"
algorithms = ["ES256"]

[[role]]
name = "deploy"
trust = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::123456789012:oidc-provider/gitlab.example.com"},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"gitlab.example.com:aud":"https://gitlab.example.com","gitlab.example.com:sub":"project_path:group/app:ref_type:branch:ref:main"}}}}'

[[role]]
name = "group"
trust = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::123456789012:oidc-provider/gitlab.example.com"},"Action":["sts:AssumeRoleWithWebIdentity","sts:TagSession"],"Condition":{"StringLike":{"gitlab.example.com:sub":"project_path:group/*"}}}}'

[[role]]
name = "claims"
trust = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::123456789012:oidc-provider/gitlab.example.com"},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"gitlab.example.com:namespace_path":"group"}}}}'

[[role]]
name = "lenient"
trust = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::123456789012:oidc-provider/lenient.example.com"},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"lenient.example.com:team":"blue"}}}}'

[[role]]
name = "pod"
trust = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::123456789012:oidc-provider/oidc.eks.eu-central-1.amazonaws.com/id/ABC"},"Action":"sts:AssumeRoleWithWebIdentity","Condition":{"StringEquals":{"oidc.eks.eu-central-1.amazonaws.com/id/ABC:sub":"system:serviceaccount:prod:web"}}}}'
"#;

fn bench() -> Bench {
    Bench::of(WORLD)
}

fn token(bench: &mut Bench, wanted: Value) -> String {
    let wanted: WantedToken = serde_json::from_value(wanted).unwrap();
    issue_token(&mut bench.state, &wanted, 1, bench.now).unwrap().0
}

fn job(bench: &mut Bench, claims: Value) -> String {
    let wanted = json!({ "issuer": "https://gitlab.example.com", "job": { "project": "group/app" }, "claims": claims });
    token(bench, wanted)
}

fn present(bench: &mut Bench, role: &str, token: &str, more: &str) -> String {
    let token = crate::signature::escape(token);
    let form = format!(
        "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleSessionName=job-1&RoleArn=arn:aws:iam::123456789012:role/{role}&WebIdentityToken={token}{more}"
    );
    let request = Request {
        method: "POST".to_owned(),
        path: "/".to_owned(),
        headers: vec![
            ("host".to_owned(), "sts.eu-central-1.amazonaws.com".to_owned()),
            (
                "content-type".to_owned(),
                "application/x-www-form-urlencoded".to_owned(),
            ),
        ],
        body: form.into(),
        ..Request::default()
    };
    bench.text(&request)
}

/// Status, code and text of an answer; `200` alone for a success.
fn short(text: &str) -> String {
    let inside = |name: &str| {
        let rest = text.split_once(&format!("<{name}>"))?.1;
        Some(rest.split_once(&format!("</{name}>"))?.0.to_owned())
    };
    let status = text.lines().next().unwrap_or_default();
    match (inside("Code"), inside("Message")) {
        (Some(code), message) => format!("{status} {code}: {}", message.unwrap_or_default()),
        (None, _) => status.to_owned(),
    }
}

#[test]
fn a_jobs_token_gets_the_role_that_trusts_it() {
    let mut bench = bench();
    let token = job(&mut bench, json!({}));
    let text = present(&mut bench, "deploy", &token, "");
    let secrets: Vec<&str> = ["AccessKeyId", "SecretAccessKey", "SessionToken"].to_vec();
    let shown: Vec<String> = text
        .lines()
        .map(|line| match secrets.iter().find(|name| line.contains(**name)) {
            Some(name) => format!("      <{name}>…"),
            None => line.to_owned(),
        })
        .map(|line| {
            if line.contains("AssumedRoleId") {
                "      <AssumedRoleId>…".to_owned()
            } else {
                line
            }
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    200
    <AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
      <AssumeRoleWithWebIdentityResult>
        <SubjectFromWebIdentityToken>project_path:group/app:ref_type:branch:ref:main</SubjectFromWebIdentityToken>
        <Audience>https://gitlab.example.com</Audience>
        <AssumedRoleUser>
          <AssumedRoleId>…
          <Arn>arn:aws:sts::123456789012:assumed-role/deploy/job-1</Arn>
        </AssumedRoleUser>
        <Credentials>
          <AccessKeyId>…
          <SecretAccessKey>…
          <SessionToken>…
          <Expiration>2026-03-04T06:06:07Z</Expiration>
        </Credentials>
        <Provider>https://gitlab.example.com</Provider>
      </AssumeRoleWithWebIdentityResult>
      <ResponseMetadata>
        <RequestId>R</RequestId>
      </ResponseMetadata>
    </AssumeRoleWithWebIdentityResponse>
    "#);
    let session = text.split_once("<SessionToken>").unwrap().1.split_once('<').unwrap().0;
    let told = provenance::decode(session).unwrap();
    assert_eq!(told.via, Via::WebIdentity);
    assert_eq!(
        told.requester,
        "arn:aws:iam::123456789012:oidc-provider/gitlab.example.com project_path:group/app:ref_type:branch:ref:main"
    );
}

#[test]
fn what_is_wrong_with_a_token_is_told_in_the_words_of_sts() {
    let mut bench = bench();
    let now = bench.now.as_second();
    let cases = [
        (
            "another branch",
            json!({ "sub": "project_path:group/app:ref_type:branch:ref:other" }),
        ),
        (
            "a tag of that name",
            json!({ "sub": "project_path:group/app:ref_type:tag:ref:main" }),
        ),
        (
            "another case",
            json!({ "sub": "project_path:Group/app:ref_type:branch:ref:main" }),
        ),
        (
            "an audience of the provider, not of the role",
            json!({ "aud": "sts.amazonaws.com" }),
        ),
        ("an audience of nobody", json!({ "aud": "https://vault.example.com" })),
        (
            "a slash at the audience",
            json!({ "aud": "https://gitlab.example.com/" }),
        ),
        ("no audience", json!({ "aud": null })),
        ("expired", json!({ "exp": now })),
        ("not yet", json!({ "nbf": now + 61 })),
        ("from the future", json!({ "iat": now + 61 })),
        ("no end", json!({ "exp": null })),
        ("no subject", json!({ "sub": null })),
        (
            "subject as a list",
            json!({ "sub": ["project_path:group/app:ref_type:branch:ref:main"] }),
        ),
        ("end as a text", json!({ "exp": "4000000000" })),
        ("another issuer", json!({ "iss": "https://gitlab.example.org" })),
        ("http", json!({ "iss": "http://gitlab.example.com" })),
        (
            "an issuer that publishes nothing",
            json!({ "iss": "https://nobody.example.com" }),
        ),
    ];
    let mut told = Vec::new();
    for (name, claims) in cases {
        let token = job(&mut bench, claims);
        told.push(format!("{name}: {}", short(&present(&mut bench, "deploy", &token, ""))));
    }
    insta::assert_snapshot!(told.join("\n"), @r"
    another branch: 403 AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity
    a tag of that name: 403 AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity
    another case: 403 AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity
    an audience of the provider, not of the role: 403 AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity
    an audience of nobody: 400 InvalidIdentityToken: Incorrect token audience
    a slash at the audience: 400 InvalidIdentityToken: Incorrect token audience
    no audience: 400 InvalidIdentityToken: Missing a required claim: aud
    expired: 400 ExpiredTokenException: Token expired: current date/time 1772600767 must be before the expiration date/time 1772600767
    not yet: 400 InvalidIdentityToken: Token is not yet valid
    from the future: 400 InvalidIdentityToken: Token is not yet valid
    no end: 400 InvalidIdentityToken: Missing a required claim: exp
    no subject: 400 InvalidIdentityToken: Missing a required claim: sub
    subject as a list: 400 InvalidIdentityToken: The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)
    end as a text: 400 InvalidIdentityToken: The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)
    another issuer: 400 InvalidIdentityToken: No OpenIDConnect provider found in your account for https://gitlab.example.org
    http: 400 InvalidIdentityToken: No OpenIDConnect provider found in your account for http://gitlab.example.com
    an issuer that publishes nothing: 400 InvalidIdentityToken: Couldn't retrieve verification key from your identity provider,  please reference AssumeRoleWithWebIdentity documentation for requirements
    ");
}

#[test]
fn several_audiences_and_an_authorized_party() {
    let mut bench = bench();
    let one_of = job(
        &mut bench,
        json!({ "aud": ["https://vault.example.com", "https://gitlab.example.com"] }),
    );
    assert_eq!(short(&present(&mut bench, "deploy", &one_of, "")), "200");
    // azp stands over aud, in what is registered and in the condition key.
    let party = job(
        &mut bench,
        json!({ "azp": "https://gitlab.example.com", "aud": "https://vault.example.com" }),
    );
    assert_eq!(short(&present(&mut bench, "deploy", &party, "")), "200");
    let party = job(&mut bench, json!({ "azp": "https://vault.example.com" }));
    assert_eq!(
        short(&present(&mut bench, "deploy", &party, "")),
        "400 InvalidIdentityToken: Incorrect token audience"
    );
}

#[test]
fn a_slash_at_the_issuers_end_is_tolerated() {
    let mut bench = bench();
    let token = job(&mut bench, json!({ "iss": "https://gitlab.example.com/" }));
    assert_eq!(short(&present(&mut bench, "deploy", &token, "")), "200");
}

#[test]
fn keys_that_were_withdrawn_are_not_believed() {
    let mut bench = bench();
    let old = job(&mut bench, json!({}));
    assert_eq!(short(&present(&mut bench, "deploy", &old, "")), "200");
    bench.state.issuers[0].rotate(false).unwrap();
    let new = job(&mut bench, json!({}));
    for token in [&old, &new] {
        assert_eq!(short(&present(&mut bench, "deploy", token, "")), "200");
    }
    bench.state.issuers[0].rotate(true).unwrap();
    for token in [&old, &new] {
        assert!(short(&present(&mut bench, "deploy", token, "")).contains("Couldn't retrieve verification key"));
    }
    let newest = job(&mut bench, json!({}));
    bench.state.issuers[0].unavailable = true;
    assert!(short(&present(&mut bench, "deploy", &newest, "")).contains("Couldn't retrieve verification key"));
}

#[test]
fn a_token_of_another_issuer_of_the_world_is_not_believed() {
    let mut bench = bench();
    let forged = json!({ "issuer": "https://other.example.com", "job": { "project": "group/app" }, "claims": { "iss": "https://gitlab.example.com" } });
    let forged = token(&mut bench, forged);
    assert!(short(&present(&mut bench, "deploy", &forged, "")).starts_with("400 InvalidIdentityToken"));
}

#[test]
fn gitlabs_claims_are_no_condition_keys_unless_the_world_says_so() {
    let mut bench = bench();
    let token_of_job = job(&mut bench, json!({}));
    assert!(short(&present(&mut bench, "claims", &token_of_job, "")).starts_with("403"));
    let lenient = |team: &str| json!({ "issuer": "https://lenient.example.com", "claims": { "sub": "s", "aud": "x", "team": team } });
    let blue = token(&mut bench, lenient("blue"));
    assert_eq!(short(&present(&mut bench, "lenient", &blue, "")), "200");
    let red = token(&mut bench, lenient("red"));
    assert!(short(&present(&mut bench, "lenient", &red, "")).starts_with("403"));
}

#[test]
fn a_pods_token_gets_the_role_of_its_service_account() {
    let mut bench = bench();
    let pod = |name: &str| json!({ "issuer": "https://oidc.eks.eu-central-1.amazonaws.com/id/ABC", "service_account": { "namespace": "prod", "name": name } });
    let web = token(&mut bench, pod("web"));
    assert_eq!(short(&present(&mut bench, "pod", &web, "")), "200");
    let other = token(&mut bench, pod("other"));
    assert!(short(&present(&mut bench, "pod", &other, "")).starts_with("403"));
}

#[test]
fn tags_of_a_token_need_permission_and_become_the_sessions() {
    let mut bench = bench();
    let tags = json!({ "https://aws.amazon.com/tags": { "principal_tags": { "team": ["blue"] }, "transitive_tag_keys": ["team"] } });
    let tagged = job(&mut bench, tags);
    assert_eq!(
        short(&present(&mut bench, "deploy", &tagged, "")),
        "403 AccessDenied: Not authorized to perform sts:TagSession"
    );
    assert_eq!(short(&present(&mut bench, "group", &tagged, "")), "200");
    let broken = job(
        &mut bench,
        json!({ "https://aws.amazon.com/tags": { "principal_tags": { "team": "blue" } } }),
    );
    assert!(short(&present(&mut bench, "group", &broken, "")).starts_with("400 InvalidIdentityToken"));
}

#[test]
fn a_fork_names_itself_and_where_it_runs() {
    let mut bench = bench();
    let fork = json!({ "issuer": "https://gitlab.example.com", "job": { "project": "mallory/app", "job_project": "group/app", "pipeline_source": "merge_request_event" } });
    let wanted: WantedToken = serde_json::from_value(fork).unwrap();
    let (token, claims) = issue_token(&mut bench.state, &wanted, 1, bench.now).unwrap();
    assert_eq!(
        (&claims["project_path"], &claims["job_project_path"]),
        (&json!("mallory/app"), &json!("group/app"))
    );
    assert!(short(&present(&mut bench, "deploy", &token, "")).starts_with("403"));
    assert!(short(&present(&mut bench, "group", &token, "")).starts_with("403"));
}

#[test]
fn parameters_and_durations_are_checked() {
    let mut bench = bench();
    let token = job(&mut bench, json!({}));
    assert_eq!(
        short(&present(&mut bench, "deploy", &token, "&DurationSeconds=3601")),
        "400 ValidationError: The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
    );
    assert_eq!(
        short(&present(&mut bench, "deploy", "abc", "")),
        "400 ValidationError: 1 validation error detected: Value '***' at 'webIdentityToken' failed to satisfy constraint: Member must have length greater than or equal to 4"
    );
    assert!(short(&present(&mut bench, "missing", &token, "")).starts_with("403 AccessDenied: Not authorized"));
}

#[test]
fn a_token_may_say_which_roles_it_is_for() {
    let mut bench = bench();
    let own = "arn:aws:iam::123456789012:role/deploy";
    for (roles, wanted) in [
        (json!(own), "200"),
        (json!(["arn:aws:iam::123456789012:role/other", own]), "200"),
        (json!("arn:aws:iam::123456789012:role/*"), "400 InvalidIdentityToken"),
        (json!([]), "400 InvalidIdentityToken"),
        (json!({ "role": own }), "400 InvalidIdentityToken"),
    ] {
        let token = job(&mut bench, json!({ "https://aws.amazon.com/roles": roles }));
        let told = short(&present(&mut bench, "deploy", &token, ""));
        assert!(told.starts_with(wanted), "{roles}: {told}");
    }
}
