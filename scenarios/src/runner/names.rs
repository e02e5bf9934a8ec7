//! The names that the runner makes: short token, container and network names, service aliases. Pure.

/// How many characters of a token the runner shows (helpers/shorten_token.go).
const SHORT: usize = 9;

/// The token without its prefixes, cut to nine characters: the `runner.id` label, and the part of every name.
pub(super) fn short_token(token: &str) -> String {
    let token = ["glrt-", "glrtr-", "GR1348941"]
        .iter()
        .find_map(|prefix| token.strip_prefix(prefix))
        .unwrap_or(token);
    // A type mark such as `t1_` follows the prefix of newer tokens.
    let bytes = token.as_bytes();
    let token = match bytes {
        [b't', digit, b'_', ..] if digit.is_ascii_digit() => token.get(3..).unwrap_or_default(),
        _ => token,
    };
    token.chars().take(SHORT).collect()
}

/// Lower case letters, digits and hyphens only (common/build.go:372-380).
pub(super) fn rfc1123(name: &str) -> String {
    name.chars()
        .map(|character| character.to_ascii_lowercase())
        .filter(|character| character.is_ascii_lowercase() || character.is_ascii_digit() || *character == '-')
        .collect()
}

/// A service's image name, taken apart (helpers/container/services).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ServiceName {
    /// Without registry port and version: the label `service`.
    pub(super) service: String,
    /// The tag, `latest` where there is none: the label `service.version`.
    pub(super) version: String,
    /// With slashes as `__` and as `-`.
    pub(super) aliases: Vec<String>,
}

/// Takes a service's image name apart.
pub(super) fn service_name(image: &str) -> ServiceName {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    let slash = name.rfind('/').map_or(0, |at| at + 1);
    let (name, tag) = match name.get(slash..).and_then(|last| last.find(':')) {
        Some(colon) => (
            name.get(..slash + colon).unwrap_or_default(),
            name.get(slash + colon + 1..),
        ),
        None => (name, None),
    };
    let version = match (digest, tag) {
        (Some(digest), _) => format!("@{digest}"),
        (None, Some(tag)) => tag.to_owned(),
        (None, None) => "latest".to_owned(),
    };
    let service = match name.split_once('/') {
        Some((registry, path)) => {
            let registry = registry.split(':').next().unwrap_or_default();
            format!("{registry}/{path}")
        }
        None => name.to_owned(),
    };
    let mut aliases = vec![service.replace('/', "__")];
    let hyphenated = service.replace('/', "-");
    if !aliases.contains(&hyphenated) {
        aliases.push(hyphenated);
    }
    ServiceName {
        service,
        version,
        aliases,
    }
}

/// A number of seconds as Go prints a duration.
pub(super) fn go_duration(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        (_, _) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_shortened_past_their_prefixes() {
        assert_eq!(short_token("glrt-Ab3dEf9_xYZ"), "Ab3dEf9_x");
        assert_eq!(short_token("glrt-t1_Ab3dEf9_xYZ"), "Ab3dEf9_x");
        assert_eq!(short_token("short"), "short");
        assert_eq!(short_token("glrt-éééééééééééé"), "ééééééééé");
    }

    #[test]
    fn names_lose_what_dns_does_not_take() {
        assert_eq!(rfc1123("runner-Ab3dEf9_x-project-20"), "runner-ab3def9x-project-20");
    }

    #[test]
    fn service_names_give_aliases_and_version() {
        let name = service_name("registry.example.com:5000/group/db:9");
        assert_eq!(name.service, "registry.example.com/group/db");
        assert_eq!(name.version, "9");
        assert_eq!(
            name.aliases,
            ["registry.example.com__group__db", "registry.example.com-group-db"]
        );
        assert_eq!(service_name("redis").version, "latest");
        assert_eq!(service_name("redis@sha256:ab").version, "@sha256:ab");
    }

    #[test]
    fn durations_read_as_in_go() {
        assert_eq!(
            [go_duration(3600), go_duration(90), go_duration(5)],
            ["1h0m0s", "1m30s", "5s"]
        );
    }
}
