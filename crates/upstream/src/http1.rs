//! One HTTP/1.1 connection to a target (RFC 9112), driven by whoever waits for an answer on it: no task
//! of its own, and nothing is read or written unless somebody asks.

use crate::progress::Progress;
use crate::reach::Reach;
use crate::target::Seat;
use crate::tunnel::{Tunnel, Wanted};
use crate::world::Io;
use ::http1::{Decoder, Framing, Length, Piece, ResponseHead, Scan, Sending, write};
use base::buffers::{Outbox, poll_fill, release};
use base::caps::INFORMATIONAL_MAX;
use base::{Alarm, Endpoint};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, EXPECT, HeaderValue, TE};
use http::{Method, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::AsyncWrite as _;
use tokio::task::coop::unconstrained;
use traffic::body::{BodyError, Duplex};
use traffic::upstream::{Call, Failed, Peers};
use traffic::{Body, Fault, FaultCode, Informational, Request, Response, Stage};

/// An open connection that has no request under way; dropping it closes it.
pub(crate) struct Http1 {
    pub(crate) address: Endpoint,
    /// The client of whom the target was told: others must not use it.
    pub(crate) told: Option<Peers>,
    pub(crate) io: Box<dyn Io>,
    pub(crate) input: BytesMut,
    scan: Scan,
    pub(crate) out: Outbox,
    alarm: Alarm,
}

impl Http1 {
    /// On a stream on which nothing was said yet.
    pub(crate) fn new(io: Box<dyn Io>, address: Endpoint) -> Box<Self> {
        Box::new(Self {
            address,
            told: None,
            io,
            input: BytesMut::new(),
            scan: Scan::default(),
            out: Outbox::default(),
            alarm: Alarm::default(),
        })
    }

    /// Gives back what it does not need while nobody uses it.
    pub(crate) fn rest(&mut self) {
        release(&mut self.input);
        self.out.clear();
    }

    /// Whether it can be used: the target has neither closed it nor said anything unasked. If it can,
    /// `waker` is told when that changes.
    pub(crate) fn is_open(&mut self, waker: &Waker) -> bool {
        let look = poll_fn(|cx| poll_fill(&mut self.io, &mut self.input, 1, cx));
        // A task that has used up its turn would be told "nothing there" whatever is.
        let look = pin!(unconstrained(look));
        look.poll(&mut Context::from_waker(waker)).is_pending()
    }
}

/// A request on its way over a connection, until the head of its answer has come.
struct Asking<'a> {
    link: Box<Http1>,
    method: &'a Method,
    call: &'a Call,
    progress: &'a Progress<'a>,
    body: Sending,
    /// What the target is asked to switch to.
    wanted: Option<Wanted>,
    /// Bytes that were written.
    written: u64,
    /// None of them is held back by TLS.
    is_flushed: bool,
    /// Writing failed; what the target said before that may still be read.
    write_error: Option<io::Error>,
    informed: usize,
    wants_continue: bool,
    phase: Phase,
}

/// What is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The target, to take what is written.
    Writing,
    /// The client, to send more of its body.
    Body,
    /// The target, to answer.
    Answer,
}

/// Why there is no head of an answer.
enum Broken {
    /// The target was too slow.
    Late(String),
    /// The target went away.
    Reset(String),
    /// What the target says is not HTTP.
    Invalid(String),
    /// The client's body broke off or was refused.
    Body(Fault),
}

/// The head of an answer, and the connection on which its body is still to come.
pub(crate) struct Answered {
    pub(crate) head: ResponseHead,
    link: Box<Http1>,
    /// What is left of the request.
    upload: Option<Sending>,
    /// The connection cannot serve again.
    is_spent: bool,
}

