//! The invariants of ARCHITECTURE.md, kept by looking at the sources.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may end the program")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn read(path: &str) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn tables(manifest: &str) -> toml::Table {
    read(manifest).parse().unwrap()
}

fn keys(table: &toml::Table, name: &str) -> BTreeSet<String> {
    table
        .get(name)
        .and_then(toml::Value::as_table)
        .map(|table| table.keys().cloned().collect())
        .unwrap_or_default()
}

/// Every Rust source below a directory of the repository, with its path from the root.
fn sources(directory: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![root().join(directory)];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "{directory} holds no source");
    found.sort();
    found
}

const CRATES: [&str; 9] = [
    "proxy",
    "fake-imds",
    "fake-sts",
    "scenarios",
    "support/fake-kit",
    "support/lab",
    "support/testcontainers",
    "support/transcript",
    "support/weak-proxy",
];
const OWN: [&str; 9] = [
    "metadata-proxy",
    "fake-imds",
    "fake-sts",
    "scenarios",
    "fake-kit",
    "lab",
    "metadata-testcontainers",
    "transcript",
    "weak-proxy",
];

#[test]
fn the_list_of_crates_is_whole() {
    let members: BTreeSet<String> = tables("Cargo.toml")["workspace"]["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| member.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(members, CRATES.map(str::to_owned).into());
}

#[test]
fn the_proxy_depends_on_no_other_crate_of_the_workspace() {
    let dependencies = keys(&tables("proxy/Cargo.toml"), "dependencies");
    assert!(!dependencies.is_empty());
    for own in OWN {
        assert!(!dependencies.contains(own), "the proxy depends on {own}");
    }
}

#[test]
fn only_weak_proxy_links_the_proxy_and_never_what_decides() {
    for member in CRATES
        .iter()
        .filter(|member| !matches!(**member, "proxy" | "support/weak-proxy"))
    {
        let manifest = tables(&format!("{member}/Cargo.toml"));
        for section in ["dependencies", "dev-dependencies"] {
            assert!(
                !keys(&manifest, section).contains("metadata-proxy"),
                "{member} links the proxy"
            );
        }
    }
    for (name, text) in sources("support/weak-proxy/src") {
        for decided in ["policy", "routes", "request", "token", "credentials", "answer", "serve"] {
            assert!(
                !text.contains(&format!("metadata_proxy::{decided}")),
                "{name} uses the proxy's {decided}"
            );
        }
    }
}

#[test]
fn no_fake_shares_code_with_another_but_through_fake_kit() {
    for (member, others) in [
        ("fake-imds", ["fake-sts", "lab"]),
        ("fake-sts", ["fake-imds", "lab"]),
        ("support/fake-kit", ["fake-imds", "fake-sts"]),
    ] {
        let dependencies = keys(&tables(&format!("{member}/Cargo.toml")), "dependencies");
        for other in others {
            assert!(!dependencies.contains(other), "{member} depends on {other}");
        }
    }
}

#[test]
fn the_lab_and_the_kit_know_no_word_of_aws() {
    let words = ["imds", "aws", "amazon", "sts", "iam", "ec2", "metadata", "credential"];
    for (name, text) in sources("support/lab/src")
        .into_iter()
        .chain(sources("support/fake-kit/src"))
    {
        for (number, line) in text.lines().enumerate() {
            let line = line.to_lowercase();
            for word in line
                .split(|character: char| !character.is_alphanumeric())
                .filter(|word| words.contains(word))
            {
                // The file system has metadata too.
                let of_files = word == "metadata"
                    && (line.contains("fs::") || line.contains(".metadata()") || line.contains("_metadata("));
                assert!(of_files, "{name}:{} says `{word}`", number + 1);
            }
        }
    }
}

#[test]
fn decisions_touch_no_socket_no_runtime_no_clock_and_no_file() {
    let outside = [
        "tokio::net",
        "tokio::fs",
        "tokio::time",
        "tokio::spawn",
        "std::net::Tcp",
        "std::net::Udp",
        "std::os::unix::net",
        "std::fs",
        "File::open",
        "SystemTime::now",
        "Instant::now",
        "Timestamp::now",
        "std::env",
        "std::process",
        "rand::rng",
        "reqwest",
        "hyper::",
    ];
    for place in PURE {
        let path = root().join(place);
        let files = if path.is_dir() {
            sources(place)
        } else {
            vec![((*place).to_owned(), read(place))]
        };
        for (name, text) in files {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            if name.ends_with("tests.rs") {
                continue;
            }
            for word in outside {
                assert!(!code.contains(word), "{name} decides, and names {word}");
            }
        }
    }
}

/// Where decisions are made.
const PURE: &[&str] = &[
    "fake-sts/src/answer",
    "fake-sts/src/assume_role.rs",
    "fake-sts/src/federated.rs",
    "fake-sts/src/iam",
    "fake-sts/src/inquiry",
    "fake-sts/src/inquiry.rs",
    "fake-sts/src/oidc",
    "fake-sts/src/permission.rs",
    "fake-sts/src/rewrite.rs",
    "fake-sts/src/saml",
    "fake-sts/src/saml_identity.rs",
    "fake-sts/src/seal.rs",
    "fake-sts/src/policy",
    "fake-sts/src/session_token.rs",
    "fake-sts/src/signature",
    "fake-sts/src/web_identity.rs",
    "fake-sts/src/world",
    "proxy/src/answer",
    "proxy/src/attest/judge.rs",
    "proxy/src/audit/keys.rs",
    "proxy/src/compat",
    "proxy/src/config",
    "proxy/src/control/sessions.rs",
    "proxy/src/doctor/judge.rs",
    "proxy/src/engine/lines.rs",
    "proxy/src/bucket.rs",
    "proxy/src/gitlab/answer.rs",
    "proxy/src/gitlab/token.rs",
    "proxy/src/explain/mod.rs",
    "proxy/src/explain/page.rs",
    "proxy/src/explain/words.rs",
    "proxy/src/health/verdict.rs",
    "proxy/src/paragraph.rs",
    "proxy/src/policy",
    "proxy/src/runner",
    "proxy/src/selftest/canary.rs",
    "scenarios/src/audit/inside.rs",
    "scenarios/src/audit/judge.rs",
    "scenarios/src/audit/name.rs",
    "scenarios/src/audit/place.rs",
    "scenarios/src/audit/plan.rs",
    "scenarios/src/audit/report.rs",
    "scenarios/src/audit/surroundings.rs",
    "scenarios/src/audit/table.rs",
    "scenarios/src/audit/way",
    "scenarios/src/audit/way.rs",
    "scenarios/src/oracle",
    "scenarios/src/verdict.rs",
    "scenarios/src/expand.rs",
    "scenarios/src/cast.rs",
    "scenarios/src/compose.rs",
    "scenarios/src/select.rs",
    "scenarios/src/report/table.rs",
    "scenarios/src/play/request.rs",
    "proxy/src/credentials/restraint.rs",
    "proxy/src/instance/leaf.rs",
    "proxy/src/routes.rs",
    "proxy/src/serve/container.rs",
];

#[test]
fn ambient_calls_are_excused_in_one_file_per_program_only() {
    for member in CRATES {
        for (name, text) in sources(&format!("{member}/src")) {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let excused = code.contains("clippy::disallowed_methods") && !name.ends_with("tests.rs");
            assert!(
                !excused || name.ends_with("/ambient.rs"),
                "{name} excuses itself from clippy.toml"
            );
        }
    }
}

#[test]
fn no_file_is_longer_than_a_person_reads() {
    for member in CRATES {
        for (name, text) in sources(member) {
            let lines = text.lines().count();
            assert!(lines <= 500, "{name} has {lines} lines: which two things does it do?");
        }
    }
}

#[test]
fn entry_points_that_the_readme_names_exist() {
    let readme = read("README.md");
    for entry in ["ci/lab", "ci/test", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        assert!(readme.contains(entry), "the readme does not name {entry}");
        assert!(root().join(entry).exists(), "{entry} does not exist");
    }
}
