use fake_kit::seed::Seed;

use super::{Bench, Keys, alice, bob};
use crate::provenance::{self, Via};
use crate::refusal::Refusal;
use crate::state::Session;

const DENIED: &str = "AccessDenied";

/// Code, text for the client, and the true reason.
fn why(result: Result<Session, Refusal>) -> (String, String, String) {
    let refusal = result.unwrap_err();
    (
        refusal.code,
        refusal.message.unwrap_or_default(),
        refusal.denied_by.unwrap_or_default(),
    )
}

#[test]
fn a_user_needs_its_own_policy_where_the_trust_names_the_account() {
    let mut bench = Bench::new();
    assert!(bench.assume(&alice(), "123456789012:role/team/deploy", "").is_ok());
    let (code, text, reason) = why(bench.assume(&bob(), "123456789012:role/team/deploy", ""));
    assert_eq!(code, DENIED);
    insta::assert_snapshot!(text, @"User: arn:aws:iam::123456789012:user/bob is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::123456789012:role/team/deploy");
    insta::assert_snapshot!(reason, @"identity policy: no statement allows the action");
    let (_, _, reason) = why(bench.assume(&alice(), "123456789012:role/long", ""));
    insta::assert_snapshot!(reason, @"identity policy: no statement allows; Statement[0]: another resource");
}

