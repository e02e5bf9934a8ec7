//! The program: options to a serving fake. It must not pick exit codes, nor decide what STS answers.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fake_kit::clock::Clock;
use fake_kit::listen::{BindError, Bound};
use fake_kit::seed::Seed;
use fake_kit::serve;
use thiserror::Error;

use crate::ambient;
use crate::command;
use crate::control;
use crate::in_process::{assemble, wire};
use crate::inquiry::InquiryError;
use crate::options::Options;
use crate::state::State;
use crate::world::{self, DEFAULT_WORLD, World};

/// Why the fake does not serve.
#[derive(Debug, Error)]
pub enum ProgramError {
    /// The world file cannot be read.
    #[error("cannot read {}", path.display())]
    UnreadableWorld {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The world file is broken.
    #[error(transparent)]
    BrokenWorld(#[from] world::Faults),
    /// A listener cannot be had.
    #[error("cannot start")]
    Bind(#[from] BindError),
    /// A subcommand was given something that it cannot use.
    #[error("{0}")]
    Usage(String),
    /// A question to a world has no answer.
    #[error(transparent)]
    Inquiry(#[from] InquiryError),
    /// A running fake did not do what it was asked.
    #[error("the fake at {control} says {status}: {answer}")]
    Control {
        /// Where.
        control: String,
        /// HTTP status.
        status: u16,
        /// Its words.
        answer: String,
    },
    /// The linter found something, or a caller may not: told already.
    #[error("see above")]
    Found,
    /// Output or signals fail.
    #[error("cannot serve")]
    Serve(#[from] io::Error),
}

/// Reads the world of a file, or the built-in one.
///
/// # Errors
/// The file cannot be read or is broken.
pub fn load_world(file: Option<&Path>, seed: &Seed) -> Result<World, ProgramError> {
    let (text, name) = match file {
        None => (DEFAULT_WORLD.to_owned(), "built-in world".to_owned()),
        Some(path) => {
            let text = ambient::read_file(path).map_err(|source| ProgramError::UnreadableWorld {
                path: path.to_owned(),
                source,
            })?;
            (text, path.display().to_string())
        }
    };
    Ok(world::read(&text, &name, seed)?)
}

/// Serves until the process is asked to stop.
///
/// # Errors
/// A broken world, or a listener that cannot be had.
pub async fn run(options: Options, out: &mut (dyn Write + Send)) -> Result<(), ProgramError> {
    if let Some(command) = &options.command {
        return command::run(command, out).await;
    }
    if options.print_world {
        out.write_all(DEFAULT_WORLD.as_bytes())?;
        return Ok(out.flush()?);
    }
    let seed = Seed::new(options.seed.clone());
    let world = load_world(options.world.as_deref(), &seed)?;
    let stop = fake_kit::ambient::stop_requested()?;
    let mut data: Vec<Bound> = Vec::with_capacity(options.listen.len());
    for listen in &options.listen {
        data.push(listen.bind().await?);
    }
    let Some(control_listen) = &options.control else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "--control is missing").into());
    };
    let control_bound = control_listen.bind().await?;
    let mut state = State::new(world, options.permissive, seed);
    state.laxity = options.skip_check.iter().copied().collect();
    let sts = assemble(state, Clock::system(), options.ledger);
    let router = control::router(Arc::clone(&sts));
    Ok(serve::run(data, control_bound, router, sts, wire(), out, stop).await?)
}
