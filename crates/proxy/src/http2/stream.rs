//! One stream: a request, the spine's answer to it, and the answer on its way out, as fast as the client
//! takes it. When the client resets the stream, everything here is dropped.

use crate::admit::{Arrival, strip_hop_by_hop};
use crate::forward::REQUEST_ID;
use crate::gateway::Worker;
use crate::http2::body::Valve;
use crate::http2::meter::Meter;
use crate::http2::{REFUSED_STREAM, body, head};
use crate::serve;
use base::{Alarm, caps};
use bytes::Bytes;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body::{Body as HttpBody, Frame};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use traffic::body::BodyError;
use traffic::exchange::Connection;
use traffic::upgrade::{Upgrade, WEBSOCKET};
use traffic::{Body, Headers, Informational, Interim, Response};

/// What becomes of an answer on its way: nothing is left of it when the client has reset the stream.
type Sent = Option<()>;

/// Serves one stream from its head to its last byte.
pub(super) async fn serve(
    worker: Arc<Worker>,
    connection: Arc<Connection>,
    meter: Arc<Meter>,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) {
    let (parts, recv) = request.into_parts();
    let is_head = parts.method == Method::HEAD;
    let asks_tunnel = head::asks_tunnel(&parts);
    let (head, refused) = head::convert(parts, connection.scheme);
    if let Some(refused) = &refused {
        worker.gateway.metrics.refused(refused.name);
    }
    let length = head.header(CONTENT_LENGTH.as_str()).and_then(|digits| digits.parse().ok());
    let (valve, mut body) = if recv.is_end_stream() {
        drop(recv);
        (None, Body::empty())
    } else {
        let (valve, body) = body::split(recv, length);
        let is_tunnel = asks_tunnel && refused.is_none();
        (Some(valve), if is_tunnel { Body::tunnel(body) } else { Body::stream(body) })
    };
    let upgrade = (asks_tunnel && refused.is_none()).then(|| {
        Box::new(Upgrade {
            protocol: HeaderValue::from_static(WEBSOCKET),
            body: std::mem::take(&mut body),
            is_connect: true,
            terms: None,
        })
    });
    let interim = Interim::open();
    let arrival = Arrival {
        head,
        body,
        interim: interim.clone(),
        upgrade,
        refused: refused.map(|refused| Box::new(refused.fault)),
    };
    let answering = serve::serve(Arc::clone(&worker), &connection, arrival);
    let sent = if let Some(response) = answer(answering, &interim, &mut respond).await {
        meter.answered();
        send(response, is_head, &mut respond, &meter, valve.as_ref()).await
    } else {
        meter.reset_early();
        None
    };
    if sent.is_none() && valve.as_ref().is_some_and(Valve::is_malformed) {
        worker.gateway.metrics.refused(REFUSED_STREAM);
    }
    // Only now may the client be told that nobody reads on.
    drop(valve);
}

/// The spine's answer; none if the client resets the stream first. What is told ahead of it is passed on.
async fn answer(
    answering: impl Future<Output = Response>,
    interim: &Interim,
    respond: &mut SendResponse<Bytes>,
) -> Option<Response> {
    let mut answering = pin!(answering);
    poll_fn(|cx| {
        if respond.poll_reset(cx).is_ready() {
            return Poll::Ready(None);
        }
        let answer = answering.as_mut().poll(cx);
        for informational in interim.take() {
            inform(respond, informational);
        }
        answer.map(Some)
    })
    .await
}

/// Passes an informational answer on (RFC 9110, 15.2). HTTP/2 has no 101 (RFC 9113, 8.6).
fn inform(respond: &mut SendResponse<Bytes>, informational: Informational) {
    let Informational { status, mut headers } = informational;
    strip_hop_by_hop(&mut headers);
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    let mut answer = http::Response::new(());
    *answer.status_mut() = status;
    *answer.headers_mut() = fields(headers);
    answer.headers_mut().remove(CONTENT_LENGTH);
    // If the stream is gone, the next look at it tells.
    respond.send_informational(answer).ok();
}

/// Sends an answer.
async fn send(
    response: Response,
    is_head: bool,
    respond: &mut SendResponse<Bytes>,
    meter: &Meter,
    valve: Option<&Valve>,
) -> Sent {
    let Response { mut status, headers, body } = response;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        // Success is what it is called here (RFC 8441, 5).
        status = StatusCode::OK;
    }
    let has_body = !is_head
        && !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        && !body.is_empty();
    let mut headers = fields(headers);
    let left = announce(&mut headers, status, is_head, &body);
    let mut answer = http::Response::new(());
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    let stream = respond.send_response(answer, !has_body).ok()?;
    if has_body { Outgoing { stream, body, meter, valve }.send(left).await } else { Some(()) }
}

/// The body of an answer on its way.
struct Outgoing<'a> {
    stream: SendStream<Bytes>,
    body: Body,
    meter: &'a Meter,
    /// The client's side of the request's body, if it has one.
    valve: Option<&'a Valve>,
}

