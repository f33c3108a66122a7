//! Threads that serve. Each has a single-threaded runtime, its own socket on every listener's address
//! and its own connections to upstreams. A connection stays on the worker that accepted it, or goes once,
//! before a byte of it is read, to one that is much less busy.

use crate::connection;
use crate::door::{Caller, Door, Guest, OpenDoor};
use crate::gateway::{Gateway, Worker};
use crate::load::Loads;
use crate::overload;
use crate::socket::{self, Bound, Claim};
use base::shutdown::{self, Phase, Signal, Trigger};
use base::{Endpoint, caps, shortage};
use std::collections::HashMap;
use std::fmt;
use std::future::Future as _;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::thread::JoinHandle;
use std::time::Duration;
use telemetry::metrics::{ListenerMetrics, Refusal};
use tokio::sync::mpsc;
use traffic::memory::Want;
use traffic::snapshot::ListenerPart;

/// How long access lines may wait in a worker's buffer.
const FLUSH_EVERY: Duration = Duration::from_millis(200);
/// How long a worker waits after it could not accept, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Commands that may wait for a worker.
const COMMANDS_MAX: usize = 64;

/// The running workers and the listeners they serve.
pub struct Workers {
    commands: Vec<mpsc::Sender<Open>>,
    threads: Vec<JoinHandle<()>>,
    loads: Arc<Loads>,
    listeners: HashMap<Arc<str>, Held>,
    /// Of listeners that are closed, while connections of theirs go on.
    leaving: Vec<Trigger>,
}

/// A listener that is being served.
struct Held {
    address: Endpoint,
    trigger: Trigger,
    claim: Claim,
    /// Once more the sockets that the workers have, for a process that takes over.
    sockets: Vec<Door>,
}

/// What another process needs to go on serving an address.
#[derive(Debug)]
pub struct Legacy {
    /// The listener's name.
    pub name: Arc<str>,
    /// Its sockets, with the clients that wait on them.
    pub sockets: Vec<Door>,
    /// The path, where it is a Unix socket.
    pub path: Option<Arc<Path>>,
    /// The claim on its address.
    pub claim: OwnedFd,
}

impl Legacy {
    /// Removes the files that stand for it, if there are any: nobody serves it any more.
    pub fn give_up(self) {
        if let Some(path) = self.path {
            drop(Claim::gone(path, self.claim));
        }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> Option<Endpoint> {
        match &self.path {
            Some(path) => Some(Endpoint::Unix(Arc::clone(path))),
            None => self.sockets.first()?.address().map(Endpoint::Ip),
        }
    }
}

/// An order to serve on a socket.
struct Open {
    name: Arc<str>,
    socket: Door,
    signal: Signal,
    /// To each worker, for this listener.
    ways: Arc<[mpsc::Sender<HandedOver>]>,
    /// What others hand over. A worker with several sockets of a listener has one way to it.
    arrivals: Option<mpsc::Receiver<HandedOver>>,
}

/// A client on its way to another worker, of which nothing was read. It is counted there already.
struct HandedOver {
    caller: Caller,
    part: Arc<ListenerPart>,
    active: Active,
}

impl Workers {
    /// Starts `count` threads that serve nothing yet.
    ///
    /// # Errors
    /// When the system refuses a thread or a runtime.
    pub fn start(gateway: &Arc<Gateway>, count: usize) -> io::Result<Self> {
        let count = count.max(1);
        let mut workers = Self {
            commands: Vec::new(),
            threads: Vec::new(),
            loads: Arc::new(Loads::new(count)),
            listeners: HashMap::new(),
            leaving: Vec::new(),
        };
        for index in 0..count {
            let (sender, receiver) = mpsc::channel(COMMANDS_MAX);
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let worker = Worker::among(Arc::clone(gateway), index, Arc::clone(&workers.loads));
            let thread = std::thread::Builder::new()
                .name(format!("yett-worker-{index}"))
                .spawn(move || runtime.block_on(run(worker, receiver)))?;
            workers.commands.push(sender);
            workers.threads.push(thread);
        }
        Ok(workers)
    }

    /// Binds an address without serving on it yet, unless it is held already; `mode` is that of the file of a
    /// Unix socket.
    ///
    /// # Errors
    /// Why the address cannot be had.
    pub fn bind(&self, address: &Endpoint, mode: u32) -> io::Result<Option<Bound>> {
        let is_held = self.listeners.values().any(|held| held.address == *address);
        if is_held { Ok(None) } else { socket::bind(address, mode, self.commands.len()).map(Some) }
    }

