//! How much memory there is for what requests leave behind, and what goes without when it runs short.

use crate::plan::Priority;
use crate::state::State;
use base::units::Share;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// How much memory the process may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ceiling {
    /// So many bytes.
    Bytes(u64),
    /// So much of what the system gives it: the limit of its cgroup, or else the machine's memory.
    Share(Share),
}

/// What goes without, each with all before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Want {
    /// Nothing does.
    #[default]
    None,
    /// What is held in memory for a request.
    Buffers,
    /// Requests of low priority.
    Low,
    /// Those of normal priority.
    Normal,
    /// All requests, and new connections.
    All,
}

impl Want {
    /// All of them, the mildest first.
    pub const ALL: [Self; 5] = [Self::None, Self::Buffers, Self::Low, Self::Normal, Self::All];

    /// From which part of the ceiling on, in percent.
    const fn threshold_percent(self) -> u64 {
        match self {
            Self::None => 0,
            Self::Buffers => 80,
            Self::Low => 90,
            Self::Normal => 95,
            Self::All => 100,
        }
    }

    /// Its name in logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Buffers => "buffers",
            Self::Low => "low",
            Self::Normal => "normal",
            Self::All => "all",
        }
    }

    /// Whether requests of a priority go without.
    #[must_use]
    pub fn refuses(self, priority: Priority) -> bool {
        let least = match priority {
            Priority::Low => Self::Low,
            Priority::Normal => Self::Normal,
            Priority::High => Self::All,
        };
        self >= least
    }
}

/// Percent of the ceiling by which it must fall below where a want began before that is over.
const RELIEF_PERCENT: u64 = 5;

/// The memory of the process: what it took at the last look, and what requests hold and were promised since. All of it
/// is zero where no ceiling is set, and costs nothing then.
#[derive(Debug, Default)]
pub struct Memory {
    ceiling: AtomicU64,
    /// What was taken by all but what is held.
    other: AtomicU64,
    held: AtomicU64,
    promised: AtomicU64,
    want: AtomicU8,
}

impl Memory {
    /// That of the process that this state belongs to.
    #[must_use]
    pub fn of(state: &State) -> Arc<Self> {
        state.cell("node/memory", Self::default)
    }

    /// What goes without now.
    #[must_use]
    #[inline]
    pub fn want(&self) -> Want {
        match self.want.load(Ordering::Relaxed) {
            0 => Want::None,
            1 => Want::Buffers,
            2 => Want::Low,
            3 => Want::Normal,
            _ => Want::All,
        }
    }

    /// Bytes that requests hold.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }

    /// Bytes that the process may take; zero where that is not bounded.
    #[must_use]
    pub fn ceiling(&self) -> u64 {
        self.ceiling.load(Ordering::Relaxed)
    }

    /// Bytes that are taken, as far as it is known: those of the last look, and what is held and promised since.
    #[must_use]
    pub fn taken(&self) -> u64 {
        let taken = |part: &AtomicU64| part.load(Ordering::Relaxed);
        taken(&self.other).saturating_add(taken(&self.held)).saturating_add(taken(&self.promised))
    }

    /// Notes what the process takes and may take, no ceiling being zero; what goes without from now on.
    pub fn looked(&self, resident: u64, ceiling: u64) -> Want {
        let other = if ceiling == 0 { 0 } else { resident.saturating_sub(self.held()) };
        self.other.store(other, Ordering::Relaxed);
        self.ceiling.store(ceiling, Ordering::Relaxed);
        self.settle();
        self.want()
    }

    /// Room for so many bytes that a request will hold; none when memory is short or would become so.
    #[must_use]
    pub fn promise(self: &Arc<Self>, bytes: u64) -> Option<Hold> {
        let hold = Hold { memory: Arc::clone(self), held: 0, promised: bytes };
        self.promised.fetch_add(bytes, Ordering::Relaxed);
        self.settle();
        (self.want() < Want::Buffers).then_some(hold)
    }

