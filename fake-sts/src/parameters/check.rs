//! Constraints of the service model, each told in STS's words. It must not know actions.

use std::collections::BTreeMap;

use super::{POLICY_ARNS, ParameterError, policy_arns};
use crate::query::Parameters;

/// Which characters a member takes, and how STS writes it.
pub(crate) struct Pattern {
    text: &'static str,
    takes: fn(char) -> bool,
    /// `*` patterns take an empty text, `+` patterns do not.
    empty: bool,
}

pub(crate) const NAME_TEXT: Pattern = Pattern {
    text: r"[\w+=,.@-]*",
    takes: |character| character.is_ascii_alphanumeric() || "_+=,.@-".contains(character),
    empty: true,
};

/// IAM's names, which may not be empty.
pub(crate) const IAM_NAME_TEXT: Pattern = Pattern {
    text: r"[\w+=,.@-]+",
    empty: false,
    ..NAME_TEXT
};

pub(crate) const EXTERNAL_ID_TEXT: Pattern = Pattern {
    text: r"[\w+=,.@:\/-]*",
    takes: |character| character.is_ascii_alphanumeric() || "_+=,.@:/-".contains(character),
    empty: true,
};

/// Java reads `\u10000` as U+1000 and a zero, so nothing beyond the basic plane fits.
pub(crate) const ARN_TEXT: Pattern = Pattern {
    text: r"[\u0009\u000A\u000D\u0020-\u007E\u0085\u00A0-\uD7FF\uE000-\uFFFD\u10000-\u10FFFF]+",
    takes: |character| matches!(character, '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}'),
    empty: false,
};

pub(crate) const POLICY_TEXT: Pattern = Pattern {
    text: r"[\u0009\u000A\u000D\u0020-\u00FF]+",
    takes: |character| matches!(character, '\t' | '\n' | '\r' | ' '..='\u{ff}'),
    empty: false,
};

pub(crate) const WORD_TEXT: Pattern = Pattern {
    text: r"[\w]*",
    takes: |character| character.is_ascii_alphanumeric() || character == '_',
    empty: true,
};

pub(crate) const SERIAL_TEXT: Pattern = Pattern {
    text: r"[\w+=/:,.@-]*",
    takes: |character| character.is_ascii_alphanumeric() || "_+=/:,.@-".contains(character),
    empty: true,
};

pub(crate) const DIGITS_TEXT: Pattern = Pattern {
    text: r"[\d]*",
    takes: |character| character.is_ascii_digit(),
    empty: true,
};

#[derive(Default)]
pub(crate) struct Check {
    pub(crate) violations: Vec<String>,
}

impl Check {
    /// Every violation at once, if there is one.
    pub(crate) fn done(&mut self) -> Result<(), ParameterError> {
        if self.violations.is_empty() {
            return Ok(());
        }
        let violations = std::mem::take(&mut self.violations);
        Err(ParameterError::Constraints { violations })
    }

    pub(crate) fn violation(&mut self, value: Option<&str>, member: &str, rule: &str) {
        let value = value.map_or_else(|| "null".to_owned(), |value| format!("'{value}'"));
        self.violations.push(format!(
            "Value {value} at '{member}' failed to satisfy constraint: Member must {rule}"
        ));
    }

    pub(crate) fn text(
        &mut self,
        parameters: &Parameters,
        name: &str,
        member: &str,
        length: std::ops::RangeInclusive<usize>,
        pattern: Option<&Pattern>,
        required: bool,
    ) -> Option<String> {
        let Some(value) = parameters.get(name) else {
            if required {
                self.violation(None, member, "not be null");
            }
            return None;
        };
        // STS names the pattern before the length.
        if let Some(pattern) = pattern
            && !((pattern.empty || !value.is_empty()) && value.chars().all(pattern.takes))
        {
            self.violation(
                Some(value),
                member,
                &format!("satisfy regular expression pattern: {}", pattern.text),
            );
        }
        let count = value.chars().count();
        if count < *length.start() {
            let rule = format!("have length greater than or equal to {}", length.start());
            self.violation(Some(value), member, &rule);
        }
        if count > *length.end() {
            let rule = format!("have length less than or equal to {}", length.end());
            self.violation(Some(value), member, &rule);
        }
        Some(value.to_owned())
    }

