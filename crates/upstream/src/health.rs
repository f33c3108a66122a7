//! Asks targets how they are: once per node, over a connection of its own each time, with the same
//! protocol and TLS settings as the requests.

use crate::attempt::in_words;
use crate::connect::{ConnectError, Connector, Link};
use crate::progress::Progress;
use crate::reach::{self, Reach};
use crate::spec::{HealthQuestion, HealthSpec, HostHeader, TargetSpec, UpstreamSpec};
use crate::target::{TargetCell, Task};
use crate::world::World;
use crate::{http1, http2};
use base::random;
use http::Method;
use http::header::{HOST, HeaderValue, USER_AGENT};
use http::uri::PathAndQuery;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::time::timeout;
use tracing::{info, warn};
use traffic::upstream::Call;
use traffic::{Body, Headers, Request};

/// How a target is, as far as is known.
pub(crate) struct Health {
    is_good: AtomicBool,
    said: Mutex<Said>,
    asking: Mutex<Option<Asking>>,
}

/// What the last checks said.
#[derive(Debug, Default)]
struct Said {
    reason: Option<String>,
    good_in_a_row: u32,
    bad_in_a_row: u32,
}

/// The task that asks, and what it was started with.
struct Asking {
    settings: String,
    _task: Task,
}

impl Default for Health {
    /// Good until somebody says otherwise.
    fn default() -> Self {
        Self { is_good: AtomicBool::new(true), said: Mutex::default(), asking: Mutex::default() }
    }
}

impl Health {
    /// Whether the target takes requests.
    pub(crate) fn is_good(&self) -> bool {
        self.is_good.load(Ordering::Relaxed)
    }

    /// What the last check said.
    pub(crate) fn reason(&self) -> Option<String> {
        lock(&self.said).reason.clone()
    }

    /// Notes what a check said; the verdict, if it changed it.
    fn note(&self, result: Result<String, String>, spec: &HealthSpec) -> Option<bool> {
        let mut said = lock(&self.said);
        let is_good = result.is_ok();
        said.good_in_a_row = if is_good { said.good_in_a_row.saturating_add(1) } else { 0 };
        said.bad_in_a_row = if is_good { 0 } else { said.bad_in_a_row.saturating_add(1) };
        let (Ok(reason) | Err(reason)) = result;
        said.reason = Some(reason);
        let verdict = if said.good_in_a_row >= spec.healthy_after.max(1) {
            true
        } else if said.bad_in_a_row >= spec.unhealthy_after.max(1) {
            false
        } else {
            return None;
        };
        (self.is_good.swap(verdict, Ordering::Relaxed) != verdict).then_some(verdict)
    }
}

/// A question to one target.
struct Probe {
    spec: HealthSpec,
    /// None where a connection is answer enough.
    request: Option<Asked>,
    connector: Arc<Connector>,
}

/// The request that is the question.
struct Asked {
    method: Method,
    target: PathAndQuery,
    host: HeaderValue,
}

impl Asked {
    fn new(health: &HealthSpec, host: HeaderValue) -> Result<Option<Self>, String> {
        let HealthQuestion::Request { method, path } = &health.question else { return Ok(None) };
        let target = PathAndQuery::try_from(&**path).ok().filter(|_| path.starts_with('/'));
        let target = target.ok_or_else(|| {
            format!("`{path}` is no path for a health check; it begins with a slash")
        })?;
        Ok(Some(Self { method: method.clone(), target, host }))
    }

    fn request(&self) -> Box<Request> {
        let agent = HeaderValue::from_static("yett-health");
        Box::new(Request {
            method: self.method.clone(),
            target: self.target.clone(),
            headers: Headers::from_iter([(HOST, self.host.clone()), (USER_AGENT, agent)]),
            body: Body::empty(),
            protocol: None,
        })
    }
}

