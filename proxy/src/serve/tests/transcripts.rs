//! What the real service answers, demanded of the proxy: the recorded exchanges that apply to it (`scenarios/transcripts`).

use std::path::Path;

use transcript::{Transcript, Values};

use super::{PUT, world};

/// Values of the sanctioned container. The ids that STS makes are those of the scripted one, which are shorter than real ones.
fn values(token: &str) -> Values {
    Values::new()
        .with("token", token)
        .with("account", "123456789012")
        .with("region", "eu-central-1")
        .with("role", "deploy")
        .with("profile", "deploy")
        .with("id:16", "0")
        .with("base64:40", "secret0ofdeploy")
}

/// A connection stays open where the client does not close it, unlike the real service's: the records close theirs.
fn request(transcript: &Transcript, values: &Values) -> String {
    let lines = transcript.request_head.iter().map(|line| values.fill(line).unwrap());
    let head: Vec<String> = lines.chain(["Connection: close".to_owned()]).collect();
    let body = values.fill(&transcript.request_body).unwrap();
    format!("{}\r\n\r\n{body}", head.join("\r\n"))
}

#[tokio::test(start_paused = true)]
async fn every_recorded_answer_that_applies_is_given() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/transcripts/imds");
    let (mut judged, mut differences) = (0, Vec::new());
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "http") {
            continue;
        }
        let transcript = Transcript::parse(&std::fs::read_to_string(&path).unwrap()).unwrap();
        if !transcript.applies.iter().any(|who| who == "proxy") {
            continue;
        }
        let world = world();
        let token = world.ask(PUT).await;
        let values = values(token.split("\r\n\r\n").nth(1).unwrap());
        let received = world.ask(&request(&transcript, &values)).await;
        if let Err(difference) = transcript.judge(&values, received.as_bytes()) {
            differences.push(format!("{}: {difference}", path.display()));
        }
        judged += 1;
    }
    assert!(judged >= 15, "only {judged} records apply");
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
