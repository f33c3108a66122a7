use super::{Key, Verdict};
use base::caps::LEASE_WAITERS_MAX;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use traffic::store::{Ask, Grant};

/// What was held together by all gateways, at most, is this part of what a limit allows at once.
const HELD_PART: u64 = 50;
/// What is used up sooner is renewed by more,
const SOON_NS: u64 = 50_000_000;
/// and what lasts longer by less.
const LATE_NS: u64 = 500_000_000;
/// What nobody has used for so long is given back.
const IDLE_NS: u64 = 500_000_000;
/// What nobody has asked about for so long is forgotten.
const FORGOTTEN_NS: u64 = 10_000_000_000;
/// A refusal is believed for so long without asking again, also where the store said that it would take longer: somebody
/// may have reset the count.
const BELIEVED_NS_MAX: u64 = 10_000_000_000;
/// What comes back evenly is not asked for before a piece of it is worth a question, at most for so long.
const PAUSE_NS_MAX: u64 = 100_000_000;
/// For so long a count is kept alone after the store failed to answer for it.
const APART_NS: u64 = 250_000_000;
/// For so long a gateway keeps to its share after the store is back: others, who may find it back later, tell first what they
/// have used meanwhile.
const RETURN_NS: u64 = 1_500_000_000;

/// What is known of one count, and held of it.
#[derive(Default)]
pub(super) struct Lease {
    /// The rest of the name of the count in the store.
    pub(super) name: Box<str>,
    /// Given by the store and not used yet.
    pub(super) held: u64,
    /// How much more there was in the store.
    remaining: u64,
    reset_ns: u64,
    /// Which limit said so.
    pub(super) rule: usize,
    /// Until then it is known that there is not so much.
    again_ns: u64,
    retry_ns: u64,
    too_much: u64,
    /// Until then the store is not asked.
    apart_ns: u64,
    /// How much is held ahead.
    ahead: u64,
    granted_ns: u64,
    touched_ns: u64,
    /// Whether a question is under way or waits for its turn.
    pub(super) is_asked: bool,
    /// How many of those who wait are in it.
    asked_for: usize,
    waiting: VecDeque<Waiter>,
    /// What the store said last: how much was used by rule, when, and in its own words.
    used: Vec<u64>,
    used_ns: u64,
    seen: Option<Arc<str>>,
    /// What is counted alone meanwhile.
    pub(super) fallen: Option<Fallen>,
    is_reset: bool,
}

struct Waiter {
    cost: u64,
    told: oneshot::Sender<Told>,
}

/// What those are told who wait for the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// What is decided.
    Ruled(Verdict),
    /// Too many wait already.
    Full,
    /// The store does not answer.
    Down,
}

/// What is counted by this gateway alone while the store cannot be asked.
#[derive(Clone)]
pub(super) struct Fallen {
    pub(super) key: Key,
    /// What was known to be used, by rule, and when.
    pub(super) used: Vec<u64>,
    pub(super) then_ns: u64,
    /// The same as it was when the store was asked last, which does not know of it before it answers.
    pub(super) asked: Option<(Vec<u64>, u64)>,
    /// Whether the store was gone, and not only crowded.
    pub(super) is_gone: bool,
    /// Until then it goes on, though the store is back.
    ends_ns: Option<u64>,
}

impl Fallen {
    pub(super) const fn new(key: Key, used: Vec<u64>, then_ns: u64, is_gone: bool) -> Self {
        Self { key, used, then_ns, asked: None, is_gone, ends_ns: None }
    }

    /// The store has answered, and knows all that was used here. Whether it is counted alone for a while yet.
    pub(super) fn goes_on(&mut self, gateways: u32, now_ns: u64) -> bool {
        if !self.is_gone || gateways == 1 {
            return false;
        }
        let ends_ns = *self.ends_ns.get_or_insert_with(|| now_ns.saturating_add(RETURN_NS));
        if let Some(asked) = self.asked.take() {
            (self.used, self.then_ns) = asked;
        }
        now_ns < ends_ns
    }
}

