use super::KIND;
use super::Proof;
use super::proofs::{Domains, Proofs};
use crate::fixture::{Built, World, exchange};
use base::Clock;
use base::caps::{NAMES_PAUSE_S, NAMES_STALE_S, NAMES_VALID_MIN_S};
use http::HeaderValue;
use http::header::USER_AGENT;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use traffic::background::{Background, Busy, Job, Task};
use traffic::names::{Names, Proved};
use traffic::{BoxFuture, Exchange};

/// A request of a client that says so many things of itself; it comes from 192.0.2.7.
fn saying(agents: &[&str]) -> Exchange {
    let mut exchange = exchange("GET /");
    for says in agents {
        exchange.request.headers.append(USER_AGENT, HeaderValue::from_str(says).unwrap());
    }
    exchange
}

fn told(policy: &Built, agents: &[&str]) -> String {
    policy.request(&mut saying(agents))
}

fn agents(settings: &Value) -> Built {
    World::default().build(&KIND, settings).unwrap()
}

#[test]
fn clients_pass_by_what_they_say_they_are() {
    let all = [&[][..], &[" "], &["curl/8.5"], &["Mozilla/5.0 (X11)"], &["x", "Mozilla", "CURL"]];
    for (settings, expected) in [
        (json!({ "deny": ["curl"] }), [true, true, false, true, false]),
        (json!({ "deny": ["curl"], "missing": "refuse" }), [false, false, false, true, false]),
        (json!({ "allow": ["Mozilla"] }), [false, false, false, true, false]),
        (json!({ "allow": ["mozilla"], "missing": "pass" }), [true, true, false, true, false]),
        (json!({ "deny": [{ "matches": "^curl/[0-9]" }] }), [true, true, false, true, true]),
        (json!({ "deny": [{ "matches": "(?i)^CURL$" }] }), [true, true, true, true, false]),
        (json!({ "allow": ["5.0", "curl"], "deny": ["X11"] }), [false, false, true, false, false]),
        (json!({ "missing": "refuse" }), [false, false, true, true, true]),
    ] {
        let policy = agents(&settings);
        let passes = all.map(|says| match told(&policy, says).as_str() {
            "continue" => true,
            "agent_refused" => false,
            other => panic!("{other}"),
        });
        assert_eq!(passes, expected, "{settings}");
    }
}

#[test]
fn a_bot_that_proves_it_is_spared_and_who_only_says_so_is_refused() {
    let world = World::default();
    let list = r#"{"prefixes":[{"ipv4Prefix":"192.0.2.0/27"},{"ipv6Prefix":"2001:db8::/32"}]}"#;
    world.files.write("here.json", list);
    world.files.write("there.txt", "198.51.100.0/24\n");
    for (bots, says, expected) in [
        (json!({ "googlebot": "file:here.json" }), "Googlebot/2.1", "continue"),
        (json!({ "googlebot": "file:there.txt" }), "Googlebot/2.1", "agent_refused"),
        (
            json!({ "mine": { "says": ["x-crawl", "y-crawl"], "addresses": "192.0.2.7" } }),
            "Y-Crawl bot",
            "continue",
        ),
        (json!({ "mine": "192.0.2.7" }), "mine is a bot", "continue"),
        // One that says it is two need be but one.
        (json!({ "mine": "192.0.2.7", "other": "10.0.0.1" }), "mine, other", "continue"),
        // Whoever is none of them goes by the rules.
        (json!({ "mine": "192.0.2.7" }), "a bot", "agent_refused"),
        (json!({ "mine": "192.0.2.7" }), "a browser", "continue"),
        // Nobody has an answer here, and nobody waits for one.
        (json!({ "googlebot": "dns" }), "Googlebot/2.1", "agent_unproven"),
        (
            json!({ "googlebot": { "addresses": "192.0.2.7", "domains": "googlebot.com" } }),
            "Googlebot",
            "continue",
        ),
    ] {
        let policy = world.build(&KIND, &json!({ "bots": bots, "deny": ["bot"] })).unwrap();
        assert_eq!(told(&policy, &[says]), expected, "{bots} {says}");
    }
    // A second header does not hide behind a bot that is proved.
    let policy = world.build(&KIND, &json!({ "bots": { "mine": "192.0.2.7" }, "deny": ["curl"] }));
    assert_eq!(told(&policy.unwrap(), &["mine", "curl"]), "agent_refused");
    let settings = json!({ "bots": { "googlebot": "dns" }, "unknown": "pass", "deny": ["evil"] });
    let policy = world.build(&KIND, &settings).unwrap();
    assert_eq!(told(&policy, &["googlebot"]), "continue");
    assert_eq!(told(&policy, &["evil googlebot"]), "agent_refused");
}

