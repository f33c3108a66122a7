use super::{KINDS, kind};
use crate::order::{ORDER, rank};
use crate::policy_schema;
use serde_json::Value;
use std::collections::HashSet;

#[test]
fn every_kind_is_documented_and_has_an_example_of_itself() {
    for kind in KINDS {
        let name = kind.name;
        assert!(kind.about.len() > 30 && kind.about.ends_with('.'), "{name}");
        assert!(!kind.resets.is_empty(), "{name}");
        assert!(kind.example.starts_with(&format!("{name}: ")), "{name}");
        let phases =
            [kind.phases.request, kind.phases.forward, kind.phases.reply, kind.phases.record];
        assert!(phases.contains(&true), "{name}");
    }
}

#[test]
fn names_are_unique_and_found() {
    let names: HashSet<&str> = KINDS.iter().map(|kind| kind.name).collect();
    assert_eq!(names.len(), KINDS.len());
    for name in names {
        assert_eq!(kind(name).unwrap().name, name);
    }
    assert!(kind("nope").is_none());
}

#[test]
fn every_kind_has_its_place_in_the_order_with_a_reason() {
    let kinds: HashSet<&str> = KINDS.iter().map(|kind| kind.name).collect();
    let ordered: HashSet<&str> = ORDER.iter().map(|(name, _)| *name).collect();
    assert_eq!(kinds, ordered);
    assert_eq!(ORDER.len(), KINDS.len());
    assert!(ORDER.iter().all(|(_, reason)| !reason.is_empty()));
    assert!(rank("cors") < rank("api_key") && rank("api_key") < rank("allow"));
    assert!(rank("allow") < rank("rate_limit") && rank("headers") < rank("respond"));
    assert!(rank("respond") < rank("nope"));
}

/// Every field of every settings type, with its path.
fn fields<'a>(schema: &'a Value, path: &str, found: &mut Vec<(String, &'a Value)>) {
    if let Some(Value::Object(properties)) = schema.get("properties") {
        for (name, field) in properties {
            let path = format!("{path}.{name}");
            fields(field, &path, found);
            found.push((path, field));
        }
    }
    for form in schema.get("anyOf").and_then(Value::as_array).into_iter().flatten() {
        fields(form, path, found);
    }
}

#[test]
fn the_schema_has_every_kind_with_an_id_and_documents_every_field() {
    let schema = policy_schema();
    assert!(!schema.to_string().contains("$ref"), "it stands alone");
    let forms = schema["oneOf"].as_array().unwrap();
    assert_eq!(
        forms[0]["enum"],
        serde_json::json!([
            "compress",
            "grpc_web",
            "geo",
            "mtls",
            "api_key",
            "basic",
            "hmac",
            "plan",
            "identity_headers",
            "jwks"
        ])
    );
    for (kind, form) in KINDS.iter().zip(&forms[1..]) {
        assert_eq!(form["required"], serde_json::json!([kind.name]));
        let mut found = Vec::new();
        fields(&form["properties"][kind.name], kind.name, &mut found);
        assert!(
            found.iter().any(|(path, _)| *path == format!("{}.id", kind.name)),
            "{}",
            kind.name
        );
        for (path, field) in found {
            assert!(field.get("description").is_some(), "{path} is not documented");
        }
    }
}
