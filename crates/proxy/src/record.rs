//! Stage seven: write down what happened, once, after the last byte: hooks, metrics, access line.

use crate::gateway::Worker;
use crate::revoke::{self, Frames, Watch};
use crate::{forward, grpc, observe};
use bytes::Bytes;
use http::Version;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::fmt;
use std::future::Future as _;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use telemetry::access::AccessLine;
use tokio::time::Sleep;
use traffic::body::{BodyError, Duplex};
use traffic::exchange::Exchange;
use traffic::fault::FaultCode;
use traffic::grpc::Status;
use traffic::{Body, Stage};

/// Status written down when the client left before there was an answer.
const CLIENT_LEFT: u16 = 499;

/// An exchange that is not written down yet. When it is dropped on the way (the client left, a body
/// was cut off), it is written down as incomplete: nothing that arrived goes unrecorded.
pub struct Underway {
    exchange: Option<Box<Exchange>>,
    worker: Arc<Worker>,
}

impl Underway {
    /// Takes an exchange into care.
    #[must_use]
    pub fn new(worker: &Arc<Worker>, exchange: Exchange) -> Self {
        worker.loads.asked(worker.index);
        Self { exchange: Some(Box::new(exchange)), worker: Arc::clone(worker) }
    }

    /// The last byte was handed over.
    pub fn complete(mut self) {
        self.record.complete = true;
    }
}

impl Deref for Underway {
    type Target = Exchange;
    #[expect(clippy::expect_used, reason = "the exchange is there until drop")]
    fn deref(&self) -> &Exchange {
        self.exchange.as_ref().expect("an exchange under way")
    }
}

impl DerefMut for Underway {
    #[expect(clippy::expect_used, reason = "the exchange is there until drop")]
    fn deref_mut(&mut self) -> &mut Exchange {
        self.exchange.as_mut().expect("an exchange under way")
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        if let Some(mut exchange) = self.exchange.take() {
            write(&self.worker, &mut exchange);
            self.worker.loads.answered(self.worker.index);
        }
    }
}

impl fmt::Debug for Underway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.exchange.fmt(f)
    }
}

/// Runs the record hooks, counts, and writes the access line.
fn write(worker: &Worker, exchange: &mut Exchange) {
    let route = exchange.matched.as_ref().map(|matched| Arc::clone(&matched.route));
    if exchange.record.status == 0 {
        exchange.record.status = CLIENT_LEFT;
    }
    if let Some(route) = &route {
        for entry in route.chain.record() {
            entry.policy.on_record(exchange, entry.slot);
        }
        route.metrics.in_flight().add(worker.index, -1);
    }
    let gateway = &worker.gateway;
    let now = gateway.clock.now();
    let duration = now.saturating_duration_since(exchange.arrived);
    if let Some(marks) = &mut exchange.record.marks {
        marks.end(Stage::Record, now);
    }
    let bytes_in = exchange.record.bytes_in.as_ref().map_or(0, |n| n.load(Ordering::Relaxed));
    let metrics = route.as_ref().map_or(&gateway.unmatched, |route| &route.metrics);
    let rpc_status = grpc::ended(exchange);
    let exchange = &*exchange;
    let record = &exchange.record;
    let shown = exchange.credential.as_ref();
    let timed = record.marks.as_ref().filter(|marks| marks.observe.is_timed || marks.is_debugged);
    metrics.record(worker.index, record.status, duration, bytes_in, record.bytes_out);
    if let Some(status) = rpc_status {
        metrics.record_rpc(worker.index, status.number());
    }
    worker.log(|lines| {
        lines.write(&AccessLine {
            time: gateway.clock.wall(),
            request_id: exchange.id.as_str(),
            trace_id: exchange.trace.id(),
            revision: &exchange.revision,
            listener: &exchange.connection.listener,
            client: exchange.client(),
            protocol: protocol(exchange.request.version),
            method: exchange.request.method.as_str(),
            host: &exchange.request.host,
            path: exchange
                .matched
                .as_ref()
                .map_or_else(|| exchange.request.path(), |m| m.target.path()),
            status: record.status,
            grpc_status: rpc_status.map(Status::number),
            fault: record.fault.map(FaultCode::name),
            cause: record.cause.as_deref(),
            api: route.as_ref().map_or("", |route| &route.api),
            route: route.as_ref().map_or("", |route| &route.name),
            consumer: exchange.consumer.as_ref().map_or("", |consumer| &consumer.name),
            application: shown.and_then(|it| it.application.as_deref()).unwrap_or_default(),
            credential: shown.and_then(|it| it.name.as_deref()).unwrap_or_default(),
            upstream: record.upstream.as_deref().unwrap_or(""),
            target: record.target.as_deref().unwrap_or(""),
            attempts: exchange.attempts.count,
            bytes_in,
            bytes_out: record.bytes_out,
            duration,
            upstream_duration: record.upstream_duration,
            user_agent: exchange.request.header("user-agent").unwrap_or(""),
            complete: record.complete,
            stages: timed.map(|marks| marks.times(exchange.arrived)),
            headers: &observe::Shown(exchange),
        });
    });
    observe::export(worker, exchange, now);
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2",
        _ => "HTTP/1.1",
    }
}

