//! The listener for operators: `/metrics`, `/status`, `/livez`, `/readyz`, `/log`, `/limits`. It runs beside the
//! traffic, on threads of its own. It asks for no login, so it answers only to address literals and
//! `localhost` as host: a web page cannot reach it under a name of its own (DNS rebinding).

use crate::platform::Shared;
use base::shutdown::{Phase, Signal};
use base::{Endpoint, Report};
use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use policy::files::{Shelf, Standing};
use policy::plan::Plans;
use policy::store::Stores;
use proxy::Gateway;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use telemetry::Diagnostics;
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use traffic::memory::Want;

/// What is left of plans and limits.
mod limits;

/// Operators served at a time.
const CONNECTIONS_MAX: usize = 64;
/// Bytes of a log level.
const LEVEL_BYTES_MAX: usize = 256;
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

type Answer = Response<Full<Bytes>>;

/// What operators see.
#[derive(Debug)]
pub(crate) struct Board {
    gateway: Arc<Gateway>,
    diagnostics: Diagnostics,
    signal: Signal,
    started: Instant,
    last_reload: Mutex<Option<Value>>,
    last_upgrade: Mutex<Option<Value>>,
    /// Where the listeners are really bound: a config may leave the port to the system.
    addresses: Mutex<HashMap<Arc<str>, Endpoint>>,
    /// The plans by which consumers use APIs.
    plans: Mutex<Arc<Plans>>,
    /// The files that policies go by.
    files: Arc<Shelf>,
    /// Where gateways share counts.
    stores: Mutex<Arc<Stores>>,
    /// The control plane, if there is one.
    platform: Mutex<Option<Arc<Shared>>>,
    /// Told once when operators are served by another process.
    is_replaced: Notify,
}

impl Board {
    pub(crate) fn new(
        gateway: &Arc<Gateway>,
        diagnostics: Diagnostics,
        signal: Signal,
        files: &Arc<Shelf>,
    ) -> Arc<Self> {
        let started = gateway.clock.now();
        let gateway = Arc::clone(gateway);
        Arc::new(Self {
            gateway,
            diagnostics,
            signal,
            started,
            last_reload: Mutex::default(),
            last_upgrade: Mutex::default(),
            addresses: Mutex::default(),
            plans: Mutex::default(),
            files: Arc::clone(files),
            stores: Mutex::default(),
            platform: Mutex::default(),
            is_replaced: Notify::new(),
        })
    }

    /// Notes how a reload went.
    pub(crate) fn reloaded(&self, at: SystemTime, outcome: &Result<(), String>, report: &Report) {
        let reload = json!({
            "at_ms": base::clock::unix_ms(at),
            "adopted": outcome.is_ok(),
            "reason": outcome.as_ref().err(),
            "problems": report.problems(),
        });
        *self.last_reload.lock().unwrap_or_else(PoisonError::into_inner) = Some(reload);
    }

    /// Notes how an upgrade went: the process that took over, or why none did.
    pub(crate) fn upgraded(&self, at: SystemTime, outcome: &Result<u32, String>) {
        if outcome.is_ok() {
            self.is_replaced.notify_one();
        }
        let upgrade = json!({
            "at_ms": base::clock::unix_ms(at),
            "process": outcome.as_ref().ok(),
            "reason": outcome.as_ref().err(),
        });
        *self.last_upgrade.lock().unwrap_or_else(PoisonError::into_inner) = Some(upgrade);
    }

