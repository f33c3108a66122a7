//! Demands that several ways to identify the caller succeed, and agree on who it is.

use crate::combined::{self, Combined};
use crate::identity::{Identity, give_nonce};
use crate::kind::{BuildCtx, Group, Kind};
use base::{Node, Report};
use http::HeaderName;
use std::sync::Arc;
use traffic::exchange::Slot;
use traffic::head::RequestHead;
use traffic::policy::{Asked, Facts, Foreseen, Phases};
use traffic::{Exchange, Fault, Flow, Outcome, Policy, Response};

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "all",
    group: Group::Identity,
    phases: Phases { request: true, forward: false, reply: true, record: false },
    answers: false,
    about: "Identifies the consumer only if all of several identity policies succeed. Consumers that the config \
            knows must be the same; where the directory knows only one of them, that one counts, and where it knows \
            none, the last.",
    example: "all: [api_key, { api_key: { header: x-device-key } }]",
    resets: "changing the order of the list: each item's state is keyed by its kind and place in it",
    schema: combined::schema,
    build,
};

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    Combined::build(node, ctx, report).map(|all| Arc::new(All(all)) as _)
}

struct All(Combined);

/// How far it has come. A way that was tried is not tried again: it may believe what it is shown only once.
struct Progress {
    tried: usize,
    /// Who it is by the policies before, and by these so far.
    earlier: Identity,
    whole: Identity,
}

impl Progress {
    fn new(exchange: &Exchange) -> Self {
        Self { tried: 0, earlier: Identity::earlier(exchange), whole: Identity::default() }
    }

    /// The next ways are told who it is so far: an authoriser may go by that.
    fn add(
        &mut self,
        exchange: &mut Exchange,
        judged: Result<Identity, Fault>,
    ) -> Result<(), Fault> {
        self.tried += 1;
        self.whole = std::mem::take(&mut self.whole).and(judged?)?;
        self.earlier.clone().and(self.whole.clone())?.replace(exchange);
        Ok(())
    }
}

impl All {
    /// Tries one after the other, up to one that must wait; nothing if there is one.
    fn now(&self, exchange: &mut Exchange, progress: &mut Progress) -> Option<Result<(), Fault>> {
        while let Some(scheme) = self.0.schemes.get(progress.tried) {
            let judged = scheme.now(exchange)?;
            if let Err(fault) = progress.add(exchange, judged) {
                return Some(Err(fault));
            }
        }
        Some(Ok(()))
    }

    async fn later(&self, exchange: &mut Exchange, progress: &mut Progress) -> Result<(), Fault> {
        loop {
            if let Some(judged) = self.now(exchange, progress) {
                return judged;
            }
            let Some(scheme) = self.0.schemes.get(progress.tried) else { return Ok(()) };
            let judged = scheme.later(exchange).await;
            progress.add(exchange, judged)?;
        }
    }

    fn settle(
        &self,
        exchange: &mut Exchange,
        slot: Slot,
        progress: Progress,
        judged: Result<(), Fault>,
    ) -> Result<Flow, Fault> {
        let Progress { earlier, whole, .. } = progress;
        earlier.replace(exchange);
        judged.map_err(|fault| self.0.guesses.noted(exchange, fault))?;
        whole.settle(exchange, slot, &self.0.plans)?;
        if !exchange.hides_late() {
            self.hide(exchange, slot);
        }
        Ok(Flow::Continue)
    }
}

impl Policy for All {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, slot: Slot) -> Outcome<'a, Flow> {
        let mut progress = Progress::new(exchange);
        if let Some(judged) = self.now(exchange, &mut progress) {
            return Outcome::Now(self.settle(exchange, slot, progress, judged));
        }
        Outcome::Later(Box::pin(async move {
            let judged = self.later(exchange, &mut progress).await;
            self.settle(exchange, slot, progress, judged)
        }))
    }

    fn on_reply<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        reply: &'a mut Response,
        slot: Slot,
    ) -> Outcome<'a, ()> {
        give_nonce(exchange, reply, slot);
        Outcome::Now(Ok(()))
    }

    fn speaks_for(&self) -> Vec<HeaderName> {
        self.0.speaks_for()
    }

    fn foresee(&self, asked: &Asked<'_>) -> Option<Foreseen> {
        self.0.foresee(asked)
    }

    fn facts(&self) -> Facts {
        self.0.facts()
    }

    fn hides(&self) -> bool {
        true
    }

    fn strip(&self, head: &mut RequestHead) {
        self.0.schemes.iter().for_each(|scheme| scheme.hide(head));
    }

    fn hide(&self, exchange: &mut Exchange, _: Slot) {
        for scheme in self.0.schemes.iter().filter(|scheme| !scheme.keeps()) {
            scheme.hide(&mut exchange.request);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{All, Progress};
    use crate::combined::Combined;
    use crate::fixture;
    use crate::guesses::Guesses;
    use crate::identity::{Identity, Scheme};
    use base::Clock;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use traffic::head::RequestHead;
    use traffic::{BoxFuture, Exchange, Fault, FaultCode, Stage, State};

    /// Believes what it is shown once, or has to wait.
    struct Once {
        uses: AtomicUsize,
        waits: bool,
    }

    impl Once {
        fn boxed(waits: bool) -> Box<dyn Scheme> {
            Box::new(Self { uses: 0.into(), waits })
        }

        fn use_it(&self) -> Result<Identity, Fault> {
            let before = self.uses.fetch_add(1, Ordering::Relaxed);
            let again = Fault::new(Stage::Guard, FaultCode::CredentialsInvalid);
            if before == 0 { Ok(Identity::default()) } else { Err(again) }
        }
    }

    impl Scheme for Once {
        fn is_shown(&self, _: &RequestHead) -> bool {
            true
        }

        fn now(&self, _: &Exchange) -> Option<Result<Identity, Fault>> {
            (!self.waits).then(|| self.use_it())
        }

        fn later<'a>(&'a self, _: &'a mut Exchange) -> BoxFuture<'a, Result<Identity, Fault>> {
            Box::pin(async { self.use_it() })
        }

        fn hide(&self, _: &mut RequestHead) {}
    }

    #[tokio::test]
    async fn a_way_that_believes_only_once_is_asked_once_where_another_must_wait() {
        let schemes = vec![Once::boxed(false), Once::boxed(true), Once::boxed(false)];
        let guesses = Arc::new(Guesses::new(&State::new(), &Clock::manual()));
        let all = All(Combined { schemes, guesses, plans: Arc::default() });
        let mut exchange = fixture::exchange("GET /");
        let mut progress = Progress::new(&exchange);
        assert!(all.now(&mut exchange, &mut progress).is_none());
        all.later(&mut exchange, &mut progress).await.unwrap();
    }
}
