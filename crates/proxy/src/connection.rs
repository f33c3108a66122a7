//! From bytes to requests and back: TLS, and which protocol is spoken. [`crate::http1`] and
//! [`crate::http2`] serve it; nothing beyond them knows which.

use crate::door::Guest;
use crate::gateway::Worker;
use crate::relay::{self, Hello, Passing};
use crate::{client_certificate, http1, http2, proxy_protocol};
use base::buffers::poll_fill;
use base::caps;
use base::shutdown::{Phase, Signal};
use bytes::{Buf as _, BytesMut};
use rustls::server::Acceptor;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use telemetry::metrics::Refusal;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use traffic::BoxFuture;
use traffic::arrivals::Pace;
use traffic::clients::{Clients, Place};
use traffic::exchange::{Connection, TlsFacts};
use traffic::head::Scheme;
use traffic::snapshot::ListenerPart;
use traffic::tls::ListenerTls;

/// A client's stream of bytes.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Has the stream end in a way that no client takes for the end of an answer. It is dropped next.
    fn reset(&mut self);
}

impl<I: Stream> Stream for TlsStream<I> {
    fn reset(&mut self) {
        self.get_mut().0.reset();
    }
}

impl<I: Stream> Stream for Box<I> {
    fn reset(&mut self) {
        (**self).reset();
    }
}

impl Stream for DuplexStream {
    fn reset(&mut self) {}
}

/// A fatal alert: the name is not known here (RFC 6066, 3; RFC 8446, 6).
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// The bytes by which HTTP/2 begins (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Serves a client that came in at a listener.
///
/// # Errors
/// What broke the connection off.
pub async fn serve_guest(
    worker: Arc<Worker>,
    listener: Arc<ListenerPart>,
    guest: Guest,
    signal: Signal,
) -> io::Result<()> {
    let connection = guest.connection(&listener.name)?;
    serve_client(worker, listener, connection, Rewound::new(guest), signal).await
}

/// Serves a client that connected to a listener: first it is found out who it is, and whether there is a place for
/// it; then comes TLS, if the listener speaks it.
///
/// # Errors
/// What broke the connection off.
pub async fn serve_client<I: Stream>(
    worker: Arc<Worker>,
    listener: Arc<ListenerPart>,
    mut connection: Connection,
    mut io: Rewound<I>,
    signal: Signal,
) -> io::Result<()> {
    let clients = &listener.clients;
    connection.age_max_s = clients.age_max_s;
    if clients.announcing.hold(connection.peer_ip()) {
        // Boxed, since few connections have need of the room.
        if let Err(error) = Box::pin(announced(&mut connection, &mut io)).await {
            listener.metrics.refused(Refusal::ProxyHeader).add(worker.index, 1);
            return Err(error);
        }
    }
    let counted = counted(clients, &connection);
    if !admits(&clients.connecting, counted) {
        listener.metrics.refused(Refusal::Often).add(worker.index, 1);
        return Ok(());
    }
    let Ok(_place) = place(clients, counted) else {
        listener.metrics.refused(Refusal::Address).add(worker.index, 1);
        return Ok(());
    };
    let relays = &listener.relays;
    if relays.whole.is_some() || !relays.by_name.is_empty() {
        return boxed(serve_relays(worker, listener, connection, io, signal)).await;
    }
    // Either is boxed by a function that does not wait, so that this future has no room for it.
    match listener.tls.is_some() {
        true => {
            let serving = boxed(begin_tls(worker, listener, connection, io, signal)).await?;
            serving.await
        }
        false => {
            drop(listener);
            boxed(serve_io(worker, connection, io, signal)).await
        }
    }
}

/// Learns from a proxy whom it carries.
async fn announced<I: Stream>(connection: &mut Connection, io: &mut Rewound<I>) -> io::Result<()> {
    let malformed = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let header = async {
        loop {
            if let Some(announced) = proxy_protocol::take(&mut io.head).map_err(malformed)? {
                return Ok(announced);
            }
            if poll_fn(|cx| poll_fill(&mut io.io, &mut io.head, 1, cx)).await? == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            }
        }
    };
    let limit = Duration::from_secs(caps::PROXY_HEADER_TIMEOUT_S);
    let announced = tokio::time::timeout(limit, header).await;
    let announced = announced.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    if let Some((peer, local)) = announced {
        connection.announced(peer, local);
    }
    Ok(())
}