    fn settle(&self) {
        let ceiling = self.ceiling();
        let before = self.want();
        let want = if ceiling == 0 { Want::None } else { wanted(before, self.taken(), ceiling) };
        if want != before {
            self.want.store(want as u8, Ordering::Relaxed);
        }
    }
}

/// What goes without where so much of the ceiling is taken.
fn wanted(before: Want, taken: u64, ceiling: u64) -> Want {
    let is_so = |want: &Want| {
        let relief = if *want <= before { RELIEF_PERCENT } else { 0 };
        let from = u128::from(want.threshold_percent().saturating_sub(relief));
        u128::from(taken) * 100 >= u128::from(ceiling) * from
    };
    Want::ALL.into_iter().rfind(is_so).unwrap_or_default()
}

/// What a request holds in memory, until it is dropped.
#[derive(Debug)]
pub struct Hold {
    memory: Arc<Memory>,
    held: u64,
    promised: u64,
}

impl Hold {
    /// It holds so many bytes more; of what was promised as much is kept.
    pub fn add(&mut self, bytes: u64) {
        let kept = bytes.min(self.promised);
        self.promised -= kept;
        self.held += bytes;
        self.memory.promised.fetch_sub(kept, Ordering::Relaxed);
        self.memory.held.fetch_add(bytes, Ordering::Relaxed);
        if bytes > kept {
            self.memory.settle();
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.memory.promised.fetch_sub(self.promised, Ordering::Relaxed);
        self.memory.held.fetch_sub(self.held, Ordering::Relaxed);
        self.memory.settle();
    }
}

#[cfg(test)]
mod tests {
    use super::{Memory, Priority, Want};
    use std::sync::Arc;

    #[test]
    fn more_goes_without_the_less_there_is_and_little_relief_ends_nothing() {
        let memory = Memory::default();
        for (taken, expected) in [
            (79, Want::None),
            (80, Want::Buffers),
            (90, Want::Low),
            (95, Want::Normal),
            (100, Want::All),
            (300, Want::All),
            (95, Want::All),
            (94, Want::Normal),
            (89, Want::Low),
            (76, Want::Buffers),
            (75, Want::Buffers),
            (74, Want::None),
            (99, Want::Normal),
        ] {
            assert_eq!(memory.looked(taken, 100), expected, "{taken}");
        }
        assert_eq!(memory.looked(300, 0), Want::None, "there is no ceiling");
    }

    #[test]
    fn the_highest_priority_goes_without_last() {
        let refused = |want: Want| Priority::ALL.map(|priority| want.refuses(priority));
        assert_eq!(refused(Want::Buffers), [false, false, false]);
        assert_eq!(refused(Want::Low), [true, false, false]);
        assert_eq!(refused(Want::Normal), [true, true, false]);
        assert_eq!(refused(Want::All), [true, true, true]);
    }

    #[test]
    fn what_is_promised_counts_before_it_is_held_and_all_of_it_comes_back() {
        let memory = Arc::new(Memory::default());
        assert!(memory.promise(u64::MAX / 2).is_some(), "nothing is bounded");
        memory.looked(500, 1_000);
        let mut first = memory.promise(200).unwrap();
        assert!(memory.promise(100).is_none(), "it would be short then");
        assert_eq!(memory.want(), Want::None, "what was not to be had is not taken");
        first.add(150);
        assert_eq!((memory.held(), memory.taken()), (150, 700));
        first.add(250);
        assert_eq!((memory.held(), memory.taken()), (400, 900));
        assert_eq!(memory.want(), Want::Low, "more came than was promised");
        // The next look sees what is held, too.
        assert_eq!(memory.looked(900, 1_000), Want::Low);
        drop(first);
        assert_eq!((memory.held(), memory.taken()), (0, 500));
        assert_eq!(memory.want(), Want::None);
    }
}
