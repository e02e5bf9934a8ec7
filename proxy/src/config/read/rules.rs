//! The `[[rule]]`s: what they may hold, and which of them contradict each other.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::super::fault::Source;
use super::super::gitlab;
use super::super::table::{Fields, Found};
use super::super::{
    CHAINED_SESSION_SECONDS, ExternalId, Field, Gitlab, Home, Host, Identity, Image, Imds, Jobs, Kind, Marker,
    POLICY_ARNS_MAX, PolicyArn, RefPattern, Role, Rule, Runner, SESSION_POLICIES_MAX, Session, SessionPolicy, Style,
    Subject, SystemId, TAGS_MAX, TagKey, Template,
};
use super::{CHAINED, CHAINED_REMEDY, read_paths};

pub(super) fn read(
    source: &Source<'_>,
    tables: Vec<Fields<'_, '_>>,
    home: Option<&Home>,
    imds: &Imds,
    is_chained: bool,
    servers: Option<&[Gitlab]>,
) -> Vec<Rule> {
    let mut rules: Vec<(Rule, Range<usize>, String)> = Vec::new();
    for fields in tables {
        let (at, path) = (fields.place(), fields.path().to_owned());
        let Some(rule) = home.and_then(|home| read_rule(source, fields, home, imds, servers)) else {
            continue;
        };
        if is_chained && rule.session.duration_seconds > Some(CHAINED_SESSION_SECONDS) {
            source.fault(at.clone(), format!("{path}.duration_seconds"), CHAINED, CHAINED_REMEDY);
        }
        for (earlier, _, earlier_path) in &rules {
            if earlier.name == rule.name {
                let problem = format!("{earlier_path} is called {:?} too", rule.name);
                source.fault(
                    at.clone(),
                    format!("{path}.name"),
                    problem,
                    "give each rule a name of its own",
                );
            }
            if rule.overlaps(earlier) && !rule.has_outcome_of(earlier) {
                let (what, merge) = if !rule.has_roles_of(earlier) {
                    ("different roles", "merge them into one rule with `selectable`")
                } else if rule.paths != earlier.paths {
                    ("different paths of the instance", "give them the same paths")
                } else if rule.verify != earlier.verify {
                    (
                        "the same roles after different questions to GitLab",
                        "give them the same verify, protected and ref_type",
                    )
                } else {
                    (
                        "different sessions of the same roles",
                        "give them the same external id, policies, duration, session name, tags, source identity and require_token",
                    )
                };
                let problem = format!(
                    "one container can match this rule and {earlier_path} ({:?}), which give it {what}",
                    earlier.name
                );
                let remedy = format!("narrow one of them by project, kind, ref, image or system_id, or {merge}");
                source.fault(at.clone(), path.clone(), problem, remedy);
            }
        }
        rules.push((rule, at, path));
    }
    rules.into_iter().map(|(rule, _, _)| rule).collect()
}

