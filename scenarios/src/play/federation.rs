//! ID tokens, roles that are asked for with them or with saved credentials, and policies that the linter judges.

use fake_sts::lint;
use jiff::ToSpan as _;
use serde_json::{Value, json};

use super::lines::Asked;
use super::steps::Got;
use super::{Play, PlayError};
use crate::case::model::{Job, Opening, Step};
use crate::cast::{GITLAB, REGION, STRANGER, project_path};
use crate::forge::{Seal, lifetime, reseal};
use crate::oracle::answer::{Credentials, Exchange, View, classify_credentials, foreign};
use crate::probe::protocol::{Assume, Assumed, Env};
use crate::runner;
use crate::stage::STS_URL;
use crate::verdict::Verdict;

/// The timeout of a job that names none, and so how long its tokens live.
const AN_HOUR: u64 = 3_600;

/// Stands in a token's header for the key of the server that nobody registered.
const STRANGERS_KEY: &str = "${key.stranger}";

impl Play<'_> {
    /// Has GitLab issue the job's tokens, which it does when the job starts.
    pub(super) async fn issue_tokens(&mut self, job: &Job) -> Result<Vec<runner::Variable>, PlayError> {
        let mut variables = Vec::new();
        if !self.defence.has_id_tokens() {
            return Ok(variables);
        }
        for (name, wanted) in &job.id_tokens {
            let body = json!({ "issuer": url(GITLAB), "job": self.claims_of(job, &wanted.aud)? });
            let made = self.stage.fake("sts").id_token(&body).await;
            let token = made.map_err(|error| PlayError::lab(format!("the ID token {name}"), &error))?;
            variables.push(runner::Variable {
                raw: true,
                masked: true,
                public: self.stage.standing.opening() == Some(&Opening::Runner("public-id-tokens".to_owned())),
                ..runner::Variable::hidden(name, &token)
            });
            self.tokens.insert(format!("{}.{name}", job.name), token);
        }
        Ok(variables)
    }

    /// The job as its token tells of it, in the words of the fake's control API.
    fn claims_of(&self, job: &Job, audience: &[String]) -> Result<Value, PlayError> {
        let path = project_path(self.case, job);
        let (project, runs_in) = match &job.fork {
            Some(fork) => (fork.clone(), Some(path)),
            None => (path, None),
        };
        Ok(json!({
            "project": project,
            "job_project": runs_in,
            "ref": self.expand(job.git_ref.as_deref().unwrap_or("main"), None)?,
            "ref_type": if job.tag { "tag" } else { "branch" },
            "protected": job.protected,
            "audience": audience,
            "pipeline_source": if job.fork.is_some() { "merge_request_event" } else { "push" },
            "timeout_seconds": job.timeout.unwrap_or(AN_HOUR),
        }))
    }

    /// The first ID token that the container's job holds.
    pub(super) fn first_token(&self, place: &str) -> Option<String> {
        let (job, _) = self.actors.job_and_kind(place)?;
        let own = |name: &str| name.split_once('.').is_some_and(|(owner, _)| owner == job);
        let mut tokens = self.tokens.iter().filter(|(name, _)| own(name));
        tokens.next().map(|(_, token)| token.clone())
    }

    /// Makes the token that a step describes, and saves it.
    pub(super) async fn make_token(&mut self, step: &Step, each: Option<&str>) -> Result<Got, PlayError> {
        let of = step.of.as_deref().unwrap_or_default();
        let Some(job) = self.case.jobs.iter().find(|job| job.name == of) else {
            return Err(PlayError::Lab {
                what: "making an ID token".to_owned(),
                why: format!("no job {of}"),
            });
        };
        let stated: Vec<String> = step
            .aud
            .iter()
            .map(|audience| self.expand(audience, each))
            .collect::<Result<_, _>>()?;
        let first = job.id_tokens.values().next().map(|token| token.aud.clone());
        let audience = if stated.is_empty() {
            first.unwrap_or_default()
        } else {
            stated
        };
        let issuer = self.expand(step.issuer.as_deref().unwrap_or(GITLAB), each)?;
        let plain = json!({ "issuer": url(&issuer), "job": self.claims_of(job, &audience)? });
        let mut wanted = plain.clone();
        let parts = [("claims", &step.claims), ("header", &step.header)];
        for (name, text) in parts.iter().filter_map(|(name, text)| Some((name, text.as_ref()?))) {
            let text = match text.contains(STRANGERS_KEY) {
                true => text.replace(STRANGERS_KEY, &self.strangers_key().await?),
                false => text.clone(),
            };
            let text = self.expand(&text, each)?;
            let value: Value =
                serde_json::from_str(&text).map_err(|error| PlayError::lab(format!("the token's {name}"), &error))?;
            put(&mut wanted, name, value);
        }
        if let Some(payload) = &step.payload {
            put(&mut wanted, "payload", Value::String(self.expand(payload, each)?));
        }
        let sts = self.stage.fake("sts");
        let failed = |error: &dyn std::error::Error| PlayError::lab("making an ID token", error);
        let token = sts.id_token(&wanted).await.map_err(|error| failed(&error))?;
        let token = match step.signature.as_deref() {
            Some("kept") => {
                let other = sts.id_token(&plain).await.map_err(|error| failed(&error))?;
                reseal(&token, Seal::Of(&other))
            }
            Some("nobody") => reseal(&token, Seal::Nobody),
            Some("public-key") => {
                let keys = sts
                    .published_keys(&url(&issuer))
                    .await
                    .map_err(|error| failed(&error))?;
                let modulus = keys.first().and_then(|key| key.get("n")).and_then(Value::as_str);
                reseal(&token, Seal::PublicKey(modulus.unwrap_or_default()))
            }
            _ => token,
        };
        self.saved.insert(step.save.clone().unwrap_or_default(), token);
        Ok(Got::default())
    }

    /// The key of the server that nobody registered, as a JSON Web Key.
    async fn strangers_key(&self) -> Result<String, PlayError> {
        let keys = self.stage.fake("sts").published_keys(&url(STRANGER)).await;
        let keys = keys.map_err(|error| PlayError::lab("the stranger's key", &error))?;
        Ok(keys.first().map(Value::to_string).unwrap_or_default())
    }

    /// Asks STS for a role.
    pub(super) async fn assume(&mut self, step: &Step, each: Option<&str>) -> Result<Got, PlayError> {
        let text = |text: &Option<String>| text.as_ref().map(|text| self.expand(text, each)).transpose();
        let role_arn = text(&step.role)?.unwrap_or_default();
        let keys = match &step.with {
            None => None,
            Some(name) => match self.keys.get(name) {
                Some(keys) => Some(keys.clone()),
                // What an earlier step was refused, nobody can sign with.
                None => {
                    return Ok(Got {
                        verdict: Some(Verdict::Unusable),
                        exchanges: Vec::new(),
                        what: format!("AssumeRole of {role_arn}: there are no credentials `{name}`"),
                    });
                }
            },
        };
        let ask = Assume {
            session_name: text(&step.session_name)?.unwrap_or_else(|| self.session_name(&step.place)),
            token: text(&step.token)?,
            keys,
            duration_seconds: step.duration_seconds.and_then(|seconds| i32::try_from(seconds).ok()),
            policy: text(&step.policy)?,
            ..self.ask_for(&role_arn)
        };
        let (got, assumed) = self.ask_sts(&step.place, ask).await?;
        if let (Some(name), Some(Assumed::Issued { keys, expires })) = (&step.save, assumed) {
            self.keys.insert(name.clone(), keys);
            if let Ok(expiry) = jiff::Timestamp::from_second(expires) {
                self.expiry.insert(name.clone(), expiry);
            }
        }
        Ok(got)
    }

    /// What a token gets in a container.
    pub(super) async fn present(&self, place: &str, role_arn: &str, token: String) -> Result<Verdict, PlayError> {
        let ask = Assume {
            session_name: self.session_name(place),
            token: Some(token),
            ..self.ask_for(role_arn)
        };
        let (got, _) = self.ask_sts(place, ask).await?;
        Ok(got.verdict.unwrap_or(Verdict::Void))
    }

    fn ask_for(&self, role_arn: &str) -> Assume {
        Assume {
            endpoint: STS_URL.to_owned(),
            region: REGION.to_owned(),
            role_arn: role_arn.to_owned(),
            ..Assume::default()
        }
    }

    /// A name that tells the job, as the proxy's sessions do.
    fn session_name(&self, place: &str) -> String {
        format!("gitlab-{}", self.view_at(place).holder)
    }

    async fn ask_sts(&self, place: &str, ask: Assume) -> Result<(Got, Option<Assumed>), PlayError> {
        let action = if ask.token.is_some() {
            "AssumeRoleWithWebIdentity"
        } else {
            "AssumeRole"
        };
        let what = format!("{action} of {} as {}", ask.role_arn, ask.session_name);
        let view = self.view_at(place);
        let answer = self.line_at(place)?.ask(self.stage, place, ask).await?;
        let mut exchange = Exchange {
            place: place.to_owned(),
            request: what.clone(),
            connect: "ok".to_owned(),
            ..Exchange::default()
        };
        let (verdict, assumed) = match answer {
            Asked::Failure(failure) => {
                exchange.received = failure.to_string().into_bytes();
                (Verdict::Unusable, None)
            }
            Asked::Answer(assumed) => {
                exchange.received = told(&assumed).into_bytes();
                let foreign = foreign(self.stage.canaries.find(&exchange.received), &view);
                (
                    foreign.map_or_else(|| judge(&assumed, &view), Verdict::Leak),
                    Some(assumed),
                )
            }
        };
        let got = Got {
            verdict: Some(verdict),
            exchanges: vec![exchange],
            what,
        };
        Ok((got, assumed))
    }

    /// Whether a saved token lives longer than it should.
    pub(super) fn lives(&self, step: &Step) -> Got {
        let name = step.name.as_deref().unwrap_or_default();
        let most = i64::try_from(step.at_most.unwrap_or_default()).unwrap_or(i64::MAX);
        let verdict = match self.saved.get(name).and_then(|token| lifetime(token)) {
            Some(seconds) if seconds <= most => Verdict::Same,
            Some(seconds) => Verdict::Other(format!("a token of {seconds} seconds")),
            None => Verdict::Other("a token without end".to_owned()),
        };
        Got {
            verdict: Some(verdict),
            exchanges: Vec::new(),
            what: format!("the token {name} lives {most} seconds at most"),
        }
    }

    /// Whether an ID token is in a container's environment, and whether that kind of container may have it.
    pub(super) async fn environment(&self, step: &Step) -> Result<Got, PlayError> {
        let line = self.line_at(&step.place)?;
        let answer = line.must(self.stage, &step.place, Env {}).await?;
        let kind = self.actors.job_and_kind(&step.place).map(|(_, kind)| kind);
        // Under whatever name the author has handed it on.
        let holds = |token: &String| answer.env.iter().any(|(_, value)| value.contains(token.as_str()));
        let verdict = match (self.tokens.values().any(holds), kind.as_deref()) {
            (false, _) => Verdict::Deny,
            (true, Some("build" | "predefined")) => Verdict::Same,
            (true, _) => Verdict::Leak("id-token".to_owned()),
        };
        Ok(Got {
            verdict: Some(verdict),
            exchanges: Vec::new(),
            what: "an ID token in the environment".to_owned(),
        })
    }

    /// Whether the linter finds what it should in a policy: then it says no to it.
    pub(super) fn lint(&self, step: &Step, each: Option<&str>) -> Result<Got, PlayError> {
        let policy = self.expand(step.policy.as_deref().unwrap_or_default(), each)?;
        let settings = lint::Settings {
            instance: step.instance,
            ..lint::Settings::default()
        };
        let findings = lint::judge("policy", &policy, &settings);
        let findings = findings.map_err(|why| PlayError::Lab {
            what: "the policy linter".to_owned(),
            why,
        })?;
        let found: Vec<&str> = findings.iter().map(|finding| finding.rule.id).collect();
        let missing = step.finds.iter().any(|rule| !found.contains(&rule.as_str()));
        let verdict = match (found.is_empty(), missing) {
            (true, _) => Verdict::Same,
            (false, false) => Verdict::Deny,
            (false, true) => Verdict::Other(format!("the linter finds {}", found.join(", "))),
        };
        Ok(Got {
            verdict: Some(verdict),
            exchanges: Vec::new(),
            what: format!("policy linter, which should find {}", step.finds.join(", ")),
        })
    }

    /// Something happens to the keys of the lab's GitLab.
    pub(super) async fn change_issuer(&self, step: &Step) -> Result<(), PlayError> {
        let signal = step.signal.as_deref().unwrap_or_default();
        let changed = self.stage.fake("sts").change_issuer(&url(GITLAB), signal).await;
        changed.map_err(|error| PlayError::lab("the issuer", &error))
    }

    /// Seconds since 1970, so many from now.
    pub(super) fn moment(&self, offset: &str) -> Option<String> {
        let seconds: i64 = if offset.is_empty() { 0 } else { offset.parse().ok()? };
        let moment = self.stage.ambient.now().checked_add(seconds.seconds()).ok()?;
        Some(moment.as_second().to_string())
    }
}

fn url(host: &str) -> String {
    format!("https://{host}")
}

fn put(table: &mut Value, name: &str, value: Value) {
    if let Some(table) = table.as_object_mut() {
        table.insert(name.to_owned(), value);
    }
}

/// What a job got to see.
fn told(assumed: &Assumed) -> String {
    match assumed {
        Assumed::Issued { keys, .. } => format!("{}\n{}", keys.access_key_id, keys.session_token),
        Assumed::Refused { status, code, message } => format!("{status} {code}: {message}"),
        Assumed::Unreachable { message } => message.clone(),
    }
}

fn judge(assumed: &Assumed, view: &View) -> Verdict {
    match assumed {
        Assumed::Issued { keys, expires } => {
            let credentials = Credentials {
                access_key_id: keys.access_key_id.clone(),
                provenance: fake_sts::provenance::decode(&keys.session_token).ok(),
                expiration: expires.to_string(),
            };
            classify_credentials(&credentials, view)
        }
        Assumed::Refused { status, .. } if *status >= 500 => Verdict::Unavailable,
        Assumed::Refused { .. } => Verdict::Deny,
        Assumed::Unreachable { .. } => Verdict::Blocked,
    }
}
