//! What passes while gateways are pressed hard, and the store of their limits fails over to another server.

use super::backend::{Backend, answer};
use super::client::Load;
use super::redis::{Redis, cluster, say, store_state, watched};
use super::wait::{now, until_true};
use super::yett::{PUBLIC, TOP, Yett, signal};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tempfile::TempDir;

/// What the limit says, in a second, and at once.
const RATE: u64 = 100;
const BURST: u64 = 500;
/// What gateways hold ahead of the store together, at most: a fiftieth.
const HELD: u64 = BURST / 50;
/// What may pass too much besides when a server is lost: what it has told to no replica, and what gateways, which find the next
/// one at different moments, have yet to tell. On a quiet machine it is a tenth of that.
const LOST: u64 = RATE / 2;

/// Asks as a patient client does, tells what came of it, and the longest wait.
const CLIENT: &str = "local asker
passed, refused, odd = 0, 0, ''
function setup(thread) asker = thread end
function delay() return 20 end
function response(status)
    if status == 200 then passed = passed + 1
    elseif status == 429 then refused = refused + 1
    else odd = odd .. status .. ' ' end
end
function done(summary, latency)
    print('passed=' .. asker:get('passed') .. ' refused=' .. asker:get('refused') .. ' odd=' .. asker:get('odd') .. ';')
end
";

/// Three gateways under more load than their limit lets pass, before a backend that counts.
struct Pressed {
    gateways: Vec<Yett>,
    loads: Vec<Load>,
    came: Arc<AtomicU64>,
    since: Instant,
    _script: TempDir,
    _backend: Backend,
}

impl Pressed {
    fn start(store: &str) -> Self {
        let came = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&came);
        let backend = Backend::start(move |_, stream| {
            counted.fetch_add(1, Ordering::SeqCst);
            answer(stream, "200 OK", "", b"hi")
        });
        let config = format!(
            "{TOP}{PUBLIC}access_log: {{ to: off }}
upstreams: {{ shop: {{ targets: [\"{}\"] }} }}
stores: {{ shared: {store} }}
apis: {{ all: {{ upstream: shop, public: a test, policies: [{{ rate_limit: {{ limit: {RATE}/s, burst: {BURST}, per: all, store: shared }} }}] }} }}
",
            backend.address
        );
        let gateways: Vec<Yett> = (0..3).map(|_| Yett::start(&config)).collect();
        until_true("all gateways know of each other", || {
            gateways.iter().all(|it| store_state(it) == "up" && others(it) == 3)
        });
        let script = tempfile::tempdir().unwrap();
        let client = script.path().join("client.lua");
        fs::write(&client, CLIENT).unwrap();
        let since = now();
        let more = ["--timeout", "10s", "-s", client.to_str().unwrap()];
        let load = |it: &Yett| Load::start_with(&it.url("public"), &more);
        let loads = gateways.iter().map(load).collect();
        Self { gateways, loads, came, since, _script: script, _backend: backend }
    }

    fn came(&self) -> u64 {
        self.came.load(Ordering::SeqCst)
    }

    /// Sees that no more has come to the backend so far than may have, with as much beyond the limit.
    fn holds(&self, what: &str, beyond: u64) {
        let came = self.came();
        let elapsed = now().duration_since(self.since).as_secs_f64();
        let most = (BURST + beyond) as f64 + RATE as f64 * elapsed;
        assert!(came as f64 <= most, "{what}: {came} came to the backend, {most} may");
    }

    /// Waits until the limit was used up, and has come back for a while.
    fn goes_on(&self, what: &str) {
        let (came, refused) = (self.came(), self.refused());
        until_true(what, || self.came() > came + 2 * RATE && self.refused() > refused);
    }

    fn refused(&self) -> u64 {
        let refused = |it: &Yett| it.count("yett_requests_total", &["status=\"4xx\""]);
        self.gateways.iter().map(refused).sum()
    }

    fn until_all(&self, what: &str, is_so: impl Fn(&str) -> bool) {
        until_true(what, || self.gateways.iter().all(|it| is_so(&store_state(it))));
    }

    /// Ends the load: all of it was let pass or refused by the limit, and soon.
    fn end(self) {
        let mut passed = 0;
        for load in self.loads {
            let said = load.end();
            let told = said.said.lines().find_map(|line| line.strip_prefix("passed="));
            let (own, rest) = told.unwrap_or_else(|| panic!("{said:?}")).split_once(' ').unwrap();
            passed += own.parse::<u64>().unwrap();
            assert!(rest.ends_with("odd=;"), "something else than 200 and 429: {rest}");
            // wrk waits no longer than ten seconds for any answer.
            assert!(!said.said.contains("Socket errors"), "{}", said.said);
        }
        let came = self.came.load(Ordering::SeqCst);
        assert!(passed <= came, "{passed} answers, but {came} came");
    }
}

fn others(yett: &Yett) -> u64 {
    yett.status()["stores"][0]["gateways"].as_u64().unwrap()
}

#[test]
fn a_limit_holds_under_load_while_a_master_dies_and_sentinels_choose_another() {
    let (mut master, replica, sentinel) = watched();
    let pressed = Pressed::start(&format!(
        "{{ sentinel: {{ master: limits, at: [\"127.0.0.1:{}\"] }}, timeout: 300ms }}",
        sentinel.port
    ));
    pressed.goes_on("the limit is reached and goes on");
    pressed.holds("steady", HELD);
    master.kill();
    pressed.until_all("that is noticed", |state| state == "down");
    pressed.goes_on("gateways allow their shares");
    pressed.holds("without a master", HELD + LOST);
    pressed.until_all("the other is found", |state| state == "up");
    let info = say(replica.port, "INFO replication").unwrap();
    assert!(info.contains("role:master"), "{info}");
    pressed.goes_on("the limit goes on");
    pressed.holds("with another master", 2 * HELD + LOST);
    pressed.end();
}

/// The master that has the counts.
fn keeper(servers: &[Redis]) -> &Redis {
    let has_counts = |it: &&Redis| {
        let is_master = say(it.port, "ROLE").is_some_and(|told| told.contains("master"));
        is_master && say(it.port, "KEYS *rate_limit*").is_some_and(|told| !told.starts_with("*0"))
    };
    servers.iter().find(has_counts).unwrap()
}

#[test]
fn a_limit_holds_under_load_while_a_server_of_a_cluster_stands_still_and_its_replica_takes_over() {
    let servers = cluster(3, 1);
    let nodes: Vec<String> =
        servers.iter().map(|it| format!("\"127.0.0.1:{}\"", it.port)).collect();
    let store = format!("{{ cluster: [{}], timeout: 300ms }}", nodes.join(", "));
    let pressed = Pressed::start(&store);
    pressed.goes_on("the limit is reached and goes on");
    pressed.holds("steady", HELD);
    let still = keeper(&servers);
    signal(still.child.id(), "STOP");
    pressed.until_all("that is noticed", |state| state != "up");
    pressed.goes_on("gateways allow their shares");
    pressed.holds("while it stands still", HELD + LOST);
    pressed.until_all("its replica is found", |state| state == "up");
    pressed.goes_on("the limit goes on");
    pressed.holds("with the replica", 2 * HELD + LOST);
    // It learns that it is master no more, whatever it believed.
    signal(still.child.id(), "CONT");
    until_true("it follows", || still.follows());
    pressed.goes_on("the limit still goes on");
    pressed.holds("with all of them", 3 * HELD + 2 * LOST);
    pressed.end();
}
