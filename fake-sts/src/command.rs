//! The subcommands: tokens from a running fake, explanations, the linter. It must not decide what policies say.

use std::io::{self, Write};
use std::path::Path;

use fake_kit::listen::Listen;
use fake_kit::seed::Seed;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use crate::ambient;
use crate::inquiry::{Answer, Bearer, Question, ask, ask_assertion, ask_token, find_role, tell, who_may};
use crate::lint::{self, Format, Settings};
use crate::oidc::{Issuer, Job, gitlab_claims};
use crate::options::{Command, ExplainOptions, JobOptions, LintOptions, SamlOptions, TokenOptions};
use crate::program::{ProgramError, load_world};
use crate::state::State;
use crate::world::IssuerPlan;

/// An answer of the control API is longer than this only by mistake.
const MOST_ANSWER_BYTES: u64 = 1024 * 1024;

/// Runs a subcommand.
///
/// # Errors
/// It cannot be done, or it found something.
pub async fn run(command: &Command, out: &mut (dyn Write + Send)) -> Result<(), ProgramError> {
    match command {
        Command::Token(options) => token(options, out).await,
        Command::Saml(options) => saml(options, out).await,
        Command::Explain(options) => explain(options, out),
        Command::Lint(options) => lint(options, out),
    }
}

fn usage(text: impl Into<String>) -> ProgramError {
    ProgramError::Usage(text.into())
}

async fn token(options: &TokenOptions, out: &mut (dyn Write + Send)) -> Result<(), ProgramError> {
    let mut wanted = Map::new();
    wanted.extend(options.issuer.clone().map(|url| ("issuer".to_owned(), json!(url))));
    wanted.extend(
        options
            .algorithm
            .clone()
            .map(|name| ("algorithm".to_owned(), json!(name))),
    );
    if let Some(project) = &options.job.project {
        wanted.insert("job".to_owned(), job_json(project, &options.job));
    }
    if let Some(account) = &options.service_account {
        let (namespace, name) = account
            .split_once('/')
            .ok_or_else(|| usage(format!("--service-account {account}: write NAMESPACE/NAME")))?;
        let stated = json!({ "namespace": namespace, "name": name, "audience": options.job.audience });
        wanted.insert("service_account".to_owned(), stated);
    }
    let mut claims = Map::new();
    for text in &options.claims {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| usage(format!("--claim {text}: write NAME=VALUE")))?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| json!(value));
        claims.insert(name.to_owned(), value);
    }
    if options.job.project.is_none() && options.service_account.is_none() && claims.is_empty() {
        return Err(usage("say whose token: --project, --service-account or --claim"));
    }
    wanted.insert("claims".to_owned(), Value::Object(claims));
    let token = made(&options.control, "/tokens", &Value::Object(wanted), "token").await?;
    Ok(writeln!(out, "{token}")?)
}

async fn saml(options: &SamlOptions, out: &mut (dyn Write + Send)) -> Result<(), ProgramError> {
    let mut tags = Map::new();
    for text in &options.tags {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| usage(format!("--tag {text}: write KEY=VALUE")))?;
        tags.insert(key.to_owned(), json!(value));
    }
    let wanted = json!({
        "provider": options.provider,
        "roles": options.roles,
        "subject": options.subject,
        "session_name": options.session_name,
        "session_duration": options.session_duration,
        "tags": tags,
        "transitive_tag_keys": options.transitive,
        "source_identity": options.source_identity,
    });
    let field = if options.metadata { "metadata" } else { "assertion" };
    let text = made(&options.control, "/saml-responses", &wanted, field).await?;
    Ok(writeln!(out, "{text}")?)
}

/// What the control API makes: one field of its answer.
async fn made(control: &Listen, path: &str, wanted: &Value, field: &str) -> Result<String, ProgramError> {
    let (status, body) = post(control, path, wanted).await?;
    let answer: Value = serde_json::from_str(&body).unwrap_or_default();
    match (status, answer.get(field).and_then(Value::as_str)) {
        (200, Some(text)) => Ok(text.to_owned()),
        _ => Err(ProgramError::Control {
            control: control.to_string(),
            status,
            answer: answer.get("error").and_then(Value::as_str).unwrap_or(&body).to_owned(),
        }),
    }
}

fn job_json(project: &str, job: &JobOptions) -> Value {
    json!({
        "project": project,
        "job_project": job.job_project,
        "ref": job.git_ref,
        "ref_type": if job.tag_ref { "tag" } else { "branch" },
        "protected": job.protected,
        "audience": job.audience,
        "environment": job.environment,
    })
}

/// One request of its own connection.
async fn post(control: &Listen, path: &str, body: &Value) -> io::Result<(u16, String)> {
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: control\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = match control {
        Listen::Tcp(address) => exchange(TcpStream::connect(address).await?, &request).await?,
        Listen::Unix(path) => exchange(UnixStream::connect(path).await?, &request).await?,
    };
    let text = String::from_utf8_lossy(&answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_default();
    Ok((status, body.to_owned()))
}

async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> io::Result<Vec<u8>> {
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MOST_ANSWER_BYTES).read_to_end(&mut answer).await?;
    Ok(answer)
}

fn state_of(world: Option<&Path>) -> Result<State, ProgramError> {
    let seed = Seed::default();
    Ok(State::new(load_world(world, &seed)?, false, seed))
}

