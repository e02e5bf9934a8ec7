//! Live progress: a line for each scenario that ends, and a bar with what is under way where the output is a terminal.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::ScenarioReport;
use super::table::{Colour, cut};

/// Tells a person how far a run is. Everything goes to stderr: stdout is for results.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    colour: Colour,
    live: bool,
}

impl Progress {
    /// For a run of so many scenarios; `quiet` tells nothing.
    pub fn new(total: usize, colour: Colour, quiet: bool) -> Self {
        let live = std::io::stderr().is_terminal() && !quiet;
        let target = if live {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(u64::try_from(total).ok(), target);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {pos}/{len} {wide_msg}") {
            bar.set_style(style);
        }
        if live {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self {
            bar,
            colour,
            live: !quiet,
        }
    }

    /// What is being done now.
    pub fn stage(&self, what: &str) {
        self.bar.set_message(what.to_owned());
        self.line(&format!("  {what}"));
    }

    /// A scenario has ended.
    pub fn finished(&self, scenario: &ScenarioReport) {
        let word = self
            .colour
            .paint(scenario.judgement, &format!("{:<20}", scenario.judgement.as_str()));
        let line = format!(
            "{word} {:<9} {:<13} {:>5.1} s  {}",
            scenario.id,
            cut(&scenario.defence, 40),
            scenario.seconds,
            scenario.title
        );
        self.line(&line);
        self.bar.inc(1);
    }

    /// The run has ended.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }

    #[expect(clippy::print_stderr, reason = "this is the one place that tells progress")]
    fn line(&self, line: &str) {
        if !self.live {
            return;
        }
        self.bar.suspend(|| eprintln!("{line}"));
    }
}