/// The address that a connection counts for. Trusted proxies have more clients than one, and whoever has no address
/// cannot be told from others.
fn counted(clients: &Clients, connection: &Connection) -> Option<IpAddr> {
    let address = connection.peer_ip()?;
    (!clients.trusted.hold(Some(address))).then_some(address)
}

/// A place among the connections of an address, where those are counted.
fn place(clients: &Clients, counted: Option<IpAddr>) -> Result<Option<Place>, ()> {
    let (Some(per_address), Some(address)) = (&clients.per_address, counted) else {
        return Ok(None);
    };
    per_address.crowd.enter(address, per_address.max).map(Some).ok_or(())
}

/// Whether an address may do once more what it may do so often, where that is counted.
fn admits(pace: &Option<Pace>, counted: Option<IpAddr>) -> bool {
    match (pace, counted) {
        (Some(pace), Some(address)) => pace.admits(address),
        _ => true,
    }
}

/// What serves a connection until it ends.
type Serving = BoxFuture<'static, io::Result<()>>;

/// What is waited for for long and what is large goes into a place of its own: the futures around it stay
/// small, and idle connections cheap.
fn boxed<'a, F: Future + Send + 'a>(future: F) -> BoxFuture<'a, F::Output> {
    Box::pin(future)
}

/// Serves a client of a listener that passes connections on: all of them, or those of TLS that ask for certain names.
async fn serve_relays<I: Stream>(
    worker: Arc<Worker>,
    listener: Arc<ListenerPart>,
    connection: Connection,
    mut io: Rewound<I>,
    signal: Signal,
) -> io::Result<()> {
    if let Some(relay) = &listener.relays.whole {
        if !relay::lets_in(&worker, &listener, relay, &connection) {
            return Ok(());
        }
        if listener.tls.is_some() {
            return boxed(begin_tls(worker, listener, connection, io, signal)).await?.await;
        }
        let passing = Passing::new(&worker, &listener, relay, connection, None);
        drop((listener, worker));
        Box::pin(passing.run(io, signal)).await;
        return Ok(());
    }
    let hello = relay::read_hello(&mut io.io, &mut io.head).await;
    let hello = hello.inspect_err(|_| listener.metrics.handshake_failed.add(worker.index, 1))?;
    let name = if let Hello::Tls(Some(name)) = &hello { Some(name.as_str()) } else { None };
    if let Some(name) = name
        && let Some(relay) = listener.relays.by_name.find(name)
    {
        if !relay::lets_in(&worker, &listener, relay, &connection) {
            return Ok(());
        }
        let passing = Passing::new(&worker, &listener, relay, connection, Some(name));
        drop((listener, worker, hello));
        Box::pin(passing.run(io, signal)).await;
        return Ok(());
    }
    if listener.tls.is_some() {
        return boxed(begin_tls(worker, listener, connection, io, signal)).await?.await;
    }
    listener.metrics.refused(Refusal::UnknownName).add(worker.index, 1);
    if matches!(hello, Hello::Tls(_)) {
        io.write_all(&UNRECOGNIZED_NAME).await?;
        io.shutdown().await?;
    }
    Ok(())
}

/// Serves a client of a listener with TLS as far as the handshake. What comes after it is returned, so that nothing of
/// this is kept for the life of the connection.
async fn begin_tls<I: Stream>(
    worker: Arc<Worker>,
    listener: Arc<ListenerPart>,
    mut connection: Connection,
    stream: Rewound<I>,
    signal: Signal,
) -> io::Result<Serving> {
    let over = || Ok(boxed(std::future::ready(Ok(()))));
    let Some(tls) = &listener.tls else { return over() };
    if !admits(&listener.clients.shaking_hands, counted(&listener.clients, &connection)) {
        listener.metrics.refused(Refusal::Handshakes).add(worker.index, 1);
        return over();
    }
    let limit = Duration::from_secs(caps::HANDSHAKE_TIMEOUT_S);
    // Of the large stream that comes of a handshake no future has a copy.
    let shaken = tokio::time::timeout(limit, Box::pin(handshake(tls, stream))).await;
    let failed =
        match shaken.unwrap_or_else(|_| Err(Unshaken::Gone(io::ErrorKind::TimedOut.into()))) {
            Ok(stream) => return shaken_hands(worker, &listener, tls, connection, stream, signal),
            Err(Unshaken::Plain(stream)) if listener.relays.whole.is_none() => {
                connection.lacks_tls = true;
                worker.gateway.metrics.refused("plain_on_tls");
                return Ok(boxed(serve_io(worker, connection, stream, signal)));
            }
            Err(failed) => failed,
        };
    listener.metrics.handshake_failed.add(worker.index, 1);
    match failed {
        Unshaken::Plain(_) => over(),
        Unshaken::Refused(stream, error) => Ok(boxed(part(stream, error, signal))),
        Unshaken::Gone(error) => Err(error),
    }
}

