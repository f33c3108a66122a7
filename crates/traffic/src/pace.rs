//! So many bytes a second: bodies of which each piece waits for its turn. Nothing is refused and nothing is gathered: while
//! a piece waits nobody asks for the next one, so that whoever sends it has to wait, too.

use crate::Body;
use crate::body::{BodyError, Duplex};
use base::Alarm;
use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::Instant;

/// Pieces per second that a body is cut into at its whole speed,
const PIECES_PER_S: u64 = 16;
/// each of so many bytes at least and at most.
const PIECE_BYTES: (u64, u64) = (256, 64 << 10);
/// What timers cannot tell from now. Who passes that much too early waits longer for the next piece.
const TICK_NS: u64 = 1_000_000;

/// How fast bytes may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speed {
    bytes_per_s: u64,
    burst: u64,
}

impl Speed {
    /// So many bytes a second, at least one, and so many at once after a pause, at least a piece.
    #[must_use]
    pub fn new(bytes_per_s: u64, burst: u64) -> Self {
        let bytes_per_s = bytes_per_s.max(1);
        let speed = Self { bytes_per_s, burst };
        Self { bytes_per_s, burst: burst.max(speed.piece()) }
    }

    /// How long so many bytes take.
    fn takes_ns(self, bytes: u64) -> u64 {
        let ns = u128::from(bytes) * 1_000_000_000 / u128::from(self.bytes_per_s);
        u64::try_from(ns).unwrap_or(u64::MAX)
    }

    /// Bytes that pass together.
    fn piece(self) -> u64 {
        (self.bytes_per_s / PIECES_PER_S).clamp(PIECE_BYTES.0, PIECE_BYTES.1)
    }
}

/// Those who share a speed in one direction. All it holds is the time at which everything that was let pass would have
/// passed without any burst, as with the generic cell rate algorithm.
#[derive(Debug, Default)]
struct Lane(AtomicU64);

impl Lane {
    /// Lets so many bytes pass, and tells how much later than now: everybody gets the time after those who asked before.
    fn pass(&self, speed: Speed, bytes: u64, now_ns: u64) -> u64 {
        let (takes_ns, burst_ns) = (speed.takes_ns(bytes), speed.takes_ns(speed.burst));
        let next = |ends_ns: u64| ends_ns.max(now_ns).saturating_add(takes_ns);
        // An update that always says something always succeeds.
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |it| Some(next(it)));
        let ends_ns = next(before.unwrap_or_else(|same| same));
        ends_ns.saturating_sub(burst_ns).saturating_sub(now_ns)
    }

    /// Gives back what was not used.
    fn give_back(&self, speed: Speed, bytes: u64) {
        let without = |ends_ns: u64| Some(ends_ns.saturating_sub(speed.takes_ns(bytes)));
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, without).ok();
    }
}

/// Those who share their speeds, in both directions.
#[derive(Debug)]
pub struct Lanes {
    began: Instant,
    up: Lane,
    down: Lane,
}

impl Lanes {
    /// Through which nothing has passed, whose time began then.
    #[must_use]
    pub fn new(began: Instant) -> Self {
        Self { began, up: Lane::default(), down: Lane::default() }
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(now().saturating_duration_since(self.began).as_nanos()).unwrap_or(u64::MAX)
    }

    /// Whether nothing is left of what has passed, so that they are as good as new.
    #[must_use]
    pub fn is_rested(&self) -> bool {
        let now_ns = self.now_ns();
        [&self.up, &self.down].into_iter().all(|lane| lane.0.load(Ordering::Relaxed) <= now_ns)
    }

    fn lane(&self, direction: Direction) -> &Lane {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }
}

/// The runtime's time, by which timers go, so that tests can pause it.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "timers go by the runtime's clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// Where bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the backend.
    Up,
    /// From the backend, or the gateway itself, to the client.
    Down,
}

/// How fast the bytes of an exchange may pass.
#[derive(Clone, Debug)]
pub struct Pace {
    /// With whom it shares that.
    pub lanes: Arc<Lanes>,
    /// From the client, if that is bounded.
    pub up: Option<Speed>,
    /// To the client, if that is bounded.
    pub down: Option<Speed>,
}

/// The body at these paces in one direction, the slowest of them being that of the whole. Tunnels stay tunnels.
#[must_use]
pub fn paced(body: Body, paces: &[Pace], direction: Direction) -> Body {
    let speed = |pace: &Pace| {
        let speed = match direction {
            Direction::Up => pace.up,
            Direction::Down => pace.down,
        };
        speed.map(|speed| (Arc::clone(&pace.lanes), speed))
    };
    let ways: Vec<_> = paces.iter().filter_map(speed).collect();
    if ways.is_empty() || body.is_empty() {
        return body;
    }
    let is_tunnel = body.is_tunnel();
    let piece = ways.iter().map(|(_, speed)| speed.piece()).min().unwrap_or(PIECE_BYTES.1);
    let paced = Paced {
        inner: body,
        ways,
        direction,
        piece: usize::try_from(piece).unwrap_or(usize::MAX),
        uncut: Bytes::new(),
        promised: 0,
        waits: false,
        alarm: Alarm::default(),
    };
    if is_tunnel { Body::tunnel(paced) } else { Body::duplex(paced) }
}

/// A body that passes piece by piece.
struct Paced {
    inner: Body,
    ways: Vec<(Arc<Lanes>, Speed)>,
    direction: Direction,
    /// Bytes that pass together.
    piece: usize,
    /// What has come and did not pass yet.
    uncut: Bytes,
    /// Of that, bytes that were given a time, which may not have come yet.
    promised: usize,
    waits: bool,
    alarm: Alarm,
}

impl Paced {
    /// Has the next piece pass at its time.
    fn promise(&mut self) {
        self.promised = self.uncut.len().min(self.piece);
        let (bytes, direction) = (self.promised as u64, self.direction);
        let waits = self
            .ways
            .iter()
            .map(|(lanes, speed)| lanes.lane(direction).pass(*speed, bytes, lanes.now_ns()));
        let wait_ns = waits.max().unwrap_or(0);
        self.waits = wait_ns > TICK_NS;
        if self.waits {
            self.alarm.set(Duration::from_nanos(wait_ns));
        }
    }
}

impl Drop for Paced {
    fn drop(&mut self) {
        for (lanes, speed) in &self.ways {
            lanes.lane(self.direction).give_back(*speed, self.promised as u64);
        }
    }
}

impl HttpBody for Paced {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        while this.promised == 0 {
            if this.uncut.is_empty() {
                match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => this.uncut = data,
                        Err(frame) => return Poll::Ready(Some(Ok(frame))),
                    },
                    other => return Poll::Ready(other),
                }
            }
            if !this.uncut.is_empty() {
                this.promise();
            }
        }
        if this.waits {
            if this.alarm.poll(cx).is_pending() {
                // Whoever asks for more of this direction counts on the other one moving meanwhile.
                if let Poll::Ready(Err(error)) = this.inner.poll_drive(cx) {
                    return Poll::Ready(Some(Err(error)));
                }
                return Poll::Pending;
            }
            this.waits = false;
            this.alarm.clear();
        }
        let piece = this.uncut.split_to(this.promised);
        this.promised = 0;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.uncut.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, own) = (self.inner.size_hint(), self.uncut.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower().saturating_add(own));
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper.saturating_add(own));
        }
        hint
    }
}

impl Duplex for Paced {
    fn poll_drive(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        self.inner.poll_drive(cx)
    }
}

#[cfg(test)]
mod tests;
