use super::{Part, assemble, split};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use serde_json::{Map, Value, json};
use store::object::Object;

/// The objects that come of parts.
fn objects(parts: &[Part]) -> Vec<Object> {
    let object = |(at, part): (usize, &Part)| Object {
        id: at.to_string(),
        workspace: String::new(),
        kind: part.kind.to_owned(),
        owner: part.owner.map(|at| at.to_string()).unwrap_or_default(),
        name: if part.kind == "route" || part.kind == "policy" {
            at.to_string()
        } else {
            part.key.clone()
        },
        position: i64::try_from(at).unwrap(),
        body: part.body.to_string(),
        revision: 1,
        created_ms: 0,
        updated_ms: 0,
    };
    parts.iter().enumerate().map(object).collect()
}

fn named(values: Vec<(String, Value)>) -> Value {
    Value::Object(Map::from_iter(values))
}

fn names(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    vec(("[a-d]{1,2}", value), 1..4).prop_map(named)
}

fn policy() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!("api_key")),
        "[a-z]{1,4}".prop_map(|kind| json!({ kind: { "id": "x", "n": 1 } })),
        any::<u8>().prop_map(|n| json!({ "rate_limit": format!("{n}/s") })),
    ]
}

fn route() -> impl Strategy<Value = Value> {
    let policies = || vec(policy(), 1..3);
    prop_oneof![
        "[a-c]".prop_map(|path| json!(format!("GET /{path}"))),
        ("[a-c]", policies())
            .prop_map(|(path, all)| json!({ format!("/{path}/~*"): { "policies": all } })),
        ("[a-c]", policies())
            .prop_map(|(path, all)| json!({ "path": format!("/{path}"), "policies": all })),
        Just(json!({ "methods": ["PUT"], "path": "/x", "name": "put" })),
    ]
}

fn api() -> impl Strategy<Value = Value> {
    (vec(route(), 1..5), vec(policy(), 1..3), any::<bool>()).prop_map(|(routes, policies, has)| {
        if has {
            json!({ "path": "/a", "routes": routes, "policies": policies })
        } else {
            json!({ "upstream": "u" })
        }
    })
}

fn config() -> impl Strategy<Value = Value> {
    let upstream = Just(json!({ "targets": ["10.0.0.1:80"], "policies": [1] }));
    (names(api()), names(upstream), vec(policy(), 1..3), any::<bool>()).prop_map(
        |(apis, upstreams, policies, is_long)| {
            let mut config = json!({ "version": 1, "apis": apis, "upstreams": upstreams });
            if is_long {
                config["policies"] = Value::Array(policies);
                config["access_log"] = json!({ "to": "off" });
                config["roles"] = json!({ "clerk": { "orders": "GET /" } });
                config["dns"] = json!(["a", { "b": null }]);
            }
            config
        },
    )
}

proptest! {
    #[test]
    fn a_config_taken_apart_and_put_together_is_itself(config in config()) {
        let parts = split(&config).unwrap();
        let objects = objects(&parts);
        let again = assemble(&objects);
        assert_eq!(again, config);
        assert_eq!(split(&again).unwrap().len(), parts.len());
    }

    #[test]
    fn each_part_stands_where_its_pointer_says(config in config()) {
        let parts = split(&config).unwrap();
        for part in &parts {
            let there = config.pointer(&part.pointer);
            assert!(there.is_some(), "{}", part.pointer);
        }
        let objects = objects(&parts);
        let whole = super::whole(&objects);
        for (object, part) in objects.iter().zip(&parts) {
            assert_eq!(whole.pointers[&object.id], part.pointer);
        }
    }
}

#[test]
fn ways_to_write_the_same_are_the_same() {
    let keys = |routes: Value| {
        let parts = split(&json!({ "version": 1, "apis": { "a": { "routes": routes } } })).unwrap();
        parts.into_iter().skip(1).map(|part| (part.key, part.body)).collect::<Vec<_>>()
    };
    assert_eq!(keys(json!(["GET /a"])), keys(json!([{ "GET /a": {} }])));
    assert_eq!(keys(json!(["GET /a"])), keys(json!([{ "GET /a": { "policies": [] } }])));
    assert_eq!(
        keys(json!(["GET /a"]))[0].0,
        keys(json!([{ "methods": ["GET"], "path": "/a" }]))[0].0
    );
    let twice = keys(json!(["/a", { "/a": { "headers": { "x": "y" } } }]));
    assert_eq!((&*twice[0].0, &*twice[1].0), ("/a", "/a#2"));
}

#[test]
fn an_object_and_its_parts_say_one_thing_however_they_were_written() {
    let mut objects =
        objects(&split(&json!({ "apis": { "a": { "routes": ["GET /a"] } } })).unwrap());
    let policy = Object {
        id: "p".into(),
        kind: "policy".into(),
        owner: "1".into(),
        body: "\"api_key\"".into(),
        ..objects[0].clone()
    };
    objects.push(policy);
    assert_eq!(
        assemble(&objects)["apis"]["a"]["routes"],
        json!([{ "GET /a": { "policies": ["api_key"] } }])
    );
}

#[test]
fn what_cannot_be_kept_is_told_where_it_stands() {
    let pointers = |config: Value| {
        let findings = split(&config).unwrap_err();
        findings.into_iter().map(|it| it.pointer).collect::<Vec<_>>()
    };
    assert_eq!(pointers(json!([])), [""]);
    let bad = json!({ "version": 2, "include": ["a"], "consumers": {}, "apis": { "../x": {}, "A/b": {} }, "upstreams": [], "x y": 1 });
    assert_eq!(
        pointers(bad),
        ["/version", "/include", "/consumers", "/apis/..~1x", "/apis/A~1b", "/upstreams", "/x y"]
    );
    let large = json!({ "upstreams": { "u": "x".repeat(1 << 20) } });
    assert_eq!(pointers(large), ["/upstreams/u"]);
}
