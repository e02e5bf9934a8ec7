//! AWS's own test suite: what it signs is accepted with the clock pinned, and no byte of it may be another.

use bytes::Bytes;
use jiff::Timestamp;

use super::super::{Key, KeyRing, Service, SignatureError, authenticate};
use super::verifier::Verifier;
use crate::request::Request;
use crate::secret::Secret;

const SUITE: &str = include_str!("vectors.txt");

struct Vector {
    name: String,
    normalised: bool,
    token: Option<String>,
    request: Request,
}

struct Ring<'a> {
    secret: Secret,
    token: Option<&'a str>,
}

impl KeyRing for Ring<'_> {
    type Caller = ();

    fn find(&self, access_key_id: &str, token: Option<&str>, _: Timestamp) -> Key<()> {
        // The suite hands out one key, with a token in some vectors.
        if access_key_id == "AKIDEXAMPLE" && token == self.token {
            return Key::Valid {
                secret: self.secret.clone(),
                caller: (),
            };
        }
        Key::Unknown
    }
}

fn read() -> Vec<Vector> {
    let mut vectors = Vec::new();
    for section in SUITE.split("\n= ").skip(1) {
        let (title, text) = section.split_once('\n').unwrap();
        let words: Vec<&str> = title.split(' ').collect();
        let token = Some(words[3]).filter(|token| *token != "-").map(str::to_owned);
        vectors.push(Vector {
            name: format!("{} {}", words[0], words[1]),
            normalised: words[2] == "normalised",
            token,
            request: parse(text),
        });
    }
    assert_eq!(vectors.len(), 76);
    vectors
}

fn parse(text: &str) -> Request {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let first = lines.next().unwrap();
    // Paths of the suite may have spaces in them.
    let (method, rest) = first.split_once(' ').unwrap();
    let target = rest.strip_suffix(" HTTP/1.1").unwrap();
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    let mut headers: Vec<(String, String)> = Vec::new();
    for line in lines.filter(|line| !line.is_empty()) {
        if line.starts_with(' ') {
            let (_, value) = headers.last_mut().unwrap();
            value.push(' ');
            value.push_str(line);
        } else {
            let (name, value) = line.split_once(':').unwrap();
            headers.push((name.to_lowercase(), value.to_owned()));
        }
    }
    Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query,
        headers,
        body: Bytes::from(body.trim_end_matches('\n').to_owned()),
        source: None,
    }
}

impl Vector {
    /// The service that it was signed for.
    fn service(&self) -> Service {
        if self.normalised {
            Service::Sample
        } else {
            Service::SampleOfPaths
        }
    }
}

fn judge(vector: &Vector, request: &Request) -> Result<(), SignatureError> {
    judge_for(vector.service(), vector, request)
}

fn judge_for(service: Service, vector: &Vector, request: &Request) -> Result<(), SignatureError> {
    let ring = Ring {
        secret: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned()),
        token: vector.token.as_deref(),
    };
    let now = "2015-08-30T12:36:00Z".parse().unwrap();
    authenticate(request, service, now, &ring)
}

#[test]
fn what_the_suite_signs_is_accepted() {
    for vector in read() {
        assert_eq!(judge(&vector, &vector.request), Ok(()), "{}", vector.name);
    }
}

#[test]
fn what_the_suite_signs_is_accepted_by_an_independent_verifier() {
    let vectors = read();
    let mut refused = Vec::new();
    // Version 0.11.4 reads the credential of a presigned request with its escapes, and so refuses every one.
    for vector in vectors.iter().filter(|vector| vector.name.ends_with(" header")) {
        let verifier = Verifier {
            key: "AKIDEXAMPLE",
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            region: "us-east-1",
            service: "service",
            now: "2015-08-30T12:36:00Z",
            normalises: vector.normalised,
        };
        if verifier.judge(&vector.request) != Some(Ok(())) {
            refused.push(vector.name.as_str());
        }
    }
    // It sorts parameters as `name=value`, so that `Param-3=` comes before `Param=`; AWS sorts names.
    assert_eq!(refused, ["get-vanilla-query-order-encoded header"]);
}

/// STS normalises paths: what was signed for a service that takes them as they come is refused where that makes a difference.
#[test]
fn a_path_that_was_signed_as_it_came_is_not_the_one_that_sts_signs() {
    let mut refused = Vec::new();
    for vector in read() {
        if let Err(error) = judge_for(Service::Sample, &vector, &vector.request) {
            assert_eq!(error, SignatureError::Mismatch, "{}", vector.name);
            refused.push(vector.name);
        }
    }
    insta::assert_snapshot!(refused.join("\n"), @r"
    get-relative-relative-unnormalized header
    get-relative-relative-unnormalized query
    get-relative-unnormalized header
    get-relative-unnormalized query
    get-slash-dot-slash-unnormalized header
    get-slash-dot-slash-unnormalized query
    get-slash-pointless-dot-unnormalized header
    get-slash-pointless-dot-unnormalized query
    get-slash-unnormalized header
    get-slash-unnormalized query
    get-slashes-unnormalized header
    get-slashes-unnormalized query
    ");
}

/// Every text that differs in one byte: the byte's lowest bit is turned.
fn neighbours(text: &str) -> Vec<(usize, String)> {
    (0..text.len())
        .filter_map(|at| {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] ^= 1;
            Some((at, String::from_utf8(bytes).ok()?))
        })
        .collect()
}

