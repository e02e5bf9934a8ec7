mod differential;
mod order;
mod vectors;
mod verifier;

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use jiff::Timestamp;
use proptest::prelude::*;

use super::{Key, KeyRing, Service, SignatureError, authenticate, canonical_path, format_basic, parse_basic};
use crate::request::Request;
use crate::secret::Secret;

const KEY: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const TEMPORARY: &str = "ASIAIOSFODNN7EXAMPLE";
const EXPIRED: &str = "ASIAEXPIREDNN7EXAMPL";
const TOKEN: &str = "IQoJb3JpZ2luX2VjAAAA+/==";
const HOST: &str = "sts.eu-central-1.amazonaws.com";

struct Ring(Secret);

impl KeyRing for Ring {
    type Caller = &'static str;

    fn find(&self, access_key_id: &str, token: Option<&str>, _: Timestamp) -> Key<&'static str> {
        let caller = match (access_key_id, token) {
            (KEY, None) => "user",
            (TEMPORARY, Some(TOKEN)) => "session",
            (EXPIRED, Some(TOKEN)) => return Key::Expired,
            _ => return Key::Unknown,
        };
        Key::Valid {
            secret: self.0.clone(),
            caller,
        }
    }
}

fn now() -> Timestamp {
    "2026-03-04T05:06:07Z".parse().unwrap()
}

fn judge(request: &Request) -> Result<&'static str, SignatureError> {
    authenticate(request, Service::Sts, now(), &Ring(Secret::new(SECRET.to_owned())))
}

struct Sample {
    method: &'static str,
    target: String,
    headers: Vec<(&'static str, String)>,
    body: &'static str,
    key: &'static str,
    token: Option<&'static str>,
    region: &'static str,
    service: &'static str,
    at: Timestamp,
    presigned: bool,
    unsigned_body: bool,
}

fn post() -> Sample {
    Sample {
        method: "POST",
        target: "/".to_owned(),
        headers: vec![
            ("host", HOST.to_owned()),
            (
                "content-type",
                "application/x-www-form-urlencoded; charset=utf-8".to_owned(),
            ),
            ("x-spaced", "  a   b  ".to_owned()),
        ],
        body: "Action=GetCallerIdentity&Version=2011-06-15",
        key: KEY,
        token: None,
        region: "eu-central-1",
        service: "sts",
        at: now(),
        presigned: false,
        unsigned_body: false,
    }
}

fn presigned() -> Sample {
    Sample {
        method: "GET",
        target: "/?Action=GetCallerIdentity&Version=2011-06-15&z=%C3%A9%20%2B&a=1&a=0".to_owned(),
        headers: vec![("host", HOST.to_owned()), ("x-k8s-aws-id", "cluster".to_owned())],
        body: "",
        presigned: true,
        ..post()
    }
}

/// Signs with the SDK's own signer.
fn signed(sample: &Sample) -> Request {
    let identity = Credentials::new(sample.key, SECRET, sample.token.map(str::to_owned), None, "test").into();
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Double;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Enabled;
    if sample.presigned {
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(Duration::from_secs(60));
    }
    if sample.unsigned_body {
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    }
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(sample.region)
        .name(sample.service)
        .time(SystemTime::from(sample.at))
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let body = if sample.unsigned_body {
        SignableBody::UnsignedPayload
    } else {
        SignableBody::Bytes(sample.body.as_bytes())
    };
    let uri = format!("https://{HOST}{}", sample.target);
    let headers = sample.headers.iter().map(|(name, value)| (*name, value.as_str()));
    let signable = SignableRequest::new(sample.method, &uri, headers, body).unwrap();
    let (instructions, _) = sign(signable, &params).unwrap().into_parts();
    let mut query: Vec<String> = sample
        .target
        .split_once('?')
        .map(|(_, query)| query.to_owned())
        .into_iter()
        .collect();
    for (name, value) in instructions.params() {
        query.push(format!(
            "{}={}",
            super::canonical::escape(name),
            super::canonical::escape(value)
        ));
    }
    let mut headers: Vec<(String, String)> = sample
        .headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.clone()))
        .collect();
    headers.extend(
        instructions
            .headers()
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    Request {
        method: sample.method.to_owned(),
        path: sample.target.split('?').next().unwrap().to_owned(),
        query: Some(query.join("&")).filter(|query| !query.is_empty()),
        headers,
        body: Bytes::from_static(sample.body.as_bytes()),
        source: None,
    }
}

