//! Carries out one operation at a time for whoever asks; holds what lives across operations.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::bytes::Base64;
use super::connect::{bounded, connect};
use super::connections::Connections;
use super::http::{Url, parse, render};
use super::listeners::Listeners;
use super::protocol::{
    Address, Began, Connect, Done, Env, EnvAnswer, Failure, FailureKind, Http, HttpAnswer, Imds, ImdsAnswer, ImdsStep,
    Interface, InterfacesAnswer, MAX_BYTES, MAX_MS, Operation, READ_MS, Raw, RawAnswer, Resolve, ResolveAnswer,
};
use super::{ambient, receive, sdk};

/// The endpoint that a metadata client asks when it is told no other.
const ENDPOINT: &str = "169.254.169.254";
/// The lifetime that the usual clients ask for, in seconds (the longest that the service grants).
const TOKEN_SECONDS: &str = "21600";

/// The process's side of every operation.
#[derive(Default)]
pub struct Host {
    environment: Vec<(String, String)>,
    connections: Connections,
    listeners: Listeners,
    /// The flow that began with the process.
    began: Mutex<Option<JoinHandle<Result<ImdsAnswer, Failure>>>>,
}

impl std::fmt::Debug for Host {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The environment of a job holds secrets.
        formatter.debug_struct("Host").finish_non_exhaustive()
    }
}

fn answer<T: Serialize>(result: Result<T, Failure>) -> Result<Value, Failure> {
    serde_json::to_value(result?).map_err(|error| Failure {
        kind: FailureKind::System,
        message: error.to_string(),
    })
}

fn refused(message: &str) -> Failure {
    Failure {
        kind: FailureKind::Request,
        message: message.to_owned(),
    }
}

impl Host {
    /// A host whose process has this environment.
    pub fn of(environment: Vec<(String, String)>) -> Self {
        Self {
            environment,
            ..Self::default()
        }
    }

    /// Begins a client's whole flow, before anybody has asked for anything.
    #[must_use]
    pub fn asking_at_once(self) -> Self {
        let imds = Imds {
            version: 2,
            host: None,
            role: None,
            connect_ms: None,
            read_ms: None,
        };
        Self {
            began: Mutex::new(Some(tokio::spawn(metadata(imds)))),
            ..self
        }
    }

    async fn began(&self) -> Result<ImdsAnswer, Failure> {
        let Some(asking) = self.began.lock().await.take() else {
            return Err(refused("nothing was asked at once, or it has been told"));
        };
        asking.await.unwrap_or_else(|error| {
            Err(Failure {
                kind: FailureKind::System,
                message: error.to_string(),
            })
        })
    }

    /// Does what is asked.
    pub async fn perform(&self, operation: Operation) -> Result<Value, Failure> {
        match operation {
            Operation::Raw(raw) => answer(self.raw(raw).await),
            Operation::Http(http) => answer(exchange(&http).await),
            Operation::Imds(imds) => answer(metadata(imds).await),
            Operation::Sdk(sdk) => answer(sdk::identify(&sdk).await),
            Operation::Assume(assume) => answer(sdk::assume(assume).await),
            Operation::Open(open) => answer(self.connections.open(open).await),
            Operation::Send(send) => answer(self.connections.send(send).await),
            Operation::Receive(receive) => answer(self.connections.receive(receive).await),
            Operation::Close(close) => answer(self.connections.close(&close).await),
            Operation::Offer(offer) => answer(self.connections.offer(&offer).await),
            Operation::Take(take) => answer(self.connections.take(take).await),
            Operation::Began(Began {}) => answer(self.began().await),
            Operation::Listen(listen) => answer(self.listeners.listen(listen).await),
            Operation::Accepted(accepted) => answer(self.listeners.accepted(accepted).await),
            Operation::Unlisten(unlisten) => answer(self.listeners.unlisten(&unlisten).await),
            Operation::Knock(asked) => answer(super::knock::knock(&asked).await),
            Operation::Address(address) => answer(change(&address).await),
            Operation::Interfaces(_) => answer(interfaces().await),
            Operation::Env(Env {}) => answer(Ok(EnvAnswer {
                env: self.environment.clone(),
                hostname: hostname().await,
            })),
            Operation::Resolve(resolve) => answer(Ok(lookup(&resolve).await)),
            Operation::Ping(_) => answer(Ok(Done {})),
        }
    }

