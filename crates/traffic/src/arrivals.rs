//! How often addresses come: how many connections, and how many of the handshakes that cost so much, each may begin
//! in a length of time.

use base::Clock;
use base::caps::ARRIVALS_REMEMBERED;
use base::gcra::Gcra;
use base::network::owner;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// Parts of the table, each under a lock of its own.
const SHARDS: usize = 64;
/// Places of which an address may have any.
const WAYS: usize = 8;
/// Groups of such places in one part.
const SETS: usize = ARRIVALS_REMEMBERED / SHARDS / WAYS;

/// How often an address may come, and has come.
#[derive(Clone, Debug)]
pub struct Pace {
    /// How often.
    pub gcra: Gcra,
    /// What each has used; outlives snapshots.
    pub arrivals: Arc<Arrivals>,
}

impl Pace {
    /// Counts an arrival; false if it comes too early, which counts for nothing.
    #[must_use]
    pub fn admits(&self, address: IpAddr) -> bool {
        self.arrivals.take(address, self.gcra)
    }
}

/// When what an address used would have come back, by what one client owns: an IPv4 address, or an IPv6 network of 64
/// bits. Memory is that of so many addresses and no more: where too many come whose hashes meet, the one that used the
/// least is forgotten and begins anew.
pub struct Arrivals {
    clock: Clock,
    start: Instant,
    /// Outsiders cannot know whose places meet.
    hasher: RandomState,
    shards: Box<[Shard]>,
}

/// The places of one part; none before somebody came.
type Shard = Mutex<Vec<[Entry; WAYS]>>;

/// Whose it is, and when what was used comes back; nobody's while that is not ahead.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    owner: u64,
    arrival_ns: u64,
}

impl Arrivals {
    /// Nobody has come yet.
    #[must_use]
    pub fn new(clock: &Clock) -> Self {
        Self {
            clock: clock.clone(),
            start: clock.now(),
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    fn take(&self, address: IpAddr, gcra: Gcra) -> bool {
        let since = self.clock.now().saturating_duration_since(self.start).as_nanos();
        let now_ns = u64::try_from(since).unwrap_or(u64::MAX);
        let owner = owner(address);
        let hash = usize::try_from(self.hasher.hash_one(owner) >> 1).unwrap_or(0);
        let shard = &self.shards[hash % SHARDS];
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if shard.is_empty() {
            shard.resize(SETS, [Entry::default(); WAYS]);
        }
        let set = &mut shard[hash / SHARDS % SETS];
        let known = set.iter().position(|entry| entry.owner == owner && entry.arrival_ns > now_ns);
        let least = || set.iter().enumerate().min_by_key(|(_, entry)| entry.arrival_ns);
        let Some(position) = known.or_else(|| least().map(|(position, _)| position)) else {
            return true;
        };
        let arrival_ns = if known.is_some() { set[position].arrival_ns } else { 0 };
        let judged = gcra.judge(arrival_ns, now_ns, 1);
        set[position] = Entry { owner, arrival_ns: judged.arrival_ns };
        judged.wait_ns.is_none()
    }
}

impl fmt::Debug for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Arrivals")
    }
}

#[cfg(test)]
mod tests {
    use super::{Arrivals, Pace};
    use base::Clock;
    use base::caps::ARRIVALS_REMEMBERED;
    use base::gcra::Gcra;
    use base::units::Rate;
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::net::{IpAddr, Ipv4Addr};
    use std::sync::Arc;
    use std::time::Duration;

    fn pace(clock: &Clock, rate: &str, burst: u32) -> Pace {
        let gcra = Gcra::new(Rate::parse(rate).unwrap(), burst).unwrap();
        Pace { gcra, arrivals: Arc::new(Arrivals::new(clock)) }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_comes_so_often_and_its_neighbours_in_its_network_with_it() {
        let clock = Clock::manual();
        let pace = pace(&clock, "1/s", 2);
        let came = |text: &str| pace.admits(address(text));
        assert!(came("192.0.2.1") && came("::ffff:192.0.2.1") && !came("192.0.2.1"));
        assert!(came("192.0.2.2"));
        assert!(came("2001:db8::1") && came("2001:db8::2") && !came("2001:db8::3"));
        assert!(came("2001:db8:0:1::1"));
        clock.advance(Duration::from_millis(999));
        assert!(!came("192.0.2.1"));
        clock.advance(Duration::from_millis(1));
        assert!(came("192.0.2.1") && !came("192.0.2.1"));
    }

    #[test]
    fn a_flood_of_addresses_takes_no_more_memory_and_forgets_nobody_who_came_more_often() {
        let clock = Clock::manual();
        let pace = pace(&clock, "1/h", 3);
        let often = address("203.0.113.1");
        assert!((0..3).all(|_| pace.admits(often)));
        for number in 0..u32::try_from(4 * ARRIVALS_REMEMBERED).unwrap() {
            assert!(pace.admits(IpAddr::V4(Ipv4Addr::from(number))), "others are let in");
        }
        assert!(!pace.admits(often));
        let places = |shard: &super::Shard| shard.lock().unwrap().len() * super::WAYS;
        assert_eq!(pace.arrivals.shards.iter().map(places).sum::<usize>(), ARRIVALS_REMEMBERED);
    }

    proptest! {
        /// What the table says is what counting the arrivals of each address says that are not too old yet.
        #[test]
        fn it_counts_as_a_bucket_for_each_address_does(
            steps in proptest::collection::vec((0_u8..6, 0_u64..400), 1..200),
            burst in 1_u32..6,
        ) {
            let clock = Clock::manual();
            let pace = pace(&clock, "10/s", burst);
            // Tokens in thousandths; ten a second are one in a hundred milliseconds.
            let mut buckets: HashMap<u8, (u64, u64)> = HashMap::new();
            let mut now_ms = 0;
            for (who, wait_ms) in steps {
                clock.advance(Duration::from_millis(wait_ms));
                now_ms += wait_ms;
                let full = u64::from(burst) * 1_000;
                let (tokens, at_ms) = buckets.entry(who).or_insert((full, now_ms));
                *tokens = full.min(*tokens + (now_ms - *at_ms) * 10);
                *at_ms = now_ms;
                let passes = *tokens >= 1_000;
                if passes {
                    *tokens -= 1_000;
                }
                prop_assert_eq!(pace.admits(IpAddr::V4(Ipv4Addr::new(192, 0, 2, who))), passes);
            }
        }
    }
}