fn read_rule(
    source: &Source<'_>,
    mut fields: Fields<'_, '_>,
    home: &Home,
    imds: &Imds,
    servers: Option<&[Gitlab]>,
) -> Option<Rule> {
    let role_remedy = "write a name or /path/name of aws.account, or the ARN of a role of it or of one of aws.accounts";
    let name = fields.require(
        "name",
        parse_name,
        "give the rule a name of 1 to 64 letters, digits, _, - and .",
    );
    let marked = fields.optional_table("container");
    let is_of_jobs = marked.is_none();
    let subject = match marked {
        Some(marked) => read_marker(marked).map(Subject::Marked),
        None => read_jobs(&mut fields).map(Subject::Jobs),
    };
    // Who is of no job is known to no GitLab: the fields are unknown there.
    let jobs = subject.as_ref().and_then(Subject::jobs);
    let verify = is_of_jobs
        .then(|| gitlab::read_verification(&mut fields, servers, jobs))
        .flatten();
    let images = fields.parse_all(
        "image",
        Image::parse,
        "write the image's id or digest; a name proves nothing",
    );
    let role_is_stated = fields.is_present("role") || fields.is_present("selectable");
    let parse_role = |text: &str| Role::parse(text, home);
    let role = fields.parse("role", parse_role, role_remedy).map(|found| found.value);
    let selectable = fields.parse_all("selectable", parse_role, role_remedy);
    let external_id = fields.parse(
        "external_id",
        ExternalId::parse,
        "write what the role's trust policy asks for",
    );
    let roles: Vec<&Role> = role.iter().chain(selectable.iter().map(|found| &found.value)).collect();
    let session = read_session(&mut fields, home, &roles);
    let paths = read_paths(&mut fields);
    let identity = read_identity(&mut fields, name.as_deref().unwrap_or_default(), is_of_jobs);
    let require_token = fields.flag("require_token", imds.require_token);
    if !role_is_stated {
        fields.missing("role", "name at least one of role and selectable");
    }
    for found in &selectable {
        if Some(&found.value) == role.as_ref() {
            let remedy = "remove it; `role` can always be selected";
            source.fault(
                found.at.clone(),
                found.field.clone(),
                format!("{} is the rule's role already", found.value),
                remedy,
            );
        }
    }
    fields.close();
    Some(Rule {
        name: name?,
        subject: subject?,
        images: images.into_iter().map(|found| found.value).collect(),
        role,
        selectable: selectable.into_iter().map(|found| found.value).collect(),
        external_id: external_id.map(|found| found.value),
        session,
        identity,
        paths,
        require_token,
        verify,
    })
}

/// Jobs: the runner and its server, and what narrows them.
fn read_jobs(fields: &mut Fields<'_, '_>) -> Option<Jobs> {
    let runner = fields.require(
        "runner",
        Runner::parse,
        "write the runner's short token, as its jobs' logs show it",
    );
    let system_ids = fields.parse_all(
        "system_id",
        SystemId::parse,
        "write what .runner_system_id on the runner's machine holds, such as s_0123456789ab",
    );
    let gitlab = fields.require(
        "gitlab",
        Host::parse,
        "write the GitLab server's host as job URLs show it",
    );
    if !fields.is_present("project") {
        fields.missing(
            "project",
            "write the project's id, or a list of ids; a ref alone never grants",
        );
    }
    let projects = fields.numbers("project");
    let kinds_are_stated = fields.is_present("kind");
    let kinds = fields.parse_all(
        "kind",
        |text| Kind::parse(text).ok_or("not a kind of container"),
        "write build, predefined, service, wait or cache-init",
    );
    let refs = fields.parse_all(
        "ref",
        RefPattern::parse,
        "write the ref as the label job.ref has it, such as main, or a pattern such as release/* or refs/merge-requests/*/head",
    );
    let mut kinds: BTreeSet<Kind> = kinds.into_iter().map(|found| found.value).collect();
    if !kinds_are_stated {
        kinds.insert(Kind::Build);
    }
    Some(Jobs {
        runner: runner?,
        system_ids: system_ids.into_iter().map(|found| found.value).collect(),
        gitlab: gitlab?,
        projects: projects.into_iter().collect(),
        kinds,
        refs: refs.into_iter().map(|found| found.value).collect(),
    })
}

/// Containers of the operator. Their names are no help: a container can be renamed, and its name given to another, while it runs (rule A11).
fn read_marker(mut fields: Fields<'_, '_>) -> Option<Marker> {
    let remedy = "write KEY=VALUE, and start the container with that label (docker run --label KEY=VALUE)";
    if fields.is_present("name") {
        let renamed =
            |_: &str| Err::<(), _>("a container can be renamed while it runs, so that its name proves nothing");
        let _no_name = fields.parse(
            "name",
            renamed,
            "give the container a label, and write label = \"KEY=VALUE\"",
        );
    }
    let marker = fields.require("label", Marker::parse, remedy);
    fields.close();
    marker
}

