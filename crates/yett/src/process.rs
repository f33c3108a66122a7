//! The process around the data plane: start, reload, drain. Start and reload go the same way: read,
//! compile, bind, swap.

use crate::admin::Board;
use crate::disk::{self, Disk, StateDir};
use crate::handover::Heir;
use crate::journal::Journal;
use crate::kept::{self, Kept};
use crate::memory;
use crate::notify;
use crate::open_files;
use crate::platform::parts::Parts;
use crate::platform::{Place, Platform, Refused};
use crate::prepare::{self, Credentials, Published, Read, Still, Tried};
use crate::process::leaving::Handed;
use crate::process::sockets::{bind, bind_admin, open, serve_admin};
use crate::render;
use crate::watch::Watch;
use base::Report;
use base::shutdown::{self, Phase, Trigger};
use compile::Compiled;
use model::Config;
use proxy::{Gateway, Workers};
use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use telemetry::{AccessLog, Diagnostics};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use traffic::snapshot::ListenerPart;
use upstream::World;

/// How it leaves.
mod leaving;
/// What it serves on.
mod sockets;

/// How long requests under way may take to finish, unless the config says otherwise.
const DRAIN: Duration = Duration::from_secs(30);
/// Changes that come within this time are one change.
const SETTLE: Duration = Duration::from_millis(150);

/// How long a file that policies go by must stay the same before it is gone by.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// How long the collector may take for the last spans.
#[cfg(feature = "otlp")]
const LAST_SPANS: Duration = Duration::from_secs(2);
/// Threads for everything that is not traffic.
const BACKGROUND_THREADS: usize = 2;

/// What the command line says.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) config: String,
    pub(crate) log: String,
    pub(crate) log_json: bool,
}

/// What a start came to, for those who wait for it.
#[derive(Debug)]
pub(crate) struct Ready {
    pub(crate) admin: Option<SocketAddr>,
}

/// Why it did not start.
enum Stop {
    /// The config is bad; its problems were told.
    BadConfig,
    /// Something else.
    Failed(String),
}

/// Serves until a signal ends it.
pub(crate) fn serve(settings: &Settings, ready: impl FnOnce(&Ready)) -> ExitCode {
    match Process::start(settings) {
        Ok(process) => {
            ready(&Ready { admin: process.admin.as_ref().map(|(address, _)| *address) });
            process.run();
            ExitCode::SUCCESS
        }
        Err(Stop::BadConfig) => ExitCode::from(crate::BAD_CONFIG),
        Err(Stop::Failed(why)) => {
            render::failure(&why);
            ExitCode::from(crate::FAILED)
        }
    }
}

/// Signals of the system, listened to from before the first client is served: unheard, any of them
/// would end the process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
    rotate: Signal,
    upgrade: Signal,
    /// Heard so that a file that may not grow fails the write, as a full disk does, and not the process.
    _file_size: Signal,
}

impl Signals {
    fn listen(background: &Runtime) -> std::io::Result<Self> {
        let _inside = background.enter();
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
            rotate: signal(SignalKind::user_defined1())?,
            upgrade: signal(SignalKind::user_defined2())?,
            _file_size: signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
        })
    }
}

/// What comes before everything else: how it is told what happens, and what the system allows.
fn begin(settings: &Settings) -> Result<Diagnostics, String> {
    let diagnostics = telemetry::diagnostics::init(&settings.log, settings.log_json)?;
    open_files::raise();
    Ok(diagnostics)
}

/// What outlives the process, in the folder that it holds.
struct Books {
    journal: Option<Journal>,
    kept: Option<Kept>,
}

/// A running gateway.
struct Process {
    settings: Settings,
    background: Option<(Runtime, Signals)>,
    still: Still,
    world: World,
    gateway: Arc<Gateway>,
    workers: Workers,
    board: Arc<Board>,
    trigger: Trigger,
    /// Where operators are served, and the socket once more for a process that takes over.
    admin: Option<(SocketAddr, TcpListener)>,
    drain: Duration,
    fingerprint: [u8; 32],
    paths: Vec<PathBuf>,
    folders: Vec<PathBuf>,
    file_names: HashSet<OsString>,
    state_dir: Option<StateDir>,
    platform: Option<Platform>,
    books: Books,
    program: PathBuf,
}

