use super::{Grants, Read, Workspace, join, read};
use crate::Config;
use std::collections::HashMap;

struct One(HashMap<String, String>);

impl crate::Files for One {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        self.0.get(path).map(|text| text.clone().into_bytes()).ok_or_else(|| "none".to_owned())
    }
    fn list(&self, _: &str) -> Result<Vec<String>, String> {
        Ok(Vec::new())
    }
    fn is_folder(&self, _: &str) -> bool {
        false
    }
}

fn platform() -> Config {
    let text = "version: 1
listeners: { public: { bind: '0.0.0.0:80' }, inside: { bind: '127.0.0.1:81' } }
apis: { site: { hosts: [www.test], public: a test, policies: [{ respond: 204 }], routes: [GET /] } }
";
    let files = One(HashMap::from([("yett.yaml".to_owned(), text.to_owned())]));
    crate::load("yett.yaml", &files).config.unwrap()
}

fn hosts(hosts: &[&str]) -> Grants {
    Grants { hosts: hosts.iter().map(|&host| host.to_owned()).collect(), ..Grants::default() }
}

fn part(name: &str, config: &str, grants: &Grants) -> Read {
    read(&Workspace { name, config, grants }, &platform())
}

/// Pointers and messages of what is wrong.
fn wrong(config: &str, grants: &Grants) -> String {
    let read = part("shop", config, grants);
    assert!(read.config.is_none(), "{config}");
    let told = read.report.problems().iter().map(|it| format!("{} {}\n", it.path, it.message));
    told.collect()
}

fn api(api: &str) -> String {
    format!(
        "{{\"version\": 1, \"upstreams\": {{\"u\": {{\"targets\": [\"10.0.0.1:80\"]}}}}, \"apis\": {{\"a\": {{\"upstream\": \"u\", {api}}}}}}}"
    )
}

#[test]
fn names_get_the_workspace_in_front_and_references_stay() {
    let text = "version: 1
upstreams: { u: { targets: ['10.0.0.1:80'] } }
plans: { gold: {} }
roles: { reader: { a: read, '*': read } }
policies: [api_key]
apis: { a: { hosts: [shop.test], upstream: u, listeners: [public] } }
";
    let config = part("shop", text, &hosts(&["shop.test"])).config.unwrap();
    let (config, left_out) = join(
        &platform(),
        &[Read { name: "shop".to_owned(), config: Some(config), report: base::Report::new() }],
    );
    assert!(left_out.is_empty());
    let names = |names: &mut dyn Iterator<Item = &str>| names.collect::<Vec<_>>().join(" ");
    assert_eq!(names(&mut config.apis.names()), "site shop.a");
    assert_eq!(names(&mut config.upstreams.names()), "shop.u");
    assert_eq!(names(&mut config.plans.names()), "shop.gold");
    assert_eq!(names(&mut config.roles.get("shop.reader").unwrap().names()), "shop.a *");
    assert_eq!(config.apis.get("shop.a").unwrap().upstream.as_ref().unwrap().value, "u");
    assert_eq!(config.workspaces[0].policies.len(), 1);
    assert!(config.policies.is_empty());
}

#[test]
fn whatever_is_the_platforms_is_refused_with_a_pointer() {
    let granted = hosts(&["shop.test"]);
    for (section, pointer) in [
        ("listeners: { own: { bind: '0.0.0.0:99' } }", "/listeners"),
        ("admin: { off: true }", "/admin"),
        ("state_dir: x", "/state_dir"),
        ("workers: 3", "/workers"),
        ("access_log: { to: /etc/passwd }", "/access_log"),
        ("egress: { proxy: 'http://p:1' }", "/egress"),
        ("include: ['/etc/*.yaml']", "/include"),
        ("consumers: { a: {} }", "/consumers"),
        ("trusted_proxies: { from: [0.0.0.0/0] }", "/trusted_proxies"),
        ("tracing: {}", "/tracing"),
    ] {
        let said = wrong(&format!("version: 1\n{section}\n"), &granted);
        assert!(said.contains(&format!("{pointer} `")) && said.contains("platform's"), "{said}");
    }
    for reference in ["${env:HOME}", "a${file:/etc/shadow}b"] {
        let said = wrong(
            &api(&format!(
                "\"hosts\": [\"shop.test\"], \"policies\": [{{\"headers\": {{\"request\": {{\"set\": {{\"x\": \"{reference}\"}}}}}}}}]"
            )),
            &granted,
        );
        assert!(said.contains("/apis/a/policies/0/headers/request/set/x `$"), "{said}");
    }
    assert!(wrong("[]", &granted).contains("`version: 1` is missing"));
    assert!(wrong("{\"version\": 1, \"nope\": 1}", &granted).contains("/nope "), "unknown");
}

