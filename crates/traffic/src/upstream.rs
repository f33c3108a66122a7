//! Where requests go, as the stages see it; crate `upstream` implements it.

use crate::BoxFuture;
use crate::exchange::Exchange;
use crate::fault::Fault;
use crate::message::{Interim, Request, Response};
use crate::observe::Connected;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

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

/// A named backend: targets that can all answer the same requests.
pub trait Upstream: Send + Sync + fmt::Debug {
    /// Its name in the config.
    fn name(&self) -> &Arc<str>;

    /// Time limits where the route sets none.
    fn timeouts(&self) -> Timeouts;

    /// How many times a request that is safe to repeat is tried again.
    fn retries_max(&self) -> u32;

    /// Notes that an attempt is a repetition, for the metrics.
    fn count_retry(&self, worker: usize);

    /// Chooses a target among the healthy ones that this exchange has not tried yet.
    ///
    /// # Errors
    /// `no_target` or `unresolved`.
    fn pick(&self, exchange: &Exchange) -> Result<Picked, Fault>;

    /// What operators see of it.
    fn status(&self) -> Vec<TargetStatus>;
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
    /// Its position in the upstream.
    pub index: usize,
    /// Its address as configured.
    pub address: Arc<str>,
    /// Sends to it.
    pub target: Box<dyn Target>,
}

impl fmt::Debug for Picked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "target {} {}", self.index, self.address)
    }
}

/// What an attempt needs to know besides the request.
#[derive(Clone, Debug)]
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
}

/// A failed attempt.
#[derive(Debug)]
pub struct Failed {
    /// Why.
    pub fault: Fault,
    /// The request, if certainly not a byte of it was sent, or if the target says that it did nothing with it
    /// (RFC 9113, 8.7): then it may be sent elsewhere, whatever its method.
    pub unsent: Option<Request>,
}

/// What operators see of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetStatus {
    /// Its address as configured.
    pub address: Arc<str>,
    /// The addresses its name stands for now.
    pub resolved: Vec<std::net::SocketAddr>,
    /// Whether it takes requests.
    pub healthy: bool,
    /// Why it takes none, or what the last health check said.
    pub reason: Option<String>,
    /// Requests under way.
    pub in_flight: u64,
}
