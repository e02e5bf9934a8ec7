//! Which answer a method and target ask for: pure, and default-deny but for the open hole. No socket, no identity.

use crate::hole::{Hole, Switches};

const TOKEN: &str = "/latest/api/token";

/// Pages that proxies serve to their operators on the port that jobs reach ([`Hole::AdminOnMainPort`]).
const ADMIN: [&str; 5] = ["/metrics", "/healthz", "/health", "/ping", "/debug/store"];

/// Dated versions of the service, as its root lists them since instance roles exist.
const VERSIONS: [&str; 18] = [
    "2012-01-12",
    "2014-02-25",
    "2014-11-05",
    "2015-10-20",
    "2016-04-19",
    "2016-06-30",
    "2016-09-02",
    "2018-03-28",
    "2018-08-17",
    "2018-09-24",
    "2019-10-01",
    "2020-10-27",
    "2021-01-03",
    "2021-03-23",
    "2021-07-15",
    "2022-09-24",
    "2024-04-11",
    "latest",
];

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `PUT /latest/api/token`
    Token,
    /// `…/iam/security-credentials/`
    List,
    /// `…/iam/security-credentials/ROLE`
    Credentials(String),
    /// `…/iam/info`
    Info,
    /// `…/placement/region`
    Region,
    /// A hole: this target goes upstream.
    Forward(String),
    /// A hole: this URL is fetched.
    Fetch(String),
    /// A hole: credentials for any role.
    AnyRole(String),
    /// A hole: a page for operators.
    Admin,
    /// No such path.
    NotFound,
    /// The path exists, but not for this method.
    MethodNotAllowed,
    /// Not an origin-form target.
    Malformed,
}

/// Finds the route. Every hole that concerns paths and methods stands here.
#[must_use]
pub fn find(method: &str, target: &str, switches: &Switches) -> Route {
    if !target.starts_with('/') {
        let is_url = target.starts_with("http://");
        return match switches.hole {
            Some(Hole::FollowAbsoluteForm) if is_url && method == "GET" => Route::Fetch(target.to_owned()),
            _ => Route::Malformed,
        };
    }
    if target == TOKEN {
        return match (method, switches.hole) {
            ("PUT", Some(Hole::ForwardTokenRoute)) => Route::Forward(target.to_owned()),
            ("PUT", _) => Route::Token,
            ("GET", _) => Route::MethodNotAllowed,
            (_, Some(Hole::GetOnlyInterception)) => Route::Forward(target.to_owned()),
            _ => Route::MethodNotAllowed,
        };
    }
    if switches.open(Hole::GetOnlyInterception) && method != "GET" {
        return Route::Forward(target.to_owned());
    }
    if switches.open(Hole::AdminOnMainPort) && ADMIN.contains(&path(target)) {
        return Route::Admin;
    }
    match known(target, switches) {
        Some(_) if method != "GET" && method != "HEAD" => Route::MethodNotAllowed,
        Some(route) => route,
        None => unmatched(method, target, switches),
    }
}

fn known(target: &str, switches: &Switches) -> Option<Route> {
    if let Some(Hole::EcsRoutes) = switches.hole
        && let Some(role) = target
            .strip_prefix("/role/")
            .or_else(|| target.strip_prefix("/role-arn/"))
    {
        return Some(Route::AnyRole(role.to_owned()));
    }
    let (version, rest) = target.strip_prefix('/')?.split_once('/')?;
    if !VERSIONS.contains(&version) {
        return None;
    }
    let rest = rest.strip_prefix("meta-data/")?;
    if switches.open(Hole::IamInfoPassthrough) && rest.starts_with("iam/info") {
        return Some(Route::Forward(target.to_owned()));
    }
    match rest {
        "iam/info" => return Some(Route::Info),
        "placement/region" => return Some(Route::Region),
        "iam/security-credentials" | "iam/security-credentials/" => return Some(Route::List),
        _ => {}
    }
    if let Some(role) = rest.strip_prefix("iam/security-credentials/")
        && role
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"+=,.@_-".contains(&b))
    {
        return Some(Route::Credentials(role.to_owned()));
    }
    let is_deeper = rest.starts_with("iam/security-credentials/") || rest.starts_with("iam/info/");
    if switches.open(Hole::SingleSegmentRoleRoute) && is_deeper {
        return Some(Route::Forward(target.to_owned()));
    }
    None
}

fn unmatched(method: &str, target: &str, switches: &Switches) -> Route {
    match switches.hole {
        Some(Hole::CatchAllPassthrough) if method == "GET" => Route::Forward(target.to_owned()),
        Some(Hole::ClientSidePathNormalisation) if method == "GET" => Route::Forward(normalise(target)),
        Some(Hole::DecodesTwice) if method == "GET" => Route::Forward(normalise(&normalise(target))),
        Some(Hole::IndexPassthrough) if method == "GET" && is_index(target) => Route::Forward(target.to_owned()),
        Some(Hole::OldVersionPassthrough) if method == "GET" && is_old(target) => Route::Forward(target.to_owned()),
        _ => Route::NotFound,
    }
}

fn path(target: &str) -> &str {
    target.split('?').next().unwrap_or_default()
}

/// A page that lists others, in the service's tree.
fn is_index(target: &str) -> bool {
    let indices = ["latest", "meta-data", "iam", "dynamic"];
    target.ends_with('/') || target.rsplit('/').next().is_some_and(|last| indices.contains(&last))
}

/// Versions before there were instance roles: text that sorts before, as the careless compare it.
fn is_old(target: &str) -> bool {
    let version = target.split('/').nth(1).unwrap_or_default();
    version.starts_with(|first: char| first.is_ascii_digit()) && version < "2012-01-12"
}

/// What a router that hands on decoded paths and a client that tidies them make of a target together: decoded once, cut at `?` and `#`,
/// without dot segments and empty segments.
fn normalise(target: &str) -> String {
    let decoded = decode(target.as_bytes());
    let path = decoded.split(|b| matches!(b, b'?' | b'#')).next().unwrap_or_default();
    let mut segments: Vec<&[u8]> = Vec::new();
    for segment in path.split(|b| *b == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => {
                segments.pop();
            }
            _ => segments.push(segment),
        }
    }
    let mut text = String::new();
    for segment in segments {
        text.push('/');
        segment.iter().for_each(|byte| encode(*byte, &mut text));
    }
    if text.is_empty() || path.ends_with(b"/") || path.ends_with(b"/.") || path.ends_with(b"/..") {
        text.push('/');
    }
    text
}

fn decode(text: &[u8]) -> Vec<u8> {
    let digit = |byte: &u8| {
        char::from(*byte)
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match tail {
            [high, low, tail @ ..] if *first == b'%' => match (digit(high), digit(low)) {
                (Some(high), Some(low)) => {
                    decoded.push(high * 16 + low);
                    rest = tail;
                }
                _ => decoded.push(*first),
            },
            _ => decoded.push(*first),
        }
    }
    decoded
}

/// What may not stand in a request line is encoded again; a percent sign stays, so that what was encoded twice is now encoded once.
fn encode(byte: u8, text: &mut String) {
    if byte.is_ascii_graphic() {
        text.push(char::from(byte));
    } else {
        let digit = |value: u8| {
            char::from_digit(u32::from(value), 16)
                .unwrap_or('0')
                .to_ascii_uppercase()
        };
        text.extend(['%', digit(byte >> 4), digit(byte & 15)]);
    }
}

#[cfg(test)]
mod tests;