#[test]
fn routes_lie_within_what_is_delegated() {
    let granted = hosts(&["shop.test", "*.shop.test", "api.test/shop", "deep.test/a/b"]);
    for fine in [
        "\"hosts\": [\"shop.test\", \"x.shop.test\", \"*.x.shop.test\", \"*.shop.test\"]",
        "\"hosts\": [\"api.test\"], \"path\": \"/shop\"",
        "\"hosts\": [\"api.test\"], \"path\": \"/shop/more\"",
        "\"hosts\": [\"api.test\"], \"routes\": [\"GET /shop/{id}\", \"GET /shop\"]",
        "\"hosts\": [\"api.test\"], \"path\": \"/shop/v1\", \"routes\": [\"GET ~/[0-9]+\"]",
        "\"hosts\": [\"shop.test\"], \"routes\": [\"GET ~/x.*\"]",
    ] {
        let config = api(&format!("\"policies\": [\"api_key\"], {fine}"));
        let read = part("shop", &config, &granted);
        assert!(read.config.is_some(), "{fine}: {}", read.report);
    }
    for (outside, pointer) in [
        ("\"path\": \"/shop\"", "/apis/a `any host`"),
        ("\"hosts\": [\"shop.test\", \"bank.test\"]", "/apis/a/hosts/1 `bank.test`"),
        ("\"hosts\": [\"*.test\"]", "/apis/a/hosts/0 `*.test`"),
        ("\"hosts\": [\"evilshop.test\"]", "/apis/a/hosts/0 `evilshop.test`"),
        ("\"hosts\": [\"api.test\"]", "/apis/a `/*`"),
        ("\"hosts\": [\"api.test\"], \"path\": \"/shopping\"", "/apis/a `/shopping/*`"),
        (
            "\"hosts\": [\"api.test\"], \"routes\": [\"GET /shop\", \"GET /{x}/y\"]",
            "/apis/a/routes/1 `/{x}/y`",
        ),
        (
            "\"hosts\": [\"api.test\"], \"path\": \"/shop\", \"routes\": [\"GET ~per/.*\"]",
            "/apis/a/routes/0 `",
        ),
        ("\"hosts\": [\"deep.test\"], \"path\": \"/a\"", "/apis/a `/a/*`"),
        ("\"hosts\": [\"shop.test\"], \"listeners\": [\"nope\"]", "/apis/a/listeners/0 "),
    ] {
        let said = wrong(&api(&format!("\"policies\": [\"api_key\"], {outside}")), &granted);
        assert!(said.contains(pointer), "{outside}: {said}");
    }
    let inside = Grants { listeners: vec!["inside".to_owned()], ..granted };
    let said = wrong(&api("\"hosts\": [\"shop.test\"], \"listeners\": [\"public\"]"), &inside);
    assert!(said.contains("/apis/a/listeners/0 the listener `public` is not"), "{said}");
    let config = part("shop", &api("\"hosts\": [\"shop.test\"]"), &inside).config.unwrap();
    assert_eq!(config.apis.get("shop.a").unwrap().listeners[0].value, "inside");
}

#[test]
fn a_workspace_that_takes_requests_of_others_is_left_out_as_a_whole() {
    let granted = hosts(&["www.test", "shop.test"]);
    let own = api("\"hosts\": [\"shop.test\"], \"routes\": [\"GET /x\"]");
    let taking = api("\"hosts\": [\"www.test\"], \"routes\": [\"GET /\"]");
    let parts = [
        part("bank", &own, &granted),
        part("evil", &taking, &granted),
        part("shop", &own, &granted),
        part("team", &api("\"hosts\": [\"shop.test\"], \"routes\": [\"GET /y\"]"), &granted),
    ];
    let (config, left_out) = join(&platform(), &parts);
    let names: Vec<&str> = config.apis.names().collect();
    assert_eq!(names, ["site", "bank.a", "team.a"]);
    let out: Vec<&str> = left_out.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(out, ["evil", "shop"]);
    assert!(left_out.iter().all(|(_, report)| report.has_errors()));
}

#[test]
fn grants_that_meet_are_found() {
    for (one, two, meets) in [
        ("a.test", "a.test", true),
        ("a.test", "b.test", false),
        ("*.test", "a.test", true),
        ("a.test", "*.a.test", false),
        ("*", "a.test", true),
        ("a.test/x", "a.test/y", false),
        ("a.test/x", "a.test/x/y", true),
        ("a.test/x", "a.test", true),
    ] {
        let (one, two) = (hosts(&[one]), hosts(&[two]));
        assert_eq!(one.overlap(&two).is_some(), meets, "{one:?} {two:?}");
        assert_eq!(two.overlap(&one).is_some(), meets, "{two:?} {one:?}");
    }
    for wrong in ["", "a b", "a.test:80", "a.test/{x}", "a.*.test", "A.test", "a.test/%2e"] {
        assert!(hosts(&[wrong]).validate().is_err(), "{wrong}");
    }
    assert_eq!(hosts(&["a.test/x", "*", "*.a.test", "10.0.0.1"]).validate(), Ok(()));
}

#[test]
fn more_than_a_workspace_may_have_is_refused() {
    let routes: Vec<String> = (0..base::caps::WORKSPACE_REGEXES_MAX + 1)
        .map(|number| format!("\"GET ~/{number}x+\""))
        .collect();
    let config = api(&format!("\"hosts\": [\"shop.test\"], \"routes\": [{}]", routes.join(",")));
    let said = wrong(&config, &hosts(&["shop.test"]));
    assert!(said.contains("regular expressions as paths, but"), "{said}");
}
