//! The control plane beside the traffic: a database, an admin API to it, and what workspaces publish there, which reaches the
//! gateway as a change of its files does. All of it runs on the background runtime. Traffic never waits for it, and goes on
//! without it: what was served by last is kept in `state_dir`.

use crate::disk::Secrets;
use crate::platform::directory::Records;
use crate::platform::feed::{feed, grants};
use crate::platform::offer::bind;
use crate::platform::parts::{Parts, Settled};
use crate::prepare::{Credentials, Published, Still};
use base::{Clock, Report};
use control::Control;
use model::join::Grants;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use store::Store;
use telemetry::Metrics;
use telemetry::metrics::ControlPlane;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{Notify, mpsc, watch};
use traffic::Outbound;

/// The certificate of the admin API.
mod tls;
/// Whether a config may be published.
mod check;
/// What is known without it.
mod cold;
/// Consumers and credentials of the database.
mod directory;
/// What it brings the gateway.
mod feed;
/// Master keys and upkeep.
mod keys;
/// The admin API on its address.
mod offer;
/// What workspaces have published.
pub(crate) mod parts;
/// What the config says of it.
mod place;
/// By whom people log in.
mod providers;

pub(crate) use place::Place;
/// How long a start waits for the database before it goes on without.
const PATIENCE: Duration = Duration::from_secs(4);
const RETRY_MIN: Duration = Duration::from_millis(200);
/// The workspace of those who run the gateway.
pub(crate) const DEFAULT: &str = "default";

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
    /// What is kept of them, and of secrets.
    known: cold::Known,
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
    metrics: Arc<Metrics>,
    /// Tells that there are master keys where there were none.
    unlocked: Notify,
    /// The way out of this machine, as the config says; none before the gateway serves.
    outbound: Mutex<Option<Arc<dyn Outbound>>>,
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
            known: cold::Known::new(place.folder.as_deref()),
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
            metrics: Arc::clone(&still.metrics),
            unlocked: Notify::new(),
            outbound: Mutex::default(),
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

    /// Takes the way out of this machine, in place of the one it had before.
    pub(crate) fn leaves_by(&self, outbound: &Arc<dyn Outbound>) {
        *lock(&self.outbound) = Some(Arc::clone(outbound));
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
            self.measured(&standing);
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
        self.measured(&standing);
    }

    fn recovered(&self) {
        let mut standing = lock(&self.standing);
        if standing.trouble.take().is_some() {
            tracing::info!("the database of the control plane can be used again");
        }
        self.measured(&standing);
    }

    /// Tells metrics how things are.
    fn measured(&self, standing: &Standing) {
        self.metrics.control(ControlPlane {
            is_database_up: standing.trouble.is_none(),
            is_unlocked: standing.locked.is_none(),
            refused: standing.refused.len(),
        });
    }
}

impl std::fmt::Debug for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Platform({})", self.shared.place.bind)
    }
}
