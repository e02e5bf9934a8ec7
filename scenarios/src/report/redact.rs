//! Takes secrets out of what people see: markers become their names, secret keys and tokens become a fixed word.

use std::collections::BTreeMap;

use aho_corasick::{AhoCorasick, MatchKind};
use regex::Regex;

use super::Shown;
use crate::oracle::answer::Exchange;

/// Longest answer shown.
const SHOWN_AT_MOST: usize = 2000;

/// Knows what must not be shown.
#[derive(Debug)]
pub struct Redactor {
    /// Finds the markers, with what each is shown as. Hundreds of them, and every answer is looked through.
    markers: Option<(AhoCorasick, Vec<String>)>,
    secret_fields: Option<Regex>,
    tokens: Option<Regex>,
}

impl Redactor {
    /// Takes name → marker.
    pub fn new(markers: &BTreeMap<String, String>) -> Self {
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(markers.values());
        let names = markers.keys().map(|name| format!("<canary {name}>")).collect();
        Self {
            markers: finder.ok().map(|finder| (finder, names)),
            secret_fields: Regex::new(r#"("(?:SecretAccessKey|Token)"\s*:\s*)"[^"]*""#).ok(),
            // Session tokens, and IMDSv2 tokens in requests and answers.
            tokens: Regex::new(r"(?:IQoJ|FwoG)[A-Za-z0-9+/=_-]{40,}|\b[A-Za-z0-9_-]{54}==|AQAEA[A-Za-z0-9_=-]{40,}")
                .ok(),
        }
    }

    /// The text without secrets, control characters escaped, cut to a length a person reads.
    pub fn text(&self, text: &str) -> String {
        let mut shown = text.to_owned();
        if let Some(fields) = &self.secret_fields {
            shown = fields.replace_all(&shown, "$1\"**redacted**\"").into_owned();
        }
        if let Some(tokens) = &self.tokens {
            shown = tokens.replace_all(&shown, "**redacted**").into_owned();
        }
        // Who cannot find markers must not show what may hold one.
        let Some((finder, names)) = &self.markers else {
            return "**redacted**".to_owned();
        };
        shown = finder.replace_all(&shown, names);
        let mut lines: String = shown
            .replace("\r\n", "\n")
            .chars()
            .flat_map(|character| match character {
                '\n' | '\t' => vec![character],
                control if control.is_control() => control.escape_default().collect(),
                other => vec![other],
            })
            .take(SHOWN_AT_MOST + 1)
            .collect();
        if lines.chars().count() > SHOWN_AT_MOST {
            lines.pop();
            lines.push('…');
        }
        lines
    }

    /// An exchange as people may see it.
    pub fn exchange(&self, exchange: &Exchange) -> Shown {
        Shown {
            request: self.text(&exchange.request),
            connect: exchange.connect.clone(),
            answer: self.text(&String::from_utf8_lossy(&exchange.received)),
            end: exchange.end.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn redactor() -> Redactor {
        Redactor::new(&BTreeMap::from([(
            "host-role".to_owned(),
            "QWERTYUIOPASDFG2".to_owned(),
        )]))
    }

    #[test]
    fn secrets_become_names() {
        let answer = "HTTP/1.1 200 OK\r\n\r\n{\n  \"SecretAccessKey\" : \"QWERTYUIOPASDFG2abc\",\n  \"Token\" : \"x\"\n}\u{1b}[31m QWERTYUIOPASDFG2";
        insta::assert_snapshot!(redactor().text(answer), @r#"
        HTTP/1.1 200 OK

        {
          "SecretAccessKey" : "**redacted**",
          "Token" : "**redacted**"
        }\u{1b}[31m <canary host-role>
        "#);
    }

    proptest! {
        #[test]
        fn a_marker_never_stays(before in ".{0,30}", after in ".{0,30}") {
            let shown = redactor().text(&format!("{before}QWERTYUIOPASDFG2{after}"));
            prop_assert!(!shown.contains("QWERTYUIOPASDFG2"));
        }
    }
}
