//! How large session policies and tags are once they are packed, as a session carries them. It must not know actions.

use std::collections::BTreeMap;
use std::io::Write as _;

use flate2::Compression;
use flate2::write::DeflateEncoder;

use super::ParameterError;
use crate::policy::Policy;

/// What a session can carry, in bytes (service model: session policies of 2,048 characters).
const LIMIT: usize = 2_048;

/// How much of its limit the session policies and tags take, in percent; `None` when neither was given. How STS packs them is not known: here
/// they are deflated, which errs on the side of taking what AWS takes.
///
/// # Errors
/// More than all of it.
pub fn packed_size(
    policy: Option<&(String, Policy)>,
    policy_arns: &[String],
    tags: &BTreeMap<String, String>,
) -> Result<Option<i64>, ParameterError> {
    if policy.is_none() && policy_arns.is_empty() && tags.is_empty() {
        return Ok(None);
    }
    let tags: Vec<&str> = tags.iter().flat_map(|(key, value)| [key.as_str(), value]).collect();
    let policies = policy.map(|(text, _)| text.as_str());
    let policies = policies.into_iter().chain(policy_arns.iter().map(String::as_str));
    let all: Vec<&str> = policies.chain(tags.iter().copied()).collect();
    for (parts, of_tags) in [(&tags, true), (&all, false)] {
        let percent = percent_of(parts);
        if percent > 100 {
            return Err(ParameterError::PackedTooLarge { percent, of_tags });
        }
    }
    Ok(Some(percent_of(&all)))
}

fn percent_of(parts: &[&str]) -> i64 {
    let plain = parts.concat();
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    // Writing to memory does not fail; if it did, the plain text would count.
    let deflated = encoder.write_all(plain.as_bytes()).and_then(|()| encoder.finish());
    let bytes = deflated.map_or(plain.len(), |deflated| deflated.len()).min(plain.len());
    i64::try_from((bytes * 100).div_ceil(LIMIT)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fake_kit::seed::Seed;

    use super::packed_size;

    fn tags(count: u64, value: impl Fn(u64) -> String) -> BTreeMap<String, String> {
        (0..count)
            .map(|number| (format!("key-{number}"), value(number)))
            .collect()
    }

    #[test]
    fn what_says_little_takes_little_and_what_cannot_be_packed_is_refused() {
        assert_eq!(packed_size(None, &[], &BTreeMap::new()), Ok(None));
        let few = packed_size(None, &[], &tags(1, |_| "blue".to_owned()));
        assert_eq!(few, Ok(Some(1)));
        let dull = packed_size(None, &[], &tags(50, |_| "x".repeat(256))).unwrap().unwrap();
        assert!(dull < 50, "{dull}");
        let noise = tags(20, |number| Seed::default().base64("noise", number, 250));
        let error = packed_size(None, &[], &noise).unwrap_err().to_string();
        assert!(error.starts_with("Packed size of session tags consumes "), "{error}");
        let noise = tags(8, |number| Seed::default().base64("noise", number, 220));
        let policy: Vec<String> = (0..8)
            .map(|number| {
                format!(
                    "arn:aws:iam::123456789012:policy/{}",
                    Seed::default().base64("arn", number, 200)
                )
            })
            .collect();
        assert!(packed_size(None, &[], &noise).is_ok());
        let error = packed_size(None, &policy, &noise).unwrap_err().to_string();
        assert!(
            error.starts_with("Packed policy consumes ") && error.ends_with("use smaller policy."),
            "{error}"
        );
    }
}
