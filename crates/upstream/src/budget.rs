//! How many requests may be sent again: a share of those of the last while, and a few whatever the
//! traffic. Without it, a backend that is slow or failing gets several times its usual load.

use base::caps::{RETRY_FLOOR_PER_S, RETRY_WINDOW_S};
use base::units::Share;
use std::sync::{Mutex, PoisonError};

const WINDOW_MS: u64 = RETRY_WINDOW_S * 1_000;
const FLOOR: u64 = RETRY_FLOOR_PER_S * RETRY_WINDOW_S;

/// What is left to spend; outlives configs. Only repetitions come here, no request that goes well.
#[derive(Debug, Default)]
pub(crate) struct Budget(Mutex<Spent>);

/// Two windows, the one that runs and the one before it, of which a falling part still counts.
#[derive(Debug, Default)]
struct Spent {
    began_ms: u64,
    /// Requests ever when the window began.
    requests_then: u64,
    requests_before: u64,
    repeated: u64,
    repeated_before: u64,
}

impl Budget {
    /// Nothing spent yet, after so many requests ever.
    pub(crate) fn new(now_ms: u64, requests: u64) -> Self {
        Self(Mutex::new(Spent { began_ms: now_ms, requests_then: requests, ..Spent::default() }))
    }

    /// Takes one repetition, if it is there. `requests` counts all requests ever, without repetitions.
    pub(crate) fn take(&self, now_ms: u64, requests: u64, share: Share) -> bool {
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spent.roll(now_ms, requests);
        let left_ms = WINDOW_MS - (now_ms.saturating_sub(spent.began_ms)).min(WINDOW_MS);
        let before = |count: u64| count.saturating_mul(left_ms) / WINDOW_MS;
        let seen = requests.saturating_sub(spent.requests_then) + before(spent.requests_before);
        let repeated = spent.repeated + before(spent.repeated_before);
        let may = repeated < share.of(seen).saturating_add(FLOOR);
        spent.repeated += u64::from(may);
        may
    }
}

impl Spent {
    /// Begins a new window when the last one is over. Of a longer time the mean is taken.
    fn roll(&mut self, now_ms: u64, requests: u64) {
        let passed_ms = now_ms.saturating_sub(self.began_ms);
        if passed_ms < WINDOW_MS {
            return;
        }
        let seen = u128::from(requests.saturating_sub(self.requests_then));
        let mean = seen * u128::from(WINDOW_MS) / u128::from(passed_ms);
        self.requests_before = u64::try_from(mean).unwrap_or(u64::MAX);
        self.repeated_before = if passed_ms < 2 * WINDOW_MS { self.repeated } else { 0 };
        self.repeated = 0;
        self.requests_then = requests;
        self.began_ms = now_ms;
    }
}

#[cfg(test)]
mod tests {
    use super::{Budget, FLOOR};
    use base::units::Share;

    const FIFTH: Share = Share::percent(20);

    fn take_all(budget: &Budget, now_ms: u64, requests: u64) -> u64 {
        (0..100_000).take_while(|_| budget.take(now_ms, requests, FIFTH)).count() as u64
    }

    #[test]
    fn a_few_may_be_repeated_whatever_the_traffic() {
        assert_eq!(take_all(&Budget::default(), 0, 0), FLOOR);
    }

    #[test]
    fn repetitions_are_a_share_of_the_requests() {
        let budget = Budget::default();
        assert_eq!(take_all(&budget, 5_000, 10_000), FLOOR + 2_000);
        assert_eq!(take_all(&budget, 9_000, 11_000), 200, "each further request adds its share");
    }

    #[test]
    fn what_was_before_it_began_earns_nothing() {
        let budget = Budget::new(3_000, 1_000_000);
        assert_eq!(take_all(&budget, 4_000, 1_000_100), FLOOR + 20);
    }

    #[test]
    fn what_was_spent_comes_back_with_time() {
        let budget = Budget::default();
        take_all(&budget, 0, 0);
        assert_eq!(take_all(&budget, 10_000, 0), 0, "it was spent a moment ago");
        assert_eq!(take_all(&budget, 15_000, 0), FLOOR / 2);
        assert_eq!(take_all(&budget, 100_000, 0), FLOOR);
    }

    #[test]
    fn a_long_quiet_time_saves_nothing_up() {
        let budget = Budget::default();
        assert_eq!(take_all(&budget, 1_000_000, 10_000), FLOOR + 20, "a hundred requests a window");
    }

    #[test]
    fn a_storm_is_cut_to_the_share() {
        let budget = Budget::default();
        let (mut requests, mut repeated) = (0, 0);
        for now_ms in 0..60_000 {
            requests += 1;
            repeated += u64::from(budget.take(now_ms, requests, FIFTH));
        }
        let most = requests / 5 + FLOOR * 7;
        assert!((requests / 5..=most).contains(&repeated), "{repeated} of {requests}");
    }
}
