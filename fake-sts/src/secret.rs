//! Secrets as types: access keys and session tokens that cannot be printed by accident. It must not know where they come from.

use std::fmt;

use zeroize::Zeroize;

/// A secret access key or session token. `Debug` and `Display` print `**redacted**`; the text is wiped on drop.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself: for signing, and for the one answer that hands it out.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("**redacted**")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("**redacted**")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn a_secret_is_never_printed() {
        let key = Secret::new("wJalrXUtnFEMI".to_owned());
        assert_eq!(format!("{key} {key:?}"), "**redacted** **redacted**");
    }
}
