//! As much of ASN.1's encoding as signatures need: writing values, and reading the few there are in a key or a certificate. It must not
//! know what is signed.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Tags of what is written here.
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTETS: u8 = 0x04;
pub(super) const NULL: u8 = 0x05;
pub(super) const OBJECT: u8 = 0x06;
pub(super) const TIME: u8 = 0x17;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
/// The first of a sequence's numbered fields, constructed.
pub(super) const FIELD: u8 = 0xa0;
/// Octets in parts.
pub(super) const OCTETS_IN_PARTS: u8 = 0x24;

/// A value with its tag and length.
pub(super) fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => bytes.push(short),
        _ => {
            let length = content.len().to_be_bytes();
            let length: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
            bytes.push(0x80 | u8::try_from(length.len()).unwrap_or(0));
            bytes.extend(length);
        }
    }
    bytes.extend_from_slice(content);
    bytes
}

/// A value of parts.
pub(super) fn of_parts(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    value(tag, &parts.concat())
}

/// A value whose length is not told in advance: two zero bytes end it. The real service writes its envelopes so (captures).
pub(super) fn open_ended(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    [&[tag, 0x80], parts.concat().as_slice(), &[0, 0]].concat()
}

/// A number that is not negative.
pub(super) fn number(magnitude: &[u8]) -> Vec<u8> {
    let mut digits: Vec<u8> = magnitude.iter().copied().skip_while(|byte| *byte == 0).collect();
    if digits.first().is_none_or(|first| *first >= 0x80) {
        digits.insert(0, 0);
    }
    value(INTEGER, &digits)
}

/// Splits the first value off: its tag, its content, the whole of it, and what follows.
pub(super) struct Read<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    pub(super) whole: &'a [u8],
    pub(super) rest: &'a [u8],
}

/// Reads the first value, if there is a whole one.
pub(super) fn read(bytes: &[u8]) -> Option<Read<'_>> {
    let (&tag, after) = bytes.split_first()?;
    let (&first, after) = after.split_first()?;
    let (length, after) = if first < 0x80 {
        (usize::from(first), after)
    } else {
        let (digits, after) = after.split_at_checked(usize::from(first & 0x7f))?;
        if digits.len() > 4 {
            return None;
        }
        let length = digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit));
        (length, after)
    };
    let (content, rest) = after.split_at_checked(length)?;
    let whole = bytes.get(..bytes.len() - rest.len())?;
    Some(Read {
        tag,
        content,
        whole,
        rest,
    })
}

/// The values that stand in a row.
pub(super) fn all(mut bytes: &[u8]) -> Vec<Read<'_>> {
    let mut values = Vec::new();
    while let Some(value) = read(bytes) {
        bytes = value.rest;
        values.push(value);
    }
    values
}

/// The bytes between a PEM text's first pair of lines.
pub(super) fn pem(text: &str) -> Vec<u8> {
    let lines = text.lines().skip_while(|line| !line.starts_with("-----BEGIN")).skip(1);
    let body: String = lines.take_while(|line| !line.starts_with("-----END")).collect();
    STANDARD.decode(body).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_never_negative() {
        assert_eq!(number(&[0x80]), [2, 2, 0, 0x80]);
        assert_eq!(number(&[0, 0, 7]), [2, 1, 7]);
        assert_eq!(number(&[]), [2, 1, 0]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(tag: u8, content in proptest::collection::vec(any::<u8>(), 0..400), rest in proptest::collection::vec(any::<u8>(), 0..4)) {
            let bytes = [value(tag, &content), rest.clone()].concat();
            let read = read(&bytes).unwrap();
            prop_assert_eq!((read.tag, read.content, read.rest), (tag, content.as_slice(), rest.as_slice()));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _values = all(&bytes);
        }
    }
}
