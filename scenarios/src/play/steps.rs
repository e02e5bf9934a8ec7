//! What each action of a case does. Exchanges go to the oracle for their verdict; nothing here knows which verdict would be good.

use std::time::Duration;

use super::lines::{Line, Patience};
use super::request::{ENDPOINT, answers_awaited, destination};
use super::{GET_THROUGH_MS, Play, PlayError};
use crate::case::model::{Action, Step};
use crate::case::unescape;
use crate::oracle::answer::{Answer, Credentials, Exchange, View, classify};
use crate::probe::protocol::{CONNECT_MS, Keys};
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
        self.connect_ms = if self.case.expected(step, self.defence).allows(&Verdict::Blocked) {
            CONNECT_MS
        } else {
            GET_THROUGH_MS
        };
        let taken = self.take_in_time(number, step, each).await;
        self.connect_ms = GET_THROUGH_MS;
        taken
    }

    async fn take_in_time(&mut self, number: usize, step: &Step, each: Option<&str>) -> Result<(), PlayError> {
        if step.action == Action::Rush {
            for (place, got) in self.rush(step).await? {
                self.note(number, step, &place, each, got);
            }
            return Ok(());
        }
        let got = self.act_out(step, each).await?;
        self.note(number, step, &step.place, each, got);
        Ok(())
    }

    /// Takes down what a step brought, if its verdict counts.
    fn note(&mut self, number: usize, step: &Step, place: &str, each: Option<&str>, got: Got) {
        let Some(verdict) = got.verdict else { return };
        if !step.attempt.unwrap_or_else(|| step.action.is_attempt()) {
            return;
        }
        let view = self.view_at(place);
        let attempt = Attempt {
            step: number,
            place: place.to_owned(),
            what: match each {
                Some(value) if !got.what.contains(value) => {
                    format!("{} [{}]", got.what, value.escape_debug().take(60).collect::<String>())
                }
                Some(_) | None => got.what,
            },
            note: step.note.clone(),
            verdict,
            expected: self.expected(step),
            exchanges: got
                .exchanges
                .iter()
                .map(|exchange| self.stage.redactor.exchange(exchange))
                .collect(),
        };
        self.record(attempt, &got.exchanges, &view);
    }

    /// What the defence may answer; a leak that names one of the case's roles means the role's name in the account.
    fn expected(&self, step: &Step) -> Expected {
        let mut expected = self.case.expected(step, self.defence);
        for verdict in &mut expected.0 {
            if let Verdict::Leak(canary) = verdict {
                // Checked when the case was read. What could not be put in stays as it is: an empty name would stand for every leak.
                if let Ok(name) = self.expand(canary, None) {
                    *canary = name;
                }
            }
        }
        expected
    }

    pub(super) async fn act_out(&mut self, step: &Step, each: Option<&str>) -> Result<Got, PlayError> {
        match step.action {
            Action::Imds => self.imds(step, each).await,
            Action::Get => self.get(step, each).await,
            Action::Token => self.token(step, each).await,
            Action::Raw => self.raw(step, each).await,
            Action::Sdk => self.sdk(step, each).await,
            Action::Reach => self.reach(&step.place).await,
            Action::Open | Action::Send | Action::Receive | Action::Close => self.on_connection(step, each).await,
            Action::Listen | Action::Accepted => self.on_listener(step, each).await,
            Action::Ip => {
                let args: Vec<String> = step
                    .args
                    .iter()
                    .map(|arg| self.expand(arg, each))
                    .collect::<Result<_, _>>()?;
                self.actors.run_ip(&self.stage.docker, &step.place, &args).await?;
                Ok(Got::default())
            }
            Action::Knock => self.knock(step, each).await,
            Action::Began => self.began(step).await,
            Action::Give => self.give(step).await,
            Action::Outlast => self.outlast(&step.place).await,
            Action::Restart
            | Action::Pause
            | Action::Unpause
            | Action::Rename
            | Action::Exec
            | Action::Nest
            | Action::Run
            | Action::Rules
            | Action::Engine => {
                self.change(step, each).await?;
                Ok(Got::default())
            }
            Action::Launch | Action::Remove | Action::Kill | Action::Start | Action::Connect | Action::Disconnect => {
                self.on_container(step).await?;
                Ok(Got::default())
            }
            Action::Proxy if step.signal.as_deref() == Some("reload") => {
                self.stage.reload_policy(self.case, &step.without).await?;
                Ok(Got::default())
            }
            Action::Proxy => {
                self.stage
                    .signal_proxy(step.signal.as_deref().unwrap_or_default())
                    .await?;
                Ok(Got::default())
            }
            Action::Assume => self.assume(step, each).await,
            Action::IdToken => self.make_token(step, each).await,
            Action::Lives => Ok(self.lives(step)),
            Action::Environment => self.environment(step).await,
            Action::Lint => self.lint(step, each),
            Action::Issuer => {
                self.change_issuer(step).await?;
                Ok(Got::default())
            }
            Action::Rush => Ok(Got::default()),
            Action::Fault | Action::Hold | Action::Release | Action::Expired => {
                self.on_fake(step, each).await?;
                Ok(Got::default())
            }
        }
    }

    pub(super) fn keep(&mut self, name: &str, exchanges: &[Exchange]) {
        for answer in exchanges.iter().filter_map(success) {
            if let Some(seconds) = token_seconds(&answer) {
                self.expiry.insert(name.to_owned(), self.stage.ambient.now() + seconds);
            }
            match Credentials::parse(&answer.body) {
                Some(credentials) => {
                    if let Ok(expiry) = credentials.expiration.parse() {
                        self.expiry.insert(name.to_owned(), expiry);
                    }
                    if let Some(keys) = keys_in(&answer.body) {
                        self.keys.insert(name.to_owned(), keys);
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

    pub(super) fn last_or_leak(&self, exchanges: &[Exchange], view: &View) -> Verdict {
        let verdicts: Vec<Verdict> = exchanges
            .iter()
            .map(|exchange| classify(exchange, &self.stage.canaries, view))
            .collect();
        let leak = verdicts
            .iter()
            .filter(|verdict| verdict.is_leak())
            .max_by_key(|verdict| matches!(verdict, Verdict::Leak(name) if name == "host-role"));
        leak.or(verdicts.last()).cloned().unwrap_or(Verdict::Void)
    }

    pub(super) async fn exchange(
        &self,
        line: &Line,
        place: &str,
        host: &str,
        bytes: Vec<u8>,
        bind: Option<String>,
    ) -> Result<Exchange, PlayError> {
        debug_assert!(answers_awaited(&bytes) >= 1);
        let patience = self.patience(None);
        line.exchange(self.stage, place, &destination(host), bytes, bind, patience)
            .await
    }

    /// How long an exchange is waited for now.
    pub(super) fn patience(&self, read_ms: Option<u64>) -> Patience {
        Patience {
            connect_ms: self.connect_ms,
            read_ms: read_ms.unwrap_or_else(|| self.stage.patience()),
        }
    }

    pub(super) fn host(&self, step: &Step, each: Option<&str>) -> Result<String, PlayError> {
        self.expand(step.host.as_deref().unwrap_or(ENDPOINT), each)
    }

    pub(super) fn headers(&self, step: &Step, each: Option<&str>) -> Result<Vec<(String, String)>, PlayError> {
        step.headers
            .iter()
            .map(|(name, value)| Ok((self.expand(name, each)?, self.expand(value, each)?)))
            .collect()
    }

    pub(super) fn bytes(&self, step: &Step, each: Option<&str>) -> Result<Vec<u8>, PlayError> {
        let text = self.expand(step.send.as_deref().unwrap_or_default(), each)?;
        unescape(&text).map_err(|error| PlayError::lab("the step's bytes", &error))
    }
}

/// What signs, in a credentials document.
fn keys_in(body: &[u8]) -> Option<Keys> {
    let document: serde_json::Value = serde_json::from_slice(body).ok()?;
    let text = |name: &str| {
        document
            .get(name)
            .and_then(serde_json::Value::as_str)
            .map(str::to_owned)
    };
    Some(Keys {
        access_key_id: text("AccessKeyId")?,
        secret_access_key: text("SecretAccessKey")?,
        session_token: text("Token")?,
    })
}

/// How long the token of a token request's answer is good for.
fn token_seconds(answer: &Answer) -> Option<Duration> {
    let header = |name: &str| {
        let mut named = answer
            .headers
            .iter()
            .filter(|(given, _)| given.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.as_str())
    };
    // Data has a date of change beside it, a token has not.
    if header("last-modified").is_some() {
        return None;
    }
    let seconds = header("x-aws-ec2-metadata-token-ttl-seconds")?.parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// The first answer of an exchange, if it is a success.
pub(super) fn success(exchange: &Exchange) -> Option<Answer> {
    Answer::parse(&exchange.received).filter(|answer| (200..300).contains(&answer.status))
}
