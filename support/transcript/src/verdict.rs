//! Whether bytes that were received are the recorded answer: the first difference, in words.

use thiserror::Error;

use crate::file::Transcript;
use crate::pattern::{PatternError, Values};

/// How an answer differs from the recorded one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Difference {
    /// There is no whole answer.
    #[error("no answer with a head that ends; received {received:?}")]
    NoHead {
        /// What came.
        received: String,
    },
    /// A line of the head or the body is another.
    #[error("{part}, line {line}: recorded `{recorded}`, received `{received}`\n{whole}")]
    Line {
        /// `head` or `body`.
        part: &'static str,
        /// From 1.
        line: usize,
        /// What the transcript has.
        recorded: String,
        /// What came.
        received: String,
        /// The whole answer.
        whole: String,
    },
    /// `Content-Length` is not the length of the body.
    #[error("Content-Length says {stated}, and the body has {actual} bytes\n{whole}")]
    Length {
        /// What the header says.
        stated: String,
        /// What came.
        actual: usize,
        /// The whole answer.
        whole: String,
    },
    /// The transcript itself cannot be used.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

/// Stands where a side has no further line.
const END: &str = "(end)";

impl Transcript {
    /// Judges the bytes of an answer, from the status line to the end of the connection.
    ///
    /// # Errors
    /// The first difference.
    pub fn judge(&self, values: &Values, received: &[u8]) -> Result<(), Difference> {
        let whole = String::from_utf8_lossy(received).into_owned();
        let Some((head, body)) = whole.split_once("\r\n\r\n") else {
            return Err(Difference::NoHead { received: whole });
        };
        let head: Vec<&str> = head.split("\r\n").collect();
        if self.status_only {
            let line = self.answer_head.first().map(String::as_str).unwrap_or_default();
            let status = head.first().copied().unwrap_or_default();
            return compare("head", &[line], &[status], values, false, &whole);
        }
        let recorded: Vec<&str> = self.answer_head.iter().map(String::as_str).collect();
        compare("head", &recorded, &head, values, self.any_case, &whole)?;
        let is_head = self.request_head.first().is_some_and(|line| line.starts_with("HEAD "));
        for line in &head {
            if let Some((name, stated)) = line.split_once(": ")
                && name.eq_ignore_ascii_case("content-length")
                && !is_head
                && stated.parse() != Ok(body.len())
            {
                return Err(Difference::Length {
                    stated: stated.to_owned(),
                    actual: body.len(),
                    whole: whole.clone(),
                });
            }
        }
        let recorded: Vec<&str> = self.answer_body.split('\n').collect();
        let received: Vec<&str> = body.split('\n').collect();
        compare("body", &recorded, &received, values, false, &whole)
    }
}

fn compare(
    part: &'static str,
    recorded: &[&str],
    received: &[&str],
    values: &Values,
    any_case: bool,
    whole: &str,
) -> Result<(), Difference> {
    for index in 0..recorded.len().max(received.len()) {
        let wanted = recorded.get(index).copied();
        let came = received.get(index).copied();
        let equal = match (wanted, came) {
            (Some(wanted), Some(came)) if any_case && index > 0 => {
                values.pattern(&lower_name(wanted))?.is_match(&lower_name(came))
            }
            (Some(wanted), Some(came)) => values.pattern(wanted)?.is_match(came),
            (None, _) | (_, None) => false,
        };
        if !equal {
            return Err(Difference::Line {
                part,
                line: index + 1,
                recorded: wanted.unwrap_or(END).to_owned(),
                received: came.unwrap_or(END).to_owned(),
                whole: whole.to_owned(),
            });
        }
    }
    Ok(())
}

fn lower_name(line: &str) -> String {
    match line.split_once(':') {
        Some((name, value)) => format!("{}:{value}", name.to_ascii_lowercase()),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# t
# evidence: DOC
# source: s
# applies: x
> GET / HTTP/1.1
>
< HTTP/1.1 200 OK
< Content-Length: {number}
< Date: {date}
<
< id {id:3}
";

    fn judge(received: &str) -> Result<(), Difference> {
        Transcript::parse(TEXT)
            .unwrap()
            .judge(&Values::new(), received.replace('\n', "\r\n").as_bytes())
    }

    #[test]
    fn the_recorded_answer_is_itself() {
        judge("HTTP/1.1 200 OK\nContent-Length: 6\nDate: Sun, 13 Feb 2022 13:37:57 GMT\n\nid ABC").unwrap();
    }

    #[test]
    fn order_case_length_and_body_are_seen() {
        let date = "Date: Sun, 13 Feb 2022 13:37:57 GMT";
        for (received, wanted) in [
            (
                format!("HTTP/1.1 200 OK\n{date}\nContent-Length: 6\n\nid ABC"),
                "head, line 2",
            ),
            (
                format!("HTTP/1.1 200 OK\ncontent-length: 6\n{date}\n\nid ABC"),
                "head, line 2",
            ),
            (
                format!("HTTP/1.1 200 OK\nContent-Length: 6\n{date}\nX: y\n\nid ABC"),
                "head, line 4",
            ),
            (
                format!("HTTP/1.1 200 OK\nContent-Length: 7\n{date}\n\nid ABC"),
                "Content-Length says 7",
            ),
            (
                format!("HTTP/1.1 200 OK\nContent-Length: 6\n{date}\n\nid ABc"),
                "body, line 1",
            ),
            ("HTTP/1.1 200 OK\n".to_owned(), "no answer"),
        ] {
            let difference = judge(&received).unwrap_err().to_string();
            assert!(difference.starts_with(wanted), "{difference}");
        }
    }

    #[test]
    fn case_counts_for_nothing_where_the_record_did_not_keep_it() {
        let text = TEXT.replace("# applies", "# names: any case\n# applies");
        let received = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\nDATE: Sun, 13 Feb 2022 13:37:57 GMT\r\n\r\nid ABC";
        Transcript::parse(&text)
            .unwrap()
            .judge(&Values::new(), received.as_bytes())
            .unwrap();
    }
}
