//! Quotas that gateways share through Redis.

use super::client::get;
use super::redis::{Redis, store_state};
use super::wait::until_true;
use super::yett::{PUBLIC, TOP, Yett};
use std::path::Path;
use tempfile::TempDir;

const AMOUNT: u64 = 1_000_000_000;

fn config(folder: &Path, port: u16) -> String {
    let folder = folder.display();
    format!(
        "{TOP}{PUBLIC}state_dir: {folder}\naccess_log: {{ to: off }}\nstores: {{ shared: {{ redis: \"redis://127.0.0.1:{port}\", timeout: 2s }} }}\napis: {{ all: {{ public: a test, policies: [{{ quota: {{ quota: {AMOUNT}/month, per: all, store: shared }} }}, {{ respond: {{ body: hi }} }}] }} }}\n"
    )
}

/// Gateways with a memory each.
struct Gateways {
    all: Vec<Yett>,
    folders: Vec<TempDir>,
    port: u16,
    passed: u64,
}

impl Gateways {
    fn start(count: usize, port: u16) -> Self {
        let folders: Vec<TempDir> = (0..count).map(|_| tempfile::tempdir().unwrap()).collect();
        let all = folders.iter().map(|folder| Yett::start(&config(folder.path(), port))).collect();
        let gateways = Self { all, folders, port, passed: 0 };
        gateways.up();
        gateways
    }

    fn up(&self) {
        until_true("all reach the store", || self.all.iter().all(|it| store_state(it) == "up"));
    }

    /// How much one of them says is used, with the request that asks.
    fn ask(&mut self, at: usize) -> u64 {
        let answer = get(&self.all[at].address("public"), "/");
        assert_eq!(answer.status, 200, "{}", answer.head);
        self.passed += 1;
        let limit = answer.header("ratelimit").unwrap();
        let left = limit.split(";r=").nth(1).unwrap().split(';').next().unwrap();
        AMOUNT - left.parse::<u64>().unwrap()
    }

    fn agree(&mut self) {
        for at in 0..self.all.len() {
            until_true("it knows of all", || self.ask(at) == self.passed);
        }
    }

    fn restart(&mut self, at: usize, signal: &str) {
        self.all[at].signal(signal);
        self.all[at].ended();
        self.all[at] = Yett::start(&config(self.folders[at].path(), self.port));
    }
}

#[test]
fn gateways_know_of_all_that_a_quota_was_used_after_restarts_of_both_sides() {
    let mut redis = Redis::start(&[]);
    let mut gateways = Gateways::start(2, redis.port);
    for _ in 0..30 {
        gateways.ask(0);
    }
    gateways.agree();

    // It comes back without a memory.
    redis.kill();
    until_true("that is noticed", || gateways.all.iter().all(|it| store_state(it) == "down"));
    let alone: Vec<u64> = (0..10).map(|turn| gateways.ask(turn % 2)).collect();
    assert!(alone.iter().all(|used| *used > 30), "{alone:?}");
    redis.revive(&[]);
    gateways.up();
    gateways.agree();

    // What one has counted without the store outlives it.
    redis.kill();
    until_true("that is noticed again", || gateways.all.iter().all(|it| store_state(it) == "down"));
    for _ in 0..10 {
        gateways.ask(0);
    }
    gateways.restart(0, "TERM");
    redis.revive(&[]);
    gateways.up();
    gateways.agree();
}
