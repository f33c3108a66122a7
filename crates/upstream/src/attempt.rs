//! One attempt to have a request answered by one target.

use crate::connect::ConnectError;
use crate::outlier::Outcome;
use crate::pool::Held;
use crate::progress::{Progress, Waits};
use crate::reach::{Reach, Wish};
use crate::target::Seat;
use crate::world::Io;
use crate::{admission, http1, http2};
use http::HeaderValue;
use http::header::{HOST, SET_COOKIE};
use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use traffic::upstream::{Call, Failed, Opened, Target, Timeouts};
use traffic::{BoxFuture, Fault, FaultCode, Request, Response, Stage};

/// A chosen target, and its place among the target's requests under way.
pub(crate) struct Attempt {
    pub(crate) reach: Arc<Reach>,
    pub(crate) seat: Seat,
    /// Brings the client back to this target, if it has not been here before.
    pub(crate) cookie: Option<HeaderValue>,
}

impl Target for Attempt {
    fn send(
        self: Box<Self>,
        call: Call,
        request: Request,
    ) -> BoxFuture<'static, Result<Response, Failed>> {
        // Handed on from hand to hand below, each of which would keep room for it.
        Box::pin(self.run(call, Box::new(request)))
    }

    fn open(self: Box<Self>, call: Call) -> BoxFuture<'static, Result<Box<dyn Opened>, Fault>> {
        Box::pin(self.open_raw(call))
    }
}

impl Attempt {
    async fn open_raw(self: Box<Self>, call: Call) -> Result<Box<dyn Opened>, Fault> {
        let Self { reach, seat, .. } = *self;
        let (worker, cell) = (call.worker, &reach.cell);
        reach.metrics.attempts.add(worker, 1);
        cell.metrics.requests.add(worker, 1);
        let progress = &Progress::unwatched();
        let (limit, peers) = (call.timeouts.connect, call.peers);
        let wish = Wish { worker, limit, is_fresh: true, peers, progress };
        match reach.raw(wish).await {
            Ok(io) => {
                cell.outlier.note(cell, worker, Outcome::Good, seat.probe);
                Ok(Box::new(Seated { io, _seat: seat }))
            }
            Err(error) => {
                let fault = not_connected(&reach, error);
                cell.metrics.failures.add(worker, 1);
                if fault.code != FaultCode::Unresolved {
                    cell.outlier.note(cell, worker, Outcome::NoConnection, seat.probe);
                }
                Err(fault)
            }
        }
    }

    async fn run(
        self: Box<Self>,
        call: Call,
        mut request: Box<Request>,
    ) -> Result<Response, Failed> {
        let Self { reach, seat, cookie } = *self;
        reach.metrics.attempts.add(call.worker, 1);
        reach.cell.metrics.requests.add(call.worker, 1);
        let asked_for = reach.name_host(&mut request.headers);
        let pass = seat.pass.clone();
        let progress = if reach.is_timed || call.deadline.is_some() || pass.is_some() {
            Progress::watched(&reach.clock, pass)
        } else {
            Progress::unwatched()
        };
        let mut unheard = Unheard::begin(&reach, &call, &progress, seat.probe);
        let mut answered = match call.limit {
            None => exchange(&reach, Some(seat), &call, request, &progress).await,
            // Boxed, so that a request without such a limit does not carry it.
            Some(limit) => {
                let answering = exchange(&reach, Some(seat), &call, request, &progress);
                Box::pin(within(limit, answering)).await
            }
        };
        unheard.end(&answered);
        if let (Ok(response), Some(cookie)) = (&mut answered, cookie) {
            response.headers.append(SET_COOKIE, cookie);
        }
        if let Err(failed) = &mut answered {
            let code = failed.fault.code;
            // That others fill a target is no failure of its own.
            if code.row().blame == traffic::Blame::Upstream && code != FaultCode::UpstreamBusy {
                reach.cell.metrics.failures.add(call.worker, 1);
            }
            if let (Some(unsent), Some(host)) = (&mut failed.unsent, asked_for) {
                unsent.headers.insert(HOST, host);
            }
        }
        answered
    }
}

/// A connection for raw bytes, and the place that it takes.
struct Seated {
    io: Box<dyn Io>,
    _seat: Seat,
}

impl Opened for Seated {
    fn reset(&mut self) {
        self.io.reset();
    }
}

impl AsyncRead for Seated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Seated {
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
}

/// Gives an attempt up that takes too long.
async fn within(
    limit: Duration,
    answering: impl Future<Output = Result<Response, Failed>>,
) -> Result<Response, Failed> {
    match tokio::time::timeout(limit, answering).await {
        Ok(answered) => answered,
        Err(_) => {
            let fault = Fault::new(Stage::Forward, FaultCode::FirstByteTimeout);
            let fault = fault.cause(format!("the attempt brought no answer within {limit:?}"));
            Err(Failed { fault, unsent: None })
        }
    }
}

/// An attempt of which nothing was heard yet. If it is dropped as the time of the whole exchange is up, that
/// speaks against the target that was waited for; if it is because the client left, it does not.
struct Unheard<'a> {
    reach: &'a Reach,
    call: &'a Call,
    progress: &'a Progress<'a>,
    probe: u64,
    is_over: bool,
}

impl<'a> Unheard<'a> {
    fn begin(reach: &'a Reach, call: &'a Call, progress: &'a Progress<'a>, probe: u64) -> Self {
        if reach.is_timed {
            reach.cell.latency.begin();
        }
        Self { reach, call, progress, probe, is_over: false }
    }

