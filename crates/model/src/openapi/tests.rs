use super::{Draft, Options, import};
use serde_json::{Value, json};

fn draft(document: &Value) -> Draft {
    import(&document.to_string(), &Options::default()).unwrap()
}

fn keys(draft: &Draft) -> Vec<String> {
    draft.routes.iter().map(|route| format!("{} {}", route.method, route.path)).collect()
}

/// A document with these paths.
fn with_paths(paths: &Value) -> Value {
    json!({ "openapi": "3.1.0", "info": { "title": "Shop API", "version": "1.2" }, "paths": paths })
}

#[test]
fn a_document_becomes_a_draft_of_which_nothing_is_open() {
    let text = r"
openapi: 3.0.3
info: { title: 'The Shop: Orders & more!', version: v2 }
servers:
  - url: https://{where}.shop.test:8443/v2/
    variables: { where: { default: api } }
  - url: https://eu.shop.test/v2
paths:
  /orders/{order-id}:
    parameters: [{ name: order-id, in: path, required: true }]
    get: { operationId: getOrder, summary: 'Reads an order' }
    delete: { operationId: 'orders/delete', security: [], deprecated: true }
  /orders:
    $ref: '#/components/x-items/orders'
components:
  x-items: { orders: { post: { operationId: createOrder } } }
  securitySchemes: { key: { type: apiKey, in: header, name: X-Shop-Key } }
";
    let draft = import(text, &Options::default()).unwrap();
    assert_eq!(draft.name, "the-shop-orders-more");
    let expected = json!({
        "version": 1,
        "upstreams": { "the-shop-orders-more": { "targets": ["api.shop.test:8443"], "tls": true, "host": "target" } },
        "apis": { "the-shop-orders-more": {
            "state": "draft",
            "version": "v2",
            "hosts": ["api.shop.test", "eu.shop.test"],
            "path": "/v2",
            "upstream": "the-shop-orders-more",
            "policies": [{ "api_key": { "header": "x-shop-key" } }],
            "routes": [
                { "GET /orders/{order_id}": { "name": "getOrder" } },
                { "DELETE /orders/{order_id}": { "name": "orders-delete" } },
                { "POST /orders": { "name": "createOrder" } },
            ],
        } },
    });
    assert_eq!(draft.json(), expected);
    let yaml = draft.yaml();
    assert!(yaml.contains("# Reads an order\n") && yaml.contains("lets anybody call it"), "{yaml}");
    let mut report = base::Report::new();
    let tree = crate::yaml::parse(yaml.as_bytes(), &"x".into(), &mut report).unwrap();
    assert_eq!(super::to_json(&tree), expected, "{report}");
}

#[test]
fn what_the_author_says_counts_for_more() {
    let options = Options {
        name: Some("orders".to_owned()),
        upstream: Some("backend".to_owned()),
        path: Some("/api/".to_owned()),
        hosts: vec!["api.test".to_owned()],
    };
    let document = with_paths(&json!({ "/": { "get": {} } }));
    let draft = import(&document.to_string(), &options).unwrap();
    let json = draft.json();
    assert_eq!(json.get("upstreams"), None);
    let api = &json["apis"]["orders"];
    assert_eq!(
        (&api["upstream"], &api["path"], &api["hosts"]),
        (&json!("backend"), &json!("/api"), &json!(["api.test"]))
    );
    assert_eq!(api["routes"], json!(["GET /"]));
    let bad = Options { name: Some("No Name".to_owned()), ..Options::default() };
    assert!(import(&document.to_string(), &bad).unwrap_err().contains("cannot be the name"));
}

#[test]
fn paths_become_routes_whatever_is_in_them() {
    for (path, expected) in [
        ("/a/{id}/b", "GET /a/{id}/b"),
        ("/a/{user-id}/{user_id}", "GET /a/{user_id}/{user_id_2}"),
        ("/a/{0}", "GET /a/{p0}"),
        ("/a/", "GET /a/"),
        ("/v1/x:batchGet", "GET /v1/x:batchGet"),
        ("/sp ace/ü", "GET /sp%20ace/%C3%BC"),
        ("/a%2fb%7e", "GET /a%2Fb~"),
        ("/a/{name}.json", r"GET ~/a/(?P<name>[^/]+)\.json"),
        ("/a/{x},{y}", "GET ~/a/(?P<x>[^/]+),(?P<y>[^/]+)"),
    ] {
        let document = with_paths(&json!({ path: { "get": {} } }));
        assert_eq!(keys(&draft(&document)), [expected], "{path}");
    }
    let rest = json!({ "/files/{path}": { "get": { "parameters": [
        { "in": "path", "name": "path", "x-multi-segment": true },
    ] } } });
    assert_eq!(keys(&draft(&with_paths(&rest))), ["GET /files/{*path}"]);
}

