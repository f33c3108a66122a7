//! The spine: one request from head to last byte. Each stage is one file; a stage that fails ends the
//! walk, and the fault becomes an answer in one place.

use crate::admit::Arrival;
use crate::gateway::Worker;
use crate::record::Underway;
use crate::revoke::Watch;
use crate::{admit, forward, grpc, guard, observe, reply, revoke, route, tunnel};
use std::sync::Arc;
use traffic::exchange::{Connection, Exchange};
use traffic::{Fault, Flow, Response, Snapshot, Stage};

/// Serves one request. The answer's body runs `record` when its last byte was handed over.
pub fn serve(
    worker: Arc<Worker>,
    connection: &Arc<Connection>,
    arrival: Arrival,
) -> impl Future<Output = Response> + Send + use<> {
    let Arrival { head, body, interim, upgrade, refused } = arrival;
    let exchange = admit::arrive(&worker, connection, head, body, interim, upgrade);
    let underway = Underway::new(&worker, exchange);
    answer(worker, underway, refused)
}

async fn answer(
    worker: Arc<Worker>,
    mut underway: Underway,
    refused: Option<Box<Fault>>,
) -> Response {
    let answer = ask(&worker, &mut underway, refused).await;
    let answer = match answer.and_then(|response| tunnel::check(&underway, response)) {
        Ok(response) => response,
        Err(fault) => {
            observe::failed(&worker, &mut underway, fault.at);
            reply::to_fault(&worker, &mut underway, fault)
        }
    };
    reply::finish(&worker, underway, answer).await
}

/// The stages before the reply.
async fn ask(
    worker: &Arc<Worker>,
    exchange: &mut Exchange,
    refused: Option<Box<Fault>>,
) -> Result<Response, Fault> {
    begin(worker, exchange, refused)?;
    let mut watch = None;
    let flow = guard::run(worker, exchange, &mut watch).await?;
    observe::end(worker, exchange, Stage::Guard);
    if let Flow::Answer(response) = flow {
        return Ok(grpc::suit(exchange, *response));
    }
    let answer = send(worker, exchange, watch).await?;
    observe::end(worker, exchange, Stage::Forward);
    Ok(answer)
}

/// The stages that need the whole snapshot. Nothing is waited for, so that none of it is kept.
fn begin(
    worker: &Worker,
    exchange: &mut Exchange,
    refused: Option<Box<Fault>>,
) -> Result<(), Fault> {
    let snapshot = worker.gateway.snapshot.load();
    observe::begin(&snapshot.observe, exchange);
    let found = find(worker, &snapshot, exchange, refused);
    if found.is_err() {
        exchange.unrouted.clone_from(&snapshot.unrouted);
    }
    found
}

/// Forwards, for as long as the credential that was shown is good.
async fn send(
    worker: &Arc<Worker>,
    exchange: &mut Exchange,
    mut watch: Option<Watch>,
) -> Result<Response, Fault> {
    Watch::follow(&mut watch, worker, exchange);
    revoke::watched(&mut watch, Stage::Forward, forward::send(worker, exchange)).await
}

/// The stages that end with a route.
fn find(
    worker: &Worker,
    snapshot: &Snapshot,
    exchange: &mut Exchange,
    refused: Option<Box<Fault>>,
) -> Result<(), Fault> {
    let listener = admit::check(snapshot, exchange, refused)?;
    observe::end(worker, exchange, Stage::Admit);
    route::find(listener, exchange)?;
    observe::end(worker, exchange, Stage::Route);
    Ok(())
}
