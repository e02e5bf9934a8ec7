//! Names in rules, labels and `IAM_ROLE`, and what a container's author can select.

use metadata_proxy::config::{
    Account, ExternalId, Field, Home, Host, Image, Marker, Partition, Ref, RefPattern, Region, Role, Runner, Style,
    SystemId, Template, parse_number,
};
use metadata_proxy::policy::{Decision, Grant, Target, decide};

use crate::world::{CONFIG, GRANT, POLICY, facts};

/// Each spelling that selects something, and the role that it selects.
const SPELLINGS: [(&str, &str); 7] = [
    ("deploy", "arn:aws:iam::123456789012:role/deploy"),
    ("/deploy", "arn:aws:iam::123456789012:role/deploy"),
    (
        "arn:aws:iam::123456789012:role/deploy",
        "arn:aws:iam::123456789012:role/deploy",
    ),
    ("/team/deploy", "arn:aws:iam::123456789012:role/team/deploy"),
    (
        "arn:aws:iam::123456789012:role/team/deploy",
        "arn:aws:iam::123456789012:role/team/deploy",
    ),
    (
        "arn:aws:iam::222222222222:role/deploy",
        "arn:aws:iam::222222222222:role/deploy",
    ),
    // Nothing selected.
    ("", "arn:aws:iam::123456789012:role/deploy"),
];

/// The whole text as a name of every sort; and its lines as a container's environment, those behind `image:` as its image's.
pub(crate) fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    check_role(text, &CONFIG.aws.home);
    check_names(text);
    check_refs(text);
    check_templates(text);
    check_selection(text);
}

/// A role that is read is one of three spellings of itself.
fn check_role(text: &str, home: &Home) {
    let Ok(role) = Role::parse(text, home) else { return };
    assert_eq!(Role::parse(role.arn(), home), Ok(role.clone()));
    let rest = role.arn().strip_prefix("arn:aws:iam::").unwrap();
    let (account, path) = rest.split_once(":role").unwrap();
    assert_eq!(account, role.account());
    let is_own = account == "123456789012";
    assert!(is_own || account == "222222222222");
    let is_path = is_own && text == path;
    let is_name = is_own && path.strip_prefix('/') == Some(text) && !text.contains('/');
    assert!(text == role.arn() || is_path || is_name, "{text:?} is {role}");
    let is_good = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@-/".contains(&b);
    assert!(path.bytes().all(is_good) && !path.contains("//"));
    assert!((1..=64).contains(&role.name().len()) && path.ends_with(&format!("/{}", role.name())));
    assert!(!path.split('/').any(|segment| [".", ".."].contains(&segment)));
}

/// A name that is read is the text, and holds nothing that a log, a header or a file of rules would read as something else.
fn check_names(text: &str) {
    let ascii = [
        Account::parse(text).map(|name| name.to_string()),
        Region::parse(text).map(|name| name.to_string()),
        Partition::parse(text).map(|name| name.to_string()),
        Runner::parse(text).map(|name| name.to_string()),
        SystemId::parse(text).map(|name| name.to_string()),
        Host::parse(text).map(|name| name.to_string()),
        Image::parse(text).map(|name| name.to_string()),
        ExternalId::parse(text).map(|name| name.to_string()),
        parse_number(text).map(|number| number.to_string()),
    ];
    for name in ascii.into_iter().flatten() {
        assert_eq!(name, text);
        assert!(!name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && !b"\"'`$\\<>".contains(&b)));
    }
    if let Ok(marker) = Marker::parse(text) {
        assert_eq!(marker.to_string(), text);
        assert!(!marker.key().starts_with("com.gitlab.gitlab-runner."));
        assert!(text.bytes().all(|b| (0x20..0x7f).contains(&b)));
    }
    if let Ok(Target::Container(id)) = Target::container(text) {
        assert!(id == text && (12..=64).contains(&id.len()));
    }
}

fn check_refs(text: &str) {
    let Ok(name) = Ref::parse(text) else {
        assert!(RefPattern::parse(text).is_err());
        return;
    };
    assert!(name.as_str() == text && !text.contains([' ', '\n', '\r', '\0']));
    let Ok(pattern) = RefPattern::parse(text) else { return };
    assert!(pattern.meets(&pattern));
    // A pattern covers itself, its asterisks being text too; and who writes none means one ref.
    assert!(pattern.covers(&name));
    let longer = Ref::parse(&format!("{text}x")).unwrap();
    assert!(text.contains('*') || !pattern.covers(&longer));
    // A branch's pattern never reaches merge requests.
    let merge_request = Ref::parse("refs/merge-requests/7/head").unwrap();
    assert!(text.starts_with("refs/") || !pattern.covers(&merge_request));
}

/// Whatever a template is and whatever stands in its place, STS takes the text.
fn check_templates(text: &str) {
    let fill = |field| match field {
        Field::Project | Field::Pipeline | Field::Job => "302".to_owned(),
        _ => text.to_owned(),
    };
    if let Ok(template) = Template::parse(text, Style::Name, &Field::ALL, "deploy") {
        let name = template.fill(fill);
        let is_good = |b: u8| b.is_ascii_alphanumeric() || b"_+=,.@-".contains(&b);
        assert!((2..=64).contains(&name.len()) && name.bytes().all(is_good), "{name:?}");
    }
    if let Ok(template) = Template::parse(text, Style::Tag, &Field::ALL, "deploy") {
        let value = template.fill(fill);
        let is_good = |b: u8| b.is_ascii_alphanumeric() || b"_+=.@-/ ".contains(&b);
        assert!(value.len() <= 256 && value.bytes().all(is_good), "{value:?}");
    }
    let name = Template::default().fill(|_| text.to_owned());
    assert!(name.len() <= 64 && name.is_ascii());
}

/// Whatever the environment holds, the container gets a role of its rule, and the one that every entry plainly names, or nothing.
fn check_selection(text: &str) {
    let mut facts = facts();
    for line in text.split('\n') {
        match line.strip_prefix("image:") {
            Some(of_image) => facts.image_env.push(of_image.to_owned()),
            None => facts.env.push(line.to_owned()),
        }
    }
    let named = |env: &[String]| -> Vec<Option<String>> {
        let of_key = env
            .iter()
            .filter(|entry| *entry == "IAM_ROLE" || entry.starts_with("IAM_ROLE="));
        of_key
            .map(|entry| entry.strip_prefix("IAM_ROLE=").map(str::to_owned))
            .collect()
    };
    let (own, of_image) = (named(&facts.env), named(&facts.image_env));
    let expected = match own.split_first() {
        None => Some(""),
        Some((Some(first), others)) => {
            let is_plain = others.iter().all(|other| other.as_ref() == Some(first))
                && !of_image.contains(&Some(first.clone()))
                && !first.is_empty();
            is_plain.then_some(first.as_str())
        }
        Some((None, _)) => None,
    };
    let expected = expected.and_then(|text| SPELLINGS.into_iter().find(|(spelling, _)| *spelling == text));
    let given = match decide(&POLICY, &facts) {
        Decision::Grant(grant) => Some(*grant),
        Decision::Deny(_) => None,
    };
    // But for the role, nothing that a session is told is for the author to say.
    let expected = expected.map(|(_, arn)| Grant {
        role: Role::parse(arn, &CONFIG.aws.home).unwrap(),
        ..GRANT.clone()
    });
    assert_eq!(given, expected, "{:?}", facts.env);
}
