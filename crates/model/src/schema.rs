//! The JSON Schema of a config, for editors.

use crate::Config;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

/// The JSON Schema (2020-12) of [`Config`]. `policy` describes one item of a list of policies; the
/// definitions that it brings in its own `$defs` are moved up to those of the whole.
#[must_use]
pub fn schema(policy: Value) -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<Config>().to_value();
    let Some(root) = schema.as_object_mut() else { return schema };
    root.insert("title".to_owned(), "Yett config".into());
    root.insert(
        "description".to_owned(),
        "The config of the Yett API gateway: listeners, upstreams, APIs, policies and consumers."
            .into(),
    );
    let definitions = root.entry("$defs").or_insert_with(|| Value::Object(Map::new()));
    if let Some(definitions) = definitions.as_object_mut() {
        add_policy(definitions, policy);
    }
    schema
}

fn add_policy(definitions: &mut Map<String, Value>, mut policy: Value) {
    if let Some(fields) = policy.as_object_mut() {
        fields.remove("$schema");
        if let Some(Value::Object(own)) = fields.remove("$defs") {
            definitions.extend(own);
        }
    }
    definitions.insert("Policy".to_owned(), policy);
}

#[cfg(test)]
mod tests {
    use super::schema;
    use crate::config::FIELDS;
    use serde_json::json;

    #[test]
    fn the_policy_definition_is_the_one_given() {
        let schema = schema(json!({ "const": "x", "$defs": { "Rule": { "type": "string" } } }));
        assert_eq!(schema["$defs"]["Policy"], json!({ "const": "x" }));
        assert_eq!(schema["$defs"]["Rule"], json!({ "type": "string" }));
        assert_eq!(schema["properties"]["policies"]["items"]["$ref"], json!("#/$defs/Policy"));
        assert_eq!(schema["$schema"], json!("https://json-schema.org/draft/2020-12/schema"));
        assert!(schema.get("$id").is_none());
    }

    #[test]
    fn every_reference_has_its_definition() {
        let schema = schema(json!({}));
        let text = schema.to_string();
        for reference in text.split("#/$defs/").skip(1) {
            let name = reference.split('"').next().unwrap();
            assert!(schema["$defs"].get(name).is_some(), "{name} is not defined");
        }
    }

    #[test]
    fn the_canonical_order_names_every_field() {
        let schema = schema(json!({}));
        let mut properties: Vec<_> =
            schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        properties.sort_unstable();
        let mut fields = FIELDS;
        fields.sort_unstable();
        assert_eq!(properties, fields);
    }
}
