//! What the metadata service answers: a pure function of its state, the options in force, the time and the request.
//! It must not know sockets, where credentials come from, nor how an answer is laid out on the wire.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use fake_kit::fault::Facts;
use fake_kit::seed::{Canaries, Seed};
use http::{HeaderMap, Method};
use jiff::Timestamp;

use crate::canonical::{Place, Profile};
use crate::credentials::Kind;
use crate::instance;
use crate::options::{Endpoint, HttpTokens, MetadataOptions};
use crate::page;
use crate::token::{self, Mint};
use crate::tree::{Found, Leaf, Tree};
use crate::version::{self, Version};
use crate::world::World;

/// The names of the facts that an answer states.
pub const FACTS: &[&str] = &["path", "method", "token", "version"];

/// The header of a token.
const TOKEN: &str = "x-aws-ec2-metadata-token";
/// The header of a token's lifetime.
const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
/// Methods at the token's path (capture of 2020).
const TOKEN_METHODS: &str = "OPTIONS, PUT";
/// Methods elsewhere. No capture of such an answer is known.
const DATA_METHODS: &str = "OPTIONS, GET, HEAD";
const TOKEN_PATH: &str = "api/token";

/// One instance's metadata service.
#[derive(Debug, Clone)]
pub struct Imds {
    profile: Profile,
    tree: Tree,
    mint: Mint,
    started: Timestamp,
}

/// A request, as far as it matters.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The method.
    pub method: &'a Method,
    /// The target's path, without query.
    pub path: &'a str,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// Whether it came to the IPv6 endpoint.
    pub over_ipv6: bool,
    /// A number that no other request has; tokens are told apart by it.
    pub number: u64,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// What the answer carries.
    pub content: Content,
    /// The seconds that the presented or issued token has left.
    pub token_seconds: Option<u64>,
    /// The `Allow` header.
    pub allow: Option<&'static str>,
    /// How far this answer, and all else on its connection, may travel.
    pub hop_limit: Option<u8>,
    /// Why, for the ledger.
    pub why: &'static str,
    /// What the ledger states and faults match.
    pub facts: Facts,
}

/// What an answer carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Nothing.
    Empty,
    /// Not even a status: the connection ends.
    Silence,
    /// A new session token.
    Token(String),
    /// Metadata, last changed then.
    Text(Bytes, Timestamp),
    /// User data, last changed then.
    UserData(Bytes, Timestamp),
    /// Credentials, which somebody else issues.
    Credentials(Kind),
    /// An error page.
    Page(Bytes),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presented {
    None,
    Valid(u64),
    Invalid,
}

impl Imds {
    /// The service of the world's instance; plants its canaries.
    pub fn new(world: &World, profile: Profile, seed: &Seed, canaries: &Canaries, started: Timestamp) -> Self {
        Self {
            profile,
            tree: instance::tree(world, seed, canaries, started),
            mint: Mint::new(seed, &world.instance_id, canaries.plant("host-token")),
            started,
        }
    }

    /// The paths that have a leaf, below a version.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.tree.paths()
    }
}

/// Answers a request.
pub fn answer(imds: &Imds, options: &MetadataOptions, now: Timestamp, ask: &Ask<'_>) -> Answer {
    let place = Place::of(imds.profile, ask.path);
    let presented = presented(imds, now, ask.headers);
    let mut answer = judge(imds, options, now, ask, &place, presented);
    answer.facts = facts(ask, &place, presented);
    answer
}

fn facts(ask: &Ask<'_>, place: &Place, presented: Presented) -> Facts {
    let token = match presented {
        Presented::None => "none",
        Presented::Valid(_) => "valid",
        Presented::Invalid => "invalid",
    };
    let v2 = presented != Presented::None || ask.method == Method::PUT;
    Facts::from([
        ("path".to_owned(), place.canonical(ask.path)),
        ("method".to_owned(), ask.method.as_str().to_owned()),
        ("token".to_owned(), token.to_owned()),
        ("version".to_owned(), if v2 { "v2" } else { "v1" }.to_owned()),
    ])
}

fn presented(imds: &Imds, now: Timestamp, headers: &HeaderMap) -> Presented {
    let mut tokens = headers.get_all(TOKEN).iter();
    match (tokens.next(), tokens.next()) {
        (None, _) => Presented::None,
        (Some(token), None) => imds
            .mint
            .seconds_left(token.as_bytes(), now)
            .map_or(Presented::Invalid, Presented::Valid),
        (Some(_), Some(_)) => Presented::Invalid,
    }
}

