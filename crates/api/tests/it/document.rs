use super::kit::{World, config_schema};
use api::operations;
use serde_json::Value;

fn document() -> Value {
    serde_json::from_str(&api::document(&config_schema())).unwrap()
}

#[test]
fn every_operation_is_in_the_document_and_nothing_else() {
    let document = document();
    let mut count = 0;
    for operation in operations() {
        let method = operation.method().as_str().to_ascii_lowercase();
        let found = &document["paths"][operation.path()][method];
        assert_eq!(found["operationId"], operation.name());
        let named = operation.path().matches('{').count();
        let parameters = found["parameters"].as_array().unwrap();
        assert_eq!(parameters.iter().filter(|it| it["in"] == "path").count(), named);
        count += 1;
    }
    let paths = document["paths"].as_object().unwrap().values();
    assert_eq!(paths.map(|it| it.as_object().unwrap().len()).sum::<usize>(), count);
}

fn check_references(document: &Value, value: &Value) {
    match value {
        Value::Object(fields) => {
            if let Some(target) = fields.get("$ref").and_then(Value::as_str) {
                let pointer = target.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{target} leads nowhere");
            }
            fields.values().for_each(|value| check_references(document, value));
        }
        Value::Array(items) => items.iter().for_each(|value| check_references(document, value)),
        _ => {}
    }
}

#[test]
fn every_reference_in_the_document_leads_somewhere() {
    let document = document();
    check_references(&document, &document);
    let api = &document["components"]["schemas"]["NewApi"]["properties"]["config"];
    assert_eq!(api["$ref"], "#/components/schemas/ConfigApi");
}

#[tokio::test]
async fn the_document_and_its_page_are_for_everybody_and_load_nothing() {
    let world = World::new().await;
    let served = world.send("GET /v1/openapi.json", "", &[], None).await.is(200);
    assert_eq!(served.json(), document());
    let tag = served.header("etag").to_owned();
    let again = world.send("GET /v1/openapi.json", "", &[("if-none-match", &tag)], None).await;
    assert!(again.status == 304 && again.body.is_empty());
    let page = world.send("GET /", "", &[], None).await.is(200);
    for operation in operations() {
        assert!(page.body.contains(&format!("id=\"{}\"", operation.name())), "{operation:?}");
    }
    assert!(
        page.header("content-security-policy")
            .starts_with("default-src 'none'; style-src 'sha256-")
    );
    assert!(
        !page.body.contains("<script")
            && !page.body.contains(" src=")
            && !page.body.contains("http:")
    );
}
