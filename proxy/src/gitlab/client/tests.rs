//! The client against a GitLab API on the loopback interface.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{Servers, escape};
use crate::config::{Gitlab, Ref, RefType, Verification};
use crate::fixture::gitlab::{FakeGitlab, READER, TOKEN, answer, server, with_token};
use crate::fixture::{facts, label};
use crate::gitlab::{Ask as _, Question, Unverified, Verdict};
use crate::policy::{Edition, read_labels};

fn question(wanted: Verification) -> Question {
    let mut facts = with_token(facts());
    // A job that names another server gets its token no further than the rule's.
    label(&mut facts, "job.url", "https://gitlab.example.com/g/p/-/jobs/302");
    let job = read_labels(&facts.labels, &facts.image_labels).unwrap();
    Question::new(&facts, &job, Edition::FIRST, &wanted).unwrap()
}

async fn ask(server: &Gitlab, wanted: Verification) -> Verdict {
    Servers::new(std::slice::from_ref(server))
        .unwrap()
        .ask(&question(wanted))
        .await
}

async fn ask_plainly(gitlab: &FakeGitlab) -> Verdict {
    ask(&server(&gitlab.url), Verification::default()).await
}

fn protected() -> Verification {
    Verification {
        protected: true,
        ref_types: [RefType::Branch, RefType::Tag].into(),
    }
}

/// A server with the operator's token.
fn with_reader(url: &str, token: &str) -> (Gitlab, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    std::fs::write(&path, token).unwrap();
    let server = Gitlab {
        token_file: Some(path),
        ..server(url)
    };
    (server, directory)
}

#[tokio::test]
async fn the_job_is_asked_for_once_with_its_own_token() {
    let gitlab = FakeGitlab::start().await;
    assert_eq!(ask_plainly(&gitlab).await, Ok(()));
    assert_eq!(gitlab.asked(), ["GET /git/api/v4/job"]);
}

#[tokio::test]
async fn each_answer_that_is_no_yes_says_why() {
    let gitlab = FakeGitlab::start().await;
    let with = |place: &str, value: serde_json::Value| {
        let mut answer = answer();
        *answer.pointer_mut(place).unwrap() = value;
        answer
    };
    for (status, body, expected) in [
        (200, with("/id", json!(303)), Unverified::Differs("job")),
        (
            200,
            with("/pipeline/project_id", json!(21)),
            Unverified::Differs("project"),
        ),
        (200, with("/status", json!("canceling")), Unverified::NotRunning),
        (200, json!({}), Unverified::Untold("pipeline")),
        (401, json!({"message": "401 Unauthorized"}), Unverified::TokenRefused),
        (403, json!({}), Unverified::TokenRefused),
        (404, json!({}), Unverified::TokenRefused),
        (429, json!({}), Unverified::Throttled),
        (500, answer(), Unverified::Broken),
        (503, answer(), Unverified::Broken),
        (201, answer(), Unverified::Broken),
    ] {
        gitlab.say(status, &body);
        assert_eq!(ask_plainly(&gitlab).await, Err(expected), "{status} {body}");
    }
    gitlab.say(200, "<html>Sign in</html>");
    assert_eq!(ask_plainly(&gitlab).await, Err(Unverified::Broken));
}

#[tokio::test]
async fn no_token_follows_a_redirect() {
    let gitlab = FakeGitlab::start().await;
    for status in [301, 302, 303, 307, 308] {
        gitlab.say(status, "");
        assert_eq!(ask_plainly(&gitlab).await, Err(Unverified::Redirected));
    }
    assert_eq!(gitlab.asked(), ["GET /git/api/v4/job"; 5]);
}

#[tokio::test]
async fn an_answer_may_be_long_but_not_endless() {
    let gitlab = FakeGitlab::start().await;
    let mut long = answer();
    long["commit"]["message"] = json!("x".repeat(60_000));
    gitlab.say(200, &long);
    assert_eq!(ask_plainly(&gitlab).await, Ok(()));
    long["commit"]["message"] = json!("x".repeat(70_000));
    gitlab.say(200, &long);
    assert_eq!(ask_plainly(&gitlab).await, Err(Unverified::Broken));
}

/// Answers every connection with these bytes, and closes it.
async fn answering(bytes: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _read = stream.read(&mut request).await;
            let _written = stream.write_all(bytes.as_bytes()).await;
        }
    });
    url
}