    /// Notes where the listeners are bound.
    pub(crate) fn serving<'a>(&self, all: impl Iterator<Item = (&'a Arc<str>, &'a Endpoint)>) {
        let all = all.map(|(name, address)| (Arc::clone(name), address.clone())).collect();
        *self.addresses.lock().unwrap_or_else(PoisonError::into_inner) = all;
    }

    /// Notes the plans that are served by, and where gateways share counts.
    pub(crate) fn planned(&self, plans: Arc<Plans>, stores: Arc<Stores>) {
        *self.plans.lock().unwrap_or_else(PoisonError::into_inner) = plans;
        *self.stores.lock().unwrap_or_else(PoisonError::into_inner) = stores;
    }

    /// Notes the control plane of this process.
    pub(crate) fn joined(&self, platform: &Arc<Shared>) {
        *self.platform.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(platform));
    }

    fn state(&self) -> &'static str {
        match self.signal.phase() {
            Phase::Running => "serving",
            Phase::Leaving => "leaving",
            Phase::Draining => "draining",
            Phase::Stopping => "stopping",
        }
    }

    fn status(&self) -> Value {
        let snapshot = self.gateway.snapshot.load_full();
        let addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let listeners: Vec<Value> = snapshot
            .listeners
            .iter()
            .map(|part| {
                json!({
                    "name": &*part.name,
                    "bind": addresses.get(&part.name).unwrap_or(&part.bind).to_string(),
                    "tls": part.tls.is_some(),
                    "speaks": part.speaks(),
                    "connections": part.metrics.active.sum(),
                })
            })
            .collect();
        let upstreams: Vec<Value> = snapshot
            .upstreams
            .iter()
            .map(|upstream| {
                let admission = upstream.admission();
                json!({
                    "name": &**upstream.name(),
                    "breaker": admission.breaker,
                    "concurrency": admission.concurrency.map(|(taken, most)| {
                        json!({
                            "in_flight": taken,
                            "max": most,
                            "queued": admission.queued,
                            "adaptive": admission.is_adaptive,
                            "unloaded_ms": admission.unloaded.map(|it| it.as_secs_f64() * 1e3),
                        })
                    }),
                    "targets": targets(&**upstream),
                })
            })
            .collect();
        let broken: Vec<&str> =
            snapshot.routes.iter().filter(|r| r.broken.is_some()).map(|r| &*r.id).collect();
        let uptime = self.gateway.clock.now().saturating_duration_since(self.started);
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "state": self.state(),
            "revision": &*snapshot.revision,
            "uptime_s": uptime.as_secs(),
            "routes": snapshot.routes.len(),
            "overload": overload(self.gateway.metrics.overload().now()),
            "broken_routes": broken,
            "listeners": listeners,
            "upstreams": upstreams,
            "files": self.files.standings().iter().map(file).collect::<Vec<_>>(),
            "stores": self.stores.lock().unwrap_or_else(PoisonError::into_inner).status(),
            "control": self
                .platform
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .as_deref()
                .map(Shared::status),
            "process": std::process::id(),
            "last_upgrade": *self.last_upgrade.lock().unwrap_or_else(PoisonError::into_inner),
            "last_reload": *self.last_reload.lock().unwrap_or_else(PoisonError::into_inner),
        })
    }
}

fn file(standing: &Standing) -> Value {
    json!({
        "file": standing.path.display().to_string(),
        "is": standing.what,
        "entries": standing.entries,
        "read_at_ms": base::clock::unix_ms(standing.read),
        "problem": standing.problem,
    })
}

/// What the node goes without, and why.
fn overload(now: telemetry::metrics::OverloadNow) -> Value {
    let [taken, held, ceiling] = now.memory;
    let want = Want::ALL.into_iter().find(|want| *want as u32 == now.want).unwrap_or_default();
    json!({
        "workers": now.workers,
        "queue_delay_ms": u64::try_from(now.delay.as_millis()).unwrap_or(u64::MAX),
        "memory": { "taken": taken, "held": held, "ceiling": ceiling, "want": want.name() },
    })
}

fn targets(upstream: &dyn traffic::upstream::Upstream) -> Vec<Value> {
    let target = |target: traffic::upstream::TargetStatus| {
        json!({
            "address": &*target.address,
            "resolved": target.resolved.map(|address| address.to_string()),
            "zone": target.zone.as_deref(),
            "region": target.region.as_deref(),
            "priority": target.priority,
            "weight": target.weight,
            "share_permille": target.share,
            "healthy": target.healthy,
            "reason": target.reason,
            "in_flight": target.in_flight,
            "ejected": target.ejected,
        })
    };
    upstream.status().into_iter().map(target).collect()
}

