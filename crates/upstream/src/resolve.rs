//! Names to addresses.

use base::Clock;
use base::caps::ADDRESSES_PER_NAME_MAX;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use traffic::BoxFuture;

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Its addresses; at least one.
    pub addresses: Vec<IpAddr>,
    /// How long this holds.
    pub valid_for: Duration,
}

/// Resolves names.
pub trait Resolve: Send + Sync {
    /// The addresses of a name, or in words why there are none.
    fn resolve(&self, name: &str) -> BoxFuture<'_, Result<Resolved, String>>;
}

/// The system's `resolv.conf` and `hosts`, asked for A and AAAA records (RFC 1035, 3596).
///
/// The settings are read when the first name is resolved, and again only if that failed.
#[derive(Default)]
pub struct SystemResolve {
    resolver: Mutex<Option<TokioResolver>>,
}

impl SystemResolve {
    /// A resolver that has read nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn resolver(&self) -> Result<TokioResolver, String> {
        let mut resolver = self.resolver.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(resolver) = &*resolver {
            return Ok(resolver.clone());
        }
        let unusable = |error| format!("the system's resolver settings are not usable: {error}");
        let mut builder = TokioResolver::builder_tokio().map_err(unusable)?;
        builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        let made = builder.build().map_err(unusable)?;
        Ok(resolver.insert(made).clone())
    }
}

impl fmt::Debug for SystemResolve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SystemResolve")
    }
}

impl Resolve for SystemResolve {
    fn resolve(&self, name: &str) -> BoxFuture<'_, Result<Resolved, String>> {
        let name = name.to_owned();
        Box::pin(async move {
            let resolver = self.resolver()?;
            let found = resolver.lookup_ip(name).await.map_err(|error| error.to_string())?;
            let valid_for = found.valid_until().saturating_duration_since(Clock::System.now());
            let addresses: Vec<_> = found.iter().take(ADDRESSES_PER_NAME_MAX).collect();
            if addresses.is_empty() {
                return Err("the name has no address".to_owned());
            }
            Ok(Resolved { addresses, valid_for })
        })
    }
}
