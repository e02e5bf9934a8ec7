//! What holds of every request.

use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn the_strict_profile_serves_credentials_at_their_canonical_path_only(
        path in "(/|//|/\\.|/\\.\\.|/%2e%2e|%2f|/latest|/2021-03-23|/meta-data|/iam|/security-credentials|/lab-host|/x|\\?){0,9}",
    ) {
        let bench = Bench::new(Profile::Ec2);
        if let Content::Credentials(_) = bench.get(&path).content {
            let plain = path.strip_suffix('/').unwrap_or(&path);
            prop_assert!(plain == ROLE || plain == ROLE.replace("latest", "2021-03-23"), "{}", path);
        }
    }

    #[test]
    fn every_request_gets_a_documented_status(
        profile in 0..3,
        required: bool,
        method in "(GET|HEAD|POST|PUT|OPTIONS|DELETE|X)",
        path in prop_oneof!["\\PC{0,40}", "(/|//|latest|1.0|api/token|meta-data|user-data|dynamic|iam|%2e|\\.\\.){0,8}"],
        headers in proptest::collection::vec(
            ("(x-aws-ec2-metadata-token|x-aws-ec2-metadata-token-ttl-seconds|x-forwarded-for|expect|host|cookie)", proptest::collection::vec(prop_oneof![Just(9_u8), 32..=126_u8, 128..=255_u8], 0..60)),
            0..6,
        ),
    ) {
        let profile = [Profile::Ec2, Profile::Lenient, Profile::Aemm][usize::try_from(profile).unwrap()];
        let bench = if required { Bench::required(profile) } else { Bench::new(profile) };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(&value).unwrap());
        }
        let method: Method = method.parse().unwrap();
        let ask = Ask { method: &method, path: &path, headers: &map, over_ipv6: false, number: 7, sees_notices: true };
        let answer = answer(&bench.imds, &bench.options, now(), &ask);
        prop_assert!([200, 400, 401, 403, 404, 405, 417].contains(&answer.status), "{}", answer.status);
    }

    #[test]
    fn a_token_of_one_instance_never_works_on_another(one: u32, other: u32, ttl in 1_u32..=21_600, number: u64) {
        prop_assume!(one != other);
        let bench = |id: u32| Bench::world(&format!("[instance]\nid = \"i-{id:017x}\"\nhttp_tokens = \"required\"\n"));
        let (one, other) = (bench(one), bench(other));
        let token = one.imds.issue(now(), ttl, number);
        prop_assert_eq!(one.ask("GET", "/latest/", &[(TOKEN, &token)]).status, 200);
        prop_assert_eq!(other.ask("GET", "/latest/", &[(TOKEN, &token)]).status, 401);
    }
}

/// Walks the whole tree by its listings: what is listed is there, what is there is listed, in every version.
#[test]
fn listings_and_leaves_agree_for_every_node_of_every_version() {
    let worlds = parse(
        "everything",
        include_str!("../../../examples/everything.toml"),
        Tolerance::Plausible,
    )
    .unwrap();
    let mut bench = Bench::of(&worlds[0], Profile::Ec2);
    bench.options.http_tokens = HttpTokens::Optional;
    for seconds in [0, 30, 60] {
        bench.now = now() + SignedDuration::from_secs(seconds);
        let mut leaves = Vec::new();
        for version in crate::version::ALL {
            let found = walk(&bench, &format!("/{version}"));
            // Nothing is ever taken away from a later version.
            assert!(leaves.iter().all(|leaf| found.contains(leaf)), "{version}");
            leaves = found;
        }
        let direct = bench.imds.paths().filter(|path| !leaves.contains(&(*path).to_owned()));
        assert_eq!(direct.count(), 0);
    }
}

/// The leaves below a folder, without the version.
fn walk(bench: &Bench, folder: &str) -> Vec<String> {
    let (listing, bare) = (bench.get(&format!("{folder}/")), bench.get(folder));
    assert_eq!(listing.content, bare.content, "{folder}");
    let Content::Text(text, _) = listing.content else {
        panic!("{folder} is no listing")
    };
    let text = String::from_utf8(text.to_vec()).unwrap();
    let names: Vec<&str> = text.lines().collect();
    assert!(
        names.is_sorted() && !text.ends_with('\n') && !names.is_empty(),
        "{folder}: {text}"
    );
    let mut leaves = Vec::new();
    for name in names {
        let (name, inside) = match (name.split_once('='), name.strip_suffix('/')) {
            (Some((number, _)), _) => (number, true),
            (None, Some(name)) => (name, true),
            // The listing of a version shows its folders without a slash (captures).
            (None, None) => (name, folder.matches('/').count() == 1 && name != "user-data"),
        };
        let path = format!("{folder}/{name}");
        if inside {
            leaves.extend(walk(bench, &path));
        } else {
            let leaf = bench.get(&path);
            assert_eq!(leaf.status, 200, "{path} is listed");
            assert_eq!(bench.get(&format!("{path}/")).content, leaf.content);
            assert_eq!(bench.get(&format!("{path}/x")).status, 404);
            assert_eq!(bench.ask("HEAD", &path, &[]).content, leaf.content);
            let (_, inner) = path.trim_start_matches('/').split_once('/').unwrap();
            leaves.push(inner.to_owned());
        }
    }
    leaves
}
