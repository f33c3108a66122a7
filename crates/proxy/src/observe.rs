//! Measuring a request: when each stage ended. A request that nobody wants to know about costs one look at
//! an option, and no clock is read.

use crate::gateway::Worker;
use crate::spans;
use base::random::fast;
use http::{HeaderName, HeaderValue};
use std::sync::Arc;
use std::time::Instant;
use telemetry::access::StageTimes;
use traffic::exchange::Exchange;
use traffic::observe::{Connected, Marks, Observe, Try};
use traffic::upstream::Failed;
use traffic::{Response, Stage};

/// Decides whether a request is measured.
pub(crate) fn begin(observe: &Arc<Observe>, exchange: &mut Exchange) {
    if observe.is_idle() {
        return;
    }
    let is_debugged = observe.is_debugged(&exchange.request.headers);
    let is_traced = match &observe.tracing {
        Some(tracing) => {
            let is_traced = is_debugged || tracing.takes(&exchange.trace);
            exchange.trace.set_sampled(is_traced);
            is_traced
        }
        None => false,
    };
    if observe.is_timed || is_debugged || is_traced || !observe.answer_headers.is_empty() {
        let mut marks = Marks::new(Arc::clone(observe));
        (marks.is_traced, marks.is_debugged) = (is_traced, is_debugged);
        exchange.record.marks = Some(Box::new(marks));
    }
}

/// A stage ended.
pub(crate) fn end(worker: &Worker, exchange: &mut Exchange, stage: Stage) {
    if let Some(marks) = &mut exchange.record.marks {
        marks.end(stage, worker.gateway.clock.now());
    }
}

/// A stage ended in failure.
pub(crate) fn failed(worker: &Worker, exchange: &mut Exchange, stage: Stage) {
    end(worker, exchange, stage);
    if let Some(marks) = &mut exchange.record.marks {
        marks.failed.get_or_insert(stage);
    }
}

/// An attempt begins; whoever connects for it tells what that takes.
pub(crate) fn attempt(worker: &Worker, exchange: &mut Exchange) -> Option<Arc<Connected>> {
    let target = exchange.record.target.clone()?;
    let marks = exchange.record.marks.as_mut()?;
    let connected = Arc::default();
    marks.tries.push(Try {
        target,
        began: worker.gateway.clock.now(),
        ended: None,
        connected: Arc::clone(&connected),
        status: None,
        fault: None,
        span: fast() | 1,
    });
    Some(connected)
}

/// An attempt ended.
pub(crate) fn attempted(
    worker: &Worker,
    exchange: &mut Exchange,
    outcome: &Result<Response, Failed>,
) {
    let Some(marks) = &mut exchange.record.marks else { return };
    let now: Instant = worker.gateway.clock.now();
    // Of attempts that race, the one at this target; targets that are tried again have ended before.
    let target = exchange.record.target.as_ref();
    let of_target = |attempt: &&mut Try| Some(&attempt.target) == target && attempt.ended.is_none();
    let Some(last) = marks.tries.iter_mut().rev().find(of_target) else { return };
    last.ended = Some(now);
    match outcome {
        Ok(answer) => last.status = Some(answer.status.as_u16()),
        Err(failed) => last.fault = Some(failed.fault.code),
    }
}

/// The answer is as the client will get it, but for what it is told of timings.
pub(crate) fn replied(worker: &Worker, exchange: &mut Exchange, answer: &mut Response) {
    let Some(marks) = &mut exchange.record.marks else { return };
    marks.end(Stage::Reply, worker.gateway.clock.now());
    marks.keep_headers(&answer.headers);
    if marks.is_debugged {
        let times = marks.times(exchange.arrived);
        if let Ok(value) = HeaderValue::from_str(&server_timing(&times)) {
            answer.headers.append(SERVER_TIMING, value);
        }
    }
}

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// `admit;dur=0.012, route;dur=0.001` in milliseconds (W3C Server Timing).
fn server_timing(times: &StageTimes) -> String {
    let took = times.named().into_iter().filter_map(|(name, took)| Some((name, took?)));
    let metrics = took.map(|(name, took)| format!("{name};dur={:.3}", took.as_secs_f64() * 1e3));
    metrics.collect::<Vec<_>>().join(", ")
}

/// Hands the spans of a request that ended at `now` to whoever wants them.
pub(crate) fn export(worker: &Worker, exchange: &Exchange, now: Instant) {
    let Some(marks) = exchange.record.marks.as_ref().filter(|marks| marks.is_traced) else {
        return;
    };
    if let Some(tracing) = &marks.observe.tracing {
        tracing.sink.take(spans::of(exchange, marks, now, worker.gateway.clock.wall()));
    }
}

/// Headers that a template of the access log asks for.
#[derive(Debug)]
pub(crate) struct Shown<'a>(pub(crate) &'a Exchange);

impl telemetry::access::Headers for Shown<'_> {
    fn request(&self, name: &str) -> Option<&[u8]> {
        let (_, value) = self.0.request.headers.iter().find(|(known, _)| known.as_str() == name)?;
        Some(value.as_bytes())
    }

    fn answer(&self, name: &str) -> Option<&[u8]> {
        let kept = &self.0.record.marks.as_ref()?.answer_headers;
        kept.iter().find(|(known, _)| known.as_str() == name).map(|(_, value)| value.as_bytes())
    }
}
