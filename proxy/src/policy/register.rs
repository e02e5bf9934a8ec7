//! Who is revoked, as a text that outlives the proxy. Read strictly: a text that is not whole would give back what an operator took away. Pure.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::revocation::{REVOKED_MAX, Revocations, Target};

/// The form of the text. Another version's is not guessed at.
const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    version: u32,
    revoked: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    subject: Target,
    since: String,
}

/// Why a text does not say who is revoked.
#[derive(Debug, thiserror::Error)]
pub enum Damaged {
    /// It is not what was written, or not all of it.
    #[error("it is not whole")]
    Broken(#[from] serde_json::Error),
    /// Another version of the proxy wrote it.
    #[error("it is of version {found}, and this proxy reads version {VERSION}")]
    Version {
        /// Which.
        found: u32,
    },
    /// A subject that no operator can have meant.
    #[error("{subject} is no subject: {why}")]
    Subject {
        /// As it stands there.
        subject: String,
        /// Why not.
        why: &'static str,
    },
    /// A time that is none.
    #[error("{since:?}, since when {subject} is revoked, is no time")]
    Since {
        /// Whose.
        subject: String,
        /// As it stands there.
        since: String,
    },
    /// A subject that stands there twice.
    #[error("{subject} stands there twice")]
    Twice {
        /// Which.
        subject: String,
    },
    /// More than can be revoked.
    #[error("it has more than {REVOKED_MAX} subjects")]
    TooMany,
}

impl Revocations {
    /// Reads what [`Revocations::write`] wrote.
    ///
    /// # Errors
    /// Any doubt about it.
    pub fn read(text: &str) -> Result<Self, Damaged> {
        let page: Page = serde_json::from_str(text)?;
        if page.version != VERSION {
            return Err(Damaged::Version { found: page.version });
        }
        let mut read = Self::default();
        for Entry { subject, since } in page.revoked {
            let name = subject.to_string();
            let printable = |why| Damaged::Subject {
                subject: name.escape_debug().to_string(),
                why,
            };
            subject.check().map_err(printable)?;
            let time = since.parse::<Timestamp>().ok().map(SystemTime::from);
            let Some(time) = time.filter(|time| *time >= SystemTime::UNIX_EPOCH) else {
                return Err(Damaged::Since { subject: name, since });
            };
            match read.add(subject, time) {
                Ok(true) => {}
                Ok(false) => return Err(Damaged::Twice { subject: name }),
                Err(_) => return Err(Damaged::TooMany),
            }
        }
        Ok(read)
    }

