//! A stream of bytes taken apart into lines, none of them longer than one can be. Pure.

/// An event holds its container's labels, and an image's author may write as many as he likes.
pub(super) const LINE_MAX: usize = 1024 * 1024;

/// What has come of a line that is not whole yet.
#[derive(Debug, Default)]
pub(super) struct Lines {
    held: Vec<u8>,
    is_too_long: bool,
}

impl Lines {
    /// Takes bytes in, and hands on each line that they complete, without its end; None stands for one that was too long.
    pub(super) fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(Option<&[u8]>)) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end);
            self.hold(line);
            each((!self.is_too_long).then_some(&self.held));
            *self = Self::default();
            bytes = rest.get(1..).unwrap_or_default();
        }
        self.hold(bytes);
    }

    fn hold(&mut self, part: &[u8]) {
        if self.is_too_long || part.len() > LINE_MAX.saturating_sub(self.held.len()) {
            self.is_too_long = true;
            self.held = Vec::new();
        } else {
            self.held.extend_from_slice(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(parts: &[&[u8]]) -> Vec<Option<Vec<u8>>> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        for part in parts {
            lines.push(part, |line| found.push(line.map(<[u8]>::to_vec)));
            assert!(lines.held.len() <= LINE_MAX);
        }
        found
    }

    #[test]
    fn a_line_that_is_too_long_is_left_out_and_the_next_one_is_not() {
        let long = vec![b'x'; LINE_MAX];
        assert_eq!(lines(&[&long, b"\n"]), [Some(long.clone())]);
        assert_eq!(lines(&[&long, b"x", &long, b"\ny\n"]), [None, Some(b"y".to_vec())]);
    }

    proptest! {
        #[test]
        fn however_bytes_arrive_the_lines_are_the_same(
            text in "[ab\n]{0,60}", cuts in proptest::collection::vec(0_usize..60, 0..6),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut <= text.len()).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let parts: Vec<&[u8]> = cuts.windows(2).map(|pair| &text.as_bytes()[pair[0]..pair[1]]).collect();
            let mut expected: Vec<_> = text.split('\n').map(|line| Some(line.as_bytes().to_vec())).collect();
            // What no line end has completed.
            expected.pop();
            prop_assert_eq!(lines(&parts), expected);
        }
    }
}
