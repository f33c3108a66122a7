//! One attempt after the other. A request of which nothing was sent may go out again whatever it is; one
//! that was sent only if its method is idempotent (RFC 9110, 9.2.2) and its body can be sent once more.
//! Nothing is repeated once the client has seen a byte of an answer.

use super::race::Race;
use super::{outgoing, peers, time_left};
use crate::gateway::Worker;
use crate::{admit, observe};
use base::backoff::Backoff;
use base::caps::{RETRY_AFTER_MAX_S, RETRY_DRAIN_BYTES_MAX, RETRY_DRAIN_TIMEOUT_MS};
use http::header::RETRY_AFTER;
use http_body::Body as HttpBody;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use telemetry::RetryReason;
use traffic::exchange::Exchange;
use traffic::upstream::{Call, Failed, Picked, Retries, Upstream};
use traffic::{Body, Fault, FaultCode, Response};

/// Sends a request that was let in until it is answered or nothing is left to try.
///
/// # Errors
/// The last attempt's fault.
pub(super) async fn send(
    worker: &Worker,
    upstream: &dyn Upstream,
    exchange: &mut Exchange,
) -> Result<Response, Fault> {
    let retries = upstream.retries();
    let mut tries = Tries { worker, upstream, retries, backoff: None };
    let mut body = std::mem::take(&mut exchange.body);
    loop {
        run_policies(exchange).await?;
        let picked = upstream.pick(exchange)?;
        begin(exchange, &picked);
        let may_follow = exchange.attempts.count <= retries.max;
        let again = exchange.request.method.is_idempotent().then(|| body.copy()).flatten();
        let again = again.filter(|_| may_follow);
        // The last attempt may take all the time there is.
        let limit = retries.per_try.filter(|_| again.is_some());
        let hedge = upstream.hedge().filter(|_| exchange.request.method.is_safe());
        let sent = match hedge.filter(|_| body.is_empty() && exchange.upgrade.is_none()) {
            None => {
                let call = call(worker, exchange, limit);
                let body = match &exchange.attempts.pass {
                    Some(pass) if !body.is_empty() => Arc::clone(pass).mind(exchange, body),
                    _ => body,
                };
                let request = outgoing(exchange, body);
                let sent = picked.target.send(call, request).await;
                observe::attempted(worker, exchange, &sent);
                sent
            }
            // Boxed, so that a request that races nobody does not carry it.
            Some(hedge) => {
                let race = Race { worker, upstream, limit, hedge };
                Box::pin(race.run(exchange, picked)).await
            }
        };
        let next = match sent {
            Ok(response) => tries.after_answer(exchange, response, again),
            Err(failed) => tries.after_failure(exchange, failed, again, may_follow)?,
        };
        match next {
            Next::Answer(mut response) => {
                admit::strip_hop_by_hop(&mut response.headers);
                return Ok(response);
            }
            Next::Again { body: again, unread, wait } => {
                // Boxed, so that a request that is answered at once does not carry it.
                Box::pin(rest(unread, wait)).await;
                body = again;
            }
        }
    }
}

/// Notes that an attempt begins.
pub(super) fn begin(exchange: &mut Exchange, picked: &Picked) {
    exchange.attempts.count += 1;
    exchange.attempts.tried.push(picked.index);
    exchange.record.target = Some(Arc::clone(&picked.address));
    exchange.record.target_host.clone_from(&picked.host);
}

/// What an attempt needs to know, which begins now.
pub(super) fn call(worker: &Worker, exchange: &mut Exchange, limit: Option<Duration>) -> Call {
    Call {
        connected: observe::attempt(worker, exchange),
        peers: Some(peers(exchange)),
        worker: exchange.worker,
        timeouts: exchange.timeouts,
        interim: exchange.interim.clone(),
        limit,
        // That a client is in a hurry says nothing about the target.
        deadline: time_left(worker, exchange)
            .filter(|_| !exchange.rpc.as_ref().is_some_and(|rpc| rpc.is_hurried))
            .map(|left| worker.gateway.clock.now() + left),
    }
}

/// The chain's hooks before each attempt.
pub(super) async fn run_policies(exchange: &mut Exchange) -> Result<(), Fault> {
    let Some(route) = exchange.matched.as_ref().map(|matched| Arc::clone(&matched.route)) else {
        return Ok(());
    };
    for entry in route.chain.forward() {
        match entry.policy.on_forward(exchange, entry.slot).now()? {
            Ok(()) => {}
            Err(later) => later.await?,
        }
    }
    Ok(())
}

/// What follows an attempt.
enum Next {
    /// Its answer goes to the client.
    Answer(Response),
    /// Another attempt with this body, after a wait, and after what is left of an answer was read.
    Again { body: Body, unread: Body, wait: Duration },
}

