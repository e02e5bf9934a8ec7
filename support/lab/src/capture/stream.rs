//! What TCP connections carried, put together from segments as they crossed an interface. Pure.
//!
//! It serves a search for bytes, so whatever crossed appears: retransmissions that say something else are kept beside the stream.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
};

use super::frame::{Direction, Frame, Segment};

/// One direction of one TCP connection on one interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// The kernel's index of the interface.
    pub interface: u32,
    /// Which way it went.
    pub direction: Direction,
    /// Who sent it, as addressed on this interface.
    pub source: SocketAddr,
    /// To whom.
    pub destination: SocketAddr,
    /// What was carried, in the order of the stream, without what was missed.
    pub bytes: Vec<u8>,
    /// Places in `bytes` before which something was missed.
    pub gaps: Vec<usize>,
    /// Segments that repeated a part of the stream with other bytes.
    pub conflicts: Vec<Conflict>,
}

/// A segment that repeated a part of the stream with other bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// What it carried.
    pub bytes: Vec<u8>,
}

/// One connection while it is put together.
struct Assembly {
    key: Key,
    /// A sequence number and the offset it stands for; follows the stream so that four gigabytes and a wrap are no limit.
    anchor: (u32, i64),
    initial: Option<u32>,
    chunks: BTreeMap<i64, Vec<u8>>,
    conflicts: Vec<Conflict>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    interface: u32,
    direction: Direction,
    source: SocketAddr,
    destination: SocketAddr,
}

/// Puts the TCP streams in `frames` together, in the order in which they began.
#[must_use]
pub fn reassemble<'a>(frames: impl IntoIterator<Item = &'a Frame>) -> Vec<Stream> {
    let mut assemblies: Vec<Assembly> = Vec::new();
    let mut latest: HashMap<Key, usize> = HashMap::new();
    for frame in frames {
        let Some(segment) = frame.segment() else { continue };
        let key = Key {
            interface: frame.interface,
            direction: frame.direction,
            source: segment.source,
            destination: segment.destination,
        };
        let known = latest.get(&key).copied().filter(|place| {
            // A SYN with another sequence number begins another connection between the same ports.
            !segment.syn
                || assemblies
                    .get(*place)
                    .is_some_and(|known| known.initial == Some(segment.sequence))
        });
        let place = known.unwrap_or_else(|| {
            assemblies.push(Assembly::new(key, &segment));
            latest.insert(key, assemblies.len() - 1);
            assemblies.len() - 1
        });
        if let Some(assembly) = assemblies.get_mut(place) {
            assembly.add(&segment);
        }
    }
    assemblies.into_iter().map(Assembly::finish).collect()
}

impl Assembly {
    fn new(key: Key, segment: &Segment<'_>) -> Self {
        Self {
            key,
            anchor: (first_byte(segment), 0),
            initial: segment.syn.then_some(segment.sequence),
            chunks: BTreeMap::new(),
            conflicts: Vec::new(),
        }
    }

    fn add(&mut self, segment: &Segment<'_>) {
        if segment.payload.is_empty() {
            return;
        }
        let (sequence, offset) = self.anchor;
        let first = first_byte(segment);
        let start = offset + i64::from(first.wrapping_sub(sequence).cast_signed());
        // Only what is new moves the anchor: a stray old segment must not.
        if start > offset {
            self.anchor = (first, start);
        }
        self.fill(start, segment.payload);
    }

    /// Adds `payload` where nothing is yet; where something is, it must be the same.
    fn fill(&mut self, start: i64, payload: &[u8]) {
        let end = start + length(payload);
        let mut conflict = false;
        let mut cursor = start;
        let mut fresh: Vec<(i64, Vec<u8>)> = Vec::new();
        let before = self.chunks.range(..=start).next_back().map_or(start, |(at, _)| *at);
        for (at, chunk) in self.chunks.range(before..end) {
            let chunk_end = at + length(chunk);
            let (from, to) = (start.max(*at), end.min(chunk_end));
            if from >= to {
                continue;
            }
            if cursor < from {
                fresh.push((cursor, slice(payload, start, cursor, from).to_vec()));
            }
            conflict |= slice(payload, start, from, to) != slice(chunk, *at, from, to);
            cursor = to;
        }
        if cursor < end {
            fresh.push((cursor, slice(payload, start, cursor, end).to_vec()));
        }
        self.chunks.extend(fresh);
        if conflict {
            self.conflicts.push(Conflict {
                bytes: payload.to_vec(),
            });
        }
    }

