use super::Verdict;
use super::rule::Rule;
use std::sync::atomic::{AtomicU64, Ordering};

/// What all requests used together of limits that remember one word each: every worker changes it, so nobody takes a lock.
pub(super) struct Shared(Box<[AtomicU64]>);

impl Shared {
    pub(super) fn new(rules: usize) -> Self {
        Self((0..rules).map(|_| AtomicU64::new(0)).collect())
    }

    /// Judges what costs so much by one rule after the other; what one refuses, those before it get back, unless what is
    /// refused counts, too.
    pub(super) fn take(&self, rules: &[Rule], cost: u64, now_ns: u64) -> Verdict {
        let mut tightest: Option<Verdict> = None;
        let mut is_refused = false;
        for (index, (rule, word)) in rules.iter().zip(&self.0).enumerate() {
            let verdict = match is_refused {
                true if !rule.counts_refused() => {
                    rule.judge(&[word.load(Ordering::Relaxed)], now_ns, cost).0
                }
                _ => change(word, |word| {
                    let (verdict, after) = rule.judge(&[word], now_ns, cost);
                    match verdict.retry_after {
                        Some(_) => (verdict, rule.refuse(&[word], now_ns, cost)),
                        None => (verdict, after),
                    }
                }),
            };
            if verdict.retry_after.is_some() && !is_refused {
                is_refused = true;
                let before = rules.get(..index).filter(|_| !rule.counts_refused());
                self.give_back(before.unwrap_or_default(), cost, now_ns);
            }
            tightest = Some(tightest.map_or(verdict, |tightest| tightest.tighter(verdict)));
        }
        tightest.unwrap_or(Verdict::UNLIMITED)
    }

    pub(super) fn give_back(&self, rules: &[Rule], cost: u64, now_ns: u64) {
        for (rule, word) in rules.iter().zip(&self.0) {
            change(word, |word| ((), rule.give_back(&[word], now_ns, cost)));
        }
    }

    /// What is left by each rule.
    pub(super) fn peek_each(&self, rules: &[Rule], now_ns: u64) -> Vec<Verdict> {
        let each = rules.iter().zip(self.words());
        each.map(|(rule, word)| rule.judge(&[word], now_ns, 0).0).collect()
    }

    /// Forgets what was counted.
    pub(super) fn reset(&self) {
        self.0.iter().for_each(|word| word.store(0, Ordering::Relaxed));
    }

    pub(super) fn words(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(|word| word.load(Ordering::Relaxed))
    }

    /// Goes on from what another process used, unless more was used here.
    pub(super) fn import(&self, words: impl Iterator<Item = u64>) {
        for (own, word) in self.0.iter().zip(words) {
            own.fetch_max(word, Ordering::Relaxed);
        }
    }
}

/// Changes a word as often as it takes until nobody has changed it in between; each word stands for itself, so no order
/// among them is asked for.
fn change<T>(word: &AtomicU64, change: impl Fn(u64) -> (T, [u64; 2])) -> T {
    let mut before = word.load(Ordering::Relaxed);
    loop {
        let (told, [after, _]) = change(before);
        let swapped =
            word.compare_exchange_weak(before, after, Ordering::Relaxed, Ordering::Relaxed);
        match swapped {
            Ok(_) => return told,
            Err(other) => before = other,
        }
    }
}
