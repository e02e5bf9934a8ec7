//! GitLab servers that are asked about jobs (`[[gitlab]]`), and what a rule wants to hear from them (`verify`). Knows no file and no job.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fault::Source;
use super::table::Fields;
use super::{Host, Jobs};

/// A GitLab server that can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gitlab {
    /// Its name, as rules and job URLs have it.
    pub host: Host,
    /// What comes before `/api/v4`: `https://`, or `http://` with a loopback address. Without a slash at the end.
    pub url: String,
    /// Certificates of whoever signed its own, in PEM; absent: those of the platform.
    pub ca: Option<PathBuf>,
    /// How long one verdict may take, from the first packet to the last.
    pub timeout: Duration,
    /// How long a good verdict counts.
    pub verdict: Duration,
    /// How often it is asked, at most.
    pub calls_per_second: u32,
    /// Where an access token of the operator's is that may read branches and tags, for `protected`.
    pub token_file: Option<PathBuf>,
}

/// What GitLab must confirm of a rule's jobs, beside that they run and are whose they say they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verification {
    /// The ref is a protected branch or a protected tag.
    pub protected: bool,
    /// Only these types of ref; empty: any.
    pub ref_types: BTreeSet<RefType>,
}

/// What a job's ref is. Only GitLab can tell: a branch and a tag may have one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RefType {
    /// A branch.
    Branch,
    /// A tag.
    Tag,
    /// A merge request, whose commits may be a fork's.
    MergeRequest,
}

impl RefType {
    /// Every type.
    pub const ALL: [Self; 3] = [Self::Branch, Self::Tag, Self::MergeRequest];

    /// The word of the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Branch => "branch",
            Self::Tag => "tag",
            Self::MergeRequest => "merge-request",
        }
    }

    /// Reads the word of the configuration.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for RefType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Reads `[[gitlab]]`. None is a fault that was told: whether a rule's server is there cannot be said then.
pub(super) fn read(source: &Source<'_>, tables: Vec<Fields<'_, '_>>) -> Option<Vec<Gitlab>> {
    let mut servers: Vec<(Gitlab, String)> = Vec::new();
    let mut is_whole = true;
    for fields in tables {
        let (at, path) = (fields.place(), fields.path().to_owned());
        let Some(server) = read_server(fields) else {
            is_whole = false;
            continue;
        };
        if let Some((_, earlier)) = servers.iter().find(|(earlier, _)| earlier.host == server.host) {
            let problem = format!("{earlier} is {} too", server.host);
            refuse_host(source, at, &path, problem);
        }
        servers.push((server, path));
    }
    is_whole.then(|| servers.into_iter().map(|(server, _)| server).collect())
}

fn refuse_host(source: &Source<'_>, at: Range<usize>, path: &str, problem: String) {
    source.fault(at, format!("{path}.host"), problem, "describe each server once");
}

fn read_server(mut fields: Fields<'_, '_>) -> Option<Gitlab> {
    let host = fields.require(
        "host",
        Host::parse,
        "write the GitLab server's host as rules have it, and job URLs",
    );
    let is_stated = fields.is_present("url");
    let url = fields.parse(
        "url",
        parse_url,
        "write what comes before /api/v4, such as https://gitlab.example.com",
    );
    let ca = fields.parse("ca", parse_path, "write the absolute path of a file in PEM");
    if let Some(found) = &ca
        && url.as_ref().is_some_and(|url| url.value.starts_with("http://"))
    {
        fields.fault(found, "is for a URL that begins with https://", "remove it");
    }
    let token_file = fields.parse(
        "token_file",
        parse_path,
        "write the absolute path of a file that holds an access token with the scope read_api",
    );
    let timeout = fields.number("timeout_seconds", 1..11, 2);
    let verdict = fields.number("verdict_seconds", 5..301, 60);
    let calls_per_second = fields.number("calls_per_second", 1..101, 10);
    if verdict <= timeout {
        let problem = "a verdict counts from when it was asked for, and could have lapsed when it comes";
        fields.fault_in("verdict_seconds", problem, "write more than timeout_seconds");
    }
    fields.close();
    let host = host?;
    let url = match url {
        Some(found) => found.value,
        None if is_stated => return None,
        None => format!("https://{host}"),
    };
    Some(Gitlab {
        host,
        url,
        ca: ca.map(|found| found.value),
        timeout: Duration::from_secs(timeout),
        verdict: Duration::from_secs(verdict),
        calls_per_second: u32::try_from(calls_per_second).ok()?,
        token_file: token_file.map(|found| found.value),
    })
}

