use super::KIND;
use crate::files::{Files as _, shelf};
use crate::fixture::{self, Built, World};
use crate::kinds::{deny, rate_limit};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use testkit::mmdb::database;
use traffic::Exchange;
use traffic::exchange::Connection;

fn from(address: &str) -> Exchange {
    let mut exchange = fixture::exchange("GET /");
    let peer = SocketAddr::new(address.parse().unwrap(), 40_000);
    let local = "192.0.2.1:443".parse().unwrap();
    exchange.connection = Arc::new(Connection::plain("public".into(), peer, local));
    exchange
}

fn countries(second: &str) -> Vec<u8> {
    let says = |code: &str| json!({ "country": { "iso_code": code, "names": { "en": code } } });
    database(
        "Test-Country",
        &[
            ("192.0.2.0/24", says("GB")),
            ("198.51.100.0/24", says(second)),
            ("2001:db8::/32", says("DE")),
            ("203.0.113.0/24", json!({ "continent": { "code": "EU" } })),
        ],
    )
}

fn systems() -> Vec<u8> {
    database(
        "Test-ASN",
        &[
            ("192.0.2.0/25", json!({ "autonomous_system_number": 64_496 })),
            ("198.51.100.0/24", json!({ "asn": "AS64497" })),
        ],
    )
}

fn world() -> World {
    let world = World::default();
    world.files.write("country.mmdb", countries("IE"));
    world.files.write("asn.mmdb", systems());
    world
}

fn passes(policy: &Built, address: &str) -> bool {
    match policy.request(&mut from(address)).as_str() {
        "continue" => true,
        "country_refused" => false,
        other => panic!("{other}"),
    }
}

#[test]
fn clients_pass_by_where_the_database_says_they_are() {
    let world = world();
    // Great Britain and AS64496; Great Britain; Ireland and AS64497; Germany; nowhere; nobody.
    let addresses =
        ["192.0.2.7", "192.0.2.200", "198.51.100.7", "2001:db8::7", "203.0.113.7", "0.0.0.0"];
    for (settings, expected) in [
        (json!({ "allow": ["GB", "ie"] }), [true, true, true, false, false, false]),
        (json!({ "deny": ["GB"] }), [false, false, true, true, true, true]),
        (json!({ "deny": ["GB"], "unknown": "refuse" }), [false, false, true, true, false, false]),
        (json!({ "allow": ["GB"], "unknown": "pass" }), [true, true, false, false, true, true]),
        (json!({ "deny": [{ "asn": 64_496 }] }), [false, true, true, true, true, true]),
        (json!({ "allow": ["DE", "AS64497"] }), [false, false, true, true, false, false]),
        (
            json!({ "allow": ["GB"], "deny": ["AS64496"] }),
            [false, true, false, false, false, false],
        ),
    ] {
        let mut settings: Value = settings;
        settings["database"] = json!(["country.mmdb", "asn.mmdb"]);
        let policy = world.build(&KIND, &settings).unwrap();
        assert_eq!(addresses.map(|address| passes(&policy, address)), expected, "{settings}");
    }
}

#[test]
fn the_log_tells_where_a_client_is_and_the_client_does_not_learn_it() {
    let settings = json!({ "database": ["country.mmdb", "asn.mmdb"], "deny": ["GB"] });
    let policy = world().build(&KIND, &settings).unwrap();
    let fault = policy.fault(&mut from("192.0.2.7"));
    assert_eq!(fault.detail, None);
    let cause = fault.cause.unwrap().to_string();
    assert_eq!(cause, "192.0.2.7 is of GB and AS64496, which is denied");
    assert_eq!(policy.0.about(), ["denies GB", "by country.mmdb, asn.mmdb"]);
}

#[test]
fn a_database_that_changes_is_gone_by_and_one_that_is_broken_is_not() {
    let world = world();
    let settings = json!({ "database": "country.mmdb", "allow": ["GB"] });
    let policy = world.build(&KIND, &settings).unwrap();
    let shelf = shelf(&world.state);
    let look = || shelf.refresh(|path, most| world.files.read(path, most));
    // What has changed is gone by when it stays the same.
    let refresh = || (look(), look());
    assert!(!passes(&policy, "198.51.100.7"));
    world.files.write("country.mmdb", countries("GB"));
    refresh();
    assert!(passes(&policy, "198.51.100.7"));
    let whole = countries("IE");
    let mut turned = whole.clone();
    // The first record leads far beyond all data.
    turned[..4].copy_from_slice(&[0xff; 4]);
    for broken in [b"no database".to_vec(), whole[whole.len() / 2..].to_vec(), turned, Vec::new()] {
        world.files.write("country.mmdb", broken);
        refresh();
        assert!(shelf.standings()[0].problem.is_some());
        assert!(passes(&policy, "198.51.100.7") && passes(&policy, "192.0.2.7"));
    }
}