/// What serves a client after the handshake.
fn shaken_hands<I: Stream>(
    worker: Arc<Worker>,
    listener: &Arc<ListenerPart>,
    tls: &ListenerTls,
    mut connection: Connection,
    stream: Box<TlsStream<Rewound<I>>>,
    signal: Signal,
) -> io::Result<Serving> {
    let (_, session) = stream.get_ref();
    let speaks_http2 = session.alpn_protocol() == Some(b"h2");
    let auth = &tls.host(session.server_name()).client;
    connection.scheme = Scheme::Https;
    connection.tls = Some(TlsFacts {
        version: session.protocol_version().and_then(|v| v.as_str()).unwrap_or("unknown"),
        server_name: session.server_name().map(Arc::from),
        client: auth.as_ref().map(|auth| Arc::new(client_certificate::shown(session, auth))),
    });
    if let Some(relay) = &listener.relays.whole {
        let name = session.server_name().map(str::to_owned);
        let passing = Passing::new(&worker, listener, relay, connection, name.as_deref());
        return Ok(boxed(async {
            passing.run(stream, signal).await;
            Ok(())
        }));
    }
    let connection = Arc::new(connection);
    if speaks_http2 {
        return Ok(boxed(http2::serve(worker, connection, stream, signal)));
    }
    Ok(boxed(until_stopped(worker, connection, stream, BytesMut::new(), signal)))
}

/// Why a handshake came to nothing.
enum Unshaken<I> {
    /// The client speaks something else.
    Plain(Rewound<I>),
    /// One side does not take what the other offers or shows. The client was told by an alert.
    Refused(Rewound<I>, io::Error),
    /// The client has left, or may as well have.
    Gone(io::Error),
}