    /// Tells what is known of the target how the attempt ended.
    fn end(&mut self, answered: &Result<Response, Failed>) {
        self.is_over = true;
        let cell = &self.reach.cell;
        let outcome = match answered {
            Ok(response) => {
                cell.outlier.answered(cell, self.call.worker, response, self.probe);
                None
            }
            Err(failed) => outcome(failed.fault.code),
        };
        if let Some(outcome) = outcome {
            cell.outlier.note(cell, self.call.worker, outcome, self.probe);
            self.progress.failed();
        }
        if !self.reach.is_timed {
            return;
        }
        let now = self.reach.now();
        let took = self.progress.waits().target_for(now);
        match answered {
            // An answer ahead of the request's end says nothing about the time that answers take.
            Ok(response) => {
                if let Some(took) = took {
                    cell.latency.note(took, Some(response.status), now);
                }
            }
            Err(_) if outcome.is_some() => {
                cell.latency.note(took.unwrap_or_default(), None, now);
            }
            Err(_) => {}
        }
        cell.latency.end();
    }

    /// Whether the attempt had time enough for a target that is well: one that began in the last moments of
    /// a request says nothing.
    fn had_its_time(&self, waits: Waits, now: Instant) -> bool {
        let Timeouts { connect, first_byte, total, .. } = self.call.timeouts;
        let own = if matches!(waits, Waits::Connection(_)) { connect } else { first_byte };
        let fair = [own, total.map(|total| total / 2)].into_iter().flatten().min();
        waits.target_for(now).is_some_and(|waited| fair.is_none_or(|fair| waited >= fair))
    }
}

impl Drop for Unheard<'_> {
    fn drop(&mut self) {
        if self.is_over || !(self.reach.is_timed || self.call.deadline.is_some()) {
            return;
        }
        let (cell, now) = (&self.reach.cell, self.reach.now());
        let waits = self.progress.waits();
        if self.reach.is_timed {
            if let Some(waited) = waits.target_for(now) {
                cell.latency.waited(waited, now);
            }
            cell.latency.end();
        }
        let is_late = self.call.deadline.is_some_and(|deadline| now >= deadline);
        if !is_late || !self.had_its_time(waits, now) {
            return;
        }
        let outcome = match waits {
            Waits::Connection(_) => Outcome::NoConnection,
            _ => Outcome::NoAnswer,
        };
        cell.outlier.note(cell, self.call.worker, outcome, self.probe);
        self.progress.failed();
    }
}

/// What a failed attempt says about its target; nothing, if that is not to blame.
const fn outcome(code: FaultCode) -> Option<Outcome> {
    match code {
        FaultCode::ConnectFailed | FaultCode::ConnectTimeout => Some(Outcome::NoConnection),
        FaultCode::FirstByteTimeout | FaultCode::UpstreamReset | FaultCode::UpstreamInvalid => {
            Some(Outcome::NoAnswer)
        }
        _ => None,
    }
}

/// Sends on a connection from the pool or a new one. A connection from the pool may have been closed
/// by its peer in the meantime: a request that it did not take goes out once more on a new one.
async fn exchange(
    reach: &Arc<Reach>,
    mut seat: Option<Seat>,
    call: &Call,
    mut request: Box<Request>,
    progress: &Progress<'_>,
) -> Result<Response, Failed> {
    let mut is_fresh = false;
    if !request.method.is_idempotent() {
        // What cannot be sent twice should not meet a connection that its peer has closed already: this
        // lets the runtime look at its sockets once more before one is chosen.
        tokio::task::yield_now().await;
    }
    loop {
        let began = call.connected.as_ref().map(|_| reach.clock.now());
        let (worker, limit) = (call.worker, call.timeouts.connect);
        let wish = Wish { worker, limit, is_fresh, peers: call.peers, progress };
        let held = match request.protocol {
            None => reach.hold(wish).await,
            Some(_) => reach.hold_tunnel(wish).await,
        };
        let (held, is_reused) = match held {
            Ok(held) => held,
            Err(error) => {
                return Err(Failed { fault: not_connected(reach, error), unsent: Some(request) });
            }
        };
        if let (Some(connected), Some(began), false) = (&call.connected, began, is_reused) {
            connected.note(reach.clock.now().saturating_duration_since(began));
        }
        let sent = match held {
            Held::Http1(link) if is_reused && request.protocol.is_some() => {
                // A tunnel takes a connection for itself, so it need not meet one that may be closed already.
                reach.put_back(call.worker, link);
                is_fresh = true;
                continue;
            }
            Held::Http1(link) => {
                http1::send(link, reach, &mut seat, (call, progress), request).await
            }
            // Boxed, so that a request over HTTP/1.1 does not carry it.
            Held::Http2(stream) => {
                Box::pin(http2::send(stream, reach, &mut seat, (call, progress), request)).await
            }
        };
        match sent {
            Err(Failed { unsent: Some(unsent), .. }) if is_reused && !is_fresh => {
                request = unsent;
                is_fresh = true;
            }
            sent => return sent,
        }
    }
}

fn not_connected(reach: &Reach, error: ConnectError) -> Fault {
    let (code, why) = match error {
        ConnectError::Unresolved(why) => (FaultCode::Unresolved, why),
        ConnectError::Busy(why) => return admission::busy(reach.stream_wait, why),
        ConnectError::Timeout(why) => (FaultCode::ConnectTimeout, why),
        ConnectError::Failed(why) => (FaultCode::ConnectFailed, why),
        ConnectError::Ours(why) => (FaultCode::NoResources, why),
        ConnectError::Invalid(why) => (FaultCode::UpstreamInvalid, why),
    };
    Fault::new(Stage::Forward, code).cause(why)
}

/// An error and what lies behind it.
pub(crate) fn in_words(error: &(dyn Error + 'static)) -> String {
    let chain = std::iter::successors(Some(error), |error| (*error).source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
