//! From addresses to a connection that speaks HTTP.

use crate::http1::Http1;
use crate::spec::{Protocol, TargetHost, TargetSpec, TlsSpec};
use crate::tls;
use crate::world::{Dial, Io, World};
use base::caps::{
    ADDRESSES_PER_CONNECT_MAX, CONNECTION_WINDOW_BYTES, STREAM_SEND_BUFFER_BYTES,
    STREAM_WINDOW_BYTES, UPSTREAM_HEAD_BYTES_MAX,
};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::AbortHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use traffic::Body;

/// Opens connections to one target.
pub(crate) struct Connector {
    dial: Arc<dyn Dial>,
    tls: Option<Tls>,
    protocol: Protocol,
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

/// An HTTP/2 connection; dropping it closes it.
pub(crate) struct Http2 {
    pub(crate) sender: http2::SendRequest<Body>,
    pub(crate) address: SocketAddr,
    _driver: Driver,
}

/// The task that moves a connection's bytes; it ends with its owner, so that nothing that was given
/// up lingers.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ConnectError {
    /// The name has no address.
    Unresolved(String),
    /// It took too long.
    Timeout(String),
    /// Refused, unreachable, or TLS failed.
    Failed(String),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unresolved(why) => write!(f, "the name has no address: {why}"),
            Self::Timeout(why) | Self::Failed(why) => f.write_str(why),
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
        Ok(Self { dial: Arc::clone(&world.dial), tls, protocol })
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
        addresses: &[SocketAddr],
        turn: usize,
        limit: Option<Duration>,
    ) -> Result<Link, ConnectError> {
        let count = addresses.len().min(ADDRESSES_PER_CONNECT_MAX);
        let share = limit.map(|limit| limit / u32::try_from(count.max(1)).unwrap_or(1));
        let mut last = ConnectError::Unresolved("no address is known".to_owned());
        for step in 0..count {
            let address = addresses[(turn % addresses.len() + step) % addresses.len()];
            let opened = match share.filter(|_| step + 1 < count) {
                Some(share) => match timeout(share, self.open(address)).await {
                    Ok(opened) => opened.map_err(ConnectError::Failed),
                    Err(_) => Err(ConnectError::Timeout(format!("{address} did not answer"))),
                },
                None => self.open(address).await.map_err(ConnectError::Failed),
            };
            match opened {
                Ok(link) => return Ok(link),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn open(&self, address: SocketAddr) -> Result<Link, String> {
        let failed = |error| format!("connecting to {address} failed: {error}");
        let io = self.dial.dial(address).await.map_err(failed)?;
        let Some(tls) = &self.tls else {
            let speaks_http2 = self.protocol == Protocol::Http2;
            return handshake(io, address, speaks_http2).await;
        };
        let connecting = tls.connector.connect(tls.name.clone(), io);
        let io = connecting.await.map_err(|error| format!("TLS with {address} failed: {error}"))?;
        let speaks_http2 = io.get_ref().1.alpn_protocol() == Some(b"h2");
        if self.protocol == Protocol::Http2 && !speaks_http2 {
            return Err(format!("{address} does not speak HTTP/2 over TLS"));
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
        let name = match (&spec.server_name, &target.host) {
            (Some(name), _) | (None, TargetHost::Name(name)) => {
                let name = name.strip_suffix('.').unwrap_or(name);
                ServerName::try_from(name.to_owned())
                    .map_err(|_| format!("`{name}` is not a name that a certificate can hold"))?
            }
            (None, TargetHost::Ip(address)) => ServerName::from(*address),
        };
        Ok(Self { connector: TlsConnector::from(config), name })
    }
}

async fn handshake<T: Io + 'static>(
    io: T,
    address: SocketAddr,
    speaks_http2: bool,
) -> Result<Link, String> {
    let failed = |error| format!("HTTP with {address} failed: {error}");
    if speaks_http2 {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_header_list_size(u32::try_from(UPSTREAM_HEAD_BYTES_MAX).unwrap_or(u32::MAX))
            .max_send_buf_size(STREAM_SEND_BUFFER_BYTES)
            .handshake(TokioIo::new(io))
            .await
            .map_err(failed)?;
        let driver = Driver(tokio::spawn(drive(connection)).abort_handle());
        return Ok(Link::Http2(Http2 { sender, address, _driver: driver }));
    }
    Ok(Link::Http1(Http1::new(Box::new(io), address)))
}

/// Whoever waits for an answer learns of an error; here is nobody left to tell.
async fn drive(connection: impl Future<Output = hyper::Result<()>>) {
    drop(connection.await);
}
