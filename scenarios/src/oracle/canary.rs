//! Finds markers in bytes, however they are wrapped: plain, in either case, base64 at any alignment, hex, percent-encoded, gzipped, and split by
//! chunk lines or white space. It does not know whose marker is whose.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind};
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// How deep wrappings are opened: base64 of gzip of base64 is three.
const DEPTH: u8 = 3;
/// Most bytes taken out of one gzip stream.
const INFLATED_AT_MOST: u64 = 4 * 1024 * 1024;
/// Shorter runs of base64 cannot hold a marker of 16 characters.
const BASE64_RUN: usize = 20;

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_allow_trailing_bits(true)
    .with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// The markers of a run, ready to be searched for.
#[derive(Debug, Clone)]
pub struct Canaries {
    names: Vec<String>,
    /// For each pattern of the automaton, the index of its name.
    owner: Vec<usize>,
    automaton: Option<AhoCorasick>,
}

impl Canaries {
    /// Takes name → marker; markers shorter than 8 bytes are refused by leaving them out, since they would be found by chance.
    pub fn new(markers: &BTreeMap<String, String>) -> Self {
        let mut names = Vec::new();
        let mut owner = Vec::new();
        let mut patterns: Vec<Vec<u8>> = Vec::new();
        for (name, marker) in markers {
            if marker.len() < 8 {
                continue;
            }
            let forms = wrapped_forms(marker.as_bytes());
            owner.extend(std::iter::repeat_n(names.len(), forms.len()));
            patterns.extend(forms);
            names.push(name.clone());
        }
        // Case-insensitive: base64 forms match a little more than they should, which at 16 characters is still never chance.
        let automaton = AhoCorasickBuilder::new()
            .ascii_case_insensitive(true)
            .match_kind(MatchKind::Standard)
            .build(&patterns)
            .ok();
        Self {
            names,
            owner,
            automaton,
        }
    }

    /// The names of all markers, sorted.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The names of the markers that stand in these bytes.
    pub fn find(&self, bytes: &[u8]) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        self.search(bytes, DEPTH, &mut found);
        found
    }

    fn search(&self, bytes: &[u8], depth: u8, found: &mut BTreeSet<String>) {
        self.match_patterns(bytes, found);
        if depth == 0 || bytes.is_empty() {
            return;
        }
        let joined = without_breaks(bytes);
        if joined.len() != bytes.len() {
            self.match_patterns(&joined, found);
        }
        if bytes.contains(&b'%') {
            let decoded = percent_decoded(bytes);
            if decoded.len() != bytes.len() {
                self.search(&decoded, depth - 1, found);
            }
        }
        for start in gzip_starts(bytes) {
            if let Some(inflated) = bytes.get(start..).and_then(inflate) {
                self.search(&inflated, depth - 1, found);
            }
        }
        // Only where something is wrapped once more does decoding find what the patterns do not.
        for run in base64_runs(&joined) {
            for decoded in decodings(run) {
                if decoded.windows(2).any(|pair| pair == GZIP_MAGIC) || decoded.contains(&b'%') {
                    self.search(&decoded, depth - 1, found);
                } else {
                    self.match_patterns(&decoded, found);
                }
            }
        }
    }

    fn match_patterns(&self, bytes: &[u8], found: &mut BTreeSet<String>) {
        let Some(automaton) = &self.automaton else { return };
        for hit in automaton.find_overlapping_iter(bytes) {
            let name = self
                .owner
                .get(hit.pattern().as_usize())
                .and_then(|index| self.names.get(*index));
            if let Some(name) = name {
                found.insert(name.clone());
            }
        }
    }
}

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The marker itself, its base64 at the three alignments, and its hex.
fn wrapped_forms(marker: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![marker.to_vec()];
    for shift in 0..3_usize {
        let mut shifted = vec![0; shift];
        shifted.extend_from_slice(marker);
        // Only characters all of whose six bits come from the marker are the same whatever stands around it.
        let first = (shift * 8).div_ceil(6);
        let last = (shifted.len() * 8) / 6;
        for alphabet in [&STANDARD, &URL_SAFE] {
            if let Some(form) = alphabet.encode(&shifted).as_bytes().get(first..last) {
                forms.push(form.to_vec());
            }
        }
    }
    forms.push(
        marker
            .iter()
            .flat_map(|byte| format!("{byte:02x}").into_bytes())
            .collect(),
    );
    forms.sort();
    forms.dedup();
    forms
}

