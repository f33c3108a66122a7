//! What to connect to and how: plain data, written by whoever compiles a config.

use base::Secret;
use base::units::Share;
use http::{HeaderValue, Method, StatusCode};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use traffic::Exchange;
use traffic::plan::Priority;
use traffic::upstream::{Hedge, Retries, Timeouts};

/// What a target is called that has a path and no name.
pub(crate) const LOCALHOST: &str = "localhost";

/// A backend.
#[derive(Clone, Debug)]
pub struct UpstreamSpec {
    /// Its name in the config: the id of its live state.
    pub name: Arc<str>,
    /// Whether targets that lead inward are refused when they are connected to, see [`crate::inward`].
    pub is_walled: bool,
    /// Its targets; at least one, each text at most once.
    pub targets: Vec<TargetSpec>,
    /// How a target is chosen.
    pub balance: Balance,
    /// What else decides about it.
    pub choice: ChoiceSpec,
    /// What is spoken.
    pub protocol: Protocol,
    /// TLS, if the targets want it.
    pub tls: Option<TlsSpec>,
    /// Which `Host` the targets see.
    pub host: HostHeader,
    /// How targets are checked, if they are.
    pub health: Option<HealthSpec>,
    /// Time limits where the route sets none.
    pub timeouts: Timeouts,
    /// What is done when targets are in trouble.
    pub trouble: TroubleSpec,
    /// Idle connections kept per target and worker.
    pub idle_max: usize,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
    /// Whether and how targets are told of clients, by the PROXY protocol.
    pub proxy_protocol: Option<ProxyProtocol>,
}

/// What is done when targets are in trouble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TroubleSpec {
    /// When a request that is safe to repeat is tried again.
    pub retries: Retries,
    /// The share of requests that may be tried again after they were sent.
    pub retry_budget: Share,
    /// When a second attempt races a slow first one.
    pub hedge: Option<Hedge>,
    /// When a target is put aside.
    pub outliers: Option<OutlierSpec>,
    /// When the whole upstream is left alone.
    pub breaker: Option<BreakerSpec>,
    /// How many requests are under way at a time.
    pub concurrency: Option<ConcurrencySpec>,
}

impl Default for TroubleSpec {
    /// One retry, and targets to which no connection can be opened are put aside.
    fn default() -> Self {
        Self {
            retries: Retries::default(),
            retry_budget: Share::percent(20),
            hedge: None,
            outliers: Some(OutlierSpec::gentle()),
            breaker: None,
            concurrency: None,
        }
    }
}

/// A share of requests over a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareSpec {
    /// The share.
    pub share: Share,
    /// The time.
    pub within: Duration,
    /// How many requests there must be for the share to mean something.
    pub requests_min: u32,
}

/// When a target is put aside because requests to it fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlierSpec {
    /// Failures in a row that put it aside; zero for none.
    pub consecutive: u32,
    /// Share of failures that puts it aside.
    pub failures: Option<ShareSpec>,
    /// Whether nothing counts as a failure but connections that cannot be opened.
    pub is_connect_only: bool,
    /// Statuses of answers that are failures.
    pub statuses: Vec<StatusCode>,
    /// How long the first time; each time that follows is twice as long.
    pub eject: Duration,
    /// How long at most.
    pub eject_max: Duration,
    /// The share of targets that may be out at once.
    pub ejected_max: Share,
}

impl OutlierSpec {
    /// What holds where nobody says otherwise: a target that lets nobody in is passed over, and soon
    /// tried again.
    #[must_use]
    pub const fn gentle() -> Self {
        Self {
            consecutive: 5,
            failures: None,
            is_connect_only: true,
            statuses: Vec::new(),
            eject: Duration::from_secs(10),
            eject_max: Duration::from_secs(60),
            ejected_max: Share::percent(50),
        }
    }
}

/// When a whole upstream is left alone for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerSpec {
    /// Share of failed requests.
    pub failures: ShareSpec,
    /// What is slow, and which share of slow requests opens it.
    pub slow: Option<(Duration, Share)>,
    /// Statuses of answers that are failures.
    pub statuses: Vec<StatusCode>,
    /// How long it stays open.
    pub open: Duration,
    /// How many requests try it then.
    pub probes: u32,
}

/// How many requests are under way at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConcurrencySpec {
    /// In all; at most 2³² − 1 where nothing is said.
    pub max: u32,
    /// For each target.
    pub max_per_target: Option<u32>,
    /// How many wait for a place.
    pub queue: u32,
    /// How long one waits.
    pub wait: Duration,
    /// How long one waits when many do, if that is bounded.
    pub delay: Option<DelaySpec>,
    /// How many requests are under way, if that is found from how long answers take; no more than `max` even so.
    pub adaptive: Option<AdaptiveSpec>,
    /// Who goes first of those who are not identified.
    pub strangers: Priority,
}

