//! What a case says of policies and ID tokens: JSON that is JSON, jobs and roles that are there.

use serde_json::Value;

use super::document::{Document, suggestion};
use super::model::{Action, Case};
use super::placeholder::without_placeholders;

/// Adds everything to the document that is wrong with policies, weak roles and tokens.
pub(super) fn check(case: &Case, document: &mut Document) {
    for (index, role) in case.roles.iter().enumerate() {
        for (key, text) in [("trust", &role.trust), ("policy", &role.policy)] {
            policy(text.as_deref(), &format!("role[{index}].{key}"), document);
        }
        if role.trust.is_some() && (role.untrusting || role.external_id.is_some()) {
            document.add(
                &format!("role[{index}].trust"),
                "says already whom the role trusts".to_owned(),
                "remove untrusting and external_id, and write them into the policy",
            );
        }
    }
    let roles: Vec<&str> = case.roles.iter().map(|role| role.name.as_str()).collect();
    for (index, weak) in case.hole.roles.iter().enumerate() {
        let field = format!("hole.role[{index}]");
        for (key, text) in [("trust", &weak.trust), ("policy", &weak.policy)] {
            policy(text.as_deref(), &format!("{field}.{key}"), document);
        }
        if weak.trust.is_none() && weak.policy.is_none() {
            document.add(&field, "changes nothing".to_owned(), "add trust or policy");
        }
        if !roles.contains(&weak.name.as_str()) {
            document.add(
                &format!("{field}.name"),
                format!("no role `{}`", weak.name),
                suggestion(&weak.name, &roles),
            );
        }
    }
    for (index, step) in case.steps.iter().enumerate() {
        let field = format!("step[{index}]");
        for (key, text) in [("claims", &step.claims), ("header", &step.header)] {
            object(text.as_deref(), &format!("{field}.{key}"), document);
        }
        if step.action == Action::Lint {
            policy(step.policy.as_deref(), &format!("{field}.policy"), document);
        }
        if step.action == Action::Assume && step.token.is_some() == step.with.is_some() {
            document.add(
                &field,
                "who asks is not said, or said twice".to_owned(),
                "add one of token (a web identity token) and with (saved credentials)",
            );
        }
        let jobs: Vec<&str> = case.jobs.iter().map(|job| job.name.as_str()).collect();
        if let Some(of) = step.of.as_deref().filter(|of| !jobs.contains(of)) {
            document.add(&format!("{field}.of"), format!("no job `{of}`"), suggestion(of, &jobs));
        }
    }
}

/// The JSON object in a text whose placeholders stand inside of strings or in the place of numbers.
fn object(text: Option<&str>, field: &str, document: &mut Document) -> Option<Value> {
    let read = serde_json::from_str::<Value>(&without_placeholders(text?));
    match read {
        Ok(value @ Value::Object(_)) => return Some(value),
        Ok(_) => document.add(field, "no JSON object".to_owned(), "write { … }"),
        Err(error) => document.add(field, format!("no JSON: {error}"), "write a JSON object"),
    }
    None
}

fn policy(text: Option<&str>, field: &str, document: &mut Document) {
    if let Some(value) = object(text, field, document)
        && value.get("Statement").is_none()
    {
        document.add(
            field,
            "no policy document".to_owned(),
            "write { \"Version\": \"2012-10-17\", \"Statement\": [ … ] }",
        );
    }
}
