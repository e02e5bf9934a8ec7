//! AssumeRoleWithSAML, from the assertion to the session.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use serde_json::json;

use super::Bench;
use crate::answer::Outcome;
use crate::control::make_assertion;
use crate::mint::Grant;
use crate::refusal::Refusal;
use crate::saml::{Claim, Signed};
use crate::signature::escape;

const PROVIDER: &str = "arn:aws:iam::123456789012:saml-provider/corp";
const ROLE: &str = "arn:aws:iam::123456789012:role/people";

const WORLD: &str = r#"
[account]
id = "123456789012"
region = "eu-central-1"

[[saml_provider]]
name = "corp"
entity_id = "https://idp.example.com/saml"

[[role]]
name = "people"
max_session_seconds = 7200
trust = '''{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::123456789012:saml-provider/corp"},
"Action":["sts:AssumeRoleWithSAML","sts:TagSession","sts:SetSourceIdentity"],
"Condition":{"StringEquals":{"saml:aud":"https://signin.aws.amazon.com/saml","saml:iss":"https://idp.example.com/saml","saml:sub_type":"persistent",
"saml:doc":"123456789012/corp"},"StringLike":{"saml:sub":"al*"}}}}'''

[[role]]
name = "others"
trust = '''{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"Federated":"arn:aws:iam::123456789012:saml-provider/other"},"Action":"sts:AssumeRoleWithSAML"}}'''
"#;

fn bench() -> Bench {
    Bench::of(WORLD)
}

fn claim() -> Claim {
    Claim {
        roles: vec![ROLE.to_owned()],
        subject: "alice".to_owned(),
        ..Claim::default()
    }
}

fn present(bench: &mut Bench, xml: &str, role: &str, more: &str) -> Result<(Grant, String), Refusal> {
    let form = format!(
        "Action=AssumeRoleWithSAML&RoleArn={role}&PrincipalArn={PROVIDER}&SAMLAssertion={}{more}",
        escape(&STANDARD.encode(xml))
    );
    let request = bench.unsigned(&form);
    match bench.outcome(&request) {
        Outcome::Granted { grant, caller, .. } => Ok((*grant, caller)),
        Outcome::Refused { refusal, .. } => Err(refusal),
        other => panic!("{other:?}"),
    }
}

fn xml(bench: &mut Bench, claim: Claim) -> String {
    make_assertion(&mut bench.state, claim, 1, bench.now).unwrap().xml
}

fn told(bench: &mut Bench, claim: Claim) -> (u16, String, String) {
    let xml = xml(bench, claim);
    let refusal = present(bench, &xml, ROLE, "").unwrap_err();
    (refusal.status, refusal.code, refusal.message.unwrap_or_default())
}

#[test]
fn the_answer_is_that_of_the_api_reference() {
    let mut bench = bench();
    let xml = xml(&mut bench, claim());
    let form = format!(
        "Action=AssumeRoleWithSAML&RoleArn={ROLE}&PrincipalArn={PROVIDER}&SAMLAssertion={}",
        escape(&STANDARD.encode(xml))
    );
    let request = bench.unsigned(&form);
    let text = bench.text(&request);
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix('<'))
        .filter(|name| !name.starts_with('/'))
        .map(|name| name.split(['>', ' ']).next().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "AssumeRoleWithSAMLResponse",
            "AssumeRoleWithSAMLResult",
            "Issuer",
            "AssumedRoleUser",
            "AssumedRoleId",
            "Arn",
            "Credentials",
            "AccessKeyId",
            "SecretAccessKey",
            "SessionToken",
            "Expiration",
            "Audience",
            "SubjectType",
            "NameQualifier",
            "Subject",
            "ResponseMetadata",
            "RequestId"
        ]
    );
    // echo -n 'https://idp.example.com/saml123456789012/corp' | openssl sha1 -binary | base64
    for element in [
        "<Subject>alice<",
        "<SubjectType>persistent<",
        "<Audience>https://signin.aws.amazon.com/saml<",
        "<NameQualifier>HahBW48oNiXLlr28VT6/xduH27c=<",
    ] {
        assert!(text.contains(element), "{element}: {text}");
    }
}

#[test]
fn attributes_make_the_session() {
    let mut bench = bench();
    let claim = Claim {
        session_name: Some("alice@corp".to_owned()),
        session_duration: Some(7_200),
        tags: [("team".to_owned(), "blue".to_owned())].into(),
        transitive_tag_keys: vec!["team".to_owned()],
        source_identity: Some("alice".to_owned()),
        sign: Signed::Both,
        ..claim()
    };
    let xml = xml(&mut bench, claim);
    let (grant, caller) = present(&mut bench, &xml, ROLE, "").unwrap();
    assert_eq!(caller, format!("{PROVIDER} alice"));
    assert_eq!(grant.owner.session_name(), "alice@corp");
    assert_eq!(grant.duration_seconds, 7_200);
    assert_eq!(grant.tags["team"], "blue");
    assert!(grant.transitive_tag_keys.contains("team"));
    assert_eq!(grant.source_identity.as_deref(), Some("alice"));
    let (grant, _) = present(&mut bench, &xml, ROLE, "&DurationSeconds=900").unwrap();
    assert_eq!(grant.duration_seconds, 900);
    let refusal = present(&mut bench, &xml, ROLE, "&DurationSeconds=7201").unwrap_err();
    assert_eq!(
        refusal.message.unwrap(),
        "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
    );
}

