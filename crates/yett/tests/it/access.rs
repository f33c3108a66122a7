//! What callers may do: asked of the running gateway, and of `yett who-can`, which must say the same.

use super::backend::Backend;
use super::client::curl;
use super::yett::{Launch, PUBLIC, TOP, Yett, command, run};
use serde_json::Value;
use std::collections::BTreeMap;

/// The keys of callers (`the-key-of-NAME`), as the directory has them.
const KEYS: [(&str, &str); 4] = [
    ("reader", "86877722ffd87a81176496a42da94c3c8b8846b5df01ea366ed97e9a4dc07acb"),
    ("clerk", "58f330ac03e65e848b59fd5888eb1efe42dcb70300708c71605f35827038e961"),
    ("bot", "46c09872e212bf5750cde8b9c1c6feab07881414a5fd0d98de598219902b768a"),
    ("boss", "0f17afecfdb48975356624bae7eb7cb80ba40a7aaaa4623c496e899201ffd151"),
];

const CONFIG: &str = r#"access_log: { to: access.log }
upstreams: { one: { targets: ["BACKEND"] } }
policies:
  - api_key
  - rbac: { groups: { staff: order-reader } }
apis:
  orders:
    path: /orders
    upstream: one
    routes:
      - GET,POST /
      - GET,DELETE /{id}
      - POST /{id}/approve: { policies: [{ rbac: approve }] }
      - GET /{id}/notes: { policies: [{ allow: 'consumer.name != "boss"' }, { acl: { deny: [mallory] } }] }
      - GET /{id}/late: { policies: [{ deny: 'request.headers["x-late"] == "yes"' }] }
roles:
  order-reader: { orders: read }
  order-clerk: { orders: [read, create] }
  approver: { orders: [read, approve] }
  boss: { "*": admin }
consumers:
  reader: { groups: [staff], keys: ["sha256:READER"] }
  clerk:
    roles: [order-clerk, approver]
    keys: ["sha256:CLERK"]
    applications: { bot: { roles: [order-clerk], keys: ["sha256:BOT"] } }
  boss: { roles: [boss], keys: ["sha256:BOSS"] }
  mallory: { roles: [order-clerk] }
"#;

fn config(backend: &dyn std::fmt::Display) -> String {
    let config = format!("{TOP}{PUBLIC}{CONFIG}").replace("BACKEND", &backend.to_string());
    KEYS.iter().fold(config, |config, (name, hash)| config.replace(&name.to_uppercase(), hash))
}

fn status(yett: &Yett, method: &str, path: &str, name: &str) -> u16 {
    let url = format!("{}{path}", yett.url("public"));
    let key = format!("x-api-key: the-key-of-{name}");
    let head = if method == "HEAD" { "-I" } else { "-i" };
    curl(&[head, "-X", method, &url, "-H", &key, "-H", "x-late: no"]).status
}

