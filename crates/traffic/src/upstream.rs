//! Where requests go, as the stages see it; crate `upstream` implements it.

use crate::exchange::Exchange;
use crate::fault::{Fault, FaultCode};
use crate::message::{Interim, Request, Response};
use crate::observe::Connected;
use crate::{Body, BoxFuture};
use http::{HeaderValue, StatusCode};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use telemetry::RetryReason;
use tokio::io::{AsyncRead, AsyncWrite};

/// Time limits of a call; none means unlimited, or not overridden.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// Establishing a connection, TLS included.
    pub connect: Option<Duration>,
    /// From the request's last byte to the answer's first.
    pub first_byte: Option<Duration>,
    /// Between two pieces of a body, in either direction.
    pub idle: Option<Duration>,
    /// The whole exchange.
    pub total: Option<Duration>,
}

impl Timeouts {
    /// These limits where they are set, otherwise those of `fallback`.
    #[must_use]
    pub fn or(self, fallback: Self) -> Self {
        Self {
            connect: self.connect.or(fallback.connect),
            first_byte: self.first_byte.or(fallback.first_byte),
            idle: self.idle.or(fallback.idle),
            total: self.total.or(fallback.total),
        }
    }
}

/// What holds where nobody says otherwise.
static NO_RETRIES: Retries = Retries {
    max: 0,
    per_try: None,
    on: Vec::new(),
    statuses: Vec::new(),
    backoff: Duration::ZERO,
    backoff_max: Duration::ZERO,
};

/// A named backend: targets that can all answer the same requests. Unless it says otherwise it lets
/// everybody in and repeats nothing.
pub trait Upstream: Send + Sync + fmt::Debug {
    /// Its name in the config.
    fn name(&self) -> &Arc<str>;

    /// Time limits where the route sets none.
    fn timeouts(&self) -> Timeouts;

    /// When a request that is safe to repeat is tried again.
    fn retries(&self) -> &Retries {
        &NO_RETRIES
    }

    /// When a second attempt races a slow first one.
    fn hedge(&self) -> Option<Hedge> {
        None
    }

    /// Lets a request in, has it wait for a place, or turns it away.
    fn enter(&self, _exchange: &Exchange) -> Entry {
        Entry::Open
    }

    /// Lets one more attempt in beside those of a request that is in already, if a place is free now.
    /// None turns it away.
    fn enter_beside(&self, _worker: usize) -> Option<Entry> {
        None
    }

    /// Asks for leave to send a request once more, which counts it. What was not sent at all may always
    /// be; what was takes from the budget.
    fn may_repeat(&self, _worker: usize, _reason: RetryReason) -> bool {
        false
    }

    /// Asks for leave to send a request to a second target while the first has not answered; takes from
    /// the budget of repetitions.
    fn may_hedge(&self, _worker: usize) -> bool {
        false
    }

    /// Notes that the answer came from a second attempt that raced the first.
    fn count_hedge_won(&self, _worker: usize) {}

    /// Chooses a target among those that may take a request and that this exchange has not tried yet.
    ///
    /// # Errors
    /// `no_target`, `unresolved` or `upstream_busy`.
    fn pick(&self, exchange: &Exchange) -> Result<Picked, Fault>;

    /// What operators see of it.
    fn status(&self) -> Vec<TargetStatus>;

    /// What operators see of whom it lets in.
    fn admission(&self) -> AdmissionStatus {
        AdmissionStatus::default()
    }
}

/// When a request is tried again. It must be safe: nothing of it was sent, or its method is idempotent
/// (RFC 9110, 9.2.2) and its body can be sent once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retries {
    /// How many times, after the first attempt.
    pub max: u32,
    /// How long an attempt may take to bring the head of an answer, if another one may follow it.
    pub per_try: Option<Duration>,
    /// The reasons, besides the statuses.
    pub on: Vec<RetryReason>,
    /// Statuses of answers that are asked for once more.
    pub statuses: Vec<StatusCode>,
    /// The wait before the first repetition of what was sent already; it doubles each time.
    pub backoff: Duration,
    /// The longest wait.
    pub backoff_max: Duration,
}

impl Default for Retries {
    /// One repetition of whatever failed without an answer.
    fn default() -> Self {
        Self {
            max: 1,
            per_try: None,
            on: RetryReason::FAILURES.to_vec(),
            statuses: Vec::new(),
            backoff: Duration::from_millis(25),
            backoff_max: Duration::from_millis(250),
        }
    }
}

/// When a second attempt races a slow first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hedge {
    /// How long an attempt may be without an answer before the next one begins.
    pub after: Duration,
    /// How many attempts begin besides the first.
    pub max: u32,
}

/// Whether a request may use an upstream.
pub enum Entry {
    /// Nobody counts.
    Open,
    /// It may, and keeps this until its answer has ended.
    Pass(Arc<dyn Pass>),
    /// It waits for its turn. Dropping this gives the turn up.
    Queue(BoxFuture<'static, Result<Arc<dyn Pass>, Fault>>),
    /// It may not.
    Refused(Box<Fault>),
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "Open",
            Self::Pass(_) => "Pass",
            Self::Queue(_) => "Queue",
            Self::Refused(_) => "Refused",
        })
    }
}

/// A request's leave to use an upstream. Dropping the last reference gives its place back.
pub trait Pass: Send + Sync + fmt::Debug {
    /// Tells how the request ended, so that the upstream can judge itself: the status of the answer, or
    /// the fault. A pass that is dropped without a word says nothing.
    fn settle(&self, outcome: Result<StatusCode, &Fault>);

    /// Notes that an attempt was sent whole: from now on its answer is waited for, and nothing else.
    fn sent(&self) {}

