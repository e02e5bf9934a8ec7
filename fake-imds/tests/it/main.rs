//! The real binary over real sockets, on loopback only.

mod control;
mod credentials;
mod hops;
mod running;
mod usage;
mod wire;
