//! Master keys, and what has to be done to the database from time to time.

use super::place::Place;
use super::{Shared, lock};
use control::Control;
use control::upkeep::UPKEEP_EVERY;
use std::sync::Arc;
use store::Store;
use store::envelope::Keys;
use tokio::sync::watch;

/// The master keys by which secrets are encrypted: what the config says, or a file that is made at the first start. Keys that
/// do not open what is there are not used.
async fn keys(place: &Place, store: &Store) -> Result<Option<Keys>, String> {
    if let Some(text) = &place.keys {
        let told = |why: &dyn std::fmt::Display| format!("`master_key`: {why}");
        let keys = Keys::parse(text).map_err(|why| told(&why))?;
        store.keys_check(&keys).await.map_err(|why| told(&why))?;
        return Ok(Some(keys));
    }
    let Some(path) = place.keys_file() else { return Ok(None) };
    store.keys_open(&path).await.map(Some)
}

/// Gives the control plane its master keys, if it can have them; whether it can.
pub(super) async fn unlock(shared: &Shared, store: &Store, control: &Control) -> bool {
    let found = keys(&shared.place, store).await;
    let mut standing = lock(&shared.standing);
    match found {
        Ok(keys) => {
            if let Some(keys) = keys {
                drop(control.clone().with_keys(keys));
            }
            standing.locked = None;
            shared.measured(&standing);
            true
        }
        Err(why) => {
            if standing.locked.is_none() {
                tracing::error!(why, "secrets of the database can be neither kept nor read");
            }
            standing.locked = Some(why);
            shared.measured(&standing);
            false
        }
    }
}

/// Does what one of all processes does for all, and looks whether there are other master keys.
pub(super) async fn keep_up(
    shared: Arc<Shared>,
    store: Store,
    control: Control,
    mut ending: watch::Receiver<bool>,
) {
    let holder = format!("{:016x}", base::random::fast());
    let mut known = shared.place.keys_there().unwrap_or_default();
    loop {
        let is_locked = lock(&shared.standing).locked.is_some();
        let now = shared.place.keys_there().unwrap_or_default();
        let is_other = now.is_some() && now != known;
        if (is_locked || is_other) && unlock(&shared, &store, &control).await {
            known = now;
            if is_locked {
                tracing::info!("the master key is there again");
            } else {
                tracing::info!("there are other master keys");
            }
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
