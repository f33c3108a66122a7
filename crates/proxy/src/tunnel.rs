//! Tunnels (RFC 9110, 7.8; RFC 8441): what the two directions of one have in common. To the stages a tunnel is
//! an exchange like others, whose bodies are raw bytes; here are its time limits and what is counted of it.

use self::frames::Frames;
use base::Alarm;
use base::caps::TUNNEL_HALF_CLOSED_S;
use bytes::Bytes;
use http::StatusCode;
use http::header::{HeaderValue, SEC_WEBSOCKET_KEY};
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Instant;
use traffic::body::{BodyError, Duplex};
use traffic::exchange::Exchange;
use traffic::upgrade::Terms;
use traffic::{Body, Fault, FaultCode, Headers, Response, Stage};

/// Where frames begin and end.
mod frames;

/// A tunnel that a policy has allowed, until the target has answered.
pub(crate) struct Plan {
    moves: Arc<Moves>,
    terms: Terms,
}

/// Makes the client's raw bytes the body of the request, if a policy has allowed that.
pub(crate) fn plan(exchange: &mut Exchange) -> Option<Plan> {
    let upgrade = exchange.upgrade.as_mut()?;
    let terms = upgrade.terms?;
    let moves = Arc::new(Moves::new());
    exchange.record.bytes_in = Some(Arc::clone(&moves.bytes));
    let inner = std::mem::take(&mut upgrade.body);
    let frames = Frames::default();
    exchange.body = Body::tunnel(FromClient { inner, moves: Arc::clone(&moves), frames });
    Some(Plan { moves, terms })
}

/// What the target is asked to switch to, if a policy has allowed that; the headers are made fit for it.
pub(crate) fn ask(exchange: &Exchange, headers: &mut Headers) -> Option<HeaderValue> {
    let upgrade = exchange.upgrade.as_ref().filter(|upgrade| upgrade.terms.is_some())?;
    // The client's key is answered by the engine that speaks to the client.
    headers.remove(SEC_WEBSOCKET_KEY);
    Some(upgrade.protocol.clone())
}

/// Puts a target's answer under the terms of the tunnel, if it is one. `spent` is the time since the
/// request came.
///
/// # Errors
/// The target switched although nobody asked for it.
pub(crate) fn settle(
    plan: Option<Plan>,
    mut response: Response,
    spent: Duration,
) -> Result<Response, Fault> {
    if response.status != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(response);
    }
    let Some(Plan { moves, terms }) = plan else {
        let fault = Fault::new(Stage::Forward, FaultCode::UpstreamInvalid);
        return Err(fault.cause("the target switched protocols, which nobody asked for"));
    };
    moves.note();
    let mut end = Alarm::default();
    if let Some(total) = terms.total {
        end.set(total.saturating_sub(spent));
    }
    let inner = response.body;
    let (silence, frames) = (Alarm::default(), Frames::default());
    response.body = Body::tunnel(FromTarget { inner, moves, frames, terms, end, silence });
    Ok(response)
}

/// Refuses an answer that a client would take for a switch although it is none: to an extended CONNECT every
/// success is one (RFC 8441, 5).
///
/// # Errors
/// `switch_refused`.
pub(crate) fn check(exchange: &Exchange, response: Response) -> Result<Response, Fault> {
    let is_connect = exchange.upgrade.as_ref().is_some_and(|upgrade| upgrade.is_connect);
    if is_connect && response.status.is_success() {
        let fault = Fault::new(Stage::Forward, FaultCode::SwitchRefused);
        let status = response.status.as_u16();
        return Err(fault.cause(format!("the answer is {status}, not a switch of protocols")));
    }
    Ok(response)
}

/// What both directions share.
#[derive(Debug)]
struct Moves {
    began: Instant,
    /// Milliseconds from the beginning to the last bytes of either direction.
    last_ms: AtomicU64,
    /// Bytes from the client.
    bytes: Arc<AtomicU64>,
    /// One of the directions has ended.
    is_half_closed: AtomicBool,
    /// The client has said that it closes,
    client_closes: AtomicBool,
    /// and the target has.
    target_closes: AtomicBool,
}

#[expect(clippy::disallowed_methods, reason = "timers go by the runtime's clock")]
fn now() -> Instant {
    Instant::now()
}

