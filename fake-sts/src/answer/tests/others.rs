//! The actions beside AssumeRole and GetCallerIdentity.

use super::{Bench, Keys, alice, bob};
use crate::front;
use crate::message;
use crate::secret::Secret;

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

[[policy]]
arn = "arn:aws:iam::123456789012:policy/roles-only"
document = { Version = "2012-10-17", Statement = { Effect = "Allow", Action = "sts:AssumeRole", Resource = "*" } }

[[role]]
name = "deploy"
trust = { Version = "2012-10-17", Statement = { Effect = "Allow", Principal = { AWS = "arn:aws:iam::123456789012:user/alice" }, Action = ["sts:AssumeRole", "sts:TagSession"], Condition = { BoolIfExists = { "aws:MultiFactorAuthPresent" = "true" } } } }
policy_arns = ["arn:aws:iam::aws:policy/AdministratorAccess"]

[[role]]
name = "second-factor"
trust = { Version = "2012-10-17", Statement = { Effect = "Allow", Principal = { AWS = "123456789012" }, Action = "sts:AssumeRole", Condition = { Bool = { "aws:MultiFactorAuthPresent" = "true" } } } }

[[role]]
name = "bounded"
trust = { Version = "2012-10-17", Statement = { Effect = "Allow", Principal = { AWS = "arn:aws:iam::123456789012:role/narrow" }, Action = ["sts:AssumeRole", "sts:TagSession"] } }

[[role]]
name = "narrow"
trust = { Version = "2012-10-17", Statement = { Effect = "Allow", Principal = { AWS = "arn:aws:iam::123456789012:user/alice" }, Action = "sts:AssumeRole" } }
policy_arns = ["arn:aws:iam::aws:policy/AdministratorAccess"]
boundary = "arn:aws:iam::123456789012:policy/roles-only"

[[user]]
name = "alice"
access_key_id = "AKIAIOSFODNN7EXAMPLE"
secret_access_key = "alice-secret"
policy_arns = ["arn:aws:iam::aws:policy/AdministratorAccess"]
mfa_serial = "arn:aws:iam::123456789012:mfa/alice"
mfa_code = "123456"

[[user]]
name = "bob"
access_key_id = "AKIAIOSFODNN7BOBBOBB"
secret_access_key = "bob-secret"
"#;

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

fn keys_in(text: &str) -> Keys {
    let inside = |name: &str| {
        let rest = text
            .split_once(&format!("<{name}>"))
            .unwrap_or_else(|| panic!("{text}"))
            .1;
        rest.split_once('<').unwrap().0.to_owned()
    };
    Keys {
        id: inside("AccessKeyId"),
        secret: Secret::new(inside("SecretAccessKey")),
        token: Some(Secret::new(inside("SessionToken"))),
    }
}

impl Bench {
    fn ask(&mut self, keys: &Keys, form: &str) -> String {
        let request = self.signed(keys, form);
        self.text(&request)
    }
}

#[test]
fn a_session_token_is_the_user_itself_and_can_do_little_of_sts() {
    let mut bench = Bench::of(WORLD);
    let text = bench.ask(&alice(), "Action=GetSessionToken");
    assert!(text.contains("<Expiration>2026-03-04T17:06:07Z</Expiration>"), "{text}");
    assert!(!text.contains("AssumedRoleUser"));
    let keys = keys_in(&text);
    assert!(
        bench
            .ask(&keys, "Action=GetCallerIdentity")
            .contains("<Arn>arn:aws:iam::123456789012:user/alice</Arn>")
    );
    let told: Vec<String> = [
        "Action=GetSessionToken",
        "Action=GetFederationToken&Name=ci",
        "Action=GetAccessKeyInfo&AccessKeyId=AKIAIOSFODNN7EXAMPLE",
        "Action=AssumeRole&RoleArn=arn:aws:iam::123456789012:role/deploy&RoleSessionName=s1",
    ]
    .iter()
    .map(|form| short(&bench.ask(&keys, form)))
    .collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    403 AccessDenied: Cannot call GetSessionToken with session credentials
    403 AccessDenied: Cannot call GetFederationToken with session credentials
    403 AccessDenied: User: arn:aws:iam::123456789012:user/alice is not authorized to perform: sts:GetAccessKeyInfo on resource: *
    403 AccessDenied: User: arn:aws:iam::123456789012:user/alice is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::123456789012:role/deploy
    ");
}

