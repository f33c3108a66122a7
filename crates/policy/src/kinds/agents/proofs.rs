//! Names of addresses, asked for beside the request path. A request finds what is known already, and has what is not asked
//! for; it never waits.

use super::Proof;
use crate::kind::BuildCtx;
use base::Clock;
use base::caps::{
    NAMES_ASKED_AT_ONCE, NAMES_ASKED_TIMEOUT_S, NAMES_ASKED_WAITING_MAX, NAMES_KNOWN_MAX,
    NAMES_PAUSE_S, NAMES_STALE_S, NAMES_VALID_MAX_S, NAMES_VALID_MIN_S,
};
use quick_cache::sync::Cache;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, mpsc};
use traffic::background::{Background, Task};
use traffic::names::Names;

/// Domains in lower case, without dots at their ends.
pub(super) type Domains = Arc<[Box<str>]>;

/// Whether the address has a name below one of the domains.
type Question = (IpAddr, Domains);

/// What is known of addresses, by all policies that ask the same name servers.
pub(super) struct Proofs {
    shared: Arc<Shared>,
    asked: mpsc::Sender<Question>,
    /// Who asks, until this is dropped.
    _asking: std::sync::Mutex<Box<[Task]>>,
}

struct Shared {
    known: Cache<Question, Known>,
    clock: Clock,
    names: Arc<dyn Names>,
    /// Whether the last question had no answer.
    is_down: AtomicBool,
}

/// What is known of an address.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    /// Whether it has such a name, and until when that is sure.
    is_so: Option<(bool, Instant)>,
    /// Until when nobody asks again: somebody is asking, or nobody could be asked.
    waits: Option<Instant>,
}

impl Proofs {
    /// Those of the gateway that a policy is built for.
    pub(super) fn of(ctx: &BuildCtx<'_>) -> Arc<Self> {
        let id = format!("agents/names{}", ctx.names.manner());
        ctx.state.cell(&id, || Self::new(ctx.clock, ctx.names, &**ctx.background))
    }

    pub(super) fn new(clock: &Clock, names: &Arc<dyn Names>, background: &dyn Background) -> Self {
        let shared = Arc::new(Shared {
            known: Cache::new(NAMES_KNOWN_MAX),
            clock: clock.clone(),
            names: Arc::clone(names),
            is_down: AtomicBool::new(false),
        });
        let (asked, questions) = mpsc::channel(NAMES_ASKED_WAITING_MAX);
        let questions = Arc::new(Mutex::new(questions));
        let ask = |_| {
            let (shared, questions) = (Arc::clone(&shared), Arc::clone(&questions));
            background.spawn(Box::pin(shared.answer(questions)))
        };
        let asking = (0..NAMES_ASKED_AT_ONCE).map(ask).collect();
        Self { shared, asked, _asking: std::sync::Mutex::new(asking) }
    }

    /// What is known of an address; it is asked for where that is nothing, or no longer sure.
    pub(super) fn find(&self, client: IpAddr, domains: &Domains) -> Proof {
        let question = (client, Arc::clone(domains));
        let now = self.shared.clock.now();
        let known = self.shared.known.get(&question).unwrap_or_default();
        let is_sure = known.is_so.is_some_and(|(_, until)| now < until);
        if !is_sure && known.waits.is_none_or(|until| until <= now) {
            // A question that finds no place is asked when the client comes again.
            if let Ok(place) = self.asked.try_reserve() {
                // In this order: the answer may come at once.
                let waits = Some(now + Duration::from_secs(NAMES_ASKED_TIMEOUT_S + NAMES_PAUSE_S));
                self.shared.known.insert(question.clone(), Known { waits, ..known });
                place.send(question);
            }
        }
        // What was true is believed a while longer, so that a bot need not come twice whenever it is asked again.
        let stale = Duration::from_secs(NAMES_STALE_S);
        match known.is_so {
            Some((is_so, until)) if now < until + stale => {
                if is_so {
                    Proof::Holds
                } else {
                    Proof::Lies
                }
            }
            _ => Proof::Open,
        }
    }
}

impl Shared {
    /// Answers one question after the other.
    async fn answer(self: Arc<Self>, questions: Arc<Mutex<mpsc::Receiver<Question>>>) {
        loop {
            let question = questions.lock().await.recv().await;
            let Some(question) = question else { return };
            let (address, domains) = &question;
            let limit = Duration::from_secs(NAMES_ASKED_TIMEOUT_S);
            let proving = self.names.prove(*address, Arc::clone(domains));
            let proved = match tokio::time::timeout(limit, proving).await {
                Ok(proved) => proved,
                Err(_) => Err("no name server answers in time".to_owned()),
            };
            self.tell(*address, proved.as_ref().err());
            let now = self.clock.now();
            let known = match proved {
                Ok(proved) => {
                    let min = Duration::from_secs(NAMES_VALID_MIN_S);
                    let max = Duration::from_secs(NAMES_VALID_MAX_S);
                    let until = now + proved.valid_for.clamp(min, max);
                    Known { is_so: Some((proved.name.is_some(), until)), waits: None }
                }
                Err(_) => {
                    let before = self.known.get(&question).unwrap_or_default();
                    Known { waits: Some(now + Duration::from_secs(NAMES_PAUSE_S)), ..before }
                }
            };
            self.known.insert(question, known);
        }
    }

    /// Tells when nothing can be found out any more, and when something can again.
    fn tell(&self, address: IpAddr, failed: Option<&String>) {
        let was_down = self.is_down.swap(failed.is_some(), Ordering::Relaxed);
        match failed {
            Some(why) if !was_down => {
                tracing::warn!(%address, why, "the name of an address that may be a bot's could not be found out");
            }
            None if was_down => tracing::info!("names of addresses can be found out again"),
            _ => {}
        }
    }
}

impl fmt::Debug for Proofs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proofs({} known)", self.shared.known.len())
    }
}
