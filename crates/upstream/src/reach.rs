//! How a target is reached under one config: its connections, how more of them are opened, and how
//! requests are addressed.

use crate::connect::{ConnectError, Connector, Link};
use crate::http1::Http1;
use crate::pool::{Held, Pool, Shelf};
use crate::progress::Progress;
use crate::spec::{Balance, HostHeader, LOCALHOST, Protocol, TargetHost, TargetSpec, UpstreamSpec};
use crate::target::{TargetCell, Task};
use crate::tls;
use crate::world::{Io, World};
use base::Clock;
use base::caps::STREAM_WAIT_MS;
use http::HeaderValue;
use http::header::HOST;
use http::uri::Scheme;
use std::pin::pin;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use telemetry::UpstreamMetrics;
use tokio::sync::SemaphorePermit;
use tokio::time::{sleep, timeout};
use traffic::Headers;
use traffic::upstream::Peers;

/// A target with everything it takes to send to it.
pub(crate) struct Reach {
    pub(crate) cell: Arc<TargetCell>,
    pub(crate) metrics: Arc<UpstreamMetrics>,
    pool: Arc<Pool>,
    connector: Arc<Connector>,
    /// For tunnels, where HTTP/2 is negotiated: few targets take them over it.
    tunnels: Option<Connector>,
    /// In place of the client's `Host`, if it is replaced.
    host: Option<HeaderValue>,
    pub(crate) clock: Clock,
    /// Whether the time that answers take decides who is chosen.
    pub(crate) is_timed: bool,
    /// How long a request waits for a place on connections that others fill.
    pub(crate) stream_wait: Duration,
}

/// What kind of connection is wanted.
#[derive(Clone, Copy)]
pub(crate) struct Wish<'a> {
    /// On whose behalf, and with whose connections.
    pub(crate) worker: usize,
    /// How long it may take.
    pub(crate) limit: Option<Duration>,
    /// Only a new one will do.
    pub(crate) is_fresh: bool,
    /// The client's connection that it serves.
    pub(crate) peers: Option<Peers>,
    /// Who is told that a connection is being opened.
    pub(crate) progress: &'a Progress<'a>,
}

/// What somebody gets who waits until a connection has room.
enum Turn<'a> {
    /// A place on a connection of others.
    Held(Held),
    /// To open one that others will share.
    Shared(SemaphorePermit<'a>),
    /// To open one for itself.
    Own,
}

impl Reach {
    /// Of one target of an upstream. What others share goes by the latest config only.
    ///
    /// # Errors
    /// In words, when no connection could ever be made.
    pub(crate) fn new(
        target: &TargetSpec,
        spec: &UpstreamSpec,
        cell: Arc<TargetCell>,
        world: &World,
        is_latest: bool,
    ) -> Result<Self, String> {
        let connector = Connector::new(target, spec.tls.as_ref(), spec.protocol, world)?;
        let connector = connector.telling(spec.proxy_protocol);
        let tunnels = match (&spec.tls, spec.protocol) {
            (Some(tls), Protocol::Auto) => {
                let connector = Connector::new(target, Some(tls), Protocol::Http1, world)?;
                Some(connector.telling(spec.proxy_protocol))
            }
            _ => None,
        };
        let host = match &spec.host {
            HostHeader::Preserve => None,
            HostHeader::Target => Some(own_host(target, &connector.scheme())?),
            HostHeader::Fixed(host) => Some(host.clone()),
        };
        Ok(Self {
            metrics: world.metrics.upstream(&spec.name),
            pool: pool(target, spec, world, is_latest),
            connector: Arc::new(connector),
            tunnels,
            host,
            clock: world.clock.clone(),
            is_timed: matches!(spec.balance, Balance::PeakEwma),
            stream_wait: stream_wait(spec),
            cell,
        })
    }

    /// Now.
    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// How more connections are opened.
    pub(crate) fn connector(&self) -> &Arc<Connector> {
        &self.connector
    }