#[test]
fn assertions_that_are_not_for_this_are_refused_in_awss_words() {
    let mut bench = bench();
    let invalid = |text: &str| (400, "InvalidIdentityToken".to_owned(), text.to_owned());
    let audience = Claim {
        audience: Some("urn:other".to_owned()),
        ..claim()
    };
    assert_eq!(
        told(&mut bench, audience),
        invalid("Response does not contain the required audience.")
    );
    let unsigned = Claim {
        sign: Signed::Nothing,
        ..claim()
    };
    assert_eq!(told(&mut bench, unsigned), invalid("Response signature invalid"));
    let recipient = Claim {
        recipient: Some("https://signin.aws.amazon.com.evil.example/saml".to_owned()),
        ..claim()
    };
    assert_eq!(told(&mut bench, recipient), invalid("Invalid SAML response"));
    let role = Claim {
        roles: vec![ROLE.replace("people", "others")],
        ..claim()
    };
    let text = "SAML Assertion doesn't contain the requested Role and Metadata in the attributes";
    assert_eq!(told(&mut bench, role), invalid(text));
    let name = Claim {
        session_name: Some("a b".to_owned()),
        ..claim()
    };
    let text = "RoleSessionName in AuthnResponse must match [a-zA-Z_0-9+=,.@-]{2,64}";
    assert_eq!(told(&mut bench, name), invalid(text));
    let identity = Claim {
        source_identity: Some("aws:x".to_owned()),
        ..claim()
    };
    let text = "Source Identity must match [a-zA-Z_0-9+=,.@-]{2,64} and not begin with \"aws:\"";
    assert_eq!(told(&mut bench, identity), invalid(text));
    let other = Claim {
        subject: "bob".to_owned(),
        ..claim()
    };
    let denied = "Not authorized to perform sts:AssumeRoleWithSAML".to_owned();
    assert_eq!(told(&mut bench, other), (403, "AccessDenied".to_owned(), denied));
    let role = ROLE.replace("people", "others");
    let claim = Claim {
        roles: vec![role.clone()],
        ..claim()
    };
    let xml = xml(&mut bench, claim);
    let refusal = present(&mut bench, &xml, &role, "").unwrap_err();
    assert_eq!((refusal.status, refusal.code.as_str()), (403, "AccessDenied"));
    let refusal = present(
        &mut bench,
        &xml.replace("status:Success", "status:Responder"),
        &role,
        "",
    )
    .unwrap_err();
    assert_eq!((refusal.status, refusal.code.as_str()), (403, "IDPRejectedClaim"));
    let form = format!("Action=AssumeRoleWithSAML&RoleArn={ROLE}&PrincipalArn={PROVIDER}&SAMLAssertion=%2A%2A%2A%2A");
    let text = bench.unsigned(&form);
    assert!(bench.text(&text).contains("<Message>Invalid base64 SAMLResponse<"));
    let gone = form.replace("/corp", "/gone");
    let text = bench.unsigned(&gone.replace("%2A%2A%2A%2A", "AAAA"));
    assert!(
        bench.text(&text).contains("Specified provider doesn&apos;t exist")
            || bench.text(&text).contains("Specified provider doesn't exist")
    );
}

#[test]
fn an_assertion_has_its_time() {
    let mut bench = bench();
    let xml = xml(&mut bench, claim());
    let made = bench.now;
    for (seconds, wanted) in [
        (0, None),
        (299, None),
        (300, Some("ExpiredTokenException")),
        (-59, None),
        (-61, Some("InvalidIdentityToken")),
    ] {
        bench.now = made + SignedDuration::from_secs(seconds);
        let code = present(&mut bench, &xml, ROLE, "").err().map(|refusal| refusal.code);
        assert_eq!(code.as_deref(), wanted, "{seconds}");
    }
    bench.now = made;
    let long = Claim {
        lifetime_seconds: Some(36_000),
        ..claim()
    };
    let xml = self::xml(&mut bench, long);
    bench.now = made + SignedDuration::from_secs(301);
    let refusal = present(&mut bench, &xml, ROLE, "").unwrap_err();
    assert_eq!(
        refusal.message.unwrap(),
        "Token must be redeemed within 5 minutes of issuance"
    );
}

#[test]
fn tags_of_an_assertion_need_permission() {
    let mut bench = Bench::of(&WORLD.replace(",\"sts:TagSession\"", ""));
    let claim = Claim {
        tags: [("team".to_owned(), "blue".to_owned())].into(),
        ..claim()
    };
    assert_eq!(told(&mut bench, claim).2, "Not authorized to perform sts:TagSession");
}

#[test]
fn a_claim_names_its_fields() {
    let claim: Claim = serde_json::from_value(json!({ "roles": [ROLE], "subject": "alice", "sign": "both" })).unwrap();
    assert_eq!((claim.sign, claim.subject.as_str()), (Signed::Both, "alice"));
    assert!(serde_json::from_value::<Claim>(json!({ "subjects": "x" })).is_err());
}
