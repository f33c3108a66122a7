//! Who calls: what all kinds of identity policies share.
//!
//! A [`Scheme`] is one way to find that out. It looks at a request and says who shows it, or why nobody is
//! believed; it changes nothing. [`Identify`] makes a policy of a scheme, and [`crate::kinds::any`] and
//! [`crate::kinds::all`] one of several. Only here does a request get its consumer, lose its credentials
//! and count as a failed attempt, so that it is done in one way for all.

use crate::guesses::Guesses;
use crate::kind::BuildCtx;
use crate::sender::DPOP_NONCE;
use base::{Node, Report};
use http::header::CACHE_CONTROL;
use http::{HeaderName, HeaderValue};
use std::sync::Arc;
use std::time::SystemTime;
use traffic::directory::{Consumer, Credential, CredentialKind};
use traffic::exchange::{KeptClaims, Slot};
use traffic::head::RequestHead;
use traffic::plan::Plans;
use traffic::policy::{Asked, Facts, Foreseen};
use traffic::{BoxFuture, Exchange, Fault, FaultCode, Flow, Outcome, Policy, Response, Stage};

/// One way to find out who calls.
pub(crate) trait Scheme: Send + Sync {
    /// Whether the request shows a credential for this scheme, valid or not.
    fn is_shown(&self, head: &RequestHead) -> bool;

    /// Judges what the request shows, as far as that needs no waiting; nothing if it does.
    ///
    /// The fault of a request that shows nothing is `credentials_missing`, of one that nobody is believed for
    /// `credentials_invalid` with the same words whatever is wrong, and the reason as its cause; both carry
    /// the challenge (RFC 9110, 11.6.1). A lost dependency is neither.
    fn now(&self, exchange: &Exchange) -> Option<Result<Identity, Fault>>;

    /// Judges what the request shows where [`Scheme::now`] could not.
    fn later<'a>(&'a self, exchange: &'a mut Exchange) -> BoxFuture<'a, Result<Identity, Fault>> {
        let _ = exchange;
        Box::pin(async { Err(Fault::new(Stage::Guard, FaultCode::Internal)) })
    }

    /// By which kinds of credentials of the directory it finds consumers, for those who read a config; nothing if
    /// it may find any.
    fn kinds(&self) -> Option<&'static [CredentialKind]> {
        None
    }

    /// Whether it may identify somebody whom the directory does not know.
    fn accepts_strangers(&self) -> bool {
        false
    }

    /// Whether a credential that was believed is forwarded.
    fn keeps(&self) -> bool {
        false
    }

    /// Takes the credential out of what is forwarded, wherever it may have been: also what [`Scheme::is_shown`] does
    /// not take for one, if a backend might.
    fn hide(&self, head: &mut RequestHead);

    /// What it says of itself to whoever reads a config as a whole.
    fn facts(&self) -> Facts {
        Facts::default()
    }

    /// The headers by which it tells backends who calls, see [`Policy::speaks_for`].
    fn speaks_for(&self) -> Vec<HeaderName> {
        Vec::new()
    }

    /// Whether it judges by the whole request, and so by whatever is shown to others.
    fn sees_all(&self) -> bool {
        false
    }
}

/// Who calls, by one scheme.
#[derive(Clone, Debug, Default)]
pub(crate) struct Identity {
    /// The consumer; none where a scheme proves something, but not who it is.
    pub(crate) consumer: Option<Arc<Consumer>>,
    /// The credential of the directory that was shown, if it is one.
    pub(crate) credential: Option<Arc<Credential>>,
    /// Others that were shown besides, of the same consumer.
    pub(crate) others: Vec<Arc<Credential>>,
    /// What is said of the caller.
    pub(crate) claims: Option<Arc<KeptClaims>>,
    /// Where several say something, what each of them says.
    pub(crate) claims_apart: Vec<Arc<KeptClaims>>,
    /// When what was shown stops being valid: requests that take longer are broken off then.
    pub(crate) until: Option<SystemTime>,
    /// The SHA-256 of a bearer token that was believed and stays in place.
    pub(crate) token: Option<[u8; 32]>,
    /// A nonce that the client is to go on with (DPoP, RFC 9449, 8.2).
    pub(crate) nonce: Option<HeaderValue>,
}

impl Identity {
    /// The consumer of a credential.
    pub(crate) fn of(credential: Arc<Credential>) -> Self {
        let consumer = Some(Arc::clone(&credential.consumer));
        let until = credential.until;
        Self { consumer, credential: Some(credential), until, ..Self::default() }
    }

