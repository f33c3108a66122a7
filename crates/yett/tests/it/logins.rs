//! People who log in to the admin API by an identity provider.

use super::client::{Answer, curl};
use super::node::Node;
use super::wait;
use super::yett::{Launch, PUBLIC, TOP, Yett};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU32, Ordering};

const PROVIDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/login_provider.mjs");

struct Corp {
    idp: Node,
    yett: Yett,
    /// Where the admin API is.
    url: String,
    link: String,
    browsers: AtomicU32,
}

/// A browser, which keeps cookies of its own.
struct Browser<'a> {
    corp: &'a Corp,
    cookies: String,
}

impl Corp {
    fn start() -> Self {
        let mut idp = Node::start(PROVIDER, &[]);
        let port = idp.port();
        let roles =
            "[{ group: ops, role: owner }, { group: devs, role: publisher, workspace: default }]";
        let client = "client_id: yett, client_secret: \"${env:CLIENT_SECRET}\"";
        let config = format!(
            "{TOP}{PUBLIC}state_dir: state\ncontrol:\n  bind: \"127.0.0.1:0\"\n  providers:\n    corp: {{ title: The corp, issuer: \"http://127.0.0.1:{port}\", {client}, roles: {roles} }}\n    gone: {{ issuer: \"http://127.0.0.1:1\", client_id: yett, roles: {roles} }}\n"
        );
        let launch = Launch::new(&config).env("CLIENT_SECRET", "a secret of a test/+");
        let yett = launch.start();
        let (url, link) = yett.access.find("the link", |line| {
            let (url, link) = line.trim().split_once("/login/")?;
            Some((url.to_owned(), link.to_owned()))
        });
        let back = format!("back {url}/login/from/corp");
        idp.order(&back);
        idp.told.expect(&["done", &back]);
        Self { idp, yett, url, link, browsers: AtomicU32::new(0) }
    }

    fn person(&mut self, who: &str) {
        let order = format!("person {who}");
        self.idp.order(&order);
        wait::until_true("the person is there", || {
            self.idp.told.all().last().is_some_and(|line| *line == format!("done {order}"))
        });
    }

    fn browser(&self) -> Browser<'_> {
        let number = self.browsers.fetch_add(1, Ordering::Relaxed);
        let cookies = self.yett.path(&format!("cookies-{number}")).display().to_string();
        Browser { corp: self, cookies }
    }
}

impl Browser<'_> {
    /// Asks with the cookies, and keeps those that come.
    fn asks(&self, url: &str, more: &[&str]) -> Answer {
        let mut arguments = vec!["-b", &*self.cookies, "-c", &self.cookies];
        arguments.extend(more);
        arguments.push(url);
        curl(&arguments)
    }

    /// Follows every redirection, up to the page that is shown in the end.
    fn logs_in(&self) -> Answer {
        let mut url = format!("{}/login/with/corp?to=/v1/users", self.corp.url);
        for _ in 0..8 {
            let answer = self.asks(&url, &[]);
            let Some(next) = answer.header("location") else { return answer };
            url = match next.starts_with('/') {
                true => format!("http://127.0.0.1:{}{next}", self.corp.idp.port()),
                false => next,
            };
        }
        panic!("there is no end to it: {url}");
    }

    fn reads(&self, path: &str) -> (u16, Value) {
        let answer = self.asks(&format!("{}{path}", self.corp.url), &[]);
        (answer.status, serde_json::from_str(&answer.body).unwrap_or_default())
    }
}

