//! What is asked here, and with which words: from what surrounds the job and what the plain requests brought. Pure.

use super::name::RoleName;
use super::place::{CONTAINERS, ENDPOINT, PODS, PODS_V6, Place};
use super::surroundings::Surroundings;
use super::way::{self, Way, beside};

/// The path that everything is about.
pub(super) const LIST: &str = "/latest/meta-data/iam/security-credentials/";
/// Where tokens are to be had.
pub(super) const TOKEN: &str = "/latest/api/token";

/// What a request is expected to bring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Yields {
    /// A list of roles, and the first one's credentials at the same path.
    Roles,
    /// A list of roles, and nothing more is asked: the answer would be somebody else's credentials.
    List,
    /// Credentials.
    Credentials,
    /// A document, by its word.
    Document(&'static str),
}

/// A request to be sent, or two.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) way: Way,
    pub(super) place: Place,
    /// The target, exactly as sent.
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) yields: Yields,
}

impl Asked {
    fn new(way: Way, place: Place, target: &str, yields: Yields) -> Self {
        Self {
            way,
            place,
            target: target.to_owned(),
            headers: Vec::new(),
            yields,
        }
    }
}

/// The target for a role's credentials, where `list` is the one for the list: the query stays last, and the separator is the list's own.
pub(super) fn target_of(list: &str, role: &RoleName) -> String {
    let (path, query) = list
        .split_once('?')
        .map_or((list, None), |(path, query)| (path, Some(query)));
    let separator = if path.ends_with(['/', '\\']) { "" } else { "/" };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{path}{separator}{}{query}", role.raw())
}

/// Every other spelling of the plain request, headers that lie, and documents beside it: all of the endpoint over IPv4.
pub(super) fn of_endpoint(around: &Surroundings, role: Option<&str>) -> Vec<Asked> {
    let gateway = around
        .gateway()
        .map_or_else(|| "127.0.0.1".to_owned(), |address| address.to_string());
    let fill = |text: &str| {
        text.replace("{gateway}", &gateway)
            .replace("{role}", role.unwrap_or("x"))
    };
    let spelled = way::SPELLINGS.iter().map(|(way, path)| {
        let yields = if path.contains("{role}") {
            Yields::Credentials
        } else {
            Yields::Roles
        };
        Asked::new(*way, Place::Endpoint, &fill(path), yields)
    });
    let absolute = Asked::new(
        way::ABSOLUTE,
        Place::Endpoint,
        &format!("http://{ENDPOINT}{LIST}"),
        Yields::Roles,
    );
    let forged = way::HEADERS.iter().map(|(way, headers)| Asked {
        headers: headers
            .iter()
            .map(|(name, value)| ((*name).to_owned(), fill(value)))
            .collect(),
        ..Asked::new(*way, Place::Endpoint, LIST, Yields::Roles)
    });
    let documents = way::DOCUMENTS
        .iter()
        .map(|(way, path, word)| Asked::new(*way, Place::Endpoint, path, Yields::Document(word)));
    spelled.chain([absolute]).chain(forged).chain(documents).collect()
}