    /// Adds what another scheme found out of the same request.
    ///
    /// Who is known to the directory counts for more than who is not, and of two who are not the later one
    /// counts. Claims of both are there, where they differ those of the one who counts.
    ///
    /// # Errors
    /// `credentials_conflict` when the directory knows both, and they are not the same.
    pub(crate) fn and(self, later: Self) -> Result<Self, Fault> {
        let is_first = match (&self.consumer, &later.consumer) {
            (Some(first), Some(second)) if first.is_known && second.is_known => {
                if first.name != second.name {
                    let cause = format!("both `{}` and `{}` are shown", first.name, second.name);
                    let fault = Fault::new(Stage::Guard, FaultCode::CredentialsConflict);
                    return Err(fault.cause(cause));
                }
                true
            }
            (Some(first), Some(_)) => first.is_known,
            (first, _) => first.is_some(),
        };
        let until = self.until.into_iter().chain(later.until).min();
        let (mut counts, mut other) = if is_first { (self, later) } else { (later, self) };
        let mut others = counts.others;
        others.append(&mut other.others);
        let claims_apart = match (&counts.claims, &other.claims) {
            (Some(_), Some(_)) => {
                let apart = |claims: &Said, apart: Vec<_>| {
                    let one = claims.iter().filter(|_| apart.is_empty()).cloned().collect();
                    [one, apart].concat()
                };
                let first = apart(&counts.claims, counts.claims_apart);
                [first, apart(&other.claims, other.claims_apart)].concat()
            }
            (Some(_), None) => counts.claims_apart,
            (None, _) => other.claims_apart,
        };
        // Of several none may be revoked, whichever it is that counts.
        let credential = match (counts.credential.take(), other.credential.take()) {
            (Some(first), Some(second)) => {
                others.extend((first.hash != second.hash).then_some(second));
                Some(first)
            }
            (first, second) => first.or(second),
        };
        Ok(Self {
            credential,
            others,
            until,
            token: counts.token.or(other.token),
            nonce: counts.nonce.or(other.nonce),
            consumer: counts.consumer.or(other.consumer),
            claims: union(counts.claims, other.claims),
            claims_apart,
        })
    }

    /// What policies before have found out of a request.
    pub(crate) fn earlier(exchange: &Exchange) -> Self {
        Self {
            consumer: exchange.consumer.clone(),
            credential: exchange.credential.clone(),
            others: exchange.other_credentials.clone(),
            claims: exchange.claims.clone(),
            claims_apart: exchange.claims_apart.clone(),
            until: exchange.valid_until,
            token: exchange.token,
            nonce: None,
        }
    }

    /// Makes it the identity of a request, whatever that was.
    pub(crate) fn replace(self, exchange: &mut Exchange) {
        let Self { consumer, credential, others, claims, claims_apart, until, token, nonce: _ } =
            self;
        (exchange.other_credentials, exchange.claims_apart) = (others, claims_apart);
        (exchange.consumer, exchange.credential, exchange.claims) = (consumer, credential, claims);
        (exchange.valid_until, exchange.token) = (until, token);
    }

    /// Makes it the identity of a request, beside what policies before found out.
    pub(crate) fn settle(
        mut self,
        exchange: &mut Exchange,
        slot: Slot,
        plans: &Plans,
    ) -> Result<(), Fault> {
        if let Some(nonce) = self.nonce.take() {
            exchange.notes.put(slot, Nonce(nonce));
        }
        let earlier = Self {
            consumer: exchange.consumer.take(),
            credential: exchange.credential.take(),
            others: std::mem::take(&mut exchange.other_credentials),
            claims: exchange.claims.take(),
            claims_apart: std::mem::take(&mut exchange.claims_apart),
            until: exchange.valid_until.take(),
            token: exchange.token.take(),
            nonce: None,
        };
        earlier.and(self)?.replace(exchange);
        let plan = plans.of(
            exchange.consumer.as_deref(),
            exchange.credential.as_deref(),
            &exchange.said(),
        );
        exchange.plan = plan;
        Ok(())
    }
}

type Said = Option<Arc<KeptClaims>>;

fn union(counts: Said, other: Said) -> Said {
    match (counts, other) {
        (Some(counts), Some(other)) => Some(Arc::new(counts.over(&other))),
        (counts, other) => counts.or(other),
    }
}

/// The policy that a scheme alone makes.
pub(crate) struct Identify<S> {
    pub(crate) scheme: S,
    pub(crate) guesses: Arc<Guesses>,
    pub(crate) plans: Arc<Plans>,
}

