use super::KIND;
use crate::access::{Access, Grant, Roles};
use crate::fixture::{self, Built, World};
use serde_json::{Value, json};
use std::sync::Arc;
use traffic::Exchange;
use traffic::directory::{Consumer, Credential, CredentialKind};
use traffic::exchange::KeptClaims;
use traffic::policy::{Asked, Foreseen, Knows, Placement};

fn called(request: &str, name: &str, claims: &Value) -> Exchange {
    let mut exchange = fixture::routed("/orders/{id}", request);
    let consumer = Consumer {
        name: name.into(),
        groups: Box::new(["staff".into()]),
        roles: Box::new(["clerk".into(), "boss".into()]),
        is_known: !name.contains('/'),
        ..Consumer::default()
    };
    exchange.consumer = (!name.is_empty()).then(|| Arc::new(consumer));
    exchange.claims = claims.as_object().map(|claims| Arc::new(KeptClaims::from(claims)));
    exchange
}

fn alice() -> Exchange {
    called("GET /orders/1", "alice", &Value::Null)
}

/// A policy as it is on its route.
fn on_route(built: &Built) -> Built {
    let at = Placement { api: "test", route: "route", same: &[], position: 0 };
    Built(built.0.at_route(&at).unwrap())
}

fn built(settings: &Value) -> Built {
    on_route(&fixture::built(&KIND, settings))
}

fn check(policies: &str, mut exchange: Exchange, expected: &str) {
    let settings = json!({ "policies": policies, "headers": ["X-Tenant"] });
    assert_eq!(built(&settings).request(&mut exchange), expected, "{policies}");
}

#[test]
fn policies_read_who_calls_what_and_how() {
    let said = json!({ "teams": ["blue", "red"], "level": 3, "half": 0.5, "none": null, "org": { "id": "a" } });
    for (condition, expected) in [
        ("principal == Consumer::\"alice\"", true),
        ("principal == Consumer::\"bob\"", false),
        ("principal in Group::\"staff\" && principal in Role::\"clerk\"", true),
        ("principal in Group::\"clerk\"", false),
        ("principal.name == \"alice\" && principal.known && principal.application == \"\"", true),
        ("principal.claims.teams.contains(\"red\") && principal.claims.level > 2", true),
        (
            "principal.claims.org.id == \"a\" && !(principal.claims has half) && !(principal.claims has none)",
            true,
        ),
        ("action == Action::\"GET\" && action in Action::\"read\"", true),
        ("action in Action::\"update\"", false),
        (
            "resource in Api::\"test\" && resource == Route::\"test/route\" && resource.name == \"route\"",
            true,
        ),
        (
            "context.params.id == \"a b\" && context.method == \"GET\" && context.host == \"api.example.com\"",
            true,
        ),
        ("context.path == \"/orders/a%20b\" && context.address == ip(\"192.0.2.7\")", true),
        ("context.address.isInRange(ip(\"198.51.100.0/24\"))", false),
        ("context.headers[\"x-tenant\"] == \"one, two\"", true),
        ("context.headers has \"x-other\"", false),
    ] {
        let policy = format!("permit(principal, action, resource) when {{ {condition} }};");
        let request = "GET /orders/a%20b\nx-tenant: one\nx-tenant: two\nx-other: 1";
        let exchange = called(request, "alice", &said);
        check(&policy, exchange, if expected { "continue" } else { "access_denied" });
    }
}

#[test]
fn what_no_policy_permits_is_refused_and_a_forbid_that_fails_forbids() {
    let permit = "permit(principal, action, resource);";
    let failing = "(principal, action, resource) when { principal.claims.vip };";
    check(permit, alice(), "continue");
    check("", alice(), "access_denied");
    let forbid = "forbid(principal in Group::\"staff\", action, resource);";
    check(&format!("{permit} {forbid}"), alice(), "access_denied");
    check(&format!("{permit} forbid{failing}"), alice(), "access_undecided");
    check(&format!("permit{failing}"), alice(), "access_undecided");
    check(&format!("{permit} permit{failing}"), alice(), "continue");
    check(permit, called("GET /orders/1", "", &Value::Null), "continue");
    let known = "permit(principal is Consumer, action, resource);";
    check(known, called("GET /orders/1", "", &Value::Null), "access_denied");
}

#[test]
fn a_header_that_is_no_text_is_not_taken_for_one_that_is_absent() {
    let policies =
        "permit(principal, action, resource) unless { context.headers has \"x-tenant\" };";
    check(policies, alice(), "continue");
    let mut exchange = alice();
    let value = http::HeaderValue::from_bytes(b"\xff").unwrap();
    exchange.request.headers.append(http::HeaderName::from_static("x-tenant"), value);
    check(policies, exchange, "access_undecided");
}

