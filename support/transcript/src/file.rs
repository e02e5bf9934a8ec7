//! Reading a transcript. It must not know what its placeholders stand for.

use std::fmt;
use std::str::FromStr;

/// How something is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// Captured from the real service by somebody.
    Wire,
    /// Asserted against the real service by somebody's test.
    Oracle,
    /// Said by the service's own documentation.
    Doc,
}

impl FromStr for Evidence {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "WIRE" => Ok(Self::Wire),
            "ORACLE" => Ok(Self::Oracle),
            "DOC" => Ok(Self::Doc),
            _ => Err(()),
        }
    }
}

/// One thing wrong with a transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong.
    pub problem: String,
    /// What to do.
    pub remedy: &'static str,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.line, self.problem, self.remedy)
    }
}

/// A recorded exchange.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transcript {
    /// What it shows, in a line.
    pub title: String,
    /// How it is known.
    pub evidence: Vec<Evidence>,
    /// By whom.
    pub source: Vec<String>,
    /// Who must answer so.
    pub applies: Vec<String>,
    /// The state in which the service must be.
    pub state: String,
    /// What the caller asked for before, whose answer holds the credentials that he now signs with (optional).
    pub session: String,
    /// What the fake's own command prints for these words is what `{minted}` stands for (optional).
    pub minted: String,
    /// Whether header names are compared without regard to case, because the record did not keep it.
    pub any_case: bool,
    /// Whether only the status line is known.
    pub status_only: bool,
    /// Request line and header lines.
    pub request_head: Vec<String>,
    /// The request's body.
    pub request_body: String,
    /// Status line and header lines, with placeholders.
    pub answer_head: Vec<String>,
    /// The answer's body, with placeholders.
    pub answer_body: String,
}

const FIELDS: &str = "the fields are evidence, source, applies, state, session, minted, names and known";

impl Transcript {
    /// Reads a transcript; all faults at once.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Vec<Fault>> {
        let mut reading = Reading::default();
        for (number, line) in (1..).zip(text.lines()) {
            reading.line(number, line);
        }
        reading.end()
    }

    /// The request's target, as on its first line.
    pub fn target(&self) -> &str {
        let line = self.request_head.first().map(String::as_str).unwrap_or_default();
        line.split(' ').nth(1).unwrap_or_default()
    }
}

#[derive(Debug, Default)]
struct Reading {
    transcript: Transcript,
    request: Side,
    answer: Side,
    faults: Vec<Fault>,
}

/// One direction: lines until the first empty one are the head.
#[derive(Debug, Default)]
struct Side {
    head: Vec<String>,
    body: Option<Vec<String>>,
}

impl Side {
    fn push(&mut self, line: &str) {
        match &mut self.body {
            Some(body) => body.push(line.to_owned()),
            None if line.is_empty() => self.body = Some(Vec::new()),
            None => self.head.push(line.to_owned()),
        }
    }
}

impl Reading {
    fn line(&mut self, number: usize, line: &str) {
        let (mark, rest) = line.split_at_checked(1).unwrap_or_default();
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        match mark {
            "" => {}
            "#" => self.comment(number, rest),
            ">" if self.answer.head.is_empty() => self.request.push(rest),
            "<" => self.answer.push(rest),
            ">" => self.fault(
                number,
                "a line of the request after the answer".to_owned(),
                "put the request first",
            ),
            _ => self.fault(
                number,
                format!("a line starts with `{mark}`"),
                "start every line with `#`, `>` or `<`",
            ),
        }
    }

    fn comment(&mut self, number: usize, text: &str) {
        let transcript = &mut self.transcript;
        if transcript.title.is_empty() {
            transcript.title = text.to_owned();
            return;
        }
        let Some((field, value)) = text.split_once(": ").filter(|(field, _)| !field.contains(' ')) else {
            // Further comments are for people.
            return;
        };
        let words = value.split(',').map(str::trim);
        match (field, value) {
            ("evidence", _) => {
                for word in words {
                    match word.parse() {
                        Ok(evidence) => transcript.evidence.push(evidence),
                        Err(()) => self.faults.push(Fault {
                            line: number,
                            problem: format!("`{word}` is no evidence"),
                            remedy: "write WIRE, ORACLE or DOC",
                        }),
                    }
                }
            }
            ("source", _) => transcript.source.push(value.to_owned()),
            ("applies", _) => transcript.applies.extend(words.map(str::to_owned)),
            ("state", _) => value.clone_into(&mut transcript.state),
            ("session", _) => value.clone_into(&mut transcript.session),
            ("minted", _) => value.clone_into(&mut transcript.minted),
            ("names", "any case") => transcript.any_case = true,
            ("known", "status line") => transcript.status_only = true,
            _ => self.fault(number, format!("unknown field `{field}: {value}`"), FIELDS),
        }
    }

