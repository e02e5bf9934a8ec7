//! IAM's actions in, whole answers out.

use crate::answer::Outcome;
use crate::answer::tests::{Bench, Keys, alice, bob};
use crate::envelope::{IAM_NAMESPACE, success};
use crate::front::{self, Front};
use crate::secret::Secret;
use crate::signature::escape;

const WORLD: &str = r#"
[account]
id = "123456789012"
region = "eu-central-1"

[[user]]
name = "alice"
access_key_id = "AKIAIOSFODNN7EXAMPLE"
secret_access_key = "alice-secret"
policy_arns = ["arn:aws:iam::aws:policy/AdministratorAccess"]

[[user]]
name = "bob"
access_key_id = "AKIAIOSFODNN7BOBBOBB"
secret_access_key = "bob-secret"
policy = { Statement = { Effect = "Allow", Action = "iam:Get*", Resource = "arn:aws:iam::123456789012:user/bob" } }
"#;

const TRUST_BOB: &str = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::123456789012:user/bob"},"Action":"sts:AssumeRole"}}"#;

/// An action with parameters that are not yet escaped.
fn ask(bench: &mut Bench, keys: &Keys, action: &str, parameters: &[(&str, &str)]) -> String {
    let mut form = format!("Action={action}&Version=2010-05-08");
    for (name, value) in parameters {
        for part in ["&", name, "=", &escape(value)] {
            form.push_str(part);
        }
    }
    let request = bench.signed_for(keys, &form, "us-east-1", "iam");
    let received = front::receive(&request);
    let Front::Iam(action) = received.front else {
        panic!("{:?}", received.front)
    };
    match super::answer(&mut bench.state, bench.now, action, &request, &received) {
        Outcome::Result { action, elements, .. } => {
            success(action, elements.as_deref(), "R", IAM_NAMESPACE, received.format)
        }
        Outcome::Refused { refusal, .. } => format!(
            "{} {}: {}",
            refusal.status,
            refusal.code,
            refusal.message.unwrap_or_default()
        ),
        other => panic!("{other:?}"),
    }
}

