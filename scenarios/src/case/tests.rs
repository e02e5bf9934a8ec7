use std::fs;
use std::path::{Path, PathBuf};

use insta::assert_snapshot;
use proptest::prelude::*;

use super::load::{load, read};
use super::model::{Action, Case, Defence};
use super::{SWITCHES, schema, shape};

const SMALLEST: &str = r#"
id = "ROLE-99"
name = "smallest"
title = "The smallest case"
doc = "Asks once."
role = [{ name = "own" }]
rule = [{ job = "a", role = "own" }]
job = [{ name = "a" }]
step = [{ in = "a.build", do = "imds", version = 2 }]
hole = { defence = ["none"] }
[expect]
none = ["LEAK(host-role)"]
firewall = ["BLOCKED"]
proxy = ["ROLE(own)"]
"#;

fn cases_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cases")
}

fn faults_of(text: &str) -> String {
    read("case.toml", "role", "ROLE-99-smallest", text).map_or_else(|faults| faults.to_string(), |_| "none".to_owned())
}

fn faults_with(from: &str, to: &str) -> String {
    assert!(SMALLEST.contains(from), "{from}");
    faults_of(&SMALLEST.replacen(from, to, 1))
}

#[test]
fn the_smallest_case_is_read() {
    let case = read("case.toml", "role", "ROLE-99-smallest", SMALLEST).unwrap();
    assert_eq!(case.steps[0].action, Action::Imds);
    assert_eq!(case.expect.len(), Defence::STATED.len());
}

#[test]
fn the_checks_that_sts_can_leave_out_are_those_of_the_fake() {
    use clap::ValueEnum as _;
    let known: Vec<String> = fake_sts::oidc::Check::value_variants()
        .iter()
        .filter_map(|check| Some(check.to_possible_value()?.get_name().to_owned()))
        .collect();
    assert_eq!(known, shape::STS_CHECKS);
}

