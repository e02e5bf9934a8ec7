//! What a person types, or a pipe brings, line by line.

use std::io::BufRead;

use tokio::sync::mpsc;

/// Lines of standard input. They are read on a thread of their own, which ends with the process: a runtime would wait for the read to end.
#[derive(Debug)]
pub(super) struct Lines(mpsc::Receiver<String>);

impl Lines {
    /// Begins to read.
    pub(super) fn of_stdin() -> Self {
        let (sender, receiver) = mpsc::channel(1);
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines() {
                let Ok(line) = line else { break };
                if sender.blocking_send(line).is_err() {
                    break;
                }
            }
        });
        Self(receiver)
    }

    /// The next line; none at the end.
    pub(super) async fn next(&mut self) -> Option<String> {
        self.0.recv().await
    }
}
