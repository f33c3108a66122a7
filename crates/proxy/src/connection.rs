//! From bytes to requests and back. HTTP/1 and HTTP/2 are hyper's for now; nothing beyond this file
//! knows it.

use crate::admit::Arrival;
use crate::framing::{Verdict, Watched};
use crate::gateway::Worker;
use crate::serve::serve;
use base::caps;
use base::shutdown::{Phase, Signal};
use bytes::Bytes;
use http::header::{HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{Request, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use traffic::body::BodyError;
use traffic::exchange::{Connection, TlsFacts};
use traffic::head::{RequestHead, Scheme};
use traffic::snapshot::ListenerPart;
use traffic::{Body, Fault, FaultCode, Interim, Stage};

/// Serves a client that connected to a listener: TLS first, if the listener speaks it.
pub async fn serve_tcp(
    worker: Arc<Worker>,
    listener: Arc<ListenerPart>,
    stream: TcpStream,
    signal: Signal,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let name = Arc::clone(&listener.name);
    let mut connection = Connection::plain(name, stream.peer_addr()?, stream.local_addr()?);
    let Some(tls) = &listener.tls else {
        drop(listener);
        return serve_io(worker, connection, stream, signal).await;
    };
    let limit = Duration::from_secs(caps::HANDSHAKE_TIMEOUT_S);
    let handshake = TlsAcceptor::from(Arc::clone(tls)).accept(stream);
    let stream = match tokio::time::timeout(limit, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            listener.metrics.handshake_failed.add(worker.index, 1);
            return Err(error);
        }
        Err(_) => {
            listener.metrics.handshake_failed.add(worker.index, 1);
            return Err(io::ErrorKind::TimedOut.into());
        }
    };
    drop(listener);
    let (_, session) = stream.get_ref();
    connection.scheme = Scheme::Https;
    connection.tls = Some(TlsFacts {
        version: session.protocol_version().and_then(|v| v.as_str()).unwrap_or("unknown"),
        server_name: session.server_name().map(Arc::from),
    });
    serve_io(worker, connection, stream, signal).await
}

/// Serves a client over any stream of bytes, until it leaves or a shutdown ends it.
///
/// # Errors
/// What broke the connection off; the requests on it are recorded all the same.
pub async fn serve_io<I>(
    worker: Arc<Worker>,
    connection: Connection,
    io: I,
    mut signal: Signal,
) -> io::Result<()>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (io, verdict) = Watched::new(io);
    let connection = Arc::new(connection);
    let counter = Arc::new(AtomicU64::new(0));
    let service = service_fn(move |request: Request<Incoming>| {
        let worker = Arc::clone(&worker);
        let connection = Arc::clone(&connection);
        let number = counter.fetch_add(1, Ordering::Relaxed) + 1;
        let arrival = accept(&connection, request, &verdict, number);
        async move { Ok::<_, Infallible>(answer(serve(&worker, &connection, arrival).await)) }
    });
    let builder = builder();
    let mut served = std::pin::pin!(builder.serve_connection(TokioIo::new(io), service));
    let ended = tokio::select! {
        biased;
        ended = served.as_mut() => ended,
        () = signal.reached(Phase::Draining) => {
            served.as_mut().graceful_shutdown();
            tokio::select! {
                biased;
                ended = served.as_mut() => ended,
                () = signal.reached(Phase::Stopping) => Ok(()),
            }
        }
    };
    ended.map_err(io::Error::other)
}

/// hyper's knobs; every bound is a cap of ours. The number of headers is hyper's own bound, which is
/// the same as [`caps::HEADERS_MAX`]: setting it would cost an allocation per request.
fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(caps::IDLE_TIMEOUT_S))
        .max_buf_size(caps::HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(caps::STREAMS_MAX)
        .initial_stream_window_size(caps::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(caps::CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(caps::STREAM_SEND_BUFFER_BYTES)
        .max_header_list_size(u32::try_from(caps::HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .keep_alive_interval(Duration::from_secs(caps::IDLE_TIMEOUT_S));
    builder
}

/// Takes a request apart; an ambiguous one is marked for `admit`.
fn accept(
    connection: &Connection,
    request: Request<Incoming>,
    verdict: &Verdict,
    number: u64,
) -> Arrival {
    let (parts, body) = request.into_parts();
    let is_bad = parts.version <= Version::HTTP_11
        && (verdict.condemns(number) || has_unknown_coding(&parts.headers));
    let refused = is_bad.then(|| Fault::new(Stage::Admit, FaultCode::BadFraming).closing());
    let authority = match parts.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => parts.headers.get(HOST).cloned(),
    };
    let target = parts.uri.into_parts().path_and_query;
    let head = RequestHead {
        method: parts.method,
        scheme: connection.scheme,
        host: Arc::from(""),
        authority: authority.unwrap_or_else(|| HeaderValue::from_static("")),
        target: target.unwrap_or_else(|| PathAndQuery::from_static("/")),
        version: parts.version,
        headers: parts.headers.into(),
    };
    let body = if body.is_end_stream() { Body::empty() } else { Body::stream(ClientBytes(body)) };
    Arrival { head, body, interim: Interim::default(), refused }
}

fn has_unknown_coding(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_chunked = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"chunked");
    codings.next().is_some_and(|first| !is_chunked(first) || codings.next().is_some())
}

fn answer(response: traffic::Response) -> http::Response<Body> {
    let mut answer = http::Response::new(response.body);
    *answer.status_mut() = response.status;
    *answer.headers_mut() = response.headers.into();
    answer
}

/// A request body as hyper reads it.
struct ClientBytes(Incoming);

impl HttpBody for ClientBytes {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = Pin::new(&mut self.0).poll_frame(cx);
        frame.map_err(|error| BodyError::Cut(error.into()))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}
