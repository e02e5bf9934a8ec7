//! What a container got, in the project's own vocabulary, and what a case says it may get. Pure; knows no socket and no file.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What one attempt got.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Verdict {
    /// No TCP answer: dropped, rejected or unreachable.
    Blocked,
    /// Connected, then nothing: a hop limit that ate the answer, or a stopped proxy.
    Silent,
    /// 4xx with the constant body, or closed without an answer byte after a malformed request; nothing asked upstream.
    Deny,
    /// 5xx without a canary.
    Unavailable,
    /// Credentials of this role (the case's own name for it), issued for this very container.
    Role(String),
    /// Status, provenance and fields of the plain request.
    Same,
    /// A marker that is not this container's own was seen.
    Leak(String),
    /// A sanctioned use that this defence cannot serve.
    Unusable,
    /// A control failed, so nothing was learnt.
    Void,
    /// An answer that fits none of the above, told in words.
    Other(String),
}

impl Verdict {
    /// Whether somebody got what nobody sanctioned.
    pub const fn is_leak(&self) -> bool {
        matches!(self, Self::Leak(_))
    }

    /// How far an attempt came; of several answers in one attempt the furthest one is its verdict.
    pub const fn reach(&self) -> u8 {
        match self {
            Self::Void => 0,
            Self::Blocked => 1,
            Self::Silent => 2,
            Self::Unavailable => 3,
            Self::Deny => 4,
            Self::Unusable => 5,
            Self::Other(_) => 6,
            Self::Same => 7,
            Self::Role(_) => 8,
            Self::Leak(_) => 9,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocked => f.write_str("BLOCKED"),
            Self::Silent => f.write_str("SILENT"),
            Self::Deny => f.write_str("DENY"),
            Self::Unavailable => f.write_str("UNAVAILABLE"),
            Self::Role(role) => write!(f, "ROLE({role})"),
            Self::Same => f.write_str("SAME"),
            Self::Leak(any) if any.is_empty() => f.write_str("LEAK"),
            Self::Leak(canary) => write!(f, "LEAK({canary})"),
            Self::Unusable => f.write_str("UNUSABLE"),
            Self::Void => f.write_str("VOID"),
            Self::Other(what) => write!(f, "OTHER({what})"),
        }
    }
}

/// A word that is no verdict.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{word}` is no verdict: write BLOCKED, SILENT, DENY, UNAVAILABLE, ROLE(name), SAME, LEAK, LEAK(canary), UNUSABLE or VOID"
)]
pub struct UnknownVerdict {
    /// What was written.
    pub word: String,
}

impl FromStr for Verdict {
    type Err = UnknownVerdict;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let argument = |prefix: &str| {
            word.strip_prefix(prefix)
                .and_then(|rest| rest.strip_suffix(')'))
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
        };
        match word {
            "BLOCKED" => Ok(Self::Blocked),
            "SILENT" => Ok(Self::Silent),
            "DENY" => Ok(Self::Deny),
            "UNAVAILABLE" => Ok(Self::Unavailable),
            "SAME" => Ok(Self::Same),
            "UNUSABLE" => Ok(Self::Unusable),
            "VOID" => Ok(Self::Void),
            "LEAK" => Ok(Self::Leak(String::new())),
            _ => argument("ROLE(")
                .map(Self::Role)
                .or_else(|| argument("LEAK(").map(Self::Leak))
                .or_else(|| argument("OTHER(").map(Self::Other))
                .ok_or_else(|| UnknownVerdict { word: word.to_owned() }),
        }
    }
}

impl From<Verdict> for String {
    fn from(verdict: Verdict) -> Self {
        verdict.to_string()
    }
}

impl TryFrom<String> for Verdict {
    type Error = UnknownVerdict;

    fn try_from(word: String) -> Result<Self, Self::Error> {
        word.parse()
    }
}

/// The verdicts that a defence may give.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Expected(pub Vec<Verdict>);

impl Expected {
    /// Whether this verdict is one of the set; `LEAK` without a name stands for every leak.
    pub fn allows(&self, verdict: &Verdict) -> bool {
        self.0.iter().any(|allowed| match (allowed, verdict) {
            (Verdict::Leak(any), Verdict::Leak(_)) if any.is_empty() => true,
            _ => allowed == verdict,
        })
    }

    /// Whether the case documents that this defence leaks.
    pub fn documents_leak(&self) -> bool {
        self.0.iter().any(Verdict::is_leak)
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, verdict) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" | ")?;
            }
            write!(f, "{verdict}")?;
        }
        Ok(())
    }
}

