//! What to connect to and how: plain data, written by whoever compiles a config.

use http::{HeaderValue, Method};
use rustls::sign::CertifiedKey;
use std::fmt;
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
    /// Whether and how targets are told of clients, by the PROXY protocol.
    pub proxy_protocol: Option<ProxyProtocol>,
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
    /// What is behind the host, if that is a proxy.
    pub through: Option<Through>,
}

impl TargetSpec {
    /// The same target, reached through a proxy.
    #[must_use]
    pub fn through(self, proxy: &ProxySpec) -> Self {
        let host = match &self.host {
            TargetHost::Ip(IpAddr::V6(address)) => format!("[{address}]"),
            TargetHost::Ip(address) => address.to_string(),
            TargetHost::Name(name) => name.clone(),
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
