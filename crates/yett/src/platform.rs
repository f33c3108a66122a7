//! The control plane beside the traffic: a database, an admin API to it, and what workspaces publish there, which reaches the
//! gateway as a change of its files does. All of it runs on the background runtime. Traffic never waits for it, and goes on
//! without it: what was served by last is kept in `state_dir`.

use crate::disk::{Disk, Secrets, StateDir};
use crate::platform::check::check;
use crate::platform::directory::Records;
use crate::platform::parts::{Part, Parts, Settled};
use crate::prepare::{Credentials, Published, Still};
use crate::render;
use base::backoff::Backoff;
use base::secret::Reference;
use base::{Clock, Placed, Report, Secret, Text};
use control::upkeep::UPKEEP_EVERY;
use control::{Caller, Control};
use model::control::{CONTROL_PORT, ControlPlane};
use model::join::Grants;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use store::envelope::Keys;
use store::outbox::Position;
use store::{Location, Store};
use tokio::net::TcpListener;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{Notify, mpsc, watch};

/// Whether a config may be published.
mod check;
/// Consumers and credentials of the database.
mod directory;
/// What workspaces have published.
pub(crate) mod parts;

/// The file of the database in `state_dir`.
const DATABASE: &str = "yett.db";
/// The file of the master keys in `state_dir`.
const KEYS: &str = "master.key";
/// How often it is looked whether another process has published something.
const POLL: Duration = Duration::from_millis(150);
/// The same, where nobody else can.
const POLL_ALONE: Duration = Duration::from_secs(5);
/// How long a start waits for the database before it goes on without.
const PATIENCE: Duration = Duration::from_secs(4);
const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// The workspace of those who run the gateway.
pub(crate) const DEFAULT: &str = "default";

/// What the config says of the control plane.
#[derive(Debug)]
pub(crate) struct Place {
    bind: SocketAddr,
    location: Location,
    /// Where the last good revisions are kept.
    folder: Option<PathBuf>,
    /// Master keys, if they are not in that folder.
    keys: Option<Secret>,
}

impl Place {
    /// What a config says, if there is to be a control plane.
    ///
    /// # Errors
    /// What is wrong with it, with its place.
    pub(crate) fn of(config: &model::Config, disk: &Disk) -> Result<Option<Self>, String> {
        let Some(written) = config.control.as_ref().filter(|control| !control.off) else {
            return Ok(None);
        };
        let ControlPlane { bind, database, master_key, .. } = &written.value;
        let bind = match bind {
            None => SocketAddr::from((Ipv4Addr::LOCALHOST, CONTROL_PORT)),
            Some(bind) => {
                let text = resolve(bind, disk)?;
                let wrong = |_| {
                    format!(
                        "{}: `{}` is no address such as `127.0.0.1:9181`",
                        bind.place, bind.value
                    )
                };
                text.reveal().parse().map_err(wrong)?
            }
        };
        // One that cannot be written to still tells what was served by last.
        let folder = StateDir::path_of(config, disk)?;
        let location = match (database, &folder) {
            (Some(url), _) => Location::Postgres(resolve(url, disk)?),
            (None, Some(folder)) => Location::Sqlite(folder.join(DATABASE)),
            (None, None) => {
                return Err(format!(
                    "{}: the control plane has no place for its database",
                    written.place
                ));
            }
        };
        let keys = master_key.as_ref().map(|keys| resolve(keys, disk)).transpose()?;
        Ok(Some(Self { bind, location, folder, keys }))
    }
}

fn resolve(text: &Placed<Text>, disk: &Disk) -> Result<Secret, String> {
    let resolved = text.value.resolve(&References { disk, place: &text.place });
    resolved.map_err(|why| format!("{}: {why}", text.place))
}

/// References in the config file.
struct References<'a> {
    disk: &'a Disk,
    place: &'a base::Place,
}

