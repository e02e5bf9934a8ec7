//! How many connections there may be: in all, of one address, of one container (P14). Counts; knows no socket.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

/// Counts what is held under each key, up to a bound.
#[derive(Debug)]
pub struct Counts<K> {
    held: Arc<Mutex<HashMap<K, usize>>>,
    bound: usize,
}

impl<K> Clone for Counts<K> {
    fn clone(&self) -> Self {
        Self {
            held: Arc::clone(&self.held),
            bound: self.bound,
        }
    }
}

/// One of what is counted, until it is dropped.
#[derive(Debug)]
pub struct Place<K: Hash + Eq> {
    held: Arc<Mutex<HashMap<K, usize>>>,
    key: K,
}

impl<K: Hash + Eq + Clone> Counts<K> {
    /// Nothing is held yet.
    #[must_use]
    pub fn new(bound: usize) -> Self {
        Self {
            held: Arc::default(),
            bound,
        }
    }

    /// Takes a place, if one is free.
    #[must_use]
    pub fn take(&self, key: K) -> Option<Place<K>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match held.get_mut(&key) {
            Some(count) if *count >= self.bound => return None,
            Some(count) => *count += 1,
            None => {
                held.insert(key.clone(), 1);
            }
        }
        drop(held);
        Some(Place {
            held: Arc::clone(&self.held),
            key,
        })
    }
}

impl<K: Hash + Eq> Drop for Place<K> {
    fn drop(&mut self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        match held.get_mut(&self.key) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) => {
                held.remove(&self.key);
            }
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Counts;

    #[test]
    fn places_are_bounded_for_each_key_and_come_back() {
        let counts = Counts::new(2);
        let (one, two) = (counts.take("a"), counts.take("a"));
        assert!(one.is_some() && two.is_some() && counts.take("a").is_none());
        assert!(counts.take("b").is_some());
        drop(one);
        assert!(counts.take("a").is_some());
        drop(two);
        assert!(counts.held.lock().unwrap().is_empty());
    }
}
