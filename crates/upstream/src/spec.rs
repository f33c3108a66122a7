//! What to connect to and how: plain data, written by whoever compiles a config.

use http::{HeaderValue, Method};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use traffic::upstream::Timeouts;

/// A backend.
#[derive(Clone, Debug)]
pub struct UpstreamSpec {
    /// Its name in the config: the id of its live state.
    pub name: Arc<str>,
    /// Its targets; at least one, each text at most once.
    pub targets: Vec<TargetSpec>,
    /// How a target is chosen.
    pub balance: Balance,
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
    /// How many times a request that is safe to repeat is tried again.
    pub retries_max: u32,
    /// Idle connections kept per target and worker.
    pub idle_max: usize,
    /// How long an idle connection is kept.
    pub idle_timeout: Duration,
}

/// One server of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetSpec {
    /// As configured, `host:port`: the id of its live state.
    pub text: Arc<str>,
    /// Its host.
    pub host: TargetHost,
    /// Its port.
    pub port: u16,
    /// Its share of the requests, compared with the other targets'. Zero takes none.
    pub weight: u32,
}

/// The host of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetHost {
    /// An address.
    Ip(IpAddr),
    /// A name to be resolved.
    Name(String),
}

/// How a target is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// By turns, as often as the weights say.
    #[default]
    RoundRobin,
    /// Of two drawn by weight, the one with fewer requests under way for its weight.
    LeastRequest,
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
}

/// How the gateway's own requests leave ([`crate::outbound`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EgressSpec {
    /// Certificates, as PEM, that are trusted instead of the system's.
    pub ca_pem: Option<Vec<u8>>,
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

/// How targets are asked whether they are well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthSpec {
    /// The method of the question.
    pub method: Method,
    /// Its path and query, beginning with a slash.
    pub path: String,
    /// How often.
    pub every: Duration,
    /// How long an answer may take, the connection included.
    pub timeout: Duration,
    /// Good answers in a row that make a target healthy.
    pub healthy_after: u32,
    /// Bad answers in a row that make it unhealthy.
    pub unhealthy_after: u32,
}
