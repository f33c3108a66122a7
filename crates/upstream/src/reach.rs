//! How a target is reached under one config: its connections, how more of them are opened, and how
//! requests are addressed.

use crate::connect::{ConnectError, Connector, Link};
use crate::http1::Http1;
use crate::pool::{Held, Pool};
use crate::spec::{Balance, HostHeader, Protocol, TargetHost, TargetSpec, UpstreamSpec};
use crate::target::{TargetCell, Task};
use crate::tls;
use crate::world::{Io, World};
use base::Clock;
use http::HeaderValue;
use http::header::HOST;
use http::uri::Scheme;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use telemetry::UpstreamMetrics;
use tokio::time::timeout;
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
}

/// What kind of connection is wanted.
#[derive(Clone, Copy)]
pub(crate) struct Wish {
    /// On whose behalf, and with whose connections.
    pub(crate) worker: usize,
    /// How long it may take.
    pub(crate) limit: Option<Duration>,
    /// Only a new one will do.
    pub(crate) is_fresh: bool,
    /// The client's connection that it serves.
    pub(crate) peers: Option<Peers>,
}

impl Reach {
    /// Of one target of an upstream.
    ///
    /// # Errors
    /// In words, when no connection could ever be made.
    pub(crate) fn new(
        target: &TargetSpec,
        spec: &UpstreamSpec,
        cell: Arc<TargetCell>,
        world: &World,
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
            pool: pool(target, spec, world),
            connector: Arc::new(connector),
            tunnels,
            host,
            clock: world.clock.clone(),
            is_timed: matches!(spec.balance, Balance::PeakEwma),
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
    pub(crate) async fn hold(&self, wish: Wish) -> Result<(Held, bool), ConnectError> {
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
    pub(crate) async fn hold_tunnel(&self, wish: Wish) -> Result<(Held, bool), ConnectError> {
        let Some(connector) = &self.tunnels else {
            return self.hold(wish).await;
        };
        match if wish.is_fresh { None } else { self.take(wish) } {
            Some(Held::Http2(stream)) if !stream.http2().takes_tunnels() => {}
            Some(held) => return Ok((held, true)),
            None => {}
        }
        let opened = Box::pin(connect(&self.cell, connector, wish.limit, wish.peers)).await;
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
    async fn fetch(&self, wish: Wish) -> Result<(Held, bool), ConnectError> {
        let is_alone = self.connector.tells() || !self.connector.may_speak_http2();
        if is_alone || self.pool.prefers_http1() {
            return self.open(wish).await.map(|held| (held, false));
        }
        // Others can share what is opened here, so they wait for it rather than open their own.
        let Wish { worker, limit, .. } = wish;
        let shelf = self.pool.shelf(worker);
        let before = shelf.failures();
        let turn = match limit {
            Some(limit) => timeout(limit, shelf.gate.acquire()).await,
            None => Ok(shelf.gate.acquire().await),
        };
        let turn = turn.map_err(|_| ConnectError::Timeout("no connection was ready".to_owned()))?;
        if let Some(error) = shelf.failed_since(before) {
            return Err(error);
        }
        if !wish.is_fresh
            && let Some(held) = self.take(wish)
        {
            return Ok((held, true));
        }
        if self.pool.prefers_http1() {
            drop(turn);
            return self.open(wish).await.map(|held| (held, false));
        }
        while !shelf.may_open_http2() {
            let freed = shelf.freed.notified();
            match limit {
                Some(limit) => timeout(limit, freed).await.map_err(|_| {
                    ConnectError::Timeout("every connection to the target was full".to_owned())
                })?,
                None => freed.await,
            }
            if let Some(held) = self.take(wish) {
                return Ok((held, true));
            }
        }
        let opened = self.open(wish).await;
        if let Err(error) = &opened {
            shelf.fail(error);
        }
        drop(turn);
        opened.map(|held| (held, false))
    }

    fn take(&self, wish: Wish) -> Option<Held> {
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
    pub(crate) async fn raw(&self, wish: Wish) -> Result<Box<dyn Io>, ConnectError> {
        let Wish { worker, limit, peers, .. } = wish;
        let address = [self.cell.address()];
        let connect = self.connector.connect_raw(&address, 0, limit, peers);
        let opened = within(&self.cell, limit, connect).await;
        let counter = match &opened {
            Ok(_) => &self.metrics.connections_opened,
            Err(_) => &self.metrics.connect_failed,
        };
        counter.add(worker, 1);
        opened
    }

    async fn open(&self, wish: Wish) -> Result<Held, ConnectError> {
        let Wish { worker, limit, peers, .. } = wish;
        let connect = connect(&self.cell, &self.connector, limit, peers);
        match connect.await {
            Ok(link) => {
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
    let address = [cell.address()];
    let connect = connector.connect(&address, 0, limit, peers);
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

/// The target's host and, unless it is the scheme's own, its port.
///
/// # Errors
/// When the host does not fit into a header.
pub(crate) fn own_host(target: &TargetSpec, scheme: &Scheme) -> Result<HeaderValue, String> {
    let host = match target.own_host() {
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
    let UpstreamSpec { protocol, proxy_protocol, .. } = spec;
    format!("{protocol:?}/{print}/{proxy_protocol:?}/{}", target.way())
}

/// The connections to a target that were made as this config wants them.
fn pool(target: &TargetSpec, spec: &UpstreamSpec, world: &World) -> Arc<Pool> {
    let manner = manner(target, spec);
    let id = format!("upstream/{}/target/{}/pool/{manner}", spec.name, target.text);
    let pool = world.state.cell(&id, || Pool::new(world.shelves()));
    pool.limit(spec.idle_max, spec.idle_timeout);
    let mut sweeping = pool.sweeping.lock().unwrap_or_else(PoisonError::into_inner);
    sweeping.get_or_insert_with(|| {
        let (pool, clock) = (Arc::downgrade(&pool), world.clock.clone());
        Task::start(world, async move {
            while let Some(period) = pool.upgrade().map(|pool| pool.idle_timeout()) {
                tokio::time::sleep(period.max(SWEEP_PERIOD_MIN)).await;
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