/// What narrows a rule's sessions. STS counts the inline policy and the managed ones' ARNs together.
fn read_session(fields: &mut Fields<'_, '_>, home: &Home, roles: &[&Role]) -> Session {
    let policy = fields.parse(
        "session_policy",
        SessionPolicy::parse,
        "write a policy document as one JSON text; it only takes rights away from the role",
    );
    let policy_arns = fields.parse_all(
        "policy_arns",
        |text| PolicyArn::parse(text, home),
        "write the ARN of a managed policy of aws.account, or of AWS: arn:aws:iam::aws:policy/ReadOnlyAccess",
    );
    if let Some(found) = policy_arns.get(POLICY_ARNS_MAX) {
        let problem = format!("more than {POLICY_ARNS_MAX} managed policies");
        fields.fault(found, &problem, "merge some of them into one policy; STS takes no more");
    }
    for found in &policy_arns {
        let account = found.value.account();
        let foreign = roles
            .iter()
            .find(|role| account.is_some_and(|account| account != role.account()));
        if let Some(role) = foreign {
            let problem = format!("is of another account than {role}, and STS takes none but those of the role's own");
            fields.fault(found, &problem, "give roles of different accounts rules of their own");
        }
    }
    let has_duration = fields.is_present("duration_seconds");
    let seconds = fields.number("duration_seconds", 900..43_201, 3600);
    let place = policy.as_ref().map(|found| (found.at.clone(), found.field.clone()));
    let session = Session {
        policy: policy.map(|found| found.value),
        policy_arns: policy_arns.into_iter().map(|found| found.value).collect(),
        duration_seconds: u32::try_from(seconds).ok().filter(|_| has_duration),
    };
    if let (Some((at, field)), true) = (place, session.length() > SESSION_POLICIES_MAX) {
        let problem = format!(
            "{} characters together with policy_arns, and STS takes {SESSION_POLICIES_MAX}",
            session.length()
        );
        let found = Found { value: (), at, field };
        fields.fault(&found, &problem, "shorten the policy; white space counts too");
    }
    session
}

/// What STS is told of who a rule's sessions are for.
fn read_identity(fields: &mut Fields<'_, '_>, rule: &str, is_of_jobs: bool) -> Identity {
    let (known, usual, example) = if is_of_jobs {
        (Field::ALL.as_slice(), Template::default(), "{project}-{job}-{runner}")
    } else {
        (
            [Field::Container].as_slice(),
            Template::of_container(rule),
            "{rule}-{container}",
        )
    };
    let remedy = format!("write a text with fields, such as {example}");
    let template = |style| move |text: &str| Template::parse(text, style, known, rule);
    let name = fields.parse("session_name", template(Style::Name), &remedy);
    let tags = fields.entries(
        "tags",
        TagKey::parse,
        "name the tag in 1 to 128 letters, digits, spaces and _.:/=+-@, not beginning with aws:",
        template(Style::Tag),
        &remedy,
    );
    if let Some((found, _)) = tags.get(TAGS_MAX) {
        let problem = format!("more than {TAGS_MAX} tags");
        fields.fault(found, &problem, "leave some of them out; STS takes no more");
    }
    let mut of_keys: BTreeMap<TagKey, Template> = BTreeMap::new();
    for (found, template) in tags {
        let key = &found.value;
        if of_keys.keys().any(|earlier| earlier.is_same(key)) {
            let problem = "differs from another tag in upper and lower case alone, and STS takes that for the same";
            fields.fault(&found, problem, "give each tag a name of its own");
        }
        of_keys.insert(found.value, template);
    }
    let transitive = fields.parse_all("transitive", TagKey::parse, "write names of the rule's tags");
    for found in &transitive {
        if !of_keys.contains_key(&found.value) {
            let problem = format!("{:?} is no tag of this rule", found.value.as_str());
            fields.fault(found, &problem, "write it among `tags` too, or leave it out");
        }
    }
    let source_identity = fields.parse("source_identity", template(Style::Name), &remedy);
    Identity {
        name: name.map_or(usual, |found| found.value),
        tags: of_keys,
        transitive: transitive.into_iter().map(|found| found.value).collect(),
        source_identity: source_identity.map(|found| found.value),
    }
}

fn parse_name(text: &str) -> Result<String, &'static str> {
    let good = (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'));
    if good { Ok(text.to_owned()) } else { Err("not a name") }
}