/// The name of an error, and of the piece of the claim that was changed.
fn kind(error: &SignatureError) -> String {
    format!("{error:?}")
        .split([' ', '{', '('])
        .next()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn no_byte_of_what_is_signed_may_be_another() {
    let mut tried = 0;
    for vector in &read() {
        let refuse = |part: &str, request: &Request, wanted: &[&str]| {
            let outcome = judge(vector, request);
            let error = outcome
                .err()
                .unwrap_or_else(|| panic!("{}: {part} is accepted", vector.name));
            let told = kind(&error);
            assert!(
                wanted.contains(&told.as_str()),
                "{}: {part}: {told}, not {wanted:?}",
                vector.name
            );
        };
        let original = &vector.request;
        for (_, method) in neighbours(&original.method) {
            let request = Request {
                method,
                ..original.clone()
            };
            refuse("method", &request, &["Mismatch"]);
            tried += 1;
        }
        for (at, path) in neighbours(&original.path) {
            if vector.service().canonical_path(&path) == vector.service().canonical_path(&original.path) {
                continue;
            }
            let request = Request {
                path,
                ..original.clone()
            };
            refuse(&format!("path at {at}"), &request, &["Mismatch"]);
            tried += 1;
        }
        for (at, body) in neighbours(std::str::from_utf8(&original.body).unwrap()) {
            let request = Request {
                body: body.into(),
                ..original.clone()
            };
            refuse(&format!("body at {at}"), &request, &["Mismatch"]);
            tried += 1;
        }
        let signed = original.header("authorization").map(|header| {
            header
                .split_once("SignedHeaders=")
                .unwrap()
                .1
                .split(',')
                .next()
                .unwrap()
                .to_owned()
        });
        for (index, (name, value)) in original.headers.iter().enumerate() {
            let wanted: &[&str] = match name.as_str() {
                "authorization" => &[
                    "UnsupportedAlgorithm",
                    "NotKeyValue",
                    "Incomplete",
                    "HostNotSigned",
                    "BadCredential",
                    "Scope",
                    "InvalidClientTokenId",
                    "Mismatch",
                ],
                "x-amz-date" => &["BadDate", "Expired", "NotYetCurrent", "Scope", "Mismatch"],
                "x-amz-security-token" => &["InvalidClientTokenId"],
                _ => &["Mismatch"],
            };
            let counts = name == "authorization"
                || name == "x-amz-security-token"
                || match &signed {
                    Some(list) => list.split(';').any(|one| one == name),
                    None => name == "host",
                };
            if !counts {
                continue;
            }
            let words = |text: &str| {
                text.split([' ', '\t'])
                    .filter(|word| !word.is_empty())
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            for (at, changed) in neighbours(value) {
                // A space that becomes another sign is no change where spaces are collapsed, and pieces may be divided by either sign.
                if words(&changed) == words(value) || (name == "authorization" && is_divider(value, at)) {
                    continue;
                }
                let mut request = original.clone();
                request.headers[index].1 = changed;
                refuse(&format!("{name} at {at}"), &request, wanted);
                tried += 1;
            }
        }
        let query = original.query.clone().unwrap_or_default();
        for (at, changed) in neighbours(&query) {
            let request = Request {
                query: Some(changed.clone()),
                ..original.clone()
            };
            // Escapes of another case are the same text.
            let same = |text: &str| crate::query::Parameters::parse(text.as_bytes()).ok();
            match (same(&changed), same(&query)) {
                (None, _) => continue,
                (Some(new), Some(old)) if new.iter().eq(old.iter()) => continue,
                _ => {}
            }
            let wanted = [
                "Missing",
                "UnsupportedAlgorithm",
                "Incomplete",
                "HostNotSigned",
                "BadDate",
                "Expired",
                "NotYetCurrent",
                "BadCredential",
                "Scope",
                "InvalidClientTokenId",
                "Mismatch",
            ];
            refuse(&format!("query at {at}"), &request, &wanted);
            tried += 1;
        }
    }
    assert!(tried > 10_000, "{tried}");
}

/// White space and commas divide the pieces of `Authorization`; unknown names are passed over.
fn is_divider(header: &str, at: usize) -> bool {
    matches!(header.as_bytes()[at], b' ' | b',')
}

#[test]
fn each_part_of_a_claim_has_its_own_refusal() {
    let vectors = read();
    let vector = vectors
        .iter()
        .find(|vector| vector.name == "get-vanilla header")
        .unwrap();
    let with = |from: &str, to: &str| {
        let mut request = vector.request.clone();
        for (_, value) in &mut request.headers {
            *value = value.replace(from, to);
        }
        kind(&judge(vector, &request).unwrap_err())
    };
    for (part, from, to, wanted) in [
        ("key", "AKIDEXAMPLE", "AKIDEXAMPLF", "InvalidClientTokenId"),
        ("day", "/20150830/", "/20150831/", "Scope"),
        ("region", "us-east-1", "us-east-2", "Scope"),
        ("service", "/service/", "/servicf/", "Scope"),
        ("terminator", "aws4_request", "aws4_requesu", "Scope"),
        (
            "algorithm",
            "AWS4-HMAC-SHA256",
            "AWS4-HMAC-SHA257",
            "UnsupportedAlgorithm",
        ),
        (
            "asymmetric",
            "AWS4-HMAC-SHA256",
            "AWS4-ECDSA-P256-SHA256",
            "UnsupportedAlgorithm",
        ),
        ("host", "SignedHeaders=host;", "SignedHeaders=hosu;", "HostNotSigned"),
        ("name of a piece", "Signature=", "Tignature=", "Incomplete"),
        ("slash", "AKIDEXAMPLE/", "AKIDEXAMPLE.", "BadCredential"),
        ("time", "20150830T123600Z", "20150830T123601Z", "Mismatch"),
        ("time's form", "20150830T123600Z", "20150830U123600Z", "BadDate"),
    ] {
        assert_eq!(with(from, to), wanted, "{part}");
    }
}
