//! Measuring a request: when each stage ended. A request that nobody wants to know about costs one look at
//! an option, and no clock is read.

use crate::gateway::Worker;
use std::sync::Arc;
use std::time::Instant;
use traffic::exchange::Exchange;
use traffic::observe::{Connected, Marks, Observe, Try};
use traffic::upstream::Failed;
use traffic::{Response, Stage};

/// Decides whether a request is measured.
pub(crate) fn begin(observe: &Arc<Observe>, exchange: &mut Exchange) {
    if !observe.is_idle() {
        exchange.record.marks = Some(Box::new(Marks::new(Arc::clone(observe))));
    }
}

/// A stage ended.
pub(crate) fn end(worker: &Worker, exchange: &mut Exchange, stage: Stage) {
    if let Some(marks) = &mut exchange.record.marks {
        marks.end(stage, worker.gateway.clock.now());
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
    let Some(last) = marks.tries.last_mut() else { return };
    last.ended = Some(now);
    match outcome {
        Ok(answer) => last.status = Some(answer.status.as_u16()),
        Err(failed) => last.fault = Some(failed.fault.code),
    }
}

/// The answer is as the client will get it.
pub(crate) fn replied(worker: &Worker, exchange: &mut Exchange, answer: &Response) {
    if let Some(marks) = &mut exchange.record.marks {
        marks.end(Stage::Reply, worker.gateway.clock.now());
        marks.keep_headers(&answer.headers);
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