/// What a scenario's run says of a defence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Judgement {
    /// Every attempt got what the case allows, none of it a leak.
    Holds,
    /// Somebody got what nobody sanctioned, and the case says that this defence has that hole.
    LeaksAsDocumented,
    /// Somebody got what nobody sanctioned.
    Leaks,
    /// Something else than the case allows: a broken sanctioned use, an undocumented answer, a documented leak that did not happen.
    Unexpected,
    /// A control failed or the lab broke: nothing was learnt.
    Void,
}

impl Judgement {
    /// The word for tables and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::LeaksAsDocumented => "leaks, as documented",
            Self::Leaks => "LEAKS",
            Self::Unexpected => "UNEXPECTED",
            Self::Void => "VOID",
        }
    }

    /// Whether the run fails because of it. With `matrix`, a documented leak is what the case promised.
    pub const fn fails(self, matrix: bool) -> bool {
        match self {
            Self::Holds => false,
            Self::LeaksAsDocumented => !matrix,
            Self::Leaks | Self::Unexpected | Self::Void => true,
        }
    }

    /// Whether a negative control counts it as red: the hole was seen, not merely a broken lab.
    pub const fn is_red(self) -> bool {
        match self {
            Self::Leaks | Self::Unexpected => true,
            Self::Holds | Self::LeaksAsDocumented | Self::Void => false,
        }
    }
}

/// Judges a scenario from its attempts' verdicts. `undocumented` are findings of the run-wide oracles (ledger, capture, logs), which no expectation covers.
pub fn judge(attempts: &[(Verdict, Expected)], undocumented: &[Verdict]) -> Judgement {
    if attempts.is_empty()
        || attempts.iter().any(|(verdict, _)| *verdict == Verdict::Void)
        || undocumented.contains(&Verdict::Void)
    {
        return Judgement::Void;
    }
    let unforeseen_leak = attempts
        .iter()
        .any(|(verdict, expected)| verdict.is_leak() && !expected.allows(verdict));
    if unforeseen_leak || undocumented.iter().any(Verdict::is_leak) {
        return Judgement::Leaks;
    }
    if !undocumented.is_empty() || attempts.iter().any(|(verdict, expected)| !expected.allows(verdict)) {
        return Judgement::Unexpected;
    }
    if attempts.iter().any(|(verdict, _)| verdict.is_leak()) {
        Judgement::LeaksAsDocumented
    } else {
        Judgement::Holds
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn expected(words: &str) -> Expected {
        Expected(words.split_whitespace().map(|word| word.parse().unwrap()).collect())
    }

    fn judged(attempts: &[(&str, &str)], findings: &[&str]) -> Judgement {
        let attempts: Vec<_> = attempts
            .iter()
            .map(|(got, may)| (got.parse().unwrap(), expected(may)))
            .collect();
        let findings: Vec<_> = findings.iter().map(|word| word.parse().unwrap()).collect();
        judge(&attempts, &findings)
    }

    #[test]
    fn a_scenario_without_an_attempt_teaches_nothing() {
        assert_eq!(judged(&[], &[]), Judgement::Void);
    }

    #[test]
    fn a_leak_outweighs_everything_but_a_failed_control() {
        assert_eq!(
            judged(&[("DENY", "DENY"), ("LEAK(host-role)", "DENY")], &[]),
            Judgement::Leaks
        );
        assert_eq!(
            judged(&[("LEAK(host-role)", "LEAK")], &[]),
            Judgement::LeaksAsDocumented
        );
        assert_eq!(judged(&[("LEAK(host-role)", "LEAK(user-data)")], &[]), Judgement::Leaks);
        assert_eq!(
            judged(&[("LEAK(host-role)", "LEAK"), ("VOID", "DENY")], &[]),
            Judgement::Void
        );
        assert_eq!(judged(&[("DENY", "DENY")], &["LEAK(role:x)"]), Judgement::Leaks);
    }

    #[test]
    fn a_documented_leak_that_does_not_happen_is_unexpected() {
        assert_eq!(judged(&[("BLOCKED", "LEAK")], &[]), Judgement::Unexpected);
    }

    #[test]
    fn another_role_than_the_sanctioned_one_is_unexpected() {
        assert_eq!(judged(&[("ROLE(other)", "ROLE(own)")], &[]), Judgement::Unexpected);
        assert_eq!(judged(&[("ROLE(own)", "DENY ROLE(own)")], &[]), Judgement::Holds);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(name in "[a-z][a-z0-9:-]{0,20}") {
            for verdict in [Verdict::Role(name.clone()), Verdict::Leak(name.clone()), Verdict::Other(name.clone()), Verdict::Deny, Verdict::Same] {
                prop_assert_eq!(verdict.to_string().parse::<Verdict>().unwrap(), verdict);
            }
        }

        #[test]
        fn no_word_makes_the_parser_panic(word in ".{0,40}") {
            let _ = word.parse::<Verdict>();
        }
    }
}