#[test]
fn faults_of_policies_and_tokens_are_told_with_what_to_do() {
    let about_tokens = r#"
id = "ROLE-99"
name = "smallest"
title = "The smallest case"
doc = "Asks STS."
rule = [{ job = "a", role = "own" }]
job = [{ name = "a", id_tokens = { TOKEN = { aud = ["x"] } } }]
hole = { role = [{ name = "onw", trust = "{}" }, { name = "own" }] }
[[role]]
name = "own"
external_id = "x"
trust = '{ "Statement": [{ "Condition": { "StringEquals": { "a": "${saved.x}" } } }] }'
policy = "no JSON"
[[step]]
in = "lab"
do = "id_token"
of = "b"
save = "odd"
claims = '{ "exp": ${now+300}, "aud": ["${token.a.OTHER}"] }'
header = "[]"
signature = "mine"
[[step]]
in = "a.build"
do = "assume"
role = "${arn.own} ${now+later}"
[[step]]
in = "lab"
do = "lives"
name = "even"
at_most = 300
[[step]]
in = "lab"
do = "issuer"
signal = "kill"
[expect]
oidc = ["DENY"]
"#;
    assert_snapshot!(faults_of(about_tokens), @r#"
    case.toml:8: hole.role[0].name: no role `onw`; known are own
    case.toml:8: hole.role[0].trust: no policy document; write { "Version": "2012-10-17", "Statement": [ … ] }
    case.toml:8: hole.role[1]: changes nothing; add trust or policy
    case.toml:12: role[0].trust: `${saved.x}` is not known before anything runs; policies may name account, issuer, jobs, host, role, arn, path, project, job, runner
    case.toml:12: role[0].trust: says already whom the role trusts; remove untrusting and external_id, and write them into the policy
    case.toml:13: role[0].policy: no JSON: expected ident at line 1 column 2; write a JSON object
    case.toml:17: step[0].of: no job `b`; known are a
    case.toml:19: step[0].claims: `${token.a.OTHER}`: no ID token of the job `OTHER`; known are TOKEN
    case.toml:20: step[0].header: no JSON object; write { … }
    case.toml:21: step[0].signature: unknown word `mine`; known are issuer, kept, nobody, public-key
    case.toml:22: step[1]: who asks is not said, or said twice; add one of token (a web identity token) and with (saved credentials)
    case.toml:25: step[1].role: `${now+later}` names no moment; write ${now}, ${now+300} or ${now-300}: seconds
    case.toml:29: step[2].name: no saved token `even` by then; add `save` to a step before this one, for the same defences
    case.toml:31: step[3]: every scenario on the instance would feel this; add `exclusive = true` to the case
    case.toml:34: step[3].signal: `kill` is not done to that; write one of rotate, withdraw, unavailable, available
    "#);
}

#[test]
fn every_shipped_case_loads() {
    let cases = load(&cases_dir()).unwrap_or_else(|faults| panic!("{faults}"));
    assert!(!cases.is_empty());
}

#[test]
fn every_planted_hole_is_some_scenarios_hole() {
    let cases = load(&cases_dir()).unwrap_or_else(|faults| panic!("{faults}"));
    let unused: Vec<_> = SWITCHES
        .iter()
        .filter(|switch| {
            let opens = |case: &Case| case.hole.weak.iter().any(|weak| weak == *switch);
            !cases.iter().any(opens)
        })
        .collect();
    assert!(unused.is_empty(), "{unused:?}");
}

#[test]
fn every_shipped_excerpt_of_config_toml_is_one_that_the_runner_understands() {
    for case in load(&cases_dir()).unwrap_or_else(|faults| panic!("{faults}")) {
        let text = format!("[[runners]]\n{}", case.runner.config);
        crate::runner::RunnerConfig::parse(&case.id, &text).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn every_fault_of_a_thoroughly_broken_file_is_told_at_once() {
    assert_snapshot!(faults_of(include_str!("broken.toml")), @r#"
    case.toml:1: id: `Role-2` is no catalogue number; write capitals, a hyphen and two digits: ROLE-02
    case.toml:2: name: `Duplicate entries` names no folder; write lower-case words joined by hyphens
    case.toml:3: title: 84 characters; write one line of at most 60
    case.toml:4: doc: empty; tell what is tried, why it works where it works, and what stops it
    case.toml:5: exclusiv: unknown key; did you mean `exclusive`?
    case.toml:6: references: a string where a list, each item a string belongs; write a list, each item a string
    case.toml:11: role[1].name: `own` stands there twice; choose another name
    case.toml:12: role[1].untrusting: a string where true or false belongs; write true or false
    case.toml:15: rule[0].job: no job `b`; known are host, a
    case.toml:16: rule[0].role: no role `onw`; known are own
    case.toml:17: rule[0].selectable[1]: no role `admin`; known are own
    case.toml:18: rule[1]: sanctions nothing; add role or selectable
    case.toml:20: rule[1].kind[0]: unknown word `bild`; did you mean `build`?
    case.toml:23: runner.config: unclosed table, expected `]`; write the keys below one [[runners]], tables as [runners.docker]
    case.toml:28: network[0].name: `My Net` is no short name; write lower-case words joined by hyphens
    case.toml:29: network[0].bridge: `a-name-longer-than-an-interface` names no interface; write at most 15 lower-case letters, digits and hyphens
    case.toml:32: job[0].name: `host` means something else; choose another name
    case.toml:35: job[1].project_of: no other job `a` with a project of its own; known are host
    case.toml:36: job[1].variables[0].value: `${role.admin}`: no role `admin`; known are own
    case.toml:36: job[1].variables[1].value: missing; add it: its value; may be empty
    case.toml:37: job[1].services[0].alias: `build` is another container of the job; choose another alias
    case.toml:40: step[0].in: no place `a.biuld`; did you mean `a.build`?
    case.toml:42: step[0].version: `3` is out of range; write a number from 1 to 2
    case.toml:43: step[0].expect.none[0]: unknown canary `hostrole`; known are host-role, identity-role, user-data, identity-document, tags, public-key, host-iam-info, host-token, host-role-name, role:${role.X}
    case.toml:43: step[0].expect.proxy[0]: no role `admin`; known are own
    case.toml:43: step[0].expect.proxy[1]: `NO` is no verdict; write BLOCKED, SILENT, DENY, UNAVAILABLE, ROLE(name), SAME, LEAK, LEAK(canary), UNUSABLE or VOID
    case.toml:43: step[0].expect.wall: unknown key; known are none, firewall, hop-limit, hop-limit-2, hop-limit-v1, instance-profile, proxy, firewall+proxy, oidc, oidc-only, external
    case.toml:44: step[1].expect.proxy: what proxy may answer is not said; add `proxy = ["…"]` to [expect] or to the step
    case.toml:44: step[1].path: missing: the action needs it; add `path`
    case.toml:45: step[1].in: this is not done in `lab`; name a container of a job, such as `a.build`, or `host` or `upstream`
    case.toml:47: step[1].headers[0]: a list where a list of a name and a value belongs; write a list of a name and a value
    case.toml:48: step[1].signal: the action does not take this; remove it: the action takes path, host, method, token, headers, bind, save
    case.toml:49: step[2].expect.proxy: what proxy may answer is not said; add `proxy = ["…"]` to [expect] or to the step
    case.toml:52: step[2].name: no connection `wire` by then; add an `open` step in the same place before this one, for the same defences
    case.toml:53: step[2].send: `\q` is no escape; write \r, \n, \\ or \xNN, in single quotes
    case.toml:54: step[2].attempt: the action has no verdict; remove it: only a request has a verdict
    case.toml:55: step[3].in: missing; add it: a container such as a.build, a job, host, upstream or lab
    case.toml:55: step[3].match: every scenario's requests would meet this fault; name facts that only this scenario's requests have, or add `exclusive = true` to the case
    case.toml:57: step[3].effect: 2 effects in one table; write exactly one of hold, error, lifetime_seconds, reset, rewrite
    case.toml:61: step[4].name: no hold `y` by then; add a `fault` step with that effect before this one, for the same defences
    case.toml:65: step[5].network: no network `net`; known are My Net
    case.toml:67: step[5].path: `${` without `}`; close the placeholder; a dollar sign alone stands for itself
    case.toml:67: step[5].path: `${saved.token} ${unclosed` is no request target; use `raw` for such bytes
    case.toml:67: step[5].path: `${saved.token}`: no value saved by an earlier step `token`; there is none: add it or remove this
    case.toml:67: step[5].path: the action does not take this; remove it: the action takes network, address
    case.toml:70: expect.none: no verdict; name at least one
    case.toml:71: expect.firewall[0]: nothing can be learnt from VOID; name what the defence answers
    case.toml:74: control.proxy: unknown word `twins`; did you mean `twin`?
    case.toml:77: hole.weak[0]: unknown switch `cache-by-anr`; did you mean `cache-by-arn`?
    case.toml:78: hole.defence[0]: the proxy is what is held against it; name none, firewall, or a switch of weak-proxy
    "#);
}

#[test]
fn text_that_is_no_toml_is_told_with_its_lines() {
    assert_snapshot!(faults_of("id = \nname = \"x\"\ntitle == 3\n"), @r"
    case.toml:1: string values must be quoted, expected literal string; write valid TOML
    case.toml:3: extra `=`, expected nothing; write valid TOML
    case.toml:3: unexpected key or value, expected newline, `#`; write valid TOML
    ");
}

#[test]
fn an_unknown_key_brings_the_nearest_known_one() {
    assert_snapshot!(faults_with("title =", "titel ="), @r"
    case.toml:1: title: missing; add it: one line for tables, at most 60 characters
    case.toml:4: titel: unknown key; did you mean `title`?
    ");
    assert_snapshot!(faults_with("version = 2", "version = 2, adress = \"x\""), @"case.toml:9: step[0].adress: unknown key; did you mean `address`?");
}

#[test]
fn a_step_that_lacks_its_action_brings_no_follow_up_faults() {
    assert_snapshot!(faults_with(r#"do = "imds", version = 2"#, r#"do = "ask", version = 2, signal = "kill""#), @"case.toml:9: step[0].do: unknown word `ask`; known are imds, get, token, raw, sdk, reach, open, send, receive, close, listen, accepted, ip, launch, remove, kill, start, restart, pause, unpause, rename, exec, nest, knock, run, rules, engine, connect, disconnect, proxy, fault, hold, release, expired, rush, began, give, outlast, assume, id_token, lives, environment, issuer, lint");
}

#[test]
fn a_defence_without_expectation_is_a_fault_unless_no_attempt_meets_it() {
    assert_snapshot!(faults_with("firewall = [\"BLOCKED\"]", ""), @r#"case.toml:9: step[0].expect.firewall: what firewall may answer is not said; add `firewall = ["…"]` to [expect] or to the step"#);
    let only = r#"version = 2, only = ["none"] }, { in = "a.build", do = "imds", version = 2, only = ["proxy"]"#;
    assert_snapshot!(faults_with("version = 2", only), @r"
    case.toml:9: step: no attempt against firewall; add one, or widen a step's `only`
    case.toml:10: hole.defence[0]: whatever none answers is allowed to the proxy too; name a switch or a defence that the proxy's expectations do not allow
    ");
}

#[test]
fn placeholders_mean_something_where_they_stand() {
    let path =
        r#"do = "get", path = "/${role.own}/${role.owm}/${each}/${saved.t}/${a.build.ip}/${b.build.ip}/${x/$IAM""#;
    assert_snapshot!(faults_with(r#"do = "imds", version = 2"#, path), @r"
    case.toml:9: step[0].path: `${` without `}`; close the placeholder; a dollar sign alone stands for itself
    case.toml:9: step[0].path: `${b.build.ip}`: no container `b.build`; did you mean `a.build`?
    case.toml:9: step[0].path: `${each}` in a step without `each`; add `each` to the step
    case.toml:9: step[0].path: `${role.owm}`: no role `owm`; did you mean `own`?
    case.toml:9: step[0].path: `${saved.t}`: no value saved by an earlier step `t`; there is none: add it or remove this
    ");
}

#[test]
fn what_a_step_saves_is_there_for_later_steps_only() {
    let later = r#"version = 2, save = "mine" }, { in = "a.build", do = "get", path = "/", token = "${saved.mine}""#;
    assert_eq!(faults_with("version = 2", later), "none");
    let before = r#"version = 2, host = "${saved.mine}", save = "mine""#;
    assert_snapshot!(faults_with("version = 2", before), @"case.toml:9: step[0].host: `${saved.mine}`: no value saved by an earlier step `mine`; there is none: add it or remove this");
}

#[test]
fn a_job_that_is_there_under_some_defences_is_used_under_no_other() {
    let job = r#"job = [{ name = "a" }, { name = "b", only = ["proxy"] }]"#;
    let with = |step: &str| {
        let text = SMALLEST.replace(r#"job = [{ name = "a" }]"#, job);
        faults_of(&text.replace(
            "version = 2 }",
            &format!("version = 2 }}, {{ in = \"b.build\", {step} }}"),
        ))
    };
    assert_eq!(with(r#"do = "token", only = ["proxy"]"#), "none");
    assert_snapshot!(with(r#"do = "token""#), @"case.toml:9: step[1].in: `b` is not there under every defence of the step; write the job's `only` into the step too");
}

#[test]
fn a_connection_that_was_handed_over_is_there_for_its_taker() {
    let steps = |taker: &str| {
        let steps = format!(
            r#"version = 2 }}, {{ in = "a.build", do = "open", name = "w", to = "1.1.1.1:80" }}, {{ in = "a.build", do = "give", name = "w", taker = "{taker}" }}, {{ in = "a.predefined", do = "receive", name = "w""#
        );
        faults_with("version = 2", &steps)
    };
    assert_eq!(steps("a.predefined"), "none");
    assert_snapshot!(steps("a.prefined"), @r"
    case.toml:9: step[2].taker: no container `a.prefined`; did you mean `a.predefined`?
    case.toml:9: step[3].name: no connection `w` by then; add an `open` step in the same place before this one, for the same defences
    ");
}

#[test]
fn what_is_saved_under_one_defence_is_not_there_under_another() {
    let later = r#"version = 2, only = ["proxy"], save = "mine" }, { in = "a.build", do = "get", path = "/", token = "${saved.mine}""#;
    assert_snapshot!(faults_with("version = 2", later), @"case.toml:9: step[1].token: `${saved.mine}`: no value saved by an earlier step `mine`; there is none: add it or remove this");
}

#[test]
fn a_defence_that_cannot_turn_a_scenario_red_is_no_hole() {
    assert_snapshot!(faults_with("proxy = [\"ROLE(own)\"]", "proxy = [\"LEAK\"]"), @"case.toml:10: hole.defence[0]: whatever none answers is allowed to the proxy too; name a switch or a defence that the proxy's expectations do not allow");
}

#[test]
fn what_others_would_feel_needs_an_instance_of_its_own() {
    let broken = r#"version = 2 }, { in = "lab", do = "proxy", signal = "kill" }, { in = "lab", do = "fault", effect = { reset = true }"#;
    assert_snapshot!(faults_with("version = 2", broken), @r"
    case.toml:9: step[1]: every scenario on the instance would feel this; add `exclusive = true` to the case
    case.toml:9: step[2].match: every scenario's requests would meet this fault; name facts that only this scenario's requests have, or add `exclusive = true` to the case
    ");
    assert_eq!(
        faults_of(
            &SMALLEST
                .replacen("version = 2", broken, 1)
                .replacen("name =", "exclusive = true\nname =", 1)
        ),
        "none"
    );
}

#[test]
fn a_reload_leaves_out_only_rules_that_are_there() {
    let faults = |step: &str| {
        let text = SMALLEST.replacen("name =", "exclusive = true\nname =", 1);
        faults_of(&text.replacen(
            "version = 2",
            &format!("version = 2 }}, {{ in = \"lab\", do = \"proxy\", {step}"),
            1,
        ))
    };
    assert_eq!(faults(r#"signal = "reload", without = ["a"]"#), "none");
    assert_snapshot!(faults(r#"signal = "reload", without = ["c"]"#), @"case.toml:10: step[1].without[0]: no rule is for `c`; known are a");
    assert_snapshot!(faults(r#"signal = "stop", without = ["a"]"#), @r#"case.toml:10: step[1].without: only a reload changes the policy; remove it, or write signal = "reload""#);
}

#[test]
fn a_later_job_is_launched_before_anything_happens_in_it() {
    let text = SMALLEST.replacen(r#"name = "a" }"#, r#"name = "a", later = true }"#, 1);
    assert_snapshot!(faults_of(&text), @"case.toml:9: step[0].in: `a` is not launched yet; add a launch step before this one, for the same defences");
    let launched = text.replacen("step = [", r#"step = [{ in = "a", do = "launch" }, "#, 1);
    assert_eq!(faults_of(&launched), "none");
}

#[test]
fn two_files_with_one_id_are_told_apart_and_unreadable_ones_named() {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["ROLE-99-smallest", "ROLE-99-other", "ROLE-98-empty"] {
        fs::create_dir_all(dir.path().join("role").join(folder)).unwrap();
    }
    fs::write(dir.path().join("role/ROLE-99-smallest/case.toml"), SMALLEST).unwrap();
    fs::write(
        dir.path().join("role/ROLE-99-other/case.toml"),
        SMALLEST.replace("\"smallest\"", "\"other\""),
    )
    .unwrap();
    let told: Vec<_> = load(dir.path())
        .unwrap_err()
        .faults
        .iter()
        .map(|fault| fault.to_string().replace(&dir.path().display().to_string(), "cases"))
        .collect();
    assert_snapshot!(told.join("\n"), @r"
    cases/role/ROLE-98-empty/case.toml: cannot be read: No such file or directory (os error 2); put the scenario into FAMILY/ID-name/case.toml and make it readable
    cases/role/ROLE-99-smallest/case.toml:1: id: `ROLE-99` is the id of cases/role/ROLE-99-other/case.toml too; give each scenario a number of its own
    ");
}

#[test]
fn the_table_and_the_model_know_the_same_words() {
    for (key, words) in [("do", shape::ACTIONS), ("only", shape::DEFENCES)] {
        for word in words {
            let value = toml::Value::String((*word).to_owned());
            let understood = if key == "do" {
                value.try_into::<Action>().is_ok()
            } else {
                Defence::parse(word).is_some()
            };
            assert!(understood, "{key} = {word}");
        }
    }
    assert_eq!(shape::DEFENCES.len(), Defence::ALL.len());
}

#[test]
fn the_schema_names_every_key_of_a_step() {
    let schema = schema();
    let step = &schema["properties"]["step"]["items"];
    assert_eq!(step["required"], serde_json::json!(["in", "do"]));
    assert_eq!(step["properties"]["effect"]["maxProperties"], 1);
    assert_eq!(
        step["properties"]["do"]["enum"].as_array().unwrap().len(),
        shape::ACTIONS.len()
    );
}

/// Lines that are often nearly right.
fn line() -> impl Strategy<Value = String> {
    let word = "[a-z_]{1,8}|id|name|step|expect|hole|job|role|in|do|imds|each|effect|proxy";
    prop_oneof![
        ".{0,30}",
        (
            word,
            "\"[A-Z(){}$.a-z]{0,12}\"|[0-9]{1,20}|\\[\\]|\\{\\}|true|\\[\\[\"x\"\\]\\]"
        )
            .prop_map(|(key, value)| format!("{key} = {value}")),
        word.prop_map(|word| format!("[{word}]")),
        word.prop_map(|word| format!("[[{word}]]")),
    ]
}

proptest! {
    #[test]
    fn no_text_makes_the_loader_panic(lines in prop::collection::vec(line(), 0..25)) {
        let _ = read("case.toml", "role", "ROLE-99-smallest", &lines.join("\n"));
    }

    #[test]
    fn no_change_of_a_good_file_makes_the_loader_panic(at in 0..SMALLEST.len(), cut in 0usize..20, put in ".{0,10}") {
        let (before, after) = SMALLEST.split_at(at);
        let text = format!("{before}{put}{}", after.chars().skip(cut).collect::<String>());
        let _ = read("case.toml", "role", "ROLE-99-smallest", &text);
    }
}
