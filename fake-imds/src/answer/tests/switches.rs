//! Each open question both ways.

use super::*;

fn with(switches: &str) -> Bench {
    Bench::world(&format!("[instance]\nswitches = {{ {switches} }}\n"))
}

fn page(answer: &Answer) -> String {
    match &answer.content {
        Content::Page(page) => String::from_utf8(page.to_vec()).unwrap(),
        other => format!("{other:?}"),
    }
}

#[test]
fn bodies_of_400_and_403_are_empty_or_a_page() {
    let put = |bench: &Bench, headers: &[(&str, &str)]| bench.ask("PUT", "/latest/api/token", headers);
    assert_eq!(put(&with(""), &[]).content, Content::Empty);
    let paged = with("error_body = \"page\"");
    assert!(page(&put(&paged, &[])).contains("<title>400 - Bad Request</title>"));
    assert!(page(&put(&paged, &[("x-forwarded-for", "")])).contains("<h1>403 - Forbidden</h1>"));
    assert_eq!(
        paged.ask("GET", "/latest/", &[(TOKEN, "x")]).content,
        Content::Empty,
        "401 is known"
    );
}

#[test]
fn an_overloaded_service_answers_503_429_or_nothing() {
    let told = |switches: &str| {
        let answer = overloaded(&with(switches).imds, Facts::new());
        (answer.status, answer.content)
    };
    assert_eq!(told(""), (503, Content::Empty));
    assert_eq!(told("overload = \"too-many-requests\""), (429, Content::Empty));
    assert_eq!(told("overload = \"reset\""), (0, Content::Silence));
}

#[test]
fn a_listing_without_its_slash_is_the_listing_or_a_redirect_or_nothing() {
    let get = |switches: &str, path: &str| with(switches).get(path);
    assert_eq!(
        get("", "/latest/meta-data").content,
        get("", "/latest/meta-data/").content
    );
    let redirect = "listing_without_slash = \"redirect\"";
    let answer = get(redirect, "/latest/meta-data");
    assert_eq!(
        (answer.status, answer.location.as_deref()),
        (301, Some("/latest/meta-data/"))
    );
    assert_eq!(get(redirect, "/latest/meta-data/").status, 200);
    assert_eq!(get(redirect, "/latest/meta-data/ami-id").status, 200);
    let empty = "listing_without_slash = \"empty\"";
    assert_eq!(
        get(empty, "/latest/meta-data").content,
        Content::Text(Bytes::new(), now())
    );
    assert_ne!(
        get(empty, "/latest/meta-data/").content,
        Content::Text(Bytes::new(), now())
    );
}

#[test]
fn a_bad_token_is_refused_or_ignored_but_never_where_one_is_needed() {
    let status = |bench: &Bench| bench.ask("GET", "/latest/", &[(TOKEN, "bad")]).status;
    assert_eq!(status(&with("")), 401);
    let ignoring = with("bad_token = \"ignored\"");
    assert_eq!(status(&ignoring), 200);
    assert_eq!(ignoring.ask("GET", "/latest/", &[(TOKEN, "bad")]).token_seconds, None);
    let options = MetadataOptions {
        http_tokens: HttpTokens::Required,
        ..ignoring.options
    };
    assert_eq!(status(&Bench { options, ..ignoring }), 401);
}

#[test]
fn hardware_addresses_are_listed_with_a_slash_or_without() {
    let path = "/latest/meta-data/network/interfaces/macs/";
    assert_eq!(with("").text(path), "06:1d:9a:5b:3c:7e/");
    assert_eq!(with("mac_slash = false").text(path), "06:1d:9a:5b:3c:7e");
}

