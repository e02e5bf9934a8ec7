//! Each source against an STS that writes down what it is sent.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use aws_smithy_async::time::SharedTimeSource;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::NoBase;
use crate::ambient;
use crate::config::{Aws, Base, Role};
use crate::credentials::{AssumeRole as _, Failure, Key, Sts};
use crate::fixture::{RULE, config};
use crate::policy::Edition;
use crate::upstream;

/// An STS on the loopback interface that gives everybody something, and what it was sent.
struct Scribe {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Scribe {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&written)));
            }
        });
        Self { url, requests }
    }

    fn aws(&self, credentials: Base) -> Aws {
        Aws {
            credentials,
            sts_endpoint: Some(self.url.clone()),
            ..config(RULE).aws
        }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, requests: Arc<Mutex<Vec<String>>>) {
    let mut text = String::new();
    let mut bytes = [0; 4096];
    loop {
        let read = stream.read(&mut bytes).await.unwrap_or(0);
        if read == 0 {
            return;
        }
        text += std::str::from_utf8(&bytes[..read]).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok())
            .unwrap_or(0);
        if body.len() < length {
            continue;
        }
        let (action, id) = if body.contains("WithWebIdentity") {
            ("AssumeRoleWithWebIdentity", "ASIAWEB")
        } else {
            ("AssumeRole", "ASIAJOB")
        };
        let answer = format!(
            "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><{action}Result>\
             <AssumedRoleUser><AssumedRoleId>AROA:s</AssumedRoleId><Arn>arn:aws:sts::123456789012:assumed-role/deploy/s</Arn></AssumedRoleUser>\
             <Credentials><AccessKeyId>{id}</AccessKeyId><SecretAccessKey>hidden</SecretAccessKey><SessionToken>webtoken</SessionToken>\
             <Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>\
             </{action}Result></{action}Response>"
        );
        requests.lock().unwrap().push(std::mem::take(&mut text));
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        );
        stream.write_all((head + &answer).as_bytes()).await.unwrap();
    }
}

fn role(name: &str) -> Role {
    Role::parse(name, &config(RULE).aws.home).unwrap()
}

fn key() -> Key {
    Key {
        role: role("deploy"),
        external_id: None,
        session_name: "s".to_owned(),
        policy: None,
        policy_arns: BTreeSet::new(),
        tags: Vec::new(),
        transitive: BTreeSet::new(),
        source_identity: None,
        duration_seconds: 3600,
        edition: Edition::FIRST,
    }
}

fn clock() -> SharedTimeSource {
    ambient::clock()
}

#[tokio::test]
async fn keys_of_the_environment_sign_and_are_missed_at_start_where_they_are_not() {
    let scribe = Scribe::start().await;
    let aws = scribe.aws(Base::Environment);
    let set = |name: &str| match name {
        "AWS_ACCESS_KEY_ID" => Some("AKIAENV".to_owned()),
        "AWS_SECRET_ACCESS_KEY" => Some("secret".to_owned()),
        _ => None,
    };
    let sts = Sts::new(&aws, &clock(), &upstream::client(), set).unwrap();
    assert_eq!(sts.assume_role(&key()).await.unwrap().access_key_id, "ASIAJOB");
    let requests = scribe.requests();
    assert!(
        requests.len() == 1 && requests[0].contains("Credential=AKIAENV/"),
        "{requests:?}"
    );
    let fault = Sts::new(&aws, &clock(), &upstream::client(), |name| {
        set(name).filter(|_| name != "AWS_SECRET_ACCESS_KEY")
    })
    .unwrap_err();
    assert!(matches!(
        fault,
        NoBase::Variable {
            name: "AWS_SECRET_ACCESS_KEY"
        }
    ));
}

#[tokio::test]
async fn a_web_identity_is_exchanged_at_the_same_sts_with_the_token_as_it_is_then() {
    let scribe = Scribe::start().await;
    let folder = tempfile::tempdir().unwrap();
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, "first.token\n").unwrap();
    let aws = scribe.aws(Base::WebIdentity {
        role: role("proxy"),
        token_file: token_file.clone(),
    });
    let sts = Sts::new(&aws, &clock(), &upstream::client(), |_| None).unwrap();
    std::fs::write(&token_file, "second.token\n").unwrap();
    assert_eq!(sts.assume_role(&key()).await.unwrap().access_key_id, "ASIAJOB");
    assert!(sts.assume_role(&key()).await.is_ok());
    let requests = scribe.requests();
    assert_eq!(requests.len(), 3, "exchanged once, used twice");
    let exchange = &requests[0];
    assert!(
        exchange.contains("WebIdentityToken=second.token&") || exchange.ends_with("WebIdentityToken=second.token"),
        "{exchange}"
    );
    assert!(exchange.contains("role%2Fproxy") && exchange.contains("RoleSessionName=metadata-proxy"));
    assert!(!exchange.to_lowercase().contains("\r\nauthorization:"), "{exchange}");
    for request in &requests[1..] {
        assert!(
            request.contains("Credential=ASIAWEB/") && request.contains("webtoken"),
            "{request}"
        );
    }
}

#[tokio::test]
async fn an_environment_that_forbids_the_endpoint_is_told_at_start() {
    let aws = config(RULE).aws;
    let set = |value: &'static str| move |name: &str| (name == "AWS_EC2_METADATA_DISABLED").then(|| value.to_owned());
    assert!(matches!(
        Sts::new(&aws, &clock(), &upstream::client(), set("TRUE")),
        Err(NoBase::Disabled)
    ));
    assert!(Sts::new(&aws, &clock(), &upstream::client(), set("false")).is_ok());
}

#[tokio::test]
async fn a_source_that_has_nothing_is_not_replaced_by_another() {
    let scribe = Scribe::start().await;
    let aws = scribe.aws(Base::WebIdentity {
        role: role("proxy"),
        token_file: PathBuf::from("/nowhere/token"),
    });
    // The environment has keys, and they are not asked for.
    let sts = Sts::new(&aws, &clock(), &upstream::client(), |_| Some("AKIAENV".to_owned())).unwrap();
    assert_eq!(sts.assume_role(&key()).await.unwrap_err(), Failure::Unreachable);
    assert_eq!(scribe.requests(), Vec::<String>::new());
}
