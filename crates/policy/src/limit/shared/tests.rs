//! Every order in which two workers can count at once, tried one after the other (loom). Its atomics may also give old
//! values, as those of processors do.

use super::{Shared, Word};
use crate::limit::{Algorithm, Rule};
use base::rates::Limits;
use loom::sync::atomic::{AtomicU64, Ordering};
use loom::thread;
use std::sync::Arc;

impl Word for AtomicU64 {
    fn new(value: u64) -> Self {
        Self::new(value)
    }

    fn value(&self) -> u64 {
        self.load(Ordering::Relaxed)
    }

    fn set(&self, value: u64) {
        self.store(value, Ordering::Relaxed);
    }

    fn swap(&self, before: u64, after: u64) -> Result<u64, u64> {
        self.compare_exchange_weak(before, after, Ordering::Relaxed, Ordering::Relaxed)
    }
}

/// Tries every order in which workers can come to each other's turn so many times, which finds what more would find,
/// as a rule, in a second instead of minutes.
fn model(run: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(run);
}

/// One second.
const NOW_NS: u64 = 1_000_000_000;

fn rules(limits: &str, counts_refused: bool) -> Arc<[Rule]> {
    let limits = Limits::parse(limits).unwrap().0.into_iter();
    let rule = |limit| Rule::new(limit, Algorithm::Gcra).unwrap();
    limits.map(|limit| rule(limit).counting_refused(counts_refused)).collect()
}

/// How many of two workers pass that come at once, and what is left of each rule then.
fn two(rules: &Arc<[Rule]>, gives_back: bool) -> (usize, Vec<u64>) {
    let shared: Arc<Shared<AtomicU64>> = Arc::new(Shared::new(rules.len()));
    let work = move |shared: Arc<Shared<AtomicU64>>, rules: Arc<[Rule]>| {
        let passes = shared.take(&rules, 1, NOW_NS).retry_after.is_none();
        if passes && gives_back {
            shared.give_back(&rules, 1, NOW_NS);
        }
        passes
    };
    let other = {
        let (shared, rules) = (Arc::clone(&shared), Arc::clone(rules));
        thread::spawn(move || work(shared, rules))
    };
    let first = work(Arc::clone(&shared), Arc::clone(rules));
    let passed = usize::from(first) + usize::from(other.join().unwrap());
    let left = shared.peek_each(rules, NOW_NS);
    (passed, left.iter().map(|verdict| verdict.remaining).collect())
}

#[test]
fn of_two_at_once_as_many_pass_as_there_is_room_for() {
    model(|| assert_eq!(two(&rules("1/h", false), false), (1, vec![0])));
    model(|| assert_eq!(two(&rules("2/h", false), false), (2, vec![0])));
    model(|| assert_eq!(two(&rules("3/h", true), false), (2, vec![1])));
}

#[test]
fn what_the_second_limit_refuses_never_counts_for_the_first() {
    model(|| assert_eq!(two(&rules("5/h, 1/d", false), false), (1, vec![4, 0])));
    model(|| assert_eq!(two(&rules("5/h, 1/d", true), false), (1, vec![3, 0])));
}

#[test]
fn what_is_given_back_is_there_again_whoever_counts_meanwhile() {
    model(|| {
        let (passed, left) = two(&rules("2/h", false), true);
        assert_eq!((passed, left), (2, vec![2]));
    });
    // One that comes between taking and giving back may be refused, but nothing is lost and nothing is won.
    model(|| {
        let (passed, left) = two(&rules("1/h", false), true);
        assert!((1..=2).contains(&passed));
        assert_eq!(left, [1]);
    });
}

#[test]
fn what_another_process_used_is_never_less_than_what_was_used_here() {
    model(|| {
        let shared: Arc<Shared<AtomicU64>> = Arc::new(Shared::new(1));
        let rules = rules("4/h", false);
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || shared.import([NOW_NS + 1_800_000_000_000].into_iter()))
        };
        assert!(shared.take(&rules, 1, NOW_NS).retry_after.is_none());
        other.join().unwrap();
        // Two were used there, and the one here is a part of them, or came after them.
        let left = shared.peek_each(&rules, NOW_NS)[0].remaining;
        assert!((1..=2).contains(&left), "{left}");
    });
}
