//! The JSON schema of a world file, for editors.

use serde_json::{Map, Value, json};

use super::fields::WORLD;
use super::shape::{Key, Kind};

/// The schema.
pub fn schema() -> Value {
    let mut schema = table(WORLD);
    if let Some(fields) = schema.as_object_mut() {
        fields.insert(
            "$schema".to_owned(),
            "https://json-schema.org/draft/2020-12/schema".into(),
        );
        fields.insert("title".to_owned(), "world.toml of fake-imds".into());
    }
    schema
}

fn table(keys: &[Key]) -> Value {
    let properties: Map<String, Value> = keys
        .iter()
        .map(|key| {
            let mut value = value(key.kind);
            if let Some(fields) = value.as_object_mut() {
                fields.insert("description".to_owned(), key.doc.into());
            }
            (key.name.to_owned(), value)
        })
        .collect();
    let needed: Vec<&str> = keys.iter().filter(|key| key.needed).map(|key| key.name).collect();
    let mut table = json!({ "type": "object", "additionalProperties": false, "properties": properties });
    if let (Some(fields), false) = (table.as_object_mut(), needed.is_empty()) {
        fields.insert("required".to_owned(), needed.into());
    }
    table
}

fn value(kind: Kind) -> Value {
    match kind {
        Kind::Text(rule) => json!({ "type": "string", "$comment": rule.remedy }),
        Kind::Word(words) | Kind::Usual(words) => json!({ "enum": words }),
        Kind::Flag => json!({ "type": "boolean" }),
        Kind::Number(least, most) => json!({ "type": "integer", "minimum": least, "maximum": most }),
        Kind::Texts(rule) => json!({ "type": "array", "items": { "type": "string" }, "$comment": rule.remedy }),
        Kind::Named(..) => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Kind::Table(keys) => table(keys),
        Kind::Tables(keys) => json!({ "type": "array", "items": table(keys) }),
        Kind::TableOrTables(keys) => json!({ "oneOf": [table(keys), { "type": "array", "items": table(keys) }] }),
        Kind::Foreign => json!({}),
    }
}