    /// The request's body for one attempt. An upstream may have it looked after: who sends a body slowly need not keep others
    /// waiting meanwhile.
    fn mind(self: Arc<Self>, exchange: &Exchange, body: Body) -> Body {
        // Nothing of it matters to who has no places.
        let _ = exchange;
        body
    }

    /// Notes that a target failed an attempt, or let the time of the whole exchange run out. Without this word a
    /// `total_timeout` says nothing about the upstream.
    fn failed(&self) {}
}

/// What operators see of whom an upstream lets in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AdmissionStatus {
    /// `closed`, `half_open` or `open`, if there is a breaker.
    pub breaker: Option<&'static str>,
    /// Requests under way of how many at most, if that is limited.
    pub concurrency: Option<(u32, u32)>,
    /// How long answers take without load, if the limit is found from that and it is known.
    pub unloaded: Option<Duration>,
    /// Whether the limit is found from how long answers take.
    pub is_adaptive: bool,
    /// Requests that wait for a place.
    pub queued: u32,
}

/// An upstream to which a policy may send requests.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The upstream.
    pub upstream: Arc<dyn Upstream>,
    /// Which requests it gets, in words: `10%`, `when request.method == "GET"`.
    pub which: String,
}

/// A chosen target. Dropping it gives its place among the target's requests under way back.
pub struct Picked {
    /// Its number in the upstream, which it keeps when others come and go.
    pub index: usize,
    /// Its address as configured; of a name, with the address it was resolved to.
    pub address: Arc<str>,
    /// What it is called in place of the client's `Host`, if the upstream replaces that.
    pub host: Option<HeaderValue>,
    /// Sends to it.
    pub target: Box<dyn Target>,
}

impl fmt::Debug for Picked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "target {} {}", self.index, self.address)
    }
}

/// What an attempt needs to know besides the request.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// The worker on which it runs, whose connections it uses.
    pub worker: usize,
    /// Time limits, already merged.
    pub timeouts: Timeouts,
    /// Where informational answers go.
    pub interim: Interim,
    /// Whose connection it serves, for targets that are told; none for the gateway's own requests.
    pub peers: Option<Peers>,
    /// Who wants to know what it took to connect, if anybody does.
    pub connected: Option<Arc<Connected>>,
    /// How long everything until the head of the answer may take, if that is limited.
    pub limit: Option<Duration>,
    /// When the whole exchange is given up, if it is the config that says so and not the client: a target that was
    /// sent the whole request and has not answered by then has failed.
    pub deadline: Option<Instant>,
}

/// The two ends of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peers {
    /// The client's address.
    pub client: std::net::SocketAddr,
    /// The address that it connected to.
    pub local: std::net::SocketAddr,
}

/// One server of an upstream, chosen for one attempt.
pub trait Target: Send {
    /// Sends the request and waits for the response head; the answer's body streams on and holds the
    /// target's place until it ends.
    fn send(
        self: Box<Self>,
        call: Call,
        request: Request,
    ) -> BoxFuture<'static, Result<Response, Failed>>;

    /// Opens a connection for raw bytes, which nobody else uses before or after. It holds the target's place until
    /// it is dropped.
    fn open(self: Box<Self>, call: Call) -> BoxFuture<'static, Result<Box<dyn Opened>, Fault>>;
}

/// A connection to a target on which nothing was said yet but what the upstream's settings want.
pub trait Opened: AsyncRead + AsyncWrite + Send + Unpin {
    /// Has the connection end in a way that the target does not take for the end of what is sent. It is dropped
    /// next.
    fn reset(&mut self);
}

/// A failed attempt.
#[derive(Debug)]
pub struct Failed {
    /// Why.
    pub fault: Fault,
    /// The request, if certainly not a byte of it was sent, or if the target says that it did nothing with it
    /// (RFC 9113, 8.7): then it may be sent elsewhere, whatever its method.
    pub unsent: Option<Box<Request>>,
}

impl Failed {
    /// Why another attempt may follow; none where it is not the target's doing.
    #[must_use]
    pub fn reason(&self) -> Option<RetryReason> {
        match self.fault.code {
            // Another target may have an idle connection where no new one can be opened.
            FaultCode::ConnectFailed
            | FaultCode::ConnectTimeout
            | FaultCode::Unresolved
            | FaultCode::NoResources => Some(RetryReason::Connect),
            // All connections to the target are full; another one may have room.
            FaultCode::UpstreamBusy if self.unsent.is_some() => Some(RetryReason::Connect),
            FaultCode::UpstreamReset if self.unsent.is_some() => Some(RetryReason::RefusedStream),
            FaultCode::UpstreamReset => Some(RetryReason::Reset),
            FaultCode::FirstByteTimeout => Some(RetryReason::Timeout),
            FaultCode::UpstreamInvalid => Some(RetryReason::Invalid),
            _ => None,
        }
    }
}

/// What operators see of a target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetStatus {
    /// Its address as configured.
    pub address: Arc<str>,
    /// Its own address; none while a name is not resolved. A name has a row for each of its addresses.
    pub resolved: Option<std::net::SocketAddr>,
    /// Whether it takes requests.
    pub healthy: bool,
    /// Why it takes none, or what the last health check said.
    pub reason: Option<String>,
    /// Requests under way.
    pub in_flight: u64,
    /// Whether it is out for a while because requests to it failed.
    pub ejected: bool,
    /// The zone it runs in.
    pub zone: Option<Arc<str>>,
    /// The region it runs in.
    pub region: Option<Arc<str>>,
    /// Its priority, zero first.
    pub priority: u32,
    /// Its weight as configured.
    pub weight: u32,
    /// The part of the requests that is meant for it now, in thousandths.
    pub share: u32,
}
