//! What a runner's deployment gets wrong: each of these must turn red, and its remedy green.

use serde_json::{Value, json};

use super::{broken, own, subject, token, trusting};
use crate::lint::{RULES, Settings, explain, judge};

const ISSUER: &str = "gitlab.example.com";
const SUB: &str = "project_path:group/app:ref_type:branch:ref:main";

fn rules(document: &Value, settings: &Settings) -> Vec<&'static str> {
    let findings = judge("p.json", &document.to_string(), settings).unwrap();
    findings.iter().map(|one| one.rule.id).collect()
}

#[test]
fn a_jobs_role_is_not_an_instances_as_well() {
    let root = trusting(json!({ "AWS": "arn:aws:iam::123456789012:root" }), json!({}));
    let ec2 = trusting(json!({ "Service": "ec2.amazonaws.com" }), json!({}));
    let both = json!({ "Statement": [root, ec2] });
    assert_eq!(rules(&both, &own()), ["service-beside-callers", "trust-account-root"]);
    let federated = json!({ "Statement": [subject("StringEquals", SUB), ec2] });
    assert_eq!(rules(&federated, &own()), ["service-beside-callers"]);
    let one = trusting(
        json!({ "AWS": "arn:aws:iam::123456789012:role/host", "Service": "ec2.amazonaws.com" }),
        json!({}),
    );
    assert_eq!(broken(one), ["service-beside-callers"]);
    let denied = json!({ "Statement": [ec2, { "Effect": "Deny", "Principal": { "AWS": "*" }, "Action": "sts:*" }] });
    assert_eq!(rules(&denied, &own()), [""; 0]);
}

#[test]
fn every_way_to_write_any_role_is_found() {
    for (element, action) in [
        ("Action", "sts:AssumeRole"),
        ("Action", "sts:Assume*"),
        ("Action", "STS:*role"),
        ("Action", "*"),
        ("NotAction", "iam:*"),
    ] {
        for (place, resource) in [
            ("Resource", "*"),
            ("Resource", "arn:aws:iam::*:role/*"),
            ("Resource", "arn:aws:iam::123456789012:*"),
            ("NotResource", "arn:aws:iam::123456789012:role/admin"),
        ] {
            let statement = json!({ "Effect": "Allow", element: action, place: resource });
            assert_eq!(broken(statement.clone()), ["assume-any-role"], "{statement}");
        }
    }
    let named = json!({ "Effect": "Allow", "Action": "*", "Resource": "arn:aws:iam::123456789012:role/job-*" });
    assert_eq!(broken(named), [""; 0]);
    let other = json!({ "Effect": "Allow", "NotAction": "sts:*", "Resource": "*" });
    assert_eq!(broken(other), [""; 0]);
}

#[test]
fn an_instance_may_assume_roles_and_pull_images() {
    let judge = |action: Value, allowed: &[&str]| {
        let settings = Settings {
            instance: true,
            allowed: allowed.iter().map(|one| (*one).to_owned()).collect(),
            ..own()
        };
        let resource = "arn:aws:iam::123456789012:role/job";
        rules(
            &json!({ "Statement": { "Effect": "Allow", "Action": action, "Resource": resource } }),
            &settings,
        )
    };
    assert_eq!(
        judge(json!(["sts:AssumeRole", "sts:TagSession", "ecr:BatchGetImage"]), &[]),
        [""; 0]
    );
    for beyond in ["s3:GetObject", "ecr:*", "*", "sts:*", "ecr:PutImage"] {
        assert_eq!(
            judge(json!(["sts:AssumeRole", beyond]), &[]),
            ["instance-rights"],
            "{beyond}"
        );
    }
    assert_eq!(judge(json!("s3:GetObject"), &["S3:Get*"]), [""; 0]);
    assert_eq!(judge(json!("s3:*"), &["s3:Get*"]), ["instance-rights"]);
    let except = json!({ "Statement": { "Effect": "Allow", "NotAction": "sts:*", "Resource": "*" } });
    let instance = Settings {
        instance: true,
        ..own()
    };
    assert_eq!(rules(&except, &instance), ["instance-rights"]);
    assert_eq!(rules(&except, &own()), [""; 0]);
}