#[test]
fn before_it_is_told_its_route_it_lets_nothing_pass() {
    let policy =
        fixture::built(&KIND, &json!({ "policies": "permit(principal, action, resource);" }));
    assert_eq!(policy.request(&mut alice()), "access_undecided");
}

#[test]
fn an_application_uses_no_more_roles_than_it_says() {
    let mut exchange = alice();
    let consumer = exchange.consumer.clone().unwrap();
    let roles: Option<Box<[Arc<str>]>> = Some(Box::new(["clerk".into()]));
    let credential = Credential { roles, ..Credential::new(CredentialKind::ApiKey, consumer) };
    exchange.credential = Some(Arc::new(credential));
    let settings = json!({ "policies": "permit(principal in Role::\"boss\", action, resource);" });
    assert_eq!(built(&settings).request(&mut exchange), "access_denied");
}

#[test]
fn entities_of_the_config_say_more_of_consumers_routes_and_groups() {
    let entities = json!([
        { "uid": { "type": "Consumer", "id": "alice" }, "attrs": { "team": "blue" }, "parents": [{ "type": "Group", "id": "friends" }] },
        { "uid": { "type": "Group", "id": "staff" }, "attrs": {}, "parents": [{ "type": "Group", "id": "company" }] },
        { "uid": { "type": "Route", "id": "test/route" }, "attrs": { "owner": "blue", "at": { "__entity": { "type": "Place", "id": "hall" } } }, "parents": [] },
        { "uid": { "type": "Place", "id": "hall" }, "attrs": { "floor": 2 }, "parents": [{ "type": "Place", "id": "house" }] },
        { "uid": { "type": "Place", "id": "house" }, "attrs": { "floors": 3 }, "parents": [] },
    ]);
    for (condition, expected) in [
        ("principal.team == resource.owner", "continue"),
        ("principal in Group::\"friends\" && principal.name == \"alice\"", "continue"),
        ("principal in Group::\"company\"", "continue"),
        ("resource.at.floor == 2 && resource.at in Place::\"house\"", "continue"),
        ("Place::\"house\".floors == 3", "continue"),
        ("principal in Group::\"strangers\"", "access_denied"),
    ] {
        let policies = format!("permit(principal, action, resource) when {{ {condition} }};");
        for entities in [entities.clone(), json!(entities.to_string())] {
            let settings = json!({ "policies": policies, "entities": entities });
            assert_eq!(built(&settings).request(&mut alice()), expected, "{condition}");
        }
    }
    let refused = |entities: Value, part: &str| {
        fixture::refuses(&KIND, &json!({ "policies": "", "entities": entities }), part);
    };
    refused(
        json!([{ "uid": { "type": "Consumer", "id": "a" }, "attrs": { "known": true }, "parents": [] }]),
        "says `known`",
    );
    refused(
        json!([{ "uid": { "type": "Action", "id": "GET" }, "attrs": {}, "parents": [] }]),
        "made by the gateway",
    );
    refused(json!("[\n{"), "line 2, column 1 of the text: EOF");
    refused(json!([{ "uid": "Group" }]), "missing field `attrs`");
}

#[test]
fn the_log_tells_which_policy_refused_and_the_client_what_it_should_know() {
    let policies = "permit(principal, action, resource);\n@id(\"no-late\")\nforbid(principal, action, resource);";
    let settings = json!({ "policies": policies, "reason": "come back tomorrow" });
    let fault = built(&settings).fault(&mut alice());
    assert_eq!(fault.cause.unwrap().to_string(), "policy `no-late` forbids it");
    assert_eq!(fault.detail.as_deref(), Some("come back tomorrow"));
    let settings = json!({ "policies": policies.replace("@id(\"no-late\")", "// late") });
    let fault = built(&settings).fault(&mut alice());
    assert_eq!(fault.cause.unwrap().to_string(), "the policy at line 3 forbids it");
    let fault = built(&json!({ "policies": "" })).fault(&mut alice());
    assert_eq!(fault.cause.unwrap().to_string(), "no policy permits it");
}