/// Replaces text in one header.
fn edit(mut request: Request, name: &str, from: &str, to: &str) -> Request {
    for (key, value) in &mut request.headers {
        if key == name {
            assert!(value.contains(from), "{name}: {value}");
            *value = value.replace(from, to);
        }
    }
    request
}

fn edit_query(mut request: Request, from: &str, to: &str) -> Request {
    let query = request.query.take().unwrap();
    assert!(query.contains(from), "{query}");
    request.query = Some(query.replace(from, to));
    request
}

fn without(mut request: Request, name: &str) -> Request {
    request.headers.retain(|(key, _)| key != name);
    request
}

#[test]
fn what_the_sdk_signs_verifies() {
    let samples = [
        post(),
        presigned(),
        Sample {
            key: TEMPORARY,
            token: Some(TOKEN),
            ..post()
        },
        Sample {
            key: TEMPORARY,
            token: Some(TOKEN),
            ..presigned()
        },
        Sample {
            unsigned_body: true,
            ..post()
        },
        Sample {
            target: "/a%20b//c/../d/%C3%A9?x=1".to_owned(),
            ..post()
        },
        Sample {
            target: "/?x=%7E~+%2F&x=&y".to_owned(),
            ..post()
        },
    ];
    for (index, sample) in samples.iter().enumerate() {
        let expected = if sample.token.is_some() { "session" } else { "user" };
        assert_eq!(judge(&signed(sample)), Ok(expected), "sample {index}");
    }
}

#[test]
fn a_token_added_after_signing_in_a_header_is_read() {
    let mut request = signed(&Sample {
        key: TEMPORARY,
        ..post()
    });
    request
        .headers
        .push(("x-amz-security-token".to_owned(), TOKEN.to_owned()));
    assert_eq!(judge(&request), Ok("session"));
}

#[test]
fn equal_headers_are_joined_in_wire_order() {
    let mut sample = post();
    sample.headers.push(("x-twice", "b, a".to_owned()));
    let mut request = edit(signed(&sample), "x-twice", "b, a", "b");
    // The SDK signs one header "b, a"; on the wire "b" and "a" are joined as "b,a", which differs.
    request.headers.push(("x-twice".to_owned(), "a".to_owned()));
    assert_eq!(judge(&request), Err(SignatureError::Mismatch));
    sample.headers.pop();
    sample.headers.push(("x-twice", "b,a".to_owned()));
    let mut request = edit(signed(&sample), "x-twice", "b,a", "b");
    request.headers.push(("x-twice".to_owned(), "a".to_owned()));
    assert_eq!(judge(&request), Ok("user"));
}

