//! From addresses to a connection that speaks HTTP.

use crate::http1::Http1;
use crate::http2::{Http2, Unopened};
use crate::spec::{LOCALHOST, Protocol, ProxyProtocol, TargetHost, TargetSpec, Through, TlsSpec};
use crate::world::{Dial, Io, World};
use crate::{preface, tls};
use base::Endpoint;
use base::caps::ADDRESSES_PER_CONNECT_MAX;
use rustls::pki_types::ServerName;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use traffic::upstream::Peers;

/// Opens connections to one target.
pub(crate) struct Connector {
    dial: Arc<dyn Dial>,
    tls: Option<Tls>,
    protocol: Protocol,
    through: Option<Through>,
    tells: Option<ProxyProtocol>,
}

struct Tls {
    connector: TlsConnector,
    name: ServerName<'static>,
}

/// A connection that speaks HTTP.
pub(crate) enum Link {
    /// HTTP/1.1: one request at a time.
    Http1(Box<Http1>),
    /// HTTP/2: many.
    Http2(Http2),
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ConnectError {
    /// The name has no address.
    Unresolved(String),
    /// It took too long.
    Timeout(String),
    /// Those that are there have no room, since others use them: the target is not to blame.
    Busy(String),
    /// Refused, unreachable, or TLS failed.
    Failed(String),
    /// This process has no file descriptor, port or memory left for it; nobody was asked.
    Ours(String),
    /// What the target says is not HTTP/2.
    Invalid(String),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unresolved(why) => write!(f, "the name has no address: {why}"),
            Self::Timeout(why)
            | Self::Busy(why)
            | Self::Failed(why)
            | Self::Ours(why)
            | Self::Invalid(why) => f.write_str(why),
        }
    }
}

impl Connector {
    /// For one target of an upstream.
    ///
    /// # Errors
    /// When there is nothing to verify the target by, in words.
    pub(crate) fn new(
        target: &TargetSpec,
        tls: Option<&TlsSpec>,
        protocol: Protocol,
        world: &World,
    ) -> Result<Self, String> {
        let tls = tls.map(|spec| Tls::new(target, spec, protocol, world)).transpose()?;
        let through = target.through.clone();
        Ok(Self { dial: Arc::clone(&world.dial), tls, protocol, through, tells: None })
    }

    /// The same, but telling targets of clients.
    pub(crate) fn telling(self, tells: Option<ProxyProtocol>) -> Self {
        Self { tells, ..self }
    }

    /// Whether each connection is one client's.
    pub(crate) const fn tells(&self) -> bool {
        self.tells.is_some()
    }

    /// Whether a connection may turn out to speak HTTP/2.
    pub(crate) fn may_speak_http2(&self) -> bool {
        match self.protocol {
            Protocol::Auto => self.tls.is_some(),
            Protocol::Http1 => false,
            Protocol::Http2 => true,
        }
    }

    /// The scheme of requests to the target.
    pub(crate) fn scheme(&self) -> http::uri::Scheme {
        if self.tls.is_some() { http::uri::Scheme::HTTPS } else { http::uri::Scheme::HTTP }
    }

    /// Connects to one of `addresses`, beginning with the one at `turn`. The time `limit` is the
    /// caller's to enforce; an address that does not answer gets its share of it only, so that
    /// there is time for the next.
    pub(crate) async fn connect(
        &self,
        addresses: &[Endpoint],
        turn: usize,
        limit: Option<Duration>,
        peers: Option<Peers>,
    ) -> Result<Link, ConnectError> {
        self.over(addresses, turn, limit, |address| self.open(address, peers)).await
    }

    /// The same, for raw bytes.
    pub(crate) async fn connect_raw(
        &self,
        addresses: &[Endpoint],
        turn: usize,
        limit: Option<Duration>,
        peers: Option<Peers>,
    ) -> Result<Box<dyn Io>, ConnectError> {
        self.over(addresses, turn, limit, |address| self.open_raw(address, peers)).await
    }

