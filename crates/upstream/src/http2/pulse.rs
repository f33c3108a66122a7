//! The time limits of a connection, looked at once a second: that costs one timer per connection, whatever
//! happens on it.

use base::caps::{CONNECTION_AGE_MAX_S, TARGET_PING_AFTER_S, TARGET_PING_TIMEOUT_S};

/// How much longer each further silence lasts before the target is asked again. A server of gRPC counts
/// PINGs between which it had nothing to say, and takes more than a few within minutes for an attack.
const PATIENCE: u64 = 4;
/// From here on a silence is asked about at this pace.
const SILENCE_MAX_S: u64 = 400;

/// What is to be done after a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    /// Nothing.
    Fine,
    /// Ask whether the target is still there.
    Ping,
    /// The target did not answer: the connection is dead.
    Dead,
}

/// What is seen at one look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// Reads that brought something.
    pub(super) reads: u64,
    /// Requests that were begun, in all.
    pub(super) begun: u64,
    /// Requests are under way.
    pub(super) is_busy: bool,
}

/// For how long each thing has been so.
#[derive(Debug)]
pub(super) struct Pulse {
    last: Look,
    age_s: u64,
    age_max_s: u64,
    /// Since anything was heard or asked.
    silent_s: u64,
    /// The silence after which the target is asked.
    limit_s: u64,
    /// Since the target was asked, if it has not answered.
    asked_s: Option<u64>,
}

impl Pulse {
    pub(super) fn new() -> Self {
        let tenth = CONNECTION_AGE_MAX_S / 10;
        Self {
            last: Look::default(),
            age_s: 0,
            age_max_s: CONNECTION_AGE_MAX_S - tenth + base::random::fast_below(2 * tenth),
            silent_s: 0,
            limit_s: TARGET_PING_AFTER_S,
            asked_s: None,
        }
    }

    /// Whether no new requests belong on the connection.
    pub(super) const fn is_old(&self) -> bool {
        self.age_s >= self.age_max_s
    }

    /// Somebody has doubts: whether the target is asked now.
    pub(super) const fn doubt(&mut self) -> bool {
        if self.asked_s.is_some() {
            return false;
        }
        self.asked_s = Some(0);
        true
    }

    /// Takes a look, a second after the last.
    pub(super) fn beat(&mut self, look: Look) -> Beat {
        let last = std::mem::replace(&mut self.last, look);
        self.age_s += 1;
        let is_heard = last.reads != look.reads;
        if let Some(asked_s) = &mut self.asked_s {
            *asked_s += 1;
            if is_heard {
                self.asked_s = None;
                self.silent_s = 0;
            } else if *asked_s > TARGET_PING_TIMEOUT_S {
                return Beat::Dead;
            }
            return Beat::Fine;
        }
        if is_heard {
            self.limit_s = TARGET_PING_AFTER_S;
        }
        if is_heard || last.begun != look.begun {
            self.silent_s = 0;
            return Beat::Fine;
        }
        self.silent_s += 1;
        // Nobody waits on an idle connection: it is asked less often.
        let limit_s = if look.is_busy { self.limit_s } else { PATIENCE * self.limit_s };
        if self.silent_s < limit_s {
            return Beat::Fine;
        }
        self.limit_s = (self.limit_s * PATIENCE).min(SILENCE_MAX_S);
        self.asked_s = Some(0);
        Beat::Ping
    }
}

#[cfg(test)]
mod tests {
    use super::{Beat, Look, Pulse};
    use base::caps::{CONNECTION_AGE_MAX_S, TARGET_PING_AFTER_S, TARGET_PING_TIMEOUT_S};

    /// The seconds at which the target is asked, if it answers each time and says nothing else.
    fn asked(is_busy: bool, seconds: u64) -> Vec<u64> {
        let (mut pulse, mut reads, mut asked) = (Pulse::new(), 0, Vec::new());
        for second in 1..=seconds {
            match pulse.beat(Look { reads, begun: 1, is_busy }) {
                Beat::Fine => {}
                Beat::Ping => {
                    asked.push(second);
                    reads += 1;
                }
                Beat::Dead => panic!("dead after {second} s"),
            }
        }
        asked
    }

    #[test]
    fn silence_is_asked_about_soon_and_then_seldom() {
        let busy = asked(true, 300);
        assert_eq!(busy.first(), Some(&(TARGET_PING_AFTER_S + 1)));
        assert!(busy.len() <= 3, "{busy:?}");
        let idle = asked(false, 300);
        assert!(idle[0] > busy[0] && idle.len() <= 2, "{idle:?}");
    }

    #[test]
    fn a_target_that_does_not_answer_is_dead_within_seconds() {
        let mut pulse = Pulse::new();
        let look = Look { reads: 7, begun: 1, is_busy: true };
        let dead = (1..100).find(|_| pulse.beat(look) == Beat::Dead).unwrap();
        assert!(dead <= TARGET_PING_AFTER_S + TARGET_PING_TIMEOUT_S + 3, "{dead}");
    }

    #[test]
    fn doubts_are_asked_about_at_once_and_settled_by_any_word() {
        let mut pulse = Pulse::new();
        let mut look = Look { reads: 1, begun: 1, is_busy: true };
        pulse.beat(look);
        assert!(pulse.doubt());
        assert!(!pulse.doubt(), "it is asked already");
        look.reads += 1;
        assert_eq!(pulse.beat(look), Beat::Fine);
        assert!(pulse.doubt());
    }

    #[test]
    fn a_connection_grows_old() {
        let mut pulse = Pulse::new();
        let mut reads = 0;
        while !pulse.is_old() {
            reads += 1;
            pulse.beat(Look { reads, begun: 1, is_busy: true });
        }
        assert!(reads >= CONNECTION_AGE_MAX_S / 10 * 9);
    }
}