/// Parts of workspaces that are served by, and those that cannot be.
type Joined = Option<(Parts, BTreeMap<String, Refused>)>;

/// What a start begins with.
struct First {
    config: Config,
    compiled: Compiled,
    disk: Disk,
    revision: Arc<str>,
    joined: Joined,
    platform: Option<Platform>,
    state_dir: Option<StateDir>,
}

impl First {
    /// Starts the control plane, if there is to be one, and compiles the config with what was published there.
    fn read(
        settings: &Settings,
        read: Read,
        background: &Runtime,
        (still, world): (&Still, &World),
        mut heir: Option<&mut Heir>,
    ) -> Result<Self, Stop> {
        let (platform, mut state_dir) =
            platform(settings, &read, still, background, heir.as_deref_mut())?;
        let made = (still, world);
        let (tried, joined) = attempt(&settings.config, Some(read), platform.as_ref(), made);
        let Tried { made, report, sources, disk, revision } = tried;
        let Some((config, compiled)) = made.filter(|_| !report.has_errors()) else {
            let used = platform.as_ref().zip(joined);
            let published = used.map(|(platform, (used, _))| platform.shared.published(&used));
            refuse(settings, &published.unwrap_or_default(), &report, &sources);
            return Err(Stop::BadConfig);
        };
        render::text(&report, &sources);
        if state_dir.is_none() {
            state_dir = StateDir::claim(&config, &disk, heir).map_err(Stop::Failed)?;
        }
        Ok(Self { config, compiled, disk, revision, joined, platform, state_dir })
    }
}

impl Process {
    fn start(settings: &Settings) -> Result<Self, Stop> {
        let diagnostics = begin(settings).map_err(Stop::Failed)?;
        let mut heir = Heir::find().map_err(Stop::Failed)?;
        let read = prepare::read(&settings.config);
        let workers = read.config.as_ref().map_or(1, worker_count);
        let background = background().map_err(failed("cannot start threads"))?;
        let still = Still::new(workers);
        let handle = background.handle().clone();
        let world =
            World::system(workers, Arc::clone(&still.metrics), Arc::clone(&still.state), handle);
        let first = First::read(settings, read, &background, (&still, &world), heir.as_mut())?;
        let First { config, compiled, disk, revision, joined, platform, state_dir } = first;
        let access_log = AccessLog::open(compiled.access_log, Arc::clone(&still.metrics))
            .map_err(failed("cannot open the access log"))?;
        let parts = compiled.snapshot.listeners.clone();
        leave_by(&compiled.outbound, platform.as_ref());
        believe(compiled.credentials, platform.as_ref(), &still);
        let gateway = Gateway::new(
            compiled.snapshot,
            still.clock.clone(),
            Arc::clone(&still.metrics),
            access_log,
            Arc::clone(&still.directory),
        );
        let mut workers =
            Workers::start(&gateway, workers).map_err(failed("cannot start workers"))?;
        let bound = bind(&workers, &parts, &config, heir.as_mut()).map_err(Stop::Failed)?;
        let signals = Signals::listen(&background).map_err(failed("cannot listen to signals"))?;
        let (trigger, signal) = shutdown::channel();
        let board = Board::new(&gateway, diagnostics, signal, &still.files);
        let admin = bind_admin(compiled.admin, heir.as_mut()).map_err(Stop::Failed)?;
        let books = go_on(heir.as_mut(), &still, state_dir.as_ref(), &background)?;
        open(&mut workers, bound).map_err(failed("cannot serve a listener"))?;
        board.serving(workers.addresses());
        board.planned(compiled.plans, compiled.stores);
        // Whoever asks sees the whole from the beginning.
        if let (Some(platform), Some((used, refused))) = (&platform, joined) {
            platform.shared.adopted(&used, refused);
            board.joined(&platform.shared);
        }
        let admin = serve_admin(admin, &board, &background).map_err(Stop::Failed)?;
        if let Some(heir) = heir {
            heir.serving(&still.state);
        }
        notify::ready();
        still.metrics.reload(true, &revision, still.clock.wall());
        Ok(Self {
            settings: settings.clone(),
            background: Some((background, signals)),
            world,
            gateway,
            workers,
            board,
            trigger,
            admin,
            drain: config.drain.timeout.map_or(DRAIN, |limit| limit.0),
            fingerprint: disk.fingerprint(),
            paths: disk.paths(),
            folders: disk.folders(),
            file_names: disk.file_names(),
            still,
            state_dir,
            platform,
            books,
            program: std::env::current_exe().map_err(failed("cannot find this program"))?,
        })
    }

