//! The way out for whoever is not a client's request. A destination is an upstream of its own with one
//! target, so that it has the same pools, TLS, time-outs and metrics as any other.

use crate::backend;
use crate::inward::why_inward;
use crate::reach;
use crate::spec::{
    Balance, ChoiceSpec, EgressSpec, HostHeader, Protocol, TargetHost, TargetSpec, TlsSpec,
    TroubleSpec, UpstreamSpec,
};
use crate::world::World;
use base::caps::POOL_IDLE_PER_TARGET;
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Version};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use traffic::exchange::Connection;
use traffic::head::{RequestHead, Scheme};
use traffic::outbound::{Destination, Outbound, Remote};
use traffic::upstream::{Call, Retries, Timeouts, Upstream};
use traffic::{BoxFuture, Exchange, Fault, FaultCode, Headers, Request, Response, Stage};

/// How long an idle connection is kept.
const KEPT: Duration = Duration::from_secs(55);

/// The way out of a gateway under one config. Without a world nothing comes alive: destinations are only
/// looked at, and calls fail.
#[must_use]
pub fn outbound(egress: EgressSpec, world: Option<&World>) -> Arc<dyn Outbound> {
    Arc::new(Ways { egress, world: world.cloned() })
}

struct Ways {
    egress: EgressSpec,
    world: Option<World>,
}

impl fmt::Debug for Ways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ways").field("alive", &self.world.is_some()).finish_non_exhaustive()
    }
}

impl Outbound for Ways {
    fn open(&self, destination: Destination) -> Result<Arc<dyn Remote>, String> {
        let target = destination.url.path_and_query().cloned();
        let target = target.unwrap_or_else(|| PathAndQuery::from_static("/"));
        let spec = self.spec(destination)?;
        let host = match &spec.host {
            HostHeader::Fixed(host) => host.clone(),
            _ => HeaderValue::from_static(""),
        };
        let timeouts = spec.timeouts;
        let manner = spec.targets.iter().map(|target| reach::manner(target, &spec)).collect();
        let Some(world) = &self.world else {
            backend::check(&spec)?;
            return Ok(Arc::new(Way { target, host, timeouts, manner, alive: None }));
        };
        let upstream = backend::build(spec, world)?;
        let alive = Some(Alive { upstream, world: world.clone() });
        Ok(Arc::new(Way { target, host, timeouts, manner, alive }))
    }
}

impl Ways {
    fn spec(&self, destination: Destination) -> Result<UpstreamSpec, String> {
        let Destination { url, timeouts, retries_max, ca_pem, is_http2 } = destination;
        let authority = url.authority().ok_or_else(|| format!("`{url}` names no host"))?;
        let is_safe = url.scheme_str() == Some("https");
        let name = authority.host();
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        let host = bare.parse().map_or_else(|_| TargetHost::Name(name.to_owned()), TargetHost::Ip);
        let port = authority.port_u16().unwrap_or(if is_safe { 443 } else { 80 });
        let ca_pem = ca_pem.or_else(|| self.egress.ca_pem.clone());
        let text: Arc<str> = format!("{name}:{port}").into();
        let is_direct = self.egress.no_proxy.iter().any(|rule| rule.holds(&host));
        let through = self.egress.proxy.as_ref().filter(|_| !is_direct);
        if let (TargetHost::Ip(address), true) = (&host, self.egress.is_walled)
            && let Some(why) = why_inward(*address)
        {
            return Err(format!("`{address}` is no destination for a workspace: {why}"));
        }
        let target = TargetSpec::new(text, host, port);
        let target = match through {
            Some(proxy) => target.through(proxy),
            None => target,
        };
        let workspace = self.egress.workspace.as_ref().map(|it| format!("{it}."));
        Ok(UpstreamSpec {
            // No upstream of a config has a slash in its name.
            name: format!("{}outbound/{name}", workspace.unwrap_or_default()).into(),
            is_walled: self.egress.is_walled && through.is_none(),
            targets: vec![target],
            balance: Balance::RoundRobin,
            choice: ChoiceSpec::default(),
            protocol: if is_http2 { Protocol::Http2 } else { Protocol::Auto },
            tls: is_safe.then(|| TlsSpec { ca_pem, ..TlsSpec::default() }),
            host: HostHeader::Fixed(
                HeaderValue::from_str(authority.as_str())
                    .map_err(|_| format!("`{authority}` cannot be sent as `Host`"))?,
            ),
            health: None,
            timeouts,
            trouble: TroubleSpec {
                retries: Retries { max: retries_max, ..Retries::default() },
                ..TroubleSpec::default()
            },
            idle_max: usize::from(POOL_IDLE_PER_TARGET),
            idle_timeout: KEPT,
            proxy_protocol: None,
        })
    }
}