    fn fault(&mut self, line: usize, problem: String, remedy: &'static str) {
        self.faults.push(Fault { line, problem, remedy });
    }

    fn end(mut self) -> Result<Transcript, Vec<Fault>> {
        let transcript = &self.transcript;
        let missing = [
            (
                transcript.title.is_empty(),
                "title",
                "say in the first line what it shows",
            ),
            (
                transcript.evidence.is_empty(),
                "evidence",
                "write `# evidence: WIRE`, ORACLE or DOC",
            ),
            (
                transcript.source.is_empty(),
                "source",
                "say with `# source:` where it is known from",
            ),
            (
                transcript.applies.is_empty(),
                "applies",
                "name with `# applies:` who must answer so",
            ),
            (
                self.request.head.is_empty(),
                "request",
                "write it with `> ` before each line",
            ),
            (
                self.request.body.is_none(),
                "end of the request's head",
                "put an empty `>` after its headers",
            ),
            (
                self.answer.head.is_empty(),
                "answer",
                "write it with `< ` before each line",
            ),
            (
                self.answer.body.is_none() && !transcript.status_only,
                "end of the answer's head",
                "put an empty `<` after its headers",
            ),
        ];
        for (_, what, remedy) in missing.iter().filter(|(is_missing, ..)| *is_missing) {
            self.faults.push(Fault {
                line: 0,
                problem: format!("no {what}"),
                remedy,
            });
        }
        if !self.faults.is_empty() {
            return Err(self.faults);
        }
        Ok(Transcript {
            request_head: self.request.head,
            request_body: self.request.body.unwrap_or_default().join("\n"),
            answer_head: self.answer.head,
            answer_body: self.answer.body.unwrap_or_default().join("\n"),
            ..self.transcript
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WHOLE: &str = "\
# A page
# evidence: WIRE, DOC
# source: somewhere
# applies: fake, proxy
#
# Note well: people read this.
> GET / HTTP/1.1
> Host: {name}
>
< HTTP/1.1 200 OK
< Content-Length: 3
<
< a
<
";

    #[test]
    fn a_transcript_is_read_to_the_byte() {
        let read = Transcript::parse(WHOLE).unwrap();
        assert_eq!(read.title, "A page");
        assert_eq!(read.evidence, [Evidence::Wire, Evidence::Doc]);
        assert_eq!(read.applies, ["fake", "proxy"]);
        assert_eq!(read.request_head, ["GET / HTTP/1.1", "Host: {name}"]);
        assert_eq!(read.request_body, "");
        assert_eq!(read.target(), "/");
        assert_eq!(read.answer_body, "a\n");
    }

    #[test]
    fn all_faults_come_at_once() {
        let faults = Transcript::parse("# t\n# evidence: HEARSAY\n# nonsense: x\n? \n> GET /\n").unwrap_err();
        let text: Vec<String> = faults.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(text.join("\n"), @"
        2: `HEARSAY` is no evidence; write WIRE, ORACLE or DOC
        3: unknown field `nonsense: x`; the fields are evidence, source, applies, state, session, minted, names and known
        4: a line starts with `?`; start every line with `#`, `>` or `<`
        0: no evidence; write `# evidence: WIRE`, ORACLE or DOC
        0: no source; say with `# source:` where it is known from
        0: no applies; name with `# applies:` who must answer so
        0: no end of the request's head; put an empty `>` after its headers
        0: no answer; write it with `< ` before each line
        0: no end of the answer's head; put an empty `<` after its headers
        ");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "(?s).{0,200}") {
            let _ = Transcript::parse(&text);
        }
    }
}