#[test]
fn what_is_no_cedar_is_told_at_its_line() {
    let refused = |settings: Value, part: &str| fixture::refuses(&KIND, &settings, part);
    refused(json!({ "policies": "permit(principal);" }), "column 1");
    let second =
        "permit(principal, action, resource);\npermit(principal, action, resource) when { 1 + };";
    refused(json!({ "policies": second }), "line 2, column 48 of the text");
    refused(json!({}), "`policies` is missing");
    refused(
        json!({ "policies": "file:none.cedar" }),
        "cannot read `none.cedar`: there is no such file",
    );
    refused(json!({ "policies": "", "headers": ["x tenant"] }), "is not a header name");
    refused(json!({ "policies": "", "schema": "entity" }), "column");
    let slot = "permit(principal == ?principal, action, resource);";
    refused(json!({ "policies": slot }), "this is a template");
    let world = World::default();
    world.files.write("orders.cedar", format!("// ours\n{second}"));
    for policies in [json!("file:orders.cedar"), json!({ "file": "orders.cedar" })] {
        let problems = world.build(&KIND, &json!({ "policies": policies })).err().unwrap();
        assert!(problems.contains("orders.cedar:3:48"), "{problems}");
    }
    world.files.write("orders.cedar", vec![0xff]);
    let problems = world.build(&KIND, &json!({ "policies": "file:orders.cedar" })).err().unwrap();
    assert!(problems.contains("is not text in UTF-8"), "{problems}");
}

#[test]
fn a_file_is_used_as_a_text_is() {
    let world = World::default();
    world.files.write("a.cedar", "\nforbid(principal, action, resource);");
    let policy = on_route(&world.build(&KIND, &json!({ "policies": "file:a.cedar" })).unwrap());
    let fault = policy.fault(&mut alice());
    assert_eq!(fault.cause.unwrap().to_string(), "the policy at line 2 forbids it");
    assert_eq!(policy.0.about(), ["1 policies of a.cedar"]);
}

/// The schema of the guide.
const SCHEMA: &str = "
entity Group; entity Role; entity Api;
entity Consumer in [Group, Role] { name: String, known: Bool, application: String, claims: { team?: String } };
entity Route in [Api] { api: String, name: String };
action read; action create; action update; action delete; action admin;
action GET in [read] appliesTo { principal: Consumer, resource: Route,
  context: { method: String, host: String, path: String, address?: ipaddr, params: {}, headers: {} } };
";

#[test]
fn policies_must_fit_their_schema() {
    let with = |policies: &str| {
        World::default().build(&KIND, &json!({ "policies": policies, "schema": SCHEMA }))
    };
    let good = "permit(principal, action == Action::\"GET\", resource) when { principal.claims has team };";
    assert!(with(good).is_ok());
    let bad = "\npermit(principal, action == Action::\"GET\", resource)\nwhen { principal.nam == \"a\" };";
    let problems = with(bad).err().unwrap();
    assert!(
        problems.contains("line 3, column 8 of the text") && problems.contains("nam"),
        "{problems}"
    );
}

#[test]
fn names_that_mean_nothing_are_told() {
    let grants = vec![Grant::default()];
    let access = Access {
        roles: Roles::new([("clerk".into(), grants)]),
        consumers: ["alice".to_owned()].into(),
        groups: ["staff".to_owned()].into(),
    };
    let world = World::with_access(access);
    let permit = |scope: &str| format!("permit({scope});");
    for (scope, part) in [
        (
            "principal == Consumer::\"alicce\", action, resource",
            "did you mean `Consumer::\"alice\"`?",
        ),
        ("principal in Group::\"staf\", action, resource", "did you mean `Group::\"staff\"`?"),
        ("principal in Role::\"boss\", action, resource", "there is no role `boss`"),
        ("principal, action in Action::\"reed\", resource", "did you mean `Action::\"read\"`?"),
        (
            "principal, action == Action::\"get\", resource",
            "there is no method or permission `get`",
        ),
        ("principal, action, resource in Apis::\"orders\"", "did you mean `Api`?"),
    ] {
        let told = world.warnings(&KIND, &json!({ "policies": permit(scope) }));
        assert!(told.contains(part), "{scope}: {told}");
    }
    for scope in [
        "principal == Consumer::\"alice\", action == Action::\"GET\", resource",
        "principal in Group::\"remote\", action in Action::\"update\", resource in Api::\"orders\"",
        "principal == Consumer::\"idp/alice\", action == Action::\"PROPFIND\", resource",
    ] {
        assert_eq!(world.warnings(&KIND, &json!({ "policies": permit(scope) })), "", "{scope}");
    }
    let told =
        world.warnings(&KIND, &json!({ "policies": "forbid(principal, action, resource);" }));
    assert!(told.contains("no policy permits anything"), "{told}");
    let twice = "@id(\"a\") permit(principal, action, resource);\n".repeat(2);
    let told = world.warnings(&KIND, &json!({ "policies": twice }));
    assert!(told.contains("line 2, column 1 of the text: a second policy is called `a`"), "{told}");
}