    /// Takes up an address that another process serves, without serving on it yet.
    ///
    /// # Errors
    /// What the system says.
    pub fn inherit(&self, legacy: Legacy) -> io::Result<Bound> {
        Bound::inherit(legacy.sockets, legacy.path, legacy.claim, self.commands.len())
    }

    /// Serves a listener on a bound address, in place of the address it had before. Returns the
    /// address with its port known.
    ///
    /// # Errors
    /// When a worker is gone.
    pub fn open(&mut self, name: &Arc<str>, bound: Bound) -> io::Result<Endpoint> {
        bound.sockets.iter().try_for_each(socket::listen)?;
        let (trigger, signal) = shutdown::channel();
        let sockets = bound.sockets.iter().map(Door::try_clone);
        let sockets = sockets.collect::<io::Result<Vec<_>>>()?;
        let ways = self.commands.iter().map(|_| mpsc::channel(caps::HANDED_OVER_MAX));
        let (ways, arrivals): (Vec<_>, Vec<_>) = ways.unzip();
        let (ways, mut arrivals) = (Arc::from(ways), arrivals.into_iter());
        for (commands, socket) in self.commands.iter().cycle().zip(bound.sockets) {
            let (name, signal) = (Arc::clone(name), signal.clone());
            let (ways, arrivals) = (Arc::clone(&ways), arrivals.next());
            let open = Open { name, socket, signal, ways, arrivals };
            commands.try_send(open).map_err(|_| io::Error::other("a worker is gone"))?;
        }
        let address = bound.address.clone();
        bound.claim.leave(false);
        let held = Held { address: bound.address, trigger, claim: bound.claim, sockets };
        if let Some(old) = self.listeners.insert(Arc::clone(name), held) {
            self.leave(old);
        }
        Ok(address)
    }

    /// Closes a listener. Its trigger is kept until its connections are gone: without it they would
    /// take themselves for stopped.
    fn leave(&mut self, old: Held) {
        old.trigger.advance(Phase::Draining);
        self.leaving.retain(|trigger| !is_gone(trigger));
        self.leaving.push(old.trigger);
    }

    /// Stops accepting on the listeners that are not named; their connections finish what they do.
    pub fn keep_only(&mut self, names: &[Arc<str>]) {
        let gone: Vec<Arc<str>> =
            self.listeners.keys().filter(|name| !names.contains(name)).cloned().collect();
        for name in gone {
            if let Some(old) = self.listeners.remove(&name) {
                self.leave(old);
            }
        }
    }

    /// Has a listener's Unix socket let in whom this mode lets in.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_mode(&self, name: &str, mode: u32) -> io::Result<()> {
        self.listeners.get(name).map_or(Ok(()), |held| held.claim.set_mode(mode))
    }

    /// The listeners and their addresses.
    pub fn addresses(&self) -> impl Iterator<Item = (&Arc<str>, &Endpoint)> {
        self.listeners.iter().map(|(name, held)| (name, &held.address))
    }

    /// How busy each worker is.
    #[must_use]
    pub fn loads(&self) -> &Loads {
        &self.loads
    }

    /// What another process needs to go on where this one is.
    ///
    /// # Errors
    /// When there are no file descriptors left.
    pub fn legacy(&self) -> io::Result<Vec<Legacy>> {
        let legacy = |(name, held): (&Arc<str>, &Held)| {
            let path = held.address.path().cloned();
            // Those of a path are one and the same.
            let count = if path.is_some() { 1 } else { held.sockets.len() };
            let sockets = held.sockets.iter().take(count).map(Door::try_clone);
            let sockets = sockets.collect::<io::Result<_>>()?;
            Ok(Legacy { name: Arc::clone(name), sockets, path, claim: held.claim.share()? })
        };
        self.listeners.iter().map(legacy).collect()
    }

    /// Leaves new connections to the process that took over, and waits until those that are open have ended,
    /// at most for `limit`: each is told with its next answer to come back elsewhere, so that no request
    /// meets a connection that is being closed. Returns whether all ended.
    pub async fn retire(&mut self, limit: Duration) -> bool {
        self.listeners.values().for_each(|held| held.claim.leave(true));
        let is_over = self.end(Phase::Leaving, limit).await;
        if !is_over {
            self.end(Phase::Draining, Duration::from_millis(2 * caps::LAST_REQUEST_TIMEOUT_MS))
                .await;
        }
        self.triggers().for_each(|trigger| trigger.advance(Phase::Stopping));
        is_over
    }