#[test]
fn later_versions_have_what_the_last_known_one_has() {
    let bench = with("later_versions = [\"2025-03-01\", \"2026-09-01\"]");
    assert!(
        bench
            .text("/")
            .ends_with("\n2024-04-11\n2025-03-01\n2026-09-01\nlatest")
    );
    assert_eq!(bench.text("/2026-09-01/meta-data/"), bench.text("/latest/meta-data/"));
    let put = bench.ask("PUT", "/2026-09-01/api/token", &[(TTL, "60")]);
    assert_eq!(
        (put.status, put.facts.get("path")),
        (403, Some("/2026-09-01/api/token"))
    );
    assert_eq!(with("").get("/2026-09-01/meta-data/").status, 404);
    assert_eq!(bench.get("/2026-09-010/meta-data/").status, 404);
}

#[test]
fn tags_that_are_off_are_absent_or_empty() {
    let off = |bench: Bench| {
        let options = MetadataOptions {
            instance_metadata_tags: TagsInMetadata::Disabled,
            ..bench.options
        };
        Bench { options, ..bench }
    };
    let absent = off(with(""));
    for path in ["tags", "tags/", "tags/instance", "tags/instance/Name"] {
        assert_eq!(absent.get(&format!("/latest/meta-data/{path}")).status, 404, "{path}");
    }
    assert!(!absent.text("/latest/meta-data/").contains("tags"));
    let empty = off(with("tags_off = \"empty\""));
    assert_eq!(empty.text("/latest/meta-data/tags/instance"), "");
    assert_eq!(empty.get("/latest/meta-data/tags/instance/Name").status, 404);
    assert_eq!(
        with("tags_off = \"empty\"").text("/latest/meta-data/tags/instance/Name"),
        "runner-host"
    );
}

#[test]
fn notices_are_on_one_line_or_several() {
    let notice = |switches: &str| {
        let text = format!(
            "[instance]\nlife_cycle = \"spot\"\nswitches = {{ {switches} }}\n[[instance.timeline]]\nafter = 0\nspot = \"stop\"\nrebalance = true\n"
        );
        let bench = Bench::world(&text);
        assert_eq!(
            bench.get("/latest/meta-data/spot/termination-time").status,
            404,
            "only for terminate"
        );
        bench.text("/latest/meta-data/spot/instance-action")
    };
    assert_eq!(notice(""), r#"{"action": "stop", "time": "2026-01-02T03:06:05Z"}"#);
    let lines = "{\n  \"action\" : \"stop\",\n  \"time\" : \"2026-01-02T03:06:05Z\"\n}";
    assert_eq!(notice("notices = \"lines\""), lines);
}

#[test]
fn extended_credentials_and_the_old_name_of_the_card_are_there_where_switched() {
    let path = "/latest/meta-data/iam/security-credentials-extended/lab-host";
    assert_eq!(with("").get(path).status, 404);
    assert_eq!(with("extended_credentials = true").get(path).content, Content::Extended);
    let card = |switches: &str| {
        let text = format!(
            "[instance]\nswitches = {{ {switches} }}\n[[instance.interface]]\nmac = \"0e:00:00:00:00:01\"\nnetwork_card = 2\n"
        );
        Bench::world(&text).text("/latest/meta-data/network/interfaces/macs/0e:00:00:00:00:01/")
    };
    assert!(card("").contains("\nnetwork-card-index\n"));
    assert!(card("network_card = true").contains("\nnetwork-card\n"));
}

#[test]
fn a_deleted_profile_is_told_in_a_document() {
    let bench = Bench::world("[instance]\nprofile_state = \"not-found\"\n");
    insta::assert_snapshot!(bench.text("/latest/meta-data/iam/info"), @r#"
    {
      "Code" : "InstanceProfileNotFound",
      "Message" : "Instance Profile with Id AIPAJLBGKKMWDYP25GH2X cannot be found.  Please see documentation at https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_iam-ec2.html.",
      "LastUpdated" : "2026-01-02T03:04:05Z"
    }
    "#);
    assert_eq!(bench.get("/latest/meta-data/iam/security-credentials/").status, 404);
}
