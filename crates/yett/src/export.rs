//! Sends spans to a collector: in batches, off the workers, and never so that traffic waits. What a
//! collector does not take in time is dropped and counted.

use base::backoff::Backoff;
use base::caps;
use base::{Clock, Secret};
use bytes::Bytes;
use compile::OtlpSpec;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, StatusCode};
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use telemetry::trace::{TraceSink, Traced};
use telemetry::{Metrics, otlp};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use traffic::outbound::Remote;
use traffic::{Body, Headers, Request};
use upstream::World;

/// How long the first spans of a batch wait for others.
const GATHER: Duration = Duration::from_secs(1);
/// Waits after failures.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Attempts for one batch.
const ATTEMPTS_MAX: u32 = 6;
/// How long a failure that goes on is not told again.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// Bytes of an answer that are looked at.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// The exporters that run, to be waited for at the end.
#[derive(Debug)]
pub(crate) struct Exporters {
    running: Mutex<Vec<JoinHandle<()>>>,
    stop: watch::Sender<bool>,
}

impl Default for Exporters {
    fn default() -> Self {
        Self { running: Mutex::default(), stop: watch::Sender::new(false) }
    }
}

impl Exporters {
    /// The exporter of these settings: the one there is, or a new one. It ends when no snapshot uses it any
    /// more, and sends what it has.
    pub(crate) fn make(
        &self,
        spec: OtlpSpec,
        remote: Arc<dyn Remote>,
        world: &World,
    ) -> Arc<dyn TraceSink> {
        world.state.cell(&key(&spec, &*remote), || {
            let (sender, receiver) = mpsc::channel(caps::TRACES_WAITING_MAX);
            let task = Task {
                spec,
                remote,
                metrics: Arc::clone(&world.metrics),
                clock: world.clock.clone(),
                backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT),
                quiet_until: None,
                is_failing: false,
            };
            let running = world.background.spawn(task.run(receiver, self.stop.subscribe()));
            let mut all = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            all.retain(|task| !task.is_finished());
            all.push(running);
            Exporter { sender, metrics: Arc::clone(&world.metrics) }
        })
    }

    /// Has all exporters send what they have, and waits for it, at most for `limit`.
    pub(crate) async fn finish(&self, limit: Duration) {
        self.stop.send_replace(true);
        let all = std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner));
        let done = async {
            for task in all {
                task.await.ok();
            }
        };
        if tokio::time::timeout(limit, done).await.is_err() {
            tracing::warn!("the last spans are lost: the collector does not take them in time");
        }
    }
}

/// Settings that are the same, those of `egress` included, have the same key. It stays within this process.
fn key(spec: &OtlpSpec, remote: &dyn Remote) -> String {
    let mut hasher = DefaultHasher::new();
    for (name, value) in &spec.headers {
        (name, value.reveal()).hash(&mut hasher);
    }
    format!(
        "otlp {} {} {:?} {:x} {}",
        spec.endpoint.url,
        spec.service,
        spec.endpoint.timeouts,
        hasher.finish(),
        remote.manner()
    )
}

/// The end at which spans come in.
struct Exporter {
    sender: Sender<Traced>,
    metrics: Arc<Metrics>,
}

impl TraceSink for Exporter {
    fn take(&self, traced: Traced) {
        let spans = traced.spans.len() as u64;
        if self.sender.try_send(traced).is_err() {
            self.metrics.spans_dropped(spans);
        }
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Exporter")
    }
}

/// The end at which they go out.
struct Task {
    spec: OtlpSpec,
    remote: Arc<dyn Remote>,
    metrics: Arc<Metrics>,
    clock: Clock,
    backoff: Backoff,
    quiet_until: Option<Instant>,
    is_failing: bool,
}

/// Why a batch was not taken.
struct Refused {
    why: String,
    /// How long to wait before it is worth another attempt; none if it never is.
    again: Option<Duration>,
}

impl Task {
    async fn run(mut self, mut receiver: Receiver<Traced>, mut stop: watch::Receiver<bool>) {
        let mut batch = Vec::new();
        loop {
            let came = tokio::select! {
                came = gather(&mut receiver, &mut batch) => came,
                _ = stop.wait_for(|is_over| *is_over) => break,
            };
            self.export(&mut batch).await;
            if !came {
                return;
            }
        }
        receiver.close();
        while gather(&mut receiver, &mut batch).await {
            self.export(&mut batch).await;
        }
        self.export(&mut batch).await;
    }

