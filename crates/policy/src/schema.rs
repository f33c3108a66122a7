//! The schema of one item of a `policies` list, made of the schemas of all kinds.

use crate::kinds::KINDS;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

/// JSON schema (draft 2020-12) of one item of a `policies` list: the bare name of a kind that needs no
/// settings, or a map of one kind and its settings with the optional `id` that every kind has. It
/// refers to no definitions outside itself.
#[must_use]
pub fn policy_schema() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    let mut generator = SchemaGenerator::new(settings);
    let mut bare = Vec::new();
    let mut forms = Vec::new();
    for kind in KINDS {
        let mut schema = (kind.schema)(&mut generator).to_value();
        if allows_nothing(&schema) {
            bare.push(kind.name);
        }
        add_id(&mut schema);
        if let Value::Object(fields) = &mut schema {
            fields.insert("description".to_owned(), kind.about.into());
        }
        forms.push(json!({
            "type": "object",
            "properties": { kind.name: schema },
            "required": [kind.name],
            "additionalProperties": false,
        }));
    }
    forms.insert(0, json!({ "enum": bare }));
    json!({ "oneOf": forms })
}

/// Whether settings may be left out.
fn allows_nothing(schema: &Value) -> bool {
    let needs = |word: &str| schema.get(word).is_some();
    needs("properties") && !needs("required") && !needs("minProperties")
}

/// Every map of settings may hold the id of the policy.
fn add_id(schema: &mut Value) {
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        let about = "Tells two policies of one kind at one owner apart.";
        properties.insert("id".to_owned(), json!({ "type": "string", "description": about }));
    }
    if let Some(Value::Array(forms)) = schema.get_mut("anyOf") {
        forms.iter_mut().for_each(add_id);
    }
}