/// Sends a request and waits for the head of its answer; the body of the answer holds the connection and
/// the seat until it ends.
pub(crate) async fn send(
    link: Box<Http1>,
    reach: &Arc<Reach>,
    seat: &mut Option<Seat>,
    (call, progress): (&Call, &Progress<'_>),
    request: Box<Request>,
) -> Result<Response, Failed> {
    let Answered { head, mut link, upload, is_spent } = ask(link, call, request, progress).await?;
    link.alarm.clear();
    if head.status == StatusCode::SWITCHING_PROTOCOLS {
        let tunnel = Tunnel::new(link, upload, reach, call.worker, seat.take());
        let ResponseHead { status, headers, .. } = head;
        return Ok(Response { status, headers, body: Body::tunnel(tunnel) });
    }
    let ResponseHead { status, mut headers, length, keeps_alive, declared, .. } = head;
    if let Some(declared) = declared.filter(|_| length == Length::None) {
        // Of the body that would be there (RFC 9110, 8.6).
        headers.append(CONTENT_LENGTH, HeaderValue::from(declared));
    }
    let mut body = Answer {
        link: Some(link),
        decoder: Decoder::new(length),
        upload,
        is_spent: is_spent || !keeps_alive,
        idle: call.timeouts.idle,
        reach: Arc::clone(reach),
        worker: call.worker,
        seat: seat.take(),
    };
    let body = if body.decoder.is_done() {
        body.finish();
        Body::empty()
    } else {
        Body::duplex(body)
    };
    Ok(Response { status, headers, body })
}

/// Sends a request and waits for the head of its answer.
pub(crate) async fn ask(
    mut link: Box<Http1>,
    call: &Call,
    request: Box<Request>,
    progress: &Progress<'_>,
) -> Result<Answered, Failed> {
    let Request { method, target, mut headers, mut body, protocol } = *request;
    let wanted =
        protocol.map(|protocol| Wanted::ask(protocol, std::mem::take(&mut body), &mut headers));
    let copy = body.copy();
    let framing = framing(&method, &body);
    // `TE` holds for one connection only, which must be said (RFC 9110, 10.1.4).
    let options: &[&str] = match (headers.contains(TE), wanted.is_some()) {
        (false, false) => &[],
        (true, false) => &["te"],
        (false, true) => &["upgrade"],
        (true, true) => &["te", "upgrade"],
    };
    write::request_head(link.out.small(), &method, &target, &headers, framing, options);
    let mut asking = Asking {
        link,
        method: &method,
        call,
        progress,
        body: Sending::new(body, framing, true),
        wanted,
        written: 0,
        is_flushed: true,
        write_error: None,
        informed: 0,
        wants_continue: headers.contains(EXPECT),
        phase: Phase::Writing,
    };
    let broken = match poll_fn(|cx| asking.poll_head(cx)).await {
        Ok(head) => {
            let Asking { link, body, wanted, write_error, is_flushed, .. } = asking;
            let is_spent = write_error.is_some();
            if head.status == StatusCode::SWITCHING_PROTOCOLS {
                // From here on the client's bytes pass as they are.
                let raw =
                    wanted.map(|wanted| Sending::new(wanted.body, Framing::UntilClose, false));
                return Ok(Answered { head, link, upload: raw, is_spent: true });
            }
            let is_out = body.is_done() && link.out.is_empty() && is_flushed;
            let upload = (!is_out && !is_spent).then_some(body);
            return Ok(Answered { head, link, upload, is_spent });
        }
        Err(broken) => broken,
    };
    let (protocol, raw) = match asking.wanted.take() {
        Some(wanted) => {
            let (protocol, raw) = wanted.forget(&mut headers);
            (Some(protocol), Some(raw))
        }
        None => (None, None),
    };
    let may_go_elsewhere = asking.written == 0 && !matches!(broken, Broken::Body(_));
    let body = may_go_elsewhere.then(|| raw.or(copy).or_else(|| asking.body.untouched())).flatten();
    let fault = fault(broken);
    let unsent = body.map(|body| Box::new(Request { method, target, headers, body, protocol }));
    Err(Failed { fault, unsent })
}

/// How the end of a request is told. Methods that usually carry a body say so if there is none (RFC
/// 9110, 8.6).
fn framing(method: &Method, body: &Body) -> Framing {
    match body.size_hint().exact() {
        None => Framing::Chunked,
        Some(0) if !matches!(*method, Method::POST | Method::PUT | Method::PATCH) => Framing::None,
        Some(length) => Framing::Length(length),
    }
}

fn fault(broken: Broken) -> Fault {
    let (code, why) = match broken {
        Broken::Body(fault) => return fault,
        Broken::Late(why) => (FaultCode::FirstByteTimeout, why),
        Broken::Reset(why) => (FaultCode::UpstreamReset, why),
        Broken::Invalid(why) => (FaultCode::UpstreamInvalid, why),
    };
    Fault::new(Stage::Forward, code).cause(why)
}

impl Asking<'_> {
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, Broken>> {
        let is_hungry = match self.poll_send(cx) {
            Ok(is_hungry) => is_hungry,
            Err(broken) => return Poll::Ready(Err(broken)),
        };
        loop {
            if !self.link.input.is_empty() && self.written == 0 {
                let why = "the target spoke before it was asked";
                return Poll::Ready(Err(Broken::Reset(why.to_owned())));
            }
            if !self.link.input.is_empty() {
                let Http1 { scan, input, .. } = &mut *self.link;
                match ::http1::response(scan, input, self.method) {
                    Ok(None) => {}
                    Ok(Some(head)) => match self.consider(head) {
                        Ok(None) => continue,
                        Ok(Some(head)) => return Poll::Ready(Ok(head)),
                        Err(broken) => return Poll::Ready(Err(broken)),
                    },
                    Err(refusal) => {
                        return Poll::Ready(Err(Broken::Invalid(refusal.to_string())));
                    }
                }
            }
            match poll_fill(&mut self.link.io, &mut self.link.input, 1, cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(self.gone(None))),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.gone(Some(error)))),
                Poll::Pending => return self.poll_late(is_hungry, cx).map(Err),
            }
        }
    }

    /// Sends on. Says whether there is no more of the body yet.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<bool, Broken> {
        while self.write_error.is_none() {
            let is_hungry = self.body.gather(&mut self.link.out, cx);
            let before = self.written;
            let polled = self.link.out.poll_write(&mut self.link.io, &mut self.written, cx);
            if self.written > before {
                self.link.alarm.clear();
                self.is_flushed = false;
            }
            match polled {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => self.write_error = Some(error),
                Poll::Pending => return Ok(false),
            }
            if let Some(cut) = self.body.cut() {
                return Err(Broken::Body(fault_of(&**cut)));
            }
            if is_hungry || self.body.is_done() {
                match Pin::new(&mut self.link.io).poll_flush(cx) {
                    Poll::Ready(Ok(())) => self.is_flushed = true,
                    Poll::Ready(Err(error)) => self.write_error = Some(error),
                    Poll::Pending => {}
                }
                return Ok(is_hungry);
            }
        }
        Ok(false)
    }

    /// Relays what is only informational; returns the answer itself.
    fn consider(&mut self, mut head: ResponseHead) -> Result<Option<ResponseHead>, Broken> {
        if !head.status.is_informational() {
            return Ok(Some(head));
        }
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            let unasked = Err("the target switched protocols, which nobody asked for");
            let checked = self.wanted.as_ref().map_or(unasked, |wanted| wanted.check(&mut head));
            return match checked {
                Ok(()) => Ok(Some(head)),
                Err(why) => Err(Broken::Invalid(why.to_owned())),
            };
        }
        self.informed += 1;
        if self.informed > INFORMATIONAL_MAX {
            return Err(Broken::Invalid("too many informational answers".to_owned()));
        }
        if head.status != StatusCode::CONTINUE || self.wants_continue {
            let ResponseHead { status, headers, .. } = head;
            self.call.interim.send(Informational { status, headers });
        }
        Ok(None)
    }

    fn gone(&mut self, error: Option<io::Error>) -> Broken {
        let error = self.write_error.take().or(error);
        Broken::Reset(match error {
            Some(error) => error.to_string(),
            None if self.link.input.is_empty() => "closed without an answer".to_owned(),
            None => "closed in the middle of the answer's head".to_owned(),
        })
    }

    /// Ready when the target is too slow: to take the request while it is being sent, to answer after
    /// that. While the client is waited for, time is not the target's.
    fn poll_late(&mut self, is_hungry: bool, cx: &mut Context<'_>) -> Poll<Broken> {
        let phase = match (self.link.out.is_empty(), is_hungry) {
            (false, _) if self.write_error.is_none() => Phase::Writing,
            (_, true) => Phase::Body,
            _ => Phase::Answer,
        };
        let alarm = &mut self.link.alarm;
        if phase != self.phase {
            self.phase = phase;
            alarm.clear();
            if phase == Phase::Answer {
                self.progress.sent();
            }
        }
        let limit = match phase {
            Phase::Writing => self.call.timeouts.idle,
            Phase::Body => None,
            Phase::Answer => self.call.timeouts.first_byte,
        };
        let Some(limit) = limit else { return Poll::Pending };
        alarm.start(limit);
        alarm.poll(cx).map(|()| {
            Broken::Late(match phase {
                Phase::Answer => format!("no response head within {limit:?}"),
                _ => "the target stopped taking the request".to_owned(),
            })
        })
    }
}