    /// A connection for one request, and whether others used it before. With `is_fresh` it is a new
    /// one.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn hold(&self, wish: Wish<'_>) -> Result<(Held, bool), ConnectError> {
        if !wish.is_fresh
            && let Some(held) = self.take(wish)
        {
            return Ok((held, true));
        }
        // Boxed, so that a request that needs no new connection does not carry what opening one takes.
        Box::pin(self.fetch(wish)).await
    }

    /// A connection for a request that may become a tunnel.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn hold_tunnel(&self, wish: Wish<'_>) -> Result<(Held, bool), ConnectError> {
        let Some(connector) = &self.tunnels else {
            return self.hold(wish).await;
        };
        match if wish.is_fresh { None } else { self.take(wish) } {
            Some(Held::Http2(stream)) if !stream.http2().takes_tunnels() => {}
            Some(held) => return Ok((held, true)),
            None => {}
        }
        wish.progress.connecting();
        let opened = Box::pin(connect(&self.cell, connector, wish.limit, wish.peers)).await;
        if opened.is_ok() {
            wish.progress.connected();
        }
        match opened.inspect_err(|_| self.metrics.connect_failed.add(wish.worker, 1))? {
            Link::Http1(link) => {
                self.metrics.connections_opened.add(wish.worker, 1);
                Ok((Held::Http1(link), false))
            }
            Link::Http2(_) => {
                Err(ConnectError::Invalid("the target speaks HTTP/2 unasked".to_owned()))
            }
        }
    }

    /// A new connection, or one that somebody else opens meanwhile.
    async fn fetch(&self, wish: Wish<'_>) -> Result<(Held, bool), ConnectError> {
        let is_alone = self.connector.tells() || !self.connector.may_speak_http2();
        if is_alone || self.pool.prefers_http1() {
            return self.open(wish).await.map(|held| (held, false));
        }
        // Others can share what is opened here, so they wait for it rather than open their own.
        let shelf = self.pool.shelf(wish.worker);
        let turn = self.turn(wish, shelf).await?;
        match turn {
            Turn::Held(held) => Ok((held, true)),
            Turn::Own => self.open(wish).await.map(|held| (held, false)),
            Turn::Shared(turn) => {
                let opened = self.open(wish).await;
                if let Err(error) = &opened {
                    shelf.fail(error);
                }
                drop(turn);
                opened.map(|held| (held, false))
            }
        }
    }

    /// Waits until there is room on a connection, or one more may be opened: as long as opening takes for who does
    /// so already, and a time of its own for those that are full.
    async fn turn<'s>(&self, wish: Wish<'_>, shelf: &'s Shelf) -> Result<Turn<'s>, ConnectError> {
        let before = shelf.failures();
        let mut patience = pin!(sleep(self.stream_wait));
        loop {
            let mut freed = pin!(shelf.freed.notified());
            // What becomes free from here on is not missed.
            freed.as_mut().enable();
            let turn = match wish.limit {
                Some(limit) => timeout(limit, shelf.gate.acquire()).await,
                None => Ok(shelf.gate.acquire().await),
            };
            let Ok(turn) = turn.map_err(|_| self.busy("was ready", wish.limit))? else {
                return Ok(Turn::Own);
            };
            if let Some(error) = shelf.failed_since(before) {
                return Err(error);
            }
            if !wish.is_fresh
                && let Some(held) = self.take(wish)
            {
                return Ok(Turn::Held(held));
            }
            if self.pool.prefers_http1() {
                return Ok(Turn::Own);
            }
            if shelf.may_open_http2() {
                return Ok(Turn::Shared(turn));
            }
            // Whoever needs no room is not held up.
            drop(turn);
            tokio::select! {
                () = freed => {}
                () = &mut patience => return Err(self.busy("had room", Some(self.stream_wait))),
            }
            if let Some(held) = self.take(wish) {
                return Ok(Turn::Held(held));
            }
        }
    }

    fn busy(&self, what: &str, wait: Option<Duration>) -> ConnectError {
        let (target, wait) = (&self.cell.text, wait.unwrap_or_default());
        ConnectError::Busy(format!("no connection to {target} {what} within {wait:?}"))
    }

    fn take(&self, wish: Wish<'_>) -> Option<Held> {
        let told = wish.peers.filter(|_| self.connector.tells());
        let held =
            self.pool.take(wish.worker, self.clock.now(), told, &|at| self.cell.address() == at)?;
        self.metrics.pool_reused.add(wish.worker, 1);
        Some(held)
    }

    /// A connection for raw bytes.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn raw(&self, wish: Wish<'_>) -> Result<Box<dyn Io>, ConnectError> {
        let Wish { worker, limit, peers, .. } = wish;
        let opened = connect_raw(&self.cell, &self.connector, limit, peers).await;
        let counter = match &opened {
            Ok(_) => &self.metrics.connections_opened,
            Err(_) => &self.metrics.connect_failed,
        };
        counter.add(worker, 1);
        opened
    }

    async fn open(&self, wish: Wish<'_>) -> Result<Held, ConnectError> {
        let Wish { worker, limit, peers, progress, .. } = wish;
        progress.connecting();
        let connect = connect(&self.cell, &self.connector, limit, peers);
        match connect.await {
            Ok(link) => {
                progress.connected();
                self.metrics.connections_opened.add(worker, 1);
                Ok(self.pool.adopt(worker, link, self.clock.now()))
            }
            Err(error) => {
                self.metrics.connect_failed.add(worker, 1);
                Err(error)
            }
        }
    }

    /// Puts a connection back whose answer has ended.
    pub(crate) fn put_back(&self, worker: usize, link: Box<Http1>) {
        self.pool.put(worker, link, self.clock.now());
    }

    /// What the target is called in place of the client's `Host`, if that is replaced.
    pub(crate) const fn host(&self) -> Option<&HeaderValue> {
        self.host.as_ref()
    }

    /// Replaces the client's `Host`, if the config says so; returns what it was.
    pub(crate) fn name_host(&self, headers: &mut Headers) -> Option<HeaderValue> {
        let host = self.host.as_ref()?;
        let before = headers.get(HOST).cloned();
        headers.insert(HOST, host.clone());
        before
    }

    /// The scheme of requests to the target.
    pub(crate) fn scheme(&self) -> Scheme {
        self.connector.scheme()
    }
}

