use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use telemetry::Metrics;
use telemetry::metrics::LimitMetrics;
use traffic::{Exchange, Fault};

/// What becomes of requests that are too much, as it was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Excess {
    /// Whether they pass all the same, and are counted and told.
    pub dry_run: bool,
    /// Whether they count like those that pass.
    pub count_refused: bool,
    /// Whether answers tell clients what is left; if nothing is said, unless it is a dry run.
    pub headers: Option<bool>,
}

impl Excess {
    /// Whether answers tell clients what is left.
    pub(crate) fn tells(self) -> bool {
        self.headers.unwrap_or(!self.dry_run)
    }

    /// What is unusual about it, for people who read a config.
    pub(crate) fn about(self) -> impl Iterator<Item = String> {
        let lines = [
            (self.dry_run, "dry run: what would be refused passes, and is counted and logged"),
            (self.count_refused, "what is refused counts, too"),
        ];
        lines.into_iter().filter(|(is_so, _)| *is_so).map(|(_, line)| line.to_owned())
    }
}

/// How often a dry run writes to the log, at most.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// Refuses what is too much, or only says that it would.
pub(crate) struct Refusal {
    is_dry: bool,
    /// What operators know the limits by.
    name: Box<str>,
    metrics: Arc<LimitMetrics>,
    told_at: Mutex<Option<Instant>>,
    untold: AtomicU64,
}

impl Refusal {
    /// For limits that operators know by this name.
    pub(crate) fn new(excess: Excess, name: &str, metrics: &Metrics) -> Self {
        Self {
            is_dry: excess.dry_run,
            name: name.into(),
            metrics: metrics.limit(name),
            told_at: Mutex::default(),
            untold: AtomicU64::new(0),
        }
    }

    /// What comes of what was judged.
    pub(crate) fn decide(
        &self,
        judged: Result<(), Fault>,
        exchange: &Exchange,
    ) -> Result<(), Fault> {
        let Err(fault) = judged else { return Ok(()) };
        if !self.is_dry {
            self.metrics.refused();
            return Err(fault);
        }
        self.metrics.would_refuse();
        self.tell(&fault, exchange);
        Ok(())
    }

    /// Tells operators of it, and of all since it was told before.
    fn tell(&self, fault: &Fault, exchange: &Exchange) {
        self.untold.fetch_add(1, Ordering::Relaxed);
        // Whoever holds it tells already.
        let Ok(mut told_at) = self.told_at.try_lock() else { return };
        let since = told_at.map(|at| exchange.arrived.saturating_duration_since(at));
        if since.is_some_and(|since| since < TOLD_EVERY) {
            return;
        }
        *told_at = Some(exchange.arrived);
        drop(told_at);
        tracing::info!(
            event = "would_refuse",
            limit = &*self.name,
            code = fault.code.name(),
            times = self.untold.swap(0, Ordering::Relaxed),
            consumer = exchange.consumer.as_ref().map(|consumer| &*consumer.name),
            client = %exchange.client(),
            "a limit in its dry run would have refused requests"
        );
    }
}