    /// Sends a batch, again where that may help, and drops it where it does not.
    async fn export(&mut self, batch: &mut Vec<Traced>) {
        if batch.is_empty() {
            return;
        }
        let spans: usize = batch.iter().map(|traced| traced.spans.len()).sum();
        let body = Bytes::from(otlp::encode(&self.resource(), batch));
        batch.clear();
        for attempt in 1..=ATTEMPTS_MAX {
            let refused = match self.send(body.clone()).await {
                Ok(answer) => return self.sent(spans as u64, &answer),
                Err(refused) => refused,
            };
            self.is_failing = true;
            if let Some(wait) = refused.again.filter(|_| attempt < ATTEMPTS_MAX) {
                self.tell(&format!("the collector takes no spans, trying again: {}", refused.why));
                tokio::time::sleep(wait.max(self.backoff.after_failure())).await;
                continue;
            }
            self.tell(&format!("the collector takes no spans, they are lost: {}", refused.why));
            break;
        }
        self.metrics.spans_dropped(spans as u64);
    }

    fn resource(&self) -> [(&str, &str); 2] {
        [("service.name", &self.spec.service), ("service.version", env!("CARGO_PKG_VERSION"))]
    }

    fn sent(&mut self, spans: u64, answer: &[u8]) {
        self.backoff.reset();
        if std::mem::take(&mut self.is_failing) {
            self.quiet_until = None;
            tracing::info!("the collector takes spans again");
        }
        let refused = otlp::refused(answer);
        let lost = refused.as_ref().map_or(0, |(lost, _)| (*lost).min(spans));
        self.metrics.spans_exported(spans - lost);
        self.metrics.spans_dropped(lost);
        if let Some((lost, why)) = refused {
            self.tell(&format!("the collector refused {lost} spans: {why:?}"));
        }
    }

    /// Says what goes wrong, once a minute.
    fn tell(&mut self, what: &str) {
        let now = self.clock.now();
        if self.quiet_until.is_none_or(|until| now >= until) {
            self.quiet_until = Some(now + TELL_EVERY);
            tracing::warn!(collector = %self.spec.endpoint.url, "{what}");
        }
    }

    async fn send(&self, body: Bytes) -> Result<Bytes, Refused> {
        let mut headers = Headers::with_capacity(self.spec.headers.len() + 1);
        headers.append(CONTENT_TYPE, HeaderValue::from_static(otlp::CONTENT_TYPE));
        for (name, value) in &self.spec.headers {
            headers.append(name.clone(), secret_value(value)?);
        }
        let request = Request {
            method: Method::POST,
            target: self.remote.target().clone(),
            headers,
            body: Body::full(body),
            protocol: None,
        };
        let soon = |why: String| Refused { why, again: Some(Duration::ZERO) };
        let answer =
            self.remote.call(None, request).await.map_err(|fault| soon(in_words(&fault)))?;
        let status = answer.status;
        let after = answer.headers.get(RETRY_AFTER).and_then(|after| after.to_str().ok());
        let after = after.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
        let read = traffic::outbound::read(answer.body, ANSWER_BYTES_MAX).await;
        if status.is_success() {
            return Ok(read.unwrap_or_default());
        }
        // OTLP 1, "Failures": only these are worth another attempt.
        let is_busy = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        );
        let wait = after.unwrap_or_default().min(LONGEST_WAIT);
        Err(Refused { why: format!("it answers {status}"), again: is_busy.then_some(wait) })
    }
}

fn secret_value(value: &Secret) -> Result<HeaderValue, Refused> {
    let value = HeaderValue::from_str(value.reveal());
    let mut value = value.map_err(|_| Refused {
        why: "a header of `tracing.otlp.headers` is no header's value".to_owned(),
        again: None,
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Gathers a batch: the first that comes, and what comes soon after. What was gathered stays in the batch
/// if nobody waits for the rest. Says whether more may come.
async fn gather(receiver: &mut Receiver<Traced>, batch: &mut Vec<Traced>) -> bool {
    if batch.is_empty() && receiver.recv_many(batch, caps::TRACES_PER_BATCH).await == 0 {
        return false;
    }
    let rest = async {
        while batch.len() < caps::TRACES_PER_BATCH {
            let room = caps::TRACES_PER_BATCH - batch.len();
            if receiver.recv_many(batch, room).await == 0 {
                return false;
            }
        }
        true
    };
    tokio::time::timeout(GATHER, rest).await.unwrap_or(true)
}

/// A fault and what lies behind it.
fn in_words(fault: &traffic::Fault) -> String {
    let first: &(dyn std::error::Error + 'static) = fault;
    let chain = std::iter::successors(Some(first), |error| (*error).source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