impl<S: Scheme + 'static> Identify<S> {
    /// Makes a policy of a scheme.
    pub(crate) fn policy(scheme: S, ctx: &BuildCtx<'_>) -> Arc<dyn Policy> {
        Arc::new(Self { scheme, guesses: Guesses::of(ctx), plans: ctx.plans.names() })
    }

    fn settle(
        &self,
        exchange: &mut Exchange,
        slot: Slot,
        judged: Result<Identity, Fault>,
    ) -> Result<Flow, Fault> {
        let identity = judged.map_err(|fault| self.guesses.noted(exchange, fault))?;
        identity.settle(exchange, slot, &self.plans)?;
        if !exchange.hides_late() {
            self.hide(exchange, slot);
        }
        Ok(Flow::Continue)
    }
}

impl<S: Scheme + 'static> Policy for Identify<S> {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, slot: Slot) -> Outcome<'a, Flow> {
        if let Some(judged) = self.scheme.now(exchange) {
            return Outcome::Now(self.settle(exchange, slot, judged));
        }
        Outcome::Later(Box::pin(async move {
            let judged = self.scheme.later(exchange).await;
            self.settle(exchange, slot, judged)
        }))
    }

    fn foresee(&self, asked: &Asked<'_>) -> Option<Foreseen> {
        foresee(&self.scheme, asked)
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
        self.scheme.speaks_for()
    }

    fn facts(&self) -> Facts {
        self.scheme.facts()
    }

    fn hides(&self) -> bool {
        true
    }

    fn hide(&self, exchange: &mut Exchange, _: Slot) {
        if !self.scheme.keeps() {
            self.scheme.hide(&mut exchange.request);
        }
    }

    fn strip(&self, head: &mut RequestHead) {
        self.scheme.hide(head);
    }
}

/// A nonce that the client gets with the answer, between two hooks.
pub(crate) struct Nonce(HeaderValue);