    /// Serves until a signal ends it.
    fn run(mut self) {
        let Some((background, signals)) = self.background.take() else { return };
        drop(background.spawn(memory::watch(Arc::clone(&self.gateway))));
        background.block_on(self.until_stopped(signals));
        self.workers.stop();
        match Arc::try_unwrap(self.gateway) {
            Ok(gateway) => gateway.access_log.close(),
            Err(gateway) => gateway.access_log.clone().close(),
        }
        drop(self.books);
        background.shutdown_timeout(Duration::from_secs(1));
        tracing::info!("stopped");
    }

    async fn until_stopped(&mut self, signals: Signals) {
        let Signals {
            mut terminate,
            mut interrupt,
            mut hang_up,
            mut rotate,
            mut upgrade,
            _file_size,
        } = signals;
        let (mut watch, mut changes) = match Watch::new() {
            Ok((watch, changes)) => (Some(watch), changes),
            Err(error) => {
                tracing::warn!(%error, "cannot watch files; SIGHUP still reloads");
                (None, tokio::sync::mpsc::channel(1).1)
            }
        };
        let published = self.platform.as_mut().and_then(Platform::news);
        let mut published = published.unwrap_or_else(|| tokio::sync::mpsc::channel(1).1);
        loop {
            if let Some(watch) = &mut watch
                && watch.follow(&self.folders, &self.file_names)
            {
                // What changed before its folder was watched was not noticed.
                self.reload(false);
                continue;
            }
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = upgrade.recv() => {
                    match self.hand_over([&mut terminate, &mut interrupt]).await {
                        Handed::Over(to) => {
                            let ends = [terminate, interrupt];
                            return self.retire(to, ends, hang_up, changes).await;
                        }
                        Handed::Stop => break,
                        Handed::Nothing => {}
                    }
                }
                _ = rotate.recv() => self.gateway.access_log.reopen(),
                _ = hang_up.recv() => {
                    self.gateway.access_log.reopen();
                    self.reload(true);
                }
                Some(()) = changes.recv() => {
                    tokio::time::sleep(SETTLE).await;
                    // What came meanwhile belongs to this change.
                    changes.try_recv().ok();
                    self.reload(false);
                }
                Some(()) = published.recv() => self.reload(true),
                () = tokio::time::sleep(LOOK_AGAIN), if self.still.files.is_unsettled() => {
                    self.still.files.refresh(disk::read);
                }
            }
        }
        notify::stopping();
        self.trigger.advance(Phase::Draining);
        tracing::info!(limit_s = self.drain.as_secs(), "draining; a second signal stops at once");
        let finished = tokio::select! {
            finished = self.workers.drain(self.drain) => finished,
            _ = terminate.recv() => false,
            _ = interrupt.recv() => false,
        };
        if !finished {
            tracing::warn!("stopping with requests under way");
        }
        #[cfg(feature = "otlp")]
        self.still.exporters.finish(LAST_SPANS).await;
        self.trigger.advance(Phase::Stopping);
    }

    /// Reads the config again. A bad one changes nothing; a good one loses no request.
    fn reload(&mut self, is_ordered: bool) {
        // What policies go by has its own say, whatever is the matter with the config.
        self.still.files.refresh(disk::read);
        let mut read = None;
        if !is_ordered {
            // Compiling takes its time, and most notices are of changes that are none.
            let is_now = prepare::read(&self.settings.config);
            if is_now.disk.is_unchanged(&self.paths, self.fingerprint) {
                return;
            }
            read = Some(is_now);
        }
        let made = (&self.still, &self.world);
        let (tried, joined) = attempt(&self.settings.config, read, self.platform.as_ref(), made);
        let Tried { made, report, disk, revision, .. } = tried;
        let fingerprint = disk.fingerprint();
        self.folders.extend(disk.folders());
        self.file_names.extend(disk.file_names());
        self.folders.sort();
        self.folders.dedup();
        if !is_ordered && fingerprint == self.fingerprint {
            return;
        }
        self.fingerprint = fingerprint;
        self.paths = disk.paths();
        let outcome = match made.filter(|_| !report.has_errors()) {
            Some((config, compiled)) => self.adopt(&config, compiled),
            None => Err("the config has problems".to_owned()),
        };
        let is_adopted = outcome.is_ok();
        self.still.metrics.reload(is_adopted, &revision, self.still.clock.wall());
        self.board.reloaded(self.still.clock.wall(), &outcome, &report);
        match outcome {
            Ok(()) => {
                self.folders = disk.folders();
                self.file_names = disk.file_names();
                if let (Some(platform), Some((used, refused))) = (&self.platform, joined) {
                    platform.shared.adopted(&used, refused);
                }
                tracing::info!(revision = %revision, "config reloaded");
                // What is doubtful may be an outage of somebody, as lists of certificates are that have ended.
                tell(&report);
            }
            Err(why) => {
                let kept = Arc::clone(&self.gateway.snapshot.load().revision);
                tracing::error!(why, kept = %kept, "reload refused; the old config keeps serving");
                tell(&report);
            }
        }
    }

    /// Binds what is new, swaps, closes what is gone: in this order, so that a new address that cannot
    /// be had changes nothing.
    fn adopt(&mut self, config: &Config, compiled: Compiled) -> Result<(), String> {
        let parts = compiled.snapshot.listeners.clone();
        let moved = self.moved(&parts);
        let bound = bind(&self.workers, &moved, config, None)?;
        let log = self.gateway.access_log.reconfigure(compiled.access_log);
        log.map_err(|error| format!("cannot open the access log: {error}"))?;
        if worker_count(config) != self.world.workers || self.has_other_admin(compiled.admin) {
            tracing::warn!("`workers` and `admin` take effect at the next start");
        }
        self.drain = config.drain.timeout.map_or(DRAIN, |limit| limit.0);
        leave_by(&compiled.outbound, self.platform.as_ref());
        believe(compiled.credentials, self.platform.as_ref(), &self.still);
        if self.books.journal.is_none() {
            // Quotas are new to the config.
            self.books.journal = journal(&self.still, self.state_dir.as_ref());
        }
        if let Some(kept) = &self.books.kept {
            kept.save();
        }
        self.gateway.swap(compiled.snapshot);
        self.board.planned(compiled.plans, compiled.stores);
        open(&mut self.workers, bound)
            .map_err(|error| format!("cannot serve a listener: {error}"))?;
        for part in &parts {
            if let Err(error) = self.workers.set_mode(&part.name, part.mode) {
                tracing::warn!(listener = %part.name, %error, "cannot change the mode of a socket");
            }
        }
        let names: Vec<Arc<str>> = parts.iter().map(|part| Arc::clone(&part.name)).collect();
        self.workers.keep_only(&names);
        self.board.serving(self.workers.addresses());
        self.still.state.sweep();
        self.still.metrics.forget();
        Ok(())
    }

    /// Whether the admin listener is wanted elsewhere than it is; port 0 is any port.
    fn has_other_admin(&self, wanted: Option<SocketAddr>) -> bool {
        match (wanted, self.admin.as_ref().map(|(address, _)| *address)) {
            (Some(wanted), Some(now)) if wanted.port() == 0 => wanted.ip() != now.ip(),
            (wanted, now) => wanted != now,
        }
    }

    /// The listeners that are new or have another address than before.
    fn moved(&self, parts: &[Arc<ListenerPart>]) -> Vec<Arc<ListenerPart>> {
        let is_held = |part: &ListenerPart| {
            self.workers
                .addresses()
                .any(|(name, address)| *name == part.name && part.bind.is_met_by(address))
        };
        parts.iter().filter(|part| !is_held(part)).cloned().collect()
    }
}

