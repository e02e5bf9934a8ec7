//! What a rewrite fault does to any answer of HTTP: `status`, `body`, `truncate` and `header:NAME`. It must not know which requests are struck, nor what
//! else a fake can rewrite in its own answers.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};

/// Answers end a request; what is below announces one.
const STATUSES: RangeInclusive<u16> = 200..=599;

/// What became of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// It is one of these, and was applied, or will be with the body.
    Applied,
    /// It is one of these, and cannot have this value.
    Unfit,
    /// It is none of these: the fake may know it.
    Foreign,
}

/// Whether a key is one of these.
pub fn is_common(key: &str) -> bool {
    matches!(key, "status" | "body" | "truncate") || key.starts_with("header:")
}

/// The body after `body` and `truncate`, in this order. It comes before the headers: they say how long it is.
pub fn body(rewrite: &BTreeMap<String, String>, body: Bytes) -> Bytes {
    let body = rewrite.get("body").map_or(body, |text| Bytes::from(text.clone()));
    match rewrite.get("truncate").and_then(|length| length.parse::<usize>().ok()) {
        Some(length) => body.slice(..length.min(body.len())),
        None => body,
    }
}

/// Applies `status` or `header:NAME` to an answer whose body is already the one that [`body`] made. An empty value removes the header.
pub fn apply(key: &str, value: &str, response: &mut Response<Bytes>) -> Done {
    let fits = match (key, key.strip_prefix("header:")) {
        ("status", _) => set_status(response, value),
        ("truncate", _) => value.parse::<usize>().is_ok(),
        ("body", _) => true,
        (_, Some(name)) => set_header(response, name, value),
        (_, None) => return Done::Foreign,
    };
    if fits { Done::Applied } else { Done::Unfit }
}

fn set_status(response: &mut Response<Bytes>, value: &str) -> bool {
    let status = value.parse::<StatusCode>().ok();
    let Some(status) = status.filter(|status| STATUSES.contains(&status.as_u16())) else {
        return false;
    };
    *response.status_mut() = status;
    true
}

fn set_header(response: &mut Response<Bytes>, name: &str, value: &str) -> bool {
    let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse::<HeaderValue>()) else {
        return false;
    };
    // The length is the body's; another one would end the connection, not the answer.
    if name == header::CONTENT_LENGTH {
        return false;
    }
    if value.is_empty() {
        response.headers_mut().remove(name);
    } else {
        response.headers_mut().insert(name, value);
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn bodies_are_replaced_and_cut() {
        assert_eq!(body(&keys(&[("truncate", "2")]), Bytes::from("abc")), "ab");
        assert_eq!(
            body(&keys(&[("truncate", "2"), ("body", "xyz")]), Bytes::from("abc")),
            "xy"
        );
        assert_eq!(
            body(&keys(&[("truncate", "9"), ("body", "xyz")]), Bytes::from("abc")),
            "xyz"
        );
        assert_eq!(body(&keys(&[("body", "")]), Bytes::from("abc")), "");
        assert_eq!(body(&keys(&[("truncate", "few")]), Bytes::from("abc")), "abc");
    }

    #[test]
    fn status_and_headers_are_replaced_and_headers_removed() {
        let mut answer = Response::new(Bytes::new());
        answer.headers_mut().insert("x-kept", HeaderValue::from_static("1"));
        answer.headers_mut().insert("x-gone", HeaderValue::from_static("1"));
        for (key, value) in [
            ("status", "418"),
            ("header:Retry-After", "7"),
            ("header:X-Gone", ""),
            ("body", "any"),
            ("truncate", "40"),
        ] {
            assert_eq!(apply(key, value, &mut answer), Done::Applied, "{key}");
            assert!(is_common(key), "{key}");
        }
        assert_eq!(answer.status(), 418);
        assert_eq!(answer.headers().get("retry-after").unwrap(), "7");
        assert!(answer.headers().contains_key("x-kept") && !answer.headers().contains_key("x-gone"));
    }

    #[test]
    fn what_cannot_be_is_told_from_what_is_not_known() {
        let mut answer = Response::new(Bytes::new());
        for (key, value) in [
            ("status", "red"),
            ("status", "101"),
            ("status", "600"),
            ("truncate", "-1"),
            ("header:", "1"),
            ("header:a b", "1"),
            ("header:x", "a\nb"),
            ("header:Content-Length", "9"),
        ] {
            assert_eq!(apply(key, value, &mut answer), Done::Unfit, "{key}={value}");
        }
        assert_eq!(apply("colour", "red", &mut answer), Done::Foreign);
        assert!(!is_common("colour"));
        assert_eq!((answer.status().as_u16(), answer.headers().len()), (200, 0));
    }

    proptest! {
        #[test]
        fn no_key_and_no_value_end_the_program(key in "(status|body|truncate|header:)?\\PC{0,8}", value in "\\PC{0,8}", whole in ".{0,8}") {
            let whole = Bytes::from(whole);
            let cut = body(&keys(&[(&key, &value)]), whole.clone());
            prop_assert!(key == "body" || whole.starts_with(&cut));
            let mut answer = Response::new(cut);
            let done = apply(&key, &value, &mut answer);
            prop_assert_eq!(done == Done::Foreign, !is_common(&key));
        }
    }
}