#[test]
fn people_log_in_by_an_identity_provider_and_may_what_their_groups_may() {
    let mut corp = Corp::start();
    corp.person("alice ops");
    let alice = corp.browser();
    assert_eq!(alice.reads("/v1/sessions/current").0, 401);
    let page = alice.logs_in();
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.body.contains("<code>alice</code>"), "{page:?}");
    assert_eq!(page.header("refresh").as_deref(), Some("0; url=/v1/users"));
    assert!(page.head.contains("yett_session=") && page.head.contains("SameSite=Strict"));
    assert_eq!(alice.reads("/v1/sessions/current").1["name"], "alice");
    let (status, users) = alice.reads("/v1/users");
    assert_eq!(status, 200, "{users}");
    let alice_is = users["items"].as_array().unwrap().iter().find(|it| it["name"] == "alice");
    assert!(alice_is.unwrap()["issuer"].as_str().unwrap().starts_with("http://127.0.0.1:"));

    // On the command line, by a link that the browser shows.
    let origin = format!("origin: {}", corp.url);
    let made = alice.asks(&format!("{}/login", corp.url), &["-X", "POST", "-H", &origin]);
    let link = made.body.split("yett login ").nth(1).unwrap().split('<').next().unwrap();
    let session = json!({ "link": link.rsplit('/').next().unwrap(), "bearer": true }).to_string();
    let arguments = ["-H", "content-type: application/json", "-d", &session];
    let again = corp.browser().asks(&format!("{}/v1/sessions", corp.url), &arguments);
    assert_eq!(again.status, 201, "{again:?}");
    let foreign = ["-X", "POST", "-H", "origin: https://evil.example"];
    assert_eq!(alice.asks(&format!("{}/login", corp.url), &foreign).status, 403);

    // The answer works once, in the browser that asked for it.
    let stolen = format!("{}/login/from/corp?code=x&state=y", corp.url);
    let refused = corp.browser().asks(&stolen, &[]);
    assert_eq!(refused.status, 401, "{refused:?}");
    let foreign =
        corp.browser().asks(&format!("{}/login/with/corp?to=//evil.example", corp.url), &[]);
    assert_eq!(foreign.status, 400, "{foreign:?}");

    // Other groups, and other keys.
    corp.person("bob devs");
    corp.idp.order("keys");
    corp.idp.told.expect(&["done keys"]);
    let bob = corp.browser();
    assert_eq!(wait_for(&bob).status, 200);
    assert_eq!(bob.reads("/v1/users").0, 403);
    assert_eq!(bob.reads("/v1/workspaces/default/apis").0, 200);
    corp.person("bob sales");
    let bob = corp.browser();
    let refused = bob.logs_in();
    assert_eq!(refused.status, 401, "{refused:?}");
    assert!(refused.body.contains("none of your groups"), "{refused:?}");
    let log = corp.yett.log.text();
    assert!(!log.contains("a secret of a test"), "{log}");
}

/// Logs in as soon as the new keys are asked for: they are not while others were fetched a moment ago.
fn wait_for(browser: &Browser<'_>) -> Answer {
    wait::until("the new keys are known", || Some(browser.logs_in()).filter(|it| it.status == 200))
}

#[test]
fn a_provider_that_is_gone_is_told_and_a_link_still_works() {
    let corp = Corp::start();
    let browser = corp.browser();
    let page = browser.asks(&format!("{}/login", corp.url), &[]);
    assert!(page.body.contains("/login/with/corp") && page.body.contains("The corp"), "{page:?}");
    let (_, providers) = browser.reads("/v1/providers");
    assert_eq!(providers["items"][1]["path"], "/login/with/gone");
    let gone = browser.asks(&format!("{}/login/with/gone", corp.url), &[]);
    assert_eq!(gone.status, 503, "{gone:?}");
    assert!(gone.body.contains("with a password or a link"), "{gone:?}");
    corp.yett.log.expect(&["a login by an identity provider failed", "127.0.0.1:1"]);
    let unknown = browser.asks(&format!("{}/login/with/nobody", corp.url), &[]);
    assert_eq!(unknown.status, 404);
    let sent = json!({ "link": corp.link }).to_string();
    let json = ["-H", "content-type: application/json", "-d", &sent];
    let session = browser.asks(&format!("{}/v1/sessions", corp.url), &json);
    assert_eq!(session.status, 201, "{session:?}");
}
