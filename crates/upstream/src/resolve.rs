//! Names to addresses, and names of services to names.

use base::Clock;
use base::caps::{ADDRESSES_PER_NAME_MAX, RECORDS_PER_SERVICE_MAX};
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolverConfig,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use traffic::BoxFuture;

/// How long it holds that there is nothing.
const NOTHING_VALID_FOR: Duration = Duration::from_secs(300);

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Its addresses; at least one.
    pub addresses: Vec<IpAddr>,
    /// How long this holds.
    pub valid_for: Duration,
}

/// What the name of a service stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered {
    /// Who offers it; at least one.
    pub servers: Vec<Server>,
    /// How long this holds.
    pub valid_for: Duration,
}

/// Who offers a service: one SRV record (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Its name, without the final dot.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Servers of a lower number come first.
    pub priority: u16,
    /// Its share, compared with others of the same priority; zero for hardly any.
    pub weight: u16,
}

/// What an address is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Called {
    /// Its names in lower case, without the final dot; none if it has no name.
    pub names: Vec<String>,
    /// How long this holds.
    pub valid_for: Duration,
}

/// Whether a name leads to an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Led {
    /// Whether it does.
    pub there: bool,
    /// How long this holds.
    pub valid_for: Duration,
}

/// Resolves names.
pub trait Resolve: Send + Sync {
    /// The addresses of a name, or in words why there are none.
    fn resolve(&self, name: &str) -> BoxFuture<'_, Result<Resolved, String>>;

    /// Who offers a service, or in words why nobody does.
    fn servers(&self, service: &str) -> BoxFuture<'_, Result<Offered, String>> {
        let why = format!("`{service}` is the name of a service, which cannot be asked for here");
        Box::pin(async { Err(why) })
    }

    /// What an address is called, or in words why that cannot be found out.
    fn names(&self, address: IpAddr) -> BoxFuture<'_, Result<Called, String>> {
        Box::pin(async move { Err(format!("{address} cannot be asked about here")) })
    }

    /// Whether a name leads to an address, or in words why that cannot be found out.
    fn leads(&self, name: &str, address: IpAddr) -> BoxFuture<'_, Result<Led, String>> {
        let why = format!("whether `{name}` leads to {address} cannot be asked here");
        Box::pin(async { Err(why) })
    }

    /// One that asks these name servers, if this can be done.
    fn through(&self, name_servers: &[SocketAddr]) -> Option<Arc<dyn Resolve>> {
        let _ = name_servers;
        None
    }
}

/// The system's `resolv.conf`, or name servers of one's own, and the `hosts` file: asked for A, AAAA and
/// SRV records (RFC 1035, 3596, 2782).
///
/// The settings are read when the first name is resolved, and again only if that failed.
#[derive(Default)]
pub struct SystemResolve {
    name_servers: Vec<SocketAddr>,
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
        let mut builder = if self.name_servers.is_empty() {
            TokioResolver::builder_tokio().map_err(unusable)?
        } else {
            let servers = self.name_servers.iter().map(|address| name_server(*address)).collect();
            let config = ResolverConfig::from_parts(None, Vec::new(), servers);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        };
        builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        let made = builder.build().map_err(unusable)?;
        Ok(resolver.insert(made).clone())
    }
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
    for connection in &mut connections {
        connection.port = address.port();
    }
    NameServerConfig::new(address.ip(), true, connections)
}

impl fmt::Debug for SystemResolve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SystemResolve({:?})", self.name_servers)
    }
}

impl Resolve for SystemResolve {
    fn resolve(&self, name: &str) -> BoxFuture<'_, Result<Resolved, String>> {
        let name = name.to_owned();
        Box::pin(async move {
            let resolver = self.resolver()?;
            let found = resolver.lookup_ip(name).await.map_err(|error| error.to_string())?;
            let valid_for = found.valid_until().saturating_duration_since(Clock::System.now());
            let mut addresses: Vec<_> = found.iter().collect();
            // Name servers change the order from answer to answer. Those beyond the cap are always the same.
            addresses.sort_unstable();
            addresses.dedup();
            addresses.truncate(ADDRESSES_PER_NAME_MAX);
            if addresses.is_empty() {
                return Err("the name has no address".to_owned());
            }
            Ok(Resolved { addresses, valid_for })
        })
    }

    fn servers(&self, service: &str) -> BoxFuture<'_, Result<Offered, String>> {
        let service = service.to_owned();
        Box::pin(async move {
            let resolver = self.resolver()?;
            let found = resolver.srv_lookup(service).await.map_err(|error| error.to_string())?;
            let valid_for = found.valid_until().saturating_duration_since(Clock::System.now());
            let record = |data: &RData| match data {
                RData::SRV(record) => Some(Server {
                    host: record.target.to_utf8().trim_end_matches('.').to_lowercase(),
                    port: record.port,
                    priority: record.priority,
                    weight: record.weight,
                }),
                _ => None,
            };
            let records = found.answers().iter().filter_map(|answer| record(&answer.data));
            // A single dot as host says that the service is not offered (RFC 2782).
            let mut servers: Vec<_> = records.filter(|server| !server.host.is_empty()).collect();
            servers.sort_unstable_by(|a, b| {
                (a.priority, &a.host, a.port).cmp(&(b.priority, &b.host, b.port))
            });
            servers.truncate(RECORDS_PER_SERVICE_MAX);
            if servers.is_empty() {
                return Err("nobody offers the service".to_owned());
            }
            Ok(Offered { servers, valid_for })
        })
    }

    fn names(&self, address: IpAddr) -> BoxFuture<'_, Result<Called, String>> {
        Box::pin(async move {
            let resolver = self.resolver()?;
            let found = match resolver.reverse_lookup(address).await {
                Ok(found) => found,
                Err(error) if error.is_no_records_found() => {
                    return Ok(Called { names: Vec::new(), valid_for: NOTHING_VALID_FOR });
                }
                Err(error) => return Err(error.to_string()),
            };
            let valid_for = found.valid_until().saturating_duration_since(Clock::System.now());
            let name = |data: &RData| match data {
                RData::PTR(name) => Some(name.0.to_utf8().trim_end_matches('.').to_lowercase()),
                _ => None,
            };
            let names = found.answers().iter().filter_map(|answer| name(&answer.data)).collect();
            Ok(Called { names, valid_for })
        })
    }

    fn leads(&self, name: &str, address: IpAddr) -> BoxFuture<'_, Result<Led, String>> {
        // The dot says that it is whole: no domain of this machine is tried behind it.
        let name = format!("{name}.");
        Box::pin(async move {
            let resolver = self.resolver()?;
            match resolver.lookup_ip(name).await {
                Ok(found) => {
                    let valid_for =
                        found.valid_until().saturating_duration_since(Clock::System.now());
                    let there = found.iter().any(|own| own.to_canonical() == address);
                    Ok(Led { there, valid_for })
                }
                Err(error) if error.is_no_records_found() => {
                    Ok(Led { there: false, valid_for: NOTHING_VALID_FOR })
                }
                Err(error) => Err(error.to_string()),
            }
        })
    }

    fn through(&self, name_servers: &[SocketAddr]) -> Option<Arc<dyn Resolve>> {
        let name_servers = name_servers.to_vec();
        Some(Arc::new(Self { name_servers, resolver: Mutex::default() }))
    }
}
