//! What is answered without a server is what the service answers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fake_kit::seed::Seed;
use jiff::Timestamp;

use super::{Answer, Bearer, Question, ask_assertion, find_role, who_may};
use crate::context::Origin;
use crate::control::make_assertion;
use crate::decline::Decline;
use crate::parameters::SamlIdentity;
use crate::saml::{Claim, SIGN_IN};
use crate::saml_identity;
use crate::secret::Secret;
use crate::state::State;
use crate::world;

const WORLD: &str = r#"
[account]
id = "123456789012"
region = "eu-central-1"

[[saml_provider]]
name = "corp"
entity_id = "https://idp.example.com/saml"
subjects = ["alice", "bob"]

[[saml_provider]]
name = "partner"
entity_id = "https://idp.example.org/saml"

[[role]]
name = "people"
trust = '''{"Version":"2012-10-17","Statement":[
{"Sid":"Blue","Effect":"Allow","Principal":{"Federated":"arn:aws:iam::123456789012:saml-provider/corp"},"Action":["sts:AssumeRoleWithSAML","sts:TagSession"],
 "Condition":{"StringEquals":{"saml:aud":"https://signin.aws.amazon.com/saml","saml:iss":"https://idp.example.com/saml","saml:doc":"123456789012/corp"},
  "StringLike":{"saml:sub":"al*"},"StringEqualsIfExists":{"aws:RequestTag/team":"blue"}}},
{"Sid":"Region","Effect":"Allow","Principal":{"Federated":"arn:aws:iam::123456789012:saml-provider/partner"},"Action":"sts:AssumeRoleWithSAML",
 "Condition":{"StringEquals":{"saml:aud":"https://eu-central-1.signin.aws.amazon.com/saml","saml:sub":"carol"}}}]}'''
"#;

fn state() -> State {
    let seed = Seed::default();
    State::new(world::read(WORLD, "world", &seed).unwrap(), false, seed)
}

fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

/// The same to the service, with an assertion that the provider signs.
fn present(state: &mut State, provider: &str, bearer: &Bearer, question: &Question) -> Result<(), Decline> {
    let role = "arn:aws:iam::123456789012:role/people";
    let claim = Claim {
        provider: Some(provider.to_owned()),
        roles: vec![role.to_owned()],
        subject: bearer.subject.clone(),
        session_name: Some(question.session_name.clone()),
        audience: bearer.recipient.clone(),
        recipient: bearer.recipient.clone(),
        tags: question.tags.clone(),
        source_identity: question.source_identity.clone(),
        ..Claim::default()
    };
    let made = make_assertion(state, claim, 1, now()).unwrap();
    let request = SamlIdentity {
        role_arn: role.to_owned(),
        principal_arn: made.provider_arn.clone(),
        assertion: Secret::new(STANDARD.encode(&made.xml)),
        duration: None,
        policy: None,
        policy_arns: Vec::new(),
    };
    saml_identity::decide(state, &request, &Origin::default(), now()).map(|_| ())
}

fn bearer(subject: &str, recipient: Option<&str>) -> Bearer {
    Bearer {
        subject: subject.to_owned(),
        recipient: recipient.map(str::to_owned),
    }
}

fn question(session_name: &str, tags: &[(&str, &str)], source_identity: Option<&str>) -> Question {
    Question {
        session_name: session_name.to_owned(),
        tags: tags
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect(),
        source_identity: source_identity.map(str::to_owned),
        ..Question::default()
    }
}

#[test]
fn what_is_told_of_a_bearer_is_what_the_service_answers() {
    let region = Some("https://eu-central-1.signin.aws.amazon.com/saml");
    let mut state = state();
    let mut granted = 0;
    for (provider, bearer, question) in [
        ("corp", bearer("alice", None), question("session", &[], None)),
        (
            "corp",
            bearer("alice", None),
            question("session", &[("team", "blue")], None),
        ),
        (
            "corp",
            bearer("alice", None),
            question("session", &[("team", "red")], None),
        ),
        ("corp", bearer("alice", None), question("session", &[], Some("alice"))),
        ("corp", bearer("alice", None), question("session", &[], Some("a b"))),
        ("corp", bearer("alice", None), question("no name", &[], None)),
        (
            "corp",
            bearer("alice", None),
            question("session", &[("", "blue")], None),
        ),
        ("corp", bearer("bob", None), question("session", &[], None)),
        ("corp", bearer("alice", region), question("session", &[], None)),
        (
            "corp",
            bearer("alice", Some("https://elsewhere.example.com")),
            question("session", &[], None),
        ),
        ("partner", bearer("carol", region), question("session", &[], None)),
        ("partner", bearer("carol", None), question("session", &[], None)),
        ("partner", bearer("alice", region), question("session", &[], None)),
    ] {
        let answered = present(&mut state, provider, &bearer, &question);
        let role = find_role(&state, "people").unwrap();
        let told = ask_assertion(&state, role, provider, &bearer, &question, now()).unwrap();
        assert_eq!(told.allowed, answered.is_ok(), "{bearer:?} {question:?} {told:?}");
        granted += usize::from(told.allowed);
        let because = match answered {
            Ok(()) => continue,
            Err(Decline::WebIdentityDenied { denied_by, .. }) => denied_by,
            Err(Decline::InvalidIdentityToken { text, because }) => format!("{text}: {because}"),
            Err(other) => other.to_string(),
        };
        assert_eq!(told.because, because, "{bearer:?} {question:?}");
    }
    assert_eq!(granted, 3);
}

#[test]
fn everybody_whom_a_provider_may_vouch_for_is_asked_for() {
    let state = state();
    let role = find_role(&state, "people").unwrap();
    let answers = who_may(&state, role, now());
    let told = |allowed: bool| -> Vec<&str> {
        let chosen = answers.iter().filter(|answer| answer.allowed == allowed);
        chosen.map(|answer: &Answer| answer.who.as_str()).collect()
    };
    let corp = "arn:aws:iam::123456789012:saml-provider/corp";
    let partner = "arn:aws:iam::123456789012:saml-provider/partner";
    let region = "https://eu-central-1.signin.aws.amazon.com/saml";
    assert_eq!(
        told(true),
        [
            format!("alice of {corp} aud {SIGN_IN}"),
            format!("carol of {partner} aud {region}")
        ]
    );
    assert_eq!(
        told(false),
        [
            "ec2.amazonaws.com".to_owned(),
            format!("alice of {corp} aud {region}"),
            format!("bob of {corp} aud {SIGN_IN}"),
            format!("bob of {corp} aud {region}"),
            format!("carol of {corp} aud {SIGN_IN}"),
            format!("carol of {corp} aud {region}"),
            format!("somebody of {partner} aud {SIGN_IN}"),
            format!("somebody of {partner} aud {region}"),
            format!("carol of {partner} aud {SIGN_IN}"),
        ]
    );
}

#[test]
fn a_provider_that_is_not_there_is_told_with_those_that_are() {
    let state = state();
    let role = find_role(&state, "people").unwrap();
    let (alice, plain) = (bearer("alice", None), question("session", &[], None));
    let error = ask_assertion(&state, role, "crop", &alice, &plain, now()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the world has no SAML provider crop: name one of corp, partner"
    );
    let arn = "arn:aws:iam::123456789012:saml-provider/corp";
    assert!(ask_assertion(&state, role, arn, &alice, &plain, now()).unwrap().allowed);
}
