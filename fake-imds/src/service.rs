//! The shell around the pure answer: time, faults, credentials, the socket's hop limit, the ledger. It must not decide what is
//! answered.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use fake_kit::control::ControlState;
use fake_kit::fault::Strike;
use fake_kit::malformed::Malformed;
use fake_kit::serve::{Reply, Request, Service};
use jiff::Timestamp;

use crate::answer::{self, Answer, Ask, Content, TOKEN};
use crate::credentials::{Delivery, Issued, Kind, object};
use crate::fleet::{Fleet, Origin};
use crate::imds::Imds;
use crate::machine::Machine;
use crate::rewrite;
use crate::wire::{self, Frame, Layout};

/// What the ledger calls this fake.
const NAME: &str = "imds";

/// The running metadata services of all instances.
#[derive(Debug)]
pub struct Endpoint {
    fleet: Fleet,
    machines: Vec<Machine>,
    keep_alive: bool,
    control: ControlState,
    requests: AtomicU64,
}

struct Finished {
    response: http::Response<Bytes>,
    story: Story,
}

/// What happened to a request, in words.
type Story = Vec<Cow<'static, str>>;

impl Endpoint {
    /// The services, with nothing asked yet. There are as many machines as claims of the fleet, in their order.
    pub fn new(fleet: Fleet, machines: Vec<Machine>, keep_alive: bool, control: ControlState) -> Self {
        Self {
            fleet,
            machines,
            keep_alive,
            control,
            requests: AtomicU64::new(0),
        }
    }

    /// All instances.
    pub fn machines(&self) -> &[Machine] {
        &self.machines
    }

    /// What the control API steers.
    pub fn control(&self) -> &ControlState {
        &self.control
    }

    /// As at the start.
    pub fn reset(&self) {
        for machine in &self.machines {
            machine.reset();
        }
    }

    fn machine(&self, request: &Request) -> Option<&Machine> {
        let origin = Origin {
            local: request.connection.local(),
            source: request.connection.source(),
            token: request.headers.get(TOKEN).map(|token| token.as_bytes()),
        };
        self.machines.get(self.fleet.choose(origin))
    }

    async fn finish(
        &self,
        machine: &Machine,
        imds: &Imds,
        answer: Answer,
        strike: Strike,
        arrived: Timestamp,
    ) -> Finished {
        // What was held or delayed is answered later than it came.
        let now = if strike.story.is_empty() {
            arrived
        } else {
            self.control.clock.now()
        };
        let mut story: Story = strike.story.into_iter().map(Cow::from).collect();
        let mut token_seconds = answer.token_seconds;
        let mut status = answer.status;
        let (mut allow, mut location) = (answer.allow, answer.location);
        let content = match &strike.error {
            Some(failure) => {
                (status, token_seconds, allow, location) = (failure.status, None, None, None);
                if failure.message.is_empty() {
                    answer::error(imds, status, "").content
                } else {
                    Content::Page(failure.message.clone().into())
                }
            }
            None => {
                story.push(answer.why.into());
                answer.content
            }
        };
        let (layout, body) = match content {
            Content::Empty | Content::Silence => (Layout::Empty, Bytes::new()),
            Content::Token(token) => (Layout::Token, token.into()),
            Content::Text(text, changed) => (Layout::Data(changed), text),
            Content::Json(text, changed) => (Layout::Json(changed), text),
            Content::UserData(data, changed) => (Layout::UserData(changed), data),
            Content::Page(page) => (Layout::Page, page),
            Content::ContainerRefusal(code) => (Layout::Container, refusal(code, answer.why)),
            Content::Credentials(_) | Content::Extended | Content::Container => {
                // Only an answer to a valid token says how long it lives; at the endpoint for containers there are none to show.
                let delivery = match (&content, token_seconds) {
                    (Content::Container, _) | (_, Some(_)) => Delivery::V2,
                    (_, None) => Delivery::V1,
                };
                let asked = Asked {
                    machine,
                    imds,
                    delivery,
                    content: &content,
                    lifetime_seconds: strike.lifetime_seconds,
                    rewrite: &strike.rewrite,
                    now,
                };
                // Boxed: few requests are for credentials, and all would carry the room that these need.
                match Box::pin(credentials(asked, &mut story)).await {
                    Some(document) => {
                        status = document.status;
                        (document.layout, document.body)
                    }
                    None => {
                        (status, token_seconds) = (500, None);
                        (Layout::Empty, Bytes::new())
                    }
                }
            }
        };
        let frame = Frame {
            status,
            layout,
            token_seconds,
            allow,
            location,
            keep_alive: self.keep_alive,
            now,
        };
        let mut response = wire::lay_out(&frame, fake_kit::rewrite::body(&strike.rewrite, body));
        for unknown in rewrite::response(&strike.rewrite, &mut response) {
            story.push(format!("a rewrite was not understood: {unknown}").into());
        }
        Finished { response, story }
    }
}

/// Which credentials are asked for, and what a fault makes of them.
struct Asked<'a> {
    machine: &'a Machine,
    imds: &'a Imds,
    delivery: Delivery,
    content: &'a Content,
    lifetime_seconds: Option<u64>,
    rewrite: &'a BTreeMap<String, String>,
    now: Timestamp,
}

