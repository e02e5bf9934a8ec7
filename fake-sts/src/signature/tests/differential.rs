//! Random requests, signed by AWS's own signer and then changed at random: the verdict here must be that of a second opinion, which is AWS's
//! signer once more, on the request as it arrived, and that of an independent verifier, scratchstack-aws-signature.

use std::collections::BTreeMap;
use std::time::SystemTime;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use proptest::prelude::*;

use super::verifier::Verifier;
use super::{HOST, KEY, SECRET, Sample, SignatureError, judge, parse_basic, post, signed};
use crate::request::Request;

/// One change of a request on its way.
#[derive(Debug, Clone)]
enum Change {
    Method(&'static str),
    Path(String),
    Query(String),
    Body(String),
    HeaderValue(usize, String),
    HeaderGone(usize),
    HeaderMore(String, String),
    HeaderCase(usize),
    HeadersTurned,
    QueryTurned,
    QueryEscaped,
    Spaces,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        prop_oneof![Just("GET"), Just("POST"), Just("PUT"), Just("DELETE")].prop_map(Change::Method),
        "(/[a-z.%20]{0,4}){1,4}".prop_map(Change::Path),
        "([a-c]=[A-C~+]{0,2}&){0,3}d=[0-9]".prop_map(Change::Query),
        "[a-z=&]{0,10}".prop_map(Change::Body),
        (0_usize..6, "[ -~]{0,12}").prop_map(|(at, value)| Change::HeaderValue(at, value)),
        (0_usize..6).prop_map(Change::HeaderGone),
        ("x-[a-c]", "[a-z ]{0,6}").prop_map(|(name, value)| Change::HeaderMore(name, value)),
        (0_usize..6).prop_map(Change::HeaderCase),
        Just(Change::HeadersTurned),
        Just(Change::QueryTurned),
        Just(Change::QueryEscaped),
        Just(Change::Spaces),
    ]
}

impl Change {
    fn apply(&self, request: &mut Request) {
        let own = |request: &mut Request, at: usize| -> Option<usize> {
            let plain: Vec<usize> = (0..request.headers.len())
                .filter(|at| request.headers[*at].0 != "authorization")
                .collect();
            plain.get(at % plain.len().max(1)).copied()
        };
        match self {
            Self::Method(method) => (*method).clone_into(&mut request.method),
            Self::Path(path) => request.path.clone_from(path),
            Self::Query(query) => request.query = Some(query.clone()),
            Self::Body(body) => request.body = Bytes::from(body.clone()),
            Self::HeaderValue(at, value) => {
                if let Some(at) = own(request, *at) {
                    request.headers[at].1.clone_from(value);
                }
            }
            Self::HeaderGone(at) => {
                if let Some(at) = own(request, *at) {
                    request.headers.remove(at);
                }
            }
            Self::HeaderMore(name, value) => request.headers.push((name.clone(), value.clone())),
            Self::HeaderCase(at) => {
                if let Some(at) = own(request, *at) {
                    request.headers[at].1.make_ascii_uppercase();
                }
            }
            Self::HeadersTurned => request.headers.reverse(),
            Self::QueryTurned => {
                let query = request.query.take();
                request.query = query.map(|query| query.split('&').rev().collect::<Vec<_>>().join("&"));
            }
            Self::QueryEscaped => {
                let query = request.query.take();
                request.query = query.map(|query| query.replace('~', "%7E").replace("%7e", "%7E"));
            }
            Self::Spaces => {
                for (name, value) in &mut request.headers {
                    if name != "authorization" && name != "x-amz-date" {
                        *value = format!("  {} ", value.replace(' ', "   "));
                    }
                }
            }
        }
    }
}

fn claimed<'a>(header: &'a str, name: &str) -> &'a str {
    let rest = header.split(name).nth(1).unwrap();
    rest.split(',').next().unwrap().trim()
}

/// The signature that AWS's signer makes for the request as it arrived, over the headers that it says were signed; `None` where one of
/// them is missing, so that nothing could have been signed.
fn second_opinion(request: &Request) -> Option<bool> {
    let header = request.header("authorization")?;
    let credential: Vec<&str> = claimed(header, "Credential=").split('/').collect();
    let listed: Vec<&str> = claimed(header, "SignedHeaders=").split(';').collect();
    let at = parse_basic(request.header("x-amz-date")?)?;
    let mut joined: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in &request.headers {
        if listed.contains(&name.as_str()) {
            let words: Vec<&str> = value.split(' ').filter(|word| !word.is_empty()).collect();
            let value = words.join(" ");
            joined
                .entry(name)
                .and_modify(|own| *own = format!("{own},{value}"))
                .or_insert(value);
        }
    }
    if joined.len() != listed.len() {
        return Some(false);
    }
    // The signer writes the date itself.
    joined.remove("x-amz-date");
    let identity = Credentials::new(KEY, SECRET, None, None, "test").into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(credential[2])
        .name(credential[3])
        .time(SystemTime::from(at))
        .settings(SigningSettings::default())
        .build()
        .unwrap()
        .into();
    let query = request
        .query
        .as_ref()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    let uri = format!("https://{HOST}{}{query}", request.path);
    let headers = joined.iter().map(|(name, value)| (*name, value.as_str()));
    let signable = SignableRequest::new(&request.method, &uri, headers, SignableBody::Bytes(&request.body)).ok()?;
    let (_, signature) = sign(signable, &params).ok()?.into_parts();
    Some(signature == claimed(header, "Signature="))
}

const VERIFIER: Verifier = Verifier {
    key: KEY,
    secret: SECRET,
    region: "eu-central-1",
    service: "sts",
    now: "2026-03-04T05:06:07Z",
    normalises: true,
};

/// Whether the verifier makes the same of a path as AWS's signer: it escapes once instead of twice, refuses what climbs above the root, and
/// drops the slash before a dot segment at the end.
fn is_read_alike(path: &str) -> bool {
    let mut depth = 0;
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => depth -= 1,
            _ => depth += 1,
        }
        if depth < 0 {
            return false;
        }
    }
    !path.contains('%') && !path.ends_with("/.") && !path.ends_with("/..")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_500))]

    #[test]
    fn awss_signer_and_an_independent_verifier_come_to_the_same_verdict(
        target in "(/[a-z.]{0,3}){1,3}\\?([a-c]=[A-C~]{0,2}&){0,3}d=[0-9]",
        value in "[a-z]([a-z ]{0,10}[a-z])?",
        changes in proptest::collection::vec(change(), 0..4),
    ) {
        let mut sample = Sample { target, ..post() };
        sample.headers.push(("x-any", value));
        let mut request = signed(&sample);
        prop_assert_eq!(judge(&request), Ok("user"));
        for change in &changes {
            change.apply(&mut request);
        }
        let verdict = judge(&request);
        // Dates are judged before signatures, and the signer takes no request without them.
        let judged = matches!(verdict, Ok(_) | Err(SignatureError::Mismatch));
        if let (true, Some(right)) = (judged, second_opinion(&request)) {
            prop_assert_eq!(verdict.is_ok(), right, "{:?} {:?}", changes, request);
        }
        if let (true, Some(third)) = (is_read_alike(&request.path), VERIFIER.judge(&request)) {
            let own = verdict.map(|_| ()).map_err(|error| error.to_string());
            prop_assert_eq!(own, third, "{:?} {:?}", changes, request);
        }
    }
}
