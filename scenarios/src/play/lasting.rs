//! What outlasts a step: connections, listeners, containers, faults of the fakes.

use std::collections::BTreeMap;
use std::time::Duration;

use super::actors::missing;
use super::steps::Got;
use super::{Play, PlayError};
use crate::case::model::{Action, Step};
use crate::oracle::answer::Exchange;
use crate::probe::bytes::Base64;
use crate::probe::protocol::{Accepted, Close, Connect, Listen, Offer, Open, Receive, Send, Take};
use crate::verdict::Verdict;

/// Where the runner's configuration of a case mounts the volume over which connections are handed.
const VOLUME: &str = "/shared";
/// Both clocks are this machine's; what is left is rounding.
const MARGIN: Duration = Duration::from_millis(100);

impl Play<'_> {
    pub(super) async fn on_connection(&mut self, step: &Step, each: Option<&str>) -> Result<Got, PlayError> {
        let name = self.expand(step.name.as_deref().unwrap_or("connection"), each)?;
        let key = (step.place.clone(), name.clone());
        let line = self.line_at(&step.place)?;
        let (stage, place) = (self.stage, step.place.as_str());
        if step.action == Action::Open {
            let to = self.expand(step.to.as_deref().unwrap_or("169.254.169.254:80"), each)?;
            let bind = step.bind.as_ref().map(|bind| self.expand(bind, each)).transpose()?;
            let opened = line
                .must(
                    stage,
                    place,
                    Open {
                        name,
                        to,
                        bind,
                        connect_ms: Some(self.connect_ms),
                    },
                )
                .await?;
            self.connections.insert(key, opened.connect.to_string());
            return Ok(Got::default());
        }
        let connect = self
            .connections
            .get(&key)
            .cloned()
            .unwrap_or_else(|| Connect::Refused.to_string());
        if connect != "ok" {
            // Nothing to write to or read from: what the open got is the answer.
            let exchange = Exchange {
                place: place.to_owned(),
                connect,
                ..Exchange::default()
            };
            return Ok(Got {
                verdict: Some(Verdict::Blocked),
                exchanges: vec![exchange],
                what: format!("connection {name}"),
            });
        }
        match step.action {
            Action::Send => {
                let data = Base64(self.bytes(step, each)?);
                line.must(
                    stage,
                    place,
                    Send {
                        name,
                        data,
                        half_close: false,
                    },
                )
                .await?;
                Ok(Got::default())
            }
            Action::Receive => {
                let received = line
                    .must(
                        stage,
                        place,
                        Receive {
                            name: name.clone(),
                            read_ms: step.read_ms,
                            responses: Some(1),
                        },
                    )
                    .await?;
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
                Ok(Got {
                    verdict: Some(self.last_or_leak(&exchanges, &view)),
                    exchanges,
                    what: format!("answer on connection {name}"),
                })
            }
            _ => {
                self.connections.remove(&key);
                let reset = step.reset;
                line.must(stage, place, Close { name, reset }).await?;
                Ok(Got::default())
            }
        }
    }

    /// Hands a connection over, as a process does to one that it trusts: from then on both have it.
    pub(super) async fn give(&mut self, step: &Step) -> Result<Got, PlayError> {
        let name = step.name.clone().unwrap_or_default();
        let taker = step.taker.clone().unwrap_or_default();
        let Some(connect) = self.connections.get(&(step.place.clone(), name.clone())).cloned() else {
            return Err(missing(&step.place));
        };
        if connect == "ok" {
            let at = format!("{VOLUME}/{name}");
            let offer = Offer {
                name: name.clone(),
                at: at.clone(),
            };
            self.line_at(&step.place)?.must(self.stage, &step.place, offer).await?;
            let take = Take { name: name.clone(), at };
            self.line_at(&taker)?.must(self.stage, &taker, take).await?;
        }
        self.connections.insert((taker, name), connect);
        Ok(Got::default())
    }

    /// Waits until a container is older than its job may become.
    pub(super) async fn outlast(&self, place: &str) -> Result<Got, PlayError> {
        let failed = |why: String| PlayError::Lab {
            what: format!("waiting until {place} is too old"),
            why,
        };
        let member = self.actors.member(place).ok_or_else(|| missing(place))?;
        let inspected = member.inspect().await.map_err(|error| failed(error.to_string()))?;
        let started: jiff::Timestamp = inspected
            .state
            .and_then(|state| state.started_at)
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| failed("the engine does not tell when it started".to_owned()))?;
        let job = place.split('.').next().unwrap_or_default();
        let timeout = self.case.jobs.iter().find(|known| known.name == job);
        let timeout = Duration::from_secs(timeout.and_then(|job| job.timeout).unwrap_or(3600));
        let left = (started + timeout).duration_since(self.stage.ambient.now());
        if left > jiff::SignedDuration::from_secs(20) {
            return Err(failed(format!("that is {left:#} away")));
        }
        tokio::time::sleep(left.max(jiff::SignedDuration::ZERO).unsigned_abs() + MARGIN).await;
        Ok(Got::default())
    }

    pub(super) async fn on_listener(&mut self, step: &Step, each: Option<&str>) -> Result<Got, PlayError> {
        let name = step.name.clone().unwrap_or_else(|| "listener".to_owned());
        let line = self.line_at(&step.place)?;
        if step.action == Action::Listen {
            let at = self.expand(step.at.as_deref().unwrap_or("0.0.0.0:8080"), each)?;
            let answer = if step.send.is_some() {
                Some(Base64(self.bytes(step, each)?))
            } else {
                None
            };
            line.must(self.stage, &step.place, Listen { name, at, answer }).await?;
            return Ok(Got::default());
        }
        let accepted = line
            .must(
                self.stage,
                &step.place,
                Accepted {
                    name: name.clone(),
                    ..Accepted::default()
                },
            )
            .await?;
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
        Ok(Got {
            verdict: too_many.then(|| Verdict::Other(format!("{count} connections"))),
            exchanges,
            what,
        })
    }

    pub(super) async fn on_container(&mut self, step: &Step) -> Result<(), PlayError> {
        let network = step
            .network
            .as_ref()
            .map(|network| super::actors::network_name(&self.case.id, network));
        match step.action {
            Action::Connect => {
                let address = step
                    .address
                    .as_ref()
                    .map(|address| self.expand(address, None))
                    .transpose()?
                    .and_then(|address| address.parse().ok());
                self.join(&step.place, network.as_deref().unwrap_or_default(), address)
                    .await
            }
            Action::Launch => self.launch(step.place.clone()).await,
            Action::Remove => self.actors.remove(&self.stage.docker, &step.place).await,
            Action::Kill => self.actors.kill(&self.stage.docker, &step.place).await,
            Action::Start => self.begin(&step.place).await,
            _ => {
                self.actors
                    .disconnect(&self.stage.docker, &step.place, network.as_deref())
                    .await
            }
        }
    }

    pub(super) async fn on_fake(&mut self, step: &Step, each: Option<&str>) -> Result<(), PlayError> {
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
                let effect = serde_json::to_value(step.effect.clone().unwrap_or_default())
                    .map_err(|error| PlayError::lab("fault", &error))?;
                let id = control
                    .plant(&matching, step.times, &effect)
                    .await
                    .map_err(|error| PlayError::lab("planting a fault", &error))?;
                self.faults.push((service.to_owned(), id));
                Ok(())
            }
            Action::Hold => control.wait_held(name).await.map_err(done),
            Action::Release => control.release(name).await.map_err(done),
            _ => self.wait_until_expired(name, step.early_seconds).await,
        }
    }

    /// Credentials live shorter by a fault of the fake STS; the wait is for their own expiry, as the clock of this machine tells it.
    async fn wait_until_expired(&self, name: &str, early_seconds: Option<u64>) -> Result<(), PlayError> {
        let Some(expiry) = self.expiry.get(name) else {
            return Err(PlayError::Lab {
                what: format!("waiting until `{name}` expires"),
                why: "no credentials were saved under that name".to_owned(),
            });
        };
        let left = expiry.duration_since(self.stage.ambient.now()).unsigned_abs();
        if expiry > &self.stage.ambient.now() {
            if left > Duration::from_secs(20) {
                return Err(PlayError::Lab {
                    what: format!("waiting until `{name}` expires"),
                    why: format!("that is {left:?} away"),
                });
            }
            let until = match early_seconds {
                Some(early) => left.saturating_sub(Duration::from_secs(early)),
                None => left + Duration::from_millis(1100),
            };
            tokio::time::sleep(until).await;
        }
        Ok(())
    }
}