    /// As [`Self::text`], for a value that no answer may repeat.
    pub(crate) fn secret(
        &mut self,
        parameters: &Parameters,
        name: &str,
        member: &str,
        length: std::ops::RangeInclusive<usize>,
    ) -> Option<String> {
        let value = parameters.get(name);
        match value.map(|value| value.chars().count()) {
            None => self.violation(None, member, "not be null"),
            Some(count) if count < *length.start() => {
                let rule = format!("have length greater than or equal to {}", length.start());
                self.violation(Some("***"), member, &rule);
            }
            Some(count) if count > *length.end() => {
                let rule = format!("have length less than or equal to {}", length.end());
                self.violation(Some("***"), member, &rule);
            }
            Some(_) => {}
        }
        value.map(str::to_owned)
    }

    pub(crate) fn range(&mut self, member: &str, value: i32, least: i32, most: i32) {
        if value < least {
            let rule = format!("have value greater than or equal to {least}");
            self.violation(Some(&value.to_string()), member, &rule);
        }
        if value > most {
            let rule = format!("have value less than or equal to {most}");
            self.violation(Some(&value.to_string()), member, &rule);
        }
    }

    pub(crate) fn policy_arns(&mut self, parameters: &Parameters) -> Vec<String> {
        let arns: Vec<String> = policy_arns(parameters).into_iter().map(str::to_owned).collect();
        if arns.len() > POLICY_ARNS {
            let rule = format!("have length less than or equal to {POLICY_ARNS}");
            self.violation(Some("policyArns"), "policyArns", &rule);
        }
        for (index, arn) in arns.iter().enumerate() {
            let member = format!("policyArns.{}.member.arn", index + 1);
            let length = arn.chars().count();
            if length < 20 {
                self.violation(Some(arn), &member, "have length greater than or equal to 20");
            } else if length > 2_048 {
                self.violation(Some(arn), &member, "have length less than or equal to 2048");
            }
        }
        arns
    }

    pub(crate) fn tags(&mut self, parameters: &Parameters) -> Vec<(String, String)> {
        let mut tags: BTreeMap<u32, (Option<String>, Option<String>)> = BTreeMap::new();
        for (index, field, value) in parameters.members("Tags") {
            let tag = tags.entry(index).or_default();
            match field {
                "Key" => tag.0.get_or_insert_with(|| value.to_owned()),
                "Value" => tag.1.get_or_insert_with(|| value.to_owned()),
                _ => continue,
            };
        }
        if tags.len() > 50 {
            self.violation(Some("tags"), "tags", "have length less than or equal to 50");
        }
        let mut whole = Vec::with_capacity(tags.len());
        for (index, (key, value)) in tags {
            let (key_member, value_member) = (format!("tags.{index}.member.key"), format!("tags.{index}.member.value"));
            match &key {
                None => self.violation(None, &key_member, "not be null"),
                Some(key) if key.is_empty() => {
                    self.violation(Some(key), &key_member, "have length greater than or equal to 1");
                }
                Some(key) if key.chars().count() > 128 => {
                    self.violation(Some(key), &key_member, "have length less than or equal to 128");
                }
                Some(_) => {}
            }
            match &value {
                None => self.violation(None, &value_member, "not be null"),
                Some(value) if value.chars().count() > 256 => {
                    self.violation(Some(value), &value_member, "have length less than or equal to 256");
                }
                Some(_) => {}
            }
            if let (Some(key), Some(value)) = (key, value) {
                whole.push((key, value));
            }
        }
        whole
    }
}
