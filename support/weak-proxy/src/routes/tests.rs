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

#[test]
fn each_passthrough_forwards_only_with_its_switch() {
    for (hole, target, forwarded) in [
        (
            Hole::IamInfoPassthrough,
            "/latest/meta-data/iam/info/",
            "/latest/meta-data/iam/info/",
        ),
        (Hole::IndexPassthrough, "/latest/meta-data", "/latest/meta-data"),
        (Hole::OldVersionPassthrough, "/1.0/user-data", "/1.0/user-data"),
        (Hole::DecodesTwice, "/latest/user%252ddata", "/latest/user-data"),
    ] {
        assert_eq!(get(target, None), Route::NotFound, "{hole:?}");
        assert_eq!(
            get(target, Some(hole)),
            Route::Forward(forwarded.to_owned()),
            "{hole:?}"
        );
    }
}

#[test]
fn foreign_routes_exist_only_with_their_switches() {
    assert_eq!(get("/role/admin", None), Route::NotFound);
    assert_eq!(
        get("/role/admin", Some(Hole::EcsRoutes)),
        Route::AnyRole("admin".to_owned())
    );
    assert_eq!(get("/debug/store?x", None), Route::NotFound);
    assert_eq!(get("/debug/store?x", Some(Hole::AdminOnMainPort)), Route::Admin);
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
