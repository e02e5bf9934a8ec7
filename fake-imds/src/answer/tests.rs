mod layout;
mod properties;
mod switches;

use fake_kit::seed::{Canaries, Seed};
use http::HeaderName;
use jiff::SignedDuration;

use super::*;
use crate::world::{Tolerance, World, parse};

const ROLE: &str = "/latest/meta-data/iam/security-credentials/lab-host";
const IDENTITY: &str = "/latest/meta-data/identity-credentials/ec2/security-credentials/ec2-instance";

fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

struct Bench {
    imds: Imds,
    options: MetadataOptions,
    over_ipv6: bool,
    now: Timestamp,
}

impl Bench {
    fn new(profile: Profile) -> Self {
        Self::of(&World::default(), profile)
    }

    fn world(text: &str) -> Self {
        let worlds = parse("world.toml", text, Tolerance::Plausible).unwrap_or_else(|error| panic!("{error}"));
        Self::of(&worlds[0], Profile::Ec2)
    }

    fn of(world: &World, profile: Profile) -> Self {
        let seed = Seed::default();
        let imds = Imds::new(world, 0, profile, &seed, &Canaries::new(seed.clone()), now());
        Self {
            imds,
            options: world.instance.options(),
            over_ipv6: false,
            now: now(),
        }
    }