/// How long requests wait in a queue that does not become empty (RFC 8289, 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DelaySpec {
    /// As befits the time that answers take without load.
    Measured,
    /// So long.
    Fixed {
        /// How long one waits at most,
        target: Duration,
        /// once somebody has been waiting for so long.
        interval: Duration,
    },
}

/// Bounds of a limit that is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdaptiveSpec {
    /// At least so many; one or more.
    pub min: u32,
    /// At most so many; no less than `min`.
    pub max: u32,
}

/// One server of a backend, or a name that stands for several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetSpec {
    /// As configured, `host:port`: the id of its live state. One of the addresses of a name has it
    /// behind a slash.
    pub text: Arc<str>,
    /// As configured, where `text` is not.
    pub origin: Option<Arc<str>>,
    /// Its host.
    pub host: TargetHost,
    /// The address of the host, where that is a name and this is known.
    pub address: Option<IpAddr>,
    /// Its port.
    pub port: u16,
    /// Its share of the requests, compared with the other targets'. Zero takes none.
    pub weight: u32,
    /// Targets of a lower number come first.
    pub priority: u32,
    /// Where it runs.
    pub locality: Locality,
    /// What is behind the host, if that is a proxy.
    pub through: Option<Through>,
}

impl TargetSpec {
    /// One of weight 1, of the first priority, that runs nobody knows where.
    #[must_use]
    pub fn new(text: Arc<str>, host: TargetHost, port: u16) -> Self {
        let locality = Locality::default();
        let (origin, address, through) = (None, None, None);
        Self { text, origin, host, address, port, weight: 1, priority: 0, locality, through }
    }

    /// The same target, reached through a proxy.
    #[must_use]
    pub fn through(self, proxy: &ProxySpec) -> Self {
        let host = match &self.host {
            TargetHost::Ip(IpAddr::V6(address)) => format!("[{address}]"),
            TargetHost::Ip(address) => address.to_string(),
            TargetHost::Name(name) | TargetHost::Service(name) => name.clone(),
            // It is on this machine: no proxy leads there.
            TargetHost::Unix(_) => return self,
        };
        let through = Through {
            authority: format!("{host}:{}", self.port),
            host: self.host,
            port: self.port,
            authorization: proxy.authorization.clone(),
        };
        Self { host: proxy.host.clone(), port: proxy.port, through: Some(through), ..self }
    }

    /// The host that answers in the end.
    pub(crate) fn own_host(&self) -> &TargetHost {
        self.through.as_ref().map_or(&self.host, |through| &through.host)
    }

    /// The port that answers in the end.
    pub(crate) fn own_port(&self) -> u16 {
        self.through.as_ref().map_or(self.port, |through| through.port)
    }

    /// Tells ways to the target apart.
    pub(crate) fn way(&self) -> String {
        match &self.through {
            Some(_) => format!("through {:?}:{}", self.host, self.port),
            None => "direct".to_owned(),
        }
    }
}

/// Where a server or a gateway runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locality {
    /// A place whose parts fail together, such as one data centre.
    pub zone: Option<Arc<str>>,
    /// Zones that are near each other.
    pub region: Option<Arc<str>>,
}

/// How far one place is from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Distance {
    /// The same zone, or it is not asked for.
    #[default]
    Zone,
    /// Another zone of the same region.
    Region,
    /// Elsewhere, or nobody knows where.
    Rest,
}

impl Locality {
    /// How far `there` is. Whoever does not know where it is itself is equally near to all.
    #[must_use]
    pub fn distance(&self, there: &Self) -> Distance {
        if self.zone.is_none() && self.region.is_none() {
            return Distance::Zone;
        }
        let is_same = |here: &Option<Arc<str>>, there: &Option<Arc<str>>| match (here, there) {
            (Some(here), Some(there)) => Some(here == there),
            _ => None,
        };
        match (is_same(&self.zone, &there.zone), is_same(&self.region, &there.region)) {
            // Names of zones may come again in another region.
            (Some(true), None | Some(true)) => Distance::Zone,
            (_, Some(true)) if self.zone.is_none() => Distance::Zone,
            (_, Some(true)) => Distance::Region,
            _ => Distance::Rest,
        }
    }
}

/// A proxy that leads to targets by CONNECT (RFC 9110, 9.3.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxySpec {
    /// Its host.
    pub host: TargetHost,
    /// Its port.
    pub port: u16,
    /// What it is shown; marked as sensitive.
    pub authorization: Option<HeaderValue>,
}