/// What `who-can` says of each caller.
fn who_can(yett: &Yett, method: &str, path: &str) -> BTreeMap<String, String> {
    let url = format!("http://api.test{path}");
    let ended = run(&yett.path(""), &["who-can", method, &url, "yett.yaml", "--all", "--json"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let answers: Value = serde_json::from_str(&ended.out).unwrap();
    let lines = answers[0]["callers"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    lines.map(|line| (text(&line["caller"]), text(&line["may"]))).collect()
}

#[test]
fn who_can_says_what_the_gateway_does() {
    let backend = Backend::echo();
    let yett = Yett::start(&config(&backend.address));
    let callers =
        [("reader", "reader"), ("clerk", "clerk"), ("clerk/bot", "bot"), ("boss", "boss")];
    for (method, path) in [
        ("GET", "/orders"),
        ("POST", "/orders"),
        ("HEAD", "/orders/1"),
        ("DELETE", "/orders/1"),
        ("POST", "/orders/1/approve"),
        ("GET", "/orders/1/notes"),
        ("GET", "/orders/1/late"),
    ] {
        let told = who_can(&yett, method, path);
        for (caller, key) in callers {
            let status = status(&yett, method, path, key);
            let expected = match told[caller].as_str() {
                "yes" => vec![200],
                "no" => vec![403],
                _ => vec![200, 403],
            };
            assert!(expected.contains(&status), "{method} {path} {caller}: {status}, {told:?}");
        }
        assert_eq!(told["mallory"], "no", "it has no key");
        assert_eq!(told["others"], "no");
        if path.ends_with("/late") {
            assert_eq!(
                (told["clerk"].as_str(), told["role:approver"].as_str()),
                ("depends", "depends")
            );
        } else {
            assert!(!told.values().any(|may| may == "depends"), "{method} {path}: {told:?}");
        }
    }
}

#[test]
fn a_role_that_is_taken_away_counts_with_the_next_request() {
    let backend = Backend::echo();
    let yett = Yett::start(&config(&backend.address));
    assert_eq!(status(&yett, "POST", "/orders/1/approve", "clerk"), 200);
    yett.reload(config(&backend.address).replace("[order-clerk, approver]", "[order-clerk]"));
    assert_eq!(status(&yett, "POST", "/orders/1/approve", "clerk"), 403);
    assert_eq!(status(&yett, "POST", "/orders", "clerk"), 200);
    // One that is gone as a whole grants nothing; a config that still names it does not load.
    yett.reload(
        config(&backend.address)
            .replace("order-clerk: { orders: [read, create] }", "order-clerk: { orders: read }"),
    );
    assert_eq!(status(&yett, "POST", "/orders", "clerk"), 403);
}

#[test]
fn a_client_is_not_told_what_it_lacks_and_the_log_is() {
    let backend = Backend::echo();
    let mut yett = Yett::start(&config(&backend.address));
    let url = format!("{}/orders/1", yett.url("public"));
    let answer = curl(&["-X", "DELETE", &url, "-H", "x-api-key: the-key-of-bot"]);
    assert_eq!(answer.status, 403);
    assert!(answer.body.contains("permission_missing"), "{}", answer.body);
    for told in ["delete", "order-clerk", "approver", "role"] {
        assert!(!answer.body.contains(told), "{}", answer.body);
    }
    yett.signal("TERM");
    yett.ended();
    let log = std::fs::read_to_string(yett.path("access.log")).unwrap();
    let why = "`delete` is lacking; roles: order-clerk, approver; the application uses order-clerk";
    assert!(log.contains(why), "{log}");
}

#[test]
fn a_table_tells_who_may_and_by_which_rule() {
    let folder = Launch::new(&config(&"127.0.0.1:1")).folder;
    let url = "http://api.test/orders/1/approve";
    let short = run(folder.path(), &["who-can", "POST", url]);
    assert_eq!(short.code, Some(0), "{short:?}");
    assert!(
        short.out.contains("route     orders/POST /{id}/approve  (yett.yaml:"),
        "{}",
        short.out
    );
    assert!(
        short.out.contains("yes  clerk          `approve` by role `approver`  rbac (yett.yaml:"),
        "{}",
        short.out
    );
    assert!(
        !short.out.contains("mallory") && short.out.contains("may not; `--all`"),
        "{}",
        short.out
    );
    assert!(!short.out.contains('\u{1b}'), "no colours into a pipe");
    let all = run(folder.path(), &["who-can", "POST", url, "--all"]);
    assert!(all.out.contains("no   mallory"), "{}", all.out);
    let nowhere = run(folder.path(), &["who-can", "POST", "http://api.test/none"]);
    assert!(nowhere.out.contains("no route matches"), "{}", nowhere.out);
    let bad = run(folder.path(), &["who-can", "POST", "/orders"]);
    assert_eq!(bad.code, Some(1), "{bad:?}");
    assert!(bad.err.contains("the URL has no host"), "{bad:?}");
}

const WASTEFUL: &str = r#"upstreams: { one: { targets: ["127.0.0.1:1"] } }
policies: [api_key]
apis:
  open: { path: /open, upstream: one }
  orders:
    path: /orders
    upstream: one
    policies:
      - rbac
      - acl: { deny: [mallory] }
    routes:
      - GET /
      - GET /always: { policies: [{ allow: 'true || consumer.name == "a"' }] }
roles:
  reader: { orders: read }
  nobody: { orders: read }
  approver: { orders: [approve, read] }
  elsewhere: { open: read }
consumers:
  reader: { roles: [reader, approver, elsewhere], keys: ["sha256:READER"] }
  mallory: { keys: ["sha256:BOSS"] }
  idle: { roles: [reader] }
"#;

#[test]
fn a_token_that_must_allow_it_is_no_leave_for_everybody() {
    let issuer = |more: &str| {
        format!(
            "{{ jwt: {{ issuer: https://idp.test, secret: \"${{env:SECRET}}\", audience: orders{more} }} }}"
        )
    };
    let (open, scoped) = (issuer(""), issuer(", scopes: [write]"));
    for (policy, is_open) in [
        (open.clone(), true),
        (scoped.clone(), false),
        (
            format!(
                "{{ any: [{scoped}, {{ jwt: {{ issuer: https://other.test, secret: \"${{env:SECRET}}\", audience: a, scopes: [a] }} }}] }}"
            ),
            false,
        ),
        (format!("{{ any: [{scoped}, api_key] }}"), true),
        (format!("{{ all: [{scoped}, api_key] }}"), false),
    ] {
        let config = format!(
            "{TOP}{PUBLIC}apis: {{ all: {{ policies: [{policy}], routes: [{{ POST /: {{ policies: [{{ respond: {{ body: hi }} }}] }} }}] }} }}\n"
        );
        let launch = Launch::new(&config);
        let mut command = command(launch.folder.path(), &["check", "--report"]);
        let ended =
            command.env("SECRET", "a secret of at least thirty-two bytes").output().unwrap();
        let told = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{policy}: {told}");
        assert_eq!(told.contains("any consumer may write"), is_open, "{policy}: {told}");
    }
}

/// What `check --report` says of a route to which callers with a key may write, and which has this policy.
fn report_of(policy: &str) -> String {
    let config = format!(
        "{TOP}{PUBLIC}apis: {{ all: {{ policies: [api_key, {policy}], routes: [{{ POST /: {{ policies: [{{ respond: {{ body: hi }} }}] }} }}] }} }}\nconsumers: {{ alice: {{ groups: [staff] }}, mallory: {{}} }}\n"
    );
    let launch = Launch::new(&config);
    let told = run(launch.folder.path(), &["check", "--report"]);
    assert_eq!(told.code, Some(0), "{policy}: {told:?}");
    told.err
}

#[test]
fn a_policy_that_holds_nobody_back_by_who_it_is_leaves_a_route_open() {
    for (policy, is_open) in [
        ("acl: { deny: [mallory] }", true),
        ("allow: 'true'", true),
        ("allow: 'request.path != \"\"'", true),
        ("deny: 'request.headers[\"x-a\"] == \"1\"'", true),
        ("acl: { allow: [alice] }", false),
        ("acl: { allow: ['group:staff'] }", false),
        ("allow: 'consumer.name == \"alice\"'", false),
        ("allow: 'request.path == \"/\" + consumer.name'", false),
        ("allow: 'client.address == \"192.0.2.1\"'", false),
        ("rbac: write", false),
    ] {
        let told = report_of(&format!("{{ {policy} }}"));
        assert_eq!(told.contains("any consumer may write"), is_open, "{policy}: {told}");
    }
}

#[test]
fn who_can_asks_of_nobody_by_a_key_that_has_ended() {
    let [(_, first), (_, second), ..] = KEYS;
    let key = |hash: &str, ends: &str| format!("{{ hash: \"sha256:{hash}\", expires: {ends} }}");
    let (old, new) = (key(first, "2020-01-01"), key(second, "2999-01-01"));
    for (keys, may) in [(old.clone(), "no"), (format!("{old}, {new}"), "yes")] {
        let config = format!(
            "{TOP}{PUBLIC}apis: {{ all: {{ policies: [api_key], routes: [{{ GET /: {{ policies: [{{ respond: {{ body: hi }} }}] }} }}] }} }}\nconsumers: {{ alice: {{ keys: [{keys}] }} }}\n"
        );
        let launch = Launch::new(&config);
        let folder = launch.folder.path();
        let told = run(folder, &["who-can", "GET", "http://api.test/", "--all", "--json"]);
        let told: Value = serde_json::from_str(&told.out).unwrap();
        let callers = told[0]["callers"].as_array().unwrap();
        let alice = callers.iter().find(|it| it["caller"] == "alice").unwrap();
        assert_eq!(alice["may"], may, "{alice}");
        let why = alice["why"].as_str().unwrap();
        assert_eq!(why.contains("what it had has ended"), may == "no", "{alice}");
        let checked = run(folder, &["check", "--report"]);
        assert!(checked.err.contains("a credential of `alice` has ended"), "{checked:?}");
        assert_eq!(checked.err.contains("can call no route"), may == "no", "{checked:?}");
    }
}

#[test]
fn check_reports_what_is_more_than_needed() {
    let config = format!("{TOP}{PUBLIC}{WASTEFUL}");
    let config =
        KEYS.iter().fold(config, |it, (name, hash)| it.replace(&name.to_uppercase(), hash));
    let folder = Launch::new(&config).folder;
    let plain = run(folder.path(), &["check", "--strict"]);
    assert_eq!((plain.code, plain.err.as_str()), (Some(0), ""), "{plain:?}");
    let told = run(folder.path(), &["check", "--report", "--strict", "--format", "json"]);
    assert_eq!(told.code, Some(0), "notes stop nobody: {told:?}");
    let told: Value = serde_json::from_str(&told.out).unwrap();
    let problems = told["problems"].as_array().unwrap().iter();
    let found: Vec<String> = problems
        .map(|it| {
            assert_eq!(it["severity"], "note", "{it}");
            assert_eq!(it["place"]["file"], "yett.yaml");
            format!("{} {}", it["code"].as_str().unwrap(), it["message"].as_str().unwrap())
        })
        .collect();
    let expected = [
        "open_to_write any consumer may write to `open/all`: POST, PUT, PATCH, DELETE",
        "idle_denial `mallory` is denied here, and refused in any case by other policies",
        "constant_rule this `allow` lets every request pass",
        "unused_role nobody has the role `nobody`",
        "unneeded_permission no route of `orders` needs `approve`",
        "unneeded_permission `open` asks for no permission: `rbac` applies to none of its routes",
        "reaches_nothing the consumer `idle` can call no route that asks who calls",
    ];
    assert_eq!(found, expected);
    let text = run(folder.path(), &["check", "--report"]);
    assert!(text.err.contains("note: any consumer may write to `open/all`"), "{text:?}");
}

#[test]
fn who_can_tells_by_which_plan_and_what_decides_it() {
    let plans = r#"plans:
  free: { limit: 10/s, default: true }
  gold: { limit: 100/s }
"#;
    let whole = config(&"127.0.0.1:1")
        .replace("  boss: { roles: [boss],", "  boss: { roles: [boss], plan: gold,")
        .replace("bot: { roles", "bot: { plan: gold, roles");
    let told = |plans: &str| {
        let plain = whole.replace("plan: gold,", "");
        let launch = Launch::new(&match plans {
            "" => plain,
            plans => format!("{whole}{plans}"),
        });
        let arguments = ["who-can", "GET", "http://api.test/orders", "yett.yaml", "--all"];
        let text = run(launch.folder.path(), &arguments).out;
        let json = run(launch.folder.path(), &[&arguments[..], &["--json"]].concat()).out;
        let answers: Value = serde_json::from_str(&json).unwrap();
        let lines = answers[0]["callers"].as_array().unwrap().clone();
        let plan_of = move |caller: &str| {
            let line = lines.iter().find(|line| line["caller"] == caller).unwrap();
            line["plan"].clone()
        };
        (text, plan_of)
    };
    let (text, _) = told("");
    assert!(!text.contains("plan"), "{text}");
    let (text, plan_of) = told(plans);
    assert!(text.contains("may  caller             plan  "), "{text}");
    assert!(text.contains("gold (its application has it)"), "{text}");
    let by = |name: &str, by: &str| serde_json::json!({ "name": name, "by": by });
    assert_eq!(plan_of("clerk"), by("free", "the default"));
    assert_eq!(plan_of("clerk/bot"), by("gold", "its application has it"));
    assert_eq!(plan_of("boss"), by("gold", "it has it"));
    assert_eq!(plan_of("role:boss"), Value::Null);
    let (_, plan_of) = told(&plans.replace("100/s", "100/s, claim: tier=gold"));
    assert_eq!(plan_of("others"), by("free", "unless `claims.tier` gives another"));
    let (_, plan_of) = told(&plans.replace("10/s, default: true", "10/s, claim: tier=free"));
    let by_claim = serde_json::json!({ "name": null, "by": "unless `claims.tier` gives another" });
    assert_eq!(plan_of("others"), by_claim);
    assert_eq!(plan_of("boss"), by("gold", "it has it"));
}
