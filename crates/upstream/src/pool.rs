//! Open connections that wait for requests, on a shelf per worker: a connection is used on the worker
//! that opened it, so shelves are locked by one thread at a time and never while waiting.

use crate::connect::{ConnectError, Link};
use crate::http1::Http1;
use crate::http2::{Http2, Room};
use crate::target::Task;
use base::Endpoint;
use base::caps::LINKS_PER_SHELF_MAX;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};
use telemetry::Sharded;
use tokio::sync::{Notify, Semaphore};
use traffic::upstream::Peers;

/// The connections to one target that were made in the same way.
pub(crate) struct Pool {
    shelves: Sharded<Shelf>,
    /// The target turned out to speak HTTP/1 although it was offered HTTP/2.
    prefers_http1: AtomicBool,
    idle_max: AtomicUsize,
    idle_timeout_ms: AtomicU64,
    pub(crate) sweeping: Mutex<Option<Task>>,
}

/// The connections of one worker.
pub(crate) struct Shelf {
    http1: Mutex<Vec<Idle>>,
    /// Told when anything happens on an idle connection, which can only be its end.
    ended: Waker,
    ends: Arc<Ends>,
    watching: OnceLock<Task>,
    http2: Mutex<Vec<Shared>>,
    /// Lets one request at a time open a connection that others will share.
    pub(crate) gate: Semaphore,
    /// Told when a place on a connection that requests share becomes free.
    pub(crate) freed: Arc<Notify>,
    failures: Mutex<(u64, Option<ConnectError>)>,
}

struct Idle {
    link: Box<Http1>,
    since: Instant,
}

struct Shared {
    link: Arc<Carrier>,
    used: Instant,
}

/// An HTTP/2 connection among those of a shelf.
struct Carrier {
    link: Http2,
    /// Told when a place on it becomes free.
    freed: Arc<Notify>,
}

/// A connection held for one request.
pub(crate) enum Held {
    /// An HTTP/1.1 connection to itself.
    Http1(Box<Http1>),
    /// A stream's place on an HTTP/2 connection.
    Http2(Stream),
}

/// A stream's place on an HTTP/2 connection; dropping it gives it back.
pub(crate) struct Stream(Arc<Carrier>);

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.link.leave();
        self.0.freed.notify_one();
    }
}

impl Stream {
    /// The connection.
    pub(crate) fn http2(&self) -> &Http2 {
        &self.0.link
    }
}

impl Pool {
    /// Empty, for so many workers.
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            shelves: Sharded::new(workers, Shelf::new),
            prefers_http1: AtomicBool::new(false),
            idle_max: AtomicUsize::new(0),
            idle_timeout_ms: AtomicU64::new(0),
            sweeping: Mutex::default(),
        }
    }

    /// How many idle connections each worker keeps, and how long.
    pub(crate) fn limit(&self, idle_max: usize, idle_timeout: Duration) {
        let idle_timeout_ms = u64::try_from(idle_timeout.as_millis()).unwrap_or(u64::MAX);
        self.idle_max.store(idle_max, Ordering::Relaxed);
        self.idle_timeout_ms.store(idle_timeout_ms, Ordering::Relaxed);
    }

    /// How long an idle connection is kept.
    pub(crate) fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms.load(Ordering::Relaxed))
    }

    fn idle_max(&self) -> usize {
        self.idle_max.load(Ordering::Relaxed)
    }

    /// The connections of a worker.
    pub(crate) fn shelf(&self, worker: usize) -> &Shelf {
        self.shelves.cell(worker)
    }

    /// Whether the target turned out to speak HTTP/1 although it was offered HTTP/2.
    pub(crate) fn prefers_http1(&self) -> bool {
        self.prefers_http1.load(Ordering::Relaxed)
    }

    /// Takes the connection that was used last, for its peer is the least likely to have given it up.
    pub(crate) fn take(
        &self,
        worker: usize,
        now: Instant,
        told: Option<Peers>,
        may_use: &dyn Fn(&Endpoint) -> bool,
    ) -> Option<Held> {
        let shelf = self.shelf(worker);
        let idle_timeout = self.idle_timeout();
        if let Some(stream) = shelf.join_http2(now, idle_timeout, told, may_use) {
            return Some(Held::Http2(stream));
        }
        shelf.take_http1(now, idle_timeout, told, may_use).map(Held::Http1)
    }

    /// Takes up a new connection, and holds it for one request.
    pub(crate) fn adopt(&self, worker: usize, link: Link, now: Instant) -> Held {
        self.prefers_http1.store(matches!(link, Link::Http1(_)), Ordering::Relaxed);
        match link {
            Link::Http1(link) => Held::Http1(link),
            Link::Http2(link) => {
                let shelf = self.shelf(worker);
                let carrier = Arc::new(Carrier { link, freed: Arc::clone(&shelf.freed) });
                let stream = carrier.join();
                let is_told = carrier.link.told.is_some();
                let mut shared = lock(&shelf.http2);
                shared.push(Shared { link: carrier, used: now });
                let surplus = if is_told { surplus(&mut shared, self.idle_max()) } else { None };
                drop(shared);
                // Closing belongs after the lock.
                drop(surplus);
                Held::Http2(stream)
            }
        }
    }

    /// Puts a connection back whose answer has ended. From now on it is closed as soon as its target
    /// does so, or says anything.
    pub(crate) fn put(self: &Arc<Self>, worker: usize, mut link: Box<Http1>, now: Instant) {
        let idle_max = self.idle_max();
        let shelf = self.shelf(worker);
        if !link.is_open(&shelf.ended) {
            return;
        }
        shelf.watching.get_or_init(|| {
            let watch = watch(Arc::downgrade(self), worker, Arc::clone(&shelf.ends));
            Task::of(tokio::spawn(watch).abort_handle())
        });
        let mut idle = lock(&shelf.http1);
        if idle.len() < idle_max {
            idle.push(Idle { link, since: now });
        } else if link.told.is_some() && idle_max > 0 {
            // The client of the oldest may have left long ago.
            let oldest = idle.remove(0);
            idle.push(Idle { link, since: now });
            drop(idle);
            drop(oldest);
        }
    }

    /// Closes what was idle for too long, on all workers.
    pub(crate) fn sweep(&self, now: Instant) {
        let limit = self.idle_timeout();
        let is_fresh = |since: Instant| now.saturating_duration_since(since) < limit;
        for shelf in self.shelves.cells() {
            shelf.keep_http1(|idle| is_fresh(idle.since));
            let is_kept = |shared: &mut Shared| {
                let link = &shared.link.link;
                link.open_streams() > 0 || (is_fresh(shared.used) && link.room() != Room::Over)
            };
            let closed: Vec<_> =
                lock(&shelf.http2).extract_if(.., |shared| !is_kept(shared)).collect();
            drop(closed);
        }
    }
}

