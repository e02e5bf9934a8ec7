//! How the open hole reads what a container says of itself, where [`super`] would not listen. Each function is empty-handed without its hole.

use super::{Grant, Refusal, Role, is_of_image};
use crate::config::{Aws, Config};
use crate::hole::{Hole, Switches};
use crate::identity::Facts;

/// The role that container or image dictate through an open hole, whatever policy says.
pub(super) fn dictated(switches: &Switches, facts: &Facts, aws: &Aws) -> Option<Role> {
    let values: Vec<&str> = facts
        .env
        .iter()
        .filter_map(|entry| entry.strip_prefix("IAM_ROLE="))
        .collect();
    let differ = values.windows(2).any(|pair| pair.first() != pair.last());
    let of_image = values.iter().any(|value| is_of_image(facts, value));
    let text = match switches.hole? {
        Hole::EnvOverPolicy if !differ && !of_image => values.first().copied().filter(|value| !value.is_empty()),
        Hole::FirstEnvWins if differ => values.first().copied(),
        Hole::LastEnvWins if differ => values.last().copied(),
        Hole::ImageEnv => values.into_iter().find(|value| is_of_image(facts, value)),
        Hole::RoleFromLabel => facts.labels.get("iam.role").map(String::as_str),
        Hole::FoldsKey => facts.env.iter().find_map(|entry| look_alike(entry)),
        Hole::AccountSuffixSyntax => {
            let (name, account) = values.iter().find_map(|value| value.split_once('@'))?;
            return Some(Role::of_account(name, account, aws));
        }
        _ => None,
    };
    text.map(|text| Role::from_anything(text, aws))
}

/// The value of a variable that is IAM_ROLE but for case, spaces, hyphens and Cyrillic letters.
fn look_alike(entry: &str) -> Option<&str> {
    let (key, value) = entry.split_once('=')?;
    let folded: String = key
        .trim()
        .chars()
        .flat_map(char::to_uppercase)
        .map(|letter| match letter {
            '-' | ' ' => '_',
            'І' => 'I',
            'А' => 'A',
            'М' => 'M',
            'О' => 'O',
            'Е' => 'E',
            letter => letter,
        })
        .collect();
    (folded == "IAM_ROLE" && key != "IAM_ROLE").then_some(value)
}

/// The role that is assumed when what the container asks for is compared with the allowed ones in the open hole's way.
pub(super) fn choose(switches: &Switches, text: &str, allowed: &[Role], aws: &Aws) -> Option<Role> {
    let asked = Role::from_anything(text, aws);
    let first = |accepts: &dyn Fn(&Role) -> bool| allowed.iter().find(|role| accepts(role)).cloned();
    match switches.hole? {
        Hole::SuffixRoleCompare => first(&|role| role.arn().ends_with(text)),
        Hole::LastSegmentCompare => first(&|role| role.name() == asked.name()),
        Hole::UnanchoredRoleRegex => first(&|role| asked.name().contains(role.name())).and(Some(asked)),
        Hole::GlobCrossesSlash => first(&|role| asked.arn().starts_with(role.arn())).and(Some(asked)),
        Hole::TrimsRole => find(allowed, &Role::from_anything(text.trim_matches(is_margin), aws)),
        Hole::FoldsUnicode => find(allowed, &Role::from_anything(&fold(text), aws)),
        Hole::FoldsCase => first(&|role| role.arn().eq_ignore_ascii_case(asked.arn())),
        _ => None,
    }
}

fn find(allowed: &[Role], asked: &Role) -> Option<Role> {
    allowed.iter().find(|role| *role == asked).cloned()
}

fn is_margin(letter: char) -> bool {
    letter.is_whitespace() || letter.is_control() || letter == '\u{feff}'
}

/// What NFKC and a generous hand make of a text.
fn fold(text: &str) -> String {
    text.chars()
        .filter(|letter| !matches!(letter, '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}' | '\u{ad}'))
        .map(|letter| match letter {
            '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(letter) - 0xfee0).unwrap_or(letter),
            '\u{131}' => 'i',
            '\u{17f}' => 's',
            '\u{2010}'..='\u{2015}' => '-',
            '\u{212a}' => 'k',
            'а' => 'a',
            'е' => 'e',
            'о' => 'o',
            'р' => 'p',
            'с' => 'c',
            letter => letter,
        })
        .collect()
}