/// As long as requests of this upstream wait for a place anyhow; where nobody says, a moment.
fn stream_wait(spec: &UpstreamSpec) -> Duration {
    spec.trouble.concurrency.map_or(STREAM_WAIT, |concurrency| concurrency.wait)
}

/// Opens a connection to a target within a time limit.
///
/// # Errors
/// Why there is none.
pub(crate) async fn connect(
    cell: &TargetCell,
    connector: &Connector,
    limit: Option<Duration>,
    peers: Option<Peers>,
) -> Result<Link, ConnectError> {
    let address = [cell.address().clone()];
    let connect = connector.connect(&address, 0, limit, peers);
    within(cell, limit, connect).await
}

/// The same, for raw bytes.
///
/// # Errors
/// Why there is none.
pub(crate) async fn connect_raw(
    cell: &TargetCell,
    connector: &Connector,
    limit: Option<Duration>,
    peers: Option<Peers>,
) -> Result<Box<dyn Io>, ConnectError> {
    let address = [cell.address().clone()];
    let connect = connector.connect_raw(&address, 0, limit, peers);
    within(cell, limit, connect).await
}

/// Gives up what takes too long.
async fn within<T>(
    cell: &TargetCell,
    limit: Option<Duration>,
    connect: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    match limit {
        None => connect.await,
        Some(limit) => timeout(limit, connect).await.unwrap_or_else(|_| {
            let why = format!("no connection to {} within {limit:?}", cell.text);
            Err(ConnectError::Timeout(why))
        }),
    }
}

/// The target's host and, unless it is the scheme's own, its port; `localhost` for a Unix socket.
///
/// # Errors
/// When the host does not fit into a header.
pub(crate) fn own_host(target: &TargetSpec, scheme: &Scheme) -> Result<HeaderValue, String> {
    let host = match target.own_host() {
        TargetHost::Unix(_) => return Ok(HeaderValue::from_static(LOCALHOST)),
        TargetHost::Ip(std::net::IpAddr::V6(address)) => format!("[{address}]"),
        TargetHost::Ip(address) => address.to_string(),
        TargetHost::Name(name) | TargetHost::Service(name) => name.clone(),
    };
    let own_port = if *scheme == Scheme::HTTPS { 443 } else { 80 };
    let port = target.own_port();
    let text = if port == own_port { host } else { format!("{host}:{port}") };
    HeaderValue::try_from(&text).map_err(|_| format!("`{text}` cannot be sent as `Host`"))
}

/// Tells apart how connections to a target are made: those that were made in another way must not be used.
pub(crate) fn manner(target: &TargetSpec, spec: &UpstreamSpec) -> String {
    let print = tls::fingerprint(spec.tls.as_ref());
    let UpstreamSpec { protocol, proxy_protocol, is_walled, .. } = spec;
    let login = target.through.as_ref().and_then(|through| through.authorization.as_ref());
    let login = login.map(|login| tls::digest_text(login.as_bytes())).unwrap_or_default();
    let wall = if *is_walled { "/walled" } else { "" };
    format!("{protocol:?}/{print}/{proxy_protocol:?}/{}/{login}{wall}", target.way())
}

/// The connections to a target that were made as this config wants them.
fn pool(target: &TargetSpec, spec: &UpstreamSpec, world: &World, is_latest: bool) -> Arc<Pool> {
    let manner = manner(target, spec);
    let id = format!("upstream/{}/target/{}/pool/{manner}", spec.name, target.text);
    let pool = world.state.cell(&id, || Pool::new(world.shelves()));
    if is_latest {
        pool.limit(spec.idle_max, spec.idle_timeout);
    }
    let mut sweeping = pool.sweeping.lock().unwrap_or_else(PoisonError::into_inner);
    sweeping.get_or_insert_with(|| {
        let (pool, clock) = (Arc::downgrade(&pool), world.clock.clone());
        Task::start(world, async move {
            while let Some(period) = pool.upgrade().map(|pool| pool.idle_timeout()) {
                sleep(period.max(SWEEP_PERIOD_MIN)).await;
                let Some(pool) = pool.upgrade() else { return };
                pool.sweep(clock.now());
            }
        })
    });
    drop(sweeping);
    pool
}

/// The shortest time between two looks for connections that were idle for too long.
const SWEEP_PERIOD_MIN: Duration = Duration::from_secs(1);
/// How long a request waits for a place on a shared connection, where its upstream says nothing.
const STREAM_WAIT: Duration = Duration::from_millis(STREAM_WAIT_MS);
