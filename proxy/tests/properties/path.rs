//! Paths: what is answered is spelled as the service spells it, and means the same to whoever reads it leniently.

use std::time::{Duration, SystemTime};

use metadata_proxy::answer::{Answer, Body};
use metadata_proxy::caller::Level;
use metadata_proxy::instance::Leaf;
use metadata_proxy::policy::{Decision, Reason};
use metadata_proxy::request::{Method, Named, Once, Request};
use metadata_proxy::routes::{Route, route};
use metadata_proxy::serve::{Step, Terms, judge};
use metadata_proxy::token::Tokens;

use crate::lenient::{Meaning, readings};
use crate::world::{GRANT, facts};

/// Whatever the path is, it is one of the table or unknown; and nobody gets what it does not plainly mean.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(path) = std::str::from_utf8(bytes) else { return };
    let meant = meaning(path);
    if let Some(meant) = &meant {
        assert!(is_canonical(path), "{path:?} is {meant:?}");
        // A role is compared with the caller's own and with nothing else, so that only a role's own characters can come to anything.
        let is_name = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b);
        let is_plain = match meant {
            Meaning::Credentials(role) => {
                role.bytes().all(is_name) && !role.starts_with('.') && *role == role.to_lowercase()
            }
            _ => true,
        };
        assert!(
            !is_plain || readings(path) == [meant.clone()],
            "{path:?}: {:?}",
            readings(path)
        );
    }
    let granted = step(path, &Decision::Grant(Box::new(GRANT.clone())));
    let expected = match &meant {
        Some(Meaning::Credentials(role)) if role == "deploy" => matches!(granted, Step::Credentials { ttl: None }),
        Some(Meaning::Roles) => text(&granted) == Some("deploy"),
        Some(Meaning::Info) => text(&granted).is_some_and(|text| text.contains(":instance-profile/")),
        Some(Meaning::Harmless("placement/region")) => text(&granted) == Some("eu-central-1"),
        Some(Meaning::Harmless(value)) => matches!(granted, Step::Leaf { leaf, .. } if leaf.path() == *value),
        _ => is_refusal(&granted),
    };
    assert!(expected, "{path:?} is {meant:?} and gets {granted:?}");
    assert!(
        is_refusal(&step(path, &Decision::Deny(Reason::NoRuleForProject))),
        "{path:?}"
    );
}

/// What the router takes the path for, in the words of [`Meaning`].
fn meaning(path: &str) -> Option<Meaning> {
    Some(match route(path) {
        Route::Token => Meaning::Token,
        Route::RoleList => Meaning::Roles,
        Route::Credentials { role } => Meaning::Credentials(role.to_owned()),
        Route::IamInfo => Meaning::Info,
        Route::Leaf(leaf) => Meaning::Harmless(leaf.path()),
        Route::Unknown => return None,
    })
}

/// Whether the path is one of the service's: a version, a known place, and at most one slash behind it.
fn is_canonical(path: &str) -> bool {
    if path == "/latest/api/token" {
        return true;
    }
    let path = path.strip_suffix('/').unwrap_or(path);
    let Some((version, place)) = path.strip_prefix('/').and_then(|path| path.split_once("/meta-data/")) else {
        return false;
    };
    let is_date = |text: &str| {
        let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        shape == "0000-00-00"
    };
    let is_version = version == "latest" || version == "1.0" || is_date(version);
    let is_place = match place.strip_prefix("iam/security-credentials/") {
        Some(role) => !role.is_empty() && !role.contains('/'),
        None => {
            ["iam/security-credentials", "iam/info"].contains(&place)
                || Leaf::ALL.into_iter().any(|leaf| leaf.path() == place)
        }
    };
    is_version && is_place
}

/// What a `GET` of the path comes to, without a token, for a container of that decision.
pub(crate) fn step(path: &str, decision: &Decision) -> Step {
    let terms = Terms {
        tokens: Tokens::new([7; 32]),
        region: "eu-central-1".to_owned(),
        attestation: Level::default(),
        container_endpoint: false,
        started: SystemTime::UNIX_EPOCH,
    };
    let request = Request {
        method: Method::Get,
        path,
        host: Named::Metadata,
        authorization: Once::Absent,
        token: Once::Absent,
        token_ttl: Once::Absent,
        is_forwarded: false,
        close: false,
    };
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    judge(&terms, &facts().run, decision, &request, now, || [0; 8])
}

fn text(step: &Step) -> Option<&str> {
    match step {
        Step::Answer(Answer::Content {
            body: Body::Text(text), ..
        }) => Some(text),
        _ => None,
    }
}

fn is_refusal(step: &Step) -> bool {
    matches!(step, Step::Answer(Answer::Refusal(_)))
}
