//! Believes the first of several ways to identify the caller that succeeds.
//!
//! Where none succeeds, the answer tells what is nearest to the truth: that a dependency is missing if one
//! was asked in vain, since what it would have said is not known; that credentials are not valid if any
//! were shown; that they are required otherwise. Challenges of all ways are given (RFC 9110, 11.6.1).

use crate::combined::{self, Combined};
use crate::identity::{Identity, Nonce, Scheme, give_nonce};
use crate::kind::{BuildCtx, Group, Kind};
use crate::sender::{DPOP, DPOP_NONCE};
use base::{Node, Report};
use http::HeaderName;
use http::header::WWW_AUTHENTICATE;
use std::sync::Arc;
use traffic::exchange::Slot;
use traffic::head::RequestHead;
use traffic::policy::{Asked, Facts, Foreseen, Phases};
use traffic::{Exchange, Fault, FaultCode, Flow, Outcome, Policy, Response};

#[cfg(test)]
mod tests;

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "any",
    group: Group::Identity,
    phases: Phases { request: true, forward: false, reply: true, record: false },
    answers: false,
    about: "Identifies the consumer by the first of several identity policies that succeeds. Credentials of the \
            others are taken out of the request, since nobody has verified them.",
    example: "any: [api_key, { api_key: { header: x-partner-key } }]",
    resets: "changing the order of the list: each item's state is keyed by its kind and place in it",
    schema: combined::schema,
    build,
};

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    Combined::build(node, ctx, report).map(|any| Arc::new(Any(any)) as _)
}

struct Any(Combined);

/// What is to be told when no scheme succeeds, and which of them says so.
#[derive(Default)]
struct Failure(Option<(usize, Fault)>);

impl Failure {
    /// How much a fault tells: a lost dependency most, and of others one that the client can mend by itself.
    fn weight(fault: &Fault) -> u8 {
        let has_nonce = fault.headers.iter().any(|(name, _)| *name == DPOP_NONCE);
        match fault.code {
            FaultCode::CredentialsMissing if has_nonce => 2,
            FaultCode::CredentialsMissing => 0,
            FaultCode::CredentialsInvalid => 1,
            code if code.row().status < 500 => 3,
            _ => 4,
        }
    }

    fn add(&mut self, mut index: usize, mut fault: Fault) {
        let Some((mut first, mut kept)) = self.0.take() else {
            self.0 = Some((index, fault));
            return;
        };
        if Self::weight(&fault) > Self::weight(&kept) {
            std::mem::swap(&mut fault, &mut kept);
            std::mem::swap(&mut index, &mut first);
        }
        // Challenges belong to a 401 only.
        if kept.code.row().status == 401 {
            let challenges = fault
                .headers
                .into_iter()
                .filter(|(name, _)| name == WWW_AUTHENTICATE || name == DPOP_NONCE);
            for challenge in challenges {
                if !kept.headers.contains(&challenge) {
                    kept.headers.push(challenge);
                }
            }
        }
        self.0 = Some((first, kept));
    }
}

/// How far it has come. A way that was tried is not tried again, so that its failure counts once.
#[derive(Default)]
struct Progress {
    tried: usize,
    failure: Failure,
    /// The ways that were shown something that is not valid.
    invalid: Vec<usize>,
}

/// Who it is and which way has found that out, or what is to be told and which way says so.
type Judged = Result<(usize, Identity), (usize, Fault)>;

impl Progress {
    /// Who it is, if this way has found out.
    fn add(&mut self, judged: Result<Identity, Fault>) -> Option<(usize, Identity)> {
        let index = self.tried;
        self.tried += 1;
        match judged {
            Ok(identity) => Some((index, identity)),
            Err(fault) => {
                if fault.code == FaultCode::CredentialsInvalid {
                    self.invalid.push(index);
                }
                self.failure.add(index, fault);
                None
            }
        }
    }

    fn failed(&mut self) -> (usize, Fault) {
        self.failure.0.take().unwrap_or_else(|| (0, internal()))
    }
}

impl Any {
    /// Tries one after the other, up to one that must wait; nothing if there is one.
    fn now(&self, exchange: &Exchange, progress: &mut Progress) -> Option<Judged> {
        while let Some(scheme) = self.0.schemes.get(progress.tried) {
            let judged = scheme.now(exchange)?;
            if let Some(found) = progress.add(judged) {
                return Some(Ok(found));
            }
        }
        Some(Err(progress.failed()))
    }

    async fn later(&self, exchange: &mut Exchange, progress: &mut Progress) -> Judged {
        loop {
            if let Some(judged) = self.now(exchange, progress) {
                return judged;
            }
            let Some(scheme) = self.0.schemes.get(progress.tried) else {
                return Err(progress.failed());
            };
            let judged = scheme.later(exchange).await;
            if let Some(found) = progress.add(judged) {
                return Ok(found);
            }
        }
    }

