use super::KIND;
use crate::fixture::{self, World};
use serde_json::{Value, json};
use std::sync::Arc;
use traffic::exchange::Connection;
use traffic::{Exchange, forwarded};

fn from(address: &str) -> Exchange {
    let mut exchange = fixture::exchange("GET /");
    let peer = std::net::SocketAddr::new(address.parse().unwrap(), 40_000);
    let local = "192.0.2.1:443".parse().unwrap();
    exchange.connection = Arc::new(Connection::plain("public".into(), peer, local));
    exchange
}

fn told(client: &str, peer: &str) -> Exchange {
    let mut exchange = from(peer);
    exchange.forwarded = Some(Box::new(forwarded::Forwarded {
        client: client.parse().unwrap(),
        client_text: http::HeaderValue::from_static(""),
        way: http::HeaderValue::from_static(""),
        host: None,
        certificate: forwarded::ToldCertificate::NotAsked,
        told: None,
    }));
    exchange
}

#[test]
fn clients_pass_by_their_addresses_and_what_is_denied_is_denied_whatever_is_allowed() {
    for (settings, passing, refused) in [
        (
            json!({ "allow": ["10.0.0.0/8", "2001:db8::/32"] }),
            &["10.1.2.3", "2001:db8::7", "::ffff:10.0.0.1"][..],
            &["192.0.2.7", "2001:db9::", "::ffff:11.0.0.1", "::"][..],
        ),
        (
            json!({ "deny": "10.66.0.0/16" }),
            &["10.1.2.3", "2001:db8::7", "0.0.0.0"],
            &["10.66.0.1", "::ffff:10.66.0.1"],
        ),
        (
            json!({ "allow": "10.0.0.0/8", "deny": ["10.66.0.0/16", "::ffff:10.67.0.0/112"] }),
            &["10.65.255.255", "10.68.0.0"],
            &["10.66.0.0", "10.67.0.1", "192.0.2.7"],
        ),
        (json!({ "allow": [] }), &[], &["10.1.2.3", "::1"]),
        // Who comes over a Unix socket has no address.
        (json!({ "allow": "unix" }), &["0.0.0.0"], &["10.1.2.3"]),
        (json!({ "deny": ["unix", "10.0.0.0/8"] }), &["11.0.0.0"], &["0.0.0.0", "10.1.2.3"]),
    ] {
        let policy = fixture::built(&KIND, &settings);
        for address in passing {
            assert_eq!(policy.request(&mut from(address)), "continue", "{settings} {address}");
        }
        for address in refused {
            let outcome = policy.request(&mut from(address));
            assert_eq!(outcome, "address_refused", "{settings} {address}");
        }
    }
}

#[test]
fn the_client_is_who_trusted_proxies_say_it_is() {
    let policy = fixture::built(&KIND, &json!({ "allow": "10.0.0.0/8" }));
    assert_eq!(policy.request(&mut told("10.0.0.1", "192.0.2.7")), "continue");
    assert_eq!(policy.request(&mut told("192.0.2.7", "10.0.0.1")), "address_refused");
    let mut untrusted = from("192.0.2.7");
    untrusted.request.headers.append(
        http::HeaderName::from_static("x-forwarded-for"),
        http::HeaderValue::from_static("10.0.0.1"),
    );
    assert_eq!(policy.request(&mut untrusted), "address_refused");
}

#[test]
fn the_log_tells_who_was_refused_by_what_and_the_client_learns_the_reason_alone() {
    let world = World::default();
    world.files.write("blocked.txt", "192.0.2.0/24 # a botnet\n");
    let settings =
        json!({ "deny": ["198.51.100.7", { "file": "blocked.txt" }], "reason": "write to us" });
    let policy = world.build(&KIND, &settings).unwrap();
    for (client, cause) in [
        ("192.0.2.7", "192.0.2.7 is denied by `blocked.txt`"),
        ("198.51.100.7", "198.51.100.7 is denied by the addresses in the config"),
    ] {
        let fault = policy.fault(&mut from(client));
        assert_eq!(fault.detail.as_deref(), Some("write to us"));
        assert_eq!(fault.cause.unwrap().to_string(), cause);
    }
    let policy = fixture::built(&KIND, &json!({ "allow": [] }));
    let fault = policy.fault(&mut from("192.0.2.7"));
    assert_eq!(fault.detail, None);
    let cause = fault.cause.unwrap().to_string();
    assert_eq!(cause, "192.0.2.7 is not among those who are allowed");
}

#[test]
fn files_are_named_in_short_and_in_long() {
    let world = World::default();
    world.files.write("./office.txt", "10.0.0.0/8\n");
    for list in [
        json!("file:./office.txt"),
        json!({ "file": "./office.txt" }),
        json!(["file:./office.txt"]),
        json!(["192.0.2.9", { "file": "./office.txt" }]),
    ] {
        let policy = world.build(&KIND, &json!({ "allow": list })).unwrap();
        assert_eq!(policy.request(&mut from("10.1.2.3")), "continue", "{list}");
        assert_eq!(policy.request(&mut from("11.1.2.3")), "address_refused", "{list}");
    }
    let settings = json!({ "allow": ["192.0.2.9", "file:./office.txt"], "deny": [] });
    let about = world.build(&KIND, &settings).unwrap().0.about();
    assert_eq!(about, ["allows 192.0.2.9, ./office.txt (1 entries)", "denies nobody"]);
}

fn refuses(world: &World, settings: &Value, parts: &[&str]) {
    let Err(problems) = world.build(&KIND, settings) else { panic!("{settings} is accepted") };
    for part in parts {
        assert!(problems.contains(part), "{settings}: {part} is not in {problems}");
    }
}

#[test]
fn what_cannot_be_used_is_told_with_its_line_and_builds_no_policy() {
    let world = World::default();
    world.files.write("bad.txt", "10.0.0.0/8\n\n10.0.0/8\n10.0.0.1/8\n");
    world.files.write("large.txt", vec![b'\n'; base::caps::ADDRESS_LIST_BYTES_MAX + 1]);
    let no_file = json!({ "allow": { "file": "none.txt" }, "deny": ["10.0.0.0/33"] });
    for (settings, parts) in [
        (json!({}), &["it refuses nobody"][..]),
        (json!({ "allow": "file:bad.txt" }), &["bad.txt:3:1", "bad.txt:4:1", "write `10.0.0.0/8`"]),
        (no_file, &["`none.txt` cannot be read: there is no such file", "10.0.0.0/33"]),
        (json!({ "deny": "file:large.txt" }), &["it is larger than 64MiB"]),
        (json!({ "deny": ["10.0.0.0/8", { "files": "bad.txt" }] }), &["unknown field `files`"]),
        (json!({ "deny": 7 }), &["expected a network such as"]),
    ] {
        refuses(&world, &settings, parts);
    }
    let warned = world.warnings(&KIND, &json!({ "allow": [] }));
    assert!(warned.contains("every request is refused"), "{warned}");
}
