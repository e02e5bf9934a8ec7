//! The words of the prompt. Pure.

use crate::case::model::{Action, Step};
use crate::play::Turn;

/// What a person can say.
pub(super) const HELP: &str = "\
get PATH [HEADER…] [OPTION…]     one request, its path sent exactly so; get and head ask for a session token first
put PATH …                       the same with another method: put, post, head, delete, options
imds [1|2] [ROLE]                a client's whole flow: token, role list, credentials
sdk [ROLE-ARN]                   the unmodified AWS SDK: default chain, GetCallerIdentity, then AssumeRole
raw BYTES [to=ADDRESS:PORT]      bytes as they are; \\r, \\n, \\\\ and \\xNN are understood
reach                            a neighbour of the endpoint on the same route
env, interfaces, resolve NAME    what the job's process sees
ip ARGUMENT…                     ip(8) in the container
exit                             end

HEADER is 'Name: value'. OPTION is token=none|own|VALUE, host=ADDRESS, bind=ADDRESS or save=NAME, which keeps the answer
as ${saved.NAME}. Quote with ' or \". Placeholders of case files are understood: ${role.own}, ${arn.own}, ${a.build.ip}.";

/// What a line means.
#[derive(Debug)]
pub(super) enum Command {
    Nothing,
    Help,
    Exit,
    Turn(Turn),
}

/// Why a line means nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Misunderstood {
    #[error("there is no `{0}`: say `help`")]
    Unknown(String),
    #[error("{0} what? Say `help`")]
    Short(String),
    #[error("`{0}` is one word too many: quote it, or say `help`")]
    Long(String),
    #[error("a quote is not closed")]
    Quote,
}

/// Splits a line at blanks that are not within quotes.
pub(super) fn words_of(line: &str) -> Result<Vec<String>, Misunderstood> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut letters = line.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match letters.next() {
                        Some(end) if end == letter => break,
                        Some(inside) => word.push(inside),
                        None => return Err(Misunderstood::Quote),
                    }
                }
            }
            blank if blank.is_whitespace() => words.extend(word.take()),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

/// What the words mean.
pub(super) fn parse(words: &[String]) -> Result<Command, Misunderstood> {
    let Some((verb, rest)) = words.split_first() else {
        return Ok(Command::Nothing);
    };
    let alone = |command| match rest.first() {
        None => Ok(command),
        Some(more) => Err(Misunderstood::Long(more.clone())),
    };
    match verb.as_str() {
        "help" | "?" => alone(Command::Help),
        "exit" | "quit" => alone(Command::Exit),
        "env" => alone(Command::Turn(Turn::Environment)),
        "interfaces" => alone(Command::Turn(Turn::Interfaces)),
        "reach" => alone(step(Step {
            action: Action::Reach,
            ..Step::default()
        })),
        "resolve" => match rest {
            [] => Err(Misunderstood::Short(verb.clone())),
            [name] => Ok(Command::Turn(Turn::Resolve(name.clone()))),
            [_, more, ..] => Err(Misunderstood::Long(more.clone())),
        },
        "ip" if rest.is_empty() => Err(Misunderstood::Short(verb.clone())),
        "ip" => Ok(Command::Turn(Turn::Ip(rest.to_vec()))),
        "sdk" => match rest {
            [] | [_] => Ok(step(Step {
                action: Action::Sdk,
                assume: rest.first().cloned(),
                ..Step::default()
            })),
            [_, more, ..] => Err(Misunderstood::Long(more.clone())),
        },
        "imds" => imds(rest),
        "raw" => raw(verb, rest),
        "get" | "put" | "post" | "head" | "delete" | "options" => request(verb, rest),
        unknown => Err(Misunderstood::Unknown(unknown.to_owned())),
    }
}

fn step(step: Step) -> Command {
    Command::Turn(Turn::Step(Box::new(step)))
}

fn imds(rest: &[String]) -> Result<Command, Misunderstood> {
    let (version, rest) = match rest.split_first() {
        Some((version, rest)) if version == "1" => (1, rest),
        Some((version, rest)) if version == "2" => (2, rest),
        Some(_) | None => (2, rest),
    };
    match rest {
        [] | [_] => Ok(step(Step {
            action: Action::Imds,
            version: Some(version),
            role: rest.first().cloned(),
            ..Step::default()
        })),
        [_, more, ..] => Err(Misunderstood::Long(more.clone())),
    }
}

fn raw(verb: &str, rest: &[String]) -> Result<Command, Misunderstood> {
    let (bytes, rest) = rest
        .split_first()
        .ok_or_else(|| Misunderstood::Short(verb.to_owned()))?;
    let mut raw = Step {
        action: Action::Raw,
        send: Some(bytes.clone()),
        ..Step::default()
    };
    for word in rest {
        match word.strip_prefix("to=") {
            Some(to) => raw.to = Some(to.to_owned()),
            None => return Err(Misunderstood::Long(word.clone())),
        }
    }
    Ok(step(raw))
}