/// Whoever stands beside the endpoint.
pub(super) fn of_others(around: &Surroundings) -> Vec<Asked> {
    let mut asked = vec![Asked::new(beside::NAT64, Place::Nat64, LIST, Yields::Roles)];
    let authorization = around
        .variable("AWS_CONTAINER_AUTHORIZATION_TOKEN")
        .or(around.authorization_file.as_deref())
        .map(str::trim)
        .filter(|value| !value.is_empty() && value.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    let authorized = |one: Asked| Asked {
        headers: authorization
            .iter()
            .map(|value| ("Authorization".to_owned(), (*value).to_owned()))
            .collect(),
        ..one
    };
    let relative = around
        .variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
        .filter(|path| path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic()));
    let containers = Asked::new(
        beside::CONTAINERS,
        Place::Containers,
        relative.unwrap_or("/v2/credentials/"),
        Yields::Credentials,
    );
    asked.push(if relative.is_some() {
        authorized(containers)
    } else {
        containers
    });
    if let Some((authority, path)) = full_address(around).filter(|(authority, _)| is_for_containers(authority)) {
        asked.push(authorized(Asked::new(
            beside::FULL_ADDRESS,
            Place::Named(authority),
            &path,
            Yields::Credentials,
        )));
    }
    for (way, place) in [(beside::PODS, Place::Pods), (beside::PODS_V6, Place::PodsV6)] {
        asked.push(Asked::new(way, place, "/v1/credentials", Yields::Credentials));
    }
    if let Some(gateway) = around.gateway() {
        let port = |port| Place::Gateway(gateway, port);
        asked.extend(
            beside::GATEWAYS
                .iter()
                .map(|(way, number)| Asked::new(*way, port(*number), LIST, Yields::Roles)),
        );
        asked.push(Asked::new(
            beside::CONTAINER_AGENT,
            port(51678),
            "/v1/metadata",
            Yields::Document("agent"),
        ));
        asked.push(Asked::new(
            beside::GATEWAY_ENGINE,
            port(2375),
            "/version",
            Yields::Document("engine"),
        ));
    }
    if let Some(authority) = around
        .variable("DOCKER_HOST")
        .and_then(|url| authority_of(url, "tcp://"))
    {
        asked.push(Asked::new(
            beside::ENGINE_NAMED,
            Place::Named(authority),
            "/version",
            Yields::Document("engine"),
        ));
    }
    let web_proxy = around.variable("HTTP_PROXY").or_else(|| around.variable("http_proxy"));
    if let Some(authority) = web_proxy.and_then(|url| authority_of(url, "http://")) {
        asked.push(Asked {
            headers: vec![("Host".to_owned(), ENDPOINT.to_owned())],
            ..Asked::new(
                beside::WEB_PROXY,
                Place::Named(authority),
                &format!("http://{ENDPOINT}{LIST}"),
                Yields::List,
            )
        });
    }
    asked
}

/// `HOST[:PORT]` of a URL, without who it says it is.
fn authority_of(url: &str, scheme: &str) -> Option<String> {
    let rest = url.strip_prefix(scheme)?.split(['/', '?', '#']).next()?;
    let authority = rest.rsplit_once('@').map_or(rest, |(_, authority)| authority);
    let is_authority = !authority.is_empty()
        && authority.len() <= 256
        && authority
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte));
    is_authority.then(|| authority.to_owned())
}

/// Authority and path of the environment's full address of container credentials.
fn full_address(around: &Surroundings) -> Option<(String, String)> {
    let url = around.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI")?;
    let authority = authority_of(url, "http://")?;
    let rest = url.strip_prefix("http://")?;
    let path = rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/");
    let is_path = path.bytes().all(|byte| byte.is_ascii_graphic());
    is_path.then(|| (authority, path.to_owned()))
}

/// Whether SDKs would ask there over plain HTTP: the token goes nowhere else.
fn is_for_containers(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        Some(_) | None => authority,
    };
    let is_loopback = host
        .parse::<std::net::Ipv4Addr>()
        .is_ok_and(|address| address.is_loopback());
    is_loopback || [CONTAINERS, PODS, PODS_V6, "localhost", "[::1]"].contains(&host)
}

/// Whether the environment names an address of container credentials that is left alone here.
pub(super) fn foreign_address(around: &Surroundings) -> bool {
    around.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI").is_some()
        && !full_address(around).is_some_and(|(authority, _)| is_for_containers(&authority))
}

/// Every way there is, whether it is asked here or not.
pub(super) fn every_way() -> Vec<Way> {
    let mut ways = vec![way::V1, way::V2, way::V1_V6, way::V2_V6, way::HOP_LIMIT];
    ways.extend(way::SPELLINGS.iter().map(|(way, _)| *way));
    ways.push(way::ABSOLUTE);
    ways.extend(way::HEADERS.iter().map(|(way, _)| *way));
    ways.extend(way::DOCUMENTS.iter().map(|(way, _, _)| *way));
    ways.extend([
        beside::NAT64,
        beside::CONTAINERS,
        beside::FULL_ADDRESS,
        beside::PODS,
        beside::PODS_V6,
    ]);
    ways.extend(beside::GATEWAYS.iter().map(|(way, _)| *way));
    ways.extend([
        beside::CONTAINER_AGENT,
        beside::GATEWAY_ENGINE,
        beside::ENGINE_NAMED,
        beside::WEB_PROXY,
        beside::SDK,
    ]);
    ways.extend(
        super::inside::weigh(&Surroundings::default())
            .into_iter()
            .map(|(way, _)| way),
    );
    ways
}
