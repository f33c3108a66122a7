//! Which config of an upstream is the latest: requests under way keep older ones alive, and what all of
//! them share (health, breaker, pools) goes by the latest alone.

use crate::world::World;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The configs of one upstream that are alive.
#[derive(Debug, Default)]
pub(crate) struct Configs(Mutex<Living>);

#[derive(Debug, Default)]
struct Living {
    next: u64,
    numbers: BTreeSet<u64>,
}

/// One of them; the latest until another one comes, and again should that go before it.
#[derive(Debug)]
pub(crate) struct Config {
    number: u64,
    all: Arc<Configs>,
}

/// The right to change what the configs of an upstream share, for as long as it is held.
pub(crate) struct Change<'a> {
    /// Whether it is the latest config that changes it.
    pub(crate) is_latest: bool,
    _living: MutexGuard<'a, Living>,
}

impl Config {
    /// A new one of this upstream.
    pub(crate) fn of(upstream: &str, world: &World) -> Self {
        let id = format!("upstream/{upstream}/configs");
        let all = world.state.cell(&id, Configs::default);
        let mut living = all.lock();
        let number = living.next;
        living.next += 1;
        living.numbers.insert(number);
        drop(living);
        Self { number, all }
    }

    /// Begins a change; others wait until it is over.
    pub(crate) fn change(&self) -> Change<'_> {
        let living = self.all.lock();
        Change { is_latest: living.numbers.last() == Some(&self.number), _living: living }
    }
}

impl Configs {
    fn lock(&self) -> MutexGuard<'_, Living> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Config {
    fn drop(&mut self) {
        self.all.lock().numbers.remove(&self.number);
    }
}