/// The handshake, with the settings of the host that the client names.
async fn handshake<I: Stream>(
    tls: &ListenerTls,
    mut io: Rewound<I>,
) -> Result<Box<TlsStream<Rewound<I>>>, Unshaken<I>> {
    if io.head.is_empty() {
        match poll_fn(|cx| poll_fill(&mut io.io, &mut io.head, 1, cx)).await {
            Ok(0) => return Err(Unshaken::Gone(io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => {}
            Err(error) => return Err(Unshaken::Gone(error)),
        }
    }
    // TLS begins with a record of type 22 (RFC 8446, 5.1), HTTP with a method.
    if io.head.first().is_some_and(u8::is_ascii_alphabetic) {
        return Err(Unshaken::Plain(io));
    }
    let unshaken = |error: io::Error, io: Option<_>| match io {
        // So TLS tells what it finds wrong; all else is of the stream below.
        Some(io) if error.kind() == io::ErrorKind::InvalidData => Unshaken::Refused(io, error),
        _ => Unshaken::Gone(error),
    };
    let mut acceptor = LazyConfigAcceptor::new(Acceptor::default(), io);
    let begun = match (&mut acceptor).await {
        Ok(begun) => begun,
        Err(error) => return Err(unshaken(error, acceptor.take_io())),
    };
    let config = Arc::clone(&tls.host(begun.client_hello().server_name()).config);
    let shaken = begun.into_stream(config).into_fallible().await;
    shaken.map(Box::new).map_err(|(error, io)| unshaken(error, Some(io)))
}

/// Leaves a client that was sent an alert so that it can read it (RFC 9112, 9.6, says why): first our side ends; then
/// what the client still sends, for it may take itself for connected, is taken and thrown away for a while.
async fn part<I: Stream>(mut io: Rewound<I>, why: io::Error, mut signal: Signal) -> io::Result<()> {
    let silence = Duration::from_secs(caps::LINGER_TIMEOUT_S);
    let mut waste = BytesMut::new();
    let parting = tokio::time::timeout(Duration::from_secs(caps::LINGER_TOTAL_S), async {
        if !matches!(tokio::time::timeout(silence, io.shutdown()).await, Ok(Ok(()))) {
            return;
        }
        let mut read = Ok(Ok(1));
        while matches!(read, Ok(Ok(1..))) {
            waste.clear();
            let piece = poll_fn(|cx| poll_fill(&mut io, &mut waste, 1, cx));
            read = tokio::time::timeout(silence, piece).await;
        }
    });
    tokio::select! {
        // It took too long, or did not: it is over.
        _ = parting => {}
        () = signal.reached(Phase::Draining) => {}
    }
    Err(why)
}

/// Serves a client over any stream of bytes, until it leaves or a shutdown ends it. Without TLS the first
/// bytes tell the protocol.
///
/// # Errors
/// What broke the connection off; the requests on it are recorded all the same.
pub async fn serve_io<I: Stream>(
    worker: Arc<Worker>,
    connection: Connection,
    mut io: Rewound<I>,
    mut signal: Signal,
) -> io::Result<()> {
    let connection = Arc::new(connection);
    let limit = Duration::from_secs(caps::HEAD_TIMEOUT_S);
    let begins = tokio::select! {
        biased;
        begins = tokio::time::timeout(limit, begins_http2(&mut io)) => begins,
        () = last_request(&mut signal) => return Ok(()),
    };
    match begins {
        Ok(Ok(true)) => boxed(http2::serve(worker, connection, io, signal)).await,
        Ok(Ok(false)) => {
            let Rewound { head, io } = io;
            until_stopped(worker, connection, io, head, signal).await
        }
        Ok(Err(error)) => Err(error),
        Err(_) => {
            if !io.head.is_empty() {
                worker.gateway.metrics.refused("head_timeout");
            }
            Ok(())
        }
    }
}

/// Waits until a shutdown has begun, and for as long as a request that was sent before may take to be seen.
async fn last_request(signal: &mut Signal) {
    signal.reached(Phase::Draining).await;
    tokio::time::sleep(Duration::from_millis(caps::LAST_REQUEST_TIMEOUT_MS)).await;
}

/// Reads until it is certain whether the client speaks HTTP/2.
async fn begins_http2<I: Stream>(io: &mut Rewound<I>) -> io::Result<bool> {
    let Rewound { head: input, io } = io;
    loop {
        let common = input.iter().zip(PREFACE).take_while(|(read, known)| read == known).count();
        if common == PREFACE.len() {
            return Ok(true);
        }
        if common < input.len() || poll_fn(|cx| poll_fill(io, input, 1, cx)).await? == 0 {
            return Ok(false);
        }
    }
}

/// How far the end of a connection has come.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    is_leaving: AtomicBool,
    is_draining: AtomicBool,
}

impl Ending {
    fn advance(&self, phase: Phase) {
        self.is_leaving.fetch_or(phase >= Phase::Leaving, Ordering::Relaxed);
        self.is_draining.fetch_or(phase >= Phase::Draining, Ordering::Relaxed);
    }

    /// Whether the next answer is the last.
    pub(crate) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
    }

    /// Whether a connection without a request ends at once.
    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }
}

/// Serves HTTP/1 until a shutdown ends it: at once where nothing is under way, otherwise after that.
async fn until_stopped<I: Stream>(
    worker: Arc<Worker>,
    connection: Arc<Connection>,
    io: I,
    input: BytesMut,
    mut signal: Signal,
) -> io::Result<()> {
    let ending = Ending::default();
    ending.advance(signal.phase());
    let mut served = boxed(http1::serve_http1(worker, connection, io, input, &ending));
    for phase in [Phase::Leaving, Phase::Draining, Phase::Stopping] {
        tokio::select! {
            biased;
            ended = served.as_mut() => return ended,
            () = signal.reached(phase) => {}
        }
        ending.advance(phase);
    }
    Ok(())
}

/// Seconds after which one connection is asked to end: `max` give or take a tenth, so that not all that began
/// together come back together.
pub(crate) fn age_s(max: u64) -> u64 {
    let tenth = max / 10;
    max - tenth + base::random::fast_below((2 * tenth).max(1))
}

/// A stream whose first bytes may have been read already.
#[derive(Debug)]
pub struct Rewound<I> {
    head: BytesMut,
    io: I,
}

impl<I> Rewound<I> {
    /// A stream of which nothing was read.
    pub fn new(io: I) -> Self {
        Self { head: BytesMut::new(), io }
    }
}

impl<I: Stream> Stream for Rewound<I> {
    fn reset(&mut self) {
        self.io.reset();
    }
}

impl<I: Stream> AsyncRead for Rewound<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.head.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buffer);
        }
        let count = self.head.len().min(buffer.remaining());
        buffer.put_slice(self.head.get(..count).unwrap_or_default());
        self.head.advance(count);
        if self.head.is_empty() {
            self.head = BytesMut::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: Stream> AsyncWrite for Rewound<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, data)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, data)
    }
}
