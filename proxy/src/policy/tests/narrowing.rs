//! Refs and machines: what narrows a rule beside runner, project, kind and image.

use super::{DEPLOY, check};
use crate::fixture::{RULE, label};
use crate::policy::Reason;

fn on(rules: &str, name: &str) -> Result<String, Reason> {
    check(rules, |facts| label(facts, "job.ref", name))
}

#[test]
fn role_36_a_ref_narrows() {
    let narrow = format!("{RULE}ref = \"main\"\n");
    assert_eq!(check(&narrow, |_| ()), Ok(DEPLOY.to_owned()));
    for other in ["Main", "main2", "xmain", "main/x"] {
        assert_eq!(on(&narrow, other), Err(Reason::NoRuleForRef), "{other}");
    }
}

#[test]
fn a_pattern_of_refs_narrows() {
    let narrow = format!("{RULE}ref = [\"release/*\", \"main\"]\n");
    for name in ["release/1", "main"] {
        assert_eq!(on(&narrow, name).as_deref(), Ok(DEPLOY), "{name}");
    }
    for name in ["release", "release/1/2", "prerelease/1", "main2", "release*"] {
        assert_eq!(on(&narrow, name), Err(Reason::NoRuleForRef), "{name}");
    }
}

#[test]
fn a_merge_request_gets_nothing_unless_a_rule_spells_it_out() {
    let heads = [
        "refs/merge-requests/7/head",
        "refs/merge-requests/7/merge",
        "refs/merge-requests/7/train",
    ];
    for rules in [
        RULE.to_owned(),
        format!("{RULE}ref = [\"**\", \"*/*/*/*\", \"main\"]\n"),
    ] {
        for name in heads {
            assert_eq!(on(&rules, name), Err(Reason::NoRuleForMergeRequest), "{name}");
        }
        // A branch may be called nearly so.
        assert_eq!(on(&rules, "merge-requests/7/head").as_deref(), Ok(DEPLOY));
    }
    let named = format!("{RULE}ref = \"refs/merge-requests/*/head\"\n");
    assert_eq!(on(&named, heads[0]).as_deref(), Ok(DEPLOY));
    assert_eq!(on(&named, heads[1]), Err(Reason::NoRuleForMergeRequest));
    assert_eq!(on(&named, "main"), Err(Reason::NoRuleForRef));
}

#[test]
fn what_is_neither_branch_nor_tag_is_spelled_out_too() {
    for name in [
        "refs/pipelines/7",
        "refs/heads/main",
        "refs/tags/main",
        "refs/workloads/7",
    ] {
        assert_eq!(on(RULE, name), Err(Reason::NoRuleForMergeRequest), "{name}");
    }
    let named = format!("{RULE}ref = \"refs/workloads/*\"\n");
    assert_eq!(on(&named, "refs/workloads/7").as_deref(), Ok(DEPLOY));
}

#[test]
fn branches_and_merge_requests_may_get_different_roles() {
    let other = RULE
        .replace("\"deploy\"\n", "\"other\"\n")
        .replace("role = \"deploy\"", "role = \"other\"");
    let both = format!("{RULE}{other}ref = \"refs/merge-requests/**\"\n");
    assert_eq!(on(&both, "main").as_deref(), Ok(DEPLOY));
    assert_eq!(
        on(&both, "refs/merge-requests/7/head").as_deref(),
        Ok("arn:aws:iam::123456789012:role/other")
    );
}

#[test]
fn a_machine_of_the_runner_narrows() {
    let narrow = format!("{RULE}system_id = [\"s_0123456789ab\", \"r_9\"]\n");
    assert_eq!(check(&narrow, |_| ()).as_deref(), Ok(DEPLOY));
    for other in ["s_0123456789ac", "s_0123456789a", "S_0123456789ab"] {
        let refused = check(&narrow, |facts| label(facts, "runner.system_id", other));
        assert_eq!(refused, Err(Reason::NoRuleForSystemId), "{other}");
    }
}
