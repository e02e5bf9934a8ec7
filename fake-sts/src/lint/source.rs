//! Policies in files: a document by itself, a Terraform plan in JSON, a CloudFormation template in JSON or YAML. It must not judge them.

use serde_json::Value;

use super::Found;
use crate::policy::Kind;

/// How deep a file is looked into.
const DEEPEST: usize = 64;

/// A managed policy that a role has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attached {
    pub(super) place: String,
    pub(super) arn: String,
    pub(super) of_instance: bool,
}

/// Every policy of a file, and which managed ones roles have.
pub(super) fn read(text: &str) -> Result<(Vec<Found>, Vec<Attached>), String> {
    let value = parse(text)?;
    let (mut found, mut attached) = (Vec::new(), Vec::new());
    if let Some(changes) = value.get("resource_changes").and_then(Value::as_array) {
        let after = changes.iter().filter_map(|change| {
            let address = change.get("address")?.as_str()?;
            Some((
                address,
                change.get("type")?.as_str()?,
                change.get("change")?.get("after")?,
            ))
        });
        terraform(after, &mut found, &mut attached);
    } else if let Some(module) = value.get("planned_values").and_then(|values| values.get("root_module")) {
        let mut resources = Vec::new();
        modules(module, 0, &mut resources);
        terraform(resources.into_iter(), &mut found, &mut attached);
    } else if let Some(resources) = value.get("Resources").and_then(Value::as_object) {
        for (name, resource) in resources {
            cloudformation(name, resource, &mut found, &mut attached);
        }
        let profiles = resources
            .values()
            .filter(|one| of_type(one, "AWS::IAM::InstanceProfile"));
        let held: Vec<String> = profiles
            .map(|profile| field(field(profile, "Properties"), "Roles").to_string())
            .collect();
        let is_held = |name: &str| held.iter().any(|roles| roles.contains(&format!("\"{name}\"")));
        for one in &mut found {
            let name = one.place.split('.').nth(1).unwrap_or_default();
            // A policy by itself names its roles.
            let roles = resources.get(name).map(|one| field(field(one, "Properties"), "Roles"));
            let mut named = roles.and_then(Value::as_array).into_iter().flatten();
            one.of_instance =
                is_held(name) || named.any(|role| held.iter().any(|roles| roles.contains(&role.to_string())));
        }
        for one in &mut attached {
            one.of_instance = is_held(one.place.split('.').nth(1).unwrap_or_default());
        }
    } else if value.get("Statement").is_some() {
        found.push(Found {
            place: String::new(),
            kind: kind_of(&value),
            document: value,
            of_instance: false,
        });
    } else {
        return Err(
            "has neither a Statement (policy), nor resource_changes or planned_values (terraform show -json), nor Resources (CloudFormation)"
                .to_owned(),
        );
    }
    Ok((found, attached))
}

fn parse(text: &str) -> Result<Value, String> {
    let json = match serde_json::from_str(text) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    if text.trim_start().starts_with('{') {
        return Err(format!("is not JSON: {json}"));
    }
    let yaml: serde_yaml_ng::Value =
        serde_yaml_ng::from_str(text).map_err(|error| format!("is neither JSON nor YAML: {error}"))?;
    plain(yaml, 0).ok_or_else(|| "has keys that are no texts, or is too deep".to_owned())
}

/// YAML without its tags: `!Sub "x${y}"` is told as its text, other functions as what they are applied to.
fn plain(yaml: serde_yaml_ng::Value, depth: usize) -> Option<Value> {
    use serde_yaml_ng::Value as Yaml;
    if depth > DEEPEST {
        return None;
    }
    Some(match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(yes) => Value::Bool(yes),
        Yaml::Number(number) => serde_json::to_value(number).ok()?,
        Yaml::String(text) => Value::String(text),
        Yaml::Sequence(list) => {
            let values = list.into_iter().map(|one| plain(one, depth + 1));
            Value::Array(values.collect::<Option<_>>()?)
        }
        Yaml::Mapping(map) => {
            let mut table = serde_json::Map::new();
            for (key, value) in map {
                table.insert(key.as_str()?.to_owned(), plain(value, depth + 1)?);
            }
            Value::Object(table)
        }
        Yaml::Tagged(tagged) => plain(tagged.value, depth + 1)?,
    })
}

/// A trust policy says whom it is for.
fn kind_of(document: &Value) -> Kind {
    let statements = match field(document, "Statement") {
        Value::Array(list) => list.iter().collect(),
        one => vec![one],
    };
    let named = |one: &&Value| one.get("Principal").is_some() || one.get("NotPrincipal").is_some();
    if statements.iter().any(named) {
        Kind::Trust
    } else {
        Kind::Identity
    }
}

fn modules<'a>(module: &'a Value, depth: usize, into: &mut Vec<(&'a str, &'a str, &'a Value)>) {
    let list = |name: &str| module.get(name).and_then(Value::as_array).into_iter().flatten();
    for resource in list("resources") {
        let text = |name: &str| resource.get(name).and_then(Value::as_str);
        if let (Some(address), Some(kind), Some(values)) = (text("address"), text("type"), resource.get("values")) {
            into.push((address, kind, values));
        }
    }
    if depth < DEEPEST {
        for child in list("child_modules") {
            modules(child, depth + 1, into);
        }
    }
}