#[test]
fn what_the_role_of_an_instance_has_is_found_in_plans_and_templates() {
    let s3 = r#"{"Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;
    let ssm = "arn:aws:iam::aws:policy/AmazonSSMManagedInstanceCore";
    let pull = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly";
    let role = |name: &str| {
        [
            json!({ "address": format!("aws_iam_role.{name}"), "type": "aws_iam_role", "values": { "name": name, "managed_policy_arns": [ssm, pull] } }),
            json!({ "address": format!("aws_iam_role_policy.{name}"), "type": "aws_iam_role_policy", "values": { "role": name, "policy": s3 } }),
            json!({ "address": format!("aws_iam_role_policy_attachment.{name}"), "type": "aws_iam_role_policy_attachment", "values": { "role": name, "policy_arn": ssm } }),
        ]
    };
    let profile = json!({ "address": "aws_iam_instance_profile.p", "type": "aws_iam_instance_profile", "values": { "role": "host" } });
    let resources: Vec<Value> = role("host").into_iter().chain(role("job")).chain([profile]).collect();
    let plan = json!({ "planned_values": { "root_module": { "resources": resources } } });
    let told = |document: &Value, settings: &Settings| -> Vec<String> {
        let findings = judge("f", &document.to_string(), settings).unwrap();
        findings
            .iter()
            .map(|one| format!("{} {}", one.place, one.rule.id))
            .collect()
    };
    assert_eq!(
        told(&plan, &own()),
        [
            "aws_iam_role_policy.host.Statement[0].Action instance-rights",
            "aws_iam_role.host instance-rights",
            "aws_iam_role_policy_attachment.host instance-rights",
        ]
    );
    let allowed = Settings {
        allowed: vec!["s3:*".to_owned(), ssm.to_owned()],
        ..own()
    };
    assert_eq!(told(&plan, &allowed), [""; 0]);
    let policy = json!({ "Statement": { "Effect": "Allow", "Action": "s3:*", "Resource": "*" } });
    let template = json!({ "Resources": {
        "Host": { "Type": "AWS::IAM::Role", "Properties": { "ManagedPolicyArns": [ssm, pull], "Policies": [{ "PolicyDocument": policy }] } },
        "Job": { "Type": "AWS::IAM::Role", "Properties": { "ManagedPolicyArns": [ssm], "Policies": [{ "PolicyDocument": policy }] } },
        "More": { "Type": "AWS::IAM::Policy", "Properties": { "Roles": [{ "Ref": "Host" }], "PolicyDocument": policy } },
        "Profile": { "Type": "AWS::IAM::InstanceProfile", "Properties": { "Roles": [{ "Ref": "Host" }] } },
    } });
    assert_eq!(
        told(&template, &own()),
        [
            "Resources.Host.Policies[0].Statement[0].Action instance-rights",
            "Resources.More.PolicyDocument.Statement[0].Action instance-rights",
            "Resources.Host.ManagedPolicyArns instance-rights",
        ]
    );
}

#[test]
fn trusts_of_tokens_that_let_others_in_are_red() {
    let aud = json!({ "gitlab.example.com:aud": "https://gitlab.example.com" });
    let only = |operator: &str, value: Value| {
        let mut condition = json!({ "StringEquals": aud });
        condition[operator][format!("{ISSUER}:sub")] = value;
        token(condition)
    };
    for (what, statement, rule) in [
        ("no sub", token(json!({ "StringEquals": aud })), "oidc-no-sub"),
        (
            "no aud",
            token(json!({ "StringEquals": { "gitlab.example.com:sub": SUB } })),
            "oidc-no-aud",
        ),
        (
            "a group",
            only("StringLike", json!("project_path:group/*")),
            "oidc-wildcard-wide",
        ),
        (
            "a prefix",
            only("StringLike", json!("project_path:group/app*")),
            "oidc-wildcard-delimiter",
        ),
        (
            "any ref",
            only("StringLike", json!("project_path:group/app:ref_type:*")),
            "oidc-wildcard-wide",
        ),
        (
            "any project",
            only("StringLike", json!("*:ref:main")),
            "oidc-wildcard-delimiter",
        ),
        ("anything", only("StringLike", json!("*")), "oidc-wildcard-delimiter"),
        (
            "ForAllValues alone",
            only("ForAllValues:StringEquals", json!(SUB)),
            "condition-vacuous",
        ),
        (
            "ForAllValues as sub",
            only("ForAllValues:StringEquals", json!(SUB)),
            "condition-lenient",
        ),
        (
            "IfExists",
            only("StringEqualsIfExists", json!(SUB)),
            "condition-lenient",
        ),
        (
            "IfExists of patterns",
            only("StringLikeIfExists", json!(SUB)),
            "condition-lenient",
        ),
        ("a negation", only("StringNotEquals", json!(SUB)), "condition-lenient"),
        (
            "a negated pattern",
            only("StringNotLike", json!("project_path:evil:*")),
            "condition-lenient",
        ),
        ("Null alone", only("Null", json!("false")), "condition-lenient"),
        (
            "an assertion for anybody",
            json!({ "Effect": "Allow", "Principal": { "Federated": "arn:aws:iam::123456789012:saml-provider/corp" }, "Action": "sts:AssumeRoleWithSAML" }),
            "saml-no-aud",
        ),
    ] {
        let found = broken(statement);
        assert!(found.contains(&rule), "{what}: {found:?}");
    }
    // Names of condition keys have no case.
    let upper = token(json!({ "StringEquals": { "gitlab.example.com:AUD": "x", "gitlab.example.com:Sub": SUB } }));
    assert_eq!(broken(upper), [""; 0]);
}

#[test]
fn each_rule_says_why_it_is_there() {
    for rule in RULES {
        let text = explain(rule.id).unwrap();
        assert!(
            text.starts_with(rule.id) && text.contains(rule.title) && rule.why.ends_with('.'),
            "{text}"
        );
    }
    assert_eq!(explain("no-such"), None);
    insta::assert_snapshot!(explain("oidc-no-sub").unwrap(), @r"
    oidc-no-sub (error): A token's subject is asked for.

    Without PROVIDER:sub each job of each project that the issuer knows gets the role; with gitlab.com as the issuer, everybody's.
    ");
}