#[test]
fn a_second_factor_opens_what_asks_for_one() {
    let mut bench = Bench::of(WORLD);
    const SHOWN: &str = "&SerialNumber=arn:aws:iam::123456789012:mfa/alice&TokenCode=123456";
    const ROLE: &str = "Action=AssumeRole&RoleArn=arn:aws:iam::123456789012:role/second-factor&RoleSessionName=s1";
    assert!(short(&bench.ask(&alice(), ROLE)).starts_with("403"));
    assert_eq!(short(&bench.ask(&alice(), &format!("{ROLE}{SHOWN}"))), "200");
    let wrong = SHOWN
        .replace("123456&", "1&")
        .replace("TokenCode=123456", "TokenCode=654321");
    assert_eq!(
        short(&bench.ask(&alice(), &format!("{ROLE}{wrong}"))),
        "403 AccessDenied: MultiFactorAuthentication failed with invalid MFA one time pass code. "
    );
    assert_eq!(
        short(&bench.ask(&alice(), "Action=GetSessionToken&TokenCode=123456")),
        "403 AccessDenied: MultiFactorAuthentication failed, must provide both MFA serial number and one time pass code."
    );
    // Temporary credentials keep it; those made without it say that there was none.
    let with = keys_in(&bench.ask(&alice(), &format!("Action=GetSessionToken{SHOWN}")));
    assert_eq!(short(&bench.ask(&with, ROLE)), "200");
    let without = keys_in(&bench.ask(&alice(), "Action=GetSessionToken"));
    assert!(short(&bench.ask(&without, ROLE)).starts_with("403"));
    assert!(
        short(&bench.ask(&without, &ROLE.replace("second-factor", "deploy"))).starts_with("403"),
        "BoolIfExists does not hold for a session that says false"
    );
}

#[test]
fn a_federated_user_has_a_name_of_its_own_and_may_not_call_sts() {
    let mut bench = Bench::of(WORLD);
    let text = bench.ask(&alice(), "Action=GetFederationToken&Name=ci&DurationSeconds=900");
    assert!(
        text.contains("<FederatedUserId>123456789012:ci</FederatedUserId>"),
        "{text}"
    );
    assert!(text.contains("<PackedPolicySize>0</PackedPolicySize>"));
    let keys = keys_in(&text);
    let identity = bench.ask(&keys, "Action=GetCallerIdentity");
    assert!(identity.contains("<Arn>arn:aws:sts::123456789012:federated-user/ci</Arn>"));
    assert!(identity.contains("<UserId>123456789012:ci</UserId>"));
    let form = "Action=AssumeRole&RoleArn=arn:aws:iam::123456789012:role/deploy&RoleSessionName=s1";
    assert!(short(&bench.ask(&keys, form)).starts_with("403 AccessDenied"));
    assert_eq!(
        short(&bench.ask(&bob(), "Action=GetFederationToken&Name=ci")),
        "403 AccessDenied: User: arn:aws:iam::123456789012:user/bob is not authorized to perform: sts:GetFederationToken on resource: arn:aws:sts::123456789012:federated-user/ci"
    );
}

#[test]
fn a_key_id_tells_its_account() {
    let mut bench = Bench::of(WORLD);
    let mut account = |id: &str| bench.ask(&alice(), &format!("Action=GetAccessKeyInfo&AccessKeyId={id}"));
    assert!(account("ASIAQNZGKIQY56JQ7WML").contains("<Account>029608264753</Account>"));
    assert!(account("AKIAIOSFODNN7EXAMPLE").contains("<Account>123456789012</Account>"));
    assert!(short(&account("AKIAIOSFODNN7UNKNOWN")).starts_with("400 ValidationError"));
    assert!(short(&account("short")).contains("length greater than or equal to 16"));
}

