//! What each action of a case does. Exchanges go to the oracle for their verdict; nothing here knows which verdict would be good.

use std::collections::BTreeMap;
use std::time::Duration;

use super::lines::{Asked, Line};
use super::request::{ENDPOINT, ROLE_LIST, Request, answers_awaited, destination, token_request};
use super::{Play, PlayError};
use crate::case::model::{Action, Step};
use crate::case::unescape;
use crate::oracle::answer::{Answer, Credentials, Exchange, View, classify, classify_credentials, foreign};
use crate::probe::bytes::Base64;
use crate::probe::protocol::{Accepted, Close, Connect, Listen, Open, Receive, Sdk, Send};
use crate::report::Attempt;
use crate::verdict::{Expected, Verdict};

/// What an action brought: its verdict if it makes one, and the evidence.
#[derive(Debug, Default)]
pub(super) struct Got {
    pub(super) verdict: Option<Verdict>,
    pub(super) exchanges: Vec<Exchange>,
    pub(super) what: String,
}

impl Play<'_> {
    /// Takes one step, for one value of `each`.
    pub(super) async fn take(&mut self, number: usize, step: &Step, each: Option<&str>) -> Result<(), PlayError> {
        let got = self.act_out(step, each).await?;
        let Some(verdict) = got.verdict else { return Ok(()) };
        if !step.attempt.unwrap_or_else(|| step.action.is_attempt()) {
            return Ok(());
        }
        let expected = step.expect.get(&self.defence).or_else(|| self.case.expect.get(&self.defence)).cloned();
        let view = self.view_at(&step.place);
        let attempt = Attempt {
            step: number,
            place: step.place.clone(),
            what: match each {
                Some(value) if !got.what.contains(value) => format!("{} [{}]", got.what, value.escape_debug().take(60).collect::<String>()),
                Some(_) | None => got.what,
            },
            note: step.note.clone(),
            verdict,
            expected: expected.unwrap_or_else(|| Expected(Vec::new())),
            exchanges: got.exchanges.iter().map(|exchange| self.stage.redactor.exchange(exchange)).collect(),
        };
        self.record(attempt, &got.exchanges, &view);
        Ok(())
    }

    async fn act_out(&mut self, step: &Step, each: Option<&str>) -> Result<Got, PlayError> {
        match step.action {
            Action::Imds => self.imds(step, each).await,
            Action::Get => self.get(step, each).await,
            Action::Token => self.token(step, each).await,
            Action::Raw => self.raw(step, each).await,
            Action::Sdk => self.sdk(step).await,
            Action::Reach => self.reach(&step.place).await,
            Action::Open | Action::Send | Action::Receive | Action::Close => self.on_connection(step, each).await,
            Action::Listen | Action::Accepted => self.on_listener(step, each).await,
            Action::Ip => {
                let args: Vec<String> = step.args.iter().map(|arg| self.expand(arg, each)).collect::<Result<_, _>>()?;
                self.actors.run_ip(&self.stage.docker, &step.place, &args).await?;
                Ok(Got::default())
            }
            Action::Launch | Action::Remove | Action::Kill | Action::Start | Action::Connect | Action::Disconnect => {
                self.on_container(step).await?;
                Ok(Got::default())
            }
            Action::Proxy => {
                self.stage.signal_proxy(step.signal.as_deref().unwrap_or_default()).await?;
                Ok(Got::default())
            }
            Action::Fault | Action::Hold | Action::Release | Action::Expired => {
                self.on_fake(step, each).await?;
                Ok(Got::default())
            }
        }
    }

    /// A client's whole flow. Its verdict is that of the last answer it got to, unless something leaked on the way.
    async fn imds(&mut self, step: &Step, each: Option<&str>) -> Result<Got, PlayError> {
        let host = self.host(step, each)?;
        let role = step.role.as_ref().map(|role| self.expand(role, each)).transpose()?;
        let line = self.line_at(&step.place)?;
        let exchanges = self.flow(&line, &step.place, &host, step.version.unwrap_or(2), role).await?;
        if let Some(name) = &step.save {
            self.keep(name, &exchanges);
        }
        let view = self.view_at(&step.place);
        Ok(Got {
            verdict: Some(self.last_or_leak(&exchanges, &view)),
            exchanges,
            what: format!("IMDSv{} flow against {host}", step.version.unwrap_or(2)),
        })
    }

    /// Token (version 2), role list, credentials of the first role listed or of the one asked for.
    pub(super) async fn flow(&self, line: &Line, place: &str, host: &str, version: u8, role: Option<String>) -> Result<Vec<Exchange>, PlayError> {
        let mut exchanges = Vec::new();
        let mut token = None;
        if version == 2 {
            let exchange = self.exchange(line, place, host, token_request(host, &[], &self.case.id), None).await?;
            let blocked = exchange.connect != "ok";
            token = success(&exchange).map(|answer| answer.text());
            exchanges.push(exchange);
            if blocked {
                return Ok(exchanges);
            }
        }
        let get = |target: &str| {
            Request { method: "GET", target, host, token: token.as_deref(), headers: &[] }.bytes(&self.case.id)
        };
        let list = self.exchange(line, place, host, get(ROLE_LIST), None).await?;
        let listed = success(&list).and_then(|answer| answer.text().lines().next().map(str::to_owned));
        exchanges.push(list);
        if let Some(role) = role.or(listed).filter(|role| !role.is_empty()) {
            exchanges.push(self.exchange(line, place, host, get(&format!("{ROLE_LIST}{role}")), None).await?);
        }
        Ok(exchanges)
    }

    async fn get(&mut self, step: &Step, each: Option<&str>) -> Result<Got, PlayError> {
        let host = self.host(step, each)?;
        let target = self.expand(step.path.as_deref().unwrap_or("/"), each)?;
        let method = self.expand(step.method.as_deref().unwrap_or("GET"), each)?;
        let headers = self.headers(step, each)?;
        let bind = step.bind.as_ref().map(|bind| self.expand(bind, each)).transpose()?;
        let line = self.line_at(&step.place)?;
        let mut exchanges = Vec::new();
        let token = match step.token.as_deref().unwrap_or("own") {
            "none" => None,
            "own" => {
                // Where the token comes from is not what the step is about: a port of its own, and only the address is bound.
                let source = bind.as_ref().map(|bind| bind.split(':').next().unwrap_or(bind).to_owned());
                let exchange = self.exchange(&line, &step.place, &host, token_request(&host, &[], &self.case.id), source).await?;
                let token = success(&exchange).map(|answer| answer.text());
                let blocked = exchange.connect != "ok";
                exchanges.push(exchange);
                if blocked {
                    return Ok(Got { verdict: Some(Verdict::Blocked), exchanges, what: format!("{method} {target}") });
                }
                token
            }
            given => Some(self.expand(given, each)?),
        };
        let bytes = Request { method: &method, target: &target, host: &host, token: token.as_deref(), headers: &headers }.bytes(&self.case.id);
        exchanges.push(self.exchange(&line, &step.place, &host, bytes, bind).await?);
        if let Some(name) = &step.save {
            self.keep(name, &exchanges);
        }
        let view = self.view_at(&step.place);
        Ok(Got { verdict: Some(self.last_or_leak(&exchanges, &view)), exchanges, what: format!("{method} {target}") })
    }

    async fn token(&mut self, step: &Step, each: Option<&str>) -> Result<Got, PlayError> {
        let host = self.host(step, each)?;
        let headers = self.headers(step, each)?;
        let line = self.line_at(&step.place)?;
        let exchanges = vec![self.exchange(&line, &step.place, &host, token_request(&host, &headers, &self.case.id), None).await?];
        if let Some(name) = &step.save {
            self.keep(name, &exchanges);
        }
        let view = self.view_at(&step.place);
        Ok(Got { verdict: Some(self.last_or_leak(&exchanges, &view)), exchanges, what: "token request".to_owned() })
    }

    async fn raw(&mut self, step: &Step, each: Option<&str>) -> Result<Got, PlayError> {
        let to = self.expand(step.to.as_deref().unwrap_or("169.254.169.254:80"), each)?;
        let bytes = self.bytes(step, each)?;
        let bind = step.bind.as_ref().map(|bind| self.expand(bind, each)).transpose()?;
        let line = self.line_at(&step.place)?;
        let first = String::from_utf8_lossy(&bytes).lines().next().unwrap_or_default().escape_debug().take(60).collect::<String>();
        let exchanges = vec![line.exchange(self.stage, &step.place, &to, bytes, bind).await?];
        let view = self.view_at(&step.place);
        Ok(Got { verdict: Some(self.last_or_leak(&exchanges, &view)), exchanges, what: format!("bytes `{first}` to {to}") })
    }

    async fn sdk(&mut self, step: &Step) -> Result<Got, PlayError> {
        let line = self.line_at(&step.place)?;
        let view = self.view_at(&step.place);
        let what = "AWS SDK: default chain, then GetCallerIdentity".to_owned();
        let mut exchange = Exchange { place: step.place.clone(), request: what.clone(), connect: "ok".to_owned(), ..Exchange::default() };
        let verdict = match line.ask(self.stage, &step.place, Sdk {}).await? {
            Asked::Failure(failure) => {
                exchange.received = failure.to_string().into_bytes();
                Verdict::Unusable
            }
            Asked::Answer(answer) => {
                let token = answer.credentials.session_token.unwrap_or_default();
                exchange.received = format!("{}\n{}\n{token}", answer.identity.arn, answer.credentials.access_key_id).into_bytes();
                let credentials = Credentials {
                    access_key_id: answer.credentials.access_key_id,
                    provenance: fake_sts::provenance::decode(&token).ok(),
                    expiration: String::new(),
                };
                match (foreign(self.stage.canaries.find(&exchange.received), &view), &credentials.provenance) {
                    (Some(name), _) => Verdict::Leak(name),
                    (None, Some(provenance)) if !confirms(&answer.identity.arn, &provenance.role_arn) => {
                        Verdict::Other(format!("STS knows the caller as {}", answer.identity.arn))
                    }
                    (None, _) => classify_credentials(&credentials, &view),
                }
            }
        };
        Ok(Got { verdict: Some(verdict), exchanges: vec![exchange], what })
    }

    /// A harmless request over the route that leads to the endpoint: the fake STS is its neighbour.
    pub(super) async fn reach(&self, place: &str) -> Result<Got, PlayError> {
        let line = self.line_at(place)?;
        let host = crate::stage::STS_URL.trim_start_matches("http://");
        let bytes = Request { method: "GET", target: "/", host, token: None, headers: &[] }.bytes(&self.case.id);
        let exchange = self.exchange(&line, place, host, bytes, None).await?;
        let verdict = if Answer::parse(&exchange.received).is_some() { Verdict::Same } else { Verdict::Blocked };
        Ok(Got { verdict: Some(verdict), exchanges: vec![exchange], what: "a neighbour of the endpoint".to_owned() })
    }

    async fn on_connection(&mut self, step: &Step, each: Option<&str>) -> Result<Got, PlayError> {
        let name = self.expand(step.name.as_deref().unwrap_or("connection"), each)?;
        let key = (step.place.clone(), name.clone());
        let line = self.line_at(&step.place)?;
        let (stage, place) = (self.stage, step.place.as_str());
        if step.action == Action::Open {
            let to = self.expand(step.to.as_deref().unwrap_or("169.254.169.254:80"), each)?;
            let bind = step.bind.as_ref().map(|bind| self.expand(bind, each)).transpose()?;
            let opened = line.must(stage, place, Open { name, to, bind, connect_ms: None }).await?;
            self.connections.insert(key, opened.connect.to_string());
            return Ok(Got::default());
        }
        let connect = self.connections.get(&key).cloned().unwrap_or_else(|| Connect::Refused.to_string());
        if connect != "ok" {
            // Nothing to write to or read from: what the open got is the answer.
            let exchange = Exchange { place: place.to_owned(), connect, ..Exchange::default() };
            return Ok(Got { verdict: Some(Verdict::Blocked), exchanges: vec![exchange], what: format!("connection {name}") });
        }
        match step.action {
            Action::Send => {
                let data = Base64(self.bytes(step, each)?);
                line.must(stage, place, Send { name, data, half_close: false }).await?;
                Ok(Got::default())
            }
            Action::Receive => {
                let received = line.must(stage, place, Receive { name: name.clone(), read_ms: None, responses: Some(1) }).await?;
                let exchange = Exchange {
                    place: place.to_owned(),
                    request: format!("(sent earlier on connection {name})"),
                    connect,
                    received: received.received.0,
                    end: format!("{:?}", received.end).to_lowercase(),
                };
                if let Some(saved) = &step.save {
                    self.keep(saved, std::slice::from_ref(&exchange));
                }
                let view = self.view_at(place);
                let exchanges = vec![exchange];
                Ok(Got { verdict: Some(self.last_or_leak(&exchanges, &view)), exchanges, what: format!("answer on connection {name}") })
            }
            _ => {
                self.connections.remove(&key);
                line.must(stage, place, Close { name, reset: false }).await?;
                Ok(Got::default())
            }
        }
    }

    async fn on_listener(&mut self, step: &Step, each: Option<&str>) -> Result<Got, PlayError> {
        let name = step.name.clone().unwrap_or_else(|| "listener".to_owned());
        let line = self.line_at(&step.place)?;
        if step.action == Action::Listen {
            let at = self.expand(step.at.as_deref().unwrap_or("0.0.0.0:8080"), each)?;
            let answer = if step.send.is_some() { Some(Base64(self.bytes(step, each)?)) } else { None };
            line.must(self.stage, &step.place, Listen { name, at, answer }).await?;
            return Ok(Got::default());
        }
        let accepted = line.must(self.stage, &step.place, Accepted { name: name.clone(), ..Accepted::default() }).await?;
        let count = accepted.connections.len();
        let what = format!("listener {name} counts its visitors");
        let visitors = accepted.connections.into_iter().map(|visit| Exchange {
            place: step.place.clone(),
            request: format!("(connection from {})", visit.peer),
            connect: "ok".to_owned(),
            received: visit.received.0,
            end: String::new(),
        });
        let exchanges: Vec<Exchange> = visitors.collect();
        let too_many = u64::try_from(count).is_ok_and(|count| count > step.at_most.unwrap_or(u64::MAX));
        Ok(Got { verdict: too_many.then(|| Verdict::Other(format!("{count} connections"))), exchanges, what })
    }

    async fn on_container(&mut self, step: &Step) -> Result<(), PlayError> {
        let network = step.network.as_ref().map(|network| super::actors::network_name(&self.case.id, network));
        match step.action {
            Action::Launch => self.launch(step.place.clone()).await,
            Action::Remove => self.actors.remove(&self.stage.docker, &step.place).await,
            Action::Kill => self.actors.kill(&self.stage.docker, &step.place).await,
            Action::Start => self.begin(&step.place).await,
            Action::Connect => self.join(&step.place, network.as_deref().unwrap_or_default()).await,
            _ => self.actors.disconnect(&self.stage.docker, &step.place, network.as_deref()).await,
        }
    }

    async fn on_fake(&mut self, step: &Step, each: Option<&str>) -> Result<(), PlayError> {
        let service = step.service.as_deref().unwrap_or("sts");
        let control = self.stage.fake(service);
        let name = step.name.as_deref().unwrap_or_default();
        let done = |error| PlayError::lab(format!("{:?} at fake-{service}", step.action), &error);
        match step.action {
            Action::Fault => {
                let matching: BTreeMap<String, String> = step
                    .matching
                    .iter()
                    .map(|(fact, pattern)| Ok((fact.clone(), self.expand(pattern, each)?)))
                    .collect::<Result<_, PlayError>>()?;
                let effect = serde_json::to_value(step.effect.clone().unwrap_or_default()).map_err(|error| PlayError::lab("fault", &error))?;
                let id = control.plant(&matching, &effect).await.map_err(|error| PlayError::lab("planting a fault", &error))?;
                self.faults.push((service.to_owned(), id));
                Ok(())
            }
            Action::Hold => control.wait_held(name).await.map_err(done),
            Action::Release => control.release(name).await.map_err(done),
            _ => self.wait_until_expired(name).await,
        }
    }

    /// Credentials live shorter by a fault of the fake STS; the wait is for their own expiry, as the clock of this machine tells it.
    async fn wait_until_expired(&self, name: &str) -> Result<(), PlayError> {
        let Some(expiry) = self.expiry.get(name) else {
            return Err(PlayError::Lab { what: format!("waiting until `{name}` expires"), why: "no credentials were saved under that name".to_owned() });
        };
        let left = expiry.duration_since(self.stage.ambient.now()).unsigned_abs();
        if expiry > &self.stage.ambient.now() {
            if left > Duration::from_secs(20) {
                return Err(PlayError::Lab { what: format!("waiting until `{name}` expires"), why: format!("that is {left:?} away") });
            }
            tokio::time::sleep(left + Duration::from_millis(1100)).await;
        }
        Ok(())
    }

    fn keep(&mut self, name: &str, exchanges: &[Exchange]) {
        for answer in exchanges.iter().filter_map(success) {
            match Credentials::parse(&answer.body) {
                Some(credentials) => {
                    if let Ok(expiry) = credentials.expiration.parse() {
                        self.expiry.insert(name.to_owned(), expiry);
                    }
                }
                None => {
                    self.saved.entry(name.to_owned()).or_insert_with(|| answer.text());
                }
            }
        }
        // A case may go on to use what a refusal did not give: then there is nothing, not a missing name.
        self.saved.entry(name.to_owned()).or_default();
    }

    fn last_or_leak(&self, exchanges: &[Exchange], view: &View) -> Verdict {
        let verdicts: Vec<Verdict> = exchanges.iter().map(|exchange| classify(exchange, &self.stage.canaries, view)).collect();
        let leak = verdicts.iter().filter(|verdict| verdict.is_leak()).max_by_key(|verdict| matches!(verdict, Verdict::Leak(name) if name == "host-role"));
        leak.or(verdicts.last()).cloned().unwrap_or(Verdict::Void)
    }

    async fn exchange(&self, line: &Line, place: &str, host: &str, bytes: Vec<u8>, bind: Option<String>) -> Result<Exchange, PlayError> {
        debug_assert!(answers_awaited(&bytes) >= 1);
        line.exchange(self.stage, place, &destination(host), bytes, bind).await
    }

    fn host(&self, step: &Step, each: Option<&str>) -> Result<String, PlayError> {
        self.expand(step.host.as_deref().unwrap_or(ENDPOINT), each)
    }

    fn headers(&self, step: &Step, each: Option<&str>) -> Result<Vec<(String, String)>, PlayError> {
        step.headers.iter().map(|(name, value)| Ok((self.expand(name, each)?, self.expand(value, each)?))).collect()
    }

    fn bytes(&self, step: &Step, each: Option<&str>) -> Result<Vec<u8>, PlayError> {
        let text = self.expand(step.send.as_deref().unwrap_or_default(), each)?;
        unescape(&text).map_err(|error| PlayError::lab("the step's bytes", &error))
    }
}

/// The first answer of an exchange, if it is a success.
pub(super) fn success(exchange: &Exchange) -> Option<Answer> {
    Answer::parse(&exchange.received).filter(|answer| (200..300).contains(&answer.status))
}

/// Whether the identity that STS confirms is a session of the role that the token names.
fn confirms(identity: &str, role_arn: &str) -> bool {
    let role = role_arn.rsplit('/').next().unwrap_or_default();
    identity.split(":assumed-role/").nth(1).and_then(|rest| rest.split('/').next()) == Some(role)
}