impl base::Secrets for References<'_> {
    fn resolve(&self, reference: &Reference) -> Result<Secret, String> {
        match reference {
            Reference::Env(name) => compile::Outside::env(self.disk, name)
                .map(Secret::new)
                .ok_or_else(|| format!("the environment variable `{name}` is not set")),
            Reference::File(path) => {
                let path = compile::resolve_path(path, self.place);
                let bytes = compile::Outside::read(self.disk, &path)?;
                let text =
                    String::from_utf8(bytes).map_err(|_| "it is not text in UTF-8".to_owned())?;
                Ok(Secret::new(text.trim_end().to_owned()))
            }
            Reference::Kept(name) => {
                Err(format!("`${{secret:{name}}}` is kept in the database, which this is to find"))
            }
        }
    }
}

/// The control plane of this process, until it is dropped.
pub(crate) struct Platform {
    pub(crate) shared: Arc<Shared>,
    news: Option<mpsc::Receiver<()>>,
    /// Ends the admin API.
    end: watch::Sender<bool>,
}

/// What the gateway and the control plane know of each other.
#[derive(Debug)]
pub(crate) struct Shared {
    place: Place,
    /// The operator's config.
    root: String,
    clock: Clock,
    records: Records,
    /// What was published last, as far as is known.
    newest: Mutex<Parts>,
    /// What the gateway serves by.
    used: Mutex<Parts>,
    /// What workspaces keep, as far as is known.
    secrets: Mutex<Arc<Secrets>>,
    /// The database, as soon as it can be used.
    database: OnceLock<(Handle, Store, Control)>,
    /// The database from which that came, by the id of its first workspace.
    origin: Mutex<Option<String>>,
    standing: Mutex<Standing>,
    /// Tells that there are master keys where there were none.
    unlocked: Notify,
}

/// How things are, for operators.
#[derive(Debug, Default)]
struct Standing {
    address: Option<SocketAddr>,
    /// Whether the gateway serves by anything yet.
    is_serving: bool,
    /// Why the database cannot be used.
    trouble: Option<String>,
    /// Why secrets can be neither kept nor read.
    locked: Option<String>,
    /// Revisions that the gateway does not serve by, and why.
    refused: BTreeMap<String, Refused>,
}

