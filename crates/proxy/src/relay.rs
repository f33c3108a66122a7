//! Connections that are passed on as bytes: nothing here knows what is spoken.

mod flow;
mod hello;

use crate::connection::Stream;
use crate::gateway::Worker;
use crate::{admit, forward};
use base::shutdown::{Phase, Signal};
use flow::{Broken, Flows};
pub(crate) use hello::{Hello, read as read_hello};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode, Version};
use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;
use telemetry::RetryReason;
use telemetry::access::AccessLine;
use telemetry::metrics::{ListenerMetrics, Refusal};
use tokio::time::sleep;
use traffic::exchange::{Connection, Exchange};
use traffic::head::RequestHead;
use traffic::relay::Relay;
use traffic::snapshot::ListenerPart;
use traffic::upstream::{Call, Opened};
use traffic::{Body, Fault, FaultCode, Headers, Interim, Stage};

/// Status written down when the client broke off, as for requests.
const CLIENT_LEFT: u16 = 499;

/// Whether the client's address may use a relay; if not, that is counted.
pub(crate) fn lets_in(
    worker: &Worker,
    listener: &ListenerPart,
    relay: &Relay,
    connection: &Connection,
) -> bool {
    let is_in = relay.from.is_empty() || relay.from.hold(connection.peer_ip());
    if !is_in {
        listener.metrics.refused(Refusal::Denied).add(worker.index, 1);
    }
    is_in
}

/// A connection to be passed on.
pub(crate) struct Passing {
    worker: Arc<Worker>,
    relay: Arc<Relay>,
    metrics: Arc<ListenerMetrics>,
    /// What is known of it, in the words of a request: that is what targets are chosen by.
    exchange: Box<Exchange>,
    protocol: &'static str,
    flows: Flows,
}

impl Passing {
    /// One that asks for `server_name`, if it asks for any. From here on it is written down.
    pub(crate) fn new(
        worker: &Arc<Worker>,
        listener: &ListenerPart,
        relay: &Arc<Relay>,
        connection: Connection,
        server_name: Option<&str>,
    ) -> Self {
        let host = server_name.unwrap_or_default();
        let authority = HeaderValue::from_str(host);
        let head = RequestHead {
            method: Method::CONNECT,
            scheme: connection.scheme,
            host: Arc::from(host),
            authority: authority.unwrap_or_else(|_| HeaderValue::from_static("")),
            target: PathAndQuery::from_static("/"),
            version: Version::HTTP_11,
            headers: Headers::new(),
        };
        let is_tls = connection.tls.is_some() || server_name.is_some();
        let connection = Arc::new(connection);
        let mut exchange =
            admit::arrive(worker, &connection, head, Body::empty(), Interim::default(), None);
        exchange.revision = Arc::clone(&listener.revision);
        exchange.record.upstream = Some(Arc::clone(relay.upstream.name()));
        exchange.timeouts = relay.upstream.timeouts();
        Self {
            worker: Arc::clone(worker),
            relay: Arc::clone(relay),
            metrics: Arc::clone(&listener.metrics),
            exchange: Box::new(exchange),
            protocol: if is_tls { "tls" } else { "tcp" },
            flows: Flows::default(),
        }
    }

    /// Connects to a target and passes bytes on in both directions, until both have ended. Whatever breaks that off
    /// breaks off both connections, so that nobody takes it for the end.
    pub(crate) async fn run<I: Stream>(mut self, io: I, mut signal: Signal) {
        let mut ends = Ends { io, target: None, is_whole: false };
        let opened = tokio::select! {
            biased;
            opened = self.open() => opened,
            () = signal.reached(Phase::Stopping) => Err(stopped()),
        };
        let target = match opened {
            Ok(target) => ends.target.insert(target),
            Err(fault) => return self.fail(fault),
        };
        let ended = tokio::select! {
            biased;
            ended = self.pass(&mut ends.io, target) => ended,
            () = signal.reached(Phase::Stopping) => Err(Broken::Stopped),
        };
        match ended {
            Ok(()) => {
                self.exchange.record.complete = true;
                ends.is_whole = true;
            }
            Err(broken) => self.break_off(broken),
        }
    }

    /// Waits until the upstream lets the connection in, and tries its targets until one can be reached.
    async fn open(&mut self) -> Result<Box<dyn Opened>, Fault> {
        let began = self.worker.gateway.clock.now();
        let upstream = Arc::clone(&self.relay.upstream);
        forward::enter(&*upstream, &mut self.exchange).await?;
        let opened = self.reach().await;
        // From here on only the connection keeps its place, if anything does.
        if let Some(pass) = self.exchange.attempts.pass.take() {
            pass.settle(opened.as_ref().map(|_| StatusCode::OK));
        }
        let now = self.worker.gateway.clock.now();
        self.exchange.record.upstream_duration = now.saturating_duration_since(began);
        opened
    }