    /// Takes no new connections and requests, and waits for those under way, at most for `limit`.
    /// Returns whether all finished.
    pub async fn drain(&mut self, limit: Duration) -> bool {
        let finished = self.end(Phase::Draining, limit).await;
        self.triggers().for_each(|trigger| trigger.advance(Phase::Stopping));
        finished
    }

    /// Advances to a phase in which nobody is accepted any more, and waits for the last connection. Returns
    /// whether it came to that in time.
    async fn end(&mut self, phase: Phase, limit: Duration) -> bool {
        for held in self.listeners.values_mut() {
            // As long as any of them is open, the system takes clients that nobody would serve.
            held.sockets.clear();
        }
        self.triggers().for_each(|trigger| trigger.advance(phase));
        let all_gone = async {
            for trigger in self.triggers() {
                trigger.all_gone().await;
            }
        };
        tokio::time::timeout(limit, all_gone).await.is_ok()
    }

    fn triggers(&self) -> impl Iterator<Item = &Trigger> {
        self.listeners.values().map(|held| &held.trigger).chain(&self.leaving)
    }

    /// Ends the threads.
    pub fn stop(self) {
        drop(self.commands);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker ended in a panic");
            }
        }
    }
}

/// Whether nobody obeys a trigger any more.
fn is_gone(trigger: &Trigger) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    pin!(trigger.all_gone()).poll(&mut context).is_ready()
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.addresses()).finish()
    }
}

/// The life of a worker: serve on each socket it is given, and write access lines out in time.
async fn run(worker: Arc<Worker>, mut commands: mpsc::Receiver<Open>) {
    drop(tokio::spawn(overload::probe(Arc::clone(&worker))));
    let mut flush = tokio::time::interval(FLUSH_EVERY);
    flush.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(open) => drop(tokio::spawn(accept(Arc::clone(&worker), open))),
                None => break,
            },
            _ = flush.tick() => {
                worker.tick();
                if worker.gateway.shortage.over().is_some() {
                    tracing::info!("clients are accepted again");
                }
                worker.log(|lines| if !lines.is_empty() { lines.flush() });
            }
        }
    }
    worker.log(telemetry::access::AccessWriter::flush);
}

