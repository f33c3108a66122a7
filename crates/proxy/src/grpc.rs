//! Calls of gRPC on their way: the caller's time limit, answers in the form that callers understand, and
//! the status with which a call ended. Stages ask here; nothing else in this crate knows gRPC.

use crate::forward;
use crate::gateway::Worker;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::time::Sleep;
use traffic::body::{BodyError, Duplex};
use traffic::exchange::Exchange;
use traffic::grpc::{self, Dialect, Ending, GRPC_MESSAGE, GRPC_STATUS, GRPC_TIMEOUT, Rpc, Status};
use traffic::{Body, Fault, FaultCode, Response, Stage};

/// Reads how long the caller waits, after policies had their say, and lets it shorten the time limit of the
/// exchange.
///
/// # Errors
/// `bad_request` when the caller's limit cannot be read.
pub(crate) fn take_timeout(worker: &Worker, exchange: &mut Exchange) -> Result<(), Fault> {
    let Some(rpc) = &mut exchange.rpc else { return Ok(()) };
    let Some(written) = exchange.request.headers.get(GRPC_TIMEOUT) else { return Ok(()) };
    let timeout = grpc::parse_timeout(written)
        .map_err(|why| Fault::new(Stage::Forward, FaultCode::BadRequest).detail(why))?;
    rpc.is_hurried = exchange.timeouts.total.is_none_or(|total| timeout < total);
    let total = exchange.timeouts.total.map_or(timeout, |total| total.min(timeout));
    exchange.timeouts.total = Some(total);
    rpc.expires = Some((exchange.arrived + total, worker.gateway.clock.clone()));
    Ok(())
}

/// The answer to a call that failed: status 200 and what there is to say in `grpc-status`.
pub(crate) fn to_fault(rpc: &Rpc, fault: Fault) -> Response {
    let row = fault.code.row();
    let message = match &fault.detail {
        Some(detail) => format!("{}: {detail} ({})", row.title, row.name),
        None => format!("{} ({})", row.title, row.name),
    };
    let mut answer = rpc.refusal(Status::of_fault(fault.code), &message);
    for (name, value) in fault.headers {
        answer.headers.append(name, value);
    }
    grpc::add_pushback(&mut answer.headers);
    answer
}

/// Makes an answer that a policy gave in place of a backend one that the caller understands.
pub(crate) fn suit(exchange: &Exchange, answer: Response) -> Response {
    let Some(rpc) = &exchange.rpc else { return answer };
    if answer.headers.get(CONTENT_TYPE).and_then(Dialect::of).is_some() {
        return answer;
    }
    let status = Status::of_http(answer.status.as_u16());
    let reason = answer.status.canonical_reason().unwrap_or("an answer of no known status");
    let message =
        format!("the gateway answered with HTTP status {}, {reason}", answer.status.as_u16());
    let mut suited = rpc.refusal(status, &message);
    let is_of_body = |name: &http::HeaderName| *name == CONTENT_TYPE || *name == CONTENT_LENGTH;
    for (name, value) in answer.headers.into_iter().filter(|(name, _)| !is_of_body(name)) {
        suited.headers.append(name, value);
    }
    grpc::add_pushback(&mut suited.headers);
    suited
}

/// Follows a backend's answer to a call to its end. What ends it early becomes a status: callers are told
/// nothing by a stream that breaks off.
pub(crate) fn watch(worker: &Worker, exchange: &mut Exchange, mut answer: Response) -> Response {
    if exchange.rpc.is_none() {
        return answer;
    }
    let late = forward::time_left(worker, exchange);
    let Some(rpc) = &mut exchange.rpc else { return answer };
    if let Some(status) = Status::told(answer.headers.get(GRPC_STATUS)) {
        rpc.ending.set(status);
        return answer;
    }
    let spoken = answer.headers.get(CONTENT_TYPE).and_then(Dialect::of);
    if spoken == Some(Dialect::Native) && answer.status == StatusCode::OK {
        rpc.keeps_time = true;
        let late = late.map(|left| Box::pin(tokio::time::sleep(left)));
        let ending = Arc::clone(&rpc.ending);
        answer.body =
            Body::duplex(Watched { inner: answer.body, late, ending, last: None, is_over: false });
    }
    answer
}

/// How a call ended, as far as that can be told now that it is over.
pub(crate) fn ended(exchange: &mut Exchange) -> Option<Status> {
    let ending = &exchange.rpc.as_ref()?.ending;
    let record = &mut exchange.record;
    if record.cause.is_none() {
        record.cause = ending.cause().map(str::to_owned);
    }
    match ending.status() {
        Some(status) => Some(status),
        None if !record.complete => Some(Status::Cancelled),
        None if record.status != 200 => Some(Status::of_http(record.status)),
        // It is in the body, where nobody looks.
        None => None,
    }
}

/// A backend's answer to a call, until its status is known.
struct Watched {
    inner: Body,
    late: Option<Pin<Box<Sleep>>>,
    ending: Arc<Ending>,
    /// Trailers that are told next.
    last: Option<Frame<Bytes>>,
    is_over: bool,
}

impl Watched {
    /// Ends the call in the backend's place.
    fn end(&mut self, status: Status, message: &str, cause: Option<String>) -> Frame<Bytes> {
        self.is_over = true;
        self.inner = Body::empty();
        self.ending.set(status);
        self.ending.set_cause(cause.unwrap_or_else(|| message.to_owned()));
        let mut trailers = HeaderMap::with_capacity(2);
        trailers.insert(GRPC_STATUS, HeaderValue::from(u16::from(status.number())));
        if let Ok(message) = HeaderValue::from_str(message) {
            trailers.insert(GRPC_MESSAGE, message);
        }
        Frame::trailers(trailers)
    }

    fn end_by(&mut self, error: &BodyError) -> Frame<Bytes> {
        let cause = match std::error::Error::source(error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        };
        let (status, message) = match error {
            BodyError::Refused(fault) => (Status::of_fault(fault.code), fault.code.row().title),
            BodyError::Cut(_) => (Status::Unavailable, "The service broke off"),
            BodyError::Idle => (Status::Unavailable, "The service was silent for too long"),
        };
        self.end(status, message, Some(cause))
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.is_over {
            return Poll::Ready(self.last.take().map(Ok));
        }
        if self.late.as_mut().is_some_and(|late| late.as_mut().poll(cx).is_ready()) {
            let title = FaultCode::TotalTimeout.row().title;
            return Poll::Ready(Some(Ok(self.end(Status::DeadlineExceeded, title, None))));
        }
        let frame = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
            Some(Ok(frame)) => {
                if let Some(trailers) = frame.trailers_ref() {
                    self.is_over = true;
                    self.ending.set(grpc::told(trailers).unwrap_or(Status::Unknown));
                }
                frame
            }
            Some(Err(error)) => self.end_by(&error),
            None => self.end(Status::Internal, "The service ended without a status", None),
        };
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.is_over && self.last.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        // Trailers may follow whatever length was announced.
        SizeHint::new()
    }
}

impl Duplex for Watched {
    fn poll_drive(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let driven = ready!(self.inner.poll_drive(cx));
        if let (Err(error), false) = (driven, self.is_over) {
            self.last = Some(self.end_by(&error));
        }
        Poll::Ready(Ok(()))
    }
}