/// Starts the control plane, if there is to be one, and takes the folder in which it keeps its things.
fn platform(
    settings: &Settings,
    read: &Read,
    still: &Still,
    background: &Runtime,
    heir: Option<&mut Heir>,
) -> Result<(Option<Platform>, Option<StateDir>), Stop> {
    let is_wanted = |config: &&Config| config.control.as_ref().is_some_and(|it| !it.off);
    let Some(config) = read.config.as_ref().filter(is_wanted) else { return Ok((None, None)) };
    let is_heir = heir.is_some();
    let folder = StateDir::claim(config, &read.disk, heir).map_err(Stop::Failed)?;
    let place = Place::of(config, &read.disk).map_err(Stop::Failed)?;
    let start = |place| Platform::start(place, &settings.config, still, background, is_heir);
    Ok((place.map(start).transpose().map_err(Stop::Failed)?, folder))
}

/// Gives the control plane the config's way out of this machine.
fn leave_by(way_out: &Arc<dyn traffic::Outbound>, platform: Option<&Platform>) {
    if let Some(platform) = platform {
        platform.shared.leaves_by(way_out);
    }
}

/// Takes the credentials of the config, beside those of the database.
fn believe(credentials: Credentials, platform: Option<&Platform>, still: &Still) {
    match platform {
        Some(platform) => platform.shared.believe(credentials),
        None => still.directory.replace(credentials),
    }
}

