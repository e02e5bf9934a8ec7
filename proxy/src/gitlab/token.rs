//! The job's token, where the runner puts it: the container's environment, as the engine shows it. The author can add variables of that name, so
//! that what is found proves nothing; only the server's answer to it does. Pure.

use super::Unverified;

const KEY: &str = "CI_JOB_TOKEN";
/// Bytes. Tokens are about a thousand characters long since they are JSON web tokens (GitLab 18), and were thirty before.
const LENGTH_MAX: usize = 4096;

/// Finds the token.
///
/// # Errors
/// There is none, there are several, or it cannot be one.
pub fn find(env: &[String]) -> Result<&str, Unverified> {
    let mut found = None;
    for entry in env {
        let value = match entry.split_once('=') {
            Some((KEY, value)) => Some(value),
            Some(_) => continue,
            None if entry == KEY => None,
            None => continue,
        };
        // Also equal ones: the runner writes one, so that the others are the author's.
        if found.replace(value).is_some() {
            return Err(Unverified::TokenAmbiguous);
        }
    }
    let token = found.flatten().filter(|token| !token.is_empty());
    let token = token.ok_or(Unverified::TokenMissing)?;
    // Of base64url and of what joins its parts. Nothing that a header could be broken with.
    let is_good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    if token.len() <= LENGTH_MAX && token.bytes().all(is_good) {
        Ok(token)
    } else {
        Err(Unverified::TokenMalformed)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{LENGTH_MAX, Unverified, find};

    fn env(entries: &[&str]) -> Vec<String> {
        entries.iter().map(|entry| (*entry).to_owned()).collect()
    }

    #[test]
    fn the_runners_own_entry_is_found() {
        for token in [
            "glcbt-64_abc",
            "glcbt-eyJhbGciOiJSUzI1NiJ9.eyJ2IjoiMC4xLjAifQ.c2ln-_x",
            "x",
        ] {
            let entry = format!("CI_JOB_TOKEN={token}");
            assert_eq!(
                find(&env(&["CI_JOB_ID=302", &entry, "XCI_JOB_TOKEN=a", "A=CI_JOB_TOKEN=b"])),
                Ok(token)
            );
        }
    }

    #[test]
    fn what_is_not_plainly_one_token_is_none() {
        let longest = format!("CI_JOB_TOKEN={}", "x".repeat(LENGTH_MAX));
        assert!(find(&env(&[&longest])).is_ok());
        for (entries, expected) in [
            (&[][..], Unverified::TokenMissing),
            (&["ci_job_token=a", "CI_JOB_TOKENS=a"], Unverified::TokenMissing),
            (&["CI_JOB_TOKEN="], Unverified::TokenMissing),
            (&["CI_JOB_TOKEN"], Unverified::TokenMissing),
            (&["CI_JOB_TOKEN=a", "CI_JOB_TOKEN=b"], Unverified::TokenAmbiguous),
            (&["CI_JOB_TOKEN=a", "CI_JOB_TOKEN=a"], Unverified::TokenAmbiguous),
            (&["CI_JOB_TOKEN=a", "CI_JOB_TOKEN"], Unverified::TokenAmbiguous),
            (&["CI_JOB_TOKEN=CI_JOB_TOKEN=a"], Unverified::TokenMalformed),
            (&["CI_JOB_TOKEN=$CI_JOB_TOKEN"], Unverified::TokenMalformed),
            (&["CI_JOB_TOKEN=a\r\nHost: b"], Unverified::TokenMalformed),
            (&["CI_JOB_TOKEN= a"], Unverified::TokenMalformed),
            (&["CI_JOB_TOKEN=ä"], Unverified::TokenMalformed),
            (&[&*format!("{longest}x")], Unverified::TokenMalformed),
        ] {
            assert_eq!(find(&env(entries)), Err(expected), "{entries:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_found_can_be_sent_in_a_header(entries in proptest::collection::vec("(CI_JOB_TOKEN=)?.{0,12}", 0..4)) {
            if let Ok(token) = find(&entries) {
                prop_assert!(http::HeaderValue::from_str(token).is_ok());
                let entry = format!("CI_JOB_TOKEN={token}");
                prop_assert_eq!(entries.iter().filter(|other| **other == entry).count(), 1);
            }
        }
    }
}
