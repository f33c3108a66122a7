//! Attempts that race each other: when the first is slow, a second begins at another target, and whichever
//! answers first is taken. Only for what is safe to be done twice at a time (RFC 9110, 9.2.1).

use super::attempts::{begin, call, run_policies};
use super::outgoing;
use crate::gateway::Worker;
use crate::observe;
use http::HeaderValue;
use smallvec::SmallVec;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use traffic::exchange::Exchange;
use traffic::upstream::{Entry, Failed, Hedge, Pass, Picked, Upstream};
use traffic::{Body, BoxFuture, Interim, Response};

/// What the attempts of one race have in common.
pub(super) struct Race<'a> {
    pub(super) worker: &'a Worker,
    pub(super) upstream: &'a dyn Upstream,
    pub(super) limit: Option<Duration>,
    pub(super) hedge: Hedge,
}

/// One attempt under way.
struct Racer {
    address: Arc<str>,
    host: Option<HeaderValue>,
    is_first: bool,
    /// Of one that is not the first, which has that of the exchange.
    pass: Option<Arc<dyn Pass>>,
    answering: BoxFuture<'static, Result<Response, Failed>>,
}

impl Race<'_> {
    /// Sends a request without a body to the target that was picked, and to others when that is slow.
    ///
    /// # Errors
    /// What the last of them failed with.
    pub(super) async fn run(
        self,
        exchange: &mut Exchange,
        picked: Picked,
    ) -> Result<Response, Failed> {
        let mut racers: SmallVec<[Racer; 2]> = SmallVec::new();
        racers.push(self.start(exchange, (picked, None), true));
        let mut spare = self.hedge.max;
        loop {
            let finished = first(&mut racers);
            let finished = if spare == 0 {
                Ok(finished.await)
            } else {
                tokio::time::timeout(self.hedge.after, finished).await
            };
            match finished {
                Err(_) => {
                    spare -= 1;
                    if let Some((picked, pass)) = self.another(exchange).await {
                        begin(exchange, &picked);
                        racers.push(self.start(exchange, (picked, pass), false));
                    }
                }
                Ok((position, sent)) => {
                    let Racer { address, host, is_first, pass, .. } = racers.swap_remove(position);
                    if let Some(pass) = pass {
                        pass.settle(
                            sent.as_ref().map(|r| r.status).map_err(|failed| &failed.fault),
                        );
                    }
                    exchange.record.target = Some(address);
                    exchange.record.target_host = host;
                    observe::attempted(self.worker, exchange, &sent);
                    if sent.is_ok() && !is_first {
                        self.upstream.count_hedge_won(exchange.worker);
                    }
                    if sent.is_ok() || racers.is_empty() {
                        return sent;
                    }
                }
            }
        }
    }

    fn start(
        &self,
        exchange: &mut Exchange,
        (picked, pass): (Picked, Option<Arc<dyn Pass>>),
        is_first: bool,
    ) -> Racer {
        let mut call = call(self.worker, exchange, self.limit);
        if !is_first {
            // The client hears what is said ahead of the answer once.
            call.interim = Interim::default();
        }
        let request = outgoing(exchange, Body::empty());
        let answering = picked.target.send(call, request);
        Racer { address: picked.address, host: picked.host, is_first, pass, answering }
    }

    /// Another target, if there is one, a place is free and the budget allows it.
    async fn another(&self, exchange: &mut Exchange) -> Option<(Picked, Option<Arc<dyn Pass>>)> {
        let pass = match self.upstream.enter_beside(exchange.worker)? {
            Entry::Open => None,
            Entry::Pass(pass) => Some(pass),
            Entry::Queue(_) | Entry::Refused(_) => return None,
        };
        let own = std::mem::replace(&mut exchange.attempts.pass, pass.clone());
        let picked = self.upstream.pick(exchange);
        exchange.attempts.pass = own;
        let picked = picked.ok().filter(|p| !exchange.attempts.tried.contains(&p.index))?;
        run_policies(exchange).await.ok()?;
        self.upstream.may_hedge(exchange.worker).then_some((picked, pass))
    }
}

/// Waits for the first of them to end.
async fn first(racers: &mut [Racer]) -> (usize, Result<Response, Failed>) {
    poll_fn(|cx| {
        for (position, racer) in racers.iter_mut().enumerate() {
            if let Poll::Ready(ended) = racer.answering.as_mut().poll(cx) {
                return Poll::Ready((position, ended));
            }
        }
        Poll::Pending
    })
    .await
}
