//! One request and its answer over a connection of HTTP/2 (RFC 9113) that it shares with others.

/// The connection.
mod link;
/// Its time limits.
mod pulse;
/// Heads in HTTP/2's form.
mod head;
/// What a request still has to send.
mod upload;
/// An answer's body.
mod answer;

pub(crate) use link::{Http2, Room, Unopened};

use crate::pool::Stream;
use crate::progress::Progress;
use crate::reach::Reach;
use crate::target::Seat;
use answer::{Answer, Occupied};
use base::Alarm;
use base::caps::{EXPECT_TIMEOUT_S, INFORMATIONAL_MAX};
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream};
use http::header::{CONTENT_LENGTH, EXPECT};
use http::uri::Scheme;
use http::{Method, StatusCode};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use traffic::body::BodyError;
use traffic::upstream::{Call, Failed};
use traffic::{Body, Fault, FaultCode, Headers, Informational, Request, Response, Stage};
use upload::Upload;

/// The head of an answer, and the stream on which its body is still to come.
pub(crate) struct Answered {
    pub(crate) status: StatusCode,
    headers: Headers,
    recv: RecvStream,
    upload: Option<Upload>,
}

/// Sends a request and waits for the head of its answer; the body of the answer holds the stream and the
/// seat until it ends.
pub(crate) async fn send(
    stream: Stream,
    reach: &Arc<Reach>,
    seat: &mut Option<Seat>,
    (call, progress): (&Call, &Progress<'_>),
    request: Box<Request>,
) -> Result<Response, Failed> {
    let is_head = request.method == Method::HEAD;
    let is_tunnel = request.protocol.is_some();
    let mut alarm = stream.http2().lend_alarm();
    let told = (call, progress);
    let answered = ask(stream.http2(), reach.scheme(), told, request, &mut alarm).await?;
    alarm.clear();
    let Answered { status, headers, recv, upload } = answered;
    let seat = seat.take();
    let occupied = Occupied { worker: call.worker, stream, seat };
    let left = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    let is_over = recv.is_end_stream();
    let mut answer = Answer::new(recv, upload, left, call.timeouts.idle, alarm, occupied);
    if is_tunnel && status.is_success() {
        let body = Body::tunnel(answer.into_tunnel());
        return Ok(Response { status: StatusCode::SWITCHING_PROTOCOLS, headers, body });
    }
    let has_none = is_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if is_over || has_none {
        answer.finish();
        return Ok(Response { status, headers, body: Body::empty() });
    }
    Ok(Response { status, headers, body: Body::duplex(answer) })
}

/// A request on its way, until the head of its answer has come.
struct Asking<'a> {
    response: ResponseFuture,
    upload: Option<Upload>,
    call: &'a Call,
    progress: &'a Progress<'a>,
    alarm: &'a mut Alarm,
    phase: Phase,
    informed: usize,
    wants_continue: bool,
    /// A client says nothing before the target has agreed to a tunnel.
    is_tunnel: bool,
}

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The target, to take what is there; so many pieces it has taken.
    Writing(u64),
    /// The target, to say that the body may come.
    Continue,
    /// The client, to send more of its body.
    Body,
    /// The target, to answer.
    Answer,
}

