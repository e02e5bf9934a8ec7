use super::{Bench, alice};

const ROLE: &str = "RoleArn=arn:aws:iam::123456789012:role/team/deploy";

/// Code and text of the refusal, or `ok`.
fn refusal(form: &str) -> String {
    let bench = Bench::new();
    let request = bench.signed(&alice(), &format!("Action=AssumeRole&{form}"));
    match bench.outcome(&request) {
        super::Outcome::Refused { refusal, .. } => {
            format!(
                "{} {}: {}",
                refusal.status,
                refusal.code,
                refusal.message.unwrap_or_default()
            )
        }
        super::Outcome::Granted { .. } => "ok".to_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn missing_parameters_are_all_named() {
    insta::assert_snapshot!(refusal("x=y"), @"400 ValidationError: 2 validation errors detected: Value null at 'roleArn' failed to satisfy constraint: Member must not be null; Value null at 'roleSessionName' failed to satisfy constraint: Member must not be null");
    insta::assert_snapshot!(refusal(ROLE), @"400 ValidationError: 1 validation error detected: Value null at 'roleSessionName' failed to satisfy constraint: Member must not be null");
}

#[test]
fn a_pattern_is_named_before_a_length() {
    insta::assert_snapshot!(refusal(&format!("{ROLE}&RoleSessionName=%20")), @r"400 ValidationError: 2 validation errors detected: Value ' ' at 'roleSessionName' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]*; Value ' ' at 'roleSessionName' failed to satisfy constraint: Member must have length greater than or equal to 2");
    insta::assert_snapshot!(refusal(&format!("{ROLE}&RoleSessionName=")), @"400 ValidationError: 1 validation error detected: Value '' at 'roleSessionName' failed to satisfy constraint: Member must have length greater than or equal to 2");
    let long = "a".repeat(65);
    assert!(refusal(&format!("{ROLE}&RoleSessionName={long}")).ends_with("have length less than or equal to 64"));
    insta::assert_snapshot!(refusal(&format!("{ROLE}&RoleSessionName=job-1&ExternalId=a;")), @r"400 ValidationError: 1 validation error detected: Value 'a;' at 'externalId' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@:\/-]*");
    insta::assert_snapshot!(refusal(&format!("{ROLE}&RoleSessionName=job-1&SourceIdentity=aws:me")), @r"400 ValidationError: 1 validation error detected: Value 'aws:me' at 'sourceIdentity' failed to satisfy constraint: Member must satisfy regular expression pattern: [\w+=,.@-]*");
}

#[test]
fn length_counts_code_points() {
    let emoji = |count: usize| "%F0%9F%98%80".repeat(count);
    let at = refusal(&format!("RoleArn={}&RoleSessionName=job-1", emoji(2_048)));
    assert!(at.contains("1 validation error detected") && at.contains("regular expression pattern"));
    let over = refusal(&format!("RoleArn={}&RoleSessionName=job-1", emoji(2_049)));
    assert!(over.contains("2 validation errors detected") && over.contains("less than or equal to 2048"));
}

#[test]
fn a_text_that_is_no_arn_is_invalid() {
    insta::assert_snapshot!(refusal("RoleArn=deploy-deploy-deploy&RoleSessionName=job-1"), @"400 ValidationError: deploy-deploy-deploy is invalid");
    insta::assert_snapshot!(refusal("RoleArn=deploy&RoleSessionName=job-1"), @"400 ValidationError: 1 validation error detected: Value 'deploy' at 'roleArn' failed to satisfy constraint: Member must have length greater than or equal to 20");
}

#[test]
fn durations_are_read_as_java_does() {
    let with = |duration: &str| refusal(&format!("{ROLE}&RoleSessionName=job-1&DurationSeconds={duration}"));
    for good in ["900", "%2B900", "0900", "3600"] {
        assert_eq!(with(good), "ok", "{good}");
    }
    assert_eq!(with(""), "400 MalformedInput: missing value for decimal type");
    for bad in ["x", "1e3", "9000000000", "900.0"] {
        assert_eq!(with(bad), "400 MalformedInput: ", "{bad}");
    }
    insta::assert_snapshot!(with("899"), @"400 ValidationError: 1 validation error detected: Value '899' at 'durationSeconds' failed to satisfy constraint: Member must have value greater than or equal to 900");
    insta::assert_snapshot!(with("43201"), @"400 ValidationError: 1 validation error detected: Value '43201' at 'durationSeconds' failed to satisfy constraint: Member must have value less than or equal to 43200");
    // The range of the model comes before the role's own maximum.
    insta::assert_snapshot!(with("3601"), @"400 ValidationError: The requested DurationSeconds exceeds the MaxSessionDuration set for this role.");
}

#[test]
fn tags_and_session_policies_are_checked() {
    let with = |more: &str| refusal(&format!("{ROLE}&RoleSessionName=job-1&{more}"));
    let tag = |at: u32, key: &str| format!("Tags.member.{at}.Key={key}&Tags.member.{at}.Value=v&");
    insta::assert_snapshot!(with(&(tag(1, "Team") + &tag(2, "team"))), @"400 InvalidParameterValue: Duplicate tag keys found. Please note that Tag keys are case insensitive.");
    insta::assert_snapshot!(with(&(tag(1, "Team") + "TransitiveTagKeys.member.1=cost")), @"400 InvalidParameterValue: The specified transitive tag key must be included in the requested tags.");
    insta::assert_snapshot!(with("Policy=nonsense"), @"400 MalformedPolicyDocument: Syntax errors in policy.");
    let arns = |count: usize| -> String {
        (1..=count)
            .map(|n| format!("PolicyArns.member.{n}.arn=arn:aws:iam::aws:policy/p{n}&"))
            .collect()
    };
    assert_eq!(with(&arns(10)), "ok");
    insta::assert_snapshot!(with(&arns(11)), @"400 ValidationError: 1 validation error detected: Value 'policyArns' at 'policyArns' failed to satisfy constraint: Member must have length less than or equal to 10");
    insta::assert_snapshot!(with("PolicyArns.member.1.arn=ReadOnly"), @"400 ValidationError: 1 validation error detected: Value 'ReadOnly' at 'policyArns.1.member.arn' failed to satisfy constraint: Member must have length greater than or equal to 20");
    insta::assert_snapshot!(with("PolicyArns.member.1.arn=ReadOnlyAccessOfEverything"), @"400 ValidationError: ReadOnlyAccessOfEverything is invalid");
    insta::assert_snapshot!(with("SerialNumber=arn:aws:iam::123456789012:mfa/alice&TokenCode=123456"), @"403 AccessDenied: MultiFactorAuthentication failed, unable to validate MFA code.  Please verify your MFA serial number is valid and associated with this user.");
}
