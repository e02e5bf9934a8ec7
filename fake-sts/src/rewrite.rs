//! The keys of a rewrite fault that this fake has beside those of every fake: elements of what an action answers, and `role_arn`, whose session is issued.
//! Pure; it must not know which requests are struck.

use std::collections::BTreeMap;

use bytes::Bytes;
use fake_kit::rewrite::{self, Done};
use http::Response;

use crate::envelope::{self, Element};

/// Elements that may be replaced, by the key that the fault uses.
const ELEMENTS: [(&str, &[&str]); 9] = [
    ("assumed_role_arn", &["AssumedRoleUser", "Arn"]),
    ("assumed_role_id", &["AssumedRoleUser", "AssumedRoleId"]),
    ("access_key_id", &["Credentials", "AccessKeyId"]),
    ("secret_access_key", &["Credentials", "SecretAccessKey"]),
    ("session_token", &["Credentials", "SessionToken"]),
    ("expiration", &["Credentials", "Expiration"]),
    ("arn", &["Arn"]),
    ("user_id", &["UserId"]),
    ("account", &["Account"]),
];

/// The role whose session is issued, if another one is asked for.
pub(crate) fn role_arn(rewrite: &BTreeMap<String, String>) -> Option<&str> {
    rewrite.get("role_arn").map(String::as_str)
}

/// Replaces elements of a result, and says which keys it has none for.
pub(crate) fn elements(rewrite: &BTreeMap<String, String>, elements: &mut [Element]) -> Vec<String> {
    let mut notes = Vec::new();
    for (key, value) in rewrite {
        let path = ELEMENTS.iter().find(|(name, _)| name == key).map(|(_, path)| *path);
        let elsewhere = key == "role_arn" || rewrite::is_common(key);
        if !elsewhere && !path.is_some_and(|path| envelope::replace(elements, path, value)) {
            notes.push(format!("rewrite ignored: this answer has no {key}"));
        }
    }
    notes
}

/// Applies `status` and `header:NAME` to any answer, and says which values cannot be.
pub(crate) fn response(rewrite: &BTreeMap<String, String>, response: &mut Response<Bytes>) -> Vec<String> {
    let unfit = rewrite
        .iter()
        .filter(|(key, value)| rewrite::apply(key, value, response) == Done::Unfit);
    unfit
        .map(|(key, value)| format!("a rewrite was not understood: {key}={value}"))
        .collect()
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
    fn elements_are_replaced_where_the_answer_has_them() {
        let mut answer = vec![
            Element::Text("Arn", "a".to_owned()),
            Element::Group("Credentials", vec![Element::Text("AccessKeyId", "b".to_owned())]),
        ];
        let rewrite = keys(&[
            ("arn", "x"),
            ("access_key_id", "y"),
            ("user_id", "z"),
            ("colour", "red"),
            ("role_arn", "another"),
            ("status", "500"),
            ("header:x", "1"),
        ]);
        assert_eq!(
            elements(&rewrite, &mut answer),
            [
                "rewrite ignored: this answer has no colour",
                "rewrite ignored: this answer has no user_id"
            ]
        );
        assert_eq!(
            answer,
            [
                Element::Text("Arn", "x".to_owned()),
                Element::Group("Credentials", vec![Element::Text("AccessKeyId", "y".to_owned())]),
            ]
        );
        assert_eq!(role_arn(&rewrite), Some("another"));
    }

    #[test]
    fn values_that_cannot_be_are_told() {
        let mut answer = Response::new(Bytes::new());
        let rewrite = keys(&[
            ("status", "418"),
            ("truncate", "few"),
            ("header:Retry-After", "7"),
            ("arn", "x"),
        ]);
        assert_eq!(
            response(&rewrite, &mut answer),
            ["a rewrite was not understood: truncate=few"]
        );
        assert_eq!(answer.status(), 418);
        assert_eq!(answer.headers().get("retry-after").unwrap(), "7");
    }
}
