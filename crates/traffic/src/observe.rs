//! What is measured of a request beyond what every record holds: when each stage ended, and what each
//! attempt came to. Nobody reads a clock for it unless somebody asked.

use crate::fault::{FaultCode, Stage};
use crate::headers::Headers;
use crate::id::Trace;
use base::Secret;
use base::units::Share;
use http::{HeaderName, HeaderValue};
use smallvec::SmallVec;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use telemetry::access::StageTimes;
use telemetry::trace::TraceSink;

/// What requests are looked at for, by config.
#[derive(Debug, Default)]
pub struct Observe {
    /// Whether the stages of every request are measured for the access log.
    pub is_timed: bool,
    /// Headers of the answer that the access log shows.
    pub answer_headers: Box<[HeaderName]>,
    /// Traces, if a collector takes them.
    pub tracing: Option<Tracing>,
    /// What a request must show for a closer look.
    pub debug_token: Option<Secret>,
}

/// The header in which a request shows the debug token.
pub const DEBUG: HeaderName = HeaderName::from_static("x-yett-debug");

/// Which requests are traced, and who takes their spans.
#[derive(Debug)]
pub struct Tracing {
    /// The share of them where nobody before us has decided.
    pub sample: Share,
    /// Whether those before us may decide.
    pub follows: bool,
    /// Where spans go.
    pub sink: Arc<dyn TraceSink>,
}

impl Tracing {
    /// Whether a request is traced. The same trace gets the same decision everywhere the share is the
    /// same.
    #[must_use]
    pub fn takes(&self, trace: &Trace) -> bool {
        if self.follows && trace.parent() != 0 {
            return trace.is_sampled();
        }
        let [.., a, b, c, d, e, f, g, h] = trace.number().to_be_bytes();
        self.sample.takes(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
    }
}

/// How many stages there are.
const STAGES: usize = Stage::Record as usize + 1;

impl Observe {
    /// Whether there is nothing to look at.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        !self.is_timed
            && self.answer_headers.is_empty()
            && self.tracing.is_none()
            && self.debug_token.is_none()
    }

    /// Whether these headers hold the debug token. How long the look takes tells nothing of it.
    #[must_use]
    pub fn is_debugged(&self, headers: &Headers) -> bool {
        let (Some(token), Some(shown)) = (&self.debug_token, headers.get(DEBUG)) else {
            return false;
        };
        aws_lc_rs::constant_time::verify_slices_are_equal(
            token.reveal().as_bytes(),
            shown.as_bytes(),
        )
        .is_ok()
    }
}

/// When the stages of one request ended, what its attempts came to, and what is kept of its answer.
#[derive(Debug)]
pub struct Marks {
    /// Why it is looked at.
    pub observe: Arc<Observe>,
    /// Whether its spans are wanted.
    pub is_traced: bool,
    /// Whether it showed the debug token.
    pub is_debugged: bool,
    /// The stage that failed first.
    pub failed: Option<Stage>,
    /// Headers of the answer that the access log shows.
    pub answer_headers: Vec<(HeaderName, HeaderValue)>,
    ends: [Option<Instant>; STAGES],
    /// The attempts, in order.
    pub tries: SmallVec<[Try; 2]>,
}

/// One attempt to have a request answered.
#[derive(Debug)]
pub struct Try {
    /// The target.
    pub target: Arc<str>,
    /// When it began.
    pub began: Instant,
    /// When there was an answer's head, or a fault.
    pub ended: Option<Instant>,
    /// When there was a connection, if one had to be made.
    pub connected: Arc<Connected>,
    /// The answer's status.
    pub status: Option<u16>,
    /// Why there was no answer.
    pub fault: Option<FaultCode>,
    /// The id of its span.
    pub span: u64,
}

/// How long an attempt waited for a new connection: told by whoever connects.
#[derive(Debug, Default)]
pub struct Connected(AtomicU64);

impl Connected {
    /// Notes what it took to connect.
    pub fn note(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        self.0.store(us, Ordering::Relaxed);
    }

    /// What it took, rounded to at least a microsecond; none where an open connection was used.
    #[must_use]
    pub fn took(&self) -> Option<Duration> {
        let us = self.0.load(Ordering::Relaxed);
        (us > 0).then(|| Duration::from_micros(us))
    }
}

impl Marks {
    /// Nothing yet.
    #[must_use]
    pub fn new(observe: Arc<Observe>) -> Self {
        Self {
            observe,
            is_traced: false,
            is_debugged: false,
            failed: None,
            answer_headers: Vec::new(),
            ends: [None; STAGES],
            tries: SmallVec::new(),
        }
    }

    /// Keeps the headers of the answer that the access log shows.
    pub fn keep_headers(&mut self, headers: &Headers) {
        for name in &self.observe.answer_headers {
            if let Some(value) = headers.get(name) {
                self.answer_headers.push((name.clone(), value.clone()));
            }
        }
    }

    /// Notes that a stage ended; the first time counts.
    pub fn end(&mut self, stage: Stage, now: Instant) {
        if let Some(end) = self.ends.get_mut(stage as usize) {
            end.get_or_insert(now);
        }
    }

    /// Begin and end of each stage that the request came to, in order. Each begins where the one before
    /// it ended.
    pub fn stages(&self, arrived: Instant) -> impl Iterator<Item = (Stage, Instant, Instant)> {
        let mut began = arrived;
        Stage::ALL.into_iter().zip(self.ends).filter_map(move |(stage, end)| {
            let end = end?;
            Some((stage, std::mem::replace(&mut began, end), end))
        })
    }

    /// What each stage took, for the access log.
    #[must_use]
    pub fn times(&self, arrived: Instant) -> StageTimes {
        let mut times = StageTimes::default();
        for (stage, began, ended) in self.stages(arrived) {
            let took = Some(ended.saturating_duration_since(began));
            match stage {
                Stage::Admit => times.admit = took,
                Stage::Route => times.route = took,
                Stage::Guard => times.guard = took,
                Stage::Forward => times.forward = took,
                Stage::Reply => times.reply = took,
                Stage::Record => times.send = took,
                Stage::Cache => {}
            }
        }
        if let Some(last) = self.tries.last() {
            times.connect = last.connected.took();
            times.first_byte = last
                .status
                .and(last.ended)
                .map(|ended| ended.saturating_duration_since(last.began));
        }
        times
    }
}
