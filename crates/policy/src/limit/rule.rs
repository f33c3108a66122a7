use super::gcra::{Gcra, SPAN_NS_MAX};
use super::window::Window;
use super::{Algorithm, Verdict};
use base::rates::Limit;
use traffic::store::Counting;

/// Words that a rule remembers for each key, at most.
const WORDS_MAX: usize = 2;

/// One limit, ready to be asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    /// What it says.
    pub(crate) limit: Limit,
    how: How,
    /// Whether what is refused counts, too.
    counts_refused: bool,
}

#[derive(Clone, Copy, Debug)]
enum How {
    Gcra(Gcra),
    Window(Window),
}

impl Rule {
    /// A limit by an algorithm.
    ///
    /// # Errors
    /// Why it cannot be counted.
    pub(crate) fn new(limit: Limit, algorithm: Algorithm) -> Result<Self, String> {
        let how = match algorithm {
            Algorithm::Gcra => {
                let burst = limit.burst.unwrap_or(limit.rate.count);
                if burst == 0 {
                    return Err("a burst of zero would refuse every request".to_owned());
                }
                Gcra::new(limit.rate, burst).map(How::Gcra)
            }
            Algorithm::SlidingWindow if limit.burst.is_some() => {
                return Err(
                    "a sliding window has no `burst`: as much as the limit says may come at once"
                        .to_owned(),
                );
            }
            Algorithm::SlidingWindow => Window::new(limit.rate).map(How::Window),
        };
        let how = how.ok_or_else(|| {
            format!(
                "the limit {} is too fast or too slow to count: between one request in a year and a thousand million \
                 in a second can be",
                limit.rate
            )
        })?;
        Ok(Self { limit, how, counts_refused: false })
    }

    /// A limit that was made before.
    pub(crate) fn of(limit: Limit, gcra: Gcra) -> Self {
        Self { limit, how: How::Gcra(gcra), counts_refused: false }
    }

    /// The same, which counts what is refused, too, or does not.
    pub(crate) const fn counting_refused(mut self, is_so: bool) -> Self {
        self.counts_refused = is_so;
        self
    }

    /// Whether what is refused counts, too.
    pub(crate) const fn counts_refused(&self) -> bool {
        self.counts_refused
    }

    /// What it says, for people who read a config.
    pub(crate) fn about(&self) -> String {
        match self.limit.burst {
            Some(burst) => format!("{} (burst {burst})", self.limit.rate),
            None => self.limit.rate.to_string(),
        }
    }

    /// What must be the same for another limit to go on from what this one remembers.
    pub(super) fn kind(&self) -> String {
        match self.how {
            How::Gcra(_) => "gcra".to_owned(),
            How::Window(window) => format!("window{}", window.period_ns()),
        }
    }

    /// The largest cost that can ever pass.
    pub(crate) fn cost_max(&self) -> u64 {
        match self.how {
            How::Gcra(gcra) => gcra.cost_max(),
            How::Window(window) => window.count(),
        }
    }

    /// How a store counts the same.
    pub(super) fn counting(&self) -> Counting {
        match self.how {
            How::Gcra(gcra) => gcra.counting(),
            How::Window(window) => {
                Counting::Window { count: window.count(), period_ns: window.period_ns() }
            }
        }
    }

    /// How long it takes until so much has come back, where it comes back evenly.
    pub(super) fn regain_ns(&self, cost: u64) -> u64 {
        match self.how {
            How::Gcra(gcra) => gcra.regain_ns(cost),
            How::Window(_) => 0,
        }
    }

    /// Whether it remembers no more than one word, which can be changed without a lock.
    pub(crate) const fn is_one_word(&self) -> bool {
        self.words() == 1
    }

    /// How many words it remembers for each key.
    pub(super) const fn words(&self) -> usize {
        match self.how {
            How::Gcra(_) => 1,
            How::Window(_) => WORDS_MAX,
        }
    }

    /// Judges what costs so much: what is decided, and what is remembered after it.
    pub(super) fn judge(&self, words: &[u64], now_ns: u64, cost: u64) -> (Verdict, [u64; 2]) {
        let state = read(words);
        match self.how {
            How::Gcra(gcra) => {
                let (verdict, arrival_ns) = gcra.judge(state[0], now_ns, cost);
                (verdict, [arrival_ns, 0])
            }
            How::Window(window) => window.judge(state, now_ns, cost),
        }
    }

    /// What is remembered once something is refused that costs so much.
    pub(super) fn refuse(&self, words: &[u64], now_ns: u64, cost: u64) -> [u64; 2] {
        // What a larger limit left behind is cut for good in any case.
        let cost = if self.counts_refused { cost } else { 0 };
        let state = read(words);
        match self.how {
            How::Gcra(gcra) => [gcra.fill(state[0], now_ns, cost), 0],
            How::Window(window) => window.fill(state, now_ns, cost),
        }
    }

    /// What is remembered without what cost so much.
    pub(super) fn give_back(&self, words: &[u64], now_ns: u64, cost: u64) -> [u64; 2] {
        let state = read(words);
        match self.how {
            How::Gcra(gcra) => [gcra.give_back(state[0], cost), 0],
            How::Window(window) => window.give_back(state, now_ns, cost),
        }
    }

    /// What is remembered, where another clock counts: `to_ns` there is `from_ns` here.
    pub(super) fn moved(&self, words: &[u64], from_ns: u64, to_ns: u64) -> [u64; 2] {
        let state = read(words);
        let shift =
            |word: u64, unit_ns: u64| (word + to_ns / unit_ns).saturating_sub(from_ns / unit_ns);
        match self.how {
            How::Gcra(_) if state[0] <= from_ns => [0, 0],
            How::Gcra(_) => [shift(state[0].min(from_ns.saturating_add(SPAN_NS_MAX)), 1), 0],
            How::Window(window) if state[0] > from_ns / window.period_ns() => [0, 0],
            How::Window(window) => [shift(state[0], window.period_ns()), state[1]],
        }
    }

    /// When nothing is remembered any more.
    pub(super) fn ends_ns(&self, words: &[u64]) -> u64 {
        match self.how {
            How::Gcra(_) => read(words)[0],
            How::Window(window) => window.ends_ns(read(words)),
        }
    }
}

fn read(words: &[u64]) -> [u64; 2] {
    [0, 1].map(|index| words.get(index).copied().unwrap_or(0))
}
