//! Judgement, tables and documents; `asked` has a server on the loopback interface be audited, `secrecy` looks for secrets in what is told.

mod asked;
mod secrecy;

use std::time::Duration;

use jiff::Timestamp;

use super::judge::{self, Got, Outcome, Plain};
use super::report::{Expected, Finding, Misunderstood, Report, State};
use super::surroundings::Surroundings;
use super::way::{self, Way, beside, held};
use super::{Audit, Places, inside, plan, table};
use crate::probe::bytes::Base64;
use crate::probe::protocol::{Connect, End, HttpAnswer};
use crate::report::table::Colour;
use crate::verdict::Verdict;

const NOW: &str = "2026-11-23T10:00:00Z";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

fn answer(status: u16, body: &str) -> HttpAnswer {
    HttpAnswer {
        connect: Connect::Ok,
        status: Some(status),
        headers: Vec::new(),
        body: Base64::from(body),
        raw: Base64::from("HTTP/1.1"),
        end: Some(End::Eof),
    }
}

fn credentials(id: &str) -> String {
    format!(
        r#"{{"Code":"Success","AccessKeyId":"{id}","SecretAccessKey":"{SECRET}","Token":"IQoJb3JpZ2luX2VjEXAMPLE","Expiration":"2026-11-23T16:00:00Z"}}"#
    )
}

fn audit<'a>(places: &'a Places, around: &'a Surroundings, expected: Option<&str>, allowed: &[&str]) -> Audit<'a> {
    let allowed: Vec<String> = allowed.iter().map(|name| (*name).to_owned()).collect();
    Audit {
        places,
        around,
        expected: Expected::of(expected, &allowed).unwrap(),
        identify: false,
        now: now(),
    }
}

fn report_of(outcomes: Vec<(Way, Outcome)>, expected: Option<&str>, allowed: &[&str]) -> Report {
    let (places, around) = (Places::real(), Surroundings::default());
    Report::of(
        &audit(&places, &around, expected, allowed),
        outcomes,
        Duration::from_millis(1_250),
    )
}

fn of<'r>(report: &'r Report, way: &str) -> &'r Finding {
    report.ways.iter().find(|finding| finding.way == way).unwrap()
}

fn told(report: &Report, way: &str) -> (String, State) {
    let finding = of(report, way);
    let verdict = finding.verdict.as_ref().map(ToString::to_string);
    (verdict.unwrap_or_default(), finding.state)
}

#[test]
fn an_answer_is_one_of_the_designs_words() {
    let words = |answer: &HttpAnswer| match judge::roles(answer, None, now()).got {
        Got::Word(verdict) => verdict.to_string(),
        other => format!("{other:?}"),
    };
    let without = |connect, end| HttpAnswer {
        connect,
        status: None,
        raw: Base64::default(),
        end,
        ..answer(200, "")
    };
    assert_eq!(words(&without(Connect::Refused, None)), "BLOCKED");
    assert_eq!(words(&without(Connect::Unreachable, None)), "BLOCKED");
    assert_eq!(words(&without(Connect::Ok, Some(End::Timeout))), "SILENT");
    assert_eq!(words(&without(Connect::Ok, Some(End::Reset))), "DENY");
    assert_eq!(words(&answer(401, "")), "DENY");
    assert_eq!(words(&answer(503, "")), "UNAVAILABLE");
    assert_eq!(words(&answer(302, "")), "OTHER(status 302)");
    assert_eq!(words(&answer(200, "")), "DENY");
    assert_eq!(words(&answer(200, "<html> </html>")), "OTHER(200, 14 bytes)");
    assert_eq!(words(&answer(200, "ci-deploy")), "Named(ci-deploy)");
}

#[test]
fn credentials_are_told_by_their_shape() {
    let usable = |body: &str| judge::credentials(&answer(200, body), None, now()).usable;
    let whole = credentials("ASIAIOSFODNN7EXAMPLE");
    assert_eq!(usable(&whole), Some(true));
    assert_eq!(usable(&whole.replace("T16:", "T09:")), Some(false));
    assert_eq!(
        usable(&whole.replace("Success", "AssumeRoleUnauthorizedAccess")),
        Some(false)
    );
    assert_eq!(usable(&whole.replace("ASIA", "asia")), Some(false));
    assert_eq!(usable("{}"), None);
    let of_task = whole.replace("\"Code\"", "\"RoleArn\":\"arn:aws:iam::1:role/task\",\"Code\"");
    let outcome = judge::credentials(&answer(200, &of_task), None, now());
    assert_eq!(outcome.role().unwrap().shown(), "task");
    assert_eq!(outcome.key_ends_with.as_deref(), Some("MPLE"));
}

