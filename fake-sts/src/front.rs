//! The front end: what happens to a request before it is known to be an action of STS. Pure; it must not know callers.

use crate::envelope::Format;
use crate::iam;
use crate::query::Parameters;
use crate::refusal::Refusal;
use crate::request::Request;

/// The version of the Query protocol that STS speaks.
const VERSION: &str = "2011-06-15";

/// A signed GET with a longer query string gets an empty 400.
const MOST_QUERY_BYTES: usize = 15_870;

/// The version of the Query protocol that IAM speaks.
const IAM_VERSION: &str = "2010-05-08";

/// Actions that STS has and this fake has not.
const UNBUILT: [&str; 1] = ["GetDelegatedAccessToken"];

/// What a preflight is told (measured: `sts.md`, envelope).
const PREFLIGHT: [(&str, &str); 4] = [
    ("access-control-allow-origin", "*"),
    ("access-control-allow-methods", "POST"),
    (
        "access-control-expose-headers",
        "x-amzn-RequestId,x-amzn-ErrorType,x-amzn-ErrorMessage,Date,smithy-protocol",
    ),
    ("access-control-max-age", "172800"),
];

/// An action of STS that this fake carries out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// `AssumeRole`.
    AssumeRole,
    /// `AssumeRoleWithSAML`.
    AssumeRoleWithSaml,
    /// `AssumeRoleWithWebIdentity`.
    AssumeRoleWithWebIdentity,
    /// `AssumeRoot`.
    AssumeRoot,
    /// `DecodeAuthorizationMessage`.
    DecodeAuthorizationMessage,
    /// `GetAccessKeyInfo`.
    GetAccessKeyInfo,
    /// `GetCallerIdentity`.
    GetCallerIdentity,
    /// `GetFederationToken`.
    GetFederationToken,
    /// `GetSessionToken`.
    GetSessionToken,
    /// `GetWebIdentityToken`.
    GetWebIdentityToken,
}

impl Action {
    const ALL: [Self; 10] = [
        Self::AssumeRole,
        Self::AssumeRoleWithSaml,
        Self::AssumeRoleWithWebIdentity,
        Self::AssumeRoot,
        Self::DecodeAuthorizationMessage,
        Self::GetAccessKeyInfo,
        Self::GetCallerIdentity,
        Self::GetFederationToken,
        Self::GetSessionToken,
        Self::GetWebIdentityToken,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AssumeRole => "AssumeRole",
            Self::AssumeRoleWithSaml => "AssumeRoleWithSAML",
            Self::AssumeRoleWithWebIdentity => "AssumeRoleWithWebIdentity",
            Self::AssumeRoot => "AssumeRoot",
            Self::DecodeAuthorizationMessage => "DecodeAuthorizationMessage",
            Self::GetAccessKeyInfo => "GetAccessKeyInfo",
            Self::GetCallerIdentity => "GetCallerIdentity",
            Self::GetFederationToken => "GetFederationToken",
            Self::GetSessionToken => "GetSessionToken",
            Self::GetWebIdentityToken => "GetWebIdentityToken",
        }
    }

    /// By its name, of those that an endpoint has: the global one has not all.
    fn parse(name: &str, host: &str) -> Option<Self> {
        let global = host.rsplit_once(':').map_or(host, |(name, _)| name) == "sts.amazonaws.com";
        let found = Self::ALL.into_iter().find(|action| action.name() == name)?;
        let regional = matches!(found, Self::AssumeRoot | Self::GetWebIdentityToken);
        (!(global && regional)).then_some(found)
    }
}

/// An answer without an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plain {
    /// HTTP status.
    pub status: u16,
    /// Headers beside the ones that every answer has.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: &'static str,
    /// For the ledger.
    pub reason: &'static str,
}

/// What the front end makes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Front {
    /// Answered here.
    Plain(Plain),
    /// Refused here, with an envelope.
    Refused(Refusal),
    /// To be authenticated and carried out.
    Action(Action),
    /// To be authenticated and carried out by the slice of IAM.
    Iam(&'static str),
}

/// A request with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Query string and form, in this order.
    pub parameters: Parameters,
    /// What to do.
    pub front: Front,
    /// How to answer.
    pub format: Format,
}

/// Reads a request.
#[must_use]
pub fn receive(request: &Request) -> Received {
    let json = request
        .header("accept")
        .is_some_and(|accept| accept.contains("application/json"));
    let format = if json { Format::Json } else { Format::Xml };
    match read_parameters(request) {
        None => Received {
            parameters: Parameters::default(),
            front: plain(400, "bad percent escape"),
            format,
        },
        Some(parameters) => Received {
            front: route(request, &parameters),
            parameters,
            format,
        },
    }
}

fn read_parameters(request: &Request) -> Option<Parameters> {
    Parameters::parse(request.path.as_bytes()).ok()?;
    let query = Parameters::parse(request.query().as_bytes()).ok()?;
    if !(request.method == "POST" && is_form(request)) {
        return Some(query);
    }
    Some(query.followed_by(Parameters::parse(&request.body).ok()?))
}

fn is_form(request: &Request) -> bool {
    let kind = request.header("content-type").unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

fn plain(status: u16, reason: &'static str) -> Front {
    Front::Plain(Plain {
        status,
        headers: Vec::new(),
        body: "",
        reason,
    })
}

fn route(request: &Request, parameters: &Parameters) -> Front {
    if request.method == "OPTIONS" {
        let headers = PREFLIGHT
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()))
            .collect();
        return Front::Plain(Plain {
            status: 200,
            headers,
            body: "",
            reason: "preflight",
        });
    }
    if request.path != "/" || !matches!(request.method.as_str(), "GET" | "POST") {
        return Front::Plain(Plain {
            status: 404,
            headers: Vec::new(),
            body: "<UnknownOperationException/>\n",
            reason: "no such path or method",
        });
    }
    let unread = request.method == "POST" && request.header("content-type").is_none();
    let Some(action) = parameters.get("Action").filter(|_| !unread) else {
        let query = request.query.as_deref().filter(|_| request.method == "GET");
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        return Front::Plain(Plain {
            status: 302,
            headers: vec![("location", format!("https://aws.amazon.com/iam{query}"))],
            body: "",
            reason: "no Action",
        });
    };
    let signed = request.header("authorization").is_some() || parameters.get("X-Amz-Signature").is_some();
    if request.method == "GET" && signed && request.query().len() > MOST_QUERY_BYTES {
        return plain(400, "query string too long");
    }
    let version = parameters.get("Version");
    let found = Action::parse(action, request.header("host").unwrap_or_default());
    match found {
        Some(action) if version == Some(VERSION) => Front::Action(action),
        _ if version == Some(IAM_VERSION) => match iam::action(action) {
            Some(action) => Front::Iam(action),
            None => Front::Refused(Refusal::invalid_action(action, version)),
        },
        _ if version == Some(VERSION) && UNBUILT.contains(&action) => Front::Refused(Refusal::not_implemented(action)),
        _ => Front::Refused(Refusal::invalid_action(action, version)),
    }
}