#[test]
fn every_refusal_has_the_same_text() {
    let mut bench = Bench::new();
    let host = bench.host();
    let reasons: Vec<String> = ["missing", "shut", "forbidden", "partner", "deploy"]
        .iter()
        .map(|role| {
            let (code, text, reason) = why(bench.assume(&host, &format!("123456789012:role/{role}"), ""));
            assert_eq!(code, DENIED);
            assert_eq!(
                text,
                format!(
                    "User: arn:aws:sts::123456789012:assumed-role/lab-host/job-1 is not authorized to perform: sts:AssumeRole on resource: arn:aws:iam::123456789012:role/{role}"
                )
            );
            reason
        })
        .collect();
    insta::assert_snapshot!(reasons.join("\n"), @"
    no such role
    trust policy: explicit deny in Statement[1]
    identity policy: explicit deny in never
    trust policy: no statement allows; Statement[0]: StringEquals sts:externalid does not hold: the request has no such key, the policy wants secret-7
    no such role
    ");
    let (code, _, reason) = why(bench.assume(&host, "123456789012:user/alice", ""));
    assert_eq!((code.as_str(), reason.as_str()), (DENIED, "no role has this ARN"));
}

#[test]
fn the_external_id_must_be_the_agreed_one() {
    let mut bench = Bench::new();
    let host = bench.host();
    assert_eq!(
        why(bench.assume(&host, "123456789012:role/partner", "&ExternalId=guess")).0,
        DENIED
    );
    let session = bench
        .assume(&host, "123456789012:role/partner", "&ExternalId=secret-7")
        .unwrap();
    let told = provenance::decode(session.token.expose()).unwrap();
    assert_eq!(told.external_id.as_deref(), Some("secret-7"));
    assert_eq!(told.role_arn, "arn:aws:iam::123456789012:role/partner");
    assert_eq!(told.requester, "arn:aws:sts::123456789012:assumed-role/lab-host/job-1");
    assert_eq!(told.requester_key, host.id);
    assert_eq!((told.via, told.duration_seconds), (Via::AssumeRole, 3_600));
}

#[test]
fn another_account_needs_both_policies() {
    let mut bench = Bench::new();
    // The trust names bob himself, yet bob's account has not allowed it.
    let (code, _, reason) = why(bench.assume(&bob(), "999999999999:role/abroad", ""));
    assert_eq!(code, DENIED);
    insta::assert_snapshot!(reason, @"identity policy: no statement allows the action");
}

#[test]
fn durations_are_capped_by_role_and_by_chaining_in_this_order() {
    let mut bench = Bench::new();
    let host = bench.host();
    let ask = |bench: &mut Bench, seconds: u32| {
        why(bench.assume(&host, "123456789012:role/long", &format!("&DurationSeconds={seconds}"))).1
    };
    insta::assert_snapshot!(ask(&mut bench, 7_201), @"The requested DurationSeconds exceeds the MaxSessionDuration set for this role.");
    insta::assert_snapshot!(ask(&mut bench, 7_200), @"The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining.");
    assert!(
        bench
            .assume(&host, "123456789012:role/long", "&DurationSeconds=3600")
            .is_ok()
    );
}

#[test]
fn a_session_ends_with_its_time() {
    let mut bench = Bench::new();
    let keys = Keys::from(
        &bench
            .assume(&alice(), "123456789012:role/team/deploy", "&DurationSeconds=900")
            .unwrap(),
    );
    bench.pass(899);
    let request = bench.signed(&keys, "Action=GetCallerIdentity");
    assert!(bench.text(&request).starts_with("200\n"));
    bench.pass(1);
    let request = bench.signed(&keys, "Action=GetCallerIdentity");
    assert!(bench.text(&request).contains("<Code>ExpiredToken</Code>"));
}

#[test]
fn a_session_ends_with_its_role() {
    let mut bench = Bench::new();
    let keys = Keys::from(&bench.assume(&alice(), "123456789012:role/team/deploy", "").unwrap());
    let gone = bench.state.world.delete_role("123456789012", "deploy").unwrap();
    let request = bench.signed(&keys, "Action=GetCallerIdentity");
    assert!(bench.text(&request).contains("<Code>InvalidClientTokenId</Code>"));
    bench.state.world.put_role(gone, &Seed::default());
    assert!(bench.text(&request).contains("<Code>InvalidClientTokenId</Code>"));
}

#[test]
fn a_session_policy_narrows_what_its_session_may_do() {
    let mut bench = Bench::new();
    let policy = "%7B%22Statement%22%3A%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22s3%3A%2A%22%2C%22Resource%22%3A%22%2A%22%7D%7D";
    let more = format!("&Policy={policy}");
    let keys = Keys::from(&bench.assume(&alice(), "123456789012:role/lab-host", &more).unwrap());
    let (code, _, reason) = why(bench.assume(&keys, "123456789012:role/long", ""));
    assert_eq!(code, DENIED);
    insta::assert_snapshot!(reason, @"session policy: no statement allows the action");
}

#[test]
fn a_managed_session_policy_is_told_and_allows_nothing_that_is_not_known() {
    let mut bench = Bench::new();
    let more = "&PolicyArns.member.1.arn=arn:aws:iam::aws:policy/ReadOnlyAccess&DurationSeconds=900";
    let session = bench.assume(&alice(), "123456789012:role/lab-host", more).unwrap();
    let told = provenance::decode(session.token.expose()).unwrap();
    assert_eq!(told.policy_arns, ["arn:aws:iam::aws:policy/ReadOnlyAccess"]);
    assert_eq!((told.policy_sha256, told.duration_seconds), (None, 900));
    let (code, _, reason) = why(bench.assume(&Keys::from(&session), "123456789012:role/long", ""));
    assert_eq!(code, DENIED);
    insta::assert_snapshot!(reason, @"session policy: this fake does not know what arn:aws:iam::aws:policy/ReadOnlyAccess says");
}

#[test]
fn source_identity_and_transitive_tags_are_handed_on() {
    let mut bench = Bench::new();
    let more = "&SourceIdentity=alice&Tags.member.1.Key=Team&Tags.member.1.Value=blue&TransitiveTagKeys.member.1=Team";
    let keys = Keys::from(&bench.assume(&alice(), "123456789012:role/lab-host", more).unwrap());
    let session = bench.assume(&keys, "123456789012:role/team/deploy", "").unwrap();
    assert_eq!(session.source_identity.as_deref(), Some("alice"));
    assert_eq!(session.tags.get("Team").map(String::as_str), Some("blue"));
    let (code, text, _) = why(bench.assume(&keys, "123456789012:role/team/deploy", "&SourceIdentity=bob"));
    assert_eq!(
        (code.as_str(), text.as_str()),
        (
            "ValidationError",
            "The source identity is already set for this assume role session"
        )
    );
    let again = "&Tags.member.1.Key=team&Tags.member.1.Value=red";
    assert_eq!(
        why(bench.assume(&keys, "123456789012:role/team/deploy", again)).0,
        "InvalidParameterValue"
    );
    // The next role lets nobody tag a session, not even hand a tag on.
    insta::assert_snapshot!(why(bench.assume(&keys, "123456789012:role/long", "")).1, @"User: arn:aws:sts::123456789012:assumed-role/lab-host/job-1 is not authorized to perform: sts:TagSession on resource: arn:aws:iam::123456789012:role/long");
}

#[test]
fn a_permissive_fake_grants_any_role_but_checks_signatures() {
    let mut bench = Bench::new();
    bench.state.permissive = true;
    let session = bench.assume(&bob(), "123456789012:role/any/where", "").unwrap();
    assert_eq!(session.arn, "arn:aws:sts::123456789012:assumed-role/where/job-1");
    let keys = Keys::from(&session);
    let request = bench.signed(&keys, "Action=GetCallerIdentity");
    assert!(bench.text(&request).starts_with("200\n"));
    let forged = Keys {
        secret: alice().secret,
        ..bob()
    };
    assert_eq!(
        why(bench.assume(&forged, "123456789012:role/any/where", "")).0,
        "SignatureDoesNotMatch"
    );
}
