//! Identifies the consumer by a token that its issuer is asked about (RFC 7662).
//!
//! What the issuer says is kept for a while ([`crate::verified`]), so that a token in use costs one question now and
//! then. A token that is asked about already is not asked about twice. Where no answer comes nobody is believed.

use crate::bearer::{self, By, Places, Shown};
use crate::guesses::Guesses;
use crate::identity::{Identify, Identity, Scheme};
use crate::kind::{BuildCtx, Group, Kind};
use crate::kinds::jwt::subject::Subject;
use crate::sender::{Sender, is_unfinished};
use crate::verified::{self, TokenHash};
use base::{Clock, Node, Report};
use schemars::JsonSchema;
use std::borrow::Cow;
use std::sync::Arc;
use traffic::directory::{CredentialKind, Directory};
use traffic::head::RequestHead;
use traffic::policy::{Facts, Phases};
use traffic::{BoxFuture, Exchange, Fault, Policy};

/// What users write.
mod settings;
/// What the endpoint says.
pub mod answer;
/// Who is asked, and how.
mod endpoint;
/// What was asked, and what is being asked.
mod memory;

use endpoint::Endpoint;
use memory::{Found, Memory, Refused};
pub use settings::Settings;
use settings::Terms;

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "introspection",
    group: Group::Identity,
    phases: Phases { request: true, forward: false, reply: true, record: false },
    answers: false,
    about: "Identifies the consumer by a token that its issuer is asked about (RFC 7662), and takes the token out of \
            the request. Requests without one, or with one that is not active, are refused with 401; with 503 where \
            the issuer does not answer.",
    example: "introspection: { issuer: https://idp.example.com, client_id: gateway, client_secret: '${env:TOKEN}' }",
    resets: "changing any setting: tokens are asked about anew",
    schema: <Settings as JsonSchema>::json_schema,
    build,
};

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    settings::read(node, ctx, report).map(|scheme| Identify::policy(scheme, ctx))
}

/// The same as one of the ways of `any` and `all`.
pub(crate) fn scheme(
    node: &Node,
    ctx: &BuildCtx<'_>,
    report: &mut Report,
) -> Option<Box<dyn Scheme>> {
    settings::read(node, ctx, report).map(|scheme| Box::new(scheme) as _)
}

struct Introspection {
    places: Places,
    keep: bool,
    terms: Terms,
    sender: Sender,
    endpoint: Endpoint,
    memory: Arc<Memory>,
    guesses: Arc<Guesses>,
    directory: Arc<Directory>,
    clock: Clock,
}

/// What can be said of a token without asking.
enum Known<'a> {
    Decided(Result<Identity, Fault>),
    /// It must be asked about.
    Unknown(Cow<'a, str>, By, TokenHash),
}

impl Introspection {
    fn known<'a>(&self, exchange: &'a Exchange) -> Known<'a> {
        let (token, by) = match self.places.find(&exchange.request) {
            Shown::Nothing => return Known::Decided(Err(bearer::missing())),
            Shown::Unclear => {
                return Known::Decided(Err(bearer::invalid("several tokens are shown")));
            }
            Shown::One(token, by) => (token, by),
        };
        // What no issuer gives out is asked of none (RFC 6750, 2.1).
        let is_token = token.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_token || token.len() > base::caps::TOKEN_BYTES_MAX {
            return Known::Decided(Err(bearer::invalid("the token is too long, or none at all")));
        }
        let hash = verified::hash(&token);
        match self.memory.find(&hash, self.clock.wall()) {
            Some(found) => Known::Decided(self.decide(exchange, (&token, by), &found)),
            None => Known::Unknown(token, by, hash),
        }
    }

    fn decide(
        &self,
        exchange: &Exchange,
        (token, by): (&str, By),
        found: &Found,
    ) -> Result<Identity, Fault> {
        match found {
            Found::Active(subject) => self.identify(exchange, (token, by), subject),
            Found::Refused(refused) => Err(bearer::invalid(refused.why)),
        }
    }

    fn identify(
        &self,
        exchange: &Exchange,
        shown: (&str, By),
        subject: &Subject,
    ) -> Result<Identity, Fault> {
        let nonce = self.sender.check(exchange, shown, subject.binding.as_deref())?;
        let identity = self.terms.subjects.identify(subject, &self.directory, self.clock.wall());
        let identity = identity.map_err(bearer::invalid)?;
        if subject.lacks_scope {
            return Err(bearer::insufficient(&self.terms.rules.scopes_text));
        }
        let token = self.keep.then(|| verified::hash(shown.0));
        Ok(Identity { nonce, token, ..identity })
    }

    /// Judges what a request shows, whatever has to be waited for.
    async fn wait(&self, exchange: &mut Exchange) -> Result<Identity, Fault> {
        let (token, by, hash) = match self.known(exchange) {
            Known::Decided(decided) => return decided,
            Known::Unknown(token, by, hash) => (token.into_owned(), by, hash),
        };
        // Every unknown token is work for the issuer: whoever has shown too many bad ones causes no more.
        self.guesses.check(exchange)?;
        match self.ask(exchange.worker, &token, hash).await {
            Ok(found) => self.decide(exchange, (&token, by), &found),
            Err(why) => Err(bearer::unavailable(why.to_string())),
        }
    }

    /// Asks about a token. What asks must not hold on to the exchange while it waits.
    async fn ask(&self, worker: usize, token: &str, hash: TokenHash) -> Result<Found, Arc<str>> {
        let asking = async {
            let said = self.endpoint.ask(worker, token, &self.memory).await?;
            let now = self.clock.wall();
            Ok(match self.terms.judge(said, now) {
                Ok(subject) => Found::Active(Arc::new(subject)),
                Err(why) => {
                    Found::Refused(Arc::new(Refused { why, until: now + self.terms.refused_for }))
                }
            })
        };
        self.memory.once(hash, asking).await
    }
}

impl Scheme for Introspection {
    fn kinds(&self) -> Option<&'static [CredentialKind]> {
        Some(self.terms.subjects.kinds())
    }

    fn accepts_strangers(&self) -> bool {
        self.terms.subjects.accepts_unknown
    }

    fn is_shown(&self, head: &RequestHead) -> bool {
        !matches!(self.places.find(head), Shown::Nothing)
    }

    fn now(&self, exchange: &Exchange) -> Option<Result<Identity, Fault>> {
        match self.known(exchange) {
            Known::Decided(Err(fault)) if is_unfinished(&fault) => None,
            Known::Decided(decided) => {
                Some(decided.map_err(|fault| self.sender.dress(fault, exchange)))
            }
            Known::Unknown(..) => None,
        }
    }

    fn later<'a>(&'a self, exchange: &'a mut Exchange) -> BoxFuture<'a, Result<Identity, Fault>> {
        Box::pin(async move {
            let mut judged = self.wait(exchange).await;
            if let Err(fault) = judged {
                judged = match self.sender.finish(fault).await {
                    Ok(()) => self.wait(exchange).await,
                    Err(fault) => Err(fault),
                };
            }
            judged.map_err(|fault| self.sender.dress(fault, exchange))
        })
    }

    fn keeps(&self) -> bool {
        self.keep
    }

    fn hide(&self, head: &mut RequestHead) {
        self.places.hide(head);
    }

    fn facts(&self) -> Facts {
        Facts {
            vouchers: self.terms.subjects.vouchers(),
            needs_host: self.sender.needs_host(),
            credentials: self.places.headers(),
            keeps_token: self.keep && self.places.is_usual(),
            asks_scopes: !self.terms.rules.scopes_text.is_empty(),
            ..Facts::default()
        }
    }
}
