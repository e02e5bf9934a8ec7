//! Serving and control API over real sockets, on loopback only.

#[cfg(test)]
mod control;
#[cfg(test)]
mod serving;
#[cfg(test)]
mod stage;