impl Outgoing<'_> {
    /// Sends all of it, `left` bytes if their number was announced.
    async fn send(&mut self, mut left: Option<u64>) -> Sent {
        loop {
            match self.next().await? {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        // Trailers may follow even where the length was announced.
                        let is_last = self.body.is_end_stream();
                        left = match left.map(|left| left.checked_sub(data.len() as u64)) {
                            Some(None) => return self.cut(),
                            Some(left) => left,
                            None => None,
                        };
                        if is_last && left.is_some_and(|left| left > 0) {
                            return self.cut();
                        }
                        self.push(data, is_last).await?;
                        if is_last {
                            return finish(&mut self.body);
                        }
                    }
                    Err(frame) => {
                        let trailers = frame.into_trailers().unwrap_or_default();
                        if left.is_some_and(|left| left > 0) {
                            return self.cut();
                        }
                        let trailers = without_connection(trailers);
                        if trailers.is_empty() {
                            return self.stream.send_data(Bytes::new(), true).ok();
                        }
                        self.stream.send_trailers(trailers).ok()?;
                        return finish(&mut self.body);
                    }
                },
                Some(Err(_)) => return self.cut(),
                None if left.is_some_and(|left| left > 0) => return self.cut(),
                None => {
                    self.stream.send_data(Bytes::new(), true).ok()?;
                    return if self.body.is_tunnel() { self.drive().await } else { Some(()) };
                }
            }
        }
    }

    /// The answer breaks off: the client must not take what it has for all of it.
    fn cut(&mut self) -> Sent {
        // In a tunnel it stands for the reset of a connection (RFC 8441, 5).
        let is_tunnel = self.body.is_tunnel();
        let reason = if is_tunnel { Reason::CANCEL } else { Reason::INTERNAL_ERROR };
        self.stream.send_reset(reason);
        None
    }

    /// The target says nothing more; passes on what the client still has to say.
    async fn drive(&mut self) -> Sent {
        let driven = poll_fn(|cx| match self.body.poll_drive(cx) {
            Poll::Ready(driven) => Poll::Ready(driven.is_ok()),
            Poll::Pending => self.stream.poll_reset(cx).map(|_| false),
        });
        if driven.await { Some(()) } else { self.cut() }
    }

    /// The next piece.
    async fn next(&mut self) -> Option<Piece> {
        poll_fn(|cx| {
            if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
                return Poll::Ready(Some(frame));
            }
            self.stream.poll_reset(cx).map(|_| None)
        })
        .await
    }

    /// Sends data as the client's windows open.
    async fn push(&mut self, mut data: Bytes, is_last: bool) -> Sent {
        if data.is_empty() {
            return if is_last { self.stream.send_data(data, true).ok() } else { Some(()) };
        }
        while !data.is_empty() {
            self.stream.reserve_capacity(data.len().min(caps::STREAM_SEND_BUFFER_BYTES));
            let mut room = self.stream.capacity();
            if room == 0 {
                room = self.room().await?;
            }
            let piece = data.split_to(room.min(data.len()));
            self.meter.sent(piece.len());
            self.stream.send_data(piece, is_last && data.is_empty()).ok()?;
        }
        Some(())
    }

    /// Waits until the client's windows open, and moves the request on meanwhile. A client that opens none for too long
    /// is given up, unless it sends: it may be one that reads when all is sent.
    async fn room(&mut self) -> Option<usize> {
        let limit = Duration::from_secs(caps::WRITE_TIMEOUT_S);
        let mut alarm = Alarm::default();
        let mut before = None;
        let room = poll_fn(|cx| {
            if let Poll::Ready(room) = self.stream.poll_capacity(cx) {
                return Poll::Ready(Ok(room));
            }
            if let Poll::Ready(Err(_)) = self.body.poll_drive(cx) {
                return Poll::Ready(Err(Reason::INTERNAL_ERROR));
            }
            let taken = self.valve.map_or(0, Valve::taken);
            if before.replace(taken) != Some(taken) {
                alarm.set(limit);
            }
            alarm.poll(cx).map(|()| Err(Reason::CANCEL))
        });
        match room.await {
            Ok(room) => room?.ok(),
            Err(reason) => {
                self.stream.send_reset(reason);
                None
            }
        }
    }
}

/// All of the answer was handed over: its body learns of it by being asked for what comes after the end.
fn finish(body: &mut Body) -> Sent {
    let mut nobody = Context::from_waker(Waker::noop());
    drop(Pin::new(body).poll_frame(&mut nobody));
    Some(())
}

type Piece = Option<Result<Frame<Bytes>, BodyError>>;

/// Says how long an answer is, if it is known. What the backend said of it does not matter, except where
/// there is no body to measure. Returns the length of the body.
fn announce(
    headers: &mut HeaderMap,
    status: StatusCode,
    is_head: bool,
    body: &Body,
) -> Option<u64> {
    let length = body.size_hint().exact();
    if is_head || status == StatusCode::NOT_MODIFIED {
        let own = length.filter(|length| *length > 0);
        if let (false, Some(own)) = (headers.contains_key(CONTENT_LENGTH), own) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(own));
        }
        return None;
    }
    match length {
        Some(length) if status != StatusCode::NO_CONTENT => {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        _ => drop(headers.remove(CONTENT_LENGTH)),
    }
    length
}

/// Headers as `h2` wants them.
fn fields(headers: Headers) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(headers.len() + 1);
    for (name, mut value) in headers {
        if is_of_connection(&name) {
            continue;
        }
        if name == REQUEST_ID {
            // It is never the same twice: in the table of the compression it would only push others out.
            value.set_sensitive(true);
        }
        // Beyond what a map can hold they are left out; caps keep messages far below it.
        map.try_append(name, value).ok();
    }
    map
}

fn without_connection(mut trailers: HeaderMap) -> HeaderMap {
    let bad: Vec<HeaderName> =
        trailers.keys().filter(|name| is_of_connection(name)).cloned().collect();
    for name in bad {
        trailers.remove(name);
    }
    trailers
}

/// Whether a header concerns an HTTP/1 connection and has no place here (RFC 9113, 8.2.2).
fn is_of_connection(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection" | "keep-alive" | "proxy-connection" | "te" | "transfer-encoding" | "upgrade"
    )
}
