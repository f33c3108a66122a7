//! Maps whose keys are hashes already, so that looking one up need not hash it again.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map by what outsiders cannot choose: the digest of something, or a hash with a secret. Where they could
/// choose its last eight bytes, they could make all keys meet.
pub type HashedMap<K, V> = HashMap<K, V, BuildHasherDefault<Hashed>>;

/// Takes the last eight bytes of a key for its hash.
#[derive(Clone, Copy, Debug, Default)]
pub struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last_chunk() {
            self.0 = u64::from_le_bytes(*last);
        }
    }

    /// The length of an array, which comes before its bytes, tells nothing.
    fn write_usize(&mut self, _: usize) {}
}

#[cfg(test)]
mod tests {
    use super::HashedMap;

    #[test]
    fn keys_are_found_by_their_last_bytes_and_told_apart_by_all() {
        let mut numbers = HashedMap::default();
        numbers.insert(1_u128 << 70, 'a');
        numbers.insert((1 << 70) | 1, 'b');
        numbers.insert(1, 'c');
        let found = [1 << 70, (1 << 70) | 1, 1].map(|key: u128| numbers.get(&key).copied());
        assert_eq!(found, [Some('a'), Some('b'), Some('c')]);
        let mut digests = HashedMap::default();
        let (one, mut two) = ([7; 32], [7; 32]);
        two[0] = 8;
        digests.insert(one, 1);
        assert_eq!(digests.get(&two), None);
        digests.insert(two, 2);
        assert_eq!((digests.get(&one), digests.get(&two)), (Some(&1), Some(&2)));
    }
}
