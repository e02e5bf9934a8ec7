//! Signature Version 4 as STS verifies it: the claim a request makes, the order in which it is judged, and the texts of each refusal.
//! It must not know roles, policies or how keys are stored: it asks for a key through [`KeyRing`].

mod authorization;
mod canonical;
mod date;
mod presigned;
#[cfg(test)]
mod tests;

use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

use crate::query::Parameters;
use crate::request::Request;
use crate::secret::Secret;

pub(crate) use canonical::escape;
pub use canonical::{canonical_path, canonical_request, sign};
pub use date::{format_basic, parse_basic};

/// The only algorithm STS takes here.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// STS allows 15 minutes either way; other services allow 5 (reference: captured error texts).
const SKEW: SignedDuration = SignedDuration::from_mins(15);

/// Where a query string carries the session token.
const TOKEN_PARAMETER: &str = "X-Amz-Security-Token";

/// What a request says of its own signature, from the `Authorization` header or from the query string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// `KEY/DATE/REGION/SERVICE/TERMINATOR`, not yet taken apart.
    pub credential: String,
    /// Lower-case names, sorted.
    pub signed_headers: Vec<String>,
    /// The list as sent: one that was not sorted does not verify, since the algorithm prescribes the order.
    pub signed_list: String,
    /// Hex, as sent.
    pub signature: String,
    /// `YYYYMMDDTHHMMSSZ`, as sent.
    pub date: String,
    /// The session token, from header or query.
    pub token: Option<Secret>,
    /// Whether the claim stands in the query string.
    pub presigned: bool,
}

impl Claim {
    /// The access key id that the claim names, whether it is known or not.
    #[must_use]
    pub fn access_key_id(&self) -> &str {
        self.credential.split('/').next().unwrap_or_default()
    }
}

/// For whom a request must be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// STS, at its regional endpoints and its global one.
    Sts,
    /// IAM, whose one endpoint is in us-east-1.
    Iam,
    /// The service of AWS's test suite.
    #[cfg(test)]
    Sample,
    /// That service where it takes paths as they come, as S3 does.
    #[cfg(test)]
    SampleOfPaths,
}

impl Service {
    /// The name in a credential's scope.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sts => "sts",
            Self::Iam => "iam",
            #[cfg(test)]
            Self::Sample | Self::SampleOfPaths => "service",
        }
    }

    /// The path as it is signed.
    fn canonical_path(self, path: &str) -> String {
        match self {
            Self::Sts | Self::Iam => canonical_path(path),
            #[cfg(test)]
            Self::Sample => canonical_path(path),
            #[cfg(test)]
            Self::SampleOfPaths => path.replace(' ', "%20"),
        }
    }
}

/// What the key store says of an access key id and session token.
#[derive(Debug)]
pub enum Key<C> {
    /// No such key, a token that is not this key's, or a token of a role that is gone.
    Unknown,
    /// The token is right but its time is over.
    Expired,
    /// Usable, for this caller.
    Valid {
        /// What the request must be signed with.
        secret: Secret,
        /// Whose it is.
        caller: C,
    },
}

/// Where keys are looked up.
pub trait KeyRing {
    /// What a found key says of its owner.
    type Caller;

    /// Looks up a key and the token sent with it.
    fn find(&self, access_key_id: &str, token: Option<&str>, now: Timestamp) -> Key<Self::Caller>;
}

