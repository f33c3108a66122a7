//! Where counts are that several gateways share: what a config says of it, as plain data.

use crate::world::World;
use base::Secret;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use traffic::store::LimitStore;

/// A server of a store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoreServer {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// How the servers of a store work together.
#[derive(Clone, Debug)]
pub enum StoreShape {
    /// One server.
    Single(StoreServer),
    /// Servers that a Sentinel watches, which tells the one that is written to.
    Sentinel {
        /// The Sentinels.
        sentinels: Vec<StoreServer>,
        /// What they call the servers they watch.
        master: String,
        /// The user that Sentinels know, if they ask for one.
        username: Option<String>,
        /// The password that Sentinels ask for.
        password: Option<Secret>,
    },
    /// A cluster, of which these servers are known.
    Cluster(Vec<StoreServer>),
}

/// A store that speaks Redis' protocol.
#[derive(Clone)]
pub struct StoreSpec {
    /// The servers.
    pub shape: StoreShape,
    /// Whether they speak TLS, also the Sentinels.
    pub is_tls: bool,
    /// Certificates, as PEM, that are trusted in place of the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// The user, where it is not the default one.
    pub username: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// The number of the database.
    pub database: u16,
    /// What the names of all keys begin with.
    pub prefix: String,
    /// How long an answer may take.
    pub timeout: Duration,
}

impl fmt::Debug for StoreSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreSpec").field("shape", &self.shape).finish_non_exhaustive()
    }
}

/// A store; nothing is sent before it is asked. Without a world it says no to everything.
///
/// # Errors
/// In words, what makes it impossible.
pub fn limit_store(spec: &StoreSpec, world: Option<&World>) -> Result<Arc<dyn LimitStore>, String> {
    make(spec, world)
}

#[cfg(feature = "redis")]
fn make(spec: &StoreSpec, world: Option<&World>) -> Result<Arc<dyn LimitStore>, String> {
    crate::redis::open(spec, world.map(|world| world.background.clone()))
}

#[cfg(not(feature = "redis"))]
fn make(_: &StoreSpec, _: Option<&World>) -> Result<Arc<dyn LimitStore>, String> {
    Err("this program was built without stores (feature `redis`)".to_owned())
}