fn terraform<'a>(
    resources: impl Iterator<Item = (&'a str, &'a str, &'a Value)>,
    found: &mut Vec<Found>,
    attached: &mut Vec<Attached>,
) {
    let mut held: Vec<&str> = Vec::new();
    // By place: the role that what stands there is of.
    let mut owners: Vec<(String, &str)> = Vec::new();
    for (address, kind, values) in resources {
        let text = |name: &str| values.get(name).and_then(Value::as_str);
        if kind == "aws_iam_instance_profile" {
            held.extend(text("role"));
        }
        let owner = if kind == "aws_iam_role" {
            text("name")
        } else {
            text("role")
        };
        owners.extend(owner.map(|name| (address.to_owned(), name)));
        let documents: &[(&str, Kind)] = match kind {
            "aws_iam_role" => &[("assume_role_policy", Kind::Trust)],
            "aws_iam_role_policy" | "aws_iam_policy" | "aws_iam_user_policy" | "aws_iam_group_policy" => {
                &[("policy", Kind::Identity)]
            }
            _ => &[],
        };
        let mut push = |place: &str, kind: Kind, document: Value| {
            found.push(Found {
                place: place.to_owned(),
                kind,
                document,
                of_instance: false,
            });
        };
        for (field, kind) in documents {
            // What is only known after apply is absent.
            if let Some(document) = values.get(*field).and_then(embedded) {
                push(address, *kind, document);
            }
        }
        let inline = format!("{address}.inline_policy");
        owners.extend(owner.map(|name| (inline.clone(), name)));
        for one in list(values, "inline_policy") {
            if let Some(document) = one.get("policy").and_then(embedded) {
                push(&inline, Kind::Identity, document);
            }
        }
        let managed = list(values, "managed_policy_arns").filter_map(Value::as_str);
        let of_role = text("policy_arn").filter(|_| kind == "aws_iam_role_policy_attachment");
        for arn in managed.chain(of_role) {
            attached.push(Attached {
                place: address.to_owned(),
                arn: arn.to_owned(),
                of_instance: false,
            });
        }
    }
    let is_held = |place: &str| owners.iter().any(|(own, role)| own == place && held.contains(role));
    for one in found {
        one.of_instance = is_held(&one.place);
    }
    for one in attached {
        one.of_instance = is_held(&one.place);
    }
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// A document as a table or as a text of JSON.
fn embedded(value: &Value) -> Option<Value> {
    match value {
        Value::String(text) => serde_json::from_str(text).ok(),
        Value::Object(_) => Some(value.clone()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
    }
}

/// A field of a table; null where there is none.
pub(super) fn field<'a>(value: &'a Value, name: &str) -> &'a Value {
    value.get(name).unwrap_or(&Value::Null)
}

fn of_type(resource: &Value, kind: &str) -> bool {
    resource.get("Type").and_then(Value::as_str) == Some(kind)
}

fn cloudformation(name: &str, resource: &Value, found: &mut Vec<Found>, attached: &mut Vec<Attached>) {
    let properties = field(resource, "Properties");
    if of_type(resource, "AWS::IAM::Role") {
        let arns = list(properties, "ManagedPolicyArns").map(|arn| resolve(arn, 0));
        attached.extend(
            arns.filter_map(|arn| arn.as_str().map(str::to_owned))
                .map(|arn| Attached {
                    place: format!("Resources.{name}.ManagedPolicyArns"),
                    arn,
                    of_instance: false,
                }),
        );
    }
    let mut push = |field: &str, kind: Kind, value: &Value| {
        if let Some(document) = embedded(&resolve(value, 0)) {
            found.push(Found {
                place: format!("Resources.{name}.{field}"),
                kind,
                document,
                of_instance: false,
            });
        }
    };
    if of_type(resource, "AWS::IAM::Role") {
        push(
            "AssumeRolePolicyDocument",
            Kind::Trust,
            field(properties, "AssumeRolePolicyDocument"),
        );
    }
    for (index, policy) in field(properties, "Policies")
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        push(
            &format!("Policies[{index}]"),
            Kind::Identity,
            field(policy, "PolicyDocument"),
        );
    }
    if of_type(resource, "AWS::IAM::Policy") || of_type(resource, "AWS::IAM::ManagedPolicy") {
        push("PolicyDocument", Kind::Identity, field(properties, "PolicyDocument"));
    }
}

/// Functions as far as they are texts: what is put in stays as `${…}`, and an account that is filled in is the template's own.
fn resolve(value: &Value, depth: usize) -> Value {
    if depth > DEEPEST {
        return Value::Null;
    }
    match value {
        Value::Array(list) => Value::Array(list.iter().map(|one| resolve(one, depth + 1)).collect()),
        Value::Object(table) => {
            if let (1, Some((name, inner))) = (table.len(), table.iter().next()) {
                match (name.as_str(), inner) {
                    ("Fn::Sub", Value::String(text)) | ("Ref", Value::String(text)) => {
                        return Value::String(text.clone());
                    }
                    ("Fn::Sub", Value::Array(list)) => return list.first().cloned().unwrap_or(Value::Null),
                    ("Fn::Join", Value::Array(parts)) => {
                        let glue = parts.first().and_then(Value::as_str).unwrap_or_default();
                        let list = parts.get(1).and_then(Value::as_array).into_iter().flatten();
                        let texts: Vec<String> = list
                            .map(|one| match resolve(one, depth + 1) {
                                Value::String(text) => text,
                                other => other.to_string(),
                            })
                            .collect();
                        return Value::String(texts.join(glue));
                    }
                    ("Fn::GetAtt", Value::Array(list)) => {
                        let names: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
                        return Value::String(format!("${{{}}}", names.join(".")));
                    }
                    _ => {}
                }
            }
            let resolved = table.iter().map(|(name, one)| (name.clone(), resolve(one, depth + 1)));
            Value::Object(resolved.collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}
