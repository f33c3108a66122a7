//! A table from keys to targets (Maglev hashing): every target fills the slots it likes best, in turns, so
//! that shares are even, and when one comes or goes the keys of the others mostly stay where they are. It
//! depends on nothing but the names and weights of the targets, so that all gateways make the same one.

use base::caps::HASH_SLOTS;

/// The table.
#[derive(Debug)]
pub(crate) struct Maglev {
    /// Positions of targets.
    slots: Box<[u16]>,
}

/// The hash of a key, the same on every machine and in every version: FNV-1a, and a finaliser that spreads
/// what differs in few bits.
#[must_use]
pub(crate) fn hash_of(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
    });
    mixed(hash)
}

/// Spreads the bits of a hash.
pub(crate) const fn mixed(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    hash ^ (hash >> 31)
}

/// The slots of one target in the order in which it likes them.
struct Wishes {
    position: u16,
    next: usize,
    step: usize,
    /// How much of a turn it gets in each round.
    weight: u64,
    credit: u64,
}

impl Maglev {
    /// The table of targets with these positions, names and weights; none if there are none.
    pub(crate) fn new(targets: &[(usize, &str, u32)]) -> Option<Self> {
        let heaviest = u64::from(targets.iter().map(|(.., weight)| *weight).max()?);
        let wishes = |(position, name, weight): &(usize, &str, u32)| {
            let hash = hash_of(name.as_bytes());
            Some(Wishes {
                position: u16::try_from(*position).ok()?,
                next: slot(hash),
                // The number of slots is a prime, so that every step comes by all of them.
                step: 1 + remainder(mixed(!hash), HASH_SLOTS - 1),
                weight: u64::from(*weight),
                credit: 0,
            })
        };
        let mut named: Vec<_> = targets.iter().filter(|(.., weight)| *weight > 0).collect();
        named.sort_unstable_by_key(|(_, name, _)| *name);
        let mut wishes: Vec<Wishes> = named.into_iter().filter_map(wishes).collect();
        if wishes.is_empty() {
            return None;
        }
        let mut slots: Vec<Option<u16>> = vec![None; HASH_SLOTS];
        let mut free = HASH_SLOTS;
        while free > 0 {
            for wish in &mut wishes {
                wish.credit += wish.weight;
                if wish.credit < heaviest || free == 0 {
                    continue;
                }
                wish.credit -= heaviest;
                while slots[wish.next].is_some() {
                    wish.next = (wish.next + wish.step) % HASH_SLOTS;
                }
                slots[wish.next] = Some(wish.position);
                free -= 1;
            }
        }
        Some(Self { slots: slots.into_iter().flatten().collect() })
    }

    /// The target of a key.
    pub(crate) fn find(&self, hash: u64) -> usize {
        usize::from(self.slots[slot(hash)])
    }
}

fn slot(hash: u64) -> usize {
    remainder(hash, HASH_SLOTS)
}

fn remainder(hash: u64, by: usize) -> usize {
    usize::try_from(hash % by as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Maglev, hash_of};
    use base::caps::HASH_SLOTS;
    use proptest::prelude::{ProptestConfig, prop_assert, proptest};

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("10.0.0.{number}:8080")).collect()
    }

    fn table(names: &[String]) -> Maglev {
        let targets: Vec<_> =
            names.iter().enumerate().map(|(at, name)| (at, name.as_str(), 1)).collect();
        Maglev::new(&targets).unwrap()
    }

    fn shares(table: &Maglev, count: usize) -> Vec<usize> {
        let mut shares = vec![0; count];
        for position in &table.slots {
            shares[usize::from(*position)] += 1;
        }
        shares
    }

    #[test]
    fn hashes_are_the_same_for_ever() {
        assert_eq!(hash_of(b""), 0xF52A_15E9_A9B5_E89B);
        assert_ne!(hash_of(b"a"), hash_of(b"b"));
    }

    #[test]
    fn shares_follow_the_weights() {
        let targets = [(0, "a", 3), (1, "b", 1), (2, "c", 0)];
        let shares = shares(&Maglev::new(&targets).unwrap(), 3);
        assert_eq!(shares[2], 0);
        assert!(shares[0].abs_diff(HASH_SLOTS * 3 / 4) < 10, "{shares:?}");
        assert!(Maglev::new(&[]).is_none());
        assert!(Maglev::new(&[(0, "a", 0)]).is_none());
    }

    #[test]
    fn the_order_in_which_targets_are_written_does_not_matter() {
        let (forward, back) = ([(0, "a", 1), (1, "b", 1)], [(0, "b", 1), (1, "a", 1)]);
        let (forward, back) = (Maglev::new(&forward).unwrap(), Maglev::new(&back).unwrap());
        for number in 0..1_000_u32 {
            let hash = hash_of(&number.to_be_bytes());
            assert_eq!(forward.find(hash), 1 - back.find(hash));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn shares_are_even_and_few_keys_move_when_a_target_goes(
            count in 2_usize..120, gone in 0_usize..120
        ) {
            let all = names(count);
            let gone = gone % count;
            let before = table(&all);
            let fair = HASH_SLOTS / count;
            for share in shares(&before, count) {
                prop_assert!(share.abs_diff(fair) <= fair / 50 + 2, "{share} of {fair}");
            }
            if count == 2 { return Ok(()); }
            let mut rest = all.clone();
            rest.remove(gone);
            let after = table(&rest);
            let moved = (0..HASH_SLOTS).filter(|slot| {
                let was = usize::from(before.slots[*slot]);
                let is = &rest[usize::from(after.slots[*slot])];
                was != gone && all[was] != *is
            }).count();
            // Of the keys of the others a few percent move; with plain division nearly all would.
            prop_assert!(moved * 100 <= HASH_SLOTS * 20, "{moved} of {HASH_SLOTS} moved");
        }
    }
}