#[test]
fn many_policies_are_not_judged_on_the_worker() {
    let few = "permit(principal, action, resource);\n";
    assert!(!built(&json!({ "policies": few })).waits(&mut alice()));
    let many = few.repeat(1_000);
    let policy = built(&json!({ "policies": many }));
    assert!(policy.waits(&mut alice()));
    assert_eq!(policy.request(&mut alice()), "continue");
    let settings = json!({ "policies": format!("{many} forbid(principal, action, resource);") });
    assert_eq!(built(&settings).request(&mut alice()), "access_denied");
}

fn foreseen(policies: &str, exchange: &Exchange, knows: Knows) -> String {
    let asked = Asked { exchange, shows: None, knows };
    match built(&json!({ "policies": policies })).0.foresee(&asked).unwrap() {
        Foreseen::Passes(why) => format!("passes: {why}"),
        Foreseen::Refuses(why) => format!("refuses: {why}"),
        Foreseen::Depends(on) => format!("depends: {on}"),
    }
}

const KNOWN: Knows = Knows { caller: true, claims: false, method: true, path: true };

#[test]
fn what_does_not_depend_on_the_request_is_known_in_advance() {
    let permit = "@id(\"all\") permit(principal, action, resource);";
    let staff = "@id(\"staff\") permit(principal in Group::\"staff\", action, resource);";
    let team = |effect: &str| {
        format!(
            "@id(\"team\") {effect}(principal, action, resource) when {{ principal.claims.team == \"a\" }};"
        )
    };
    let sent = "@id(\"sent\") forbid(principal, action == Action::\"GET\", resource) when { context.headers has \"x-a\" };";
    let elsewhere = "@id(\"sent\") forbid(principal, action == Action::\"POST\", resource) when { context.headers has \"x-a\" };";
    for (policies, expected) in [
        (staff.to_owned(), "passes: policy `staff`"),
        (staff.replace("staff", "other"), "refuses: no policy permits it"),
        (format!("{permit} {staff}"), "passes: policy `all`, policy `staff`"),
        (team("permit"), "depends: policy `team`"),
        (format!("{staff} {}", team("permit")), "passes: policy `staff`"),
        (format!("{staff} {}", team("forbid")), "depends: policy `team`"),
        (format!("{permit} {sent}"), "depends: policy `sent`"),
        (format!("{permit} {elsewhere}"), "passes: policy `all`"),
        (
            format!("{} forbid(principal, action, resource);", team("permit")),
            "refuses: the policy at line 1 forbids it",
        ),
        (
            "@id(\"one\") permit(principal, action, resource) when { context.params.id == \"1\" };"
                .to_owned(),
            "passes: policy `one`",
        ),
    ] {
        assert_eq!(foreseen(&policies, &alice(), KNOWN), expected, "{policies}");
    }
    let one =
        "@id(\"one\") permit(principal, action, resource) when { context.params.id == \"1\" };";
    let anywhere = Knows { path: false, ..KNOWN };
    assert_eq!(foreseen(one, &alice(), anywhere), "depends: policy `one`");
    let claims = Knows { claims: true, ..KNOWN };
    assert_eq!(
        foreseen(
            &team("permit"),
            &called("GET /orders/1", "alice", &json!({ "team": "a" })),
            claims
        ),
        "passes: policy `team`"
    );
}

#[test]
fn nobody_knows_the_groups_of_a_stranger_in_advance() {
    let stranger = called("GET /orders/1", "?/?", &Value::Null);
    for (scope, expected) in [
        ("principal in Group::\"idp/staff\", action, resource", "depends: policy `x`"),
        ("principal == Consumer::\"idp/alice\", action, resource", "depends: policy `x`"),
        (
            "principal in Group::\"idp/staff\", action == Action::\"POST\", resource",
            "refuses: no policy permits it",
        ),
        ("principal is Consumer, action, resource", "passes: policy `x`"),
        ("principal in Role::\"owner\", action, resource", "refuses: no policy permits it"),
    ] {
        let policies = format!("@id(\"x\") permit({scope});");
        assert_eq!(foreseen(&policies, &stranger, KNOWN), expected, "{scope}");
    }
    let known = "@id(\"x\") permit(principal, action, resource) when { principal.known };";
    assert_eq!(foreseen(known, &stranger, KNOWN), "refuses: no policy permits it");
}