fn assume(bench: &mut Bench, keys: &Keys, role: &str) -> String {
    let form = format!(
        "Action=AssumeRole&RoleArn=arn:aws:iam::123456789012:role/{role}&RoleSessionName=s1&Version=2011-06-15"
    );
    let request = bench.signed_for(keys, &form, "eu-central-1", "sts");
    match bench.outcome(&request) {
        Outcome::Granted { .. } => "granted".to_owned(),
        Outcome::Refused { refusal, .. } => refusal.denied_by.unwrap_or_default(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_role_is_made_looked_at_and_deleted() {
    let mut bench = Bench::of(WORLD);
    let made = ask(
        &mut bench,
        &alice(),
        "CreateRole",
        &[
            ("RoleName", "deploy"),
            ("Path", "/team/"),
            ("AssumeRolePolicyDocument", TRUST_BOB),
            ("MaxSessionDuration", "7200"),
            ("Tags.member.1.Key", "team"),
            ("Tags.member.1.Value", "blue"),
        ],
    );
    insta::assert_snapshot!(made, @r#"
    <CreateRoleResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">
      <CreateRoleResult>
        <Role>
          <Path>/team/</Path>
          <RoleName>deploy</RoleName>
          <RoleId>AROATKC7F6CYFZV3JJ2B3</RoleId>
          <Arn>arn:aws:iam::123456789012:role/team/deploy</Arn>
          <CreateDate>2026-03-04T05:06:07Z</CreateDate>
          <AssumeRolePolicyDocument>%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%7B%22Effect%22%3A%22Allow%22%2C%22Principal%22%3A%7B%22AWS%22%3A%22arn%3Aaws%3Aiam%3A%3A123456789012%3Auser%2Fbob%22%7D%2C%22Action%22%3A%22sts%3AAssumeRole%22%7D%7D</AssumeRolePolicyDocument>
          <MaxSessionDuration>7200</MaxSessionDuration>
          <Tags>
            <member>
              <Key>team</Key>
              <Value>blue</Value>
            </member>
          </Tags>
        </Role>
      </CreateRoleResult>
      <ResponseMetadata>
        <RequestId>R</RequestId>
      </ResponseMetadata>
    </CreateRoleResponse>
    "#);
    assert_eq!(assume(&mut bench, &bob(), "team/deploy"), "granted");
    let name = [("RoleName", "deploy")];
    assert!(ask(&mut bench, &alice(), "GetRole", &name).contains("role/team/deploy"));
    let again = [("RoleName", "deploy"), ("AssumeRolePolicyDocument", TRUST_BOB)];
    assert_eq!(
        ask(&mut bench, &alice(), "CreateRole", &again),
        "409 EntityAlreadyExists: Role with name deploy already exists."
    );
    let put = [
        ("RoleName", "deploy"),
        ("PolicyName", "p"),
        (
            "PolicyDocument",
            r#"{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"*"}}"#,
        ),
    ];
    assert!(!ask(&mut bench, &alice(), "PutRolePolicy", &put).contains("Result"));
    assert!(ask(&mut bench, &alice(), "ListRolePolicies", &name).contains("<member>p</member>"));
    assert_eq!(
        ask(&mut bench, &alice(), "DeleteRole", &name),
        "409 DeleteConflict: Cannot delete entity, must delete policies first."
    );
    ask(&mut bench, &alice(), "DeleteRolePolicy", &put[..2]);
    assert!(ask(&mut bench, &alice(), "DeleteRole", &name).contains("DeleteRoleResponse"));
    assert_eq!(
        ask(&mut bench, &alice(), "GetRole", &name),
        "404 NoSuchEntity: The role with name deploy cannot be found."
    );
}

#[test]
fn nobody_does_more_than_the_own_policies_allow() {
    let mut bench = Bench::of(WORLD);
    assert!(ask(&mut bench, &bob(), "GetUser", &[]).contains("user/bob"));
    assert_eq!(
        ask(&mut bench, &bob(), "GetUser", &[("UserName", "alice")]),
        "403 AccessDenied: User: arn:aws:iam::123456789012:user/bob is not authorized to perform: iam:GetUser on resource: arn:aws:iam::123456789012:user/alice because no identity-based policy allows the iam:GetUser action"
    );
    let document = r#"{"Statement":{"Effect":"Deny","Action":"iam:DeleteUser","Resource":"*"}}"#;
    ask(
        &mut bench,
        &alice(),
        "PutUserPolicy",
        &[
            ("UserName", "alice"),
            ("PolicyName", "guard"),
            ("PolicyDocument", document),
        ],
    );
    assert!(
        ask(&mut bench, &alice(), "DeleteUser", &[("UserName", "bob")])
            .ends_with("with an explicit deny in an identity-based policy")
    );
}

#[test]
fn a_user_made_again_is_another_principal() {
    let mut bench = Bench::of(WORLD);
    let role = [("RoleName", "deploy"), ("AssumeRolePolicyDocument", TRUST_BOB)];
    ask(&mut bench, &alice(), "CreateRole", &role);
    assert_eq!(assume(&mut bench, &bob(), "deploy"), "granted");
    let name = ("UserName", "bob");
    assert_eq!(
        ask(&mut bench, &alice(), "DeleteUser", &[name]),
        "409 DeleteConflict: Cannot delete entity, must delete access keys first."
    );
    ask(
        &mut bench,
        &alice(),
        "DeleteAccessKey",
        &[name, ("AccessKeyId", "AKIAIOSFODNN7BOBBOBB")],
    );
    ask(
        &mut bench,
        &alice(),
        "DeleteUserPolicy",
        &[name, ("PolicyName", "policy")],
    );
    ask(&mut bench, &alice(), "DeleteUser", &[name]);
    ask(&mut bench, &alice(), "CreateUser", &[name]);
    let made = ask(&mut bench, &alice(), "CreateAccessKey", &[name]);
    let inside = |name: &str| {
        let rest = made.split_once(&format!("<{name}>")).unwrap().1;
        rest.split_once('<').unwrap().0.to_owned()
    };
    let keys = Keys {
        id: inside("AccessKeyId"),
        secret: Secret::new(inside("SecretAccessKey")),
        token: None,
    };
    assert_eq!(
        assume(&mut bench, &keys, "deploy"),
        "trust policy: no statement allows; Statement[0]: names another principal"
    );
    // The trust policy shows the id of the one that is gone.
    assert!(ask(&mut bench, &alice(), "GetRole", &role[..1]).contains("%22AIDA"));
    let off = [name, ("AccessKeyId", &keys.id), ("Status", "Inactive")];
    ask(&mut bench, &alice(), "UpdateAccessKey", &off);
    assert_eq!(
        assume(&mut bench, &keys, "deploy"),
        "The security token included in the request is invalid."
    );
}

#[test]
fn documents_are_judged() {
    let mut bench = Bench::of(WORLD);
    let mut create = |document: &str| {
        ask(
            &mut bench,
            &alice(),
            "CreateRole",
            &[("RoleName", "r"), ("AssumeRolePolicyDocument", document)],
        )
    };
    let trust = |principal: &str| {
        format!(r#"{{"Statement":{{"Effect":"Allow","Principal":{{"AWS":"{principal}"}},"Action":"sts:AssumeRole"}}}}"#)
    };
    assert_eq!(
        create(&trust("arn:aws:iam::123456789012:role/missing")),
        "400 MalformedPolicyDocument: Invalid principal in policy: \"AWS\":\"arn:aws:iam::123456789012:role/missing\""
    );
    assert_eq!(
        create(&trust("arn:aws:iam::123456789012:user/*")),
        "400 MalformedPolicyDocument: Invalid principal in policy: \"AWS\":\"arn:aws:iam::123456789012:user/*\""
    );
    assert_eq!(create("{"), "400 MalformedPolicyDocument: Syntax errors in policy.");
    assert!(create(&" ".repeat(10)).starts_with("400"));
    assert!(create(&trust(&"1".repeat(2_100))).starts_with("409 LimitExceeded"));
    // Of accounts that nobody knows, nobody can say who is there.
    assert!(create(&trust("arn:aws:iam::999999999999:role/any")).contains("CreateRoleResponse"));
}

#[test]
fn managed_policies_boundaries_and_profiles() {
    let mut bench = Bench::of(WORLD);
    let document = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"sts:*","Resource":"*"}}"#;
    let made = ask(
        &mut bench,
        &alice(),
        "CreatePolicy",
        &[("PolicyName", "p"), ("PolicyDocument", document)],
    );
    assert!(made.contains("<Arn>arn:aws:iam::123456789012:policy/p</Arn>"), "{made}");
    let role = ("RoleName", "deploy");
    let policy = ("PolicyArn", "arn:aws:iam::123456789012:policy/p");
    ask(
        &mut bench,
        &alice(),
        "CreateRole",
        &[role, ("AssumeRolePolicyDocument", TRUST_BOB)],
    );
    ask(&mut bench, &alice(), "AttachRolePolicy", &[role, policy]);
    assert!(ask(&mut bench, &alice(), "ListAttachedRolePolicies", &[role]).contains("<PolicyName>p</PolicyName>"));
    assert!(ask(&mut bench, &alice(), "DeletePolicy", &[policy]).starts_with("409 DeleteConflict"));
    let unknown = ("PolicyArn", "arn:aws:iam::aws:policy/ReadOnlyAccess");
    assert_eq!(
        ask(&mut bench, &alice(), "AttachRolePolicy", &[role, unknown]),
        "404 NoSuchEntity: Policy arn:aws:iam::aws:policy/ReadOnlyAccess does not exist or is not attachable."
    );
    let simulated = ask(
        &mut bench,
        &alice(),
        "SimulatePrincipalPolicy",
        &[
            ("PolicySourceArn", "arn:aws:iam::123456789012:role/deploy"),
            ("ActionNames.member.1", "sts:AssumeRole"),
            ("ActionNames.member.2", "s3:GetObject"),
        ],
    );
    let decisions: Vec<&str> = simulated
        .split("<EvalDecision>")
        .skip(1)
        .map(|rest| rest.split('<').next().unwrap())
        .collect();
    assert_eq!(decisions, ["allowed", "implicitDeny"]);
    let profile = ("InstanceProfileName", "deploy");
    ask(&mut bench, &alice(), "CreateInstanceProfile", &[profile]);
    ask(&mut bench, &alice(), "AddRoleToInstanceProfile", &[profile, role]);
    assert!(ask(&mut bench, &alice(), "AddRoleToInstanceProfile", &[profile, role]).starts_with("409 LimitExceeded"));
    assert!(ask(&mut bench, &alice(), "GetInstanceProfile", &[profile]).contains("<RoleName>deploy</RoleName>"));
    ask(&mut bench, &alice(), "DetachRolePolicy", &[role, policy]);
    assert!(ask(&mut bench, &alice(), "DeleteRole", &[role]).contains("must remove roles from instance profile first"));
}

#[test]
fn providers_of_tokens() {
    let mut bench = Bench::of(WORLD);
    let url = ("Url", "https://gitlab.example.com");
    let made = ask(
        &mut bench,
        &alice(),
        "CreateOpenIDConnectProvider",
        &[url, ("ClientIDList.member.1", "x")],
    );
    let arn = (
        "OpenIDConnectProviderArn",
        "arn:aws:iam::123456789012:oidc-provider/gitlab.example.com",
    );
    assert!(made.contains(arn.1), "{made}");
    assert!(ask(&mut bench, &alice(), "CreateOpenIDConnectProvider", &[url]).starts_with("409 EntityAlreadyExists"));
    assert!(
        ask(
            &mut bench,
            &alice(),
            "CreateOpenIDConnectProvider",
            &[("Url", "http://x")]
        )
        .starts_with("400 InvalidInput")
    );
    ask(
        &mut bench,
        &alice(),
        "AddClientIDToOpenIDConnectProvider",
        &[arn, ("ClientID", "y")],
    );
    let got = ask(&mut bench, &alice(), "GetOpenIDConnectProvider", &[arn]);
    assert!(
        got.contains("<member>x</member>") && got.contains("<member>y</member>"),
        "{got}"
    );
    assert!(ask(&mut bench, &alice(), "ListOpenIDConnectProviders", &[]).contains(arn.1));
    ask(&mut bench, &alice(), "DeleteOpenIDConnectProvider", &[arn]);
    assert!(ask(&mut bench, &alice(), "GetOpenIDConnectProvider", &[arn]).starts_with("404 NoSuchEntity"));
}

#[test]
fn the_scope_must_be_iams() {
    let bench = &mut Bench::of(WORLD);
    let mut request = bench.signed_for(&alice(), "Action=GetUser&Version=2010-05-08", "eu-central-1", "sts");
    request.headers[0].1 = "iam.amazonaws.com".to_owned();
    let received = front::receive(&request);
    match super::answer(&mut bench.state, bench.now, "GetUser", &request, &received) {
        Outcome::Refused { refusal, .. } => assert_eq!(
            refusal.message.as_deref(),
            Some(
                "Credential should be scoped to a valid region. Credential should be scoped to correct service: 'iam'. "
            )
        ),
        other => panic!("{other:?}"),
    }
}
