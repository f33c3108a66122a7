//! Who calls, found by what they show: hash of a credential → consumer. The directory is not part of
//! a snapshot: one record changes at a time, and look-ups never wait.

use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// The identified client of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// Its unique name.
    pub name: Arc<str>,
    /// The groups it belongs to.
    pub groups: Box<[Arc<str>]>,
}

/// Something by which a consumer proves who it is; the secret itself is never kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// What people call it, for logs.
    pub name: Option<Arc<str>>,
    /// Whom it identifies.
    pub consumer: Arc<Consumer>,
}

/// SHA-256 of a credential.
pub type CredentialHash = [u8; 32];

type Shard = ArcSwap<HashMap<CredentialHash, Arc<Credential>>>;

/// All credentials of a gateway.
pub struct Directory {
    shards: Box<[Shard]>,
}

/// Enough that changing one of a million credentials copies a few hundred entries.
const SHARDS: usize = 1_024;

impl Default for Directory {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Shard::default()).collect() }
    }
}

impl Directory {
    /// An empty directory.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn shard(&self, hash: &CredentialHash) -> &Shard {
        &self.shards[usize::from(u16::from_le_bytes([hash[0], hash[1]])) % SHARDS]
    }

    /// The credential of a hash. The hash being one of SHA-256, comparing it byte by byte tells an
    /// attacker nothing about a key.
    #[must_use]
    pub fn find(&self, hash: &CredentialHash) -> Option<Arc<Credential>> {
        self.shard(hash).load().get(hash).cloned()
    }

    /// Adds or changes one credential.
    pub fn put(&self, hash: CredentialHash, credential: &Arc<Credential>) {
        self.shard(&hash).rcu(|shard| {
            let mut shard = HashMap::clone(shard);
            shard.insert(hash, Arc::clone(credential));
            shard
        });
    }

    /// Revokes one credential; false if there was none.
    pub fn remove(&self, hash: &CredentialHash) -> bool {
        let before = self.shard(hash).rcu(|shard| {
            let mut shard = HashMap::clone(shard);
            shard.remove(hash);
            shard
        });
        before.contains_key(hash)
    }

    /// Makes `records` the whole content, shard by shard.
    pub fn replace(&self, records: impl IntoIterator<Item = (CredentialHash, Arc<Credential>)>) {
        let mut shards: Vec<HashMap<CredentialHash, Arc<Credential>>> =
            (0..SHARDS).map(|_| HashMap::new()).collect();
        for (hash, credential) in records {
            shards[usize::from(u16::from_le_bytes([hash[0], hash[1]])) % SHARDS]
                .insert(hash, credential);
        }
        for (shard, new) in self.shards.iter().zip(shards) {
            if **shard.load() != new {
                shard.store(Arc::new(new));
            }
        }
    }

    /// How many credentials there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.load().len()).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Directory({} credentials)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::{Consumer, Credential, Directory};
    use std::sync::Arc;

    fn credential(name: &str) -> Arc<Credential> {
        let consumer = Arc::new(Consumer { name: name.into(), groups: Box::default() });
        Arc::new(Credential { name: None, consumer })
    }

    #[test]
    fn one_record_changes_at_a_time() {
        let directory = Directory::new();
        directory.put([1; 32], &credential("alice"));
        directory.put([2; 32], &credential("bob"));
        assert_eq!(&*directory.find(&[1; 32]).unwrap().consumer.name, "alice");
        assert!(directory.remove(&[1; 32]));
        assert!(!directory.remove(&[1; 32]));
        assert!(directory.find(&[1; 32]).is_none());
        assert_eq!(directory.len(), 1);
    }

    #[test]
    fn replacing_forgets_what_is_not_named() {
        let directory = Directory::new();
        directory.put([1; 32], &credential("alice"));
        directory.replace([([2; 32], credential("bob"))]);
        assert!(directory.find(&[1; 32]).is_none());
        assert!(directory.find(&[2; 32]).is_some());
    }
}
