//! What a client in a container does: the metadata flow, single requests, raw bytes, the SDK.

use super::lines::{Asked, Line};
use super::request::{ROLE_LIST, Request, token_request};
use super::steps::{Got, success};
use super::{Play, PlayError};
use crate::case::model::Step;
use crate::oracle::answer::{Answer, Credentials, Exchange, classify_credentials, foreign};
use crate::probe::protocol::{Began, Sdk, SdkAssumed};
use crate::verdict::Verdict;

impl Play<'_> {
    /// A client's whole flow. Its verdict is that of the last answer it got to, unless something leaked on the way.
    pub(super) async fn imds(&mut self, step: &Step, each: Option<&str>) -> Result<Got, PlayError> {
        let host = self.host(step, each)?;
        let role = step.role.as_ref().map(|role| self.expand(role, each)).transpose()?;
        let line = self.line_at(&step.place)?;
        let exchanges = self
            .flow(&line, &step.place, &host, step.version.unwrap_or(2), role)
            .await?;
        let view = self.view_at(&step.place);
        let mut verdict = self.last_or_leak(&exchanges, &view);
        if let Some(name) = &step.newer_than
            && matches!(verdict, Verdict::Role(_))
            && !self.outlives(&exchanges, name)
        {
            verdict = Verdict::Other(format!("credentials that live no longer than `{name}`"));
        }
        if let Some(name) = &step.save {
            self.keep(name, &exchanges);
        }
        Ok(Got {
            verdict: Some(verdict),
            exchanges,
            what: format!("IMDSv{} flow against {host}", step.version.unwrap_or(2)),
        })
    }

    /// Token (version 2), role list, credentials of the first role listed or of the one asked for.
    pub(super) async fn flow(
        &self,
        line: &Line,
        place: &str,
        host: &str,
        version: u8,
        role: Option<String>,
    ) -> Result<Vec<Exchange>, PlayError> {
        let mut exchanges = Vec::new();
        let mut token = None;
        if version == 2 {
            let exchange = self
                .exchange(line, place, host, token_request(host, &[], &self.case.id), None)
                .await?;
            let blocked = exchange.connect != "ok";
            token = success(&exchange).map(|answer| answer.text());
            exchanges.push(exchange);
            if blocked {
                return Ok(exchanges);
            }
        }
        let get = |target: &str| {
            Request {
                method: "GET",
                target,
                host,
                token: token.as_deref(),
                headers: &[],
            }
            .bytes(&self.case.id)
        };
        let list = self.exchange(line, place, host, get(ROLE_LIST), None).await?;
        let listed = success(&list).and_then(|answer| answer.text().lines().next().map(str::to_owned));
        exchanges.push(list);
        if let Some(role) = role.or(listed).filter(|role| !role.is_empty()) {
            exchanges.push(
                self.exchange(line, place, host, get(&format!("{ROLE_LIST}{role}")), None)
                    .await?,
            );
        }
        Ok(exchanges)
    }

    /// What an entrypoint got that asked before anything else.
    pub(super) async fn began(&self, step: &Step) -> Result<Got, PlayError> {
        let line = self.line_at(&step.place)?;
        let answer = line.must(self.stage, &step.place, Began {}).await?;
        let exchanges: Vec<Exchange> = answer
            .steps
            .into_iter()
            .map(|taken| Exchange {
                place: step.place.clone(),
                request: format!("({}, by the entrypoint)", taken.name),
                connect: taken.answer.connect.to_string(),
                received: taken.answer.raw.0,
                end: taken
                    .answer
                    .end
                    .map_or_else(String::new, |end| format!("{end:?}").to_lowercase()),
            })
            .collect();
        let view = self.view_at(&step.place);
        Ok(Got {
            verdict: Some(self.last_or_leak(&exchanges, &view)),
            exchanges,
            what: "IMDSv2 flow of the entrypoint".to_owned(),
        })
    }

    /// Whether the last answer's credentials expire later than those saved.
    fn outlives(&self, exchanges: &[Exchange], saved: &str) -> bool {
        let last = exchanges.last().and_then(success);
        let expiry = last
            .and_then(|answer| Credentials::parse(&answer.body))
            .and_then(|credentials| credentials.expiration.parse::<jiff::Timestamp>().ok());
        match (expiry, self.expiry.get(saved)) {
            (Some(expiry), Some(before)) => expiry > *before,
            (Some(_) | None, None) | (None, Some(_)) => false,
        }
    }

    pub(super) async fn get(&mut self, step: &Step, each: Option<&str>) -> Result<Got, PlayError> {
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
                let source = bind
                    .as_ref()
                    .map(|bind| bind.split(':').next().unwrap_or(bind).to_owned());
                let exchange = self
                    .exchange(
                        &line,
                        &step.place,
                        &host,
                        token_request(&host, &[], &self.case.id),
                        source,
                    )
                    .await?;
                let token = success(&exchange).map(|answer| answer.text());
                let blocked = exchange.connect != "ok";
                exchanges.push(exchange);
                if blocked {
                    return Ok(Got {
                        verdict: Some(Verdict::Blocked),
                        exchanges,
                        what: format!("{method} {target}"),
                    });
                }
                token
            }
            given => Some(self.expand(given, each)?),
        };
        let bytes = Request {
            method: &method,
            target: &target,
            host: &host,
            token: token.as_deref(),
            headers: &headers,
        }
        .bytes(&self.case.id);
        let exchange = self.exchange(&line, &step.place, &host, bytes, bind).await?;
        if let Some(name) = &step.save {
            self.keep(name, std::slice::from_ref(&exchange));
        }
        exchanges.push(exchange);
        let view = self.view_at(&step.place);
        Ok(Got {
            verdict: Some(self.last_or_leak(&exchanges, &view)),
            exchanges,
            what: format!("{method} {target}"),
        })
    }

    pub(super) async fn token(&mut self, step: &Step, each: Option<&str>) -> Result<Got, PlayError> {
        let host = self.host(step, each)?;
        let headers = self.headers(step, each)?;
        let line = self.line_at(&step.place)?;
        let exchanges = vec![
            self.exchange(
                &line,
                &step.place,
                &host,
                token_request(&host, &headers, &self.case.id),
                None,
            )
            .await?,
        ];
        if let Some(name) = &step.save {
            self.keep(name, &exchanges);
        }
        let view = self.view_at(&step.place);
        Ok(Got {
            verdict: Some(self.last_or_leak(&exchanges, &view)),
            exchanges,
            what: "token request".to_owned(),
        })
    }

    pub(super) async fn raw(&mut self, step: &Step, each: Option<&str>) -> Result<Got, PlayError> {
        let to = self.expand(step.to.as_deref().unwrap_or("169.254.169.254:80"), each)?;
        let bytes = self.bytes(step, each)?;
        let bind = step.bind.as_ref().map(|bind| self.expand(bind, each)).transpose()?;
        let line = self.line_at(&step.place)?;
        let first = String::from_utf8_lossy(&bytes)
            .lines()
            .next()
            .unwrap_or_default()
            .escape_debug()
            .take(60)
            .collect::<String>();
        let exchanges = vec![
            line.exchange(self.stage, &step.place, &to, bytes, bind, self.patience(step.read_ms))
                .await?,
        ];
        if let Some(name) = &step.save {
            self.keep(name, &exchanges);
            if matches!(step.place.as_str(), "host" | "upstream") {
                // What a case takes from the instance's service, to let a job present it, is on that job's wire by the case's own doing.
                for exchange in &exchanges {
                    self.played.leaked.extend(self.stage.canaries.find(&exchange.received));
                }
            }
        }
        let view = self.view_at(&step.place);
        Ok(Got {
            verdict: Some(self.last_or_leak(&exchanges, &view)),
            exchanges,
            what: format!("bytes `{first}` to {to}"),
        })
    }

    pub(super) async fn sdk(&mut self, step: &Step, each: Option<&str>) -> Result<Got, PlayError> {
        let assume = step.assume.as_ref().map(|role| self.expand(role, each)).transpose()?;
        let line = self.line_at(&step.place)?;
        let view = self.view_at(&step.place);
        let what = match &assume {
            None => "AWS SDK: default chain, then GetCallerIdentity".to_owned(),
            Some(role) => format!("AWS SDK: default chain, then AssumeRole of {role}"),
        };
        let mut exchange = Exchange {
            place: step.place.clone(),
            request: what.clone(),
            connect: "ok".to_owned(),
            ..Exchange::default()
        };
        let verdict = match line.ask(self.stage, &step.place, Sdk { assume }).await? {
            Asked::Failure(failure) => {
                exchange.received = failure.to_string().into_bytes();
                Verdict::Unusable
            }
            Asked::Answer(answer) => {
                let token = answer.credentials.session_token.unwrap_or_default();
                let assumed = match &answer.assumed {
                    None => "",
                    Some(SdkAssumed::Token(token)) => token,
                    Some(SdkAssumed::Refused(why)) => why,
                };
                exchange.received = format!(
                    "{}\n{}\n{token}\n{assumed}",
                    answer.identity.arn, answer.credentials.access_key_id
                )
                .into_bytes();
                let credentials = Credentials {
                    access_key_id: answer.credentials.access_key_id,
                    provenance: fake_sts::provenance::decode(&token).ok(),
                    expiration: String::new(),
                };
                match (
                    foreign(self.stage.canaries.find(&exchange.received), &view),
                    &credentials.provenance,
                ) {
                    (Some(name), _) => Verdict::Leak(name),
                    (None, Some(provenance)) if !confirms(&answer.identity.arn, &provenance.role_arn) => {
                        Verdict::Other(format!("STS knows the caller as {}", answer.identity.arn))
                    }
                    (None, _) => match (classify_credentials(&credentials, &view), &answer.assumed) {
                        (verdict, None) => verdict,
                        // The role itself was the container's own: what counts is what it led to.
                        (Verdict::Role(_), Some(SdkAssumed::Refused(_))) => Verdict::Deny,
                        (Verdict::Role(_), Some(SdkAssumed::Token(_))) => Verdict::Other("another session".to_owned()),
                        (verdict, Some(_)) => verdict,
                    },
                }
            }
        };
        Ok(Got {
            verdict: Some(verdict),
            exchanges: vec![exchange],
            what,
        })
    }

    /// A harmless request over the route that leads to the endpoint: the fake STS is its neighbour.
    pub(super) async fn reach(&self, place: &str) -> Result<Got, PlayError> {
        let line = self.line_at(place)?;
        let host = crate::stage::STS_URL.trim_start_matches("http://");
        let bytes = Request {
            method: "GET",
            target: "/",
            host,
            token: None,
            headers: &[],
        }
        .bytes(&self.case.id);
        let exchange = self.exchange(&line, place, host, bytes, None).await?;
        let verdict = if Answer::parse(&exchange.received).is_some() {
            Verdict::Same
        } else {
            Verdict::Blocked
        };
        Ok(Got {
            verdict: Some(verdict),
            exchanges: vec![exchange],
            what: "a neighbour of the endpoint".to_owned(),
        })
    }
}

/// Whether the identity that STS confirms is a session of the role that the token names.
fn confirms(identity: &str, role_arn: &str) -> bool {
    let role = role_arn.rsplit('/').next().unwrap_or_default();
    identity
        .split(":assumed-role/")
        .nth(1)
        .and_then(|rest| rest.split('/').next())
        == Some(role)
}