/// White space and the size lines of chunked bodies taken out, so that a marker split over lines or chunks is whole again.
fn without_breaks(bytes: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&byte, tail)) = rest.split_first() {
        if rest.starts_with(b"\r\n") {
            let line = rest.get(2..).unwrap_or_default();
            let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
            let is_size_line =
                (1..=8).contains(&digits) && line.get(digits..).is_some_and(|end| end.starts_with(b"\r\n"));
            rest = if is_size_line {
                line.get(digits + 2..).unwrap_or_default()
            } else {
                line
            };
            continue;
        }
        if !byte.is_ascii_whitespace() {
            joined.push(byte);
        }
        rest = tail;
    }
    joined
}

fn percent_decoded(bytes: &[u8]) -> Vec<u8> {
    let digit = |byte: Option<&u8>| {
        byte.and_then(|byte| char::from(*byte).to_digit(16))
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match (byte, digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                decoded.push(high * 16 + low);
                at += 3;
            }
            _ => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    decoded
}

fn gzip_starts(bytes: &[u8]) -> impl Iterator<Item = usize> + '_ {
    memchr::memmem::find_iter(bytes, &GZIP_MAGIC).take(64)
}

/// What can be inflated, also of a stream that is cut off.
fn inflate(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut inflated = Vec::new();
    let outcome = flate2::read::GzDecoder::new(bytes)
        .take(INFLATED_AT_MOST)
        .read_to_end(&mut inflated);
    (outcome.is_ok() || !inflated.is_empty()).then_some(inflated)
}

fn base64_runs(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes
        .split(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')))
        .filter(|run| run.len() >= BASE64_RUN)
}

/// The run decoded at each of the four places where a quantum may begin, in both alphabets.
fn decodings(run: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    (0..4_usize).flat_map(move |skip| {
        let text = run.get(skip..).unwrap_or_default();
        // A single left-over character is no base64 at all.
        let text = if text.len() % 4 == 1 {
            text.get(..text.len() - 1).unwrap_or_default()
        } else {
            text
        };
        [STANDARD.decode(text).ok(), URL_SAFE.decode(text).ok()]
            .into_iter()
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose;
    use proptest::prelude::*;
    use std::io::Write;

    const MARKER: &str = "QWERTYUIOPASDFG2";

    fn canaries() -> Canaries {
        Canaries::new(&BTreeMap::from([
            ("host-role".to_owned(), MARKER.to_owned()),
            ("user-data".to_owned(), "ZXCVBNMLKJHGFDS7".to_owned()),
        ]))
    }

    fn names(bytes: &[u8]) -> Vec<String> {
        canaries().find(bytes).into_iter().collect()
    }

    fn gzipped(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_marker_is_found_plain_and_in_either_case() {
        assert_eq!(names(format!("x{MARKER}y").as_bytes()), ["host-role"]);
        assert_eq!(names(MARKER.to_lowercase().as_bytes()), ["host-role"]);
        assert!(names(&MARKER.as_bytes()[..15]).is_empty());
    }

    #[test]
    fn a_marker_split_by_chunks_or_lines_is_whole_again() {
        assert_eq!(
            names(b"HTTP/1.1 200 OK\r\n\r\n8\r\nQWERTYUI\r\n8\r\nOPASDFG2\r\n0\r\n\r\n"),
            ["host-role"]
        );
        assert_eq!(names(b"QWERTYUI\n  OPASDFG2"), ["host-role"]);
    }

    #[test]
    fn wrappings_may_be_nested() {
        let zipped = gzipped(format!("secret {MARKER}").as_bytes());
        assert_eq!(names(&zipped), ["host-role"]);
        let wrapped = general_purpose::STANDARD.encode(&zipped);
        assert_eq!(names(format!("data:{wrapped}").as_bytes()), ["host-role"]);
    }

    #[test]
    fn two_markers_are_told_apart() {
        assert_eq!(
            names(format!("{MARKER} ZXCVBNMLKJHGFDS7").as_bytes()),
            ["host-role", "user-data"]
        );
    }

    proptest! {
        #[test]
        fn a_marker_is_found_in_base64_hex_and_percent_encoding_wherever_it_stands(before in ".{0,40}", after in ".{0,40}") {
            let text = format!("{before}{MARKER}{after}");
            let percent: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let hex: String = text.bytes().map(|byte| format!("{byte:02X}")).collect();
            for wrapped in [general_purpose::STANDARD.encode(&text), general_purpose::URL_SAFE_NO_PAD.encode(&text), percent, hex] {
                prop_assert_eq!(names(wrapped.as_bytes()), vec!["host-role".to_owned()]);
            }
        }

        #[test]
        fn no_bytes_make_the_search_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = canaries().find(&bytes);
        }
    }
}
