//! `shell`: a job container of a sanctioned role behind a defence, and a person who says what its probe does.

mod command;

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};

use super::external::ExternalArguments;
use super::{Exit, close, complain, input, interrupted, open, say};
use crate::ambient::Ambient;
use crate::case::model::Defence;
use crate::play::{Session, Told};
use crate::stage::{Stage, Standing};
use command::{Command, HELP, Misunderstood, parse, words_of};

pub(super) async fn run(
    defence: Option<Defence>,
    external: &ExternalArguments,
    seed: &str,
    words: &[String],
    ambient: Ambient,
) -> Exit {
    // A command line that makes no sense is told before anything is built for it.
    if !words.is_empty()
        && let Err(misunderstood) = parse(words)
    {
        complain(&format!("error: {misunderstood}"));
        return Exit::Usage;
    }
    let mut standings: Vec<Standing> = defence.into_iter().map(Standing::Defence).collect();
    let proxy = match external.read(&mut standings, defence.is_none(), &ambient) {
        Ok(proxy) => proxy,
        Err(error) => {
            complain(&format!("error: {error}"));
            return Exit::Usage;
        }
    };
    let standing = standings.pop().unwrap_or(Standing::Defence(Defence::Proxy));
    let case = match Session::case() {
        Ok(case) => case,
        Err(faults) => {
            super::tell_faults(&faults, &ambient);
            return Exit::Usage;
        }
    };
    let mut workshop = match open(ambient, seed, false).await {
        Ok(workshop) => workshop,
        Err(exit) => return exit,
    };
    workshop.external = proxy;
    let used = async {
        let stage = match Stage::build(&workshop, standing.clone(), &[&case]).await {
            Ok(stage) => stage,
            Err(error) => {
                complain(&format!("error: {error}"));
                return Exit::CannotRun;
            }
        };
        let exit = match Session::begin(&stage, &case, standing.judged_as()).await {
            Ok(mut session) => {
                let exit = converse(&mut session, &stage, words).await;
                session.end().await;
                exit
            }
            Err(error) => {
                complain(&format!("error: {error}"));
                Exit::CannotRun
            }
        };
        stage.strike().await;
        exit
    };
    let exit = tokio::select! {
        exit = used => exit,
        () = interrupted() => Exit::Held,
    };
    close(workshop).await;
    exit
}

/// One command from the command line, or one after the other from standard input. It has failed if the last command could not be carried out.
async fn converse(session: &mut Session<'_>, stage: &Stage, words: &[String]) -> Exit {
    if !words.is_empty() {
        return match parse(words) {
            Ok(command) => carry_out(session, command).await.unwrap_or(Exit::Held),
            Err(misunderstood) => refuse(&misunderstood),
        };
    }
    complain(&format!(
        "in the container {}, with the defence {}:\n{}\n`help` lists what the probe does, `exit` ends it",
        session.container(),
        stage.standing.label(),
        stage.entrance()
    ));
    let is_terminal = std::io::stdin().is_terminal();
    let mut input = input::Lines::of_stdin();
    let mut last = Exit::Held;
    loop {
        if is_terminal {
            let mut stderr = std::io::stderr();
            let _ = write!(stderr, "a.build> ").and_then(|()| stderr.flush());
        }
        let Some(line) = input.next().await else { return last };
        last = match words_of(&line).and_then(|words| parse(&words)) {
            Ok(Command::Nothing) => last,
            Ok(Command::Exit) => return last,
            Ok(command) => carry_out(session, command).await.unwrap_or(last),
            Err(misunderstood) => refuse(&misunderstood),
        };
    }
}

fn refuse(misunderstood: &Misunderstood) -> Exit {
    complain(&format!("error: {misunderstood}"));
    Exit::Usage
}

/// How it went; none where nothing was to be done.
async fn carry_out(session: &mut Session<'_>, command: Command) -> Option<Exit> {
    match command {
        Command::Nothing | Command::Exit => None,
        Command::Help => {
            say(HELP);
            None
        }
        Command::Turn(turn) => match session.take(turn).await {
            Ok(told) => {
                say(&text(&told));
                Some(Exit::Held)
            }
            Err(error) => {
                complain(&format!("error: {error}"));
                Some(Exit::Failed)
            }
        },
    }
}

/// Requests and answers as command-line clients show them, then what they amount to.
fn text(told: &Told) -> String {
    let mut text = String::new();
    for exchange in &told.exchanges {
        for line in exchange.request.lines().filter(|line| !line.is_empty()) {
            let _ = writeln!(text, "> {line}");
        }
        if exchange.connect != "ok" {
            let _ = writeln!(text, "* connect: {}", exchange.connect);
        }
        for line in exchange.answer.lines() {
            let _ = writeln!(text, "{}", format!("< {line}").trim_end());
        }
        if !matches!(exchange.end.as_str(), "" | "eof" | "complete") {
            let _ = writeln!(text, "* ended: {}", exchange.end);
        }
    }
    if let Some(verdict) = &told.verdict {
        let _ = write!(text, "= {verdict}");
    }
    text.push_str(&told.text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Shown;
    use crate::verdict::Verdict;

    #[test]
    fn a_conversation_reads_as_a_clients_does() {
        let told = Told {
            exchanges: vec![
                Shown {
                    request: "GET / HTTP/1.1\nHost: 169.254.169.254\n\n".to_owned(),
                    connect: "ok".to_owned(),
                    answer: "HTTP/1.1 403 Forbidden\n\nno".to_owned(),
                    end: "eof".to_owned(),
                },
                Shown {
                    request: "GET /2 HTTP/1.1\n\n".to_owned(),
                    connect: "refused".to_owned(),
                    answer: String::new(),
                    end: String::new(),
                },
            ],
            verdict: Some(Verdict::Blocked),
            text: String::new(),
        };
        insta::assert_snapshot!(text(&told), @r"
        > GET / HTTP/1.1
        > Host: 169.254.169.254
        < HTTP/1.1 403 Forbidden
        <
        < no
        > GET /2 HTTP/1.1
        * connect: refused
        = BLOCKED
        ");
    }
}