    fn finish(self) -> Stream {
        let mut bytes = Vec::new();
        let mut gaps = Vec::new();
        // A stream that was seen from its beginning has a gap in front where its first byte is missing.
        let mut expected = if self.initial.is_some() { Some(0) } else { None };
        for (at, chunk) in self.chunks {
            if expected.is_some_and(|expected| expected != at) {
                gaps.push(bytes.len());
            }
            expected = Some(at + length(&chunk));
            bytes.extend(chunk);
        }
        let Key {
            interface,
            direction,
            source,
            destination,
        } = self.key;
        Stream {
            interface,
            direction,
            source,
            destination,
            bytes,
            gaps,
            conflicts: self.conflicts,
        }
    }
}

/// A SYN takes the place of one byte.
fn first_byte(segment: &Segment<'_>) -> u32 {
    segment.sequence.wrapping_add(u32::from(segment.syn))
}

fn length(bytes: &[u8]) -> i64 {
    i64::try_from(bytes.len()).unwrap_or(i64::MAX)
}

/// The part of `bytes`, which begin at offset `start`, between two offsets.
fn slice(bytes: &[u8], start: i64, from: i64, to: i64) -> &[u8] {
    let place = |offset: i64| usize::try_from(offset - start).unwrap_or_default();
    bytes.get(place(from)..place(to)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::frame::tests::render, *};

    fn frame(sequence: u32, syn: bool, payload: &[u8]) -> Frame {
        let (source, destination) = (([10, 0, 0, 1], 40_000).into(), ([10, 0, 0, 2], 80).into());
        let bytes = render(
            &Segment {
                source,
                destination,
                sequence,
                syn,
                payload,
            },
            0,
        );
        Frame {
            number: 0,
            interface: 3,
            direction: Direction::Received,
            bytes: bytes.into(),
        }
    }

    #[test]
    fn a_missing_segment_leaves_a_gap_and_loses_nothing_else() {
        let streams = reassemble(&[frame(9, true, b""), frame(10, false, b"abc"), frame(15, false, b"fgh")]);
        assert_eq!(
            (streams[0].bytes.as_slice(), streams[0].gaps.as_slice()),
            (&b"abcfgh"[..], &[3][..])
        );
    }

    #[test]
    fn a_retransmission_that_says_something_else_is_kept_beside_the_stream() {
        let streams = reassemble(&[frame(9, true, b""), frame(10, false, b"abc"), frame(11, false, b"XYZ")]);
        assert_eq!(streams[0].bytes, b"abcZ");
        assert_eq!(streams[0].conflicts, [Conflict { bytes: b"XYZ".to_vec() }]);
    }

    #[test]
    fn a_reused_port_begins_another_stream() {
        let frames = [
            frame(9, true, b""),
            frame(10, false, b"one"),
            frame(70_000, true, b""),
            frame(70_001, false, b"two"),
        ];
        let bytes: Vec<Vec<u8>> = reassemble(&frames).into_iter().map(|stream| stream.bytes).collect();
        assert_eq!(bytes, [b"one".to_vec(), b"two".to_vec()]);
    }

    proptest! {
        #[test]
        fn a_stream_survives_any_order_repetition_and_overlap(
            bytes in prop::collection::vec(any::<u8>(), 1..400),
            initial: u32,
            cuts in prop::collection::vec((0_usize..400, 1_usize..80), 0..40),
            order in any::<u64>(),
        ) {
            let mut pieces: Vec<(usize, usize)> = bytes.chunks(37).scan(0, |at, chunk| {
                let start = *at;
                *at += chunk.len();
                Some((start, *at))
            }).collect();
            pieces.extend(cuts.iter().filter(|(start, _)| *start < bytes.len()).map(|(start, length)| (*start, (start + length).min(bytes.len()))));
            pieces.sort_by_key(|(start, end)| (u64::try_from(start * 401 + end).unwrap() ^ order).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let mut frames = vec![frame(initial, true, b"")];
            frames.extend(pieces.iter().map(|(start, end)| {
                let sequence = initial.wrapping_add(1).wrapping_add(u32::try_from(*start).unwrap());
                frame(sequence, false, &bytes[*start..*end])
            }));
            let streams = reassemble(&frames);
            prop_assert_eq!(streams.len(), 1);
            prop_assert_eq!(&streams[0].bytes, &bytes);
            prop_assert!(streams[0].gaps.is_empty() && streams[0].conflicts.is_empty());
        }

        #[test]
        fn no_segments_make_the_assembly_panic(
            segments in prop::collection::vec((any::<u32>(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..20)), 0..40),
        ) {
            let frames: Vec<Frame> = segments.iter().map(|(sequence, syn, payload)| frame(*sequence, *syn, payload)).collect();
            let carried: usize = reassemble(&frames).iter().map(|stream| stream.bytes.len()).sum();
            prop_assert!(carried <= segments.iter().map(|(_, _, payload)| payload.len()).sum());
        }
    }
}