    async fn over<T, F: Future<Output = Result<T, ConnectError>>>(
        &self,
        addresses: &[Endpoint],
        turn: usize,
        limit: Option<Duration>,
        open: impl Fn(Endpoint) -> F,
    ) -> Result<T, ConnectError> {
        let count = addresses.len().min(ADDRESSES_PER_CONNECT_MAX);
        let share = limit.map(|limit| limit / u32::try_from(count.max(1)).unwrap_or(1));
        let mut last = ConnectError::Unresolved("no address is known".to_owned());
        for step in 0..count {
            let address = addresses[(turn % addresses.len() + step) % addresses.len()].clone();
            let opened = match share.filter(|_| step + 1 < count) {
                Some(share) => {
                    let late = |_| ConnectError::Timeout(format!("{address} did not answer"));
                    timeout(share, open(address.clone())).await.map_err(late).flatten()
                }
                None => open(address).await,
            };
            match opened {
                Ok(link) => return Ok(link),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn open(&self, address: Endpoint, peers: Option<Peers>) -> Result<Link, ConnectError> {
        let mut link = self.converse(address, peers).await?;
        if self.tells() {
            match &mut link {
                Link::Http1(link) => link.told = peers,
                Link::Http2(link) => link.told = peers,
            }
        }
        Ok(link)
    }

    /// Without ALPN (RFC 7301), since nobody knows what will be spoken.
    async fn open_raw(
        &self,
        address: Endpoint,
        peers: Option<Peers>,
    ) -> Result<Box<dyn Io>, ConnectError> {
        let io = self.prepare(&address, peers).await?;
        let Some(tls) = &self.tls else { return Ok(io) };
        let connecting = tls.connector.clone().with_alpn(Vec::new()).connect(tls.name.clone(), io);
        match connecting.await {
            Ok(io) => Ok(Box::new(io)),
            Err(error) => Err(ConnectError::Failed(format!("TLS with {address} failed: {error}"))),
        }
    }

    /// A connection on which everything was said that comes ahead of TLS.
    async fn prepare(
        &self,
        address: &Endpoint,
        peers: Option<Peers>,
    ) -> Result<Box<dyn Io>, ConnectError> {
        let failed = |error: io::Error| {
            let why = format!("connecting to {address} failed: {error}");
            let is_ours = base::shortage::is_ours(&error);
            if is_ours { ConnectError::Ours(why) } else { ConnectError::Failed(why) }
        };
        let mut io = self.dial.dial(address).await.map_err(failed)?;
        if let Some(through) = &self.through {
            let refused = |why| ConnectError::Failed(format!("the proxy at {address}: {why}"));
            preface::tunnel(&mut io, through).await.map_err(refused)?;
        }
        if let Some(version) = self.tells {
            let header = preface::proxy_header(version, peers);
            io.write_all(&header).await.map_err(failed)?;
            io.flush().await.map_err(failed)?;
        }
        Ok(io)
    }

    async fn converse(
        &self,
        address: Endpoint,
        peers: Option<Peers>,
    ) -> Result<Link, ConnectError> {
        let io = self.prepare(&address, peers).await?;
        let Some(tls) = &self.tls else {
            let speaks_http2 = self.protocol == Protocol::Http2;
            return handshake(io, address, speaks_http2).await;
        };
        let connecting = tls.connector.connect(tls.name.clone(), io);
        let failed = |error| ConnectError::Failed(format!("TLS with {address} failed: {error}"));
        let io = connecting.await.map_err(failed)?;
        let speaks_http2 = io.get_ref().1.alpn_protocol() == Some(b"h2");
        if self.protocol == Protocol::Http2 && !speaks_http2 {
            let why = format!("{address} does not speak HTTP/2 over TLS");
            return Err(ConnectError::Failed(why));
        }
        handshake(io, address, speaks_http2).await
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("protocol", &self.protocol).finish_non_exhaustive()
    }
}

impl Tls {
    fn new(
        target: &TargetSpec,
        spec: &TlsSpec,
        protocol: Protocol,
        world: &World,
    ) -> Result<Self, String> {
        let config = tls::config(spec, protocol)?;
        // One per kind of connection, so that TLS sessions are resumed across configs.
        let id = format!("upstream/tls/{protocol:?}/{}", tls::fingerprint(Some(spec)));
        let config = world.state.cell(&id, || config);
        let name = match (&spec.server_name, target.own_host()) {
            (Some(name), _) | (None, TargetHost::Name(name) | TargetHost::Service(name)) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                ServerName::try_from(name.to_owned())
                    .map_err(|_| format!("`{name}` is not a name that a certificate can hold"))?
            }
            (None, TargetHost::Ip(address)) => ServerName::from(*address),
            (None, TargetHost::Unix(_)) => ServerName::try_from(LOCALHOST)
                .map_err(|_| format!("`{LOCALHOST}` is not a name"))?,
        };
        Ok(Self { connector: TlsConnector::from(config), name })
    }
}

async fn handshake<T: Io + 'static>(
    io: T,
    address: Endpoint,
    speaks_http2: bool,
) -> Result<Link, ConnectError> {
    if !speaks_http2 {
        return Ok(Link::Http1(Http1::new(Box::new(io), address)));
    }
    Http2::open(io, address.clone()).await.map(Link::Http2).map_err(|unopened| {
        let why = format!("HTTP/2 with {address} failed: {unopened}");
        match unopened {
            Unopened::Gone(_) => ConnectError::Failed(why),
            Unopened::Invalid(_) => ConnectError::Invalid(why),
        }
    })
}