    fn required(profile: Profile) -> Self {
        let bench = Self::new(profile);
        let options = MetadataOptions {
            http_tokens: HttpTokens::Required,
            ..bench.options
        };
        Self { options, ..bench }
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                (
                    name.parse::<HeaderName>().unwrap(),
                    HeaderValue::from_str(value).unwrap(),
                )
            })
            .collect();
        let method: Method = method.parse().unwrap();
        let over_ipv6 = self.over_ipv6;
        answer(
            &self.imds,
            &self.options,
            self.now,
            &Ask {
                method: &method,
                path,
                headers: &headers,
                over_ipv6,
                number: 7,
                sees_notices: true,
            },
        )
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[])
    }

    fn text(&self, path: &str) -> String {
        match self.get(path).content {
            Content::Text(text, _) => String::from_utf8(text.to_vec()).unwrap(),
            other => panic!("{path}: {other:?}"),
        }
    }

    fn token(&self, ttl: &str) -> String {
        match self.ask("PUT", "/latest/api/token", &[(TTL, ttl)]).content {
            Content::Token(token) => token,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn every_row_of_the_token_table_holds() {
    let optional = Bench::new(Profile::Ec2);
    let put = |path: &str, headers: &[(&str, &str)]| optional.ask("PUT", path, headers).status;
    assert_eq!(put("/latest/api/token", &[(TTL, "1")]), 200);
    for ttl in ["0", "21601", "-1", "text", "", "1000000000"] {
        assert_eq!(put("/latest/api/token", &[(TTL, ttl)]), 400, "{ttl}");
    }
    assert_eq!(put("/latest/api/token", &[]), 400);
    for forwarded in ["10.0.0.1", "", "unknown"] {
        assert_eq!(
            put("/latest/api/token", &[(TTL, "60"), ("X-Forwarded-For", forwarded)]),
            403
        );
    }
    assert_eq!(put("/2021-03-23/api/token", &[(TTL, "60")]), 403);
    assert_eq!(put("/latest/meta-data/ami-id", &[(TTL, "60")]), 405);
    assert_eq!(put("/unknown/api/token", &[(TTL, "60")]), 405);

    let required = Bench::required(Profile::Ec2);
    let token = required.token("60");
    let get = |bench: &Bench, headers: &[(&str, &str)]| bench.ask("GET", "/latest/meta-data/ami-id", headers).status;
    assert_eq!(get(&required, &[(TOKEN, &token)]), 200);
    assert_eq!(get(&required, &[]), 401);
    assert_eq!(get(&required, &[(TOKEN, "")]), 401);
    assert_eq!(get(&required, &[(TOKEN, &token[1..])]), 401);
    assert_eq!(get(&optional, &[]), 200);
    assert_eq!(get(&optional, &[(TOKEN, "wrong")]), 401);
    let later = Bench {
        now: now() + SignedDuration::from_secs(60),
        ..required
    };
    assert_eq!(get(&later, &[(TOKEN, &token)]), 401);
}

#[test]
fn a_token_header_given_twice_is_not_valid() {
    let bench = Bench::new(Profile::Ec2);
    let token = bench.token("60");
    let mut headers = HeaderMap::new();
    headers.append(TOKEN, token.parse().unwrap());
    headers.append(TOKEN, token.parse().unwrap());
    let ask = Ask {
        method: &Method::GET,
        path: "/latest/",
        headers: &headers,
        over_ipv6: false,
        number: 0,
        sees_notices: true,
    };
    assert_eq!(answer(&bench.imds, &bench.options, now(), &ask).status, 401);
}

#[test]
fn the_remaining_seconds_of_the_token_are_told() {
    let bench = Bench::new(Profile::Ec2);
    let token = bench.token("60");
    let later = Bench {
        now: now() + SignedDuration::from_secs(50),
        ..bench
    };
    assert_eq!(later.ask("GET", ROLE, &[(TOKEN, &token)]).token_seconds, Some(10));
    assert_eq!(later.ask("GET", ROLE, &[]).token_seconds, None);
}

#[test]
fn only_the_answer_to_a_token_put_has_a_hop_limit() {
    let bench = Bench::new(Profile::Ec2);
    let options = MetadataOptions {
        hop_limit: 1,
        ..bench.options
    };
    let bench = Bench { options, ..bench };
    assert_eq!(bench.ask("PUT", "/latest/api/token", &[(TTL, "60")]).hop_limit, Some(1));
    assert_eq!(bench.get("/latest/").hop_limit, None);
    assert_eq!(bench.ask("OPTIONS", "/latest/api/token", &[]).hop_limit, None);
}

#[test]
fn a_disabled_endpoint_refuses_everything_and_a_disabled_ipv6_endpoint_is_silent() {
    let bench = Bench::new(Profile::Ec2);
    let off = MetadataOptions {
        endpoint: Endpoint::Disabled,
        ..bench.options
    };
    let bench = Bench { options: off, ..bench };
    for (method, path) in [
        ("GET", "/"),
        ("GET", ROLE),
        ("PUT", "/latest/api/token"),
        ("OPTIONS", "/latest/api/token"),
    ] {
        let answer = bench.ask(method, path, &[(TTL, "60")]);
        assert_eq!(
            (answer.status, answer.content),
            (403, Content::Empty),
            "{method} {path}"
        );
    }
    let v4_only = MetadataOptions {
        ipv6: false,
        ..Bench::new(Profile::Ec2).options
    };
    let bench = Bench {
        options: v4_only,
        over_ipv6: true,
        ..Bench::new(Profile::Ec2)
    };
    assert_eq!(bench.get("/").content, Content::Silence);
}

#[test]
fn listings_have_one_name_a_line_and_folders_end_in_a_slash() {
    let bench = Bench::new(Profile::Ec2);
    assert_eq!(bench.text("/latest/"), "dynamic\nmeta-data\nuser-data");
    assert_eq!(bench.text("/latest"), bench.text("/latest/"));
    insta::assert_snapshot!(bench.text("/latest/meta-data/"), @r#"
    ami-id
    ami-launch-index
    ami-manifest-path
    block-device-mapping/
    events/
    hostname
    iam/
    identity-credentials/
    instance-action
    instance-id
    instance-life-cycle
    instance-type
    local-hostname
    local-ipv4
    mac
    network/
    placement/
    product-codes
    profile
    public-keys/
    reservation-id
    security-groups
    services/
    system
    tags/
    "#);
    assert_eq!(bench.text("/latest/meta-data/iam/"), "info\nsecurity-credentials/");
    assert_eq!(bench.text("/latest/meta-data/iam/security-credentials/"), "lab-host");
    assert_eq!(bench.text("/latest/meta-data/public-keys/0/"), "openssh-key");
    assert_eq!(
        bench.text("/latest/meta-data/network/interfaces/macs/"),
        "06:1d:9a:5b:3c:7e/"
    );
    assert_eq!(
        bench.text("/latest/meta-data/placement/availability-zone/"),
        "eu-central-1a"
    );
    assert!(bench.text("/").starts_with("1.0\n2007-01-19\n") && bench.text("/").ends_with("\n2024-04-11\nlatest"));
}

#[test]
fn a_category_is_absent_from_versions_before_it() {
    let bench = Bench::new(Profile::Ec2);
    assert_eq!(bench.get("/2009-04-04/meta-data/iam/info").status, 404);
    assert_eq!(bench.get("/2012-01-12/meta-data/iam/info").status, 200);
    assert_eq!(bench.get("/1.0/meta-data/ami-id").status, 200);
    assert_eq!(bench.get("/1.0/dynamic/instance-identity/document").status, 404);
    assert_eq!(
        Bench::new(Profile::Lenient)
            .get("/1999-01-01/meta-data/iam/info")
            .status,
        200
    );
}

#[test]
fn credentials_are_asked_for_by_exact_role() {
    let bench = Bench::new(Profile::Ec2);
    assert_eq!(bench.get(ROLE).content, Content::Credentials(Kind::Role));
    assert_eq!(bench.get(IDENTITY).content, Content::Credentials(Kind::Identity));
    for path in [
        "",
        "x",
        "lab-host/x",
        "LAB-HOST",
        "lab-host2",
        "lab-host%20",
        "lab-host//",
    ] {
        let path = format!("/latest/meta-data/iam/security-credentials/{path}");
        assert!(!matches!(bench.get(&path).content, Content::Credentials(_)), "{path}");
    }
}

#[test]
fn methods_are_strict_on_ec2_and_not_when_lenient() {
    let (strict, lenient) = (Bench::new(Profile::Ec2), Bench::new(Profile::Lenient));
    for (method, on_ec2, on_lenient) in [
        ("GET", 200, 200),
        ("HEAD", 200, 200),
        ("POST", 405, 200),
        ("DELETE", 405, 405),
        ("get", 405, 405),
    ] {
        assert_eq!(strict.ask(method, ROLE, &[]).status, on_ec2, "{method}");
        assert_eq!(lenient.ask(method, ROLE, &[]).status, on_lenient, "{method}");
    }
    assert_eq!(lenient.ask("POST", "/latest/api/token", &[(TTL, "60")]).status, 405);
}

#[test]
fn facts_tell_what_was_asked_and_how() {
    let bench = Bench::new(Profile::Lenient);
    let token = bench.token("60");
    let facts = |headers: &[(&str, &str)], path: &str| bench.ask("GET", path, headers).facts;
    insta::assert_debug_snapshot!(facts(&[(TOKEN, &token)], "/x/..//latest/meta-data/"), @r#"
    {
        "path": "/latest/meta-data/",
        "method": "GET",
        "token": "valid",
        "version": "v2",
        "instance": "i-0123456789abcdef0",
    }
    "#);
    insta::assert_debug_snapshot!(facts(&[(TOKEN, "bad")], "/x"), @r#"
    {
        "path": "/x",
        "method": "GET",
        "token": "invalid",
        "version": "v2",
        "instance": "i-0123456789abcdef0",
    }
    "#);
    let put = bench.ask("PUT", "/latest/api/token", &[(TTL, "60")]).facts;
    assert_eq!((put.get("version"), put.get("token")), (Some("v2"), Some("none")));
    let names: Vec<&str> = put.iter().map(|(name, _)| name).collect();
    assert_eq!(names, FACTS);
}

#[test]
fn every_leaf_answers_with_and_without_a_slash() {
    let bench = Bench::new(Profile::Ec2);
    for path in bench.imds.paths() {
        let plain = bench.get(&format!("/latest/{path}"));
        assert_eq!(plain.status, 200, "{path}");
        assert_eq!(bench.get(&format!("/latest/{path}/")).content, plain.content, "{path}");
    }
}
