//! How the most lenient service that is credible reads a path (catalogue of attacks, S2 and HTTP-02 to HTTP-14): it decodes escapes, as often as
//! somebody between it and the caller does too; it merges slashes, resolves dot segments, and ignores letter case, queries, parameters of
//! segments, backslashes and what follows a role's name. Written without the router, on purpose: a mistake there must not be one here.

/// What a path means to such a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Makes session tokens.
    Token,
    /// Lists roles.
    Roles,
    /// Credentials of the role.
    Credentials(String),
    /// `iam/info`
    Info,
    /// A value that harms nobody.
    Harmless(&'static str),
    /// Anything else: user data, documents, keys, tags, index pages, nothing.
    Other,
}

/// Values that harm nobody, below `meta-data/`.
pub(crate) const HARMLESS: [&str; 7] = [
    "placement/region",
    "placement/availability-zone",
    "placement/availability-zone-id",
    "services/partition",
    "services/domain",
    "instance-type",
    "instance-id",
];

/// Every way in which the path can be read.
pub(crate) fn readings(path: &str) -> Vec<Meaning> {
    let mut found = Vec::new();
    let mut bytes = path.as_bytes().to_vec();
    for _ in 0..3 {
        for cuts in [false, true] {
            for ignores_case in [false, true] {
                let meaning = read(&bytes, cuts, ignores_case);
                if !found.contains(&meaning) {
                    found.push(meaning);
                }
            }
        }
        bytes = decode(&bytes);
    }
    found
}

fn read(bytes: &[u8], cuts: bool, ignores_case: bool) -> Meaning {
    let mut text: String = bytes.iter().copied().map(char::from).collect();
    if cuts {
        text = text.split(['?', '#', '\0']).next().unwrap_or_default().to_owned();
    }
    if ignores_case {
        text = text.to_lowercase();
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in text.split(['/', '\\']) {
        let segment = if cuts {
            segment.split(';').next().unwrap_or_default()
        } else {
            segment
        };
        match segment.trim() {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    match segments.as_slice() {
        [_, "api", "token", ..] => Meaning::Token,
        [_, "meta-data", "iam", "security-credentials"] => Meaning::Roles,
        [_, "meta-data", "iam", "security-credentials", role, ..] => Meaning::Credentials((*role).to_owned()),
        [_, "meta-data", "iam", "info", ..] => Meaning::Info,
        [_, "meta-data", rest @ ..] => {
            let rest = rest.join("/");
            let value = HARMLESS.into_iter().find(|value| *value == rest);
            value.map_or(Meaning::Other, Meaning::Harmless)
        }
        _ => Meaning::Other,
    }
}

/// Decodes escapes once, and what is longer than UTF-8 allows for a dot or a slash.
fn decode(bytes: &[u8]) -> Vec<u8> {
    let mut decoded: Vec<u8> = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let escaped = digits
            .filter(|digits| *first == b'%' && digits.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() {
            behind.get(2..).unwrap_or_default()
        } else {
            behind
        };
        if let [.., 0xc0, byte @ (0xae | 0xaf)] = decoded[..] {
            decoded.truncate(decoded.len() - 2);
            decoded.push(byte & 0x3f);
        }
    }
    decoded
}