fn judge(
    imds: &Imds,
    options: &MetadataOptions,
    now: Timestamp,
    ask: &Ask<'_>,
    place: &Place,
    presented: Presented,
) -> Answer {
    let profile = imds.profile;
    if ask.over_ipv6 && !options.ipv6 {
        return Answer::with(0, Content::Silence, "the IPv6 endpoint is disabled");
    }
    if options.endpoint == Endpoint::Disabled {
        return error(profile, 403, "the endpoint is disabled");
    }
    if let Place::Under { version, path, slash } = place
        && path == TOKEN_PATH
    {
        if !slash {
            return at_token(imds, options, now, ask, *version);
        }
        // Captured: a client that appended the slash was forbidden (aws-beam/aws_credentials issue 47).
        if ask.method == Method::PUT {
            return error(profile, 403, "a slash follows the token path");
        }
    }
    let lenient = profile == Profile::Lenient;
    if ask.method == Method::OPTIONS {
        return Answer::with(200, Content::Empty, "methods").allowing(DATA_METHODS);
    }
    if ask.method != Method::GET && ask.method != Method::HEAD && !(lenient && ask.method == Method::POST) {
        return error(profile, 405, "the method is not one of GET, HEAD").allowing(DATA_METHODS);
    }
    let left = match presented {
        Presented::Invalid => return error(profile, 401, "the token is not valid"),
        Presented::None if options.http_tokens == HttpTokens::Required => {
            return error(profile, 401, "a token is required");
        }
        Presented::None => None,
        Presented::Valid(left) => Some(left),
    };
    let Some((content, why)) = find(imds, place) else {
        return Answer::with(404, Content::Page(page::NOT_FOUND.into()), "nothing is there");
    };
    Answer {
        token_seconds: left,
        ..Answer::with(200, content, why)
    }
}

fn at_token(imds: &Imds, options: &MetadataOptions, now: Timestamp, ask: &Ask<'_>, version: Version) -> Answer {
    let profile = imds.profile;
    if ask.method == Method::PUT {
        let answer = put_token(imds, now, ask, version);
        return Answer {
            hop_limit: Some(options.hop_limit),
            ..answer
        };
    }
    if version != Version::LATEST {
        return Answer::with(404, Content::Page(page::NOT_FOUND.into()), "nothing is there");
    }
    if ask.method == Method::OPTIONS {
        return Answer::with(200, Content::Empty, "methods").allowing(TOKEN_METHODS);
    }
    error(profile, 405, "the method is not PUT").allowing(TOKEN_METHODS)
}

fn put_token(imds: &Imds, now: Timestamp, ask: &Ask<'_>, version: Version) -> Answer {
    // Captured: curl's own Expect was refused (s3fs-fuse issue 1765).
    if ask.headers.contains_key("expect") {
        return error(imds.profile, 417, "Expect: this service continues nothing");
    }
    if ask.headers.contains_key("x-forwarded-for") {
        return error(imds.profile, 403, "X-Forwarded-For: the request was forwarded");
    }
    if version != Version::LATEST {
        return error(imds.profile, 403, "tokens are issued under latest only");
    }
    let Some(ttl) = token::asked_ttl(ask.headers.get_all(TTL).iter().map(|value| value.as_bytes())) else {
        return error(imds.profile, 400, "the TTL is not one whole number from 1 to 21600");
    };
    let token = imds.mint.issue(now, ttl, ask.number);
    Answer {
        token_seconds: Some(u64::from(ttl)),
        ..Answer::with(200, Content::Token(token), "token issued")
    }
}

fn find(imds: &Imds, place: &Place) -> Option<(Content, &'static str)> {
    match place {
        Place::Versions => Some((Content::Text(version::ALL.join("\n").into(), imds.started), "versions")),
        Place::Under { version, path, .. } => Some(match imds.tree.find(*version, path)? {
            Found::Leaf(Leaf::Text(text)) => (Content::Text(text, imds.started), "metadata"),
            Found::Leaf(Leaf::UserData(data)) => (Content::UserData(data, imds.started), "user data"),
            Found::Leaf(Leaf::Credentials(kind)) => (Content::Credentials(kind), "credentials"),
            Found::Listing(text) => (Content::Text(text.into(), imds.started), "listing"),
        }),
        Place::Nowhere => None,
    }
}

/// An error answer: an empty body, or the page that the profile asks for.
pub fn error(profile: Profile, status: u16, why: &'static str) -> Answer {
    let content = match profile {
        Profile::Ec2 | Profile::Lenient => Content::Empty,
        Profile::Aemm => Content::Page(page::aemm(status, phrase(status)).into()),
    };
    Answer::with(status, content, why)
}

/// The reason phrase where it is not the usual one (capture of 2020).
pub fn phrase(status: u16) -> &'static str {
    if status == 405 {
        return "Not Allowed";
    }
    http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("")
}

impl Answer {
    fn with(status: u16, content: Content, why: &'static str) -> Self {
        Self {
            status,
            content,
            token_seconds: None,
            allow: None,
            hop_limit: None,
            why,
            facts: Facts::new(),
        }
    }

    fn allowing(self, methods: &'static str) -> Self {
        Self {
            allow: Some(methods),
            ..self
        }
    }
}
