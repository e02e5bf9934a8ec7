//! The bytes of `send`, written as text.

/// An escape that means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{escape}` is no escape")]
pub struct BadEscape {
    /// The escape as written.
    pub escape: String,
}

/// Reads `\r`, `\n`, `\\` and `\xNN`; everything else stands for itself.
pub fn unescape(text: &str) -> Result<Vec<u8>, BadEscape> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (plain, escape) = rest.split_at(at);
        bytes.extend_from_slice(plain.as_bytes());
        let mut letters = escape.chars();
        letters.next();
        rest = match letters.next() {
            Some('r') => {
                bytes.push(b'\r');
                letters.as_str()
            }
            Some('n') => {
                bytes.push(b'\n');
                letters.as_str()
            }
            Some('\\') => {
                bytes.push(b'\\');
                letters.as_str()
            }
            Some('x') => {
                let digits: String = letters.by_ref().take(2).collect();
                let two_digits = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
                let byte = u8::from_str_radix(&digits, 16).ok().filter(|_| two_digits);
                bytes.push(byte.ok_or_else(|| BadEscape {
                    escape: format!("\\x{digits}"),
                })?);
                letters.as_str()
            }
            other => {
                let escape = other.map_or_else(|| "\\".to_owned(), |letter| format!("\\{letter}"));
                return Err(BadEscape { escape });
            }
        };
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_become_their_bytes() {
        assert_eq!(
            unescape(r"GET / HTTP/1.1\r\n\x00\\x").unwrap(),
            b"GET / HTTP/1.1\r\n\0\\x"
        );
    }

    #[test]
    fn an_unknown_or_cut_escape_is_named() {
        for (text, escape) in [
            (r"a\q", r"\q"),
            ("a\\", "\\"),
            (r"\x4", r"\x4"),
            (r"\x+1", r"\x+1"),
            (r"\xzz", r"\xzz"),
        ] {
            assert_eq!(unescape(text).unwrap_err().escape, escape);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,60}") {
            let _ = unescape(&text);
        }

        #[test]
        fn text_without_a_backslash_stands_for_itself(text in r"[^\\]{0,60}") {
            prop_assert_eq!(unescape(&text).unwrap(), text.into_bytes());
        }
    }
}
