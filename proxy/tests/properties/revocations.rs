//! The file in which it is kept who is revoked.

use metadata_proxy::policy::{Revocations, Target};

/// Places at which a text is cut, at most.
const CUTS: usize = 64;

/// A text that is read says the same when it is written, names nobody whom it does not name, and says nothing if it is not whole.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let read = match Revocations::read(text) {
        Ok(read) => read,
        Err(damaged) => {
            // It is printed to whoever starts the proxy.
            assert!(!damaged.to_string().chars().any(char::is_control), "{damaged}");
            return;
        }
    };
    assert_eq!(Revocations::read(&read.write()).unwrap(), read);
    assert!(read.iter().count() <= 1024);
    for subject in read.iter() {
        assert_eq!(subject.check(), Ok(()));
        match subject {
            Target::Job(id) | Target::Project(id) => assert!(text.contains(&id.to_string())),
            // Any character may be written as an escape.
            Target::Role(name) | Target::Container(name) => {
                assert!(text.contains(name.as_str()) || text.contains('\\'));
            }
        }
    }
    let whole = text.trim_end();
    let step = whole.len().div_ceil(CUTS).max(1);
    for cut in (0..whole.len()).step_by(step) {
        if let Some(part) = whole.get(..cut) {
            assert!(Revocations::read(part).is_err(), "{part}");
        }
    }
}