/// Serves operators from now on, on the runtime that is entered.
///
/// # Errors
/// What the system says of the socket.
pub(crate) fn serve(
    socket: std::net::TcpListener,
    board: Arc<Board>,
) -> std::io::Result<SocketAddr> {
    socket.set_nonblocking(true)?;
    let socket = TcpListener::from_std(socket)?;
    let address = socket.local_addr()?;
    drop(tokio::spawn(accept(socket, board)));
    Ok(address)
}

/// Serves until another process does.
async fn accept(socket: TcpListener, board: Arc<Board>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let accepted = tokio::select! {
            biased;
            () = board.is_replaced.notified() => return,
            accepted = socket.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let board = Arc::clone(&board);
        drop(tokio::spawn(async move {
            let service = service_fn(move |request| {
                let board = Arc::clone(&board);
                async move { Ok::<_, Infallible>(answer(&board, request).await) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "an operator's connection ended early");
            }
            drop(place);
        }));
    }
}

async fn answer(board: &Board, request: Request<Incoming>) -> Answer {
    if !is_local_name(request.headers().get(HOST)) {
        return text(StatusCode::FORBIDDEN, "the admin listener answers to addresses, not names\n");
    }
    match (request.method(), request.uri().path()) {
        (&Method::PUT, "/log") => set_level(board, request).await,
        (&Method::POST, "/limits/reset") => limits::reset(board, &request),
        (&Method::GET | &Method::HEAD, "/limits") => limits::show(board, request.uri().query()),
        (_, "/limits/reset") => not_allowed("POST"),
        (&Method::GET | &Method::HEAD, path) => show(board, path),
        (_, "/log") => not_allowed("GET, HEAD, PUT"),
        (_, "/metrics" | "/status" | "/livez" | "/readyz" | "/limits") => not_allowed("GET, HEAD"),
        _ => text(StatusCode::NOT_FOUND, "nothing is here\n"),
    }
}

fn show(board: &Board, path: &str) -> Answer {
    match path {
        "/livez" => text(StatusCode::OK, "ok\n"),
        "/readyz" if board.signal.phase() == Phase::Running => text(StatusCode::OK, "ok\n"),
        "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
        "/log" => text(StatusCode::OK, &format!("{}\n", board.diagnostics.level())),
        "/metrics" => {
            let metrics = board.gateway.metrics.encode();
            typed(StatusCode::OK, telemetry::metrics::CONTENT_TYPE, metrics)
        }
        "/status" => {
            let status = serde_json::to_string_pretty(&board.status()).unwrap_or_default();
            typed(StatusCode::OK, "application/json", status + "\n")
        }
        "/" => text(StatusCode::OK, "/metrics\n/status\n/livez\n/readyz\n/log\n/limits\n"),
        _ => text(StatusCode::NOT_FOUND, "nothing is here\n"),
    }
}

async fn set_level(board: &Board, request: Request<Incoming>) -> Answer {
    let body = Limited::new(request.into_body(), LEVEL_BYTES_MAX).collect().await;
    let Ok(body) = body else {
        return text(StatusCode::PAYLOAD_TOO_LARGE, "a level is short, such as `debug`\n");
    };
    let bytes = body.to_bytes();
    let level = std::str::from_utf8(&bytes).unwrap_or_default().trim();
    match board.diagnostics.set_level(level) {
        Ok(()) => {
            tracing::info!(level, "the log level was changed");
            text(StatusCode::OK, &format!("{}\n", board.diagnostics.level()))
        }
        Err(why) => text(StatusCode::BAD_REQUEST, &format!("{why}\n")),
    }
}

fn is_local_name(host: Option<&HeaderValue>) -> bool {
    let Some(host) = host.and_then(|host| host.to_str().ok()) else { return false };
    let name = traffic::canonical::host(host).unwrap_or_default();
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost" || address.parse::<IpAddr>().is_ok()
}

fn not_allowed(methods: &'static str) -> Answer {
    let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, "the method is not allowed here\n");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    answer
}

fn text(status: StatusCode, text: &str) -> Answer {
    typed(status, "text/plain; charset=utf-8", text.to_owned())
}

fn typed(status: StatusCode, kind: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