#[test]
fn an_authorization_message_is_decoded_for_its_account() {
    let mut bench = Bench::of(WORLD);
    let own = message::encode(&bench.state.seed, "123456789012", r#"{"allowed":false}"#);
    let foreign = message::encode(&bench.state.seed, "222222222222", "{}");
    let mut decode = |message: &str| {
        bench.ask(
            &alice(),
            &format!("Action=DecodeAuthorizationMessage&EncodedMessage={message}"),
        )
    };
    assert!(decode(&own).contains(r#"<DecodedMessage>{"allowed":false}</DecodedMessage>"#));
    for broken in [foreign.as_str(), "x", "AAAA"] {
        assert_eq!(
            short(&decode(broken)),
            "400 InvalidAuthorizationMessageException: Invalid authorization message"
        );
    }
    assert!(
        short(&bench.ask(
            &bob(),
            &format!("Action=DecodeAuthorizationMessage&EncodedMessage={own}")
        ))
        .starts_with("403")
    );
}

#[test]
fn root_sessions_are_for_members_and_tasks() {
    let mut bench = Bench::of(WORLD);
    let mut ask = |keys: &Keys, account: &str, task: &str| {
        let form = format!(
            "Action=AssumeRoot&TargetPrincipal={account}&TaskPolicyArn.arn=arn:aws:iam::aws:policy/root-task/{task}"
        );
        bench.ask(keys, &form)
    };
    let text = ask(&alice(), "222222222222", "S3UnlockBucketPolicy");
    assert!(text.contains("<Expiration>2026-03-04T05:21:07Z</Expiration>"), "{text}");
    for (account, task) in [
        ("222222222222", "Anything"),
        ("123456789012", "S3UnlockBucketPolicy"),
        ("333333333333", "S3UnlockBucketPolicy"),
    ] {
        assert!(
            short(&ask(&alice(), account, task)).starts_with("403 AccessDenied"),
            "{account} {task}"
        );
    }
    assert!(short(&ask(&bob(), "222222222222", "S3UnlockBucketPolicy")).starts_with("403 AccessDenied"));
    let root = keys_in(&text);
    assert!(
        bench
            .ask(&root, "Action=GetCallerIdentity")
            .contains("<Arn>arn:aws:iam::222222222222:root</Arn>")
    );
    assert_eq!(
        short(&bench.ask(
            &root,
            "Action=AssumeRole&RoleArn=arn:aws:iam::123456789012:role/deploy&RoleSessionName=s1"
        )),
        "403 AccessDenied: Roles may not be assumed by root accounts."
    );
}

#[test]
fn a_web_identity_token_says_who_asked_and_ends_with_the_session() {
    let mut bench = Bench::of(WORLD);
    let ask = "Action=GetWebIdentityToken&Audience.member.1=https://api.example.com&SigningAlgorithm=ES384&DurationSeconds=600&Tags.member.1.Key=team&Tags.member.1.Value=blue";
    let text = bench.ask(&alice(), ask);
    let claims: serde_json::Value =
        serde_json::from_str(text.strip_prefix("200\n").unwrap_or_else(|| panic!("{text}"))).unwrap();
    assert_eq!(claims["sub"], "arn:aws:iam::123456789012:user/alice");
    assert_eq!(claims["aud"], "https://api.example.com");
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 600);
    assert_eq!(claims["https://sts.amazonaws.com/"]["request_tags"]["team"], "blue");
    assert_eq!(claims["https://sts.amazonaws.com/"]["org_id"], "o-exampleorgid");
    assert!(short(&bench.ask(&alice(), &ask.replace("ES384", "HS256"))).contains("[RS256, ES384]"));
    assert!(short(&bench.ask(&bob(), ask)).starts_with("403 AccessDenied"));
    let keys = keys_in(&bench.ask(
        &alice(),
        "Action=AssumeRole&RoleArn=arn:aws:iam::123456789012:role/deploy&RoleSessionName=s1&DurationSeconds=900",
    ));
    bench.pass(400);
    assert!(short(&bench.ask(&keys, ask)).starts_with("403 SessionDurationEscalation"));
    bench.state.outbound = None;
    assert!(short(&bench.ask(&alice(), ask)).starts_with("403 OutboundWebIdentityFederationDisabled"));
}

#[test]
fn a_permissions_boundary_limits_what_the_role_was_granted() {
    let mut bench = Bench::of(WORLD);
    let keys = keys_in(&bench.ask(
        &alice(),
        "Action=AssumeRole&RoleArn=arn:aws:iam::123456789012:role/narrow&RoleSessionName=s1",
    ));
    let form = "Action=AssumeRole&RoleArn=arn:aws:iam::123456789012:role/bounded&RoleSessionName=s2";
    assert_eq!(short(&bench.ask(&keys, form)), "200");
    // The trust names the role and its administrator's policy allows, yet the boundary does not.
    let tagged = format!("{form}&Tags.member.1.Key=a&Tags.member.1.Value=b");
    assert!(short(&bench.ask(&keys, &tagged)).contains("not authorized to perform: sts:TagSession"));
}

#[test]
fn the_global_endpoint_has_not_all_actions() {
    let bench = Bench::of(WORLD);
    for action in ["AssumeRoot", "GetWebIdentityToken"] {
        let mut request = bench.signed(&alice(), &format!("Action={action}"));
        request.headers[0].1 = "sts.amazonaws.com".to_owned();
        assert!(
            matches!(front::receive(&request).front, front::Front::Refused(_)),
            "{action}"
        );
    }
}
