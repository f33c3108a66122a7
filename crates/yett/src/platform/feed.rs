//! What the database holds, brought to the gateway: from the first answer on, and as it changes.

use super::check::{check, effect};
use super::keys::{keep_up, unlock};
use super::offer::offer;
use super::parts::{Part, Parts};
use super::providers::way_of;
use super::{DEFAULT, RETRY_MIN, Shared, cold, lock};
use crate::disk::Secrets;
use base::backoff::Backoff;
use control::{Caller, Control};
use model::join::Grants;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;
use std::time::Duration;
use store::outbox::Position;
use store::{Location, Store};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

/// How often it is looked whether another process has published something.
const POLL: Duration = Duration::from_millis(150);
/// The same, where nobody else can.
const POLL_ALONE: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// How long a start waits for an answer before it goes by what was known last.
const COLD_AFTER: Duration = Duration::from_secs(2);

/// Opens the database as soon as that is possible, offers the admin API, and brings the gateway what is published.
pub(super) async fn feed(
    shared: &Arc<Shared>,
    socket: Option<std::net::TcpListener>,
    (sender, ready): (mpsc::Sender<()>, std::sync::mpsc::SyncSender<()>),
    mut ending: watch::Receiver<bool>,
) {
    let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
    let mut is_cold = false;
    let store = loop {
        match or_cold(shared, &mut is_cold, open(shared)).await {
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
    let looking = Arc::downgrade(shared);
    let control = control.with_effect(move |asked| {
        let shared = looking.upgrade()?;
        effect(&shared, asked)
    });
    let control = control.with_providers(shared.place.providers.clone(), way_of(shared));
    unlock(shared, &store, &control).await;
    shared.database.set((Handle::current(), store.clone(), control.clone())).ok();
    drop(tokio::spawn(keep_up(Arc::clone(shared), store.clone(), control.clone(), ending.clone())));
    drop(tokio::spawn(cold::keep(Arc::clone(shared), control.clone(), ending.clone())));
    drop(tokio::spawn(offer(Arc::clone(shared), control.clone(), socket, ending)));
    let mut position = None;
    let mut changes = store.kept();
    backoff.reset();
    loop {
        let mut pause = match shared.place.location {
            Location::Sqlite(_) => POLL_ALONE,
            Location::Postgres(_) => POLL,
        };
        let news = news_of(shared, (&store, &control), &mut position);
        match or_cold(shared, &mut is_cold, news).await {
            Ok(is_other) => {
                is_cold = true;
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

/// Asks the database. Where it does not answer soon for the first time, or cannot be used, what was known last is gone by.
async fn or_cold<T>(
    shared: &Shared,
    is_cold: &mut bool,
    asked: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    if *is_cold {
        return asked.await;
    }
    let mut asked = std::pin::pin!(asked);
    let answered = tokio::time::timeout(COLD_AFTER, asked.as_mut()).await;
    if let Ok(Ok(answer)) = answered {
        return Ok(answer);
    }
    *is_cold = true;
    shared.go_cold();
    match answered {
        Ok(answer) => answer,
        Err(_) => asked.await,
    }
}

/// Reads what has changed since a position; whether there is another config to be made of it.
async fn news_of(
    shared: &Shared,
    (store, control): (&Store, &Control),
    position: &mut Option<Position>,
) -> Result<bool, String> {
    let told = shared.records.follow((control, &shared.known), position).await;
    let told = told.map_err(|problem| problem.cause.unwrap_or(problem.detail))?;
    let known = async {
        let mut is_other = fetch(shared, store, told.is_workspace).await?;
        let mut is_kept_anew = told.is_secret || told.is_workspace || told.is_rewrapped;
        // What is published after a secret was changed is served with what it was changed to.
        if told.is_secret || told.is_workspace || is_other {
            let is_learnt = learn(shared, store, control).await?;
            is_other |= is_learnt;
            is_kept_anew |= is_learnt;
        }
        if is_kept_anew {
            shared.known.other();
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
pub(super) async fn grants(store: &Store, id: &str) -> store::Result<Arc<Grants>> {
    let found = store.workspace_get(id).await?;
    let grants = serde_json::from_str(&found.grants).unwrap_or_else(|error| {
        tracing::error!(workspace = %found.name, %error, "what is delegated cannot be understood: nothing is");
        Grants::default()
    });
    Ok(Arc::new(grants))
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