#[test]
fn the_log_tells_why_and_who_must_come_back_is_told_when() {
    let policy =
        agents(&json!({ "deny": ["curl"], "bots": { "googlebot": "dns", "mine": "::1" } }));
    for (says, cause) in [
        ("curl/8", "`curl/8` is denied by `curl`"),
        ("mine", "192.0.2.7 is not `mine`, as it says"),
        ("Googlebot", "it is not known yet whether 192.0.2.7 is `googlebot`"),
    ] {
        let fault = policy.fault(&mut saying(&[says]));
        assert_eq!(fault.cause.unwrap().to_string(), cause);
        assert_eq!(fault.detail, None);
        assert_eq!(fault.headers.is_empty(), says != "Googlebot", "{says}");
    }
    assert_eq!(
        policy.0.about(),
        [
            "has `googlebot` prove it by names below googlebot.com, google.com",
            "has `mine` prove it by addresses: ::1",
            "denies `curl`",
        ]
    );
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let world = World::default();
    world.files.write("broken.json", "{\"prefixes\": [");
    for (settings, part) in [
        (json!({}), "it refuses nobody"),
        (json!({ "missing": "pass" }), "it refuses nobody"),
        (json!({ "deny": [""] }), "an empty text"),
        (json!({ "deny": [7] }), "expected a text such as `curl`"),
        (json!({ "deny": ["a", { "matches": "(" }] }), "/(/ cannot be used"),
        (json!({ "deny": [{ "matches": "\\w{1000}{1000}" }] }), "size"),
        (json!({ "bots": { "gptbot": "dns" } }), "nothing says by what `gptbot` is known"),
        (json!({ "bots": { "gptbot": {} } }), "its owner's `domains`"),
        (json!({ "bots": { "a": { "domains": ["com"] } } }), "is not a domain such as"),
        (json!({ "bots": { "a": { "domains": [] } } }), "at least one domain"),
        (json!({ "bots": { "a": { "says": [], "addresses": "::1" } } }), "must say something"),
        (json!({ "bots": { "a": "10.0.0.1/8" } }), "write `10.0.0.0/8`"),
        (json!({ "bots": { "a": "file:none.json" } }), "there is no such file"),
        (json!({ "bots": { "a": "file:broken.json" } }), "it is no list of `prefixes`"),
    ] {
        let Err(problems) = world.build(&KIND, &settings) else { panic!("{settings} is accepted") };
        assert!(problems.contains(part), "{settings}: {problems}");
    }
    let warned = world.warnings(&KIND, &json!({ "allow": [] }));
    assert!(warned.contains("nobody is allowed"), "{warned}");
    let warned = world.warnings(&KIND, &json!({ "bots": { "a": "::1" }, "unknown": "pass" }));
    assert!(warned.contains("all is known at once"), "{warned}");
}

/// Runs tasks on the runtime of the test.
#[derive(Debug)]
struct Beside;

impl Background for Beside {
    fn spawn(&self, task: BoxFuture<'static, ()>) -> Task {
        let task = tokio::spawn(task);
        Task::new(move || task.abort())
    }

    fn compute(&self, _: Job) -> BoxFuture<'static, Result<(), Busy>> {
        Box::pin(async { Err(Busy) })
    }
}

/// Answers what the test says, and counts who asks.
#[derive(Debug, Default)]
struct Said {
    answer: Mutex<Option<Option<&'static str>>>,
    asked: AtomicUsize,
}

impl Names for Said {
    fn manner(&self) -> &str {
        ""
    }

    fn prove(&self, _: IpAddr, _: Arc<[Box<str>]>) -> BoxFuture<'static, Result<Proved, String>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let answer = *self.answer.lock().unwrap();
        Box::pin(async move {
            let name = answer.ok_or("out of order")?.map(Box::from);
            Ok(Proved { name, valid_for: Duration::ZERO })
        })
    }
}

/// Proofs of one address, and time.
struct Trial {
    clock: Clock,
    said: Arc<Said>,
    proofs: Proofs,
    domains: Domains,
}

impl Trial {
    fn new(answer: Option<Option<&'static str>>) -> Self {
        let said = Arc::new(Said { answer: Mutex::new(answer), ..Said::default() });
        let clock = Clock::manual();
        let names: Arc<dyn Names> = Arc::clone(&said) as _;
        let proofs = Proofs::new(&clock, &names, &Beside);
        Self { clock, said, proofs, domains: ["bots.test".into()].into() }
    }

    fn find(&self) -> Proof {
        self.proofs.find(IpAddr::from([192, 0, 2, 7]), &self.domains)
    }

    /// What is known once nobody asks any more, and how often anybody has.
    async fn settled(&self) -> (Proof, usize) {
        self.find();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        (self.find(), self.said.asked.load(Ordering::SeqCst))
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }
}

#[tokio::test]
async fn an_address_is_asked_about_once_and_nobody_waits() {
    for (answer, proof) in [(Some("a.bots.test"), Proof::Holds), (None, Proof::Lies)] {
        let trial = Trial::new(Some(answer));
        for _ in 0..10 {
            assert_eq!(trial.find(), Proof::Open);
        }
        assert_eq!(trial.settled().await, (proof, 1));
        trial.pass(NAMES_VALID_MIN_S - 1);
        assert_eq!(trial.settled().await, (proof, 1));
        // It is asked again, and meanwhile what was known holds.
        trial.pass(1);
        assert_eq!(trial.find(), proof);
        assert_eq!(trial.settled().await, (proof, 2));
    }
}

#[tokio::test]
async fn while_no_name_server_answers_what_was_known_holds_for_a_while_and_nothing_else_does() {
    let trial = Trial::new(None);
    assert_eq!(trial.settled().await, (Proof::Open, 1));
    assert_eq!(trial.settled().await, (Proof::Open, 1), "it is not asked again at once");
    trial.pass(NAMES_PAUSE_S);
    *trial.said.answer.lock().unwrap() = Some(Some("a.bots.test"));
    assert_eq!(trial.settled().await, (Proof::Holds, 2));
    *trial.said.answer.lock().unwrap() = None;
    trial.pass(NAMES_VALID_MIN_S + NAMES_STALE_S - 1);
    assert_eq!(trial.settled().await, (Proof::Holds, 3));
    trial.pass(1);
    assert_eq!(trial.find(), Proof::Open);
}
