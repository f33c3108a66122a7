//! Places of requests whose clients are slow. A client that has its body waited for keeps no place from others: who is kept
//! busy by a request that is not there yet is nobody but its client.

use super::granted::Granted;
use crate::gate::Place;
use base::Alarm;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Instant;
use traffic::body::BodyError;
use traffic::directory::Consumer;
use traffic::plan::Priority;
use traffic::{Body, BoxFuture, Fault};

/// How long a request keeps its place while its client is waited for, all pauses together. Then it goes on without, and
/// its last piece, with which its target can begin, waits for a place again.
const PATIENCE: Duration = Duration::from_secs(1);

/// By what somebody asks for a place once more.
#[derive(Debug)]
pub(super) struct Whose {
    pub(super) priority: Priority,
    pub(super) consumer: Option<Arc<Consumer>>,
    pub(super) network: IpAddr,
}

type Next = Option<Result<Frame<Bytes>, BodyError>>;

/// A body on its way to a target.
pub(super) struct Lent {
    inner: Body,
    granted: Arc<Granted>,
    whose: Whose,
    /// Rings when the client has been waited for too long.
    alarm: Alarm,
    waited: Duration,
    waits_since: Option<Instant>,
    /// The last piece, or the end after it, and the place it waits for.
    last: Option<(Next, BoxFuture<'static, Result<Place, Fault>>)>,
}

#[expect(clippy::disallowed_methods, reason = "timers go by the runtime's clock")]
fn now() -> Instant {
    Instant::now()
}

impl Lent {
    pub(super) fn new(inner: Body, granted: Arc<Granted>, whose: Whose) -> Self {
        let (alarm, waited) = (Alarm::default(), Duration::ZERO);
        Self { inner, granted, whose, alarm, waited, waits_since: None, last: None }
    }

    /// Nothing came: the place goes to somebody else once that has lasted for too long.
    fn wait(&mut self, cx: &mut Context<'_>) {
        if self.waits_since.is_none() {
            self.waits_since = Some(now());
            self.alarm.set(PATIENCE.saturating_sub(self.waited));
        }
        if self.alarm.poll(cx).is_ready() {
            self.granted.lend();
        }
    }

    fn came(&mut self) {
        if let Some(since) = self.waits_since.take() {
            self.waited += since.elapsed();
            self.alarm.clear();
        }
    }

    /// Whether the target has the whole request with this.
    fn is_last(&self, next: &Next) -> bool {
        match next {
            Some(Ok(frame)) => frame.is_trailers() || self.inner.is_end_stream(),
            Some(Err(_)) => false,
            None => true,
        }
    }
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Next> {
        let this = &mut *self;
        if this.last.is_none() {
            let Poll::Ready(next) = Pin::new(&mut this.inner).poll_frame(cx) else {
                this.wait(cx);
                return Poll::Pending;
            };
            this.came();
            if !this.is_last(&next) || !this.granted.lacks_place() {
                return Poll::Ready(next);
            }
            this.last = Some((next, this.granted.ask_again(&this.whose)));
        }
        let Some((_, turn)) = &mut this.last else { return Poll::Ready(None) };
        let turn = ready!(turn.as_mut().poll(cx));
        let next = this.last.take().and_then(|(next, _)| next);
        Poll::Ready(match turn {
            Ok(place) => {
                this.granted.regain(place);
                next
            }
            Err(fault) => {
                this.inner = Body::empty();
                Some(Err(BodyError::Refused(fault)))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.last.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, own) = (self.inner.size_hint(), self.last.as_ref().map_or(0, held));
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(own));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(own));
        }
        hint
    }
}

fn held((next, _): &(Next, BoxFuture<'static, Result<Place, Fault>>)) -> u64 {
    let data = next.as_ref().and_then(|next| next.as_ref().ok()?.data_ref());
    data.map_or(0, |data| data.len() as u64)
}