    async fn raw(&self, raw: Raw) -> Result<RawAnswer, Failure> {
        if raw.send.0.len() > MAX_BYTES {
            return Err(refused("send is longer than 4 MiB"));
        }
        let mut stream = match connect(&raw.to, raw.bind.as_deref(), raw.connect_ms).await? {
            Ok(stream) => stream,
            Err(connect) => {
                return Ok(RawAnswer {
                    connect,
                    received: Base64::default(),
                    end: None,
                    local: None,
                    peer: None,
                });
            }
        };
        let local = stream.local_addr().ok().map(|address| address.to_string());
        let peer = stream.peer_addr().ok().map(|address| address.to_string());
        let time = bounded(raw.read_ms, READ_MS);
        // Reading goes on even where sending failed: a server that refuses early answers and then resets.
        let (mut read, mut write) = stream.split();
        let sending = receive::send(&mut write, &raw.send.0, raw.half_close, time);
        let (_, (received, end)) = tokio::join!(sending, receive::receive(&mut read, time, raw.responses));
        Ok(RawAnswer {
            connect: Connect::Ok,
            received: Base64(received),
            end: Some(end),
            local,
            peer,
        })
    }
}

pub(super) async fn exchange(http: &Http) -> Result<HttpAnswer, Failure> {
    let mut url = Url::parse(&http.url).ok_or_else(|| refused("url is not http://HOST[:PORT]/PATH"))?;
    if let Some(target) = &http.target {
        url.target.clone_from(target);
    }
    let mut stream = match connect(&url.to, None, http.connect_ms).await? {
        Ok(stream) => stream,
        Err(connect) => {
            return Ok(HttpAnswer {
                connect,
                status: None,
                headers: Vec::new(),
                body: Base64::default(),
                raw: Base64::default(),
                end: None,
            });
        }
    };
    let time = bounded(http.read_ms, READ_MS);
    let bytes = render(
        &http.method,
        &url,
        &http.headers,
        http.body.as_ref().map(|body| body.0.as_slice()),
    );
    let to_head = http.method == "HEAD";
    let (mut read, mut write) = stream.split();
    let sending = receive::send(&mut write, &bytes, false, time);
    let wanted = (!to_head).then_some(1);
    let (_, (raw, end)) = tokio::join!(sending, receive::receive(&mut read, time, wanted));
    let response = parse(&raw, to_head);
    let (status, headers, body) = response.map_or((None, Vec::new(), Vec::new()), |response| {
        (Some(response.status), response.headers, response.body)
    });
    Ok(HttpAnswer {
        connect: Connect::Ok,
        status,
        headers,
        body: Base64(body),
        raw: Base64(raw),
        end: Some(end),
    })
}

async fn metadata(imds: Imds) -> Result<ImdsAnswer, Failure> {
    if !matches!(imds.version, 1 | 2) {
        return Err(refused("version is neither 1 nor 2"));
    }
    let base = format!("http://{}/latest", imds.host.as_deref().unwrap_or(ENDPOINT));
    let request = |method: &str, path: &str, headers: Vec<(String, String)>| Http {
        method: method.to_owned(),
        url: format!("{base}{path}"),
        target: None,
        headers,
        body: None,
        connect_ms: imds.connect_ms,
        read_ms: imds.read_ms,
    };
    let mut steps = Vec::new();
    let mut headers = Vec::new();
    if imds.version == 2 {
        let lifetime = (
            "X-aws-ec2-metadata-token-ttl-seconds".to_owned(),
            TOKEN_SECONDS.to_owned(),
        );
        let Some(token) = step(&mut steps, "token", &request("PUT", "/api/token", vec![lifetime])).await? else {
            return Ok(ImdsAnswer { steps });
        };
        headers.push(("X-aws-ec2-metadata-token".to_owned(), token));
    }
    let list = request("GET", "/meta-data/iam/security-credentials/", headers.clone());
    let Some(list) = step(&mut steps, "list", &list).await? else {
        return Ok(ImdsAnswer { steps });
    };
    let role = imds
        .role
        .clone()
        .unwrap_or_else(|| list.lines().next().unwrap_or_default().trim().to_owned());
    let credentials = request("GET", &format!("/meta-data/iam/security-credentials/{role}"), headers);
    step(&mut steps, "credentials", &credentials).await?;
    Ok(ImdsAnswer { steps })
}