    /// Writes all of it.
    #[must_use]
    pub fn write(&self) -> String {
        let entry = |(subject, since): (&Target, SystemTime)| Entry {
            subject: subject.clone(),
            since: Timestamp::try_from(since).unwrap_or_default().to_string(),
        };
        let page = Page {
            version: VERSION,
            revoked: self.entries().map(entry).collect(),
        };
        // Numbers and texts always serialise.
        let mut text = serde_json::to_string_pretty(&page).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// A time in whole seconds, as the text has it.
pub(super) fn whole_seconds(time: SystemTime) -> SystemTime {
    let seconds = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fixture::PausedClock;

    fn target() -> impl Strategy<Value = Target> {
        prop_oneof![
            any::<u64>().prop_map(Target::Job),
            any::<u64>().prop_map(Target::Project),
            "arn:aws(-cn|-us-gov)?:iam::[0-9]{12}:role/([a-z]{1,9}/){0,3}[A-Za-z0-9+=,@_-]{1,64}"
                .prop_map(Target::Role),
            "[0-9a-f]{12,64}".prop_map(Target::Container),
        ]
    }

    fn revocations() -> impl Strategy<Value = Revocations> {
        let entries = proptest::collection::vec((target(), 0..4_000_000_000_u64), 0..20);
        entries.prop_map(|entries| {
            let mut all = Revocations::default();
            for (subject, since) in entries {
                let _is_new = all.add(subject, SystemTime::UNIX_EPOCH + Duration::from_secs(since));
            }
            all
        })
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(all in revocations()) {
            prop_assert_eq!(Revocations::read(&all.write()).unwrap(), all);
        }

        #[test]
        fn a_text_that_was_cut_is_not_whole(all in revocations(), at in any::<prop::sample::Index>()) {
            let text = all.write();
            let whole = text.trim_end();
            let cut = at.index(whole.len());
            prop_assert!(Revocations::read(&text[..cut]).is_err(), "{}", cut);
        }

        #[test]
        fn nothing_is_lost_in_silence(all in revocations(), at in any::<prop::sample::Index>(), byte in 0x20..0x7f_u8) {
            // One byte that went wrong: what is read has as many subjects as before, or nothing is.
            let mut text = all.write().into_bytes();
            let at = at.index(text.len());
            text[at] = byte;
            let text = String::from_utf8(text).unwrap();
            if let Ok(read) = Revocations::read(&text) {
                prop_assert_eq!(read.iter().count(), all.iter().count());
            }
        }
    }

    #[test]
    fn a_person_can_read_it() {
        let mut all = Revocations::default();
        let half = PausedClock::epoch() + Duration::from_millis(500);
        all.add(Target::Job(302), half).unwrap();
        all.add(Target::Role("arn:aws:iam::123456789012:role/deploy".to_owned()), half)
            .unwrap();
        insta::assert_snapshot!(all.write(), @r#"
        {
          "version": 1,
          "revoked": [
            {
              "subject": {
                "job": 302
              },
              "since": "2027-01-15T08:00:00Z"
            },
            {
              "subject": {
                "role": "arn:aws:iam::123456789012:role/deploy"
              },
              "since": "2027-01-15T08:00:00Z"
            }
          ]
        }
        "#);
    }

    #[test]
    fn whatever_is_in_doubt_is_not_read() {
        let entry = |subject: &str, since: &str| {
            format!(r#"{{"version":1,"revoked":[{{"subject":{subject},"since":"{since}"}}]}}"#)
        };
        let good = "2027-01-15T08:00:00Z";
        assert!(Revocations::read(&entry(r#"{"job":302}"#, good)).is_ok());
        let twice = entry(r#"{"job":302}"#, good)
            .replace("]}", &format!(r#",{{"subject":{{"job":302}},"since":"{good}"}}]}}"#));
        let many: Vec<String> = (0..=REVOKED_MAX)
            .map(|job| format!(r#"{{"subject":{{"job":{job}}},"since":"{good}"}}"#))
            .collect();
        let told: Vec<String> = [
            String::new(),
            "{}".to_owned(),
            "[]".to_owned(),
            r#"{"version":2,"revoked":[]}"#.to_owned(),
            r#"{"version":1,"revoked":[],"more":1}"#.to_owned(),
            r#"{"version":1,"revoked":[]}{"version":1,"revoked":[]}"#.to_owned(),
            entry(r#"{"world":1}"#, good),
            entry(r#"{"job":302,"project":20}"#, good),
            entry(r#"{"container":"aaaa"}"#, good),
            entry(r#"{"role":"deploy"}"#, good),
            entry(r#"{"role":"arn:aws:iam::123456789012:role/a\n"}"#, good),
            entry(r#"{"job":302}"#, "yesterday"),
            entry(r#"{"job":302}"#, "1969-12-31T23:59:59Z"),
            twice,
            format!(r#"{{"version":1,"revoked":[{}]}}"#, many.join(",")),
        ]
        .iter()
        .map(|text| Revocations::read(text).unwrap_err().to_string())
        .collect();
        insta::assert_snapshot!(told.join("\n"), @r###"
        it is not whole
        it is not whole
        it is not whole
        it is of version 2, and this proxy reads version 1
        it is not whole
        it is not whole
        it is not whole
        it is not whole
        container aaaa is no subject: write 12 to 64 digits of the container's id
        role deploy is no subject: not the ARN of a role
        role arn:aws:iam::123456789012:role/a\n is no subject: not the ARN of a role
        "yesterday", since when job 302 is revoked, is no time
        "1969-12-31T23:59:59Z", since when job 302 is revoked, is no time
        job 302 stands there twice
        it has more than 1024 subjects
        "###);
    }
}