fn parse_path(text: &str) -> Result<PathBuf, &'static str> {
    match Path::new(text) {
        path if path.is_absolute() => Ok(path.to_owned()),
        _ => Err("not an absolute path"),
    }
}

/// Jobs' tokens go there: nothing but the server may be able to read them.
fn parse_url(text: &str) -> Result<String, &'static str> {
    let uri: http::Uri = text.parse().map_err(|_| "not a URL")?;
    let authority = uri.authority().ok_or("not a whole URL")?;
    let host = authority.host().trim_matches(['[', ']']);
    match uri.scheme_str() {
        Some("https") => {}
        Some("http") if host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()) => {}
        Some("http") => {
            return Err("without TLS jobs' tokens could be read on their way, so that only a loopback address will do");
        }
        Some(_) | None => return Err("neither https nor http"),
    }
    if authority.as_str().contains('@') {
        return Err("holds a user name");
    }
    if uri.query().is_some() || text.contains('#') {
        return Err("holds more than a path");
    }
    let plain = |segment: &str| {
        !matches!(segment, "" | "." | "..")
            && segment
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'~'))
    };
    let path = uri.path().trim_end_matches('/');
    if path.ends_with("/api/v4") {
        return Err("holds /api/v4, which is added to it");
    }
    if path.strip_prefix('/').is_some_and(|path| !path.split('/').all(plain)) {
        return Err("not a plain path");
    }
    Ok(text.trim_end_matches('/').to_owned())
}

/// Reads what a rule wants GitLab to confirm. `servers` are those that can be asked, unless that cannot be said.
pub(super) fn read_verification(
    fields: &mut Fields<'_, '_>,
    servers: Option<&[Gitlab]>,
    jobs: Option<&Jobs>,
) -> Option<Verification> {
    let is_wanted = fields.flag("verify", false);
    let protected = fields.flag("protected", false);
    let ref_types = fields.parse_all(
        "ref_type",
        |text| RefType::parse(text).ok_or("not a type of ref"),
        "write branch, tag or merge-request",
    );
    let ref_types: BTreeSet<RefType> = ref_types.into_iter().map(|found| found.value).collect();
    if !is_wanted {
        for name in ["protected", "ref_type"] {
            if fields.is_present(name) && (name != "protected" || protected) {
                let problem = "only the GitLab server can tell, and the rule does not have it asked";
                fields.fault_in(name, problem, "write verify = true as well, or remove it");
            }
        }
        return None;
    }
    if let (Some(servers), Some(jobs)) = (servers, jobs) {
        let server = servers.iter().find(|server| server.host == jobs.gitlab);
        if server.is_none() {
            let problem = format!(
                "there is no [[gitlab]] with host = \"{}\" that could be asked",
                jobs.gitlab
            );
            fields.fault_in("verify", &problem, "add one, or remove verify");
        }
        if protected && server.is_some_and(|server| server.token_file.is_none()) {
            fields.fault_in(
                "protected",
                "what GitLab says of a job does not tell whether its ref is protected, and the server's [[gitlab]] has no token_file",
                "give it a token_file, or leave protected out and run such jobs on a protected runner of their own",
            );
        }
    }
    let is_for_requests = ref_types.contains(&RefType::MergeRequest);
    if protected && is_for_requests {
        let remedy = "leave merge-request out, or give merge requests a rule of their own";
        fields.fault_in(
            "ref_type",
            "GitLab protects branches and tags, and no merge request",
            remedy,
        );
    }
    if is_for_requests && jobs.is_some_and(|jobs| !jobs.refs.iter().any(super::RefPattern::is_outside)) {
        let problem = "names merge requests, and the rule's refs cover none";
        fields.fault_in(
            "ref_type",
            problem,
            "write ref = \"refs/merge-requests/*/head\" as well, or remove it",
        );
    }
    Some(Verification { protected, ref_types })
}

#[cfg(test)]
mod tests;