#[test]
fn a_hop_limit_shows_in_the_puts_silence() {
    let silent = HttpAnswer {
        status: None,
        raw: Base64::default(),
        end: Some(End::Timeout),
        ..answer(200, "")
    };
    let v2 = judge::token(&silent).unwrap_err();
    let v1 = judge::roles(&answer(401, ""), None, now());
    assert_eq!(v2.got, Got::Word(Verdict::Silent));
    assert_eq!(judge::hop_limit(&v1, &v2, false, None).note, "ends before here");
    let answered = judge::roles(&answer(200, "lab-host"), None, now());
    assert!(judge::hop_limit(&v1, &answered, true, None).is_notice);
    assert!(!judge::hop_limit(&v1, &answered, true, Some("lab-host")).is_notice);
}

fn job_with(variables: &[(&str, &str)]) -> Surroundings {
    Surroundings {
        environment: variables
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        routes: "Iface Destination Gateway\neth0 00000000 010011AC\n".to_owned(),
        user_map: "0 0 4294967295".to_owned(),
        ..Surroundings::default()
    }
}

#[test]
fn what_a_process_holds_is_weighed_without_a_request() {
    // {"iss":"https://gitlab.example.com","aud":"sts"}
    let token = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2dpdGxhYi5leGFtcGxlLmNvbSIsImF1ZCI6InN0cyJ9.c2ln";
    let around = Surroundings {
        status: "CapEff:\t000001ffffffffff\n".to_owned(),
        mounts: "1 2 0:3 / /host/proc rw - proc proc rw\n1 2 0:4 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n".to_owned(),
        second_process: "kthreadd\n".to_owned(),
        interfaces: vec!["docker0".to_owned()],
        sdk_settings: vec!["credential_source".to_owned()],
        engine_sockets: vec!["/run/docker.sock".to_owned()],
        web_identity_token: true,
        ..job_with(&[
            ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/ci-deploy"),
            ("AWS_ENDPOINT_URL_STS", "http://elsewhere"),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://somewhere.example/x"),
            ("GITLAB_OIDC_TOKEN", token),
            ("CI_JOB_TOKEN", token),
            ("HTTP_PROXY", "http://user:hunter2@proxy.example:3128/"),
        ])
    };
    let lines = |around: &Surroundings| {
        let report = report_of(inside::weigh(around), None, &[]);
        let line = |way: &Finding| {
            let verdict = way.verdict.as_ref().map_or_else(|| "-".to_owned(), Verdict::to_string);
            format!("{} {verdict} {}: {}", way.way, way.state.as_str(), way.note)
        };
        report.ways.iter().map(line).collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(lines(&around), @r"
    environment-keys LEAK(keys) OPEN: in the environment
    web-identity ROLE(ci-deploy) OPEN: not exchanged
    pod-token - closed: none here
    id-tokens - notice: GITLAB_OIDC_TOKEN
    sdk-elsewhere - notice: AWS_ENDPOINT_URL_STS, AWS_CONTAINER_CREDENTIALS_FULL_URI
    no-proxy - notice: the endpoint is not excepted
    aws-files - notice: credential_source
    engine-socket LEAK(engine) OPEN: /run/docker.sock
    host-network - notice: the host's own
    host-processes LEAK(host) OPEN: their environments too
    capabilities LEAK(host) OPEN: DAC_READ_SEARCH, SYS_MODULE, SYS_RAWIO, SYS_ADMIN
    spoofing - notice: NET_ADMIN, NET_RAW
    host-files LEAK(host) OPEN: 1 mounted
    cgroups LEAK(host) OPEN: writable
    ");
    let contained = Surroundings {
        user_map: "0 100000 65536".to_owned(),
        ..around
    };
    assert!(
        lines(&contained).contains("capabilities - notice"),
        "{}",
        lines(&contained)
    );
    let empty = report_of(inside::weigh(&Surroundings::default()), None, &[]);
    assert!(
        empty
            .ways
            .iter()
            .all(|way| way.state == State::Closed && way.verdict.is_none())
    );
}

#[test]
fn what_is_sanctioned_is_no_finding_and_an_unknown_way_is_told() {
    let role = |name: &str| {
        judge::roles(
            &answer(200, name),
            Some(&answer(200, &credentials("ASIAIOSFODNN7EXAMPLE"))),
            now(),
        )
    };
    let outcomes = || {
        vec![
            (way::V2, role("ci-deploy")),
            (way::V1, role("lab-host")),
            (held::KEYS, Outcome::leak("keys", "")),
        ]
    };
    let report = report_of(outcomes(), Some("ci-deploy"), &["environment-keys"]);
    assert_eq!(
        told(&report, "imds-v2"),
        ("ROLE(ci-deploy)".to_owned(), State::Sanctioned)
    );
    assert_eq!(told(&report, "imds-v1"), ("ROLE(lab-host)".to_owned(), State::Open));
    assert_eq!(
        told(&report, "environment-keys"),
        ("LEAK(keys)".to_owned(), State::Sanctioned)
    );
    assert_eq!((report.open, report.fails()), (1, true));
    assert_eq!(report_of(outcomes(), None, &[]).open, 3);
    assert_eq!(report_of(outcomes(), Some("none"), &[]).open, 3);
    let by_arn = report_of(outcomes(), Some("arn:aws:iam::123456789012:role/ci-deploy"), &[]);
    assert_eq!(told(&by_arn, "imds-v2").1, State::Sanctioned);
    let misunderstood = Misunderstood::Way("fly".to_owned());
    assert_eq!(Expected::of(None, &["fly".to_owned()]), Err(misunderstood));
    for role in ["", "two words", "arn:aws:iam::1:user/somebody"] {
        let misunderstood = Misunderstood::Role(role.to_owned());
        assert_eq!(Expected::of(Some(role), &[]), Err(misunderstood));
    }
}

#[test]
fn what_did_not_come_in_time_is_no_success() {
    let report = report_of(vec![(way::V1, Outcome::word(Verdict::Void, "out of time"))], None, &[]);
    assert_eq!((report.open, report.unknown, report.fails()), (0, 1, true));
}

#[test]
fn a_report_fits_a_hundred_columns() {
    let outcomes = vec![
        (
            way::V1,
            judge::roles(
                &answer(200, "lab-host"),
                Some(&answer(200, &credentials("ASIAIOSFODNN7EXAMPLE"))),
                now(),
            ),
        ),
        (way::V2, judge::roles(&answer(401, ""), None, now())),
        (way::SPELLINGS[2].0, Outcome::word(Verdict::Same, "as the plain one")),
        (
            way::DOCUMENTS[1].0,
            judge::document(
                &answer(200, &credentials("ASIAIOSFODNN7EXAMPLE")),
                "identity-credentials",
                &Plain::default(),
                now(),
            ),
        ),
        (beside::NAT64, judge::roles(&answer(200, "<html>"), None, now())),
        (held::SPOOFING, Outcome::notice("NET_RAW")),
        (held::KEYS, Outcome::nothing("none here")),
    ];
    let report = report_of(outcomes, None, &[]);
    let table = table::render(&report, Colour::Plain);
    assert_eq!(table.lines().find(|line| line.chars().count() > 100), None);
    insta::assert_snapshot!(table, @r#"
    way                  tried                              got
    imds-v1              IPv4, no token: list, credentials  ROLE(lab-host)             OPEN
    imds-v2              IPv4, token PUT: list, credentials DENY                       status 401
    path-dot             /./latest/…                        SAME                       as the plain one
    identity-credentials identity-credentials/ec2/…         LEAK(identity-credentials) OPEN
    imds-nat64           64:ff9b::a9fe:a9fe, no token       OTHER(200, 6 bytes)        unknown
    spoofing             NET_RAW, NET_ADMIN                 -                          notice
    environment-keys     AWS_ACCESS_KEY_ID and the others   -                          none here

    OPEN imds-v1 (NET-01)
      got     ROLE(lab-host), credentials, key …MPLE, usable by their shape
      means   any process of this job has the credentials of this role, also through one forged GET
              (SSRF)
      closes  HttpTokens=required and a hop limit of 1; or a firewall rule by destination for every
              bridge

    OPEN identity-credentials (HTTP-16)
      got     LEAK(identity-credentials), key …MPLE, usable by their shape
      means   the instance's own identity credentials: a job passes for the host at some AWS services
      closes  a firewall rule by destination for every bridge; or a proxy that knows only the routes it
              serves

    unknown imds-nat64 (NET-18)
      got     OTHER(200, 6 bytes)

    notice spoofing (IDENT-16)
      got     NET_RAW
      means   on a shared bridge a neighbour's address can be taken, and answers read
      closes  a bridge for each job or a filter for each port; cap_drop = ["NET_RAW"]

    7 ways in 1.3 s: 2 open, 0 sanctioned, 3 closed, 1 notice, 1 unknown
    If this job is to have such a role: --expect ROLE
    "#);
}

#[test]
fn the_document_names_every_way_and_every_field() {
    const DOCUMENT: &str = include_str!("../../../docs/audit-a-job.md");
    for way in plan::every_way() {
        assert!(DOCUMENT.contains(&format!("`{}`", way.name)), "{}", way.name);
    }
    let outcome = judge::credentials(&answer(200, &credentials("ASIAIOSFODNN7EXAMPLE")), None, now());
    let report: serde_json::Value =
        serde_json::from_str(&report_of(vec![(way::V1, outcome)], None, &[]).json().unwrap()).unwrap();
    let fields = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    for field in fields(&report).into_iter().chain(fields(&report["ways"][0])) {
        assert!(DOCUMENT.contains(&format!("`{field}`")), "{field}");
    }
}

#[test]
fn the_documents_pipeline_is_one_and_says_what_is_expected() {
    let document = include_str!("../../../docs/audit-a-job.md");
    let (_, rest) = document.split_once("\n```yaml\n").unwrap();
    let (snippet, _) = rest.split_once("\n```").unwrap();
    let pipeline: serde_json::Value = serde_yaml_ng::from_str(snippet).unwrap();
    let script = pipeline["audit-credentials"]["script"].as_array().unwrap();
    assert_eq!(
        script.last().unwrap().as_str(),
        Some("./scenarios audit --expect ci-deploy")
    );
}
