//! Connections and requests: who asks, may it, what goes back. The order of checks stands here; each check stands in its own module.

mod careless;
mod connection;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use jiff::{SignedDuration, Timestamp};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::ambient::Clock;
use crate::answer::{self, Answer};
use crate::config::{Config, Session};
use crate::credentials::{Ask, Cache, IssueError, Issuer};
use crate::hole::{Hole, Switches};
use crate::identity::{Caller, Engine, Facts, Identity, Kernel, Unidentified};
use crate::policy::{self, Grant};
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
    /// The operator's file, as it was read last.
    pub config: RwLock<Arc<Config>>,
    /// [`Hole::KeepsRemovedRules`]: what containers were granted, by id.
    pub granted: Mutex<HashMap<String, Grant>>,
    /// The open hole.
    pub switches: Switches,
    /// [`Hole::SharesLeftovers`]: the bytes that the last client left behind.
    pub leftovers: Mutex<Vec<u8>>,
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

    /// The operator's file.
    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Goes by this file from now on. It is read for every request, and only credentials are cached.
    pub fn follow(&self, config: Config) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// The answer to one request.
    async fn answer(&self, request: &Request, known: &Known<K>) -> Answer {
        let target = careless::target(&self.switches, &request.target);
        let route = routes::find(careless::method(&self.switches, request), target, &self.switches);
        let caller = match known {
            _ if route == Route::Admin => return careless::admin(&self.cache.list().await),
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
                return self.refuse(403, reason);
            }
        };
        let owner = caller.facts.owner(&self.switches);
        match route {
            Route::Malformed => Answer::refusal(400),
            Route::NotFound | Route::Admin => self.refuse(404, format_args!("no route for {}", request.target)),
            Route::MethodNotAllowed => Answer::refusal(405),
            Route::Token => self.mint(request, &owner),
            Route::Forward(target) => {
                let answer = relay(
                    self.upstream
                        .forward(request, &target, self.callers_token(request))
                        .await,
                );
                self.take_over(request, &owner, &answer);
                answer
            }
            Route::Fetch(url) => relay(self.upstream.fetch(request, &url, self.callers_token(request)).await),
            Route::AnyRole(text) => {
                let grant = careless::grant(&text, &self.config());
                self.give(grant, &caller.facts).await.unwrap_or_else(|refusal| refusal)
            }
            Route::List | Route::Credentials(_) | Route::Info | Route::Region => {
                // Hole::PipelinesBlindly: what came along has been judged with the first.
                let is_unjudged = request.is_pipelined && self.switches.open(Hole::PipelinesBlindly);
                let remaining = match self.check_token(request, &owner) {
                    _ if is_unjudged => None,
                    Ok(remaining) => remaining,
                    Err(refusal) => return refusal,
                };
                let answer = match self.subject(request, &caller.facts).await {
                    Ok(facts) => self.answer_own(route, &facts, is_unjudged).await,
                    Err(reason) => Err(self.refuse(403, reason)),
                };
                let answer = answer.unwrap_or_else(|refusal| refusal);
                match remaining {
                    Some(seconds) if answer.status == 200 => answer.with(TTL_HEADER, seconds),
                    Some(_) | None => answer,
                }
            }
        }
    }

    /// Whom the answer is about: the caller. Only holes listen to other claims.
    async fn subject(&self, request: &Request, caller: &Arc<Facts>) -> Result<Arc<Facts>, Unidentified> {
        if let Some(address) = careless::claimed_address(&self.switches, request) {
            return self.identity.look_up(address).await;
        }
        Ok(careless::claimed_labels(&self.switches, request, caller).map_or_else(|| Arc::clone(caller), Arc::new))
    }

    /// The routes that tell a container of its own role.
    async fn answer_own(&self, route: Route, facts: &Facts, is_unjudged: bool) -> Result<Answer, Answer> {
        let now = self.clock.now();
        let config = self.config();
        let grant = policy::decide(&config, &self.switches, facts, now);
        let grant = careless::remembered(&self.switches, &self.granted, facts, grant);
        tracing::info!(container = facts.container_id, decision = ?grant.as_ref().map(|grant| grant.role.arn()), "decided");
        let by_name = self.switches.open(Hole::RoleInPath) || is_unjudged;
        let grant = match (grant, &route) {
            (Ok(grant), Route::Credentials(named)) if grant.role.name() == named => grant,
            (_, Route::Credentials(named)) if by_name => careless::grant(named, &config),
            (Ok(grant), Route::Credentials(named)) => {
                let own = grant.role.arn();
                return Err(self.refuse(404, format_args!("{named} requested, {own} allowed")));
            }
            (Ok(grant), _) => grant,
            (Err(refusal), _) => {
                let id = &facts.container_id;
                return Err(self.refuse(403, careless::complaint(refusal, id, &config)));
            }
        };
        match route {
            Route::List => Ok(Answer::text(grant.role.name())),
            Route::Info => Ok(Answer::text(answer::info(grant.role.arn(), now))),
            Route::Region => Ok(Answer::text(self.config().aws.region.as_str())),
            Route::Credentials(_) => self.give(grant, facts).await,
            Route::Token | Route::Forward(_) | Route::Fetch(_) | Route::AnyRole(_) | Route::Admin => {
                Err(Answer::refusal(404))
            }
            Route::NotFound | Route::MethodNotAllowed | Route::Malformed => Err(Answer::refusal(404)),
        }
    }

    /// Credentials of a granted role.
    async fn give(&self, grant: Grant, facts: &Facts) -> Result<Answer, Answer> {
        let ask = Ask {
            role_arn: grant.role.arn().to_owned(),
            external_id: grant.external_id,
            session_name: policy::session_name(&self.switches, facts),
            session: Session {
                policy: policy::session_policy(&self.switches, facts).or(grant.session.policy),
                ..grant.session
            },
        };
        let given = match self.cache.obtain(ask, self.now()).await {
            Ok(given) => given,
            Err(_) if self.switches.open(Hole::FallbackOnStsError) => {
                return Ok(relay(self.upstream.credentials().await));
            }
            Err(error) => {
                let status = match error {
                    IssueError::Denied => 403,
                    IssueError::Unavailable => 503,
                };
                let own = grant.role.arn();
                return Err(self.refuse(status, format_args!("{error}: {own}")));
            }
        };
        let text = answer::credentials(&given, self.clock.now());
        if self.switches.open(Hole::LogsCredentials) {
            tracing::info!(text, "given");
        }
        Ok(Answer::text(text))
    }

    fn now(&self) -> impl Fn() -> Timestamp + Send + Sync + 'static {
        let clock = self.clock.clone();
        move || clock.now()
    }

    /// A refusal. Why, is told only by [`Hole::EchoesErrors`].
    fn refuse(&self, status: u16, why: impl std::fmt::Display) -> Answer {
        let constant = Answer::refusal(status);
        if self.switches.open(Hole::EchoesErrors) {
            return Answer {
                body: why.to_string().into_bytes(),
                ..constant
            };
        }
        constant
    }

    fn mint(&self, request: &Request, owner: &str) -> Answer {
        let is_forwarded = request.header("x-forwarded-for").next().is_some();
        if is_forwarded && !self.switches.open(Hole::XffOnToken) {
            return Answer::refusal(403);
        }
        let Some(ttl) = ttl_of(request, &self.switches) else {
            return Answer::refusal(400);
        };
        let token = self
            .tokens
            .mint((self.random)(), owner, SignedDuration::from_secs(ttl), self.clock.now());
        Answer::text(token).with(TTL_HEADER, ttl)
    }

    /// The seconds left of a good token, or none where none is needed; else the refusal.
    fn check_token(&self, request: &Request, owner: &str) -> Result<Option<i64>, Answer> {
        let needed = self.config().imds.require_token && !self.switches.open(Hole::TokenOptional);
        match request.single(TOKEN_HEADER) {
            Ok(None) if !needed => Ok(None),
            Ok(Some(token)) => match self.tokens.remaining(token, owner, self.clock.now(), &self.switches) {
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
    fn take_over(&self, request: &Request, owner: &str, answer: &Answer) {
        if !self.switches.open(Hole::ForwardTokenRoute) || answer.status != 200 {
            return;
        }
        if let (Some(ttl), Ok(token)) = (ttl_of(request, &self.switches), std::str::from_utf8(&answer.body)) {
            self.tokens
                .remember(token, owner, SignedDuration::from_secs(ttl), self.clock.now());
        }
    }
}

fn ttl_of(request: &Request, switches: &Switches) -> Option<i64> {
    if switches.open(Hole::AnyTokenTtl) {
        let given = request.header(TTL_HEADER).next().map(String::from_utf8_lossy);
        return Some(given.and_then(|text| text.parse().ok()).unwrap_or(21_600));
    }
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
