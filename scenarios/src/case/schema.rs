//! The shape table as a JSON schema (draft 2020-12), for editors.

use serde_json::{Map, Value, json};

use super::shape::{CASE, DEFENCES, Kind, Shape};

/// The schema of a case file.
pub fn schema() -> Value {
    let mut schema = object(&CASE);
    if let Some(root) = schema.as_object_mut() {
        root.insert(
            "$schema".to_owned(),
            json!("https://json-schema.org/draft/2020-12/schema"),
        );
        root.insert("title".to_owned(), json!("scenario"));
    }
    schema
}

fn object(shape: &Shape) -> Value {
    let mut properties = Map::new();
    for key in shape.keys {
        let mut value = of(&key.kind);
        if let Some(value) = value.as_object_mut() {
            value.insert("description".to_owned(), json!(key.doc));
        }
        properties.insert(key.name.to_owned(), value);
    }
    let needed: Vec<&str> = shape.keys.iter().filter(|key| key.needed).map(|key| key.name).collect();
    let mut schema = json!({ "type": "object", "additionalProperties": false, "properties": properties });
    if let Some(schema) = schema.as_object_mut() {
        if !needed.is_empty() {
            schema.insert("required".to_owned(), json!(needed));
        }
        if shape.one_of {
            schema.insert("minProperties".to_owned(), json!(1));
            schema.insert("maxProperties".to_owned(), json!(1));
        }
    }
    schema
}

fn of(kind: &Kind) -> Value {
    match kind {
        Kind::Text => json!({ "type": "string" }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Count(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Kind::Word(words) => json!({ "enum": words }),
        Kind::Verdict => json!({
            "type": "string",
            "pattern": r"^(BLOCKED|SILENT|DENY|UNAVAILABLE|SAME|LEAK|UNUSABLE|ROLE\(.+\)|LEAK\(.+\)|OTHER\(.+\))$",
        }),
        Kind::List(item) => json!({ "type": "array", "items": of(item) }),
        Kind::Pair => json!({ "type": "array", "items": { "type": "string" }, "minItems": 2, "maxItems": 2 }),
        Kind::Table(shape) => object(shape),
        Kind::Named(item) => json!({ "type": "object", "additionalProperties": of(item) }),
        Kind::PerDefence(item) => {
            let properties: Map<String, Value> = DEFENCES
                .iter()
                .map(|defence| ((*defence).to_owned(), of(item)))
                .collect();
            json!({ "type": "object", "additionalProperties": false, "properties": properties })
        }
    }
}