/// Gives the client the nonce that its identity brought along, if it did (RFC 9449, 8.2).
pub(crate) fn give_nonce(exchange: &mut Exchange, reply: &mut Response, slot: Slot) {
    if let Some(Nonce(nonce)) = exchange.notes.take(slot) {
        reply.headers.insert(DPOP_NONCE, nonce);
        // Whoever got the answer out of a cache would get a nonce that is too old.
        reply.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

/// Whether a caller could be identified by a scheme.
pub(crate) fn foresee<S: Scheme>(scheme: &S, asked: &Asked<'_>) -> Option<Foreseen> {
    let shows = asked.shows?;
    if asked.exchange.consumer.as_ref().is_some_and(|consumer| !consumer.is_known) {
        return Some(if scheme.accepts_strangers() || scheme.kinds().is_none() {
            Foreseen::Passes("an issuer, a CA or an authoriser may say so".to_owned())
        } else {
            Foreseen::Refuses("only consumers of the config are identified".to_owned())
        });
    }
    let Some(kinds) = scheme.kinds() else {
        return Some(Foreseen::Passes("an issuer, a CA or an authoriser may say so".to_owned()));
    };
    if let Some(kind) = kinds.iter().find(|kind| shows.contains(kind)) {
        return Some(Foreseen::Passes(format!("by `{}`", kind.name())));
    }
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    Some(Foreseen::Refuses(format!("it has no credential for this: {}", names.join(", "))))
}

impl Scheme for Box<dyn Scheme> {
    fn is_shown(&self, head: &RequestHead) -> bool {
        (**self).is_shown(head)
    }

    fn now(&self, exchange: &Exchange) -> Option<Result<Identity, Fault>> {
        (**self).now(exchange)
    }

    fn later<'a>(&'a self, exchange: &'a mut Exchange) -> BoxFuture<'a, Result<Identity, Fault>> {
        (**self).later(exchange)
    }

    fn kinds(&self) -> Option<&'static [CredentialKind]> {
        (**self).kinds()
    }

    fn accepts_strangers(&self) -> bool {
        (**self).accepts_strangers()
    }

    fn keeps(&self) -> bool {
        (**self).keeps()
    }

    fn hide(&self, head: &mut RequestHead) {
        (**self).hide(head);
    }

    fn sees_all(&self) -> bool {
        (**self).sees_all()
    }

    fn speaks_for(&self) -> Vec<HeaderName> {
        (**self).speaks_for()
    }

    fn facts(&self) -> Facts {
        (**self).facts()
    }
}

/// Makes a scheme from the settings of its kind.
pub(crate) type BuildScheme = fn(&Node, &BuildCtx<'_>, &mut Report) -> Option<Box<dyn Scheme>>;

/// Every kind that `any` and `all` can be made of.
pub(crate) const SCHEMES: &[(&str, BuildScheme)] = &[
    ("mtls", crate::kinds::mtls::scheme),
    ("api_key", crate::kinds::api_key::scheme),
    ("basic", crate::kinds::basic::scheme),
    ("hmac", crate::kinds::hmac::scheme),
    ("jwt", crate::kinds::jwt::scheme),
    ("ext_authz", crate::kinds::ext_authz::scheme),
    ("introspection", crate::kinds::introspection::scheme),
];

#[cfg(test)]
mod tests {
    use super::{Identity, SCHEMES};
    use crate::fixture;
    use crate::kinds::KINDS;
    use serde_json::json;
    use std::sync::Arc;
    use traffic::directory::{Consumer, Credential, CredentialKind};
    use traffic::plan::Plans;

    fn identity(name: &str, claims: &serde_json::Value) -> Identity {
        let is_known = !name.contains('/');
        let consumer = Consumer { name: name.into(), is_known, ..Consumer::default() };
        let consumer = (!name.is_empty()).then(|| Arc::new(consumer));
        let claims = claims.as_object().map(|claims| Arc::new(claims.into()));
        Identity { consumer, claims, ..Identity::default() }
    }

    fn check(first: &str, second: &str, expected: Result<&str, &str>) {
        let both = identity(first, &json!({ "of": 1, "a": 1 }))
            .and(identity(second, &json!({ "of": 2, "b": 2 })));
        match (both, expected) {
            (Ok(both), Ok(expected)) => {
                let claims = both.claims.unwrap();
                let of = if *expected == *first { 1 } else { 2 };
                let claims = serde_json::Value::Object(claims.json());
                assert_eq!(claims["of"], json!(of), "{first}, {second}");
                assert_eq!((&claims["a"], &claims["b"]), (&json!(1), &json!(2)));
                let name = both.consumer.map_or_else(String::new, |it| it.name.to_string());
                assert_eq!(name, expected);
            }
            (Err(fault), Err(code)) => assert_eq!(fault.code.name(), code),
            (both, _) => panic!("{first}, {second}: {both:?}"),
        }
    }

    #[test]
    fn several_schemes_agree_on_one_consumer_or_are_refused() {
        check("alice", "alice", Ok("alice"));
        check("alice", "bob", Err("credentials_conflict"));
        check("alice", "idp/bob", Ok("alice"));
        check("idp/bob", "alice", Ok("alice"));
        check("ca/machine", "idp/bob", Ok("idp/bob"));
        check("alice", "", Ok("alice"));
        check("", "idp/bob", Ok("idp/bob"));
    }

    #[test]
    fn every_credential_that_was_shown_is_kept() {
        let of = |kind: CredentialKind, number| {
            let consumer = identity("alice", &json!({})).consumer.unwrap();
            let hash = [number; 32];
            Identity::of(Arc::new(Credential { hash, ..Credential::new(kind, consumer) }))
        };
        let mut exchange = fixture::exchange("GET /");
        let all = of(CredentialKind::Certificate, 1).and(of(CredentialKind::ApiKey, 2)).unwrap();
        all.settle(&mut exchange, fixture::SLOT, &Plans::default()).unwrap();
        of(CredentialKind::ApiKey, 2)
            .settle(&mut exchange, fixture::SLOT, &Plans::default())
            .unwrap();
        of(CredentialKind::Password, 3)
            .settle(&mut exchange, fixture::SLOT, &Plans::default())
            .unwrap();
        let mut kept: Vec<u8> = exchange.other_credentials.iter().map(|it| it.hash[0]).collect();
        kept.extend(exchange.credential.iter().map(|it| it.hash[0]));
        kept.sort_unstable();
        kept.dedup();
        assert_eq!(kept, [1, 2, 3]);
    }

    #[test]
    fn a_conflict_leaves_nobody_identified() {
        let mut exchange = fixture::exchange("GET /");
        identity("alice", &json!(null))
            .settle(&mut exchange, fixture::SLOT, &Plans::default())
            .unwrap();
        identity("bob", &json!(null))
            .settle(&mut exchange, fixture::SLOT, &Plans::default())
            .unwrap_err();
        assert!(exchange.consumer.is_none());
    }

    #[test]
    fn every_kind_that_identifies_is_a_scheme() {
        for kind in KINDS.iter().filter(|kind| kind.identifies()) {
            let is_scheme = SCHEMES.iter().any(|(name, _)| *name == kind.name);
            assert!(is_scheme || ["any", "all"].contains(&kind.name), "{}", kind.name);
        }
    }
}