/// Accepts clients of one listener until it is closed; those who are waiting by then are served still.
async fn accept(worker: Arc<Worker>, open: Open) {
    let Open { name, socket, signal, ways, mut arrivals } = open;
    let (trigger, mut local) = shutdown::channel();
    drop(tokio::spawn(relay(signal, trigger)));
    let signal = &mut local;
    let socket = match OpenDoor::new(socket) {
        Ok(socket) => socket,
        Err(error) => return tracing::error!(listener = %name, %error, "cannot serve a socket"),
    };
    let mut is_full = false;
    loop {
        let accepted = tokio::select! {
            biased;
            () = signal.reached(Phase::Leaving) => break,
            handed_over = next(&mut arrivals) => {
                take_up(&worker, &name, handed_over, signal);
                continue;
            }
            () = tokio::time::sleep(ACCEPT_PAUSE), if is_full => {
                is_full = !shortage::is_over(&socket);
                if is_full {
                    wants_descriptors(&worker, &name, &shortage::no_descriptor());
                }
                continue;
            }
            accepted = socket.accept(), if !is_full => accepted,
        };
        match accepted {
            Ok(guest) => {
                // This one is served still; the next ones wait.
                is_full = shortage::is_scarce(&guest);
                welcome(&worker, &name, guest, signal, &ways);
            }
            // The client has left already.
            Err(error) if is_passing(&error) => {}
            Err(error) => {
                if shortage::is_ours(&error) {
                    wants_descriptors(&worker, &name, &error);
                } else {
                    tracing::warn!(listener = %name, %error, "cannot accept a connection");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    match socket.close() {
        Ok(socket) => {
            while let Some(guest) = waiting(&socket) {
                welcome(&worker, &name, guest, signal, &ways);
            }
        }
        Err(error) => tracing::warn!(listener = %name, %error, "cannot accept who is waiting"),
    }
    if let Some(mut arrivals) = arrivals {
        // Whoever is on the way by now arrives; the others stay where they are.
        arrivals.close();
        while let Some(handed_over) = arrivals.recv().await {
            take_up(&worker, &name, handed_over, signal);
        }
    }
}

/// Notes that clients wait for want of what the system gives, and tells it when that is new.
fn wants_descriptors(worker: &Worker, name: &str, error: &io::Error) {
    if worker.gateway.shortage.met() {
        tracing::warn!(listener = %name, "clients have to wait: {error}");
    }
}

/// A client who waits to be accepted, if there is one by now. The system is asked: the runtime knows only
/// of those it was told of already.
fn waiting(socket: &Door) -> Option<Guest> {
    loop {
        match socket.accept() {
            Ok(caller) => {
                caller.set_nonblocking().ok()?;
                return Guest::new(caller).ok();
            }
            // This client has left again; there may be others.
            Err(error) if is_passing(&error) => {}
            Err(_) => return None,
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted)
}

/// The next client that another worker hands over.
async fn next(arrivals: &mut Option<mpsc::Receiver<HandedOver>>) -> HandedOver {
    if let Some(arrivals) = arrivals
        && let Some(handed_over) = arrivals.recv().await
    {
        return handed_over;
    }
    std::future::pending().await
}

/// Passes a shutdown on to the connections of one worker: each looks at its signal often, and would meet
/// those of other workers at a shared one. Obeys `signal` until the last of them is gone.
async fn relay(mut signal: Signal, trigger: Trigger) {
    for phase in [Phase::Leaving, Phase::Draining, Phase::Stopping] {
        tokio::select! {
            () = signal.reached(phase) => trigger.advance(phase),
            () = trigger.all_gone() => return,
        }
    }
    trigger.all_gone().await;
}

/// Serves a client, or has a worker serve it that is much less busy. A listener that the config no
/// longer has takes none.
fn welcome(
    worker: &Arc<Worker>,
    name: &Arc<str>,
    guest: Guest,
    signal: &Signal,
    ways: &[mpsc::Sender<HandedOver>],
) {
    let Some(part) = worker.gateway.snapshot.load().listener(name).cloned() else { return };
    if worker.gateway.memory.want() == Want::All {
        part.metrics.refused(Refusal::Memory).add(worker.index, 1);
        return;
    }
    let relief = worker.loads.relief(worker.index).and_then(|other| {
        // Full where that worker does not come to it, closed where it takes no more.
        Some((other, ways.get(other)?.try_reserve().ok()?))
    });
    let Some((other, place)) = relief else {
        if let Some(active) = Active::begin(worker, &part, worker.index) {
            serve(worker, part, guest, signal, active);
        }
        return;
    };
    let Some(active) = Active::begin(worker, &part, other) else { return };
    match guest.leave() {
        Ok(caller) => {
            part.metrics.handed_over.add(worker.index, 1);
            place.send(HandedOver { caller, part, active });
        }
        Err(error) => tracing::warn!(listener = %name, %error, "cannot hand a connection over"),
    }
}

/// Serves a client that another worker accepted.
fn take_up(worker: &Arc<Worker>, name: &str, handed_over: HandedOver, signal: &Signal) {
    let HandedOver { caller, part, active } = handed_over;
    match Guest::new(caller) {
        Ok(guest) => serve(worker, part, guest, signal, active),
        Err(error) => tracing::warn!(listener = name, %error, "cannot take a connection over"),
    }
}

/// Serves a client on a task of its own.
fn serve(
    worker: &Arc<Worker>,
    part: Arc<ListenerPart>,
    guest: Guest,
    signal: &Signal,
    active: Active,
) {
    let (worker, signal) = (Arc::clone(worker), signal.clone());
    drop(tokio::spawn(async move {
        if let Err(error) = connection::serve_guest(worker, part, guest, signal).await {
            tracing::debug!(%error, "a connection ended early");
        }
        drop(active);
    }));
}

/// A connection in the counts, until it is dropped.
struct Active {
    metrics: Arc<ListenerMetrics>,
    loads: Arc<Loads>,
    worker: usize,
}

impl Active {
    /// Counts a connection that `by` accepted as one of `worker`; none beyond the cap.
    fn begin(by: &Worker, part: &ListenerPart, worker: usize) -> Option<Self> {
        let (metrics, loads) = (&part.metrics, &by.loads);
        let cap = i64::try_from(part.clients.connections_max).unwrap_or(i64::MAX);
        if metrics.active.sum() >= cap {
            metrics.refused(Refusal::Full).add(by.index, 1);
            return None;
        }
        metrics.accepted.add(by.index, 1);
        metrics.active.add(worker, 1);
        loads.connected(worker);
        Some(Self { metrics: Arc::clone(metrics), loads: Arc::clone(loads), worker })
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.metrics.active.add(self.worker, -1);
        self.loads.disconnected(self.worker);
    }
}