#[test]
fn a_database_that_no_longer_says_what_is_asked_leaves_the_one_before_in_force() {
    let world = world();
    let deny = |file: &str, whom: &str| {
        world.build(&KIND, &json!({ "database": file, "deny": [whom] })).unwrap()
    };
    let policies = [deny("country.mmdb", "GB"), deny("asn.mmdb", "AS64496")];
    let shelf = shelf(&world.state);
    let look = || shelf.refresh(|path, most| world.files.read(path, most));
    // What has changed is gone by when it stays the same.
    let refresh = || (look(), look());
    let nothing = database("Test-Other", &[("192.0.2.0/24", json!({ "is_anonymous": true }))]);
    for (country, asn) in [(systems(), countries("IE")), (nothing.clone(), nothing)] {
        world.files.write("country.mmdb", country);
        world.files.write("asn.mmdb", asn);
        refresh();
        assert!(!policies.iter().any(|policy| passes(policy, "192.0.2.7")));
        for standing in shelf.standings() {
            let why = standing.problem.unwrap();
            assert!(why.starts_with("it no longer says "), "{why}");
        }
    }
    world.files.write("country.mmdb", countries("GB"));
    world.files.write("asn.mmdb", systems());
    refresh();
    assert!(shelf.standings().iter().all(|standing| standing.problem.is_none()));
    assert!(!passes(&policies[0], "198.51.100.7"));
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let world = world();
    world.files.write("broken.mmdb", b"no database".to_vec());
    for (settings, part) in [
        (json!({ "database": "country.mmdb" }), "it refuses nobody"),
        (json!({ "allow": ["GB"] }), "no database of places is named"),
        (json!({ "database": [], "allow": ["GB"] }), "no database of places is named"),
        (json!({ "database": "none.mmdb", "allow": ["GB"] }), "there is no such file"),
        (json!({ "database": "broken.mmdb", "allow": ["GB"] }), "it is no good `.mmdb`"),
        (json!({ "database": "asn.mmdb", "allow": ["GB"] }), "no database here says countries"),
        (json!({ "database": "country.mmdb", "deny": ["AS1"] }), "says networks"),
        (json!({ "database": "country.mmdb", "deny": ["Britain"] }), "is not a country such as"),
        (json!({ "database": "country.mmdb", "deny": [64_496] }), "expected a country such as"),
    ] {
        let Err(problems) = world.build(&KIND, &settings) else { panic!("{settings} is accepted") };
        assert!(problems.contains(part), "{settings}: {problems}");
    }
    let warned = world.warnings(&KIND, &json!({ "database": "country.mmdb", "deny": ["UK"] }));
    assert!(warned.contains("the United Kingdom is `GB`"), "{warned}");
}

#[test]
fn databases_that_are_named_once_serve_all_policies_and_expressions() {
    let world = world().with_geo(&["country.mmdb", "asn.mmdb"]);
    let policy = world.build(&KIND, &json!({ "allow": ["GB"] })).unwrap();
    assert!(passes(&policy, "192.0.2.7") && !passes(&policy, "198.51.100.7"));
    for (expression, refuses) in [
        ("geo.country == 'GB'", [true, false, false]),
        ("geo.country in ['GB', 'IE'] && geo.asn == 64497", [false, true, false]),
        // Of whom nothing is known.
        ("geo.country == '' && geo.asn == 0", [false, false, true]),
    ] {
        let policy = world.build(&deny::KIND, &json!(expression)).unwrap();
        let refused = ["192.0.2.7", "198.51.100.7", "203.0.113.7"]
            .map(|address| policy.request(&mut from(address)) == "access_denied");
        assert_eq!(refused, refuses, "{expression}");
    }
    let limit = world.build(&rate_limit::KIND, &json!("1/min per geo.country")).unwrap();
    let outcomes = ["192.0.2.7", "192.0.2.200", "198.51.100.7"]
        .map(|address| limit.request(&mut from(address)));
    assert_eq!(outcomes, ["continue", "rate_limited", "continue"]);
    // It is that of the file as it is now.
    let policy = world.build(&deny::KIND, &json!("geo.country == 'IE'")).unwrap();
    assert_eq!(policy.request(&mut from("198.51.100.7")), "access_denied");
    world.files.write("country.mmdb", countries("FR"));
    let shelf = shelf(&world.state);
    shelf.refresh(|path, most| world.files.read(path, most));
    shelf.refresh(|path, most| world.files.read(path, most));
    assert_eq!(policy.request(&mut from("198.51.100.7")), "continue");
}

#[test]
fn expressions_ask_only_for_what_a_database_says() {
    let only = world().with_geo(&["country.mmdb"]);
    for (world, expression, part) in [
        (&World::default(), "geo.country == 'GB'", "asks for a database of places"),
        (&only, "geo.asn == 64496", "no database under `geo` says networks"),
        (&only, "geo.city == 'x'", "unknown field of `geo` `city`"),
        (&only, "has(geo.country)", "is always there"),
        (&only, "geo.country == 7", "cannot be used with"),
        (&only, "geo == 'GB'", "alone is no value"),
    ] {
        let Err(problems) = world.build(&deny::KIND, &json!(expression)) else {
            panic!("{expression} is accepted")
        };
        assert!(problems.contains(part), "{expression}: {problems}");
    }
}