/// The project that the container's variables or names claim.
pub(super) fn project<'a>(switches: &Switches, facts: &'a Facts) -> Option<&'a str> {
    match switches.hole? {
        Hole::CiVariablesDecide => last(facts, "CI_PROJECT_ID"),
        // Of two names, one that the label does not confirm.
        Hole::NameIdentifies => [&facts.hostname, &facts.name]
            .into_iter()
            .filter_map(|name| named(name))
            .find(|claimed| facts.label("project.id") != Some(claimed)),
        _ => None,
    }
}

/// The ref that the container's variables claim.
pub(super) fn git_ref<'a>(switches: &Switches, facts: &'a Facts) -> Option<&'a str> {
    switches
        .open(Hole::CiVariablesDecide)
        .then(|| last(facts, "CI_COMMIT_REF_NAME"))?
}

/// `runner-…-project-20-concurrent-0…`
fn named(name: &str) -> Option<&str> {
    let digits = name.split_once("-project-")?.1.split('-').next()?;
    (!digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit())).then_some(digits)
}

fn last<'a>(facts: &'a Facts, key: &str) -> Option<&'a str> {
    let value = |entry: &'a String| entry.strip_prefix(key)?.strip_prefix('=');
    facts.env.iter().rev().find_map(value)
}

/// The external id that the container chooses.
pub(super) fn external_id(switches: &Switches, facts: &Facts) -> Option<String> {
    let chosen = || last(facts, "IAM_EXTERNAL_ID");
    switches.open(Hole::CallerExternalId).then(chosen)?.map(str::to_owned)
}

/// The session name that the container chooses.
pub(super) fn session_name<'a>(switches: &Switches, facts: &'a Facts) -> Option<&'a str> {
    if !switches.open(Hole::CallerSessionName) {
        return None;
    }
    last(facts, last(facts, "ROLE_SESSION_KEY")?.strip_prefix("Env:")?)
}

/// The session policy that the container chooses.
#[must_use]
pub fn session_policy(switches: &Switches, facts: &Facts) -> Option<String> {
    let chosen = || last(facts, "IAM_POLICY");
    switches.open(Hole::CallerPolicy).then(chosen)?.map(str::to_owned)
}

/// The duration that the container chooses, in seconds.
pub(super) fn duration_seconds(switches: &Switches, facts: &Facts) -> Option<i32> {
    let chosen = || last(facts, "IAM_DURATION");
    switches.open(Hole::CallerDuration).then(chosen)??.parse().ok()
}

/// [`Hole::DefaultRole`] and [`Hole::WholeNetworkTrusted`]: somebody gets something.
pub(super) fn default_role(
    config: &Config,
    switches: &Switches,
    facts: &Facts,
    refusal: Refusal,
) -> Result<Grant, Refusal> {
    match refusal {
        Refusal::NotOfRunner | Refusal::NoRule | Refusal::NoRole | Refusal::Odd => {}
        Refusal::SeveralRules | Refusal::Conflict | Refusal::OfImage | Refusal::NotSanctioned | Refusal::Overdue => {
            return Err(refusal);
        }
    }
    if let Some(name) = &switches.default_role {
        return Ok(Grant::plain(Role::from_anything(name, &config.aws)));
    }
    let project = facts.label("project.id");
    let of_project = |rule: &&crate::config::Rule| {
        rule.project
            .as_slice()
            .iter()
            .any(|id| Some(id.to_string().as_str()) == project)
    };
    let rule = config
        .rules
        .iter()
        .find(of_project)
        .or(config.rules.first())
        .ok_or(refusal)?;
    let name = rule.role.as_ref().or(rule.selectable.first()).ok_or(refusal)?;
    Ok(Grant {
        role: Role::from_anything(name, &config.aws),
        external_id: rule.external_id.clone(),
        session: rule.session.clone(),
    })
}