#[tokio::test]
async fn an_answer_that_ends_early_or_is_no_http_is_none() {
    let body = answer().to_string();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let whole = answering(format!("{head}{body}")).await;
    assert_eq!(ask(&server(&whole), Verification::default()).await, Ok(()));
    let cut = answering(format!("{head}{}", &body[..body.len() - 1])).await;
    assert_eq!(
        ask(&server(&cut), Verification::default()).await,
        Err(Unverified::Broken)
    );
    // A yes that is followed by something else is none.
    let chunked = answering(format!(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n",
        body.len()
    ));
    let chunked = ask(&server(&chunked.await), Verification::default()).await;
    assert_eq!(chunked, Err(Unverified::Broken));
    for other in ["", "SSH-2.0-OpenSSH\r\n"] {
        let url = answering(other.to_owned()).await;
        let told = ask(&server(&url), Verification::default()).await;
        assert!(matches!(told, Err(why) if !why.is_refusal()), "{told:?}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_confirms_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    assert_eq!(
        ask(&server(&url), Verification::default()).await,
        Err(Unverified::Unreachable)
    );
    // Nor does one that the operator did not describe.
    let nobody = Servers::new(&[]).unwrap();
    assert_eq!(
        nobody.ask(&question(Verification::default())).await,
        Err(Unverified::Unreachable)
    );
}

#[tokio::test]
async fn a_protected_ref_is_asked_for_with_the_operators_token_and_by_its_type() {
    let gitlab = FakeGitlab::start().await;
    let (server, directory) = with_reader(&gitlab.url, &format!("{READER}\n"));
    assert_eq!(ask(&server, protected()).await, Ok(()));
    let branch = "GET /git/api/v4/projects/20/repository/branches/main";
    assert_eq!(gitlab.asked(), ["GET /git/api/v4/job", branch]);
    gitlab.say_of_branch(200, json!({"name": "main", "protected": false}));
    assert_eq!(ask(&server, protected()).await, Err(Unverified::NotProtected));
    gitlab.say_of_branch(200, json!({"name": "main"}));
    let untold = Unverified::Untold("protection of the ref");
    assert_eq!(ask(&server, protected()).await, Err(untold));
    gitlab.say_of_branch(500, "");
    assert_eq!(ask(&server, protected()).await, Err(Unverified::Broken));
    // Anybody who may push can make a tag of a protected branch's name.
    gitlab.say_of_branch(200, json!({"name": "main", "protected": true}));
    let mut of_tag = answer();
    of_tag["tag"] = json!(true);
    gitlab.say(200, of_tag);
    assert_eq!(ask(&server, protected()).await, Err(Unverified::NotProtected));
    assert!(gitlab.asked().last().unwrap().ends_with("/tags/main"));
    // Nobody asks about the ref of a job that is not confirmed.
    let asked = gitlab.asked().len();
    gitlab.say(401, "");
    assert_eq!(ask(&server, protected()).await, Err(Unverified::TokenRefused));
    assert_eq!(gitlab.asked().len(), asked + 1);
    gitlab.say(200, answer());
    std::fs::write(directory.path().join("token"), "another").unwrap();
    assert_eq!(ask(&server, protected()).await, Err(Unverified::NotProtected));
    gitlab.say_of_branch(401, "");
    std::fs::write(directory.path().join("token"), READER).unwrap();
    assert_eq!(ask(&server, protected()).await, Err(Unverified::ReaderRefused));
    std::fs::remove_file(directory.path().join("token")).unwrap();
    assert_eq!(ask(&server, protected()).await, Err(Unverified::ReaderUnreadable));
}

#[test]
fn a_ref_is_one_segment_of_a_path() {
    for (reference, escaped) in [
        ("main", "main"),
        ("release/1.0", "release%2F1%2E0"),
        ("..", "%2E%2E"),
        ("a?b#c%2F&ä", "a%3Fb%23c%252F%26%C3%A4"),
    ] {
        assert_eq!(escape(&Ref::parse(reference).unwrap()), escaped);
    }
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/tls")
        .join(format!("{name}.pem"))
}

/// A GitLab behind TLS, whose certificate is this one; its port.
async fn behind_tls(certificate: &str) -> u16 {
    let chain = vec![CertificateDer::from_pem_file(file(certificate)).unwrap()];
    let key = PrivateKeyDer::from_pem_file(file(&format!("{certificate}-key"))).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut request = [0; 4096];
            let read = stream.read(&mut request).await.unwrap_or_default();
            let is_asked = String::from_utf8_lossy(&request[..read]).contains(TOKEN);
            assert!(is_asked, "nobody who is believed is asked without the token");
            let body = answer().to_string();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let _written = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
    port
}

#[tokio::test]
async fn a_server_is_believed_if_its_authority_is_the_one_that_is_stated() {
    let port = behind_tls("engine").await;
    let at = |host: &str, ca: Option<&str>| Gitlab {
        ca: ca.map(file),
        ..server(&format!("https://{host}:{port}"))
    };
    let told = ask(&at("127.0.0.1", Some("authority")), Verification::default()).await;
    assert_eq!(told, Ok(()));
    // Another authority; and another name than the certificate's.
    for server in [at("127.0.0.1", Some("stranger")), at("localhost", Some("authority"))] {
        let told = ask(&server, Verification::default()).await;
        assert_eq!(told, Err(Unverified::Unreachable), "{}", server.url);
    }
    let unusable = Servers::new(&[at("127.0.0.1", Some("engine-key"))]).unwrap_err();
    assert!(unusable.to_string().contains("gitlab.example.com"), "{unusable}");
}
