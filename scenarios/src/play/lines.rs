//! Speaks with a place: a container's probe through its channel, or a probe that is run once in one of the instance's network namespaces.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::PlayError;
use crate::oracle::answer::Exchange;
use crate::probe::bytes::Base64;
use crate::probe::channel::{Channel, ChannelError};
use crate::probe::protocol::{Ask, Failure, Operation, Outcome, Raw, RawAnswer, Reply, Request};
use crate::stage::Stage;

/// Longest that any one operation of the probe takes, with what the lab adds.
const DEADLINE: Duration = Duration::from_secs(35);

/// How long an exchange is waited for, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// To connect.
    pub(crate) connect_ms: u64,
    /// For the answer, once connected.
    pub(crate) read_ms: u64,
}

/// A place to speak from.
#[derive(Debug, Clone)]
pub(crate) enum Line {
    /// A container.
    Container(Arc<Channel>),
    /// A process beside the containers.
    Namespace(lab::Place),
}

/// What came of asking.
#[derive(Debug)]
pub(crate) enum Asked<T> {
    /// The answer.
    Answer(T),
    /// The probe says that it could not.
    Failure(Failure),
}

impl Line {
    /// Asks the probe there.
    pub(crate) async fn ask<A: Ask>(&self, stage: &Stage, place: &str, ask: A) -> Result<Asked<A::Answer>, PlayError> {
        let what = || format!("asking the probe in {place}");
        match self {
            Self::Container(channel) => match channel.ask(ask, DEADLINE).await {
                Ok(answer) => Ok(Asked::Answer(answer)),
                Err(ChannelError::Failed { failure, .. }) => Ok(Asked::Failure(failure)),
                Err(error) => Err(PlayError::lab(what(), &error)),
            },
            Self::Namespace(namespace) => {
                let operation: Operation = ask.into();
                let mut line = serde_json::to_vec(&Request { id: 1, operation })
                    .map_err(|error| PlayError::lab(what(), &error))?;
                line.push(b'\n');
                let printed = stage.run_probe(*namespace, line, DEADLINE).await?;
                let reply: Reply = printed
                    .split(|byte| *byte == b'\n')
                    .find_map(|line| serde_json::from_slice(line).ok())
                    .ok_or_else(|| PlayError::Lab {
                        what: what(),
                        why: "no reply".to_owned(),
                    })?;
                match reply.outcome {
                    Outcome::Err(failure) => Ok(Asked::Failure(failure)),
                    Outcome::Ok(value) => A::Answer::deserialize(value)
                        .map(Asked::Answer)
                        .map_err(|error| PlayError::lab(what(), &error)),
                }
            }
        }
    }

    /// Asks, where a failure of the probe is a fault of the lab.
    pub(crate) async fn must<A: Ask>(&self, stage: &Stage, place: &str, ask: A) -> Result<A::Answer, PlayError> {
        match self.ask(stage, place, ask).await? {
            Asked::Answer(answer) => Ok(answer),
            Asked::Failure(failure) => Err(PlayError::lab(format!("the probe in {place}"), &failure)),
        }
    }

    /// One connection: bytes out, bytes back.
    pub(crate) async fn exchange(
        &self,
        stage: &Stage,
        place: &str,
        to: &str,
        bytes: Vec<u8>,
        bind: Option<String>,
        patience: Patience,
    ) -> Result<Exchange, PlayError> {
        let responses = super::request::answers_awaited(&bytes);
        let request = String::from_utf8_lossy(&bytes).into_owned();
        let raw = Raw {
            to: to.to_owned(),
            send: Base64(bytes),
            bind,
            connect_ms: Some(patience.connect_ms),
            read_ms: Some(patience.read_ms),
            responses: Some(responses),
            ..Raw::default()
        };
        let answer: RawAnswer = self.must(stage, place, raw).await?;
        Ok(Exchange {
            place: place.to_owned(),
            request,
            connect: answer.connect.to_string(),
            received: answer.received.0,
            end: answer
                .end
                .map_or_else(String::new, |end| format!("{end:?}").to_lowercase()),
        })
    }
}
