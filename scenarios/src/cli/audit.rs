//! `audit`: from inside a live job, which ways to credentials are open. The only command that talks to a real endpoint, and so the only one that asks where it is.

use std::io::IsTerminal;
use std::path::Path;

use indicatif::{ProgressBar, ProgressDrawTarget};

use super::args::{AuditArguments, Format};
use super::{Exit, complain, interrupted, say};
use crate::ambient::Ambient;
use crate::audit::look::look;
use crate::audit::report::{Expected, Report};
use crate::audit::{Audit, Places, run as audit, table};
use crate::report::table::Colour;

pub(super) async fn run(options: &AuditArguments, ambient: &Ambient) -> Exit {
    let expected = match Expected::of(options.expect.as_deref(), &options.allow) {
        Ok(expected) => expected,
        Err(misunderstood) => {
            complain(&format!("error: {misunderstood}"));
            return Exit::Usage;
        }
    };
    let around = look(crate::probe::ambient::environment(), Path::new("/"));
    if let (Err(missing), false) = (around.job(), options.anyway) {
        complain(&format!(
            "error: {missing}\nhint: this asks the real metadata endpoint of wherever it runs. Run it in a job's container, or say --anyway"
        ));
        return Exit::CannotRun;
    }
    let bar = ProgressBar::with_draw_target(
        None,
        if std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        },
    );
    let about = Audit {
        places: &Places::real(),
        around: &around,
        expected,
        identify: options.identify,
        now: ambient.now(),
    };
    let tried = audit(&about, |tried, all| {
        bar.set_length(u64::try_from(all).unwrap_or(u64::MAX));
        bar.set_position(u64::try_from(tried).unwrap_or(u64::MAX));
    });
    let report = tokio::select! {
        report = tried => report,
        () = interrupted() => {
            bar.finish_and_clear();
            complain("error: interrupted; nothing was learnt");
            return Exit::Failed;
        }
    };
    bar.finish_and_clear();
    tell(&report, options.format, ambient)
}

fn tell(report: &Report, format: Format, ambient: &Ambient) -> Exit {
    match format {
        Format::Text => {
            let colour = if std::io::stdout().is_terminal() && !ambient.no_colour {
                Colour::Ansi
            } else {
                Colour::Plain
            };
            say(&table::render(report, colour));
        }
        Format::Json => match report.json() {
            Ok(json) => say(&json),
            Err(error) => {
                complain(&format!("error: the report cannot be written: {error}"));
                return Exit::Failed;
            }
        },
    }
    if report.fails() { Exit::Failed } else { Exit::Held }
}