/// Takes one step; the body where it was answered with 200 and can be gone on with.
async fn step(steps: &mut Vec<ImdsStep>, name: &str, http: &Http) -> Result<Option<String>, Failure> {
    let answer = exchange(http).await?;
    let body = (answer.status == Some(200)).then(|| String::from_utf8_lossy(&answer.body.0).into_owned());
    steps.push(ImdsStep {
        name: name.to_owned(),
        answer,
    });
    // A token with a line break could not be sent back as a header.
    Ok(body.filter(|body| name != "token" || !body.contains(['\r', '\n'])))
}

async fn change(address: &Address) -> Result<Done, Failure> {
    let (verb, what) = match (&address.add, &address.del) {
        (Some(what), None) => ("add", what),
        (None, Some(what)) => ("del", what),
        (Some(_), Some(_)) | (None, None) => return Err(refused("exactly one of add and del")),
    };
    let (ip, prefix) = what.split_once('/').unwrap_or((what, "0"));
    if ip.parse::<std::net::IpAddr>().is_err() || prefix.parse::<u8>().is_err() {
        return Err(refused("not an address with prefix length"));
    }
    let dev_is_plain = address
        .dev
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_'));
    if !dev_is_plain || address.dev.is_empty() {
        return Err(refused("not the name of an interface"));
    }
    let mut arguments = vec!["address", verb, what, "dev", &address.dev];
    if verb == "add" && ip.contains(':') {
        // Duplicate address detection would leave it unusable for a second.
        arguments.push("nodad");
    }
    ambient::ip(&arguments).await?;
    Ok(Done {})
}

async fn interfaces() -> Result<InterfacesAnswer, Failure> {
    let list = |bytes: Vec<u8>| -> Vec<Value> { serde_json::from_slice(&bytes).unwrap_or_default() };
    let text = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
    let interfaces = list(ambient::ip(&["-json", "address", "show"]).await?)
        .iter()
        .filter_map(|link| {
            let addresses = link.get("addr_info").and_then(Value::as_array);
            Some(Interface {
                name: text(link, "ifname")?,
                mac: text(link, "address"),
                addresses: addresses
                    .into_iter()
                    .flatten()
                    .filter_map(|info| Some(format!("{}/{}", text(info, "local")?, info.get("prefixlen")?)))
                    .collect(),
            })
        })
        .collect();
    let mut gateways = Vec::new();
    for family in ["-4", "-6"] {
        let routes = list(ambient::ip(&["-json", family, "route", "show", "default"]).await?);
        gateways.extend(routes.iter().filter_map(|route| text(route, "gateway")));
    }
    Ok(InterfacesAnswer { interfaces, gateways })
}

async fn hostname() -> String {
    let name = tokio::fs::read_to_string("/proc/sys/kernel/hostname").await;
    name.unwrap_or_default().trim().to_owned()
}

async fn lookup(resolve: &Resolve) -> ResolveAnswer {
    let asking = tokio::net::lookup_host((resolve.name.as_str(), 0));
    let mut addresses = match tokio::time::timeout(Duration::from_millis(MAX_MS), asking).await {
        Ok(Ok(found)) => found.map(|address| address.ip().to_string()).collect(),
        Ok(Err(_)) | Err(_) => Vec::new(),
    };
    addresses.dedup();
    ResolveAnswer { addresses }
}
