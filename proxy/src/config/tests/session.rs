//! What a rule may say of its sessions.

use super::{faults, read};
use crate::fixture::{HEADER, RULE};

#[test]
fn a_rule_narrows_its_sessions() {
    let session = "session_policy = '{\"Statement\":[]}'\npolicy_arns = [\"arn:aws:iam::aws:policy/ReadOnlyAccess\"]\nduration_seconds = 1800\n";
    let config = read(&format!("{HEADER}{RULE}{session}")).unwrap();
    let session = &config.rules[0].session;
    assert_eq!(session.policy.as_ref().unwrap().as_str(), "{\"Statement\":[]}");
    assert_eq!(session.policy_arns.len(), 1);
    assert_eq!(session.duration_seconds, Some(1800));
    assert_eq!(config.warnings(), Vec::<String>::new());
    for (seconds, warnings) in [(900, 1), (1799, 1), (3600, 0), (43_200, 1)] {
        let text = format!("{HEADER}credentials = \"environment\"\n{RULE}duration_seconds = {seconds}\n");
        let config = read(&text).unwrap();
        assert_eq!(config.warnings().len(), warnings, "{seconds}");
    }
}

#[test]
fn what_sts_would_refuse_of_a_session_is_told_with_line_and_remedy() {
    let long = "x".repeat(2000);
    let arns: Vec<String> = (0..11).map(|n| format!("\"arn:aws:iam::aws:policy/p{n}\"")).collect();
    let rule = |project: &str| {
        RULE.replace("name = \"deploy\"", &format!("name = \"p{project}\""))
            .replace("project = 20", &format!("project = {project}"))
    };
    let (second, third) = (rule("21"), rule("22"));
    let text = format!(
        "{HEADER}{RULE}session_policy = 'allow all'\nduration_seconds = 899\npolicy_arns = [\"ReadOnlyAccess\", \"arn:aws:iam::999999999999:policy/x\"]\n\
         {second}session_policy = '{{\"Statement\":[],\"Id\":\"{long}\"}}'\npolicy_arns = [{}]\nduration_seconds = \"1h\"\n\
         {third}session_policy = '{{\"Statement\":[\"{long}{long}\"]}}'\n",
        arns.join(", ")
    );
    insta::assert_snapshot!(faults(&text), @r###"
        metadata-proxy.toml:15: rule[0].session_policy: "allow all": not JSON: expected value at line 1 column 1
          remedy: write a policy document as one JSON text; it only takes rights away from the role
        metadata-proxy.toml:16: rule[0].duration_seconds: 899 is out of bounds
          remedy: write a number from 900 to 43200
        metadata-proxy.toml:17: rule[0].policy_arns: "ReadOnlyAccess": a managed policy is arn:PARTITION:iam::ACCOUNT:policy/NAME, with aws as the account of AWS's own
          remedy: write the ARN of a managed policy of aws.account, or of AWS: arn:aws:iam::aws:policy/ReadOnlyAccess
        metadata-proxy.toml:17: rule[0].policy_arns: "arn:aws:iam::999999999999:policy/x": the ARN is of an account that is neither aws.account nor one of aws.accounts
          remedy: write the ARN of a managed policy of aws.account, or of AWS: arn:aws:iam::aws:policy/ReadOnlyAccess
        metadata-proxy.toml:26: rule[1].session_policy: 2311 characters together with policy_arns, and STS takes 2048
          remedy: shorten the policy; white space counts too
        metadata-proxy.toml:27: rule[1].policy_arns: more than 10 managed policies
          remedy: merge some of them into one policy; STS takes no more
        metadata-proxy.toml:28: rule[1].duration_seconds: expected a number, found string
          remedy: write a number
        metadata-proxy.toml:37: rule[2].session_policy: "{\"Statement\":[\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"…: 4018 characters, and STS takes 2048
          remedy: write a policy document as one JSON text; it only takes rights away from the role
        "###);
}

#[test]
fn what_sts_would_refuse_to_be_told_is_told_with_line_and_remedy() {
    let tags: Vec<String> = (0..51).map(|n| format!("t{n} = \"x\"")).collect();
    let second = RULE
        .replace("name = \"deploy\"", "name = \"two\"")
        .replace("project = 20", "project = 21");
    let text = format!(
        "{HEADER}{RULE}session_name = \"{{project}}{{job}}\"\nsource_identity = \"a/{{user}}\"\ntransitive = [\"Project\", \"aws:x\"]\n\
         [rule.tags]\nproject = \"{{project}}\"\nPROJECT = \"{{job}}\"\n\"aws:job\" = \"{{job}}\"\nref = \"#{{ref}}\"\nkind = 1\n\
         {second}tags = {{ {} }}\n",
        tags.join(", ")
    );
    insta::assert_snapshot!(faults(&text), @r###"
    metadata-proxy.toml:15: rule[0].session_name: "{project}{job}": nothing tells where {project} ends and {job} begins; put one of + , @ between them
      remedy: write a text with fields, such as {project}-{job}-{runner}
    metadata-proxy.toml:16: rule[0].source_identity: "a/{user}": there is no {user}; there are {gitlab}, {runner}, {system_id}, {project}, {pipeline}, {job}, {ref}, {kind}, {container} and {rule}
      remedy: write a text with fields, such as {project}-{job}-{runner}
    metadata-proxy.toml:17: rule[0].transitive: "aws:x": names that begin with aws: are those of AWS
      remedy: write names of the rule's tags
    metadata-proxy.toml:17: rule[0].transitive: "Project" is no tag of this rule
      remedy: write it among `tags` too, or leave it out
    metadata-proxy.toml:19: rule[0].tags.project: differs from another tag in upper and lower case alone, and STS takes that for the same
      remedy: give each tag a name of its own
    metadata-proxy.toml:21: rule[0].tags.aws:job: names that begin with aws: are those of AWS
      remedy: name the tag in 1 to 128 letters, digits, spaces and _.:/=+-@, not beginning with aws:
    metadata-proxy.toml:22: rule[0].tags.ref: "#{ref}": '#' cannot stand here
      remedy: write a text with fields, such as {project}-{job}-{runner}
    metadata-proxy.toml:23: rule[0].tags.kind: expected a text, found integer
      remedy: write a text
    metadata-proxy.toml:32: rule[1].tags.t9: more than 50 tags
      remedy: leave some of them out; STS takes no more
    "###);
}

#[test]
fn sessions_that_name_nobody_are_unwise() {
    let warnings = |text: &str| read(&format!("{HEADER}{RULE}{text}\n")).unwrap().warnings();
    assert_eq!(
        warnings("session_name = \"{project}-{job}\"\ntags = { ref = \"{ref}\" }"),
        Vec::<String>::new()
    );
    insta::assert_snapshot!(warnings("session_name = \"{rule}\"\ntags = { p = \"{pipeline}\" }").join("\n"), @r###"
    rule "deploy" has a session_name without {job}: jobs share sessions, and CloudTrail cannot tell whose a call was
    rule "deploy" tells STS of {pipeline} in tags or source_identity: before GitLab Runner 19.0 that is what the job's author says (CI_PIPELINE_ID), so that nothing may be allowed by it
    "###);
}

#[test]
fn one_container_gets_one_session_of_a_role() {
    let other = RULE.replace("name = \"deploy\"", "name = \"other\"");
    insta::assert_snapshot!(faults(&format!("{HEADER}{RULE}{other}duration_seconds = 1800\n")), @r###"
        metadata-proxy.toml:16: rule[1]: one container can match this rule and rule[0] ("deploy"), which give it different sessions of the same roles
          remedy: narrow one of them by project, kind, ref, image or system_id, or give them the same external id, policies, duration, session name, tags, source identity and require_token
        "###);
}
