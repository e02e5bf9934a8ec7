//! Command line, exit codes, and what stands on the wire.

use crate::fake::{Fake, run, text};

#[test]
fn it_stops_cleanly_when_asked() {
    assert_eq!(Fake::start().stop(), Some(0));
}

#[test]
fn help_teaches() {
    let help = text(run(&["--help"]).stdout.as_slice());
    for word in [
        "--world",
        "--permissive",
        "AWS_ENDPOINT_URL_STS",
        "/ledger",
        "lifetime_seconds",
        "Exit codes",
    ] {
        assert!(help.contains(word), "{word}");
    }
}

#[test]
fn the_printed_world_is_one_that_it_takes() {
    let printed = run(&["--print-world"]);
    assert!(printed.status.success());
    let world = text(printed.stdout.as_slice());
    assert!(fake_sts::world::read(&world, "world.toml", &fake_kit::seed::Seed::default()).is_ok());
}

#[test]
fn a_broken_world_is_told_whole_and_ends_with_two() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("world.toml");
    std::fs::write(
        &file,
        "[account]\nid = 1\nregion = \"eu-central-1\"\n\n[[role]]\nname = \"a\"\n",
    )
    .unwrap();
    let common = ["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--world"];
    let ended = run(&[&common[..], &[file.to_str().unwrap()]].concat());
    assert_eq!(ended.status.code(), Some(2));
    let told = text(ended.stderr.as_slice()).replace(folder.path().to_str().unwrap(), "DIR");
    insta::assert_snapshot!(told, @r#"
    error: DIR/world.toml has 2 faults
    DIR/world.toml:2: account.id is not a text, or empty
      hint: write [account] with id = "123456789012", region = "eu-central-1", partition = "aws"
    DIR/world.toml:5: role[0].trust is missing
      hint: say who may assume the role: trust = { Version = "2012-10-17", Statement = [{ Effect = "Allow", Principal = { AWS = "123456789012" }, Action = "sts:AssumeRole" }] }
    "#);
    let missing = folder.path().join("none.toml");
    let ended = run(&[&common[..], &[missing.to_str().unwrap()]].concat());
    assert_eq!(ended.status.code(), Some(2));
    assert_eq!(run(&["--listen", "nowhere"]).status.code(), Some(2));
}

#[tokio::test]
async fn answers_have_the_headers_of_the_real_service() {
    let fake = Fake::start();
    let response = reqwest::get(format!(
        "{}/?Action=GetCallerIdentity&Version=2011-06-15",
        fake.endpoint
    ))
    .await
    .unwrap();
    assert_eq!(response.status(), 403);
    assert_eq!(response.headers()["content-type"], "text/xml");
    for name in ["x-amzn-requestid", "x-amz-sts-extended-request-id", "date"] {
        assert!(response.headers().contains_key(name), "{name}");
    }
    let id = response.headers()["x-amzn-requestid"].to_str().unwrap().to_owned();
    assert!(
        response
            .text()
            .await
            .unwrap()
            .contains(&format!("<RequestId>{id}</RequestId>"))
    );
    let client = reqwest::Client::builder().build().unwrap();
    let long = client.post(&fake.endpoint).body(vec![b'x'; 10_000_001]).send().await;
    assert!(long.is_err() || long.unwrap().status() == 413);
}