/// What comes of a request.
pub(super) enum Taking {
    /// That is known.
    Now(Verdict),
    /// The store will say.
    Later(oneshot::Receiver<Told>),
    /// There is no room to ask for it.
    Full,
    /// The store does not answer.
    Down,
}

impl Lease {
    pub(super) fn new(name: Box<str>) -> Self {
        Self { name, ..Self::default() }
    }

    pub(super) const fn is_apart(&self, now_ns: u64) -> bool {
        now_ns < self.apart_ns
    }

    pub(super) fn verdict(&self, now_ns: u64, retry_after: Option<Duration>) -> Verdict {
        Verdict {
            remaining: self.remaining.saturating_add(self.held),
            reset_after: Duration::from_nanos(self.reset_ns.saturating_sub(now_ns)),
            retry_after,
            rule: self.rule,
        }
    }

    /// Judges what costs so much. Whether the store must be asked is told by [`Lease::is_due`].
    pub(super) fn take(&mut self, cost: u64, at_once: u64, now_ns: u64) -> Taking {
        self.touched_ns = now_ns;
        let returns = |it: &Fallen| it.ends_ns.is_some_and(|ends_ns| now_ns < ends_ns);
        if self.is_apart(now_ns) || self.fallen.as_ref().is_some_and(returns) {
            return Taking::Down;
        }
        if self.held >= cost && self.waiting.is_empty() {
            self.held -= cost;
            return Taking::Now(self.verdict(now_ns, None));
        }
        if now_ns < self.again_ns && cost >= self.too_much {
            let wait_ns = self.retry_ns.saturating_sub(now_ns).max(1);
            return Taking::Now(self.verdict(now_ns, Some(Duration::from_nanos(wait_ns))));
        }
        if self.waiting.len() as u64 >= at_once {
            // Those who wait already use all that there could be.
            return Taking::Now(self.verdict(now_ns, Some(Duration::ZERO)));
        }
        if self.waiting.len() >= LEASE_WAITERS_MAX {
            return Taking::Full;
        }
        let (told, answer) = oneshot::channel();
        self.waiting.push_back(Waiter { cost, told });
        Taking::Later(answer)
    }

    /// Whether the store should be asked for more, and is not yet.
    pub(super) fn is_due(&self, now_ns: u64) -> bool {
        let is_short = self.held < self.ahead.div_ceil(2) && now_ns >= self.again_ns;
        !self.is_asked && (!self.waiting.is_empty() || is_short)
    }

    /// Whether something is held that nobody uses.
    pub(super) fn is_idle(&self, now_ns: u64) -> bool {
        self.held > 0 && !self.is_asked && now_ns.saturating_sub(self.touched_ns) > IDLE_NS
    }

    /// Whether nothing is lost when it is forgotten.
    pub(super) fn is_forgotten(&self, now_ns: u64) -> bool {
        let is_old = now_ns.saturating_sub(self.touched_ns) > FORGOTTEN_NS;
        self.held == 0 && !self.is_asked && self.fallen.is_none() && is_old
    }

    /// Gives back what was taken and not used after all.
    pub(super) fn give_back(&mut self, cost: u64) {
        self.held = self.held.saturating_add(cost);
    }

    /// The store does not answer: those who wait are told so, and who comes soon does not wait.
    pub(super) fn fail(&mut self, now_ns: u64) {
        if let Some(fallen) = &mut self.fallen {
            (fallen.asked, fallen.ends_ns) = (None, None);
        }
        self.apart_ns = now_ns.saturating_add(APART_NS);
        self.send_away(Told::Down);
    }

    /// There is no room for a question: those who wait are told so.
    pub(super) fn crowd_out(&mut self) {
        self.send_away(Told::Full);
    }

    fn send_away(&mut self, told: Told) {
        self.is_asked = false;
        for waiter in self.waiting.drain(..) {
            waiter.told.send(told).ok();
        }
    }