/// Has a target asked as `spec` wants it. A task that asks in the same way already goes on; another
/// one takes its place and keeps the verdict. Without health checks a target is healthy.
///
/// # Errors
/// When the question cannot be put, in words.
pub(crate) fn keep_asking(
    reach: &Reach,
    target: &TargetSpec,
    spec: &UpstreamSpec,
    world: &World,
) -> Result<(), String> {
    let cell = &reach.cell;
    let mut asking = lock(&cell.health.asking);
    let Some(health) = &spec.health else {
        if asking.take().is_some() {
            *lock(&cell.health.said) = Said::default();
            cell.health.is_good.store(true, Ordering::Relaxed);
            cell.metrics.set_up(true);
        }
        return Ok(());
    };
    let host = match &spec.host {
        HostHeader::Fixed(host) => host.clone(),
        _ => reach::own_host(target, &reach.connector().scheme())?,
    };
    let manner = reach::manner(target, spec);
    let settings = format!("{health:?} {host:?} {manner}");
    if asking.as_ref().is_some_and(|asking| asking.settings == settings) {
        return Ok(());
    }
    let request = Asked::new(health, host)?;
    let connector = Arc::clone(reach.connector());
    let probe = Probe { spec: health.clone(), request, connector };
    let task = Task::start(world, ask(Arc::downgrade(cell), probe));
    *asking = Some(Asking { settings, _task: task });
    Ok(())
}

/// Runs until nobody uses the target any more.
async fn ask(cell: Weak<TargetCell>, probe: Probe) {
    // Targets of one config are not asked all at once.
    let every_ns = u64::try_from(probe.spec.every.as_nanos()).unwrap_or(u64::MAX);
    tokio::time::sleep(Duration::from_nanos(random::fast_below(every_ns / 2))).await;
    while let Some(target) = cell.upgrade() {
        let result = match timeout(probe.spec.timeout, probe.put(&target)).await {
            Ok(result) => result,
            Err(_) => Some(Err(format!("no answer within {:?}", probe.spec.timeout))),
        };
        if let Some(result) = result {
            report(&target, result, &probe.spec);
        }
        drop(target);
        tokio::time::sleep(probe.spec.every).await;
    }
}

fn report(target: &TargetCell, result: Result<String, String>, spec: &HealthSpec) {
    target.outlier.checked(target, result.is_ok(), spec.healthy_after);
    let Some(verdict) = target.health.note(result, spec) else { return };
    target.metrics.set_up(verdict);
    let reason = target.health.reason().unwrap_or_default();
    let (upstream, target) = (&target.upstream, &target.text);
    if verdict {
        info!(%upstream, %target, %reason, "the target is healthy again");
    } else {
        warn!(%upstream, %target, %reason, "the target is unhealthy and gets no requests");
    }
}

impl Probe {
    /// Asks once. None if nobody could be asked, for want of something that is not the target's to give.
    async fn put(&self, target: &TargetCell) -> Option<Result<String, String>> {
        // Whoever waits for this sets the time limit.
        let limit = Some(self.spec.timeout);
        let asked = match &self.request {
            Some(asked) => match reach::connect(target, &self.connector, limit, None).await {
                Ok(link) => Ok(self.ask(asked, link).await),
                Err(error) => Err(error),
            },
            None => {
                let opened = reach::connect_raw(target, &self.connector, limit, None).await;
                opened.map(|_| Ok("a connection could be opened".to_owned()))
            }
        };
        match asked {
            Ok(said) => Some(said),
            Err(ConnectError::Ours(_)) => None,
            Err(error) => Some(Err(error.to_string())),
        }
    }

    /// Statuses from 200 to 399 are good.
    async fn ask(&self, asked: &Asked, link: Link) -> Result<String, String> {
        let (call, progress) = (Call::default(), Progress::unwatched());
        let status = match link {
            Link::Http1(link) => {
                let answered = http1::ask(link, &call, asked.request(), &progress).await;
                answered.map_err(|failed| in_words(&failed.fault))?.head.status
            }
            Link::Http2(link) => {
                let (told, scheme) = ((&call, &progress), self.connector.scheme());
                let mut alarm = link.lend_alarm();
                let answered = http2::ask(&link, scheme, told, asked.request(), &mut alarm).await;
                answered.map_err(|failed| in_words(&failed.fault))?.status
            }
        };
        let said = format!("answered {}", status.as_u16());
        if status.is_success() || status.is_redirection() { Ok(said) } else { Err(said) }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