/// The answer's body on its way to the client, with the exchange inside until the last byte. Whoever sends
/// it asks for what comes after its end once all of it was written: only then is it complete.
pub(crate) struct Recorded {
    inner: Body,
    underway: Option<Underway>,
    deadline: Option<Pin<Box<Sleep>>>,
    /// It came to its end. That of a tunnel is not the end of the exchange.
    has_ended: bool,
    /// Looks after the credential that was shown, if one was.
    watch: Option<Box<Watched>>,
}

/// A body that ends with the credential it was asked for by.
struct Watched {
    watch: Watch,
    /// Where a WebSocket stands, which is told why it ends.
    frames: Option<Frames>,
}

impl Recorded {
    pub(crate) fn new(inner: Body, underway: Underway, time_left: Option<Duration>) -> Self {
        let deadline = time_left.map(|left| Box::pin(tokio::time::sleep(left)));
        let watch = Watch::new(&underway.worker, &underway).map(|watch| {
            let frames = inner.is_tunnel().then(Frames::default);
            Box::new(Watched { watch, frames })
        });
        Self { inner, underway: Some(underway), deadline, has_ended: false, watch }
    }

    /// Whether the time for it is over.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        self.deadline.as_mut().is_some_and(|late| late.as_mut().poll(cx).is_ready())
    }

    fn complete(&mut self) {
        if let Some(underway) = self.underway.take() {
            underway.complete();
        }
    }

    /// Ends in failure: what was sent so far is all there is.
    fn cut(&mut self, error: BodyError) -> BodyError {
        if let Some(mut underway) = self.underway.take() {
            underway.record.cause = Some(match std::error::Error::source(&error) {
                Some(cause) => format!("{error}: {cause}"),
                None => error.to_string(),
            });
        }
        error
    }

    /// Whether the credential is good no more; if it still is, the task is woken when that changes.
    fn is_revoked(&mut self, cx: &Context<'_>) -> bool {
        let Some(watched) = &mut self.watch else { return false };
        watched.watch.wait(cx);
        watched.watch.is_over()
    }

    /// Ends since the credential does: a WebSocket is told so if a frame may stand here, all else breaks off.
    fn revoked(&mut self) -> Result<Bytes, BodyError> {
        self.inner = Body::empty();
        let watched = self.watch.take();
        let frames = watched.and_then(|watched| watched.frames);
        let told = frames.filter(|frames| frames.is_between());
        let told = told.map(|_| Bytes::from_static(revoke::CLOSE_FRAME));
        if let Some(mut underway) = self.underway.take() {
            let fault = FaultCode::CredentialsRevoked;
            underway.worker.gateway.metrics.fault(underway.worker.index, fault.index());
            underway.record.fault = Some(fault);
            underway.record.cause = Some(revoke::CAUSE.to_owned());
            underway.record.bytes_out += told.as_ref().map_or(0, |told| told.len() as u64);
        }
        told.ok_or_else(|| BodyError::Cut(revoke::CAUSE.into()))
    }

    fn count(&mut self, data: &Bytes) {
        if let Some(Watched { frames: Some(frames), .. }) = self.watch.as_deref_mut() {
            frames.pass(data);
        }
        if let Some(underway) = &mut self.underway {
            underway.record.bytes_out += data.len() as u64;
        }
    }
}

impl HttpBody for Recorded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = if self.is_late(cx) {
            self.inner = Body::empty();
            Some(Err(BodyError::Idle))
        } else if self.watch.as_deref_mut().is_some_and(|watched| watched.watch.is_over()) {
            return Poll::Ready(Some(self.revoked().map(Frame::data)));
        } else {
            match Pin::new(&mut self.inner).poll_frame(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending if self.is_revoked(cx) => {
                    return Poll::Ready(Some(self.revoked().map(Frame::data)));
                }
                Poll::Pending => return Poll::Pending,
            }
        };
        Poll::Ready(match frame {
            Some(Ok(mut frame)) => {
                if let Some(data) = frame.data_ref() {
                    self.count(data);
                } else if let Some(trailers) = frame.trailers_mut() {
                    forward::strip_trailers(trailers, |_| false);
                }
                Some(Ok(frame))
            }
            Some(Err(error)) => Some(Err(self.cut(error))),
            None => {
                self.has_ended = true;
                if !self.inner.is_tunnel() {
                    self.complete();
                }
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl Duplex for Recorded {
    fn poll_drive(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        if self.is_late(cx) {
            return Poll::Ready(Err(self.cut(BodyError::Idle)));
        }
        if self.is_revoked(cx) {
            // Nobody takes more of this direction now, or there is no more.
            if let Some(watched) = &mut self.watch {
                watched.frames = None;
            }
            return Poll::Ready(self.revoked().map(drop));
        }
        let driven = ready!(self.inner.poll_drive(cx));
        if driven.is_ok() && self.has_ended {
            self.complete();
        }
        Poll::Ready(driven.map_err(|error| self.cut(error)))
    }
}
