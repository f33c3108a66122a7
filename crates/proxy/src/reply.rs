//! Stage six: run the response phase of the chain, for every answer, also for faults. From here on the
//! exchange travels inside the answer's body, and `record` runs at its end.

use crate::date;
use crate::forward::{self, REQUEST_ID};
use crate::gateway::Worker;
use crate::grpc;
use crate::observe;
use crate::record::{Recorded, Underway};
use http::header::{CONNECTION, CONTENT_TYPE, DATE, LINK};
use http::{HeaderValue, Method, StatusCode, Version};
use serde_json::json;
use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;
use traffic::exchange::Exchange;
use traffic::fault::Blame;
use traffic::pace::{Direction, paced};
use traffic::snapshot::{Lifecycle, Route};
use traffic::{Body, Fault, FaultCode, Response};

/// Gives the answer its last touches and its way to `record`.
pub async fn finish(worker: &Arc<Worker>, mut underway: Underway, answer: Response) -> Response {
    let mut answer = answer;
    if let Err(fault) = run_policies(&mut underway, &mut answer).await {
        observe::failed(worker, &mut underway, fault.at);
        answer = to_fault(worker, &mut underway, fault);
    }
    if !answer.headers.contains(DATE) {
        answer.headers.append(DATE, date::now(worker));
    }
    // Of a request that was not forwarded: nobody will read it, which its connection must know.
    underway.body = Body::empty();
    underway.upgrade = None;
    answer.headers.insert(REQUEST_ID, underway.id.header());
    underway.record.status = answer.status.as_u16();
    observe::replied(worker, &mut underway, &mut answer);
    let is_bodiless = underway.request.method == Method::HEAD
        || matches!(answer.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    // A call of gRPC keeps its own time, to end with a status, and a tunnel keeps to its own terms. What tells of
    // a fault is short and all here, and may tell that the time is over.
    let has_switched = answer.status == StatusCode::SWITCHING_PROTOCOLS;
    let is_call = underway.rpc.as_ref().is_some_and(|rpc| rpc.keeps_time);
    let keeps_time = has_switched || is_call || underway.record.fault.is_some();
    let time_left = if keeps_time { None } else { forward::time_left(worker, &underway) };
    if is_bodiless || answer.body.is_empty() {
        underway.complete();
    } else {
        let body = paced(answer.body, &underway.paces, Direction::Down);
        let recorded = Recorded::new(body, underway, time_left);
        answer.body = if has_switched { Body::tunnel(recorded) } else { Body::duplex(recorded) };
    }
    answer
}

/// The chain's reply hooks, the last policy first.
async fn run_policies(exchange: &mut Exchange, answer: &mut Response) -> Result<(), Fault> {
    let Some(route) = exchange.matched.as_ref().map(|matched| Arc::clone(&matched.route)) else {
        return run_unrouted(exchange, answer).await;
    };
    for entry in route.chain.reply() {
        match entry.policy.on_reply(exchange, answer, entry.slot).now()? {
            Ok(()) => {}
            Err(later) => later.await?,
        }
    }
    if let Some(lifecycle) = &route.lifecycle {
        tell_future(exchange, lifecycle, &route, answer);
    }
    Ok(())
}

/// Tells the client that an API is going away (RFC 9745, 8594), and counts who has not heard.
fn tell_future(exchange: &Exchange, lifecycle: &Lifecycle, route: &Route, answer: &mut Response) {
    if lifecycle.is_counted {
        route.metrics.deprecated(exchange.worker);
    }
    for (name, value) in &lifecycle.headers {
        if name == LINK {
            answer.headers.append(name.clone(), value.clone());
        } else {
            answer.headers.insert(name.clone(), value.clone());
        }
    }
}

/// The reply hooks of the gateway's own policies, where no route was found.
async fn run_unrouted(exchange: &mut Exchange, answer: &mut Response) -> Result<(), Fault> {
    let Some(chain) = exchange.unrouted.take() else { return Ok(()) };
    for entry in chain.reply() {
        match entry.policy.on_reply(exchange, answer, entry.slot).now()? {
            Ok(()) => {}
            Err(later) => later.await?,
        }
    }
    Ok(())
}

/// The answer to a fault: problem details (RFC 9457) with a request id and never a cause.
pub fn to_fault(worker: &Worker, exchange: &mut Exchange, fault: Fault) -> Response {
    let row = fault.code.row();
    worker.gateway.metrics.fault(worker.index, fault.code.index());
    exchange.record.fault = Some(fault.code);
    exchange.record.detail.clone_from(&fault.detail);
    exchange.record.cause = causes(&fault);
    // What the whole process lacks is told once, where it is met; and what is too much, where that begins and ends.
    let is_told = fault.code == FaultCode::NoResources || fault.code.is_limit();
    if row.blame == Blame::Gateway && !is_told {
        tracing::warn!(
            request_id = %exchange.id,
            code = row.name,
            cause = exchange.record.cause.as_deref().unwrap_or("none"),
            "a request failed through no fault of the client or the backend"
        );
    }
    if let Some(rpc) = &exchange.rpc {
        return grpc::to_fault(rpc, fault);
    }
    let mut problem = json!({
        "type": format!("urn:yett:fault:{}", row.name),
        "title": row.title,
        "status": row.status,
        "code": row.name,
        "request_id": exchange.id.as_str(),
    });
    if let (Some(detail), Some(fields)) = (&fault.detail, problem.as_object_mut()) {
        fields.insert("detail".to_owned(), json!(detail));
    }
    let mut answer = Response::new(fault.code.status(), problem.to_string());
    let headers = &mut answer.headers;
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    for (name, value) in fault.headers {
        headers.append(name, value);
    }
    if fault.closes && exchange.request.version <= Version::HTTP_11 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// The chain of causes in one line, for the log.
fn causes(fault: &Fault) -> Option<String> {
    let mut text = String::new();
    let mut next = fault.source();
    while let Some(cause) = next {
        let separator = if text.is_empty() { "" } else { ": " };
        // Writing to a string cannot fail.
        write!(text, "{separator}{cause}").ok()?;
        next = cause.source();
    }
    (!text.is_empty()).then_some(text)
}
