use super::KIND;
use crate::access::{Access, Grant, Roles};
use crate::fixture::{self, Built, World};
use crate::identity::Identity;
use serde_json::{Value, json};
use std::sync::Arc;
use traffic::directory::{Consumer, Credential, CredentialKind};
use traffic::policy::{Asked, Foreseen, Knows, Placement};
use traffic::{Exchange, Policy};

fn world() -> World {
    let grant = |permissions: &[&str]| Grant {
        api: Some("orders".into()),
        permissions: permissions.iter().map(|name| (*name).into()).collect(),
        ..Grant::default()
    };
    let roles = Roles::new([
        ("reader".into(), vec![grant(&["read"])]),
        ("clerk".into(), vec![grant(&["read", "create", "update"])]),
        ("boss".into(), vec![Grant::default()]),
        ("approver".into(), vec![grant(&["approve"])]),
    ]);
    World::with_access(Access { roles, ..Access::default() })
}

/// The policy of a route with these settings, those of the outermost owner first.
fn on_route(settings: &[Value]) -> Built {
    let world = world();
    let built = |settings| world.build(&KIND, settings).unwrap_or_else(|it| panic!("{it}")).0;
    let same: Vec<Arc<dyn Policy>> = settings.iter().map(built).collect();
    let (api, route) = ("orders", "GET /{id}");
    let position = same.len() - 1;
    let at = Placement { api, route, same: &same, position };
    Built(same[position].at_route(&at).unwrap())
}

fn called(request: &str, roles: &[&str], groups: &[&str], claims: &Value) -> Exchange {
    let mut exchange = fixture::exchange(request);
    let names = |names: &[&str]| names.iter().map(|name| (*name).into()).collect();
    let (roles, groups) = (names(roles), names(groups));
    let consumer = Consumer { name: "alice".into(), groups, roles, ..Consumer::default() };
    exchange.consumer = Some(Arc::new(consumer));
    exchange.claims = claims.as_object().map(|claims| Arc::new(claims.into()));
    exchange
}

fn check(settings: &[Value], mut exchange: Exchange, expected: &str) {
    let outcome = on_route(settings).request(&mut exchange);
    let expected = if expected == "no" { "permission_missing" } else { "continue" };
    let consumer = exchange.consumer;
    assert_eq!(outcome, expected, "{settings:?} {consumer:?} {:?}", exchange.claims);
}

#[test]
fn nobody_may_do_what_no_role_permits() {
    let plain = [Value::Null];
    let check = |request, roles: &[&str], expected| {
        check(&plain, called(request, roles, &[], &Value::Null), expected);
    };
    check("GET /", &[], "no");
    check("GET /", &["reader"], "yes");
    check("POST /", &["reader"], "no");
    check("POST /", &["reader", "clerk"], "yes");
    check("DELETE /", &["clerk"], "no");
    check("DELETE /", &["boss"], "yes");
    check("GET /", &["gone"], "no");
    check("GET /", &["Reader"], "no");
    nobody(&plain);
}

fn nobody(settings: &[Value]) {
    let mut exchange = fixture::exchange("GET /");
    exchange.claims =
        json!({ "roles": ["boss"] }).as_object().map(|claims| Arc::new(claims.into()));
    check(settings, exchange, "no");
}

#[test]
fn roles_come_from_groups_and_claims() {
    let groups = json!({ "groups": { "staff": "clerk", "audit": ["reader"] } });
    let groups = [groups];
    check(&groups, called("POST /", &[], &["staff"], &Value::Null), "yes");
    check(&groups, called("POST /", &[], &["audit"], &Value::Null), "no");
    check(&groups, called("POST /", &["reader"], &["other"], &Value::Null), "no");
    let claims = [json!({ "claims": [
        { "claim": "realm.roles", "roles": { "sales": "clerk", "chief": ["boss"] } },
        { "claim": "scope", "roles": { "orders:read": "reader" } },
        { "claim": "vip", "roles": { "true": "clerk" } },
    ] })];
    for (claims_said, request, expected) in [
        (json!({ "realm": { "roles": ["a", "sales"] } }), "POST /", "yes"),
        (json!({ "realm": { "roles": "sales" } }), "POST /", "yes"),
        (json!({ "realm.roles": ["sales"] }), "POST /", "yes"),
        (json!({ "realm": { "roles": ["sales"] } }), "DELETE /", "no"),
        (json!({ "realm": { "roles": { "sales": true } } }), "POST /", "no"),
        (json!({ "realm": { "roles": "not sales" } }), "POST /", "no"),
        (json!({ "realm": { "roles": ["clerk"] } }), "POST /", "no"),
        (json!({ "scope": "openid orders:read" }), "GET /", "yes"),
        (json!({ "scope": "openid orders:readx" }), "GET /", "no"),
        (json!({ "vip": true }), "POST /", "yes"),
        (json!({ "vip": false }), "POST /", "no"),
        (json!({}), "GET /", "no"),
    ] {
        check(&claims, called(request, &[], &[], &claims_said), expected);
    }
}