/// Why a signature was refused; the text is the one STS writes. Their order here is the order of the checks.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// Neither header nor query claim.
    #[error("Request is missing Authentication Token")]
    Missing,
    /// Both at once; STS gives no text.
    #[error("both an Authorization header and query-string authentication")]
    Ambiguous,
    /// Another algorithm.
    #[error("Unsupported AWS 'algorithm': '{algorithm}'.")]
    UnsupportedAlgorithm {
        /// As sent.
        algorithm: String,
    },
    /// A piece of the header without `=`.
    #[error("'{piece}' not a valid key=value pair (missing equal-sign) in Authorization header: '{header}'.")]
    NotKeyValue {
        /// The piece.
        piece: String,
        /// The whole header.
        header: String,
    },
    /// Pieces are missing.
    #[error("{text}")]
    Incomplete {
        /// A sentence for each missing piece.
        text: String,
    },
    /// `host` is not among the signed headers.
    #[error("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")]
    HostNotSigned,
    /// The date cannot be read.
    #[error("Date must be in ISO-8601 'basic format'. Got '{date}'. See http://en.wikipedia.org/wiki/ISO_8601")]
    BadDate {
        /// As sent.
        date: String,
    },
    /// Too old.
    #[error("Signature expired: {date} is now earlier than {limit} ({now} - 15 min.)")]
    Expired {
        /// Signed at.
        date: String,
        /// The oldest allowed.
        limit: String,
        /// The fake's clock.
        now: String,
    },
    /// From the future.
    #[error("Signature not yet current: {date} is still later than {limit} ({now} + 15 min.)")]
    NotYetCurrent {
        /// Signed at.
        date: String,
        /// The latest allowed.
        limit: String,
        /// The fake's clock.
        now: String,
    },
    /// The credential has not five parts.
    #[error(
        "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '{credential}'"
    )]
    BadCredential {
        /// As sent.
        credential: String,
    },
    /// Region, service, terminator or day of the scope are wrong.
    #[error("{text}")]
    Scope {
        /// A sentence for each fault, each with its trailing space.
        text: String,
    },
    /// The session token's time is over.
    #[error("The security token included in the request is expired")]
    ExpiredToken,
    /// Unknown key or token.
    #[error("The security token included in the request is invalid.")]
    InvalidClientTokenId,
    /// The signature is not the one computed here.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details."
    )]
    Mismatch,
}

/// The claim of a request, unjudged: for ledgers and condition keys. A form has no part in it, only header and query string.
#[must_use]
pub fn claim_of(request: &Request) -> Option<Claim> {
    let query = Parameters::parse(request.query().as_bytes()).ok()?;
    read_claim(request, &query).ok()
}

/// Reads the claim of a request: checks 2 to 5 of the order.
///
/// # Errors
/// When there is none, two, or an incomplete one.
fn read_claim(request: &Request, query: &Parameters) -> Result<Claim, SignatureError> {
    let header = request.header("authorization");
    let presigned = query.get("X-Amz-Algorithm").is_some();
    match (header, presigned) {
        (None, false) => Err(SignatureError::Missing),
        (Some(_), true) => Err(SignatureError::Ambiguous),
        (Some(header), false) => authorization::read(header, request),
        (None, true) => presigned::read(query, request),
    }
}

/// Judges a request in the order in which STS does, checks 2 to 13.
///
/// # Errors
/// The first check that fails.
pub fn authenticate<R: KeyRing>(
    request: &Request,
    service: Service,
    now: Timestamp,
    keys: &R,
) -> Result<R::Caller, SignatureError> {
    // Bad escapes were refused before this; a query that cannot be read makes no claim.
    let query = Parameters::parse(request.query().as_bytes()).unwrap_or_default();
    let claim = read_claim(request, &query)?;
    if !claim
        .signed_headers
        .iter()
        .any(|name| name == "host" || name == ":authority")
    {
        return Err(SignatureError::HostNotSigned);
    }
    check_date(&claim.date, now)?;
    let scope = read_scope(&claim.credential)?;
    check_scope(&scope, service, &claim.date, request.header("host").unwrap_or_default())?;
    match keys.find(scope.access_key_id, claim.token.as_ref().map(Secret::expose), now) {
        Key::Unknown => Err(SignatureError::InvalidClientTokenId),
        Key::Expired => Err(SignatureError::ExpiredToken),
        Key::Valid { secret, caller } => {
            let day_scope = format!("{}/{}/{}/{}", scope.day, scope.region, scope.service, scope.terminator);
            let path = service.canonical_path(&request.path);
            let fits = |query: &Parameters| {
                let canonical = canonical_request(request, &path, query, &claim);
                sign(&secret, &scope, &claim.date, &day_scope, &canonical).verify(&claim.signature)
            };
            // Clients may add the token to a query string after they have signed it.
            let later = || claim.presigned && claim.token.is_some() && fits(&query.without(TOKEN_PARAMETER));
            (fits(&query) || later())
                .then_some(caller)
                .ok_or(SignatureError::Mismatch)
        }
    }
}

