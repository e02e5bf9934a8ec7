//! The keys of a rewrite fault that this fake has beside those of every fake: `hop-limit`, `expires-in` and `credentials:FIELD`. An empty value
//! removes a field. It must not know which requests are struck.

use std::collections::BTreeMap;

use bytes::Bytes;
use fake_kit::rewrite::{self, Done};
use http::Response;
use jiff::{SignedDuration, Timestamp};

use crate::credentials::{Fields, seconds};

/// Applies `expires-in` (seconds, also from the past) and `credentials:FIELD` keys to a credentials document.
pub fn fields(rewrite: &BTreeMap<String, String>, fields: &mut Fields, now: Timestamp) {
    if let Some(at) = rewrite.get("expires-in").and_then(|text| expiry(text, now))
        && let Some((_, expiration)) = fields.iter_mut().find(|(field, _)| field == "Expiration")
    {
        *expiration = seconds(at);
    }
    for (key, value) in rewrite {
        let Some(name) = key.strip_prefix("credentials:") else {
            continue;
        };
        if value.is_empty() {
            fields.retain(|(field, _)| field != name);
        } else if let Some((_, old)) = fields.iter_mut().find(|(field, _)| field == name) {
            old.clone_from(value);
        } else {
            fields.push((name.to_owned(), value.clone()));
        }
    }
}

fn expiry(seconds: &str, now: Timestamp) -> Option<Timestamp> {
    now.checked_add(SignedDuration::from_secs(seconds.parse().ok()?)).ok()
}

/// The hop limit asked for.
pub fn hop_limit(rewrite: &BTreeMap<String, String>) -> Option<u8> {
    rewrite.get("hop-limit").and_then(|hops| hops.parse().ok())
}

/// Applies `status` and `header:NAME`, and returns the keys that are none, or cannot have that value.
pub fn response(rewrite: &BTreeMap<String, String>, response: &mut Response<Bytes>) -> Vec<String> {
    let mut unknown = Vec::new();
    for (key, value) in rewrite {
        let done = match rewrite::apply(key, value, response) {
            Done::Applied => true,
            Done::Unfit => false,
            Done::Foreign => match key.as_str() {
                "hop-limit" => value.parse::<u8>().is_ok_and(|hops| hops > 0),
                "expires-in" => value.parse::<i64>().is_ok(),
                other => other.starts_with("credentials:"),
            },
        };
        if !done {
            unknown.push(format!("{key}={value}"));
        }
    }
    unknown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn fields_are_replaced_removed_and_added() {
        let mut document: Fields = vec![
            ("Code".to_owned(), "Success".to_owned()),
            ("Token".to_owned(), "T".to_owned()),
        ];
        let rewrite = keys(&[
            ("credentials:Code", "Failed"),
            ("credentials:Token", ""),
            ("credentials:New", "1"),
        ]);
        fields(&rewrite, &mut document, Timestamp::UNIX_EPOCH);
        assert_eq!(
            document,
            [
                ("Code".to_owned(), "Failed".to_owned()),
                ("New".to_owned(), "1".to_owned())
            ]
        );
    }

    #[test]
    fn credentials_may_expire_sooner_or_be_expired() {
        for (text, expected) in [
            ("90", "1970-01-01T00:01:30Z"),
            ("-60", "1969-12-31T23:59:00Z"),
            ("soon", "T"),
            ("9223372036854775807", "T"),
        ] {
            let mut document: Fields = vec![("Expiration".to_owned(), "T".to_owned())];
            fields(&keys(&[("expires-in", text)]), &mut document, Timestamp::UNIX_EPOCH);
            assert_eq!(document[0].1, expected);
        }
    }

    #[test]
    fn unknown_keys_are_named() {
        let mut answer = Response::new(Bytes::new());
        let rewrite = keys(&[
            ("status", "418"),
            ("header:Retry-After", "1"),
            ("colour", "red"),
            ("header:Content-Length", "9"),
            ("hop-limit", "0"),
            ("expires-in", "-60"),
            ("credentials:Code", "Failed"),
        ]);
        assert_eq!(
            response(&rewrite, &mut answer),
            ["colour=red", "header:Content-Length=9", "hop-limit=0"]
        );
        assert_eq!(answer.status(), 418);
        assert_eq!(answer.headers().get("retry-after").unwrap(), "1");
    }
}
