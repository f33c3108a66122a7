//! interim
use crate::admit::Arrival;
use crate::gateway::Worker;
use crate::serve::serve as spine;
use base::caps;
use base::shutdown::{Phase, Signal};
use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::uri::PathAndQuery;
use http::Request;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use traffic::body::BodyError;
use traffic::exchange::Connection;
use traffic::head::RequestHead;
use traffic::{Body, Interim};

pub(crate) async fn serve<I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static>(worker: Arc<Worker>, connection: Arc<Connection>, io: I, mut signal: Signal) -> io::Result<()> {
    let service = service_fn(move |request: Request<Incoming>| {
        let worker = Arc::clone(&worker);
        let connection = Arc::clone(&connection);
        let arrival = accept(&connection, request);
        async move { Ok::<_, Infallible>(answer(spine(&worker, &connection, arrival).await)) }
    });
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(caps::STREAMS_MAX)
        .initial_stream_window_size(caps::STREAM_WINDOW_BYTES)
        .initial_connection_window_size(caps::CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(caps::STREAM_SEND_BUFFER_BYTES)
        .max_header_list_size(u32::try_from(caps::HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .keep_alive_interval(Duration::from_secs(caps::IDLE_TIMEOUT_S));
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

/// Takes a request apart; an ambiguous one is marked for `admit`.
fn accept(
    connection: &Connection,
    request: Request<Incoming>,
) -> Arrival {
    let (parts, body) = request.into_parts();
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
    Arrival { head, body, interim: Interim::default(), refused: None }
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