#[test]
fn an_issuer_gives_no_roles_in_place_of_another() {
    let settings = [json!({ "claims": [{ "claim": "roles", "issuer": "https://a" }] })];
    for (claims, expected) in [
        (json!({ "iss": "https://a", "roles": ["boss"] }), "yes"),
        (json!({ "iss": "https://b", "roles": ["boss"] }), "no"),
        (json!({ "iss": "https://a/", "roles": ["boss"] }), "no"),
        (json!({ "iss": ["https://a"], "roles": ["boss"] }), "no"),
        (json!({ "roles": ["boss"] }), "no"),
    ] {
        check(&settings, called("DELETE /", &[], &[], &claims), expected);
    }
}

#[test]
fn where_several_issuers_vouch_each_speaks_for_itself() {
    let settings = [json!({ "claims": [{ "claim": "roles", "issuer": "https://a" }] })];
    let anybody = [json!({ "claims": [{ "claim": "roles" }] })];
    let a = json!({ "iss": "https://a", "roles": ["reader"] });
    let b = json!({ "iss": "https://b", "roles": ["boss"], "more": true });
    let nobody = json!({ "roles": ["boss"] });
    // Of two whom the directory does not know the later one counts.
    for (first, second, by_issuer, by_anybody) in [
        (&a, &b, "no", "yes"),
        (&b, &a, "no", "no"),
        (&a, &nobody, "no", "yes"),
        (&nobody, &a, "no", "no"),
        (
            &json!({ "iss": "https://b" }),
            &json!({ "iss": "https://a", "roles": ["boss"] }),
            "yes",
            "yes",
        ),
    ] {
        let said = |settings: &[Value], expected| {
            let mut exchange = called("DELETE /", &[], &[], &Value::Null);
            let identity = |claims: &Value| Identity {
                claims: claims.as_object().map(|claims| Arc::new(claims.into())),
                ..Identity::default()
            };
            let both = identity(first).and(identity(second)).unwrap();
            let consumer = exchange.consumer.take();
            both.replace(&mut exchange);
            exchange.consumer = consumer;
            assert_eq!(exchange.said().count(), 2);
            check(settings, exchange, expected);
        };
        said(&settings, by_issuer);
        said(&anybody, by_anybody);
    }
}

#[test]
fn an_application_uses_no_more_roles_than_it_says() {
    let settings = [json!({ "groups": { "staff": ["clerk"] } })];
    let using = |used: &[&str], request: &str| {
        let mut exchange = called(request, &["boss"], &["staff"], &Value::Null);
        let consumer = exchange.consumer.clone().unwrap();
        let roles = Some(used.iter().map(|name| (*name).into()).collect());
        let credential = Credential { roles, ..Credential::new(CredentialKind::ApiKey, consumer) };
        exchange.credential = Some(Arc::new(credential));
        exchange
    };
    check(&settings, using(&["boss"], "DELETE /"), "yes");
    check(&settings, using(&["clerk"], "DELETE /"), "no");
    check(&settings, using(&["clerk"], "POST /"), "yes");
    check(&settings, using(&["reader"], "GET /"), "no");
    check(&settings, using(&[], "GET /"), "no");
    check(&settings, using(&["gone"], "GET /"), "no");
}