    fn settle(
        &self,
        exchange: &mut Exchange,
        slot: Slot,
        invalid: &[usize],
        judged: Judged,
    ) -> Result<Flow, Fault> {
        let decides = match &judged {
            Ok((index, _)) | Err((index, _)) => *index,
        };
        // What was guessed is a guess, whatever is shown beside it.
        let is_noted =
            matches!(&judged, Err((_, fault)) if fault.code == FaultCode::CredentialsInvalid);
        if !is_noted
            && invalid.iter().any(|index| self.is_beside(*index, decides, &exchange.request))
        {
            self.0.guesses.count(exchange);
        }
        let (index, identity) =
            judged.map_err(|(_, fault)| self.0.guesses.noted(exchange, fault))?;
        identity.settle(exchange, slot, &self.0.plans)?;
        if exchange.hides_late() {
            let nonce = exchange.notes.take(slot);
            exchange.notes.put(slot, Believed { index, nonce });
        } else {
            self.hide_all(index, &mut exchange.request);
        }
        Ok(Flow::Continue)
    }

    /// Takes all credentials out, except for the believed one where that is kept.
    fn hide_all(&self, index: usize, head: &mut RequestHead) {
        let Some(believed) = self.0.schemes.get(index) else { return };
        for (_, other) in self.0.schemes.iter().enumerate().filter(|(other, _)| *other != index) {
            hide(&**other, &**believed, head);
        }
        if !believed.keeps() {
            believed.hide(head);
        }
    }
}

/// Which way was believed, between two hooks.
struct Believed {
    index: usize,
    nonce: Option<Nonce>,
}

impl Any {
    /// Whether one way was shown another credential than the one that decides. A token of one issuer is none of
    /// another's: that one says no to it, but nobody has guessed.
    fn is_beside(&self, index: usize, decides: usize, head: &RequestHead) -> bool {
        let (Some(one), Some(other)) = (self.0.schemes.get(index), self.0.schemes.get(decides))
        else {
            return false;
        };
        if index == decides || other.sees_all() {
            return false;
        }
        let mut without = head.clone();
        one.hide(&mut without);
        !other.is_shown(head) || other.is_shown(&without)
    }
}

/// Takes out what nobody has verified, unless it is the very credential that was, at the same place.
fn hide(other: &dyn Scheme, believed: &dyn Scheme, head: &mut RequestHead) {
    // Another policy may have taken it out.
    if !believed.keeps() || !believed.is_shown(head) {
        other.hide(head);
        return;
    }
    let before = head.clone();
    other.hide(head);
    if believed.is_shown(head) {
        return;
    }
    // The one place that held what was believed is as it was.
    let target = std::mem::replace(&mut head.target, before.target.clone());
    if believed.is_shown(head) {
        return;
    }
    head.target = target;
    for name in before.headers.names() {
        let without = head.headers.clone();
        give_back(name, &before, head);
        if believed.is_shown(head) {
            give_back(&DPOP, &before, head);
            return;
        }
        head.headers = without;
    }
    *head = before;
}

/// Makes a header what it was before.
fn give_back(name: &HeaderName, before: &RequestHead, head: &mut RequestHead) {
    head.headers.remove(name);
    for value in before.headers.all(name) {
        head.headers.append(name.clone(), value.clone());
    }
}

fn internal() -> Fault {
    Fault::new(traffic::Stage::Guard, FaultCode::Internal)
}

impl Policy for Any {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, slot: Slot) -> Outcome<'a, Flow> {
        let mut progress = Progress::default();
        if let Some(judged) = self.now(exchange, &mut progress) {
            return Outcome::Now(self.settle(exchange, slot, &progress.invalid, judged));
        }
        Outcome::Later(Box::pin(async move {
            let judged = self.later(exchange, &mut progress).await;
            self.settle(exchange, slot, &progress.invalid, judged)
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
        // By the way that asks least.
        let asks_scopes = self.0.schemes.iter().all(|scheme| scheme.facts().asks_scopes);
        Facts { asks_scopes, ..self.0.facts() }
    }

    fn hides(&self) -> bool {
        true
    }

    fn strip(&self, head: &mut RequestHead) {
        self.0.schemes.iter().for_each(|scheme| scheme.hide(head));
    }

    fn hide(&self, exchange: &mut Exchange, slot: Slot) {
        if let Some(Believed { index, nonce }) = exchange.notes.take(slot) {
            self.hide_all(index, &mut exchange.request);
            if let Some(nonce) = nonce {
                exchange.notes.put(slot, nonce);
            }
        }
    }
}