/// The document of credentials; nothing if none could be had.
async fn credentials(asked: Asked<'_>, story: &mut Story) -> Option<Document> {
    let kind = match asked.content {
        Content::Credentials(kind) => *kind,
        _ => Kind::Role,
    };
    let issued = match asked
        .machine
        .credentials(kind, asked.delivery, asked.now, asked.lifetime_seconds)
        .await
    {
        Ok(issued) => issued,
        Err(error) => {
            tracing::warn!(%error, "no credentials");
            story.push(error.to_string().into());
            return None;
        }
    };
    if let Issued::Refused { said, .. } = &issued {
        story.push(format!("the fake STS refused: {said}").into());
    }
    let world = asked.imds.world();
    let mut fields = issued.fields();
    let mut document = Document {
        status: 200,
        layout: Layout::Data(issued.changed()),
        body: Bytes::new(),
    };
    match asked.content {
        Content::Container => {
            document.layout = Layout::Container;
            if matches!(issued, Issued::Refused { .. }) {
                document.status = 400;
            } else {
                let role_arn = world.role_arn(&asked.imds.attachment(asked.now).role);
                fields.retain(|(name, _)| !matches!(name.as_str(), "Code" | "LastUpdated" | "Type"));
                fields.insert(0, ("RoleArn".to_owned(), role_arn));
            }
        }
        Content::Extended => fields.push(("AccountId".to_owned(), world.account.id.clone())),
        _ => {}
    }
    rewrite::fields(asked.rewrite, &mut fields, asked.now);
    let fields = fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    document.body = match document.layout {
        Layout::Container => on_a_line(fields),
        _ => object(fields.map(|(name, value)| (name, value.into()))).into(),
    };
    Some(document)
}

/// A document of credentials, and how it is answered.
struct Document {
    status: u16,
    layout: Layout,
    body: Bytes,
}

fn refusal(code: &str, message: &str) -> Bytes {
    on_a_line([("code", code), ("message", message)].into_iter())
}

/// JSON as Go writes it: on a line, in the order of the fields.
fn on_a_line<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> Bytes {
    let fields: Vec<String> = fields
        .map(|(name, value)| format!("{}:{}", serde_json::Value::from(name), serde_json::Value::from(value)))
        .collect();
    format!("{{{}}}", fields.join(",")).into()
}

impl Service for Endpoint {
    async fn answer(&self, request: Request) -> Reply {
        let now = self.control.clock.now();
        let Some(machine) = self.machine(&request) else {
            return Reply::Reset;
        };
        let imds = machine.imds();
        let ask = Ask {
            method: &request.method,
            path: request.uri.path(),
            headers: &request.headers,
            over_ipv6: request.connection.local_ip().is_some_and(|ip| ip.is_ipv6()),
            number: self.requests.fetch_add(1, Ordering::Relaxed),
            sees_notices: machine.notifies(&imds, request.connection.source(), request.uri.path()),
        };
        let mut answer = answer::answer(&imds, &machine.options_of(&imds, now), now, &ask);
        if answer.content != Content::Silence && !machine.admits(now) {
            answer = answer::overloaded(&imds, answer.facts);
        }
        let open = self.control.ledger.open(NAME, now, &request, &answer.facts);
        let strike = self.control.faults.strike(&self.control.holds, &answer.facts).await;
        if strike.reset || answer.content == Content::Silence {
            let mut story = strike.story;
            story.push(answer.why.to_owned());
            open.answer(0, story.join("; "));
            return Reply::Reset;
        }
        let hop_limit = rewrite::hop_limit(&strike.rewrite).or(answer.hop_limit);
        let mut finished = self.finish(machine, &imds, answer, strike, now).await;
        // Before the answer is written, and never put back: a retransmit must not travel farther than the first copy.
        if let Some(hops) = hop_limit {
            match request.connection.set_hop_limit(hops) {
                Ok(()) => finished.story.push(format!("hop limit {hops}").into()),
                Err(error) => {
                    open.answer(0, format!("the hop limit could not be set: {error}"));
                    return Reply::Reset;
                }
            }
        }
        let status = finished.response.status().as_u16();
        match finished.story.as_slice() {
            [only] => open.answer(status, only),
            several => open.answer(status, several.join("; ")),
        }
        Reply::Response(finished.response)
    }

    fn malformed(&self, malformed: Malformed) -> Option<http::Response<Bytes>> {
        let now = self.control.clock.now();
        self.control.ledger.record_malformed(NAME, now, &malformed);
        let connection = &malformed.connection;
        let machine = self.machines.get(self.fleet.choose(Origin {
            local: connection.local(),
            source: connection.source(),
            token: None,
        }))?;
        let answer = answer::error(&machine.imds(), malformed.status, "no request");
        let (layout, body) = match answer.content {
            Content::Page(page) => (Layout::Page, page),
            _ => (Layout::Empty, Bytes::new()),
        };
        let frame = Frame {
            status: malformed.status,
            layout,
            token_seconds: None,
            allow: None,
            location: None,
            // Nobody knows where the next request would begin.
            keep_alive: false,
            now,
        };
        Some(wire::lay_out(&frame, body))
    }
}