/// Reads and compiles the config, with what workspaces have published. `read` is the file as it was read already.
fn attempt(
    root: &str,
    read: Option<Read>,
    platform: Option<&Platform>,
    (still, world): (&Still, &World),
) -> (Tried, Joined) {
    let Some(platform) = platform else {
        let read = read.unwrap_or_else(|| prepare::read(root));
        return (read.compile(still, world), None);
    };
    let try_with = |more: &Published| prepare::read_with(root, more).compile(still, world);
    let settled = platform.shared.settle(try_with, |tried| &tried.report);
    (settled.made, Some((settled.used, settled.refused)))
}

/// Tells all that is wrong with the config of a start.
fn refuse(settings: &Settings, published: &Published, report: &Report, sources: &prepare::Sources) {
    let checked = prepare::read_with(&settings.config, published).check();
    if checked.report.has_errors() {
        render::text(&checked.report, &checked.sources);
    } else {
        // What was wrong shows only in what lives.
        render::text(report, sources);
    }
}

/// Problems of a reload go to the log, without the lines they are about.
fn tell(report: &Report) {
    for problem in report.problems() {
        let help = problem.help.as_deref().unwrap_or_default();
        match problem.severity {
            base::Severity::Error => {
                tracing::error!(place = %problem.place, code = problem.code, help, "{}", problem.message);
            }
            _ => {
                tracing::warn!(place = %problem.place, code = problem.code, help, "{}", problem.message)
            }
        }
    }
}

fn failed<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> Stop {
    move |error| Stop::Failed(format!("{what}: {error}"))
}

/// Goes on from what the process that is replaced has counted, or from what was kept.
fn go_on(
    heir: Option<&mut Heir>,
    still: &Still,
    folder: Option<&StateDir>,
    background: &Runtime,
) -> Result<Books, Stop> {
    if let Some(folder) = folder {
        kept::restore(folder.path(), &still.state);
    }
    if let Some(heir) = heir {
        still.state.import(&heir.prepared().map_err(Stop::Failed)?);
    }
    let kept = folder.map(|folder| Kept::begin(folder.path(), &still.state, background));
    Ok(Books { journal: journal(still, folder), kept })
}

/// The journal of quotas, if there are any and there is a folder for it.
fn journal(still: &Still, folder: Option<&StateDir>) -> Option<Journal> {
    let ledger = policy::quota::ledger_in_use(&still.state)?;
    Journal::open(folder?.path(), &ledger, &still.metrics, &still.clock)
        .map_err(|error| tracing::warn!(%error, "there is no journal of quotas"))
        .ok()
}

fn worker_count(config: &Config) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    config.workers.as_ref().map_or_else(cores, |workers| usize::from(workers.value.max(1)))
}

fn background() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(BACKGROUND_THREADS)
        .thread_name("yett-background")
        .enable_all()
        .build()
}