    /// What to ask now; the largest amount that may be held ahead depends on how many gateways there are.
    pub(super) fn ask(&mut self, at_once: u64, gateways: u32, now_ns: u64) -> Ask {
        self.asked_for = self.waiting.len();
        let mut ask = Ask { is_reset: std::mem::take(&mut self.is_reset), ..Ask::default() };
        ask.seen = self.seen.clone().unwrap_or_default();
        if self.waiting.is_empty() && now_ns.saturating_sub(self.touched_ns) > IDLE_NS {
            (ask.back, self.held, self.ahead) = (self.held, 0, 0);
            ask.least = 1;
            return ask;
        }
        let ahead_max = at_once / HELD_PART / u64::from(gateways.max(1));
        let lasted_ns = now_ns.saturating_sub(self.granted_ns);
        if lasted_ns < SOON_NS {
            self.ahead = self.ahead.saturating_mul(2).saturating_add(1);
        } else if lasted_ns > LATE_NS {
            self.ahead /= 2;
        }
        self.ahead = self.ahead.min(ahead_max);
        let waiting = self.waiting.iter().fold(0_u64, |sum, it| sum.saturating_add(it.cost));
        let least = self.waiting.iter().map(|it| it.cost.saturating_sub(self.held)).min();
        ask.want = waiting.saturating_add(self.ahead).saturating_sub(self.held);
        ask.least = least.unwrap_or(1).max(1);
        ask
    }

    /// Notes what the store said, and tells those who wait.
    pub(super) fn settle(&mut self, ask: &Ask, grant: &Grant, regain_ns: u64, now_ns: u64) {
        self.is_asked = false;
        self.apart_ns = 0;
        self.held = self.held.saturating_add(grant.granted);
        self.remaining = grant.remaining;
        self.reset_ns = now_ns.saturating_add(grant.reset_ns);
        self.granted_ns = now_ns;
        (self.used, self.used_ns) = (grant.used.clone(), now_ns);
        self.seen = Some(Arc::clone(&grant.seen));
        let is_short = grant.granted < ask.want;
        if is_short {
            let pause_ns = grant.retry_ns.max(regain_ns.min(PAUSE_NS_MAX)).max(1);
            self.retry_ns = now_ns.saturating_add(grant.retry_ns.max(1));
            self.again_ns = now_ns.saturating_add(pause_ns.min(BELIEVED_NS_MAX));
            self.too_much = u64::MAX;
        }
        let mut asked_for = std::mem::take(&mut self.asked_for);
        // Who came while the question was under way is in it only if there is enough, or known not to be.
        while asked_for > 0 || is_short || self.held > 0 {
            let Some(waiter) = self.waiting.pop_front() else { break };
            if self.held >= waiter.cost {
                self.held -= waiter.cost;
                let verdict = self.verdict(now_ns, None);
                // Who does not wait any more needs nothing.
                if waiter.told.send(Told::Ruled(verdict)).is_err() {
                    self.held += waiter.cost;
                }
            } else if asked_for > 0 || is_short {
                let wait = Duration::from_nanos(grant.retry_ns.max(1));
                self.too_much = self.too_much.min(waiter.cost);
                waiter.told.send(Told::Ruled(self.verdict(now_ns, Some(wait)))).ok();
            } else {
                self.waiting.push_front(waiter);
                break;
            }
            asked_for = asked_for.saturating_sub(1);
        }
        if is_short && self.too_much == u64::MAX {
            self.too_much = ask.least;
        }
    }

    /// What was known to be used when the store was asked last.
    pub(super) fn known(&self) -> (Vec<u64>, u64) {
        (self.used.clone(), self.used_ns)
    }

    /// Forgets all, here and in the store.
    pub(super) fn reset(&mut self) {
        self.held = 0;
        (self.again_ns, self.remaining, self.used, self.seen) = (0, 0, Vec::new(), None);
        self.is_reset = true;
    }
}
