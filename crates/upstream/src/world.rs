//! What all upstreams of one gateway share, and the ways out of the process.

use crate::inward::Walled;
use crate::resolve::{Resolve, SystemResolve};
use base::{Clock, Endpoint, Shortage, shortage};
use socket2::{SockRef, TcpKeepalive};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;
use telemetry::Metrics;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::runtime::Handle;
use tokio_rustls::client::TlsStream;
use traffic::BoxFuture;

/// Seconds without traffic after which the operating system asks whether the peer is still there.
const KEEPALIVE_S: u64 = 60;

/// What all upstreams of one gateway share.
#[derive(Clone)]
pub struct World {
    /// How many workers there are, each with pools of its own; at least one.
    pub workers: usize,
    /// Time, for how long connections have been idle.
    pub clock: Clock,
    /// Where it is counted.
    pub metrics: Arc<Metrics>,
    /// Where everything alive is kept.
    pub state: Arc<traffic::State>,
    /// Opens connections.
    pub dial: Arc<dyn Dial>,
    /// Resolves names.
    pub resolve: Arc<dyn Resolve>,
    /// Where resolving and health checks run, so that they cannot stall traffic.
    pub background: Handle,
}

impl World {
    /// How many sets of connections there are: one per worker, and one for whoever is on none.
    pub(crate) const fn shelves(&self) -> usize {
        self.workers + 1
    }

    /// The same without ways that lead inward.
    pub(crate) fn walled(&self) -> Self {
        Self { dial: Arc::new(Walled(Arc::clone(&self.dial))), ..self.clone() }
    }

    /// The real one: the system's clock, TCP, and the system's resolver settings.
    #[must_use]
    pub fn system(
        workers: usize,
        metrics: Arc<Metrics>,
        state: Arc<traffic::State>,
        background: Handle,
    ) -> Self {
        Self {
            workers: workers.max(1),
            clock: Clock::System,
            metrics,
            state,
            dial: Arc::new(TcpDial::default()),
            resolve: Arc::new(SystemResolve::new()),
            background,
        }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("workers", &self.workers).finish_non_exhaustive()
    }
}

/// A connection before anything is spoken on it.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {
    /// Has it end in a way that the peer does not take for the end of what is sent, where there is such a way.
    fn reset(&mut self);

    /// Whether the peer is this very machine, as far as that shows.
    fn is_local(&self) -> bool {
        false
    }
}

impl Io for TcpStream {
    fn reset(&mut self) {
        // If this fails the connection is gone already.
        SockRef::from(&*self).set_linger(Some(Duration::ZERO)).ok();
    }

    fn is_local(&self) -> bool {
        let ends = (self.local_addr(), self.peer_addr());
        matches!(ends, (Ok(own), Ok(peer)) if own.ip() == peer.ip())
    }
}

impl Io for UnixStream {
    /// There is no such way.
    fn reset(&mut self) {}
}

impl Io for DuplexStream {
    fn reset(&mut self) {}
}

impl Io for Box<dyn Io> {
    fn reset(&mut self) {
        (**self).reset();
    }

    fn is_local(&self) -> bool {
        (**self).is_local()
    }
}

impl<I: Io> Io for TlsStream<I> {
    fn reset(&mut self) {
        self.get_mut().0.reset();
    }
}

/// Opens connections. Time limits are the caller's.
pub trait Dial: Send + Sync {
    /// Connects to an address, or to a Unix socket.
    fn dial<'a>(&'a self, to: &'a Endpoint) -> BoxFuture<'a, io::Result<Box<dyn Io>>>;
}

/// TCP without delay for small writes, and with keep-alive; and Unix sockets. Tells when the process has no descriptors or
/// ports left for it.
#[derive(Debug)]
pub struct TcpDial {
    shortage: Shortage,
}

impl Default for TcpDial {
    fn default() -> Self {
        Self { shortage: Shortage::new(Clock::System) }
    }
}

impl TcpDial {
    fn note<T>(&self, connected: &io::Result<T>) {
        match connected {
            Err(error) if shortage::is_ours(error) => {
                if self.shortage.met() {
                    tracing::warn!("no connection to a target can be opened: {error}");
                }
            }
            Err(_) => {}
            Ok(_) => {
                if let Some(failed) = self.shortage.over() {
                    tracing::info!(failed, "connections to targets can be opened again");
                }
            }
        }
    }
}

/// The socket of a connection, unless it is one of those that are kept back.
fn unless_scarce<T: AsFd>(socket: T) -> io::Result<T> {
    if shortage::is_scarce(&socket) { Err(shortage::no_descriptor()) } else { Ok(socket) }
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    // Before the target hears of it.
    socket.and_then(unless_scarce)?.connect(address).await
}

impl Dial for TcpDial {
    fn dial<'a>(&'a self, to: &'a Endpoint) -> BoxFuture<'a, io::Result<Box<dyn Io>>> {
        Box::pin(async move {
            let address = match to {
                Endpoint::Ip(address) => *address,
                Endpoint::Unix(path) => {
                    let connected = UnixStream::connect(path).await.and_then(unless_scarce);
                    self.note(&connected);
                    return Ok(Box::new(connected?) as Box<dyn Io>);
                }
            };
            let connected = connect(address).await;
            self.note(&connected);
            let stream = connected?;
            stream.set_nodelay(true)?;
            let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(KEEPALIVE_S));
            SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
            Ok(Box::new(stream) as Box<dyn Io>)
        })
    }
}
