//! How much a ledger may keep, as people write it. It must not know what is kept.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The units, the largest first.
const UNITS: [(&str, usize); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
/// Less would not hold the requests of one test.
const LEAST: usize = 64 * 1024;

/// Bytes of memory for entries: `8MiB`, `512KiB`, `1GiB`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(usize);

impl Size {
    /// What a ledger takes when nothing is said: some ten thousand requests, and the fake stays small.
    pub const DEFAULT: Self = Self(4 << 20);

    /// So many bytes, and at least 64 KiB.
    pub fn of_bytes(bytes: usize) -> Self {
        Self(bytes.max(LEAST))
    }

    /// The bytes.
    pub fn bytes(self) -> usize {
        self.0
    }
}

impl Default for Size {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A text that is no size.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{text:?} is no size of a ledger; give a whole number and a unit, at least 64KiB: 512KiB, 8MiB, 1GiB")]
pub struct UnknownSize {
    text: String,
}

impl FromStr for Size {
    type Err = UnknownSize;

    fn from_str(text: &str) -> Result<Self, UnknownSize> {
        let unknown = || UnknownSize { text: text.to_owned() };
        let unit = UNITS
            .iter()
            .find_map(|(name, bytes)| Some((text.strip_suffix(name)?, bytes)));
        let (digits, unit) = unit.ok_or_else(unknown)?;
        let whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let number: Option<usize> = digits.parse().ok().filter(|_| whole);
        let bytes = number.and_then(|number| number.checked_mul(*unit));
        bytes.filter(|bytes| *bytes >= LEAST).map(Self).ok_or_else(unknown)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, unit)| self.0.is_multiple_of(*unit)) {
            Some((name, unit)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_have_a_number_and_a_unit() {
        for (text, bytes) in [("64KiB", 65_536), ("8MiB", 8 << 20), ("1GiB", 1 << 30)] {
            assert_eq!(text.parse::<Size>().unwrap().bytes(), bytes);
        }
        for text in [
            "",
            "8",
            "MiB",
            "8MB",
            "-8MiB",
            "+8MiB",
            "8 MiB",
            "0.5GiB",
            "63KiB",
            "0MiB",
            "99999999999999999999GiB",
            "17179869184GiB",
        ] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
        insta::assert_snapshot!("8MB".parse::<Size>().unwrap_err(), @r#""8MB" is no size of a ledger; give a whole number and a unit, at least 64KiB: 512KiB, 8MiB, 1GiB"#);
    }

    proptest! {
        #[test]
        fn a_size_is_read_as_it_is_shown(kib in 64_usize..10_000_000) {
            let size = Size::of_bytes(kib * 1024);
            prop_assert_eq!(size.to_string().parse::<Size>().unwrap(), size);
        }
    }
}