    async fn reach(&mut self) -> Result<Box<dyn Opened>, Fault> {
        let (relay, worker) = (Arc::clone(&self.relay), self.worker.index);
        let retries = relay.upstream.retries();
        loop {
            let picked = relay.upstream.pick(&self.exchange)?;
            let exchange = &mut self.exchange;
            exchange.attempts.count += 1;
            exchange.attempts.tried.push(picked.index);
            exchange.record.target = Some(Arc::clone(&picked.address));
            let call = Call {
                worker,
                timeouts: exchange.timeouts,
                peers: Some(forward::peers(exchange)),
                ..Call::default()
            };
            match picked.target.open(call).await {
                Ok(opened) => return Ok(opened),
                Err(fault) => {
                    let may_follow = exchange.attempts.count <= retries.max
                        && retries.on.contains(&RetryReason::Connect)
                        && relay.upstream.may_repeat(worker, RetryReason::Connect);
                    if !may_follow {
                        return Err(fault);
                    }
                }
            }
        }
    }

    /// Passes bytes on until both directions have ended.
    async fn pass<I: Stream>(
        &mut self,
        io: &mut I,
        target: &mut Box<dyn Opened>,
    ) -> Result<(), Broken> {
        let part: Duration = self.relay.idle / base::caps::RELAY_IDLE_PARTS;
        let mut pause = Box::pin(sleep(part));
        let flows = &mut self.flows;
        poll_fn(|cx| flows.poll(io, target, pause.as_mut(), part, cx)).await
    }

    fn fail(&mut self, mut fault: Fault) {
        self.worker.gateway.metrics.fault(self.worker.index, fault.code.index());
        let record = &mut self.exchange.record;
        record.status = fault.code.row().status;
        record.fault = Some(fault.code);
        record.cause = fault.cause.take().map(|cause| cause.to_string());
    }

    fn break_off(&mut self, broken: Broken) {
        let fault = |code, why: String| Fault::new(Stage::Forward, code).cause(why);
        match broken {
            Broken::Client(error) => {
                self.exchange.record.cause = Some(format!("the client broke off: {error}"));
                self.exchange.record.status = CLIENT_LEFT;
            }
            Broken::Target(error) => {
                let why = format!("the target broke off: {error}");
                self.fail(fault(FaultCode::UpstreamReset, why));
            }
            Broken::Idle => {
                let why = format!("nobody said anything for {:?}", self.relay.idle);
                self.fail(fault(FaultCode::ConnectionIdle, why));
            }
            Broken::Stopped => self.fail(stopped()),
        }
    }
}

/// Both connections. They are broken off unless all has passed, also when the task ends with its runtime.
struct Ends<I: Stream> {
    io: I,
    target: Option<Box<dyn Opened>>,
    is_whole: bool,
}

impl<I: Stream> Drop for Ends<I> {
    fn drop(&mut self) {
        if self.is_whole {
            return;
        }
        self.io.reset();
        if let Some(target) = &mut self.target {
            target.reset();
        }
    }
}

fn stopped() -> Fault {
    Fault::new(Stage::Forward, FaultCode::Draining).cause("the gateway has ended")
}

/// Whatever becomes of a connection, it is counted and written down once.
impl Drop for Passing {
    fn drop(&mut self) {
        if !self.exchange.record.complete && self.exchange.record.status == 0 {
            // Nothing else ends a task that has not come to its end: its runtime has gone.
            self.fail(stopped());
        }
        let (worker, exchange) = (&self.worker, &*self.exchange);
        let record = &exchange.record;
        let relayed = &self.metrics.relayed;
        let outcome = if record.complete { &relayed.ended } else { &relayed.failed };
        outcome.add(worker.index, 1);
        let (bytes_in, bytes_out) = (self.flows.bytes_in(), self.flows.bytes_out());
        relayed.bytes_in.add(worker.index, bytes_in);
        relayed.bytes_out.add(worker.index, bytes_out);
        let gateway = &worker.gateway;
        let now = gateway.clock.now();
        let status = if record.complete { StatusCode::OK.as_u16() } else { record.status };
        worker.log(|lines| {
            lines.write(&AccessLine {
                time: gateway.clock.wall(),
                request_id: exchange.id.as_str(),
                trace_id: "",
                revision: &exchange.revision,
                listener: &exchange.connection.listener,
                client: exchange.client(),
                protocol: self.protocol,
                method: "",
                host: &exchange.request.host,
                path: "",
                status,
                grpc_status: None,
                fault: record.fault.map(FaultCode::name),
                cause: record.cause.as_deref(),
                api: "",
                route: "",
                consumer: "",
                application: "",
                credential: "",
                upstream: record.upstream.as_deref().unwrap_or(""),
                target: record.target.as_deref().unwrap_or(""),
                attempts: exchange.attempts.count,
                bytes_in,
                bytes_out,
                duration: now.saturating_duration_since(exchange.arrived),
                upstream_duration: record.upstream_duration,
                user_agent: "",
                complete: record.complete,
                stages: None,
                headers: &crate::observe::Shown(exchange),
            });
        });
    }
}