#[test]
fn what_cannot_be_taken_over_is_told() {
    let document = with_paths(&json!({
        "/ok": { "get": {}, "trace": {}, "x-get": {} },
        "/a/{b": { "get": {} },
        "/q?x=1": { "get": {} },
        "/#frag": { "post": {} },
        "/far": { "$ref": "other.yaml#/x" },
        "/round": { "$ref": "#/paths/~1round" },
        "/same/{a}": { "get": { "operationId": "same" } },
        "/same/{b}": { "get": { "operationId": "same" } },
        "/other": { "get": { "operationId": "same" } },
        "x-other": {},
    }));
    let draft = draft(&document);
    let mut taken = keys(&draft);
    taken.sort();
    assert_eq!(taken, ["GET /ok", "GET /other", "GET /same/{a}"]);
    let names: Vec<&str> = draft.routes.iter().filter_map(|it| it.name.as_deref()).collect();
    assert!(names.contains(&"same") && names.contains(&"same-2"), "{names:?}");
    let notes = draft.notes.join("\n");
    for part in [
        "`GET /a/{b`: a brace",
        "`GET /q?x=1`: a path has no query",
        "`POST /#frag`",
        "`/far`: `other.yaml#/x` is in another document",
        "`/round`: references lead in a circle",
        "takes the same requests",
    ] {
        assert!(notes.contains(part), "{part}\n{notes}");
    }
}

#[test]
fn callers_are_identified_by_what_the_document_says_or_by_keys() {
    for (scheme, expected) in [
        (
            json!({ "type": "apiKey", "in": "query", "name": "k" }),
            json!({ "api_key": { "query": "k" } }),
        ),
        (json!({ "type": "apiKey", "in": "header", "name": "Authorization" }), json!("api_key")),
        (json!({ "type": "apiKey", "in": "header", "name": "a\r\nb: c" }), json!("api_key")),
        (json!({ "type": "http", "scheme": "Basic" }), json!("basic")),
        (json!({ "type": "http", "scheme": "bearer" }), json!("api_key")),
        (json!({ "type": "oauth2", "flows": {} }), json!("api_key")),
        (json!({ "type": "mutualTLS" }), json!("api_key")),
        (json!({ "$ref": "#/nowhere" }), json!("api_key")),
        (json!(7), json!("api_key")),
    ] {
        let mut document = with_paths(&json!({ "/": { "get": { "security": [] } } }));
        document["components"] = json!({ "securitySchemes": { "it": scheme } });
        assert_eq!(draft(&document).identity.policy, expected, "{scheme}");
    }
    let none = draft(&with_paths(&json!({ "/": { "get": {} } })));
    assert_eq!(none.identity.policy, json!("api_key"));
    assert!(none.json()["apis"]["shop-api"].get("public").is_none());
}

#[test]
fn hostile_documents_do_no_harm() {
    for (text, part) in [
        ("", "the file is empty"),
        ("[]", "no field `openapi`"),
        ("{", "no JSON"),
        ("openapi: 3.0.0\nswagger: '2.0'", "Swagger 2.0"),
        ("{\"openapi\": \"2.9\"}", "OpenAPI 2.9 is not known"),
        ("{\"openapi\": \"3.0.0\"}", "no operation"),
        ("{\"openapi\": \"3.0.0\", \"paths\": []}", "`paths` is not a map"),
    ] {
        let why = import(text, &Options::default()).unwrap_err();
        assert!(why.contains(part), "{text}: {why}");
    }
    let deep = format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200));
    assert!(import(&deep, &Options::default()).is_err());
    let text = "x\n  evil: true\n# \u{202e}";
    let mut document =
        with_paths(&json!({ "/a": { "get": { "summary": text, "operationId": text } } }));
    document["info"]["title"] = json!(text);
    let yaml = draft(&document).yaml();
    assert!(!yaml.contains("evil: true\n") && !yaml.contains('\u{202e}'), "{yaml}");
    for url in ["http://[::1]/x", "https://user:pw@127.0.0.1/x", "//x", "", "ftp://%00/", "/{a}"] {
        let mut document = with_paths(&json!({ "/a": { "get": {} } }));
        document["servers"] = json!([{ "url": url }]);
        let draft = draft(&document);
        assert!(draft.server.hosts.is_empty(), "{url}");
    }
}

#[test]
fn where_nobody_reads_notes_paths_of_other_documents_and_circles_are_flaws() {
    let document = json!({
        "openapi": "3.1.0", "info": { "title": "Shop" },
        "paths": {
            "/a": { "get": {} },
            "/b/{c}": { "$ref": "https://other.example/paths.yaml#/b" },
            "/d": { "$ref": "#/paths/~1d" },
        },
    });
    let flaws = super::import_strictly(&document.to_string(), &Options::default()).unwrap_err();
    let told: Vec<_> = flaws.iter().map(|it| (&*it.pointer, &*it.message)).collect();
    assert_eq!(told[0].0, "/paths/~1b~1{c}/$ref");
    assert!(told[0].1.contains("is in another document"), "{told:?}");
    assert_eq!(told[1], ("/paths/~1d/$ref", "references lead in a circle"));
    let kept = import(&document.to_string(), &Options::default()).unwrap();
    assert_eq!((kept.routes.len(), kept.notes.len() >= 2), (1, true));
}
