use proptest::prelude::*;
use serde_json::{Value, json};

mod posture;

use super::{Format, RULES, Settings, judge, write};

fn own() -> Settings {
    Settings {
        account: Some("123456789012".to_owned()),
        ..Settings::default()
    }
}

/// The rules that a trust or identity statement breaks.
fn broken(statement: Value) -> Vec<&'static str> {
    let document = json!({ "Version": "2012-10-17", "Statement": [statement] });
    let findings = judge("p.json", &document.to_string(), &own()).unwrap();
    findings.iter().map(|one| one.rule.id).collect()
}

fn token(condition: Value) -> Value {
    json!({
        "Effect": "Allow",
        "Principal": { "Federated": "arn:aws:iam::123456789012:oidc-provider/gitlab.example.com" },
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": condition,
    })
}

fn subject(operator: &str, sub: &str) -> Value {
    let mut condition = json!({ "StringEquals": { "gitlab.example.com:aud": "https://gitlab.example.com" } });
    condition[operator]["gitlab.example.com:sub"] = json!(sub);
    token(condition)
}

fn trusting(principal: Value, condition: Value) -> Value {
    json!({ "Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", "Condition": condition })
}

#[test]
fn what_means_one_caller_is_left_alone() {
    for statement in [
        subject("StringEquals", "project_path:group/app:ref_type:branch:ref:main"),
        trusting(json!({ "AWS": "arn:aws:iam::123456789012:role/host" }), json!({})),
        trusting(json!({ "Service": "ec2.amazonaws.com" }), json!({})),
        trusting(
            json!({ "AWS": "arn:aws:iam::222222222222:role/partner" }),
            json!({ "StringEquals": { "sts:ExternalId": "secret-7" } }),
        ),
        trusting(
            json!("*"),
            json!({ "ArnEquals": { "aws:PrincipalArn": "arn:aws:iam::123456789012:role/host" } }),
        ),
        json!({ "Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "arn:aws:iam::123456789012:role/deploy" }),
        json!({ "Effect": "Deny", "Principal": "*", "Action": "sts:*" }),
    ] {
        assert_eq!(broken(statement.clone()), [""; 0], "{statement}");
    }
}

#[test]
fn each_rule_finds_what_it_is_for() {
    let sub = "project_path:group/app:ref_type:branch:ref:main";
    let aud = json!({ "gitlab.example.com:aud": "https://gitlab.example.com" });
    for (statement, wanted) in [
        (trusting(json!("*"), json!({})), vec!["trust-anyone"]),
        (
            trusting(
                json!({ "AWS": "*" }),
                json!({ "StringEquals": { "aws:PrincipalOrgID": "*" } }),
            ),
            vec!["trust-anyone"],
        ),
        (
            trusting(json!({ "AWS": "123456789012" }), json!({})),
            vec!["trust-account-root"],
        ),
        (
            trusting(json!({ "AWS": "arn:aws:iam::222222222222:root" }), json!({})),
            vec!["trust-account-root", "trust-external-id"],
        ),
        (
            trusting(
                json!({ "AWS": "arn:aws:iam::222222222222:role/x" }),
                json!({ "StringLike": { "sts:ExternalId": "*" } }),
            ),
            vec!["trust-external-id"],
        ),
        (token(json!({ "StringEquals": aud })), vec!["oidc-no-sub"]),
        (
            token(json!({ "StringEquals": { "gitlab.example.com:sub": sub } })),
            vec!["oidc-no-aud"],
        ),
        (
            subject("StringLike", "project_path:group/app*"),
            vec!["oidc-wildcard-delimiter"],
        ),
        (subject("StringLike", "*:ref:main"), vec!["oidc-wildcard-delimiter"]),
        (
            subject("StringLike", "project_path:group/app:ref_type:branch:ref:release-*"),
            vec!["oidc-wildcard-delimiter"],
        ),
        (
            subject("StringLike", "project_path:group/*"),
            vec!["oidc-wildcard-wide"],
        ),
        (
            subject("StringLike", "project_path:group/app:ref_type:*:ref:main"),
            vec!["oidc-wildcard-wide"],
        ),
        (subject("StringEquals", "project_path:group/*"), vec!["oidc-never"]),
        (
            subject("StringEquals", "project_path:group/app:ref_type:mr:ref:main"),
            vec!["oidc-never"],
        ),
        (subject("StringEqualsIfExists", sub), vec!["condition-lenient"]),
        (subject("StringNotEquals", sub), vec!["condition-lenient"]),
        (
            token(
                json!({ "StringEquals": { "gitlab.example.com:aud": "x", "gitlab.example.com:sub": sub, "gitlab.example.com:ref_protected": "true" } }),
            ),
            vec!["oidc-custom-claim"],
        ),
        (
            trusting(
                json!({ "AWS": "arn:aws:iam::123456789012:role/h" }),
                json!({ "ForAllValues:StringEquals": { "aws:TagKeys": "a" } }),
            ),
            vec!["condition-vacuous"],
        ),
        (
            trusting(
                json!({ "AWS": "arn:aws:iam::123456789012:role/h" }),
                json!({ "ForAllValues:StringEquals": { "aws:TagKeys": "a" }, "Null": { "aws:TagKeys": "false" } }),
            ),
            vec![],
        ),
        (
            json!({ "Effect": "Allow", "Action": ["s3:Get*", "sts:AssumeRole"], "Resource": "*" }),
            vec!["assume-any-role"],
        ),
        (
            json!({ "Effect": "Allow", "Action": "*", "Resource": "arn:aws:iam::123456789012:role/*" }),
            vec!["assume-any-role"],
        ),
        (
            subject("StringLike", "project_path:group/app:ref_type:branch:ref:v?"),
            vec!["oidc-wildcard-wide"],
        ),
        (
            trusting(
                json!({ "Service": ["ec2.amazonaws.com", "ecs-tasks.amazonaws.com"] }),
                json!({}),
            ),
            vec!["service-principal"],
        ),
        (
            trusting(json!({ "Service": "ec2" }), json!({})),
            vec!["service-principal"],
        ),
        (
            trusting(json!({ "AWS": "arn:aws:iam::123456789012:role/*" }), json!({})),
            vec!["policy-syntax"],
        ),
    ] {
        assert_eq!(broken(statement.clone()), wanted, "{statement}");
    }
}

#[test]
fn without_an_account_none_is_foreign() {
    let document = json!({ "Statement": trusting(json!({ "AWS": "arn:aws:iam::222222222222:role/x" }), json!({})) });
    assert_eq!(
        judge("p.json", &document.to_string(), &Settings::default()),
        Ok(Vec::new())
    );
}

#[test]
fn policies_are_found_in_a_terraform_plan() {
    let wide = r#"{"Statement":[{"Effect":"Allow","Principal":{"Service":["ec2.amazonaws.com","lambda.amazonaws.com"]},"Action":"sts:AssumeRole"}]}"#;
    let any = r#"{"Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}]}"#;
    let resources = json!([
        { "address": "aws_iam_role.host", "type": "aws_iam_role", "values": { "name": "host", "assume_role_policy": wide, "inline_policy": [{ "name": "x", "policy": any }] } },
        { "address": "aws_iam_instance_profile.host", "type": "aws_iam_instance_profile", "values": { "role": "host" } },
        { "address": "aws_iam_policy.any", "type": "aws_iam_policy", "values": { "policy": any } },
        { "address": "aws_s3_bucket.b", "type": "aws_s3_bucket", "values": { "policy": "?" } },
    ]);
    let plan = json!({ "planned_values": { "root_module": { "child_modules": [{ "resources": resources }] } } });
    let changes: Vec<Value> = resources
        .as_array()
        .unwrap()
        .iter()
        .map(|one| json!({ "address": one["address"], "type": one["type"], "change": { "after": one["values"] } }))
        .collect();
    for plan in [plan, json!({ "resource_changes": changes })] {
        let findings = judge("plan.json", &plan.to_string(), &own()).unwrap();
        let told: Vec<String> = findings
            .iter()
            .map(|one| format!("{} {}", one.place, one.rule.id))
            .collect();
        assert_eq!(
            told,
            [
                "aws_iam_role.host.Statement[0].Principal.Service service-principal",
                "aws_iam_role.host.inline_policy.Statement[0].Resource assume-any-role",
                "aws_iam_policy.any.Statement[0].Resource assume-any-role",
            ]
        );
        assert!(findings[0].problem.starts_with("an instance profile holds the role"));
    }
}

#[test]
fn policies_are_found_in_a_template() {
    let template = r#"
Resources:
  Deploy:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: "2012-10-17"
        Statement:
          - Effect: Allow
            Principal:
              Federated: !Sub "arn:aws:iam::${AWS::AccountId}:oidc-provider/gitlab.example.com"
            Action: sts:AssumeRoleWithWebIdentity
            Condition:
              StringLike:
                "gitlab.example.com:sub": "project_path:group/app*"
      Policies:
        - PolicyName: p
          PolicyDocument:
            Statement:
              Effect: Allow
              Action: "*"
              Resource: "*"
  Bucket:
    Type: AWS::S3::Bucket
"#;
    let findings = judge("t.yaml", template, &own()).unwrap();
    insta::assert_snapshot!(write(&findings, Format::Text), @r"
    t.yaml: warning Resources.Deploy.AssumeRolePolicyDocument.Statement[0].Condition [oidc-no-aud]
      no condition asks for the token's audience: any token of the issuer with the right rest is enough
      hint: add StringEquals on PROVIDER:aud
    t.yaml: error Resources.Deploy.AssumeRolePolicyDocument.Statement[0].Condition [oidc-wildcard-delimiter]
      project_path:group/app*: what stands before * may go on, so project_path:group/appevil matches as well
      hint: end it with a delimiter (: or /) before the *, or spell it out
    t.yaml: error Resources.Deploy.Policies[0].Statement[0].Resource [assume-any-role]
      every role that trusts this account may be assumed
      hint: name the roles
    2 errors, 1 warning
    ");
    // Functions in JSON stand for texts too.
    let joined = json!({ "Resources": { "R": { "Type": "AWS::IAM::Role", "Properties": { "AssumeRolePolicyDocument": {
        "Statement": { "Effect": "Allow", "Action": "sts:AssumeRole",
            "Principal": { "AWS": { "Fn::Join": [":", ["arn", "aws", "iam", "", { "Ref": "AWS::AccountId" }, "root"]] } } } } } } } });
    let findings = judge("t.json", &joined.to_string(), &own()).unwrap();
    let told: Vec<&str> = findings.iter().map(|one| one.rule.id).collect();
    assert!(told.contains(&"trust-account-root"), "{told:?}");
}

#[test]
fn sarif_names_every_rule_and_result() {
    let document = json!({ "Statement": trusting(json!("*"), json!({})) });
    let findings = judge("p.json", &document.to_string(), &own()).unwrap();
    let sarif: Value = serde_json::from_str(&write(&findings, Format::Sarif)).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let run = &sarif["runs"][0];
    assert_eq!(run["tool"]["driver"]["rules"].as_array().unwrap().len(), RULES.len());
    assert_eq!(run["results"][0]["ruleId"], "trust-anyone");
    assert_eq!(
        run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"],
        "p.json"
    );
    let json: Value = serde_json::from_str(&write(&findings, Format::Json)).unwrap();
    assert_eq!(json["findings"][0]["severity"], "error");
    let mut ids: Vec<&str> = RULES.iter().map(|rule| rule.id).collect();
    ids.dedup();
    assert_eq!(ids.len(), RULES.len());
}

#[test]
fn files_without_policies_say_what_was_looked_for() {
    for (text, wanted) in [
        ("{", "is not JSON"),
        ("{}", "has neither a Statement"),
        ("a: [", "neither JSON nor YAML"),
    ] {
        assert!(judge("x", text, &own()).unwrap_err().contains(wanted), "{text}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_linter_panic(text in "\\PC{0,80}", sub in "[ -~]{0,30}", operator in "[A-Za-z:]{0,20}") {
        let _ = judge("x", &text, &own());
        let document = json!({ "Statement": [token(json!({ operator: { "gitlab.example.com:sub": sub } }))] });
        let _ = judge("x", &document.to_string(), &own());
    }
}