/// A revision that the gateway cannot serve by.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) number: i64,
    pub(crate) report: Report,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Platform {
    /// Starts the control plane, and waits a while for its database, so that a start serves by what was published last. Then
    /// it goes on by what was served by last.
    ///
    /// # Errors
    /// When the admin API cannot have its address.
    pub(crate) fn start(
        place: Place,
        root: &str,
        still: &Still,
        background: &Runtime,
        is_heir: bool,
    ) -> Result<Self, String> {
        let (last_good, origin) = place.folder.as_deref().map(parts::restore).unwrap_or_default();
        // Whoever hands over has the address until it has done so.
        let socket = if is_heir { None } else { Some(bind(place.bind)?) };
        let shared = Arc::new(Shared {
            place,
            root: root.to_owned(),
            clock: still.clock.clone(),
            records: Records::new(&still.directory),
            newest: Mutex::new(last_good.clone()),
            used: Mutex::new(last_good),
            secrets: Mutex::default(),
            database: OnceLock::new(),
            origin: Mutex::new(origin),
            standing: Mutex::default(),
            unlocked: Notify::new(),
        });
        let (sender, news) = mpsc::channel(1);
        let (ready, is_ready) = std::sync::mpsc::sync_channel(1);
        let (end, ending) = watch::channel(false);
        let feeding = Arc::clone(&shared);
        drop(background.spawn(async move {
            feed(&feeding, socket, (sender, ready), ending).await;
        }));
        if is_ready.recv_timeout(PATIENCE).is_err() {
            tracing::error!(
                "the database of the control plane does not answer yet; serving by what was served by last"
            );
        }
        Ok(Self { shared, news: Some(news), end })
    }

    /// Tells when something was published. It can be had once.
    pub(crate) fn news(&mut self) -> Option<mpsc::Receiver<()>> {
        self.news.take()
    }

    /// No longer answers on the address of the admin API.
    pub(crate) fn leave(&self) {
        self.end.send_replace(true);
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Shared {
    /// Whether the gateway serves by anything yet.
    pub(crate) fn is_serving(&self) -> bool {
        lock(&self.standing).is_serving
    }

    /// What was published last, and what the gateway serves by.
    pub(crate) fn parts(&self) -> (Parts, Parts) {
        (lock(&self.newest).clone(), lock(&self.used).clone())
    }

    /// Tries what was published last, and goes back to what was served by where that has errors.
    pub(crate) fn settle<T>(
        &self,
        mut attempt: impl FnMut(&Published) -> T,
        report: impl Fn(&T) -> &Report,
    ) -> Settled<T> {
        let (newest, used) = self.parts();
        let secrets = Arc::clone(&lock(&self.secrets));
        let attempt = |parts: &Parts| attempt(&parts::published(parts, &used, &secrets));
        parts::settle(newest, &used, !self.is_serving(), attempt, report)
    }

    /// Parts as a config takes them.
    pub(crate) fn published(&self, parts: &Parts) -> Published {
        parts::published(parts, &lock(&self.used).clone(), &lock(&self.secrets))
    }

    /// What is delegated to a workspace, and secrets with what it keeps by now. It waits for the database.
    fn known_now(&self, id: &str, name: &str) -> Result<(Arc<Grants>, Arc<Secrets>), String> {
        let mut secrets = Arc::clone(&lock(&self.secrets));
        let Some((runtime, store, control)) = self.database.get() else {
            return Err("the gateway has not begun yet; try again".to_owned());
        };
        let known = runtime.block_on(async {
            let grants = grants(store, id).await.map_err(|error| error.to_string());
            (grants, control.secret_values(id).await)
        });
        let grants = known.0.map_err(|why| {
            tracing::warn!(why, "a config cannot be checked");
            "what is delegated to the workspace cannot be read now; try again".to_owned()
        })?;
        // Without master keys there is none to be named.
        if let Ok(values) = known.1 {
            Arc::make_mut(&mut secrets).insert(name.to_owned(), values.into_iter().collect());
        }
        Ok((grants, secrets))
    }

    /// Takes the credentials of the operator's file, in place of those it had before.
    pub(crate) fn believe(&self, credentials: Credentials) {
        self.records.file(credentials);
    }

    /// The operator's config.
    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    /// Notes what the gateway serves by from now on, and keeps it for a start without the database.
    pub(crate) fn adopted(&self, used: &Parts, refused: BTreeMap<String, Refused>) {
        for (name, refused) in &refused {
            match used.get(name) {
                Some(_) => {
                    tracing::error!(workspace = %name, revision = refused.number, "this revision cannot be served by; the one before stays in force")
                }
                None => {
                    tracing::error!(workspace = %name, revision = refused.number, "this revision cannot be served by; the workspace is left out")
                }
            }
        }
        {
            let mut standing = lock(&self.standing);
            standing.refused = refused;
            standing.is_serving = true;
        }
        let is_other = std::mem::replace(&mut *lock(&self.used), used.clone()) != *used;
        if let (true, Some(folder)) = (is_other, &self.place.folder)
            && let Err(error) = parts::keep(folder, used, lock(&self.origin).as_deref())
        {
            tracing::warn!(%error, "what is served by cannot be kept in state_dir; a start without the database would go by what was kept before");
        }
    }

    /// How things are, for operators.
    pub(crate) fn status(&self) -> Value {
        let (newest, used) = self.parts();
        let standing = lock(&self.standing);
        let names = newest.keys().chain(used.keys()).collect::<BTreeSet<_>>();
        let workspace = |name: &String| {
            let refused = standing.refused.get(name);
            json!({
                "name": name,
                "published": newest.get(name).map(|part| part.number),
                "serving": used.get(name).map(|part| part.number),
                "refused": refused.map(|it| json!({ "revision": it.number, "problems": it.report.problems() })),
            })
        };
        json!({
            "address": standing.address.map(|address| address.to_string()),
            "database": standing.trouble.as_deref().unwrap_or("ok"),
            "master_key": standing.locked.as_deref().unwrap_or("ok"),
            "workspaces": names.into_iter().map(workspace).collect::<Vec<_>>(),
        })
    }

    /// Tells that the database cannot be used: once.
    fn troubled(&self, why: &str) {
        let mut standing = lock(&self.standing);
        if standing.trouble.is_none() {
            tracing::error!(
                why,
                "the database of the control plane cannot be used; traffic goes on by what was published before"
            );
        }
        standing.trouble = Some(why.to_owned());
    }

    fn recovered(&self) {
        if lock(&self.standing).trouble.take().is_some() {
            tracing::info!("the database of the control plane can be used again");
        }
    }
}

fn bind(address: SocketAddr) -> Result<std::net::TcpListener, String> {
    let bound = std::net::TcpListener::bind(address);
    let told = |error| {
        format!(
            "the admin API cannot have {address}: {error}; set `control: {{ bind: … }}` to another address"
        )
    };
    let socket = bound.map_err(told)?;
    socket.set_nonblocking(true).map_err(told)?;
    Ok(socket)
}

/// Opens the database as soon as that is possible, offers the admin API, and brings the gateway what is published.
async fn feed(
    shared: &Arc<Shared>,
    socket: Option<std::net::TcpListener>,
    (sender, ready): (mpsc::Sender<()>, std::sync::mpsc::SyncSender<()>),
    mut ending: watch::Receiver<bool>,
) {
    let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
    let store = loop {
        match open(shared).await {
            Ok(store) => break store,
            Err(why) => shared.troubled(&why),
        }
        tokio::select! {
            () = tokio::time::sleep(backoff.after_failure()) => {}
            _ = ending.wait_for(|is_ended| *is_ended) => return,
        }
    };
    shared.recovered();
    let checking = Arc::downgrade(shared);
    let control =
        Control::with(store.clone(), &shared.clock, move |asked| match checking.upgrade() {
            Some(shared) => check(&shared, asked),
            None => control::Checked::default(),
        });
    unlock(shared, &store, &control).await;
    shared.database.set((Handle::current(), store.clone(), control.clone())).ok();
    drop(tokio::spawn(keep_up(Arc::clone(shared), store.clone(), control.clone(), ending.clone())));
    drop(tokio::spawn(offer(Arc::clone(shared), control.clone(), socket, ending)));
    let mut position = None;
    let mut changes = store.kept();
    backoff.reset();
    loop {
        let mut pause = match shared.place.location {
            Location::Sqlite(_) => POLL_ALONE,
            Location::Postgres(_) => POLL,
        };
        match news_of(shared, (&store, &control), &mut position).await {
            Ok(is_other) => {
                shared.recovered();
                backoff.reset();
                ready.try_send(()).ok();
                // A token that is already waiting says the same.
                if is_other
                    && matches!(sender.try_send(()), Err(mpsc::error::TrySendError::Closed(())))
                {
                    return;
                }
            }
            Err(why) => {
                shared.troubled(&why);
                pause = backoff.after_failure();
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // What did not open is read again.
            () = shared.unlocked.notified() => position = None,
            changed = changes.changed() => if changed.is_err() { return },
        }
    }
}

/// Reads what has changed since a position; whether there is another config to be made of it.
async fn news_of(
    shared: &Shared,
    (store, control): (&Store, &Control),
    position: &mut Option<Position>,
) -> Result<bool, String> {
    let told = shared.records.follow(control, position).await;
    let told = told.map_err(|problem| problem.cause.unwrap_or(problem.detail))?;
    let known = async {
        let mut is_other = fetch(shared, store, told.is_workspace).await?;
        // What is published after a secret was changed is served with what it was changed to.
        if told.is_secret || told.is_workspace || is_other {
            is_other |= learn(shared, store, control).await?;
        }
        Ok(is_other)
    };
    known.await.map_err(|error: store::Error| {
        // What was told and not done would not be told again.
        *position = None;
        error.to_string()
    })
}

/// Reads the secrets of all workspaces; whether any is another than before.
async fn learn(shared: &Shared, store: &Store, control: &Control) -> store::Result<bool> {
    let before = Arc::clone(&lock(&shared.secrets));
    let mut now = Secrets::new();
    for (id, name, _) in store.revision_newest().await? {
        match control.secret_values(&id).await {
            Ok(values) => {
                now.insert(name, values.into_iter().collect());
            }
            Err(problem) => {
                if lock(&shared.standing).locked.is_none() {
                    let cause = problem.cause.as_deref().unwrap_or_default();
                    tracing::error!(workspace = %name, %problem, cause, "secrets cannot be read; what is known of them stays");
                }
                if let Some(known) = before.get(&name) {
                    now.insert(name, known.clone());
                }
            }
        }
    }
    let is_other = now != *before;
    *lock(&shared.secrets) = Arc::new(now);
    Ok(is_other)
}

/// What is delegated to a workspace; nothing if it cannot be understood.
async fn grants(store: &Store, id: &str) -> store::Result<Arc<Grants>> {
    let found = store.workspace_get(id).await?;
    let grants = serde_json::from_str(&found.grants).unwrap_or_else(|error| {
        tracing::error!(workspace = %found.name, %error, "what is delegated cannot be understood: nothing is");
        Grants::default()
    });
    Ok(Arc::new(grants))
}

/// The master keys by which secrets are encrypted: what the config says, or a file that is made at the first start. Keys that
/// do not open what is there are not used.
async fn keys(place: &Place, store: &Store) -> Result<Option<Keys>, String> {
    if let Some(text) = &place.keys {
        let told = |why: &dyn std::fmt::Display| format!("`master_key`: {why}");
        let keys = Keys::parse(text).map_err(|why| told(&why))?;
        store.keys_check(&keys).await.map_err(|why| told(&why))?;
        return Ok(Some(keys));
    }
    let Some(folder) = &place.folder else { return Ok(None) };
    store.keys_open(&folder.join(KEYS)).await.map(Some)
}

/// Gives the control plane its master keys, if it can have them; whether it can.
async fn unlock(shared: &Shared, store: &Store, control: &Control) -> bool {
    let found = keys(&shared.place, store).await;
    let mut standing = lock(&shared.standing);
    match found {
        Ok(keys) => {
            if let Some(keys) = keys {
                drop(control.clone().with_keys(keys));
            }
            standing.locked = None;
            true
        }
        Err(why) => {
            if standing.locked.is_none() {
                tracing::error!(why, "secrets of the database can be neither kept nor read");
            }
            standing.locked = Some(why);
            false
        }
    }
}

/// Does what one of all processes does for all, and looks for master keys as long as there are none.
async fn keep_up(
    shared: Arc<Shared>,
    store: Store,
    control: Control,
    mut ending: watch::Receiver<bool>,
) {
    let holder = format!("{:016x}", base::random::fast());
    loop {
        let is_locked = lock(&shared.standing).locked.is_some();
        if is_locked && unlock(&shared, &store, &control).await {
            tracing::info!("the master key is there again");
            shared.unlocked.notify_one();
        }
        if let Err(problem) = control.upkeep(&holder).await {
            let cause = problem.cause.as_deref().unwrap_or_default();
            tracing::warn!(%problem, cause, "the upkeep of the database has to wait");
        }
        tokio::select! {
            () = tokio::time::sleep(UPKEEP_EVERY) => {}
            _ = ending.wait_for(|is_ended| *is_ended) => return,
        }
    }
}

/// Opens the database, with the workspace of those who run the gateway in it.
async fn open(shared: &Shared) -> Result<Store, String> {
    let told = |error: store::Error| error.to_string();
    if let Location::Sqlite(path) = &shared.place.location {
        // It holds hashes of passwords: nobody but its owner reads it. One that is there stays as it is.
        File::options().write(true).create_new(true).mode(0o600).open(path).ok();
    }
    let store = Store::open(&shared.place.location, &shared.clock).await.map_err(told)?;
    let known = store.revision_newest().await.map_err(told)?;
    if !known.iter().any(|(_, name, _)| name == DEFAULT) {
        let control = Control::new(store.clone(), &shared.clock, |_| control::Checked::default());
        let system = Caller::system("first run");
        match control.workspace_create(&system, DEFAULT, "The platform").await {
            Ok(_) => {}
            // Another process was quicker.
            Err(problem) if problem.code == control::Code::Taken => {}
            Err(problem) => return Err(problem.to_string()),
        }
    }
    Ok(store)
}

/// Reads what was published since, and what is delegated to whom if that may be other than before; whether there is
/// anything.
async fn fetch(shared: &Shared, store: &Store, is_delegated: bool) -> store::Result<bool> {
    let before = lock(&shared.newest).clone();
    let mut now = Parts::new();
    let mut here = None;
    for (id, name, number) in store.revision_newest().await? {
        if name == DEFAULT {
            here = Some(id.clone());
        }
        let known = before.get(&name).filter(|part| part.id == id && part.number == number);
        if number == 0 {
            continue;
        }
        let part = match known {
            Some(part) if is_delegated => {
                Part { grants: grants(store, &id).await?, ..part.clone() }
            }
            Some(part) => part.clone(),
            None => match store.revision_get(&id, number).await {
                Ok(found) => {
                    let grants = grants(store, &id).await?;
                    Part { id, number, config: Arc::from(found.config), grants }
                }
                Err(store::Error::Corrupt(why)) => {
                    tracing::error!(workspace = %name, why, "a revision cannot be used; the one before stays in force");
                    match before.get(&name) {
                        Some(part) => part.clone(),
                        None => continue,
                    }
                }
                Err(error) => return Err(error),
            },
        };
        now.insert(name, part);
    }
    let mut origin = lock(&shared.origin);
    if origin.is_some() && *origin != here {
        // A database that was lost and made anew takes nothing away from what is served.
        let lost: Parts = before
            .iter()
            .filter(|(name, _)| !now.contains_key(*name))
            .map(|(name, part)| (name.clone(), part.clone()))
            .collect();
        if lost.is_empty() {
            *origin = here;
        }
        now.extend(lost);
    } else {
        *origin = here;
    }
    let is_other = now != before;
    *lock(&shared.newest) = now;
    Ok(is_other)
}

/// Offers the admin API, and tells the first of all users how to come in.
async fn offer(
    shared: Arc<Shared>,
    control: Control,
    socket: Option<std::net::TcpListener>,
    mut ending: watch::Receiver<bool>,
) {
    let mut socket = socket;
    let socket = loop {
        // Whoever hands over has the address until it has done so.
        if let Some(socket) = socket.take().or_else(|| bind(shared.place.bind).ok()) {
            break socket;
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY_MIN) => {}
            _ = ending.wait_for(|is_ended| *is_ended) => return,
        }
    };
    let (address, socket) = match (socket.local_addr(), TcpListener::from_std(socket)) {
        (Ok(address), Ok(socket)) => (address, socket),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "the admin API cannot be served");
            return;
        }
    };
    lock(&shared.standing).address = Some(address);
    welcome(&control, address).await;
    tracing::info!("admin API on http://{address}");
    let options = api::Options {
        clock: shared.clock.clone(),
        config_schema: model::schema::schema(policy::policy_schema()),
        hosts: Vec::new(),
        is_loopback: address.ip().is_loopback(),
        is_tls: false,
    };
    let end = async move { drop(ending.wait_for(|is_ended| *is_ended).await) };
    api::serve(socket, api::Admin::new(control, options), end).await;
}

/// Prints a link by which the first of all users logs in, while nobody has.
async fn welcome(control: &Control, address: SocketAddr) {
    match control.first_user().await {
        Ok(Some(link)) => {
            render::out(&format!(
                "nobody has logged in to the admin API yet; this link does so once, within an hour, as `admin`:\n  http://{address}/login/{}",
                link.reveal()
            ));
            tracing::info!("a link to log in for the first time is on standard output");
        }
        Ok(None) => {}
        Err(problem) => {
            let cause = problem.cause.as_deref().unwrap_or_default();
            tracing::error!(%problem, cause, "nobody can be let in to the admin API for the first time");
        }
    }
}

impl std::fmt::Debug for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Platform({})", self.shared.place.bind)
    }
}
