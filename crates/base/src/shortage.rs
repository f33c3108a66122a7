//! Want of what the system gives to the whole process, such as file descriptors: told once when it begins
//! and once when it is over, however many requests meet it in between.

use crate::Clock;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long nothing may be wanting before it is over: at the edge, one gets what the next does not.
const QUIET: Duration = Duration::from_secs(1);

/// Whether an error says that the system has nothing left for this process: file descriptors, local ports,
/// memory. It tells nothing about the peer.
#[must_use]
pub fn is_ours(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let ours = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|code| ours.iter().any(|errno| errno.raw_os_error() == code))
}

/// Whether something is wanting, as the threads of a process tell each other.
#[derive(Debug)]
pub struct Shortage {
    clock: Clock,
    born: Instant,
    is_on: AtomicBool,
    last_ms: AtomicU64,
    times: AtomicU64,
}

impl Shortage {
    /// Nothing is wanting.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let born = clock.now();
        let (last_ms, times) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { clock, born, is_on: AtomicBool::new(false), last_ms, times }
    }

    /// Something was not to be had. Says whether that is new, and worth telling.
    pub fn met(&self) -> bool {
        self.last_ms.store(self.now_ms(), Ordering::Relaxed);
        self.times.fetch_add(1, Ordering::Relaxed);
        !self.is_on.load(Ordering::Relaxed) && !self.is_on.swap(true, Ordering::AcqRel)
    }

    /// Whether it is over since the last look, and how often it was met. Costs next to nothing while nothing
    /// is wanting.
    pub fn over(&self) -> Option<u64> {
        if !self.is_on.load(Ordering::Relaxed) {
            return None;
        }
        let since_ms = self.now_ms().saturating_sub(self.last_ms.load(Ordering::Relaxed));
        let is_over = Duration::from_millis(since_ms) >= QUIET;
        (is_over && self.is_on.swap(false, Ordering::AcqRel))
            .then(|| self.times.swap(0, Ordering::Relaxed))
    }

    fn now_ms(&self) -> u64 {
        let since = self.clock.now().saturating_duration_since(self.born);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::{QUIET, Shortage, is_ours};
    use crate::Clock;
    use std::io;
    use std::time::Duration;

    #[test]
    fn a_shortage_is_told_when_it_begins_and_when_it_has_been_over_for_a_while() {
        let clock = Clock::manual();
        let shortage = Shortage::new(clock.clone());
        assert_eq!(shortage.over(), None, "there is none");
        assert!(shortage.met());
        for _ in 0..3 {
            clock.advance(QUIET / 2);
            assert_eq!(shortage.over(), None);
            assert!(!shortage.met(), "it goes on");
        }
        clock.advance(QUIET - Duration::from_millis(1));
        assert_eq!(shortage.over(), None);
        clock.advance(Duration::from_millis(1));
        assert_eq!((shortage.over(), shortage.over()), (Some(4), None));
        assert!(shortage.met(), "the next one is new");
    }

    #[test]
    fn what_the_process_lacks_is_told_from_what_the_peer_does() {
        for (code, expected) in [(24, true), (23, true), (99, true), (111, false), (113, false)] {
            assert_eq!(is_ours(&io::Error::from_raw_os_error(code)), expected, "{code}");
        }
        assert!(!is_ours(&io::Error::other("too many open files")));
    }
}
