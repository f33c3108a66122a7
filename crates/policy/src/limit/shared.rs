use super::Verdict;
use super::rule::Rule;
use std::sync::atomic::{AtomicU64, Ordering};

#[cfg(test)]
mod tests;

/// A number that all workers change. Each stands for itself, so no order among them is asked for.
pub(super) trait Word {
    fn new(value: u64) -> Self;
    fn value(&self) -> u64;
    fn set(&self, value: u64);
    /// Sets it to `after` if it is `before`.
    ///
    /// # Errors
    /// What it is instead, or, once in a while for no reason, what it was.
    fn swap(&self, before: u64, after: u64) -> Result<u64, u64>;
}

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

/// What all requests used together of limits that remember one word each: every worker changes it, so nobody takes a lock.
pub(super) struct Shared<W = AtomicU64>(Box<[W]>);

impl<W: Word> Shared<W> {
    pub(super) fn new(rules: usize) -> Self {
        Self((0..rules).map(|_| W::new(0)).collect())
    }

    /// Judges what costs so much by one rule after the other; what one refuses, those before it get back, unless what is
    /// refused counts, too.
    pub(super) fn take(&self, rules: &[Rule], cost: u64, now_ns: u64) -> Verdict {
        let mut tightest: Option<Verdict> = None;
        let mut is_refused = false;
        for (index, (rule, word)) in rules.iter().zip(&self.0).enumerate() {
            let verdict = match is_refused {
                true if !rule.counts_refused() => rule.judge(&[word.value()], now_ns, cost).0,
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
            let verdict = verdict.of(index);
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
        self.0.iter().for_each(|word| word.set(0));
    }

    pub(super) fn words(&self) -> impl Iterator<Item = u64> {
        self.0.iter().map(Word::value)
    }

    /// Goes on from what another process used, unless more was used here.
    pub(super) fn import(&self, words: impl Iterator<Item = u64>) {
        for (own, word) in self.0.iter().zip(words) {
            change(own, |own| ((), [own.max(word), 0]));
        }
    }
}

/// Changes a word as often as it takes until nobody has changed it in between.
fn change<T>(word: &impl Word, change: impl Fn(u64) -> (T, [u64; 2])) -> T {
    let mut before = word.value();
    loop {
        let (told, [after, _]) = change(before);
        match word.swap(before, after) {
            Ok(_) => return told,
            Err(other) => before = other,
        }
    }
}
