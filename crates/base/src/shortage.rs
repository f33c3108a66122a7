//! Want of what the system gives to the whole process, such as file descriptors: told once when it begins
//! and once when it is over, however many requests meet it in between.

use crate::Clock;
use crate::caps::{DESCRIPTORS_KEPT, DESCRIPTORS_KEPT_PART};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long nothing may be wanting before it is over: at the edge, one gets what the next does not.
const QUIET: Duration = Duration::from_secs(1);

/// Whether an error says that the system has nothing left for this process: file descriptors, local ports,
/// memory. It tells nothing about the peer.
#[must_use]
pub fn is_ours(error: &io::Error) -> bool {
    let ours = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::ADDRNOTAVAIL];
    error.raw_os_error().is_some_and(|code| ours.iter().any(|errno| errno.raw_os_error() == code))
}

/// The first descriptor that is kept back. Of a process whose limit nobody told none is.
static KEPT_FROM: AtomicU64 = AtomicU64::new(u64::MAX);

/// Says how many files the process may have open. Some of them are kept back from now on for what is not
/// traffic: see [`is_scarce`].
pub fn limit(open_files: u64) {
    let kept = DESCRIPTORS_KEPT.min(open_files / DESCRIPTORS_KEPT_PART);
    KEPT_FROM.store(open_files - kept, Ordering::Relaxed);
}

/// Whether a descriptor that traffic was given is one of those kept back. The system gives out the lowest one that is
/// free, so its number tells how many are taken.
#[must_use]
pub fn is_scarce(descriptor: &impl AsFd) -> bool {
    let number = u64::try_from(descriptor.as_fd().as_raw_fd()).unwrap_or(0);
    number >= KEPT_FROM.load(Ordering::Relaxed)
}

/// Whether there is a descriptor for traffic again. Takes one for a moment, as a copy of this one.
pub fn is_over(any: &impl AsFd) -> bool {
    fcntl_dupfd_cloexec(any, 0).is_ok_and(|copy| !is_scarce(&copy))
}

/// What the system says when no descriptor is left; also said when only those are that are kept back.
#[must_use]
pub fn no_descriptor() -> io::Error {
    Errno::MFILE.into()
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
    use super::{KEPT_FROM, QUIET, Shortage, is_ours, is_over, is_scarce, limit, no_descriptor};
    use crate::Clock;
    use std::io;
    use std::sync::atomic::Ordering;
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
    fn so_many_descriptors_are_kept_back_and_their_numbers_tell() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(!is_scarce(&file), "nobody told a limit");
        for (open_files, kept_from) in [(100, 88), (1_024, 896), (1 << 20, (1 << 20) - 1_024)] {
            limit(open_files);
            assert_eq!(KEPT_FROM.load(Ordering::Relaxed), kept_from);
            assert!(!is_scarce(&file) && is_over(&file));
        }
        limit(0);
        assert!(is_scarce(&file) && !is_over(&file));
        limit(u64::MAX);
        assert!(is_ours(&no_descriptor()));
    }

    #[test]
    fn what_the_process_lacks_is_told_from_what_the_peer_does() {
        for (code, expected) in [(24, true), (23, true), (99, true), (111, false), (113, false)] {
            assert_eq!(is_ours(&io::Error::from_raw_os_error(code)), expected, "{code}");
        }
        assert!(!is_ours(&io::Error::other("too many open files")));
    }
}