/// A target behind a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Through {
    /// What the proxy is asked for.
    pub authority: String,
    /// The target's host.
    pub host: TargetHost,
    /// The target's port.
    pub port: u16,
    /// What the proxy is shown.
    pub authorization: Option<HeaderValue>,
}

/// How a target is told of clients (the PROXY protocol of HAProxy). Connections to such a target are used for one
/// client's connection only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProxyProtocol {
    /// As a line of text.
    V1,
    /// As bytes.
    V2,
}

/// The host of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetHost {
    /// An address.
    Ip(IpAddr),
    /// A Unix socket, by its path. In names of hosts and certificates it is [`LOCALHOST`].
    Unix(Arc<Path>),
    /// A name to be resolved.
    Name(String),
    /// The name of a service (RFC 2782), such as `_orders._tcp.example.com`: its records say hosts,
    /// ports, weights and priorities.
    Service(String),
}

/// How a target is chosen.
#[derive(Clone, Debug, Default)]
pub enum Balance {
    /// By turns, as often as the weights say.
    #[default]
    RoundRobin,
    /// Of two drawn by weight, the one with fewer requests under way for its weight.
    LeastRequest,
    /// Of two drawn by weight, the one that is expected to answer sooner: by how long it took lately,
    /// and by its requests under way.
    PeakEwma,
    /// Drawn by weight.
    Random,
    /// By a key, so that the same key finds the same target, on every gateway.
    Hash(HashSpec),
}

/// Balancing by a key.
#[derive(Clone)]
pub struct HashSpec {
    /// The key of a request, evenly spread over all numbers; a request without one is given to anybody.
    pub key: HashKey,
    /// How many requests a target may have under way, in percent of its fair share, before keys go to
    /// another one; at least 100.
    pub load_max_percent: u32,
}

/// What finds the key of a request.
pub type HashKey = Arc<dyn Fn(&Exchange) -> Option<u64> + Send + Sync>;

impl fmt::Debug for HashSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashSpec")
            .field("load_max_percent", &self.load_max_percent)
            .finish_non_exhaustive()
    }
}

/// What else decides which target is chosen.
#[derive(Clone, Debug, Default)]
pub struct ChoiceSpec {
    /// Where the gateway runs: near targets are preferred.
    pub here: Locality,
    /// How clients are kept at a target.
    pub sticky: Option<StickySpec>,
    /// How long a target that is new, or well again, takes to get its whole share.
    pub slow_start: Option<Duration>,
    /// When a smaller share of the targets than this takes requests, all of them get some.
    pub panic_threshold: Option<Share>,
    /// The name servers, instead of the system's.
    pub name_servers: Vec<SocketAddr>,
}

/// How clients are kept at a target.
#[derive(Clone, Debug)]
pub struct StickySpec {
    /// The name of the cookie.
    pub cookie: String,
    /// How long the client keeps it; as long as it runs, where nothing is said.
    pub ttl: Option<Duration>,
    /// The path for which the client sends it.
    pub path: String,
    /// What the values are made with. Gateways that have the same one understand each other's.
    pub secret: Secret,
}

/// What is spoken to targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// HTTP/2 where TLS negotiates it (RFC 7301), otherwise HTTP/1.1.
    #[default]
    Auto,
    /// HTTP/1.1 (RFC 9112).
    Http1,
    /// HTTP/2 (RFC 9113), without TLS by prior knowledge.
    Http2,
}

/// TLS towards targets. Certificates are always verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsSpec {
    /// Certificates, as PEM, that are trusted instead of the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// The name asked for and verified instead of the target's host.
    pub server_name: Option<String>,
    /// What the target is shown if it asks for a certificate.
    pub client: Option<ClientCert>,
}

/// A certificate with its key, which is never shown.
#[derive(Clone)]
pub struct ClientCert(pub Arc<CertifiedKey>);

impl PartialEq for ClientCert {
    /// A key belongs to its certificate.
    fn eq(&self, other: &Self) -> bool {
        self.0.cert == other.0.cert
    }
}

impl Eq for ClientCert {}

impl fmt::Debug for ClientCert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientCert({} certificates)", self.0.cert.len())
    }
}

/// How the gateway's own requests leave ([`crate::outbound`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EgressSpec {
    /// Certificates, as PEM, that are trusted instead of the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// The proxy through which they go.
    pub proxy: Option<ProxySpec>,
    /// Hosts to which they go directly.
    pub no_proxy: Vec<NoProxy>,
    /// The workspace on whose behalf they are: it shares no connections with others.
    pub workspace: Option<Arc<str>>,
    /// Whether destinations that lead inward are refused, see [`crate::inward`]. What goes through the proxy is the
    /// proxy's to judge, but for addresses.
    pub is_walled: bool,
}