impl Moves {
    fn new() -> Self {
        Self {
            began: now(),
            last_ms: AtomicU64::new(0),
            bytes: Arc::default(),
            is_half_closed: AtomicBool::new(false),
            client_closes: AtomicBool::new(false),
            target_closes: AtomicBool::new(false),
        }
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(now().duration_since(self.began).as_millis()).unwrap_or(u64::MAX)
    }

    /// Something passed.
    fn note(&self) {
        self.last_ms.store(self.elapsed_ms(), Ordering::Relaxed);
    }

    /// One direction has ended.
    fn close_half(&self) {
        self.note();
        self.is_half_closed.store(true, Ordering::Relaxed);
    }

    /// Whether both sides have said that they close: then all is said, and it does not matter how either goes
    /// away (RFC 6455, 1.4). Many do so without a word to TLS.
    fn is_over(&self) -> bool {
        self.client_closes.load(Ordering::Relaxed) && self.target_closes.load(Ordering::Relaxed)
    }

    /// How long nothing has passed.
    fn silence(&self) -> Duration {
        let last_ms = self.last_ms.load(Ordering::Relaxed);
        Duration::from_millis(self.elapsed_ms().saturating_sub(last_ms))
    }
}

/// The client's bytes on their way to the target.
struct FromClient {
    inner: Body,
    moves: Arc<Moves>,
    frames: Frames,
}

impl HttpBody for FromClient {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
            // What else a stream can carry means nothing in a tunnel, and comes at its end.
            Some(Ok(frame)) => frame.into_data().ok(),
            Some(Err(error)) if !self.moves.is_over() => return Poll::Ready(Some(Err(error))),
            Some(Err(_)) | None => None,
        };
        match &frame {
            Some(data) => {
                if self.frames.see(data) {
                    self.moves.client_closes.store(true, Ordering::Relaxed);
                }
                self.moves.bytes.fetch_add(data.len() as u64, Ordering::Relaxed);
                self.moves.note();
            }
            None => self.moves.close_half(),
        }
        Poll::Ready(frame.map(|data| Ok(Frame::data(data))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}

impl Duplex for FromClient {
    fn poll_drive(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        Poll::Ready(Ok(()))
    }
}

/// The target's bytes on their way to the client, under the terms of the tunnel.
struct FromTarget {
    inner: Body,
    moves: Arc<Moves>,
    frames: Frames,
    terms: Terms,
    /// The end of the longest time it may last.
    end: Alarm,
    /// The end of the longest silence.
    silence: Alarm,
}

impl FromTarget {
    /// Ready when its time is over.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        if self.end.poll(cx).is_ready() {
            let total = self.terms.total.unwrap_or_default();
            return Poll::Ready(self.over(format!("the tunnel lasted its {total:?} (`total`)")));
        }
        let mut limit = self.terms.idle;
        if self.moves.is_half_closed.load(Ordering::Relaxed) {
            let half = Duration::from_secs(TUNNEL_HALF_CLOSED_S);
            limit = Some(limit.map_or(half, |limit| limit.min(half)));
        }
        let Some(limit) = limit else { return Poll::Pending };
        let silence = self.moves.silence();
        if silence < limit {
            self.silence.set(limit.saturating_sub(silence));
            ready!(self.silence.poll(cx));
        }
        Poll::Ready(self.over(format!("nothing passed through the tunnel for {limit:?} (`idle`)")))
    }

    fn over(&mut self, why: String) -> BodyError {
        self.inner = Body::empty();
        BodyError::Cut(why.into())
    }
}

impl HttpBody for FromTarget {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Poll::Ready(mut frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            if matches!(frame, Some(Err(_))) && this.moves.is_over() {
                frame = None;
            }
            match &frame {
                Some(Ok(frame)) => {
                    if frame.data_ref().is_some_and(|data| this.frames.see(data)) {
                        this.moves.target_closes.store(true, Ordering::Relaxed);
                    }
                    this.moves.note();
                }
                Some(Err(_)) => {}
                None => this.moves.close_half(),
            }
            if this.end.poll(cx).is_pending() {
                return Poll::Ready(frame);
            }
        }
        this.poll_late(cx).map(|late| Some(Err(late)))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}

impl Duplex for FromTarget {
    fn poll_drive(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let this = &mut *self;
        if let Poll::Ready(driven) = this.inner.poll_drive(cx) {
            let is_over = this.moves.is_over();
            return Poll::Ready(driven.or_else(|error| if is_over { Ok(()) } else { Err(error) }));
        }
        this.poll_late(cx).map(Err)
    }
}
