//! The real binary over real sockets, on loopback only.

#[cfg(test)]
mod classes;
#[cfg(test)]
mod control;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod crowd;
#[cfg(test)]
mod documents;
#[cfg(test)]
mod hops;
#[cfg(test)]
mod library;
#[cfg(test)]
mod running;
#[cfg(test)]
mod sdk;
#[cfg(test)]
mod usage;
#[cfg(test)]
mod wire;
