//! Files of an earlier proxy's settings.

use std::sync::LazyLock;

use metadata_proxy::compat::{Entry, Fate, examine, read_entries};
use metadata_proxy::config::{Config, Environment};

/// Both profiles, with and without enforcement.
static CONFIGS: LazyLock<[Config; 3]> = LazyLock::new(|| {
    let observing = "profile = \"lyft\"\nmode = \"observe\"\nobserved_roles = [\"deploy\"]";
    ["profile = \"go-metadataproxy\"", "profile = \"lyft\"", observing].map(|compat| {
        let text = format!("[aws]\naccount = \"123456789012\"\nregion = \"eu-central-1\"\n[compat]\n{compat}\n{RULE}");
        Config::read("test.toml", &text, &Environment::default()).unwrap()
    })
});
const RULE: &str = "[[rule]]\nname = \"deploy\"\nrunner = \"Ab3dEf9_x\"\ngitlab = \"gitlab.example.com\"\nproject = 20\nrole = \"deploy\"\n";

/// Every line is a setting, a fault or nothing; a setting is one to each program that reads such files; and no secret is told.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (entries, broken) = read_entries(text);
    let lines = text.lines().count();
    assert!(entries.len() + broken.len() <= lines.max(1));
    for line in entries
        .iter()
        .map(|entry| entry.line)
        .chain(broken.iter().map(|broken| broken.line))
    {
        assert!((1..=lines.max(1)).contains(&line));
    }
    for entry in &entries {
        let written = text.lines().nth(entry.line - 1).unwrap();
        assert!(written.contains(&format!("{}=", entry.name)) && written.contains(&entry.value));
        assert!(!entry.value.chars().any(char::is_control));
        // Outside quotes no comment, and outside single quotes nothing that is expanded. (JSON stands bare in files for Docker: its quotes stay.)
        let is_quoted = |quote| written.trim_end().ends_with(&format!("{quote}{}{quote}", entry.value));
        assert!(
            is_quoted('\'') || !entry.value.contains(['\\', '$', '`']),
            "{written:?}"
        );
        assert!(
            is_quoted('\'') || is_quoted('"') || !entry.value.contains(" #"),
            "{written:?}"
        );
        let others = entries.iter().filter(|other| other.name == entry.name);
        assert_eq!(others.count(), 1);
    }
    // Written plainly, each says the same.
    let plain = |entry: &Entry| format!("{}='{}'\n", entry.name, entry.value);
    if entries.iter().all(|entry| !entry.value.contains('\'')) {
        let (again, none) = read_entries(&entries.iter().map(plain).collect::<String>());
        assert!(none.is_empty(), "{none:?}");
        let said = |entries: &[Entry]| -> Vec<(String, String)> {
            entries
                .iter()
                .map(|entry| (entry.name.clone(), entry.value.clone()))
                .collect()
        };
        assert_eq!(said(&entries), said(&again));
    }
    for config in CONFIGS.iter() {
        check_examined(text, &entries, config);
    }
}

fn check_examined(text: &str, entries: &[Entry], config: &Config) {
    let compat = config.compat.as_ref().unwrap();
    let examined = examine("settings", text, compat, config);
    let findings = &examined.assessment.findings;
    assert_eq!(findings.len(), entries.len());
    for (finding, entry) in findings.iter().zip(entries) {
        assert!(finding.line == entry.line && finding.name == entry.name && !finding.why.is_empty());
        assert!(!finding.is_fault || finding.fate == Fate::Refused && !finding.remedy.is_empty());
    }
    assert!(examined.faults.is_sorted_by_key(|fault| fault.line));
    let page = examined.assessment.to_string();
    // Nothing that a terminal would obey. A name without a blank may be longer than a line, and stays whole.
    assert!(!page.chars().any(|c| c.is_control() && c != '\n'), "{page:?}");
    // Aliases lead to accounts, and a default role is one of an account that is listed.
    let is_account = |account: &str| account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
    assert!(
        examined
            .adopted
            .accounts
            .values()
            .all(|account| is_account(account.as_str()))
    );
    // With other secrets the page is the same.
    let other: String = entries
        .iter()
        .map(|entry| match entry.name.as_str() {
            "AWS_SECRET_ACCESS_KEY" | "AWS_SESSION_TOKEN" | "NEWRELIC_LICENSE" if !entry.value.is_empty() => {
                format!("{}=another\n", entry.name)
            }
            _ => format!("{}='{}'\n", entry.name, entry.value),
        })
        .collect();
    if entries.iter().all(|entry| !entry.value.contains('\'')) {
        let other = examine("settings", &other, compat, config);
        assert_eq!(other.assessment.to_string(), page);
    }
}