/// Why there is no head of an answer.
enum Broken {
    /// The target was too slow.
    Late(String),
    /// What the target says is not HTTP.
    Invalid(&'static str),
    /// The client's body broke off or was refused.
    Body(Fault),
    /// The stream or the connection ended.
    Ended(h2::Error),
}

/// Sends a request and waits for the head of its answer. A request that the target certainly did nothing with is
/// handed back.
pub(crate) async fn ask(
    link: &Http2,
    scheme: Scheme,
    (call, progress): (&Call, &Progress<'_>),
    mut request: Box<Request>,
    alarm: &mut Alarm,
) -> Result<Answered, Failed> {
    if request.protocol.is_some() && !link.takes_tunnels() {
        let fault = Fault::new(Stage::Forward, FaultCode::SwitchRefused);
        let fault = fault.cause("the target does not offer extended CONNECT (RFC 8441, 3)");
        return Err(Failed { fault, unsent: Some(request) });
    }
    let head = match head::address(&request, scheme, head::length(&request)) {
        Ok(head) => head,
        Err(error) => {
            let fault = Fault::new(Stage::Forward, FaultCode::Internal).cause(error);
            return Err(Failed { fault, unsent: None });
        }
    };
    let body = std::mem::take(&mut request.body);
    let copy = body.copy();
    let is_whole = body.is_empty();
    let before = link.written();
    let (response, stream) = match link.begin(head, is_whole) {
        Ok(begun) => begun,
        Err(error) => {
            request.body = body;
            return Err(Failed { fault: ended(&error, link), unsent: Some(request) });
        }
    };
    let mut asking = Asking {
        response,
        upload: (!is_whole).then(|| Upload::new(body, stream)),
        call,
        progress,
        alarm,
        phase: Phase::Writing(0),
        informed: 0,
        wants_continue: request.headers.contains(EXPECT),
        is_tunnel: request.protocol.is_some(),
    };
    let broken = match poll_fn(|cx| asking.poll_head(cx)).await {
        Ok(answer) => {
            let (parts, recv) = answer.into_parts();
            match head::fields(parts.headers) {
                Ok(headers) => {
                    let upload = asking.upload;
                    return Ok(Answered { status: parts.status, headers, recv, upload });
                }
                Err(why) => Broken::Invalid(why),
            }
        }
        Err(broken) => broken,
    };
    let is_unsent = match &broken {
        Broken::Ended(error) => is_refused(error) || link.written() == before,
        _ => false,
    };
    let body = is_unsent.then(|| copy.or_else(|| asking.upload?.untouched())).flatten();
    let fault = match broken {
        Broken::Late(why) => {
            link.distrust();
            Fault::new(Stage::Forward, FaultCode::FirstByteTimeout).cause(why)
        }
        Broken::Invalid(why) => Fault::new(Stage::Forward, FaultCode::UpstreamInvalid).cause(why),
        Broken::Body(fault) => fault,
        Broken::Ended(error) => ended(&error, link),
    };
    let unsent = body.map(|body| {
        request.body = body;
        request
    });
    Err(Failed { fault, unsent })
}

/// Whether the target says that it did nothing with the request: it may be sent again, whatever its method
/// (RFC 9113, 8.7). `h2` tells of a GOAWAY to those requests only that it leaves out.
fn is_refused(error: &h2::Error) -> bool {
    let is_reset = error.is_reset() && error.reason() == Some(Reason::REFUSED_STREAM);
    error.is_remote() && (is_reset || error.is_go_away())
}

/// Tells apart who broke an exchange: a target that speaks wrongly, or a connection that went away.
fn ended(error: &h2::Error, link: &Http2) -> Fault {
    if let Some(why) = link.why() {
        return Fault::new(Stage::Forward, FaultCode::UpstreamReset).cause(why);
    }
    let code = if error.is_library() && !error.is_io() {
        FaultCode::UpstreamInvalid
    } else if error.is_io() || error.is_remote() {
        FaultCode::UpstreamReset
    } else {
        FaultCode::Internal
    };
    Fault::new(Stage::Forward, code).cause(error.to_string())
}

impl Asking<'_> {
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<http::Response<RecvStream>, Broken>> {
        if let Some(upload) = &mut self.upload
            && let Poll::Ready(sent) = upload.poll_send(cx)
        {
            self.upload = None;
            if let Err(error) = sent {
                return Poll::Ready(Err(Broken::Body(fault_of(&error))));
            }
        }
        while let Poll::Ready(Some(Ok(informational))) = self.response.poll_informational(cx) {
            if let Err(broken) = self.consider(informational) {
                return Poll::Ready(Err(broken));
            }
        }
        match Pin::new(&mut self.response).poll(cx) {
            Poll::Ready(Ok(answer)) => Poll::Ready(Ok(answer)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(Broken::Ended(error))),
            Poll::Pending => self.poll_late(cx).map(Err),
        }
    }

    /// Relays what is only informational.
    fn consider(&mut self, informational: http::Response<()>) -> Result<(), Broken> {
        let (parts, ()) = informational.into_parts();
        self.informed += 1;
        if self.informed > INFORMATIONAL_MAX {
            return Err(Broken::Invalid("too many informational answers"));
        }
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Broken::Invalid("the answer is a 101, which HTTP/2 does not have"));
        }
        let headers = head::fields(parts.headers).map_err(Broken::Invalid)?;
        if parts.status != StatusCode::CONTINUE || self.wants_continue {
            self.call.interim.send(Informational { status: parts.status, headers });
        }
        if parts.status == StatusCode::CONTINUE {
            self.wants_continue = false;
        }
        Ok(())
    }

    /// Ready when the target is too slow: to take the request while it is being sent, to answer after that.
    /// While the client is waited for, time is not the target's.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Broken> {
        let phase = match &self.upload {
            None => Phase::Answer,
            Some(_) if self.is_tunnel => Phase::Answer,
            Some(upload) if !upload.is_hungry() => Phase::Writing(upload.taken()),
            Some(upload) if upload.taken() == 0 && self.wants_continue => Phase::Continue,
            Some(_) => Phase::Body,
        };
        if phase != self.phase {
            self.phase = phase;
            self.alarm.clear();
            if phase == Phase::Answer {
                self.progress.sent();
            }
        }
        let limit = match phase {
            Phase::Writing(_) => self.call.timeouts.idle,
            Phase::Continue => Some(Duration::from_secs(EXPECT_TIMEOUT_S)),
            Phase::Body => None,
            Phase::Answer => self.call.timeouts.first_byte,
        };
        let Some(limit) = limit else { return Poll::Pending };
        self.alarm.start(limit);
        std::task::ready!(self.alarm.poll(cx));
        match phase {
            Phase::Continue => {
                // Few servers of HTTP/2 say it, and few clients wait for ever (RFC 9110, 10.1.1).
                self.wants_continue = false;
                let headers = Headers::new();
                let status = StatusCode::CONTINUE;
                self.call.interim.send(Informational { status, headers });
                self.alarm.clear();
                Poll::Pending
            }
            Phase::Answer => {
                Poll::Ready(Broken::Late(format!("no response head within {limit:?}")))
            }
            _ => Poll::Ready(Broken::Late("the target stopped taking the request".to_owned())),
        }
    }
}

/// What a client's body that broke off makes of the request.
fn fault_of(error: &BodyError) -> Fault {
    BodyError::fault_behind(error)
        .unwrap_or_else(|| Fault::new(Stage::Forward, FaultCode::Internal).cause(error.to_string()))
}
