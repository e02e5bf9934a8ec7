//! The order of the checks and their texts.

use super::{EXPIRED, HOST, Sample, TEMPORARY, TOKEN, edit, judge, now, post, signed, without};
use crate::request::Request;
use crate::signature::SignatureError;

/// Each request breaks every rule from its own on, so that the one that answers shows the order.
#[test]
fn the_first_broken_rule_answers() {
    let stale = "2026-03-04T04:51:06Z".parse().unwrap();
    let worst = || Sample {
        key: "AKIAUNKNOWN",
        region: "nowhere",
        service: "s3",
        at: stale,
        headers: post().headers,
        ..post()
    };
    let broken = |sample: Sample| edit(signed(&sample), "authorization", "Signature=", "Signature=00");
    let text = |request: &Request| judge(request).unwrap_err().to_string();

    let mut both = edit(broken(worst()), "authorization", "AWS4-HMAC-SHA256", "AWS4-ECDSA");
    both.query = Some("X-Amz-Algorithm=AWS4-HMAC-SHA256".to_owned());
    assert_eq!(judge(&both), Err(SignatureError::Ambiguous));

    let algorithm = edit(
        broken(worst()),
        "authorization",
        "AWS4-HMAC-SHA256 Credential=",
        "AWS4-ECDSA Credential",
    );
    insta::assert_snapshot!(text(&algorithm), @"Unsupported AWS 'algorithm': 'AWS4-ECDSA'.");

    let piece = edit(broken(worst()), "authorization", "SignedHeaders=", "SignedHeaders");
    assert!(text(&piece).starts_with(
        "'SignedHeaderscontent-type;host;x-amz-date;x-spaced' not a valid key=value pair (missing equal-sign) in Authorization header: 'AWS4-HMAC-SHA256 "
    ));

    let mut missing = without(broken(worst()), "x-amz-date");
    missing = edit(missing, "authorization", "Credential=", "X=");
    insta::assert_snapshot!(
        text(&missing),
        @"Authorization header requires 'Credential' parameter. Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
    );

    let host = edit(broken(worst()), "authorization", ";host", "");
    let host = edit(host, "x-amz-date", "T", " ");
    insta::assert_snapshot!(text(&host), @"'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.");

    let date = edit(broken(worst()), "x-amz-date", "T", " ");
    let date = edit(date, "authorization", "/aws4_request", "");
    insta::assert_snapshot!(
        text(&date),
        @"Date must be in ISO-8601 'basic format'. Got '20260304 045106Z'. See http://en.wikipedia.org/wiki/ISO_8601"
    );

    let skewed = edit(broken(worst()), "authorization", "/aws4_request", "");
    insta::assert_snapshot!(
        text(&skewed),
        @"Signature expired: 20260304T045106Z is now earlier than 20260304T045107Z (20260304T050607Z - 15 min.)"
    );

    let credential = edit(
        broken(Sample { at: now(), ..worst() }),
        "authorization",
        "/aws4_request",
        "",
    );
    insta::assert_snapshot!(
        text(&credential),
        @"Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got 'AKIAUNKNOWN/20260304/nowhere/s3'"
    );

    let scope = broken(Sample {
        at: now(),
        key: EXPIRED,
        token: Some(TOKEN),
        ..worst()
    });
    assert_eq!(
        text(&scope),
        "Credential should be scoped to a valid region. Credential should be scoped to correct service: 'sts'. "
    );

    let expired = broken(Sample {
        key: EXPIRED,
        token: Some(TOKEN),
        ..post()
    });
    insta::assert_snapshot!(text(&expired), @"The security token included in the request is expired");

    let unknown = [
        broken(Sample {
            key: "AKIAUNKNOWN",
            ..post()
        }),
        broken(Sample {
            key: TEMPORARY,
            ..post()
        }),
        broken(Sample {
            key: TEMPORARY,
            token: Some("other"),
            ..post()
        }),
        broken(Sample {
            token: Some(TOKEN),
            ..post()
        }),
    ];
    for request in &unknown {
        assert_eq!(judge(request), Err(SignatureError::InvalidClientTokenId));
    }
    assert_eq!(judge(&broken(post())), Err(SignatureError::Mismatch));
    assert_eq!(judge(&Request::default()), Err(SignatureError::Missing));
}

#[test]
fn the_allowed_skew_is_fifteen_minutes_either_way() {
    for (at, expected) in [
        ("2026-03-04T04:51:06Z", false),
        ("2026-03-04T04:51:07Z", true),
        ("2026-03-04T05:21:07Z", true),
        ("2026-03-04T05:21:08Z", false),
    ] {
        let request = signed(&Sample {
            at: at.parse().unwrap(),
            ..post()
        });
        assert_eq!(judge(&request).is_ok(), expected, "{at}");
    }
    let early = signed(&Sample {
        at: "2026-03-04T05:21:08Z".parse().unwrap(),
        ..post()
    });
    insta::assert_snapshot!(
        judge(&early).unwrap_err(),
        @"Signature not yet current: 20260304T052108Z is still later than 20260304T052107Z (20260304T050607Z + 15 min.)"
    );
}

#[test]
fn the_scope_must_fit_endpoint_and_day() {
    let at_host = |host: &str, region: &'static str| {
        let mut sample = Sample { region, ..post() };
        sample.headers[0].1 = host.to_owned();
        judge(&signed(&sample)).is_ok()
    };
    assert!(at_host("sts.amazonaws.com", "us-east-1"));
    assert!(!at_host("sts.amazonaws.com", "eu-central-1"));
    assert!(at_host("sts.us-west-2.amazonaws.com", "us-west-2"));
    assert!(!at_host("sts.us-west-2.amazonaws.com", "us-east-1"));
    for region in ["us-gov-west-1", "cn-north-1", "ap-southeast-7", "eusc-de-east-1"] {
        assert!(at_host("127.0.0.1:4566", region), "{region}");
    }
    for region in ["", "x", "eu-central", "eu--1", "EU-CENTRAL-1", "eu-central-12"] {
        let request = edit(signed(&post()), "host", HOST, "127.0.0.1:4566");
        let request = edit(request, "authorization", "/eu-central-1/", &format!("/{region}/"));
        assert!(matches!(judge(&request), Err(SignatureError::Scope { .. })), "{region}");
    }
    let day = edit(signed(&post()), "authorization", "/20260304/", "/20260303/");
    let terminator = edit(day, "authorization", "aws4_request", "aws5_request");
    assert_eq!(
        judge(&terminator).unwrap_err().to_string(),
        "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'. Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20260303' != '20260304', from '20260304T050607Z'. "
    );
}