#[test]
fn every_signed_part_matters() {
    let good = || signed(&post());
    let url = || signed(&presigned());
    let change = |apply: fn(&mut Request)| {
        let mut request = good();
        apply(&mut request);
        request
    };
    let tampered = [
        (
            "body",
            change(|request| request.body = Bytes::from_static(b"Action=AssumeRole")),
        ),
        ("method", change(|request| request.method = "PUT".to_owned())),
        ("path", change(|request| request.path = "/x".to_owned())),
        (
            "query",
            change(|request| request.query = Some("Action=AssumeRole".to_owned())),
        ),
        (
            "unsigned payload claimed afterwards",
            change(|request| {
                request
                    .headers
                    .push(("x-amz-content-sha256".to_owned(), "UNSIGNED-PAYLOAD".to_owned()));
            }),
        ),
        (
            "host",
            edit(good(), "host", HOST, "sts.eu-central-1.amazonaws.com:8080"),
        ),
        ("header value", edit(good(), "x-spaced", "a   b", "a b c")),
        ("header gone", without(good(), "x-spaced")),
        ("content type", edit(good(), "content-type", "; charset=utf-8", "")),
        ("date", edit(good(), "x-amz-date", "050607Z", "050608Z")),
        (
            "order of signed headers",
            edit(good(), "authorization", "content-type;host", "host;content-type"),
        ),
        ("fewer signed headers", edit(good(), "authorization", ";x-spaced", "")),
        ("upper-case signature", {
            let request = good();
            let header = request.header("authorization").unwrap().to_owned();
            let (head, signature) = header.split_once("Signature=").unwrap();
            edit(
                request,
                "authorization",
                &header,
                &format!("{head}Signature={}", signature.to_uppercase()),
            )
        }),
        (
            "short signature",
            edit(good(), "authorization", "Signature=", "Signature=00"),
        ),
        ("no hex", edit(good(), "authorization", "Signature=", "Signature=zz")),
        ("presigned parameter", edit_query(url(), "a=1", "a=2")),
        ("presigned parameter added", edit_query(url(), "a=1", "a=1&b=2")),
        (
            "presigned expiry",
            edit_query(url(), "X-Amz-Expires=60", "X-Amz-Expires=61"),
        ),
        (
            "presigned extra header",
            edit(url(), "x-k8s-aws-id", "cluster", "other"),
        ),
        ("presigned method", {
            let mut request = url();
            request.method = "POST".to_owned();
            request
        }),
    ];
    for (name, request) in tampered {
        assert_eq!(judge(&request), Err(SignatureError::Mismatch), "{name}");
    }
}

#[test]
fn an_incomplete_presigned_request_says_what_is_missing() {
    let request = edit_query(signed(&presigned()), "X-Amz-Credential=", "x=");
    let request = edit_query(request, "X-Amz-Date=", "y=");
    insta::assert_snapshot!(
        judge(&request).unwrap_err(),
        @"AWS query-string parameters must include 'X-Amz-Credential'. AWS query-string parameters must include 'X-Amz-Date'. Re-examine the query-string parameters."
    );
    for expires in ["0", "604801", "-1", "x", ""] {
        let request = edit_query(
            signed(&presigned()),
            "X-Amz-Expires=60",
            &format!("X-Amz-Expires={expires}"),
        );
        assert!(
            matches!(judge(&request), Err(SignatureError::Incomplete { .. })),
            "{expires}"
        );
    }
}

#[test]
fn paths_are_normalised_and_escaped_twice() {
    for (path, canonical) in [
        ("/", "/"),
        ("//", "/"),
        ("/./a/../b/", "/b/"),
        ("/a%20b", "/a%2520b"),
        ("/..", "/"),
        ("/a*", "/a%2A"),
    ] {
        assert_eq!(canonical_path(path), canonical, "{path}");
    }
}

proptest! {
    #[test]
    fn no_header_makes_the_reader_panic(header in "\\PC*", date in "\\PC{0,20}") {
        let text = format!("AWS4-HMAC-SHA256 {header}");
        for header in [header, text] {
            let mut request = signed(&post());
            request.headers.retain(|(name, _)| name != "authorization" && name != "x-amz-date");
            request.headers.push(("authorization".to_owned(), header));
            request.headers.push(("x-amz-date".to_owned(), date.clone()));
            prop_assert!(judge(&request).is_err());
        }
    }

    #[test]
    fn dates_are_read_as_they_are_written(seconds in 0_i64..4_000_000_000) {
        let at = Timestamp::from_second(seconds).unwrap();
        prop_assert_eq!(parse_basic(&format_basic(at)), Some(at));
    }

    #[test]
    fn whatever_the_sdk_signs_verifies(value in "[ -~]{0,40}", query in "[a-zA-Z0-9._~%20]{0,20}", header in "[!-~][ -~]{0,20}[!-~]") {
        let value = super::canonical::escape(&value);
        let query = super::canonical::escape(&query);
        let mut sample = Sample { target: format!("/?{query}={value}&Action=x"), ..post() };
        sample.headers.push(("x-any", header));
        prop_assert_eq!(judge(&signed(&sample)), Ok("user"));
        sample.presigned = true;
        prop_assert_eq!(judge(&signed(&sample)), Ok("user"));
    }
}
