//! What a listener makes of whoever connects: how many may, and whom it believes about others.

use crate::arrivals::Pace;
use crate::tls::ToldCertificates;
use base::caps::{CONNECTION_AGE_MAX_S, CONNECTIONS_PER_LISTENER_MAX, CROWD_SHARDS};
use base::network::{Networks, owner};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a listener makes of whoever connects.
#[derive(Clone, Debug)]
pub struct Clients {
    /// Who must say in front of each connection whom it carries (the PROXY protocol).
    pub announcing: Networks,
    /// Who is believed about the request's way so far.
    pub trusted: Networks,
    /// In which header those say it.
    pub told_by: ToldBy,
    /// Whether those also tell of certificates of clients (RFC 9440), and what is made of that.
    pub told_certificates: Option<Arc<ToldCertificates>>,
    /// Whether backends are told by `Forwarded` (RFC 7239) as well.
    pub tells_forwarded: bool,
    /// Connections at a time.
    pub connections_max: usize,
    /// Connections at a time from one address, if they are counted.
    pub per_address: Option<PerAddress>,
    /// How often one address may connect, if that is counted.
    pub connecting: Option<Pace>,
    /// How often one address may begin TLS, if that is counted.
    pub shaking_hands: Option<Pace>,
    /// Seconds after which a connection is asked to end, give or take a tenth.
    pub age_max_s: u64,
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            announcing: Networks::default(),
            trusted: Networks::default(),
            told_by: ToldBy::default(),
            told_certificates: None,
            tells_forwarded: false,
            connections_max: CONNECTIONS_PER_LISTENER_MAX,
            per_address: None,
            connecting: None,
            shaking_hands: None,
            age_max_s: CONNECTION_AGE_MAX_S,
        }
    }
}

/// The headers by which trusted proxies tell a request's way. Only one family is read: a proxy that writes one
/// passes the other on as the client sent it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ToldBy {
    /// `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`.
    #[default]
    XForwarded,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// How many connections one address may have, and has.
#[derive(Clone, Debug)]
pub struct PerAddress {
    /// Connections at a time.
    pub max: u32,
    /// Those there are; outlives snapshots.
    pub crowd: Arc<Crowd>,
}

/// Connections by what one client owns: an IPv4 address, or an IPv6 network of 64 bits. It holds nobody who has
/// no connection.
#[derive(Debug)]
pub struct Crowd {
    shards: Box<[Shard]>,
}

type Shard = Mutex<HashMap<u64, u32, foldhash::fast::RandomState>>;

impl Default for Crowd {
    fn default() -> Self {
        Self { shards: (0..CROWD_SHARDS).map(|_| Mutex::default()).collect() }
    }
}

impl Crowd {
    /// Counts a connection from an address until the place is dropped; none beyond `max`.
    #[must_use]
    pub fn enter(self: &Arc<Self>, address: IpAddr, max: u32) -> Option<Place> {
        let owner = owner(address);
        let mut shard = self.shard(owner);
        let count = shard.entry(owner).or_default();
        if *count >= max {
            if *count == 0 {
                shard.remove(&owner);
            }
            return None;
        }
        *count += 1;
        Some(Place { crowd: Arc::clone(self), owner })
    }

    fn shard(&self, owner: u64) -> MutexGuard<'_, HashMap<u64, u32, foldhash::fast::RandomState>> {
        // The bits in which neighbours differ decide, spread by a multiplication.
        let mixed = owner.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let index = usize::try_from(mixed).unwrap_or(0) % self.shards.len().max(1);
        self.shards[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of a connection among those of its address.
#[derive(Debug)]
pub struct Place {
    crowd: Arc<Crowd>,
    owner: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut shard = self.crowd.shard(self.owner);
        if let Some(count) = shard.get_mut(&self.owner) {
            *count -= 1;
            if *count == 0 {
                shard.remove(&self.owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Crowd;
    use std::net::IpAddr;
    use std::sync::Arc;

    #[test]
    fn an_address_gets_so_many_places_and_each_back() {
        let crowd = Arc::new(Crowd::default());
        let enter = |text: &str| crowd.enter(text.parse::<IpAddr>().unwrap(), 2);
        let first = enter("192.0.2.1");
        let second = enter("::ffff:192.0.2.1");
        assert!(first.is_some() && second.is_some());
        assert!(enter("192.0.2.1").is_none(), "a mapped address is the same");
        let other = enter("192.0.2.2");
        assert!(other.is_some());
        let (a, b) = (enter("2001:db8::1"), enter("2001:db8::2"));
        assert!(a.is_some() && b.is_some() && enter("2001:db8::3").is_none());
        drop(second);
        assert!(enter("192.0.2.1").is_some());
        drop((first, other, a, b));
        assert!(crowd.shards.iter().all(|shard| shard.lock().unwrap().is_empty()));
    }
}