struct Way {
    target: PathAndQuery,
    host: HeaderValue,
    timeouts: Timeouts,
    manner: String,
    alive: Option<Alive>,
}

#[derive(Clone)]
struct Alive {
    upstream: Arc<dyn Upstream>,
    world: World,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Way").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Remote for Way {
    fn target(&self) -> &PathAndQuery {
        &self.target
    }

    fn manner(&self) -> &str {
        &self.manner
    }

    fn call(
        &self,
        worker: Option<usize>,
        mut request: Request,
    ) -> BoxFuture<'static, Result<Response, Fault>> {
        let Some(alive) = self.alive.clone() else {
            let fault = Fault::new(Stage::Forward, FaultCode::NoTarget);
            return Box::pin(async { Err(fault.cause("nothing is alive here")) });
        };
        if !request.headers.contains(HOST) {
            request.headers.append(HOST, self.host.clone());
        }
        let background = alive.world.background.clone();
        // Whoever is on no worker shares a shelf of connections that belongs to none.
        let shelf = worker.unwrap_or(alive.world.workers);
        let call = within(self.timeouts, alive.attempts(shelf, self.timeouts, request));
        if worker.is_some() {
            return Box::pin(call);
        }
        let mut task = Spawned(background.spawn(call));
        Box::pin(async move {
            (&mut task.0).await.unwrap_or_else(|error| {
                Err(Fault::new(Stage::Forward, FaultCode::Internal).cause(error.to_string()))
            })
        })
    }
}

/// Work elsewhere that nobody needs any more once this is dropped.
struct Spawned(JoinHandle<Result<Response, Fault>>);

impl Drop for Spawned {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn within(
    timeouts: Timeouts,
    call: impl Future<Output = Result<Response, Fault>>,
) -> Result<Response, Fault> {
    let Some(limit) = timeouts.total else { return call.await };
    timeout(limit, call).await.unwrap_or_else(|_| {
        let fault = Fault::new(Stage::Forward, FaultCode::TotalTimeout);
        Err(fault.cause(format!("no answer within {limit:?}")))
    })
}

impl Alive {
    async fn attempts(
        self,
        worker: usize,
        timeouts: Timeouts,
        request: Request,
    ) -> Result<Response, Fault> {
        let Self { upstream, world } = self;
        let Request { method, target, headers, mut body, protocol } = request;
        let mut exchange = exchange(&world, worker, &method, &target);
        loop {
            let picked = upstream.pick(&exchange)?;
            exchange.attempts.count += 1;
            exchange.attempts.tried.push(picked.index);
            let again = method.is_idempotent().then(|| body.copy()).flatten();
            let (method, target, headers) = (method.clone(), target.clone(), headers.clone());
            let protocol = protocol.clone();
            let request = Request { method, target, headers, body, protocol };
            let call = Call { worker, timeouts, ..Call::default() };
            let failed = match picked.target.send(call, request).await {
                Ok(response) => return Ok(response),
                Err(failed) => failed,
            };
            let reason = failed.reason().filter(|reason| upstream.retries().on.contains(reason));
            let may_follow = exchange.attempts.count <= upstream.retries().max;
            let next = failed.unsent.map(|unsent| unsent.body).or(again);
            let (Some(reason), Some(next), true) = (reason, next, may_follow) else {
                return Err(failed.fault);
            };
            if !upstream.may_repeat(worker, reason) {
                return Err(failed.fault);
            }
            body = next;
        }
    }
}

/// What stands for a client's request where a target is chosen.
fn exchange(world: &World, worker: usize, method: &Method, target: &PathAndQuery) -> Exchange {
    let nowhere = std::net::SocketAddr::from(([0, 0, 0, 0], 0));
    let connection = Connection::plain(Arc::from(""), nowhere, nowhere);
    let head = RequestHead {
        method: method.clone(),
        scheme: Scheme::Http,
        host: Arc::from(""),
        authority: HeaderValue::from_static(""),
        target: target.clone(),
        version: Version::HTTP_11,
        headers: Headers::new(),
    };
    Exchange::new(&world.clock, worker, Arc::new(connection), head)
}
