//! What names stand for, kept fresh: a name is asked for again when the answer has expired, and after a
//! failure with growing pauses, while what was known stays.

use crate::resolve::{Resolve, Server};
use crate::spec::{TargetHost, TargetSpec};
use crate::target::Task;
use crate::world::World;
use base::backoff::Backoff;
use base::caps::{ADDRESSES_PER_NAME_MAX, DNS_PAUSE_MAX_S, DNS_VALID_MAX_S, DNS_VALID_MIN_S};
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::watch;
use tracing::{info, warn};

const VALID_MIN: Duration = Duration::from_secs(DNS_VALID_MIN_S);
const VALID_MAX: Duration = Duration::from_secs(DNS_VALID_MAX_S);
const PAUSE_MAX: Duration = Duration::from_secs(DNS_PAUSE_MAX_S);

/// A name and what it stands for. It outlives configs, and all upstreams that use it share it.
pub(crate) struct Name {
    text: Box<str>,
    pub(crate) known: watch::Sender<Known>,
    asking: Mutex<Option<Task>>,
}

/// What is known of a name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// In a fixed order. Empty until there was an answer.
    pub(crate) found: Arc<[Found]>,
    /// Why the last question had no answer, if it had none.
    pub(crate) error: Option<Arc<str>>,
}

impl Known {
    /// Whether the first answer is still awaited.
    pub(crate) fn is_awaited(&self) -> bool {
        self.found.is_empty() && self.error.is_none()
    }
}

/// One address that a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) address: IpAddr,
    /// Who offers the service, if the name is one of a service.
    pub(crate) server: Option<Arc<Server>>,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Question {
    Addresses(String),
    Service(String),
}

impl Name {
    /// The name behind a target, if it is one; asking for it begins at once.
    pub(crate) fn of(
        target: &TargetSpec,
        name_servers: &[SocketAddr],
        world: &World,
    ) -> Option<Arc<Self>> {
        let (kind, question) = match &target.host {
            TargetHost::Ip(_) | TargetHost::Unix(_) => return None,
            TargetHost::Name(name) => ("name", Question::Addresses(name.clone())),
            TargetHost::Service(name) => ("service", Question::Service(name.clone())),
        };
        let (Question::Addresses(text) | Question::Service(text)) = &question;
        let mut id = format!("{kind}/{text}");
        for server in name_servers {
            // Writing to a string cannot fail.
            write!(id, "@{server}").ok();
        }
        let name = world.state.cell(&id, || Self {
            text: text.as_str().into(),
            known: watch::Sender::new(Known::default()),
            asking: Mutex::default(),
        });
        let mut asking = name.asking.lock().unwrap_or_else(PoisonError::into_inner);
        asking.get_or_insert_with(|| {
            let through = (!name_servers.is_empty()).then(|| world.resolve.through(name_servers));
            let resolve = through.flatten().unwrap_or_else(|| Arc::clone(&world.resolve));
            Task::start(world, keep_fresh(Arc::downgrade(&name), resolve, question))
        });
        drop(asking);
        Some(name)
    }

    fn learned(&self, found: Vec<Found>) {
        self.known.send_if_modified(|known| {
            if known.error.take().is_some() {
                info!(name = %self.text, "the name is resolved again");
            }
            let is_changed = *known.found != *found;
            known.found = found.into();
            is_changed
        });
    }

    /// What was known stays.
    fn failed(&self, error: String) {
        self.known.send_if_modified(|known| {
            if known.error.is_none() {
                warn!(name = %self.text, %error, "the name could not be resolved");
            }
            known.error = Some(error.into());
            known.found.is_empty()
        });
    }
}

/// Runs until nobody uses the name any more.
async fn keep_fresh(name: Weak<Name>, resolve: Arc<dyn Resolve>, question: Question) {
    let mut backoff = Backoff::new(VALID_MIN, PAUSE_MAX);
    loop {
        let Some(before) = name.upgrade().map(|name| Arc::clone(&name.known.borrow().found)) else {
            return;
        };
        let answer = match &question {
            Question::Addresses(text) => addresses(&*resolve, text).await,
            Question::Service(text) => service(&*resolve, text, &before).await,
        };
        let Some(name) = name.upgrade() else { return };
        let pause = match answer {
            Ok((found, valid_for)) => {
                name.learned(found);
                backoff.reset();
                valid_for.clamp(VALID_MIN, VALID_MAX)
            }
            Err(error) => {
                name.failed(error);
                backoff.after_failure()
            }
        };
        drop(name);
        tokio::time::sleep(pause).await;
    }
}

type Answer = Result<(Vec<Found>, Duration), String>;

async fn addresses(resolve: &dyn Resolve, name: &str) -> Answer {
    let resolved = resolve.resolve(name).await?;
    if resolved.addresses.is_empty() {
        return Err("the name has no address".to_owned());
    }
    let kept = resolved.addresses.into_iter().take(ADDRESSES_PER_NAME_MAX);
    Ok((kept.map(|address| Found { address, server: None }).collect(), resolved.valid_for))
}

/// Who offers a service, each with its addresses. A server whose name cannot be resolved keeps the
/// addresses it had `before`.
async fn service(resolve: &dyn Resolve, service: &str, before: &[Found]) -> Answer {
    let offered = resolve.servers(service).await?;
    let mut valid_for = offered.valid_for;
    let mut found: Vec<Found> = Vec::new();
    let mut error = None;
    for server in offered.servers {
        let server = Arc::new(server);
        match resolve.resolve(&server.host).await {
            Ok(resolved) => {
                valid_for = valid_for.min(resolved.valid_for);
                found.extend(resolved.addresses.into_iter().map(|address| {
                    let server = Some(Arc::clone(&server));
                    Found { address, server }
                }));
            }
            Err(why) => {
                let is_it = |was: &&Found| {
                    was.server
                        .as_ref()
                        .is_some_and(|was| was.host == server.host && was.port == server.port)
                };
                let kept = before
                    .iter()
                    .filter(is_it)
                    .map(|was| Found { address: was.address, server: Some(Arc::clone(&server)) });
                found.extend(kept);
                error = Some(format!("{}: {why}", server.host));
            }
        }
    }
    found.truncate(ADDRESSES_PER_NAME_MAX);
    match error {
        Some(error) if found.is_empty() => Err(error),
        // Whoever was not found is asked for again soon.
        Some(_) => Ok((found, VALID_MIN)),
        None => Ok((found, valid_for)),
    }
}
