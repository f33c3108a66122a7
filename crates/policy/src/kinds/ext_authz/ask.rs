//! Asks, remembers, and does what was said.

use super::verdict::{Allowed, Verdict};
use super::{Authoriser, Named, Way, body, callout};
use crate::groups::Groups;
use crate::identity::{Identity, Scheme};
use aws_lc_rs::digest::{Context, SHA256};
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderName, HeaderValue};
use serde_json::json;
use traffic::directory::qualified;
use traffic::exchange::{Claims, Slot};
use traffic::head::RequestHead;
use traffic::policy::{Asked, Facts, Foreseen, Voucher};
use traffic::{BoxFuture, Exchange, Fault, FaultCode, Flow, Outcome, Policy, Response, Stage};

impl Authoriser {
    /// The headers that it is told, where those are few and named.
    fn told_by_name(&self) -> &[HeaderName] {
        match (&self.tells, &self.way) {
            (Some(names), _) => names,
            (None, Way::Http(_)) => callout::TOLD,
            (None, Way::Grpc) => &[],
        }
    }

    /// What is known already of a request like this.
    fn recall(&self, exchange: &Exchange) -> Recalled {
        let Some(remembered) = &self.remembered else { return Recalled::Never };
        let Ok(key) = remembered.key.eval_key(exchange) else { return Recalled::Never };
        let head = &exchange.request;
        // The key sees one value of a header, and the authoriser all: it may go by another one.
        let names = head.headers.names();
        if names.enumerate().any(|(at, name)| head.headers.names().take(at).any(|it| it == name)) {
            return Recalled::Never;
        }
        let caller = known(exchange).map(serde_json::Value::Object).unwrap_or_default().to_string();
        let mut context = Context::new(&SHA256);
        let mut add = |part: &[u8]| {
            // Lengths keep two lists of parts from being one text.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        };
        let certificate = exchange.client_certificate().map_or("", |shown| &shown.fingerprint);
        let (scheme, method) = (head.scheme.as_str(), head.method.as_str());
        for part in [&*caller, certificate, scheme, method, &head.host, head.target.as_str(), &key]
        {
            add(part.as_bytes());
        }
        for name in self.told_by_name() {
            let value = head.headers.get(name).map(HeaderValue::as_bytes);
            add(value.unwrap_or_default());
            add(if value.is_some() { b"1" } else { b"0" });
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(context.finish().as_ref());
        match remembered.said.get(&hash) {
            Some((verdict, until)) if self.clock.now() < until => {
                self.metrics.cached.add(exchange.worker, 1);
                Recalled::Known(verdict)
            }
            _ => Recalled::Unknown(hash),
        }
    }

    /// Asks about a request, and remembers what is said where that is wanted.
    async fn decide(&self, exchange: &mut Exchange) -> Result<Verdict, Fault> {
        let hash = match self.recall(exchange) {
            Recalled::Known(verdict) => return Ok(verdict),
            Recalled::Unknown(hash) => Some(hash),
            Recalled::Never => None,
        };
        let begun = self.clock.now();
        let verdict = self.ask(exchange).await;
        let waited = self.clock.now().saturating_duration_since(begun);
        let waited_us = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.metrics.waited_us.add(exchange.worker, waited_us);
        let counter = match &verdict {
            Ok(Verdict::Allowed(_)) => &self.metrics.allowed,
            Ok(Verdict::Denied(_)) => &self.metrics.denied,
            Err(fault) if fault.code != FaultCode::AuthoriserUnavailable => return verdict,
            Err(_) => &self.metrics.failed,
        };
        counter.add(exchange.worker, 1);
        if let (Ok(verdict), Some(hash), Some(remembered)) = (&verdict, hash, &self.remembered)
            && let Some(until) = self.clock.now().checked_add(remembered.ttl)
        {
            // A cookie is for one client.
            if !verdict.sets_cookies() {
                remembered.said.insert(hash, (verdict.clone(), until));
            }
        }
        verdict
    }

    async fn ask(&self, exchange: &mut Exchange) -> Result<Verdict, Fault> {
        // What goes on in another protocol has no body yet.
        let body = match self.body {
            Some((max, takes_part)) if exchange.upgrade.is_none() => {
                Some(body::begin(exchange, max, takes_part, &self.memory).await?)
            }
            _ => None,
        };
        let request = match &self.way {
            Way::Grpc => self.check(exchange, body.as_ref()),
            Way::Http(callout) => {
                self.call(callout, exchange, body.as_ref()).map_err(|why| self.lost(why))?
            }
        };
        let asked = self.remote.call(Some(exchange.worker), request);
        let asking = async {
            let response = asked.await.map_err(|fault| {
                let cause = fault.cause.map(|cause| format!(": {cause}")).unwrap_or_default();
                format!("{}{cause}", fault.code.name())
            })?;
            match &self.way {
                Way::Grpc => self.checked(response).await,
                Way::Http(callout) => self.called(callout, response).await,
            }
        };
        let said = tokio::time::timeout(self.timeout, asking).await;
        let said = said.unwrap_or_else(|_| Err(format!("no answer within {:?}", self.timeout)));
        match said {
            Ok(Verdict::Allowed(allowed)) if allowed.is_too_much() => {
                Err(self.lost("its answer has too many changes"))
            }
            said => said.map_err(|why| self.lost(why)),
        }
    }

    fn lost(&self, why: impl std::fmt::Display) -> Fault {
        let cause = format!("the authoriser {}: {why}", self.host);
        Fault::new(Stage::Guard, FaultCode::AuthoriserUnavailable).cause(cause)
    }

    /// Who calls by a yes, and the request as it wants it.
    fn settle(&self, head: &mut RequestHead, allowed: &Allowed) -> Result<Identity, Fault> {
        let identity = allowed.identity((&self.host, self.groups.as_ref()), &self.directory);
        let identity = identity.map_err(|why| self.lost(why))?;
        // All of it or nothing: another way to identify the caller may come after.
        let mut changed = head.clone();
        allowed.apply(&mut changed, self.allows_host).map_err(|why| self.lost(why))?;
        *head = changed;
        Ok(identity)
    }

    async fn guard(&self, exchange: &mut Exchange, slot: Slot) -> Result<Flow, Fault> {
        match self.decide(exchange).await? {
            Verdict::Allowed(allowed) => {
                let identity = self.settle(&mut exchange.request, &allowed)?;
                identity.settle(exchange, slot, &self.plans)?;
                if !allowed.reply.is_empty() {
                    exchange.notes.put(slot, allowed);
                }
                Ok(Flow::Continue)
            }
            Verdict::Denied(denied) => {
                let cause = format!("the authoriser {} refused it", self.host);
                match denied.answer() {
                    Some(answer) => {
                        exchange.record.cause = Some(cause);
                        Ok(Flow::Answer(Box::new(answer)))
                    }
                    None => {
                        let fault = Fault::new(Stage::Guard, FaultCode::AuthoriserRefused);
                        Err(fault.cause(cause))
                    }
                }
            }
        }
    }
}

enum Recalled {
    /// Nothing is to be remembered.
    Never,
    /// It will be remembered by this.
    Unknown([u8; 32]),
    Known(Verdict),
}

impl Authoriser {
    fn vouches(&self) -> Facts {
        let voucher = Voucher {
            prefix: qualified(self.directory.workspace().map(|it| &**it), &self.host),
            name: format!("the authoriser {}", self.host),
            is_told: false,
            groups: self.groups.as_ref().map(Groups::gives),
        };
        let vouchers = self.named.iter().map(|_| voucher.clone()).collect();
        Facts { vouchers, ..Facts::default() }
    }
}

impl Policy for Authoriser {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, slot: Slot) -> Outcome<'a, Flow> {
        Outcome::Later(Box::pin(self.guard(exchange, slot)))
    }

