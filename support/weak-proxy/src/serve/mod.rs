//! Connections and requests: who asks, may it, what goes back. The order of checks stands here; each check stands in its own module.

mod connection;

use std::net::SocketAddr;
use std::sync::Arc;

use jiff::SignedDuration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::ambient::Clock;
use crate::answer::{self, Answer};
use crate::config::Config;
use crate::credentials::{Ask, Cache, IssueError, Issuer};
use crate::hole::{Hole, Switches};
use crate::identity::{Caller, Engine, Facts, Identity, Kernel, Unidentified};
use crate::policy::{self, Grant, Role};
use crate::request::Request;
use crate::routes::{self, Route};
use crate::token::Tokens;
use crate::upstream::{CallersToken, TOKEN_HEADER, Upstream, UpstreamError};

const TTL_HEADER: &str = "x-aws-ec2-metadata-token-ttl-seconds";
/// So many connections at once; more wait in the backlog.
const CONNECTION_LIMIT: usize = 4096;

/// Everything a connection needs.
#[derive(Debug)]
pub struct Proxy<E, K, I> {
    /// Who asks.
    pub identity: Identity<E, K>,
    /// What STS gave.
    pub cache: Cache<I>,
    /// The tokens given out.
    pub tokens: Tokens,
    /// The real service, for holes.
    pub upstream: Upstream,
    /// The operator's file.
    pub config: Config,
    /// The open hole.
    pub switches: Switches,
    /// The time.
    pub clock: Clock,
    /// Randomness for tokens.
    pub random: fn() -> [u8; 28],
    /// Where a redirected connection was bound for; `None` when it was not redirected.
    pub original_destination: fn(&TcpStream) -> Option<SocketAddr>,
}

type Known<K> = Result<Caller<<K as Kernel>::Socket>, Unidentified>;

impl<E: Engine, K: Kernel, I: Issuer> Proxy<E, K, I> {
    /// Serves a listener until the future is dropped; its connections end with it.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            while connections.try_join_next().is_some() {}
            if connections.len() >= CONNECTION_LIMIT {
                connections.join_next().await;
            }
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let proxy = Arc::clone(&self);
                    connections.spawn(async move { Box::pin(proxy.attend(stream, peer)).await });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// The answer to one request.
    async fn answer(&self, request: &Request, known: &Known<K>) -> Answer {
        let route = routes::find(&request.method, &request.target, &self.switches);
        let caller = match known {
            Ok(caller) => caller,
            Err(reason) => {
                // Hole::CatchAllPassthrough: whoever asks.
                if let (Route::Forward(target), Some(Hole::CatchAllPassthrough)) = (&route, self.switches.hole) {
                    return relay(
                        self.upstream
                            .forward(request, target, self.callers_token(request))
                            .await,
                    );
                }
                tracing::info!(%reason, "caller refused");
                return Answer::refusal(403);
            }
        };
        let facts = caller.facts.as_ref();
        match route {
            Route::Malformed => Answer::refusal(400),
            Route::NotFound => Answer::refusal(404),
            Route::MethodNotAllowed => Answer::refusal(405),
            Route::Token => self.mint(request, facts),
            Route::Forward(target) => {
                let answer = relay(
                    self.upstream
                        .forward(request, &target, self.callers_token(request))
                        .await,
                );
                self.take_over(request, facts, &answer);
                answer
            }
            Route::Fetch(url) => relay(self.upstream.fetch(request, &url, self.callers_token(request)).await),
            Route::List | Route::Credentials(_) | Route::Info | Route::Region => {
                let remaining = match self.check_token(request, facts) {
                    Ok(remaining) => remaining,
                    Err(refusal) => return refusal,
                };
                let answer = self.answer_own(route, facts).await.unwrap_or_else(Answer::refusal);
                match remaining {
                    Some(seconds) if answer.status == 200 => answer.with(TTL_HEADER, seconds),
                    Some(_) | None => answer,
                }
            }
        }
    }

