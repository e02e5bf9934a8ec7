//! Puts values into `${…}`. Pure.

/// A placeholder that nothing stands for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("nothing is known as `${{{name}}}` here")]
pub struct UnknownPlaceholder {
    /// What stands between the braces.
    pub name: String,
}

/// Replaces each `${name}` by what `value` gives for it. A dollar sign without a brace is left alone, and so is a brace that never closes.
///
/// # Errors
/// The first placeholder without a value.
pub fn expand(text: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, UnknownPlaceholder> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((name, tail)) = after.split_once('}') else {
            break;
        };
        expanded.push_str(before);
        expanded.push_str(&value(name).ok_or_else(|| UnknownPlaceholder { name: name.to_owned() })?);
        rest = tail;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

/// The text of `${repeat:TEXT:N}`: what a case could not write out. `None` unless it says how often, or if it comes to more than a probe sends.
pub fn repeat(argument: &str) -> Option<String> {
    let (text, times) = argument.rsplit_once(':')?;
    let times = times
        .parse::<usize>()
        .ok()
        .filter(|times| times.saturating_mul(text.len()) <= REPEATED_MAX)?;
    Some(text.repeat(times))
}

/// Twice what any parser here takes, and little enough for a probe's line.
const REPEATED_MAX: usize = 2 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn placeholders_are_replaced_and_lone_dollars_kept() {
        let value = |name: &str| (name == "a").then(|| "1".to_owned());
        assert_eq!(expand("$x ${a}${a} ${", value).unwrap(), "$x 11 ${");
        assert_eq!(
            expand("${b}", value).unwrap_err().to_string(),
            "nothing is known as `${b}` here"
        );
    }

    #[test]
    fn a_text_is_repeated_as_often_as_it_says() {
        assert_eq!(repeat("ab:3").unwrap(), "ababab");
        assert_eq!(repeat("a: b:2").unwrap(), "a: ba: b");
        assert_eq!(repeat("a"), None);
        assert_eq!(repeat("a:x"), None);
        assert_eq!(repeat("ab:99999999999"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}") {
            let _ = expand(&text, |_| None);
            let _ = repeat(&text);
        }
    }
}