    fn on_reply<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        reply: &'a mut Response,
        slot: Slot,
    ) -> Outcome<'a, ()> {
        if let Some(allowed) = exchange.notes.take::<Box<Allowed>>(slot) {
            allowed.apply_reply(reply);
        }
        Outcome::Now(Ok(()))
    }

    fn identifies(&self) -> bool {
        self.named.is_some()
    }

    fn foresee(&self, _: &Asked<'_>) -> Option<Foreseen> {
        Some(Foreseen::Depends("what the authoriser says".to_owned()))
    }

    fn speaks_for(&self) -> Vec<HeaderName> {
        Scheme::speaks_for(self)
    }

    fn facts(&self) -> Facts {
        self.vouches()
    }
}

/// As one of several ways to identify the caller. What it would tell the client besides is not told.
impl Scheme for Authoriser {
    fn is_shown(&self, _: &RequestHead) -> bool {
        true
    }

    fn sees_all(&self) -> bool {
        true
    }

    fn accepts_strangers(&self) -> bool {
        self.named.is_some()
    }

    fn now(&self, _: &Exchange) -> Option<Result<Identity, Fault>> {
        None
    }

    fn later<'a>(&'a self, exchange: &'a mut Exchange) -> BoxFuture<'a, Result<Identity, Fault>> {
        Box::pin(async move {
            match self.decide(exchange).await? {
                Verdict::Allowed(allowed) => self.settle(&mut exchange.request, &allowed),
                Verdict::Denied(denied) => Err(denied.fault()),
            }
        })
    }

    /// What it judged is known to it alone.
    fn keeps(&self) -> bool {
        true
    }

    fn hide(&self, _: &mut RequestHead) {}

    fn facts(&self) -> Facts {
        self.vouches()
    }

    fn speaks_for(&self) -> Vec<HeaderName> {
        let mut names = match &self.way {
            Way::Http(callout) => callout.to_backend.clone(),
            Way::Grpc => Vec::new(),
        };
        // By these the authoriser says who calls, and a backend that gets them believes them, too.
        if let Some(Named::Header { name, groups }) = &self.named {
            names.push(name.clone());
            names.extend(groups.clone());
        }
        // Clients show credentials of their own by these.
        names.retain(|name| *name != AUTHORIZATION && *name != COOKIE);
        names
    }
}

/// Who was identified by policies before this one.
pub(super) fn known(exchange: &Exchange) -> Option<Claims> {
    let consumer = exchange.consumer.as_ref()?;
    let mut known = Claims::new();
    known.insert("consumer".to_owned(), json!(consumer.own_name()));
    known.insert("groups".to_owned(), json!(consumer.groups));
    if let Some(application) =
        exchange.credential.as_ref().and_then(|credential| credential.application.as_ref())
    {
        known.insert("application".to_owned(), json!(application));
    }
    if let Some(claims) = &exchange.claims {
        known.insert("claims".to_owned(), serde_json::Value::Object(claims.json()));
    }
    Some(known)
}