fn request(verb: &str, rest: &[String]) -> Result<Command, Misunderstood> {
    let (path, rest) = rest
        .split_first()
        .ok_or_else(|| Misunderstood::Short(verb.to_owned()))?;
    let token = if matches!(verb, "get" | "head") { "own" } else { "none" };
    let mut request = Step {
        action: Action::Get,
        method: Some(verb.to_uppercase()),
        path: Some(path.clone()),
        token: Some(token.to_owned()),
        ..Step::default()
    };
    for word in rest {
        // A header's name has no `=` and an option's value may have a colon.
        match (word.split_once('='), word.split_once(": ")) {
            (Some(("token", token)), _) => request.token = Some(token.to_owned()),
            (Some(("host", host)), _) => request.host = Some(host.to_owned()),
            (Some(("bind", bind)), _) => request.bind = Some(bind.to_owned()),
            (Some(("save", name)), _) => request.save = Some(name.to_owned()),
            (_, Some((name, value))) => request.headers.push((name.to_owned(), value.to_owned())),
            (_, None) => return Err(Misunderstood::Long(word.clone())),
        }
    }
    Ok(step(request))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn said(line: &str) -> Result<Command, Misunderstood> {
        words_of(line).and_then(|words| parse(&words))
    }

    fn step_of(line: &str) -> Step {
        match said(line) {
            Ok(Command::Turn(Turn::Step(step))) => *step,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_request_takes_headers_and_options_in_any_order() {
        let step =
            step_of("put /latest/api/token save=t 'X-aws-ec2-metadata-token-ttl-seconds: 60' host=[fd00:ec2::254]");
        assert_eq!(step.action, Action::Get);
        assert_eq!(step.method.as_deref(), Some("PUT"));
        assert_eq!(step.path.as_deref(), Some("/latest/api/token"));
        assert_eq!(step.token.as_deref(), Some("none"));
        assert_eq!(step.save.as_deref(), Some("t"));
        assert_eq!(step.host.as_deref(), Some("[fd00:ec2::254]"));
        let header = ("X-aws-ec2-metadata-token-ttl-seconds".to_owned(), "60".to_owned());
        assert_eq!(step.headers, [header]);
    }

    #[test]
    fn only_reading_asks_for_a_token_first() {
        assert_eq!(step_of("get /").token.as_deref(), Some("own"));
        assert_eq!(step_of("get / token=none").token.as_deref(), Some("none"));
        assert_eq!(step_of("delete /").token.as_deref(), Some("none"));
    }

    #[test]
    fn bytes_are_one_word_within_quotes() {
        let step = step_of(r#"raw "GET / HTTP/1.0\r\n\r\n" to=10.0.0.1:80"#);
        assert_eq!(step.send.as_deref(), Some(r"GET / HTTP/1.0\r\n\r\n"));
        assert_eq!(step.to.as_deref(), Some("10.0.0.1:80"));
    }

    #[test]
    fn the_flow_takes_a_version_and_a_role() {
        let (plain, version, both) = (step_of("imds"), step_of("imds 1"), step_of("imds 1 ${role.own}"));
        assert_eq!((plain.version, plain.role), (Some(2), None));
        assert_eq!((version.version, version.role), (Some(1), None));
        assert_eq!((both.version, both.role.as_deref()), (Some(1), Some("${role.own}")));
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for (line, told) in [
            ("fly", Misunderstood::Unknown("fly".to_owned())),
            ("get", Misunderstood::Short("get".to_owned())),
            ("ip", Misunderstood::Short("ip".to_owned())),
            ("env all", Misunderstood::Long("all".to_owned())),
            ("get / and more", Misunderstood::Long("and".to_owned())),
            ("raw 'x", Misunderstood::Quote),
        ] {
            assert_eq!(said(line).err(), Some(told), "{line}");
        }
        assert!(matches!(said("  "), Ok(Command::Nothing)));
    }

    #[test]
    fn every_word_of_the_help_is_understood() {
        let verbs = ["imds", "sdk", "reach", "env", "interfaces", "exit", "help"];
        for verb in verbs
            .into_iter()
            .chain(["get /", "head /", "options /", "resolve x", "ip addr", "raw x"])
        {
            assert!(said(verb).is_ok(), "{verb}");
            let word = verb.split(' ').next().unwrap();
            assert!(word == "help" || HELP.contains(word), "{word}");
        }
    }

    proptest! {
        #[test]
        fn quoted_words_come_back_as_they_were(words in proptest::collection::vec("[^'\"]{0,12}", 0..6)) {
            let line = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
            prop_assert_eq!(words_of(&line), Ok(words));
        }

        #[test]
        fn no_line_panics(line in ".{0,60}") {
            let _ = said(&line);
        }
    }
}