/// Decides after each attempt of one request whether another one follows.
struct Tries<'a> {
    worker: &'a Worker,
    upstream: &'a dyn Upstream,
    retries: &'a Retries,
    backoff: Option<Backoff>,
}

impl Tries<'_> {
    /// After an answer: if it has a status that asks for it, the request goes out again.
    fn after_answer(
        &mut self,
        exchange: &Exchange,
        response: Response,
        again: Option<Body>,
    ) -> Next {
        let asks = self.retries.statuses.contains(&response.status);
        let Some(again) = again.filter(|_| asks) else { return Next::Answer(response) };
        let wait = match wanted_wait(&response) {
            Wanted::Nothing => self.next_wait(),
            Wanted::Wait(wanted) => wanted.max(self.next_wait()),
            Wanted::TooLong => return Next::Answer(response),
        };
        if !self.has_time(exchange, wait)
            || !self.upstream.may_repeat(exchange.worker, RetryReason::Status)
        {
            return Next::Answer(response);
        }
        tracing::debug!(request_id = %exchange.id, status = %response.status, "trying again");
        Next::Again { body: again, unread: response.body, wait }
    }

    /// After a failure: if nothing was sent or it can be sent once more, the request goes out again.
    fn after_failure(
        &mut self,
        exchange: &Exchange,
        failed: Failed,
        again: Option<Body>,
        may_follow: bool,
    ) -> Result<Next, Fault> {
        let reason = failed.reason();
        let Failed { fault, unsent } = failed;
        if fault.code == FaultCode::UpstreamBusy && !self.has_another(exchange) {
            return Err(fault);
        }
        let body = unsent.map(|unsent| unsent.body).or(again);
        let (Some(reason), Some(body), true) = (reason, body, may_follow) else {
            return Err(fault);
        };
        let wait = match reason {
            // Nothing was sent, so that nobody needs a rest.
            RetryReason::Connect | RetryReason::RefusedStream => Duration::ZERO,
            _ => self.next_wait(),
        };
        if !self.retries.on.contains(&reason)
            || !self.has_time(exchange, wait)
            || !self.upstream.may_repeat(exchange.worker, reason)
        {
            return Err(fault);
        }
        tracing::debug!(request_id = %exchange.id, %fault, "attempt failed; trying again");
        Ok(Next::Again { body, unread: Body::empty(), wait })
    }

    /// Whether there is a target that was not tried yet.
    fn has_another(&self, exchange: &Exchange) -> bool {
        let next = self.upstream.pick(exchange);
        next.is_ok_and(|picked| !exchange.attempts.tried.contains(&picked.index))
    }

    fn next_wait(&mut self) -> Duration {
        let Retries { backoff, backoff_max, .. } = *self.retries;
        self.backoff.get_or_insert_with(|| Backoff::new(backoff, backoff_max)).after_failure()
    }

    /// Whether there is time left after a wait.
    fn has_time(&self, exchange: &Exchange, wait: Duration) -> bool {
        time_left(self.worker, exchange).is_none_or(|left| left > wait)
    }
}

/// How long a target wants to be left alone.
enum Wanted {
    Nothing,
    Wait(Duration),
    TooLong,
}

/// Reads `Retry-After` (RFC 9110, 10.2.3). A date is too long: whoever writes one means more than a moment.
fn wanted_wait(response: &Response) -> Wanted {
    let Some(wanted) = response.headers.get(RETRY_AFTER) else { return Wanted::Nothing };
    match wanted.to_str().ok().and_then(|text| text.trim().parse::<u64>().ok()) {
        Some(wait_s) if wait_s <= RETRY_AFTER_MAX_S => Wanted::Wait(Duration::from_secs(wait_s)),
        _ => Wanted::TooLong,
    }
}

/// What happens between two attempts.
async fn rest(unread: Body, wait: Duration) {
    if !unread.is_empty() {
        drain(unread).await;
    }
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
}

/// Reads a small answer to its end, so that its connection can serve again; a large one is cut off.
async fn drain(mut body: Body) {
    let is_small = |body: &Body| body.size_hint().lower() <= RETRY_DRAIN_BYTES_MAX;
    let mut left = RETRY_DRAIN_BYTES_MAX;
    let reading = async {
        while is_small(&body) {
            let frame = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await;
            let Some(Ok(frame)) = frame else { return };
            let length = frame.data_ref().map_or(0, |data| data.len() as u64);
            let Some(rest) = left.checked_sub(length) else { return };
            left = rest;
        }
    };
    // Too slow is as good as too large.
    tokio::time::timeout(Duration::from_millis(RETRY_DRAIN_TIMEOUT_MS), reading).await.ok();
}