/// What a client's body that broke off makes of the request.
fn fault_of(error: &(dyn std::error::Error + 'static)) -> Fault {
    BodyError::fault_behind(error)
        .unwrap_or_else(|| Fault::new(Stage::Forward, FaultCode::Internal).cause(error.to_string()))
}

/// The body of an answer. It drives what is left of the request as well: a target may answer before it
/// has taken all of it.
struct Answer {
    link: Option<Box<Http1>>,
    decoder: Decoder,
    upload: Option<Sending>,
    /// The connection cannot serve again.
    is_spent: bool,
    idle: Option<Duration>,
    reach: Arc<Reach>,
    worker: usize,
    seat: Option<Seat>,
}

impl Answer {
    /// The answer has ended well: the connection may serve again, if all of the request was taken and
    /// nothing came that was not asked for.
    fn finish(&mut self) {
        if let Some(mut link) = self.link.take()
            && !self.is_spent
            && self.upload.is_none()
            && link.out.is_empty()
            && link.input.is_empty()
        {
            link.alarm.clear();
            self.reach.put_back(self.worker, link);
        }
        self.upload = None;
        self.seat = None;
    }

    /// Gives the connection up.
    fn give_up(&mut self) {
        self.link = None;
        self.upload = None;
        if let Some(seat) = self.seat.take() {
            seat.broke_off(self.worker);
        }
    }

    fn fail(&mut self, error: BodyError) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.give_up();
        Poll::Ready(Some(Err(error)))
    }

    /// Sends on what is left of the request.
    ///
    /// # Errors
    /// When the client's body broke off: an answer to half a request is worth nothing, and the target
    /// must learn of it.
    fn send_on(&mut self, cx: &mut Context<'_>) -> Result<(), BodyError> {
        let Some(link) = &mut self.link else { return Ok(()) };
        while let Some(upload) = &mut self.upload {
            let is_hungry = upload.gather(&mut link.out, cx);
            let mut written = 0;
            let polled = link.out.poll_write(&mut link.io, &mut written, cx);
            if written > 0 {
                // A target that takes its request is not silent.
                link.alarm.clear();
            }
            match polled {
                Poll::Pending => return Ok(()),
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => {
                    // The answer may be whole all the same; the connection is of no use after it.
                    self.is_spent = true;
                    self.upload = None;
                    return Ok(());
                }
            }
            if let Some(cut) = upload.cut() {
                return Err(BodyError::Cut(cut.to_string().into()));
            }
            let is_done = upload.is_done();
            if is_done || is_hungry {
                match Pin::new(&mut link.io).poll_flush(cx) {
                    Poll::Ready(Ok(())) if is_done => self.upload = None,
                    Poll::Ready(Err(_)) => {
                        self.is_spent = true;
                        self.upload = None;
                    }
                    _ => {}
                }
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Duplex for Answer {
    fn poll_drive(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let this = &mut *self;
        match this.send_on(cx) {
            Err(cut) => {
                // As when the answer is read: it says nothing about the target.
                this.seat = None;
                this.give_up();
                Poll::Ready(Err(cut))
            }
            Ok(()) if this.upload.is_some() => Poll::Pending,
            Ok(()) => Poll::Ready(Ok(())),
        }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        if let Err(cut) = this.send_on(cx) {
            // The client's doing, which says nothing about the target.
            this.seat = None;
            return this.fail(cut);
        }
        loop {
            let Some(link) = &mut this.link else { return Poll::Ready(None) };
            let piece = match this.decoder.next(&mut link.input) {
                Ok(piece) => piece,
                Err(refusal) => return this.fail(BodyError::Cut(Box::new(refusal))),
            };
            let frame = match piece {
                Piece::Data(data) => Some(Frame::data(data)),
                Piece::Trailers(trailers) => Some(Frame::trailers(trailers)),
                Piece::End => None,
                Piece::More => {
                    match poll_fill(&mut link.io, &mut link.input, this.decoder.wants(), cx) {
                        Poll::Ready(Ok(0)) => match this.decoder.on_eof() {
                            Ok(()) => this.is_spent = true,
                            Err(cut) => return this.fail(BodyError::Cut(Box::new(cut))),
                        },
                        Poll::Ready(Ok(_)) => {}
                        Poll::Ready(Err(error)) => return this.fail(BodyError::Cut(error.into())),
                        Poll::Pending => {
                            let Some(idle) = this.idle else { return Poll::Pending };
                            link.alarm.start(idle);
                            if link.alarm.poll(cx).is_pending() {
                                return Poll::Pending;
                            }
                            return this.fail(BodyError::Idle);
                        }
                    }
                    continue;
                }
            };
            link.alarm.clear();
            if this.decoder.is_done() {
                this.finish();
            }
            return Poll::Ready(frame.map(Ok));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.link.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.decoder.hint() {
            _ if self.link.is_none() => SizeHint::with_exact(0),
            Some(left) => SizeHint::with_exact(left),
            None => SizeHint::new(),
        }
    }
}