fn explain(options: &ExplainOptions, out: &mut (dyn Write + Send)) -> Result<(), ProgramError> {
    let state = state_of(options.world.as_deref())?;
    let role = find_role(&state, &options.role)?;
    let now = ambient::now();
    let mut question = Question {
        session_name: options.session_name.clone(),
        external_id: options.external_id.clone(),
        source_identity: options.source_identity.clone(),
        mfa: options.mfa,
        ..Question::default()
    };
    for text in &options.tags {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| usage(format!("--tag {text}: write KEY=VALUE")))?;
        question.tags.insert(key.to_owned(), value.to_owned());
    }
    let answer = match (&options.caller, &options.provider) {
        (Some(caller), _) => ask(&state, role, caller, &question, now)?,
        (None, Some(provider)) => ask_assertion(&state, role, provider, &bearer_of(options)?, &question, now)?,
        (None, None) => {
            let claims = claims_of(&state, options)?;
            ask_token(&state, role, &claims, &question, now)?
        }
    };
    out.write_all(tell(&answer, role).as_bytes())?;
    out.flush()?;
    if answer.allowed {
        Ok(())
    } else {
        Err(ProgramError::Found)
    }
}

/// Whom a SAML provider would vouch for, and where.
fn bearer_of(options: &ExplainOptions) -> Result<Bearer, ProgramError> {
    let recipient = match options.job.audience.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        _ => return Err(usage("an assertion is presented at one place: give --aud once")),
    };
    Ok(Bearer {
        // As `fake-sts saml` has it.
        subject: options.subject.clone().unwrap_or_else(|| "alice".to_owned()),
        recipient,
    })
}

/// The claims that a job's or a subject's token would have.
fn claims_of(state: &State, options: &ExplainOptions) -> Result<Value, ProgramError> {
    let urls: Vec<String> = match &options.issuer {
        Some(url) => vec![url.clone()],
        None => state.world.providers().map(|provider| provider.url.clone()).collect(),
    };
    let [url] = urls.as_slice() else {
        return Err(usage(format!(
            "the world has {} providers: say whose token with --issuer",
            urls.len()
        )));
    };
    let known = state.issuer(url);
    if let Some(project) = &options.job.project {
        let job: Job =
            serde_json::from_value(job_json(project, &options.job)).map_err(|error| usage(error.to_string()))?;
        let assumed;
        let issuer = match known {
            Some(issuer) => issuer,
            None => {
                assumed = Issuer::new(IssuerPlan::gitlab(url));
                &assumed
            }
        };
        return Ok(gitlab_claims(issuer, &job, &state.seed, 0, ambient::now()));
    }
    let audience = match options.job.audience.as_slice() {
        [] => json!(
            state
                .world
                .providers()
                .find(|one| one.url == *url)
                .and_then(|one| one.client_ids.first())
        ),
        [one] => json!(one),
        several => json!(several),
    };
    Ok(json!({ "iss": url, "sub": options.subject, "aud": audience }))
}

fn lint(options: &LintOptions, out: &mut (dyn Write + Send)) -> Result<(), ProgramError> {
    if let Some(role) = &options.who {
        return who(options, role, out);
    }
    if let Some(rule) = &options.explain {
        let known: Vec<&str> = lint::RULES.iter().map(|rule| rule.id).collect();
        let text = lint::explain(rule)
            .ok_or_else(|| usage(format!("there is no rule {rule}: name one of {}", known.join(", "))))?;
        out.write_all(text.as_bytes())?;
        return Ok(out.flush()?);
    }
    let settings = Settings {
        account: options.account.clone(),
        instance: options.instance,
        allowed: options.allowed.clone(),
    };
    let mut findings = Vec::new();
    let mut unreadable = Vec::new();
    for path in &options.files {
        let file = path.display().to_string();
        let judged = ambient::read_file(path)
            .map_err(|error| error.to_string())
            .and_then(|text| lint::judge(&file, &text, &settings));
        match judged {
            Ok(found) => findings.extend(found),
            Err(problem) => unreadable.push(format!("{file} {problem}")),
        }
    }
    if !unreadable.is_empty() {
        return Err(usage(unreadable.join("\n")));
    }
    out.write_all(lint::write(&findings, options.format).as_bytes())?;
    out.flush()?;
    if findings.is_empty() {
        Ok(())
    } else {
        Err(ProgramError::Found)
    }
}

fn who(options: &LintOptions, role: &str, out: &mut (dyn Write + Send)) -> Result<(), ProgramError> {
    let state = state_of(options.world.as_deref())?;
    let role = find_role(&state, role)?;
    let answers = who_may(&state, role, ambient::now());
    let (may, not): (Vec<&Answer>, Vec<&Answer>) = answers.iter().partition(|answer| answer.allowed);
    let text = match options.format {
        Format::Text => {
            let mut text = format!("{} of {} may assume {}\n", may.len(), answers.len(), role.arn);
            for (mark, list) in [("yes", may), ("no ", not)] {
                for answer in list {
                    text += &[mark, "  ", &answer.who, "\n       ", &answer.because, "\n"].concat();
                }
            }
            text
        }
        Format::Json | Format::Sarif => {
            let object =
                |answer: &Answer| json!({ "who": answer.who, "allowed": answer.allowed, "because": answer.because });
            let list: Vec<Value> = answers.iter().map(object).collect();
            format!("{}\n", json!({ "role": role.arn.to_string(), "who": list }))
        }
    };
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
