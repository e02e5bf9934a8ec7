//! What the proxy asks of the real endpoint for a container: never anything but a harmless value, to however lenient a service, and only for
//! a path that means this value to such a service too.

use std::sync::{Arc, Mutex};

use aws_smithy_async::time::{SharedTimeSource, StaticTimeSource};
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use metadata_proxy::instance::{Imds, Instance};
use metadata_proxy::policy::Decision;
use metadata_proxy::serve::Step;
use proptest::prelude::*;
use proptest::sample::select;

use crate::lenient::{HARMLESS, Meaning, readings};
use crate::path::step;
use crate::world::GRANT;

/// The endpoint itself: it has an answer to everything, and remembers what it was asked.
#[derive(Debug, Clone, Default)]
struct Endpoint {
    asked: Arc<Mutex<Vec<String>>>,
}

impl HttpConnector for Endpoint {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let uri = request.uri().to_owned();
        let path = uri.strip_prefix("http://169.254.169.254").unwrap_or(&uri);
        self.asked.lock().unwrap().push(path.to_owned());
        let mut answer = HttpResponse::new(StatusCode::try_from(200).unwrap(), SdkBody::from("value"));
        answer
            .headers_mut()
            .insert("x-aws-ec2-metadata-token-ttl-seconds", "21600");
        HttpConnectorFuture::ready(Ok(answer))
    }
}

/// What the endpoint is asked when a container that may read every value sends this path.
fn forward(path: &str) -> Vec<String> {
    let Step::Leaf { leaf, .. } = step(path, &Decision::Grant(Box::new(GRANT.clone()))) else {
        return Vec::new();
    };
    let endpoint = Endpoint::default();
    let connector = SharedHttpConnector::new(endpoint.clone());
    let http = http_client_fn(move |_, _| connector.clone());
    let clock = SharedTimeSource::new(StaticTimeSource::from_secs(1_800_000_000));
    let instance = Instance::new(Imds::new(&clock, &http).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    assert_eq!(runtime.block_on(instance.read(leaf)), Ok("value"), "{path}");
    let asked = endpoint.asked.lock().unwrap().clone();
    assert!(!asked.is_empty(), "{path}");
    asked
}

/// Places beside the harmless ones.
const OTHERS: [&str; 6] = [
    "iam/security-credentials/deploy",
    "iam/security-credentials/lab-host",
    "iam/info",
    "identity-credentials/ec2/security-credentials/ec2-instance",
    "tags/instance/Name",
    "public-keys/0/openssh-key",
];
/// What tells one reader from another.
const NOISE: &[&str] = &[
    "/",
    "//",
    "/./",
    "/../",
    "/x/../",
    "%2f",
    "%2F",
    "%252f",
    "/%2e/",
    "/%2e%2e/",
    "/.%2e/",
    "/%252e%252e/",
    "/%c0%ae%c0%ae/",
    "\\",
    ";",
    ";a=b",
    "?",
    "?/../",
    "#",
    "%00",
    "%20",
    "%0a",
    " ",
    "\t",
    "é",
    "/../../iam/security-credentials/lab-host",
    "/../../../user-data",
    "/../../../dynamic/instance-identity/document",
];
const VERSIONS: &[&str] = &[
    "latest",
    "1.0",
    "2021-07-15",
    "2008-02-01",
    "9999-99-99",
    "0",
    "LATEST",
    "",
];

/// Paths of the service, with what tells readers apart between, before, inside and behind their segments.
fn any_path() -> impl Strategy<Value = String> {
    let base = (select(VERSIONS), select([&HARMLESS[..], &OTHERS].concat()));
    let base = base.prop_map(|(version, place)| format!("/{version}/meta-data/{place}"));
    let edit = (
        any::<prop::sample::Index>(),
        prop_oneof![3 => Just(false), 1 => Just(true)],
        select(NOISE),
    );
    (base, proptest::collection::vec(edit, 0..4), any::<bool>()).prop_map(|(mut path, edits, at_ends)| {
        for (at, flips, noise) in edits {
            let slashes: Vec<usize> = path.match_indices('/').map(|(at, _)| at).collect();
            if flips {
                // One letter in the other case.
                let at = at.index(path.len());
                if let Some(letter) = path.get(at..=at).map(str::to_uppercase) {
                    path.replace_range(at..=at, &letter);
                }
            } else if at_ends || slashes.is_empty() {
                path.push_str(noise);
            } else {
                // In place of a slash: what others take for one.
                let at = slashes[at.index(slashes.len())];
                path.replace_range(at..=at, noise);
            }
        }
        path
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_but_harmless_values_is_asked_of_the_endpoint(path in any_path()) {
        let meant = readings(&path);
        let asked = forward(&path);
        if let Some((last, before)) = asked.split_last() {
            prop_assert!(before.iter().all(|path| readings(path) == [Meaning::Token]), "{:?}", asked);
            let [Meaning::Harmless(value)] = readings(last)[..] else {
                return Err(TestCaseError::fail(format!("{path:?} leads to {last:?}")));
            };
            prop_assert_eq!(meant, [Meaning::Harmless(value)], "{}", path);
        }
    }
}

#[test]
fn each_harmless_value_is_asked_for_at_its_own_path() {
    for value in [
        "placement/availability-zone",
        "services/partition",
        "services/domain",
        "instance-type",
        "instance-id",
    ] {
        let asked = forward(&format!("/latest/meta-data/{value}"));
        assert_eq!(
            asked,
            ["/latest/api/token".to_owned(), format!("/latest/meta-data/{value}")]
        );
    }
    assert!(
        forward("/latest/meta-data/placement/region").is_empty(),
        "the configuration states it"
    );
}
