//! Which answer a method and target ask for: pure, and default-deny but for the open hole. No socket, no identity.

use crate::hole::{Hole, Switches};

const TOKEN: &str = "/latest/api/token";

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
    match known(target, switches) {
        Some(_) if method != "GET" && method != "HEAD" => Route::MethodNotAllowed,
        Some(route) => route,
        None => unmatched(method, target, switches),
    }
}

fn known(target: &str, switches: &Switches) -> Option<Route> {
    let (version, rest) = target.strip_prefix('/')?.split_once('/')?;
    if !VERSIONS.contains(&version) {
        return None;
    }
    let rest = rest.strip_prefix("meta-data/")?;
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
        _ => Route::NotFound,
    }
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
mod tests {
    use super::*;

    const CREDENTIALS: &str = "/latest/meta-data/iam/security-credentials/";

    fn get(target: &str, hole: Option<Hole>) -> Route {
        find(
            "GET",
            target,
            &Switches {
                hole,
                default_role: None,
            },
        )
    }

    #[test]
    fn the_sanctioned_paths_are_known_in_every_version() {
        for version in VERSIONS {
            let at = |rest: &str| get(&format!("/{version}/meta-data/{rest}"), None);
            assert_eq!(at("iam/security-credentials"), Route::List);
            assert_eq!(at("iam/security-credentials/"), Route::List);
            assert_eq!(
                at("iam/security-credentials/deploy"),
                Route::Credentials("deploy".to_owned())
            );
            assert_eq!(at("iam/info"), Route::Info);
            assert_eq!(at("placement/region"), Route::Region);
        }
        assert_eq!(find("PUT", TOKEN, &Switches::default()), Route::Token);
    }

    #[test]
    fn everything_else_is_not_found_without_a_hole() {
        for target in [
            "/",
            "/latest/",
            "/latest/user-data",
            "/latest/dynamic/instance-identity/document",
            "/latest/meta-data/identity-credentials/ec2/security-credentials/ec2-instance",
            "/latest/meta-data/iam/security-credentials/host/x",
            "/latest/meta-data/iam/security-credentials/host%2fx",
            "/latest/meta-data/iam/info/x",
            "/latest/./meta-data/iam/security-credentials/",
            "/%2e/latest/meta-data/iam/security-credentials/",
            "/latest//meta-data/iam/security-credentials/",
            "/2011-01-01/meta-data/iam/security-credentials/",
            "/metrics",
        ] {
            assert_eq!(get(target, None), Route::NotFound, "{target}");
        }
    }

    #[test]
    fn deeper_paths_go_upstream_only_with_a_single_segment_route() {
        for target in [
            format!("{CREDENTIALS}host/x"),
            "/latest/meta-data/iam/info/x".to_owned(),
        ] {
            assert_eq!(
                get(&target, Some(Hole::SingleSegmentRoleRoute)),
                Route::Forward(target.clone())
            );
        }
        assert_eq!(
            get("/latest/user-data", Some(Hole::SingleSegmentRoleRoute)),
            Route::NotFound
        );
        let own = get(&format!("{CREDENTIALS}deploy"), Some(Hole::SingleSegmentRoleRoute));
        assert_eq!(own, Route::Credentials("deploy".to_owned()));
    }

    #[test]
    fn unmatched_paths_are_tidied_and_forwarded_only_with_normalisation() {
        let host = format!("{CREDENTIALS}host");
        for target in [
            "/latest/./meta-data/iam/security-credentials/host",
            "/x/../latest/meta-data/iam/security-credentials/host",
            "/%2e/latest/meta-data/iam/security-credentials/host",
            "/x/%2e%2e/latest/meta-data/iam/security-credentials/host",
            "//latest/meta-data/iam//security-credentials/host",
            "/latest/meta-data/iam%2fsecurity-credentials/host",
            "/latest/meta-data/iam/security-credentials/host%23/x",
        ] {
            assert_eq!(
                get(target, Some(Hole::ClientSidePathNormalisation)),
                Route::Forward(host.clone()),
                "{target}"
            );
        }
        let twice = get("/latest/meta-data/%2569am/", Some(Hole::ClientSidePathNormalisation));
        assert_eq!(twice, Route::Forward("/latest/meta-data/%69am/".to_owned()));
        assert_eq!(get(CREDENTIALS, Some(Hole::ClientSidePathNormalisation)), Route::List);
    }

    #[test]
    fn unmatched_gets_go_upstream_as_they_are_only_with_the_catch_all() {
        let odd = "/latest/./user-data?x".to_owned();
        assert_eq!(get(&odd, Some(Hole::CatchAllPassthrough)), Route::Forward(odd.clone()));
        assert_eq!(get(CREDENTIALS, Some(Hole::CatchAllPassthrough)), Route::List);
        assert_eq!(find("POST", &odd, &Hole::CatchAllPassthrough.into()), Route::NotFound);
    }

    #[test]
    fn absolute_form_is_fetched_only_with_its_switch() {
        let url = "http://10.0.0.9/x".to_owned();
        assert_eq!(get(&url, None), Route::Malformed);
        assert_eq!(get(&url, Some(Hole::FollowAbsoluteForm)), Route::Fetch(url));
        for odd in ["*", "example.com:80", "ftp://10.0.0.9/x", ""] {
            assert_eq!(get(odd, Some(Hole::FollowAbsoluteForm)), Route::Malformed, "{odd}");
        }
    }

    #[test]
    fn other_methods_go_upstream_only_with_get_only_interception() {
        let target = format!("{CREDENTIALS}host");
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get"] {
            assert_eq!(
                find(method, &target, &Switches::default()),
                Route::MethodNotAllowed,
                "{method}"
            );
            let open = find(method, &target, &Hole::GetOnlyInterception.into());
            assert_eq!(open, Route::Forward(target.clone()), "{method}");
        }
        assert_eq!(
            find("HEAD", &target, &Switches::default()),
            Route::Credentials("host".to_owned())
        );
        assert_eq!(find("PUT", TOKEN, &Hole::GetOnlyInterception.into()), Route::Token);
    }

    #[test]
    fn the_token_route_goes_upstream_only_with_its_switch() {
        assert_eq!(
            find("PUT", TOKEN, &Hole::ForwardTokenRoute.into()),
            Route::Forward(TOKEN.to_owned())
        );
        assert_eq!(find("POST", TOKEN, &Switches::default()), Route::MethodNotAllowed);
        assert_eq!(get(TOKEN, Some(Hole::ForwardTokenRoute)), Route::MethodNotAllowed);
    }

    proptest::proptest! {
        #[test]
        fn a_normalised_target_is_a_clean_path_that_stays_as_it_is(target in "/[ -~]{0,40}") {
            let once = normalise(&target);
            proptest::prop_assert!(once.starts_with('/') && once.bytes().all(|b| b.is_ascii_graphic()));
            proptest::prop_assert!(!once.contains("//"));
        }

        #[test]
        fn without_a_hole_nothing_is_ever_forwarded(method in "[A-Z]{1,7}", target in ".{0,60}") {
            let route = find(&method, &target, &Switches::default());
            proptest::prop_assert!(!matches!(route, Route::Forward(_) | Route::Fetch(_)));
        }
    }
}