    /// The routes that tell a container of its own role.
    async fn answer_own(&self, route: Route, facts: &Facts) -> Result<Answer, u16> {
        if route == Route::Region {
            return Ok(Answer::text(self.config.aws.region.as_str()));
        }
        let grant = policy::decide(&self.config, &self.switches, facts);
        tracing::info!(container = facts.container_id, decision = ?grant.as_ref().map(|grant| grant.role.arn()), "decided");
        let grant = match (grant, &route) {
            (Ok(grant), Route::Credentials(named)) if grant.role.name() != named => self.grant_named(named)?,
            (Err(_), Route::Credentials(named)) if self.switches.open(Hole::RoleInPath) => self.grant_named(named)?,
            (grant, _) => grant.map_err(|_| 403_u16)?,
        };
        let now = self.clock.now();
        match route {
            Route::List => Ok(Answer::text(grant.role.name())),
            Route::Info => Ok(Answer::text(answer::info(grant.role.arn(), now))),
            Route::Credentials(_) => {
                let ask = Ask {
                    role_arn: grant.role.arn().to_owned(),
                    external_id: grant.external_id,
                    session_name: policy::session_name(facts),
                };
                let given = self
                    .cache
                    .obtain(ask, || self.clock.now())
                    .await
                    .map_err(|error| match error {
                        IssueError::Denied => 403_u16,
                        IssueError::Unavailable => 503,
                    })?;
                Ok(Answer::text(answer::credentials(&given, now)))
            }
            Route::Region | Route::Token | Route::Forward(_) | Route::Fetch(_) => Err(404),
            Route::NotFound | Route::MethodNotAllowed | Route::Malformed => Err(404),
        }
    }

    /// A role that only the path names.
    fn grant_named(&self, name: &str) -> Result<Grant, u16> {
        if self.switches.open(Hole::RoleInPath) {
            return Ok(Grant {
                role: Role::from_anything(name, &self.config.aws),
                external_id: None,
            });
        }
        Err(404)
    }

    fn mint(&self, request: &Request, facts: &Facts) -> Answer {
        if request.header("x-forwarded-for").next().is_some() {
            return Answer::refusal(403);
        }
        let Some(ttl) = ttl_of(request) else {
            return Answer::refusal(400);
        };
        let token = self.tokens.mint(
            (self.random)(),
            &facts.owner(),
            SignedDuration::from_secs(ttl),
            self.clock.now(),
        );
        Answer::text(token).with(TTL_HEADER, ttl)
    }

    /// The seconds left of a good token, or none where none is needed; else the refusal.
    fn check_token(&self, request: &Request, facts: &Facts) -> Result<Option<i64>, Answer> {
        let needed = self.config.imds.require_token && !self.switches.open(Hole::TokenOptional);
        match request.single(TOKEN_HEADER) {
            Ok(None) if !needed => Ok(None),
            Ok(Some(token)) => match self
                .tokens
                .remaining(token, &facts.owner(), self.clock.now(), &self.switches)
            {
                Some(remaining) => Ok(Some(remaining)),
                None => Err(Answer::refusal(401)),
            },
            Ok(None) | Err(_) => Err(Answer::refusal(401)),
        }
    }

    /// Upstream must not see a token that we minted.
    fn callers_token(&self, request: &Request) -> CallersToken {
        match request.single(TOKEN_HEADER) {
            Ok(Some(token)) if self.tokens.contains(token) => CallersToken::Replace,
            Ok(_) | Err(_) => CallersToken::Keep,
        }
    }

    /// [`Hole::ForwardTokenRoute`]: the host's token has just been given away, so it must do for our own routes.
    fn take_over(&self, request: &Request, facts: &Facts, answer: &Answer) {
        if !self.switches.open(Hole::ForwardTokenRoute) || answer.status != 200 {
            return;
        }
        if let (Some(ttl), Ok(token)) = (ttl_of(request), std::str::from_utf8(&answer.body)) {
            self.tokens
                .remember(token, &facts.owner(), SignedDuration::from_secs(ttl), self.clock.now());
        }
    }
}

fn ttl_of(request: &Request) -> Option<i64> {
    let text = request.single(TTL_HEADER).ok().flatten()?;
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|ttl| is_number && (1..=21600).contains(ttl))
}

fn relay(answer: Result<Answer, UpstreamError>) -> Answer {
    answer.unwrap_or_else(|error| {
        tracing::warn!(%error, "upstream gives nothing");
        Answer::refusal(503)
    })
}

#[cfg(test)]
mod tests;