#[test]
fn an_inner_one_replaces_the_permission_of_the_method_and_widens_nothing() {
    let outer = json!({ "groups": { "staff": "reader" } });
    let inner = json!({ "permission": "approve", "groups": { "leads": "approver" } });
    let both = [outer.clone(), inner];
    check(&both, called("POST /", &["boss"], &[], &Value::Null), "yes");
    check(&both, called("POST /", &[], &["leads"], &Value::Null), "yes");
    check(&both, called("GET /", &[], &["staff"], &Value::Null), "no");
    check(&both, called("POST /", &["clerk"], &[], &Value::Null), "no");
    let read = [outer, json!("read")];
    check(&read, called("POST /", &[], &["staff"], &Value::Null), "yes");
    // Whoever the outer one keeps out stays out.
    let admin = [json!("admin"), json!("read")];
    check(&admin, called("GET /", &["reader"], &[], &Value::Null), "no");
    check(&admin, called("GET /", &["boss"], &[], &Value::Null), "yes");
    let given = [
        json!({ "permission": "approve", "groups": { "leads": "approver" } }),
        json!({ "permission": "create", "groups": { "leads": "clerk", "staff": "boss" } }),
    ];
    check(&given, called("POST /", &[], &["leads"], &Value::Null), "yes");
    check(&given, called("POST /", &[], &["staff"], &Value::Null), "no");
    check(&given, called("POST /", &["approver"], &[], &Value::Null), "no");
    check(&given, called("POST /", &["approver"], &["staff"], &Value::Null), "yes");
    let world = world();
    let one = || world.build(&KIND, &Value::Null).unwrap().0;
    let same = [one(), one()];
    let at = Placement { api: "orders", route: "a", same: &same, position: 0 };
    let joined = Built(same[0].at_route(&at).unwrap());
    assert_eq!(joined.request(&mut fixture::exchange("GET /")), "continue", "the last decides");
}

#[test]
fn one_that_no_route_has_refuses() {
    let policy = world().build(&KIND, &Value::Null).unwrap();
    let mut exchange = called("GET /", &["boss"], &[], &Value::Null);
    assert_eq!(policy.request(&mut exchange), "permission_missing");
}

#[test]
fn the_log_is_told_what_is_lacking_and_the_client_is_not() {
    let policy = on_route(&[Value::Null]);
    let fault =
        policy.fault(&mut called("DELETE /", &["reader", "gone", "clerk"], &[], &Value::Null));
    assert_eq!(fault.detail, None);
    assert_eq!(fault.cause.unwrap().to_string(), "`delete` is lacking; roles: reader, clerk");
    let fault = policy.fault(&mut called("GET /", &[], &[], &Value::Null));
    assert_eq!(fault.cause.unwrap().to_string(), "`read` is lacking; roles: none");
}

#[test]
fn what_tokens_may_say_is_told_in_advance() {
    let policy = on_route(&[json!({ "claims": [
        { "claim": "realm.roles", "roles": { "sales": "clerk" } },
    ] })]);
    let foreseen = |request: &str, roles: &[&str], claims| {
        let exchange = called(request, roles, &[], &Value::Null);
        let knows = Knows { caller: true, claims, method: true, path: true };
        policy.0.foresee(&Asked { exchange: &exchange, shows: None, knows }).unwrap()
    };
    let passes = |why: &str| Foreseen::Passes(why.to_owned());
    assert_eq!(foreseen("GET /", &["reader"], false), passes("`read` by role `reader`"));
    assert_eq!(
        foreseen("POST /", &["reader"], false),
        Foreseen::Depends("`claims.realm.roles`".to_owned())
    );
    assert!(matches!(foreseen("POST /", &["reader"], true), Foreseen::Refuses(_)));
    assert!(matches!(foreseen("DELETE /", &["reader"], false), Foreseen::Refuses(_)));
}

#[test]
fn settings_that_cannot_work_are_told() {
    let world = world();
    for (settings, part) in [
        (json!("Approve it"), "cannot be the name of a permission"),
        (json!({ "groups": { "staff": "clrek" } }), "did you mean `clerk`?"),
        (json!({ "claims": [{ "claim": "a", "roles": { "b": ["x"] } }] }), "there is no role `x`"),
        (json!({ "claims": [{ "roles": {} }] }), "`claim` is missing"),
        (json!({ "permissions": "a" }), "did you mean `permission`"),
    ] {
        match world.build(&KIND, &settings) {
            Ok(_) => panic!("{settings} is accepted"),
            Err(problems) => assert!(problems.contains(part), "{settings}: {problems}"),
        }
    }
    let nothing = World::default().warnings(&KIND, &Value::Null);
    assert!(nothing.contains("there are no roles"), "{nothing}");
}

#[test]
fn a_request_that_passes_allocates_nothing() {
    let policy = on_route(&[json!({ "groups": { "staff": "clerk" }, "claims": [
        { "claim": "realm.roles", "issuer": "https://a", "roles": { "sales": "clerk" } },
    ] })]);
    let said = json!({ "iss": "https://a", "realm": { "roles": ["other", "sales"] } });
    let mut exchange = called("POST /", &["reader"], &["x"], &said);
    let info = allocation_counter::measure(|| {
        assert!(matches!(
            policy.0.on_request(&mut exchange, fixture::SLOT).now(),
            Ok(Ok(traffic::Flow::Continue))
        ));
    });
    assert_eq!(info.count_total, 0);
}