/// Which `Host` (RFC 9110, 7.2) a target sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum HostHeader {
    /// The client's.
    #[default]
    Preserve,
    /// The target's host, and its port unless it is the scheme's own.
    Target,
    /// This one.
    Fixed(HeaderValue),
}

/// What a target is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HealthQuestion {
    /// A request; statuses from 200 to 399 are good.
    Request {
        /// Its method.
        method: Method,
        /// Its path and query, beginning with a slash.
        path: String,
    },
    /// Nothing: it is good that a connection can be opened, TLS included.
    Connect,
}

/// How targets are asked whether they are well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthSpec {
    /// What they are asked.
    pub question: HealthQuestion,
    /// How often.
    pub every: Duration,
    /// How long an answer may take, the connection included.
    pub timeout: Duration,
    /// Good answers in a row that make a target healthy.
    pub healthy_after: u32,
    /// Bad answers in a row that make it unhealthy.
    pub unhealthy_after: u32,
}

/// Hosts that are reached without a proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoProxy {
    /// This name alone.
    Name(String),
    /// Every name that ends with this, which begins with a dot.
    Below(String),
    /// Addresses of which so many bits are the same.
    Net(IpAddr, u8),
}

impl NoProxy {
    /// Reads a name (`idp.internal`), the names below one (`.internal` or `*.internal`), an address or a network
    /// (`10.0.0.0/8`).
    ///
    /// # Errors
    /// In words, when it is none of them.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is neither a name, nor `.name`, nor an address, nor a network such as `10.0.0.0/8`"
            )
        };
        if let Some((address, bits)) = text.split_once('/') {
            let address: IpAddr = address.parse().map_err(|_| wrong())?;
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = bits.parse().ok().filter(|bits| *bits <= most).ok_or_else(wrong)?;
            return Ok(Self::Net(address, bits));
        }
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(Self::Net(address, if address.is_ipv4() { 32 } else { 128 }));
        }
        let name = text.strip_prefix('*').unwrap_or(text).to_ascii_lowercase();
        let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        match name.strip_prefix('.') {
            Some(below) if !below.is_empty() && below.chars().all(is_name) => Ok(Self::Below(name)),
            None if !name.is_empty() && !text.starts_with('*') && name.chars().all(is_name) => {
                Ok(Self::Name(name))
            }
            _ => Err(wrong()),
        }
    }

    /// Whether a host is among them.
    #[must_use]
    pub fn holds(&self, host: &TargetHost) -> bool {
        match (self, host) {
            (Self::Name(own), TargetHost::Name(name)) => name.eq_ignore_ascii_case(own),
            (Self::Below(own), TargetHost::Name(name)) => name.to_ascii_lowercase().ends_with(own),
            (Self::Net(own, bits), TargetHost::Ip(address)) => {
                match (own, address.to_canonical()) {
                    (IpAddr::V4(own), IpAddr::V4(address)) => {
                        let shift = 32 - u32::from(*bits);
                        own.to_bits().checked_shr(shift) == address.to_bits().checked_shr(shift)
                    }
                    (IpAddr::V6(own), IpAddr::V6(address)) => {
                        let shift = 128 - u32::from(*bits);
                        own.to_bits().checked_shr(shift) == address.to_bits().checked_shr(shift)
                    }
                    _ => false,
                }
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{NoProxy, TargetHost};

    #[test]
    fn hosts_without_a_proxy_are_found() {
        let host = |text: &str| {
            text.parse().map_or_else(|_| TargetHost::Name(text.to_owned()), TargetHost::Ip)
        };
        for (rule, inside, outside) in [
            ("idp.internal", "IDP.internal", "x.idp.internal"),
            (".internal", "a.b.internal", "internal"),
            ("*.internal", "a.internal", "ainternal"),
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("0.0.0.0/0", "192.0.2.1", "::1"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("[::1]", "::1", "::2"),
            ("fd00::/8", "fdff::1", "fe80::1"),
        ] {
            let rule = NoProxy::parse(rule).unwrap();
            assert!(rule.holds(&host(inside)), "{rule:?} {inside}");
            assert!(!rule.holds(&host(outside)), "{rule:?} {outside}");
        }
        for text in ["", ".", "*", "*a", "a b", "10.0.0.0/33", "a/8", "::/129", "http://a"] {
            assert!(NoProxy::parse(text).is_err(), "{text}");
        }
    }
}