/// The five parts of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope<'a> {
    /// Which key.
    pub access_key_id: &'a str,
    /// `YYYYMMDD`.
    pub day: &'a str,
    /// For which region.
    pub region: &'a str,
    /// For which service.
    pub service: &'a str,
    /// `aws4_request`.
    pub terminator: &'a str,
}

fn read_scope(credential: &str) -> Result<Scope<'_>, SignatureError> {
    let parts: Vec<&str> = credential.split('/').collect();
    match parts.as_slice() {
        &[access_key_id, day, region, service, terminator] => Ok(Scope {
            access_key_id,
            day,
            region,
            service,
            terminator,
        }),
        _ => Err(SignatureError::BadCredential {
            credential: credential.to_owned(),
        }),
    }
}

fn check_date(date: &str, now: Timestamp) -> Result<(), SignatureError> {
    let signed_at = parse_basic(date).ok_or_else(|| SignatureError::BadDate { date: date.to_owned() })?;
    let earliest = now.saturating_sub(SKEW).unwrap_or(now);
    let latest = now.saturating_add(SKEW).unwrap_or(now);
    if signed_at < earliest {
        return Err(SignatureError::Expired {
            date: date.to_owned(),
            limit: format_basic(earliest),
            now: format_basic(now),
        });
    }
    if signed_at > latest {
        return Err(SignatureError::NotYetCurrent {
            date: date.to_owned(),
            limit: format_basic(latest),
            now: format_basic(now),
        });
    }
    Ok(())
}

fn check_scope(scope: &Scope<'_>, service: Service, date: &str, host: &str) -> Result<(), SignatureError> {
    let mut faults: Vec<String> = Vec::new();
    let right = match service {
        Service::Sts => is_region_of(scope.region, host),
        // Its one endpoint is in us-east-1. Clients that were given another sign for the region they know.
        Service::Iam if host.starts_with("iam.amazonaws.com") => scope.region == "us-east-1",
        Service::Iam => is_region_of(scope.region, host),
        #[cfg(test)]
        Service::Sample | Service::SampleOfPaths => scope.region == "us-east-1",
    };
    if !right {
        faults.push("Credential should be scoped to a valid region. ".to_owned());
    }
    if scope.service != service.name() {
        faults.push(format!(
            "Credential should be scoped to correct service: '{}'. ",
            service.name()
        ));
    }
    if scope.terminator != "aws4_request" {
        faults.push(format!(
            "Credential should be scoped with a valid terminator: 'aws4_request', not '{}'. ",
            scope.terminator
        ));
    }
    let day = date.get(..8).unwrap_or_default();
    if scope.day != day {
        faults.push(format!(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{}' != '{day}', from '{date}'. ",
            scope.day
        ));
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(SignatureError::Scope { text: faults.concat() })
    }
}

/// The global endpoint takes us-east-1 only and a regional one its own region. Under any other host name (the lab's) any region will do.
fn is_region_of(region: &str, host: &str) -> bool {
    let host = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if host == "sts.amazonaws.com" {
        return region == "us-east-1";
    }
    if let Some(own) = host
        .strip_prefix("sts.")
        .and_then(|rest| rest.split_once(".amazonaws.com"))
        .map(|(own, _)| own)
    {
        return region == own;
    }
    let parts: Vec<&str> = region.split('-').collect();
    let (Some(number), 3..) = (parts.last(), parts.len()) else {
        return false;
    };
    let words = parts.get(..parts.len() - 1).unwrap_or_default();
    number.len() == 1
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && words
            .iter()
            .all(|word| word.len() >= 2 && word.bytes().all(|byte| byte.is_ascii_lowercase()))
}
