//! The program as others meet it: the real binary, the unmodified SDK, the control API over a Unix socket.

#[cfg(test)]
mod command;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod first_steps;
#[cfg(test)]
mod library;
#[cfg(test)]
mod others;
#[cfg(test)]
mod program;
#[cfg(test)]
mod reset;
#[cfg(test)]
mod retries;
#[cfg(test)]
mod rewrites;
#[cfg(test)]
mod sdk;