/// Takes out the connection that was idle for longest, if more than so many are: each serves one client, who may
/// have left long ago.
fn surplus(shared: &mut Vec<Shared>, idle_max: usize) -> Option<Shared> {
    let is_idle = |shared: &Shared| shared.link.link.open_streams() == 0;
    if shared.iter().filter(|shared| is_idle(shared)).count() <= idle_max {
        return None;
    }
    let idle = shared.iter().enumerate().filter(|(_, shared)| is_idle(shared));
    let (longest, _) = idle.min_by_key(|(_, shared)| shared.used)?;
    Some(shared.remove(longest))
}

impl Shelf {
    fn new() -> Self {
        let ends = Arc::new(Ends::default());
        Self {
            http1: Mutex::default(),
            ended: Waker::from(Arc::clone(&ends)),
            ends,
            watching: OnceLock::new(),
            http2: Mutex::default(),
            gate: Semaphore::new(1),
            freed: Arc::default(),
            failures: Mutex::default(),
        }
    }

    fn take_http1(
        &self,
        now: Instant,
        idle_timeout: Duration,
        told: Option<Peers>,
        may_use: &dyn Fn(&Endpoint) -> bool,
    ) -> Option<Box<Http1>> {
        let mut idle = lock(&self.http1);
        while let Some(at) = idle.iter().rposition(|idle| idle.link.told == told) {
            let Idle { mut link, since } = idle.remove(at);
            let is_expired = now.saturating_duration_since(since) >= idle_timeout;
            if !is_expired && may_use(&link.address) && link.is_open(&self.ended) {
                return Some(link);
            }
        }
        None
    }

    /// Closes the idle connections that are not wanted, and those that have ended.
    fn keep_http1(&self, is_wanted: impl Fn(&Idle) -> bool) {
        let is_over = |idle: &mut Idle| {
            idle.link.rest();
            !is_wanted(idle) || !idle.link.is_open(&self.ended)
        };
        // Collected first: closing belongs after the lock.
        let closed: Vec<_> = lock(&self.http1).extract_if(.., is_over).collect();
        drop(closed);
    }

    fn join_http2(
        &self,
        now: Instant,
        idle_timeout: Duration,
        told: Option<Peers>,
        may_use: &dyn Fn(&Endpoint) -> bool,
    ) -> Option<Stream> {
        let mut shared = lock(&self.http2);
        // Streams that are under way keep what is dropped here open until they end.
        shared.retain(|shared| {
            let is_expired = now.saturating_duration_since(shared.used) >= idle_timeout;
            let link = &shared.link.link;
            let is_idle = link.open_streams() == 0;
            let is_kept = link.room() != Room::Over && !(is_idle && is_expired);
            is_kept && may_use(&link.address)
        });
        let found = shared.iter_mut().find(|shared| {
            let link = &shared.link.link;
            link.told == told && link.room() == Room::Free
        })?;
        found.used = now;
        Some(found.link.join())
    }

    /// Whether there may be one more connection that requests share.
    pub(crate) fn may_open_http2(&self) -> bool {
        lock(&self.http2).len() < LINKS_PER_SHELF_MAX
    }

    /// How many attempts to open a connection that others wait for have failed.
    pub(crate) fn failures(&self) -> u64 {
        lock(&self.failures).0
    }

    /// The last failure, if there was one since there were `before` of them.
    pub(crate) fn failed_since(&self, before: u64) -> Option<ConnectError> {
        let failures = lock(&self.failures);
        if failures.0 == before { None } else { failures.1.clone() }
    }

    /// Tells those who wait that there is no connection.
    pub(crate) fn fail(&self, error: &ConnectError) {
        let mut failures = lock(&self.failures);
        *failures = (failures.0.wrapping_add(1), Some(error.clone()));
    }
}

/// Ends of idle connections that nobody has looked at yet.
#[derive(Default)]
struct Ends(Notify);

impl Wake for Ends {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

/// Closes connections of a worker's shelf as they end, for as long as there is the pool.
async fn watch(pool: Weak<Pool>, worker: usize, ends: Arc<Ends>) {
    loop {
        ends.0.notified().await;
        let Some(pool) = pool.upgrade() else { return };
        pool.shelf(worker).keep_http1(|_| true);
    }
}

impl Carrier {
    fn join(self: &Arc<Self>) -> Stream {
        self.link.join();
        Stream(Arc::clone(self))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
