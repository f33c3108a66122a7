//! Tells operators when an upstream begins to turn requests away because too many are under way, and when it no longer
//! has to. Looked at beside the requests, which only count.

use super::places::Places;
use crate::config::Config;
use crate::target::Task;
use crate::world::World;
use base::caps::{SHED_LOOK_S, SHED_QUIET_LOOKS};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tracing::{info, warn};
use traffic::plan::Priority;

/// What was seen at the last look; outlives configs.
#[derive(Debug, Default)]
struct Seen {
    /// Requests ever turned away, by priority.
    shed: [u64; Priority::ALL.len()],
    /// What it was when it began, while it goes on; and for how many looks there were none.
    since: Option<([u64; Priority::ALL.len()], u32)>,
}

/// Looks from time to time for as long as `config` lives.
pub(super) fn keep_looking(
    upstream: &Arc<str>,
    places: &Places,
    config: &Arc<Config>,
    world: &World,
) -> Task {
    let seen = world.state.cell(&format!("upstream/{upstream}/shed"), Mutex::<Seen>::default);
    let (upstream, places, config) = (Arc::clone(upstream), places.clone(), Arc::downgrade(config));
    Task::start(world, async move {
        loop {
            tokio::time::sleep(Duration::from_secs(SHED_LOOK_S)).await;
            let Some(config) = config.upgrade() else { return };
            if config.change().is_latest {
                seen.lock().unwrap_or_else(PoisonError::into_inner).look(&upstream, &places);
            }
        }
    })
}

impl Seen {
    fn look(&mut self, upstream: &str, places: &Places) {
        let load = &places.metrics.trouble.load;
        let status = places.status();
        let (in_flight, limit) = status.concurrency.unwrap_or_default();
        load.in_flight.store(in_flight, Ordering::Relaxed);
        let now = load.shed_by_priority();
        let before = std::mem::replace(&mut self.shed, now);
        match &mut self.since {
            None if now != before => {
                let queued = status.queued;
                warn!(%upstream, in_flight, limit, queued, "more requests come than the upstream can work on: some are turned away");
                self.since = Some((before, 0));
            }
            None => {}
            Some((_, quiet)) if now != before => *quiet = 0,
            Some((began, quiet)) => {
                *quiet += 1;
                if *quiet >= SHED_QUIET_LOOKS {
                    let [low, normal, high] =
                        std::array::from_fn(|at| now[at].saturating_sub(began[at]));
                    info!(%upstream, limit, low, normal, high, "the upstream can work on all requests again; so many of each priority were turned away");
                    self.since = None;
                }
            }
        }
    }
}
