//! What the metadata service answers: a pure function of its state, the options in force, the time and the request.
//! It must not know sockets, where credentials come from, nor how an answer is laid out on the wire.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use fake_kit::facts::Facts;
use http::{HeaderMap, HeaderValue, Method};
use jiff::Timestamp;

use crate::aemm::Aemm;
use crate::canonical::{Place, Profile};
use crate::credentials::Kind;
use crate::imds::Imds;
use crate::options::{Endpoint, HttpTokens, MetadataOptions, TagsInMetadata};
use crate::page;
use crate::token;
use crate::tree::{Found, Leaf};
use crate::version::Version;
use crate::world::{BadToken, ErrorBody, ListingAlone, Overload, TagsOff};

/// The names of the facts that an answer states.
pub const FACTS: &[&str] = &["path", "method", "token", "version", "instance"];

/// The header of a token.
pub const TOKEN: &str = "x-aws-ec2-metadata-token";
/// The header of a token's lifetime.
const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
/// Methods at the token's path (capture of 2020).
const TOKEN_METHODS: &str = "OPTIONS, PUT";
/// Methods elsewhere. No capture of such an answer is known.
const DATA_METHODS: &str = "OPTIONS, GET, HEAD";
const TOKEN_PATH: &str = "api/token";
/// What old stacks listed tags at.
const TAGS_PATH: &str = "meta-data/tags/instance";

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
    /// Whether the client is among those that see notices (of amazon-ec2-metadata-mock).
    pub sees_notices: bool,
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
    /// The `Location` header.
    pub location: Option<String>,
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
    /// Metadata that is called JSON, last changed then.
    Json(Bytes, Timestamp),
    /// User data, last changed then.
    UserData(Bytes, Timestamp),
    /// Credentials, which somebody else issues.
    Credentials(Kind),
    /// Credentials of the role, with the account.
    Extended,
    /// Credentials of the role, as the endpoint for containers tells them.
    Container,
    /// What that endpoint tells instead.
    ContainerRefusal(&'static str),
    /// An error page.
    Page(Bytes),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presented {
    None,
    Valid(u64),
    Invalid,
}

/// Answers a request.
pub fn answer(imds: &Imds, options: &MetadataOptions, now: Timestamp, ask: &Ask<'_>) -> Answer {
    if let Some(answer) = at_container(imds, ask) {
        return answer;
    }
    let known = as_known(imds, ask.path);
    let place = Place::of(imds.profile(), known.as_deref().unwrap_or(ask.path));
    let presented = presented(imds, now, ask.headers);
    let mut answer = judge(imds, options, now, ask, &place, presented);
    answer.facts = facts(imds, ask, &place, presented);
    if known.is_some() {
        answer.facts.insert("path", ask.path.to_owned());
    }
    answer
}

/// The endpoint for containers knows no tokens of this service, and no options.
fn at_container(imds: &Imds, ask: &Ask<'_>) -> Option<Answer> {
    let container = imds.world().instance.container.as_ref()?;
    if ask.path != container.path {
        return None;
    }
    let said = ask.headers.get(http::header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let expected = container.authorization.as_ref().map(String::as_bytes);
    let answer = if ask.method != Method::GET {
        Answer::with(
            405,
            Content::ContainerRefusal("MethodNotAllowed"),
            "the method is not GET",
        )
    } else if expected.is_some() && said != expected {
        Answer::with(
            401,
            Content::ContainerRefusal("AccessDenied"),
            "Authorization is missing or wrong",
        )
    } else {
        Answer::with(200, Content::Container, "credentials")
    };
    let place = Place::Nowhere;
    let facts = facts(imds, ask, &place, Presented::None);
    Some(Answer { facts, ..answer })
}

/// A version that the world adds has what the last one has that is known.
fn as_known(imds: &Imds, path: &str) -> Option<String> {
    let (name, rest) = path
        .strip_prefix('/')
        .map(|path| path.split_at(path.find('/').unwrap_or(path.len())))?;
    let later = imds.switches().later_versions.iter().any(|version| version == name);
    later.then(|| format!("/{}{rest}", Version::LAST_DATED.name()))
}

fn facts(imds: &Imds, ask: &Ask<'_>, place: &Place<'_>, presented: Presented) -> Facts {
    let token = match presented {
        Presented::None => "none",
        Presented::Valid(_) => "valid",
        Presented::Invalid => "invalid",
    };
    let v2 = presented != Presented::None || ask.method == Method::PUT;
    let method = match *ask.method {
        Method::GET => "GET".into(),
        Method::PUT => "PUT".into(),
        ref other => other.as_str().to_owned().into(),
    };
    Facts::from([
        ("path", place.canonical(ask.path).into()),
        ("method", method),
        ("token", token.into()),
        ("version", if v2 { "v2" } else { "v1" }.into()),
        ("instance", imds.world().instance.id.clone().into()),
    ])
}

fn presented(imds: &Imds, now: Timestamp, headers: &HeaderMap) -> Presented {
    let mut tokens = headers.get_all(TOKEN).iter();
    match (tokens.next(), tokens.next()) {
        (None, _) => Presented::None,
        (Some(token), None) => imds
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
    place: &Place<'_>,
    presented: Presented,
) -> Answer {
    if ask.over_ipv6 && !options.ipv6 {
        return Answer::with(0, Content::Silence, "the IPv6 endpoint is disabled");
    }
    if options.endpoint == Endpoint::Disabled {
        return error(imds, 403, "the endpoint is disabled");
    }
    if let Place::Under { version, path, slash } = place
        && path == TOKEN_PATH
    {
        if !slash {
            return at_token(imds, options, now, ask, *version);
        }
        // Captured: a client that appended the slash was forbidden (aws-beam/aws_credentials issue 47).
        if ask.method == Method::PUT {
            return error(imds, 403, "a slash follows the token path");
        }
    }
    let lenient = imds.profile() == Profile::Lenient;
    if ask.method == Method::OPTIONS {
        return Answer::with(200, Content::Empty, "methods").allowing(DATA_METHODS);
    }
    if ask.method != Method::GET && ask.method != Method::HEAD && !(lenient && ask.method == Method::POST) {
        return error(imds, 405, "the method is not one of GET, HEAD").allowing(DATA_METHODS);
    }
    let left = match presented {
        Presented::Invalid if ignores_bad_tokens(imds, options) => None,
        Presented::Invalid => return error(imds, 401, "the token is not valid"),
        Presented::None if options.http_tokens == HttpTokens::Required => {
            return error(imds, 401, "a token is required");
        }
        Presented::None => None,
        Presented::Valid(left) => Some(left),
    };
    let answer = found(imds, options, now, ask, place);
    let token_seconds = left.filter(|_| answer.status == 200);
    Answer {
        token_seconds,
        ..answer
    }
}

fn ignores_bad_tokens(imds: &Imds, options: &MetadataOptions) -> bool {
    imds.switches().bad_token == BadToken::Ignored && options.http_tokens == HttpTokens::Optional
}

fn at_token(imds: &Imds, options: &MetadataOptions, now: Timestamp, ask: &Ask<'_>, version: Version) -> Answer {
    if ask.method == Method::PUT {
        let answer = put_token(imds, now, ask, version);
        return Answer {
            hop_limit: Some(options.hop_limit),
            ..answer
        };
    }
    if version != Version::LATEST {
        return nothing(imds);
    }
    if ask.method == Method::OPTIONS {
        return Answer::with(200, Content::Empty, "methods").allowing(TOKEN_METHODS);
    }
    error(imds, 405, "the method is not PUT").allowing(TOKEN_METHODS)
}

fn put_token(imds: &Imds, now: Timestamp, ask: &Ask<'_>, version: Version) -> Answer {
    // Captured: curl's own Expect was refused (s3fs-fuse issue 1765).
    if ask.headers.contains_key("expect") {
        return error(imds, 417, "Expect: this service continues nothing");
    }
    if ask.headers.contains_key("x-forwarded-for") {
        return error(imds, 403, "X-Forwarded-For: the request was forwarded");
    }
    if version != Version::LATEST {
        return error(imds, 403, "tokens are issued under latest only");
    }
    let Some(ttl) = token::asked_ttl(ask.headers.get_all(TTL).iter().map(|value| value.as_bytes())) else {
        return error(imds, 400, "the TTL is not one whole number from 1 to 21600");
    };
    let token = imds.issue(now, ttl, ask.number);
    Answer {
        token_seconds: Some(u64::from(ttl)),
        ..Answer::with(200, Content::Token(token), "token issued")
    }
}

fn found(imds: &Imds, options: &MetadataOptions, now: Timestamp, ask: &Ask<'_>, place: &Place<'_>) -> Answer {
    let started = imds.started();
    let (content, why) = match place {
        Place::Nowhere => return nothing(imds),
        Place::Versions => (Content::Text(imds.versions(), started), "versions"),
        Place::Under { version, path, slash } => match imds.find(options, now, *version, path) {
            None if path == TAGS_PATH && tags_are_empty(imds, options) => {
                (Content::Text(Bytes::new(), started), "tags are not in the metadata")
            }
            Some(_) if !ask.sees_notices && Aemm::is_notice(path) => return nothing(imds),
            None => return nothing(imds),
            Some(Found::Leaf(Leaf::Text(text))) => (Content::Text(text, started), "metadata"),
            Some(Found::Leaf(Leaf::Notice(text, changed))) => (Content::Text(text, changed), "metadata"),
            Some(Found::Leaf(Leaf::Signature(form))) => (Content::Text(imds.signature(form), started), "metadata"),
            Some(Found::Leaf(Leaf::Json(text))) => (Content::Json(text, started), "metadata"),
            Some(Found::Leaf(Leaf::Live(live))) => match live.say(now) {
                (text, true) => (Content::Json(text.into(), now), "metadata"),
                (text, false) => (Content::Text(text.into(), now), "metadata"),
            },
            Some(Found::Leaf(Leaf::UserData(data))) => (Content::UserData(data, started), "user data"),
            Some(Found::Leaf(Leaf::Credentials(kind))) => (Content::Credentials(kind), "credentials"),
            Some(Found::Leaf(Leaf::Extended)) => (Content::Extended, "credentials"),
            Some(Found::Listing(text)) if imds.is_aemm() => {
                (Content::Text(root_listing(text, path).into(), started), "listing")
            }
            Some(Found::Listing(text)) => match imds.switches().listing_without_slash {
                ListingAlone::Redirect if !slash => return redirect(ask.path),
                ListingAlone::Empty if !slash => (Content::Text(Bytes::new(), started), "a listing without its slash"),
                ListingAlone::Listing | ListingAlone::Redirect | ListingAlone::Empty => {
                    (Content::Text(text.into(), started), "listing")
                }
            },
        },
    };
    Answer::with(200, content, why)
}

fn tags_are_empty(imds: &Imds, options: &MetadataOptions) -> bool {
    imds.switches().tags_off == TagsOff::Empty && options.instance_metadata_tags == TagsInMetadata::Disabled
}

/// The mock ends the lists at the top with a line feed, and no others.
fn root_listing(text: String, path: &str) -> String {
    match path {
        "" | "meta-data" | "dynamic" => text + "\n",
        _ => text,
    }
}

fn nothing(imds: &Imds) -> Answer {
    let page = if imds.is_aemm() {
        page::AEMM_NOT_FOUND
    } else {
        page::NOT_FOUND
    };
    Answer::with(404, Content::Page(page.into()), "nothing is there")
}

fn redirect(path: &str) -> Answer {
    Answer {
        location: Some(format!("{path}/")),
        ..Answer::with(301, Content::Empty, "a listing without its slash")
    }
}

/// What a throttled client is told.
pub fn overloaded(imds: &Imds, facts: Facts) -> Answer {
    let why = "throttled";
    let answer = match imds.switches().overload {
        Overload::Unavailable => error(imds, 503, why),
        Overload::TooManyRequests => error(imds, 429, why),
        Overload::Reset => Answer::with(0, Content::Silence, why),
    };
    Answer { facts, ..answer }
}

/// An error answer: an empty body, or the page that profile or switch ask for.
pub fn error(imds: &Imds, status: u16, why: &'static str) -> Answer {
    let paged = matches!(status, 400 | 403) && imds.switches().error_body == ErrorBody::Page;
    let content = match imds.profile() {
        Profile::Aemm => Content::Page(page::aemm(status, phrase(status)).into()),
        Profile::Ec2 | Profile::Lenient if paged => Content::Page(page::ec2(status, phrase(status)).into()),
        Profile::Ec2 | Profile::Lenient => Content::Empty,
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
            location: None,
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
