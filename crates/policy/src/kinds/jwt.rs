//! Identifies the consumer by a token that an issuer has signed (RFC 7519, RFC 9068).
//!
//! A token is taken apart, its issuer looked at, and its signature verified by a key of that issuer, with an
//! algorithm that the key allows; only then anything else in it counts. What was found is kept for as long as
//! the token is valid and the keys are the same ([`crate::verified`]). The keys come from the config, or are
//! fetched beside the request path ([`crate::issuer`]).

use crate::bearer::{self, By, Places, Shown};
use crate::identity::{Identify, Identity, Scheme};
use crate::issuer::{Known, User};
use crate::jose::{KeySet, Message, Verdict};
use crate::kind::{BuildCtx, Group, Kind};
use crate::sender::{Sender, is_unfinished};
use crate::verified::{self, TokenHash, Verified};
use crate::written::Written;
use base::caps::{SIGNATURE_US_MAX, VERIFIED_TOKEN_S};
use base::{Clock, Node, Report};
use schemars::JsonSchema;
use std::sync::Arc;
use std::time::Duration;
use traffic::directory::{CredentialKind, Directory};
use traffic::head::RequestHead;
use traffic::policy::{Facts, Phases};
use traffic::{BoxFuture, Exchange, Fault, Policy};

/// What users write.
pub(super) mod settings;
/// What must hold of a token beside its signature.
pub(super) mod claims;
/// Who a token is about.
pub(super) mod subject;
/// Signatures that take long to check.
mod long;
#[cfg(test)]
mod tests;

use claims::Rules;
use long::{Asked, Long, Told};
pub use settings::Settings;
use subject::{Subject, Subjects};

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "jwt",
    group: Group::Identity,
    phases: Phases { request: true, forward: false, reply: true, record: false },
    answers: false,
    about: "Identifies the consumer by a token (JWT) that an issuer has signed, and takes the token out of the \
            request. Requests without one, or with one that is not valid, are refused with 401; with 503 where \
            the issuer's keys cannot be had.",
    example: "jwt: { issuer: https://idp.example.com/realms/a, audience: orders }",
    resets: "changing any setting: tokens are verified anew; the keys of an issuer outlive that",
    schema: <Written<Settings> as JsonSchema>::json_schema,
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

/// Where keys come from.
#[derive(Debug)]
enum Keys {
    Fixed(Arc<Known>),
    Fetched(User),
}

impl Keys {
    fn fixed(keys: KeySet) -> Self {
        Self::Fixed(Arc::new(Known { keys: Some(keys), generation: 0 }))
    }

    /// What is known of them now.
    fn known(&self) -> Arc<Known> {
        match self {
            Self::Fixed(known) => Arc::clone(known),
            Self::Fetched(issuer) => Arc::clone(&issuer.known()),
        }
    }
}

struct Jwt {
    places: Places,
    keep: bool,
    keys: Keys,
    rules: Rules,
    subjects: Subjects,
    sender: Sender,
    verified: Arc<Verified<Subject>>,
    long: Long,
    directory: Arc<Directory>,
    clock: Clock,
}

/// What can be said of a token without waiting.
enum Judged {
    Decided(Result<Identity, Fault>),
    /// Its issuer's keys were not fetched yet.
    NoKeys,
    /// It names a key that is not known yet, or none, and nobody known has signed it.
    UnknownKey(Option<String>),
    /// Checking its signature would hold up other requests.
    Long(Asked),
}

impl Jwt {
    /// Numbers the keys that are valid now.
    fn generation(&self) -> u64 {
        match &self.keys {
            Keys::Fixed(_) => 0,
            Keys::Fetched(issuer) => issuer.known().generation,
        }
    }

    /// Judges what a request shows. `told`: what was found out of a signature beside the request path.
    fn judge(&self, exchange: &Exchange, told: Option<&Told>) -> Judged {
        let (token, by) = match self.places.find(&exchange.request) {
            Shown::Nothing => return Judged::Decided(Err(bearer::missing())),
            Shown::Unclear => {
                return Judged::Decided(Err(bearer::invalid("several tokens are shown")));
            }
            Shown::One(token, by) => (token, by),
        };
        if token.len() > base::caps::TOKEN_BYTES_MAX {
            return Judged::Decided(Err(bearer::invalid("the token is too long")));
        }
        let hash = verified::hash(&token);
        if let Some(subject) = self.verified.find(&hash) {
            if subject.is_valid(self.generation(), self.clock.wall()) {
                return Judged::Decided(self.identify(exchange, (&token, by), &subject));
            }
            self.verified.forget(&hash);
        }
        self.verify(exchange, (&token, by), hash, told)
    }

    fn verify(
        &self,
        exchange: &Exchange,
        (token, by): (&str, By),
        hash: TokenHash,
        told: Option<&Told>,
    ) -> Judged {
        let message = match Message::parse(token) {
            Ok(message) => message,
            Err(why) => return Judged::Decided(Err(bearer::invalid(why))),
        };
        let now = self.clock.wall();
        // A token of another issuer is not looked at any further, and nobody is asked for its key.
        let claims = match self.rules.read(&message) {
            Ok(claims) => claims,
            Err(why) => return Judged::Decided(Err(bearer::invalid(why))),
        };
        let known = self.keys.known();
        let Some(keys) = &known.keys else { return Judged::NoKeys };
        let generation = known.generation;
        let verdict = match told.filter(|told| told.is_of(&hash, generation)) {
            Some(told) => told.verdict,
            None if keys.cost_us(&message) > SIGNATURE_US_MAX => {
                return Judged::Long(Asked { token: token.into(), hash, known });
            }
            None => keys.judge(&message),
        };
        match verdict {
            Verdict::Signed => {}
            Verdict::Forged => {
                return Judged::Decided(Err(bearer::invalid("the signature is wrong")));
            }
            Verdict::Unknown => return Judged::UnknownKey(message.key_id),
        }
        let latest = now + Duration::from_secs(VERIFIED_TOKEN_S);
        let subject = self.rules.check(&claims, now).and_then(|until| {
            let times = (Some(until), latest.min(until));
            self.subjects.of(&claims, self.rules.lacks_scope(), times, generation)
        });
        match subject {
            Ok(subject) => {
                let subject = Arc::new(subject);
                self.verified.keep(hash, Arc::clone(&subject));
                Judged::Decided(self.identify(exchange, (token, by), &subject))
            }
            Err(why) => Judged::Decided(Err(bearer::invalid(why))),
        }
    }

    fn identify(
        &self,
        exchange: &Exchange,
        shown: (&str, By),
        subject: &Subject,
    ) -> Result<Identity, Fault> {
        let nonce = self.sender.check(exchange, shown, subject.binding.as_deref())?;
        let identity = self.subjects.identify(subject, &self.directory, self.clock.wall());
        let identity = identity.map_err(bearer::invalid)?;
        if subject.lacks_scope {
            return Err(bearer::insufficient(&self.rules.scopes_text));
        }
        let token = self.keep.then(|| verified::hash(shown.0));
        Ok(Identity { nonce, token, ..identity })
    }

    /// Judges what a request shows, beside the request path as far as that takes long.
    async fn judge_long(&self, exchange: &mut Exchange) -> Result<Judged, Fault> {
        let judged = self.judge(exchange, None);
        if !matches!(judged, Judged::Long(_)) {
            return Ok(judged);
        }
        // Every such token is work: whoever has shown too many bad ones causes no more.
        self.long.guesses.check(exchange)?;
        let _place = self.long.place().await?;
        // Others may have shown the same token before.
        match self.judge(exchange, None) {
            Judged::Long(asked) => {
                let told = self.long.tell(asked).await?;
                Ok(self.judge(exchange, Some(&told)))
            }
            judged => Ok(judged),
        }
    }

    /// Judges what a request shows, whatever has to be waited for.
    async fn wait(&self, exchange: &mut Exchange) -> Result<Identity, Fault> {
        let mut judged = self.judge_long(exchange).await?;
        if let (Judged::NoKeys, Keys::Fetched(issuer)) = (&judged, &self.keys) {
            issuer.first().await;
            judged = self.judge_long(exchange).await?;
        }
        if let (Judged::UnknownKey(_), Keys::Fetched(issuer)) = (&judged, &self.keys) {
            let has_answered = issuer.ask().await;
            judged = self.judge_long(exchange).await?;
            if let (Judged::UnknownKey(name), true) = (&judged, has_answered) {
                issuer.is_unknown(name.as_deref());
            }
        }
        self.last_word(judged)
    }

    /// What is said where keys are lacking and no more waiting is to be done.
    fn last_word(&self, judged: Judged) -> Result<Identity, Fault> {
        if let Judged::Long(_) = judged {
            return Err(bearer::unavailable("the keys changed while a signature was checked"));
        }
        let (Judged::NoKeys | Judged::UnknownKey(_), Keys::Fetched(issuer)) = (&judged, &self.keys)
        else {
            return match judged {
                Judged::Decided(decided) => decided,
                _ => Err(bearer::invalid("nobody known has signed the token")),
            };
        };
        match judged {
            Judged::UnknownKey(name) if issuer.has_denied(name.as_deref()) => {
                Err(bearer::invalid("the issuer has no key that has signed the token"))
            }
            Judged::UnknownKey(_) => {
                Err(bearer::unavailable("the token names a new key, and the keys cannot be had"))
            }
            _ => Err(bearer::unavailable("the keys of the issuer cannot be had")),
        }
    }
}

impl Scheme for Jwt {
    fn kinds(&self) -> Option<&'static [CredentialKind]> {
        Some(self.subjects.kinds())
    }

    fn accepts_strangers(&self) -> bool {
        self.subjects.accepts_unknown
    }

    fn is_shown(&self, head: &RequestHead) -> bool {
        !matches!(self.places.find(head), Shown::Nothing)
    }

    fn now(&self, exchange: &Exchange) -> Option<Result<Identity, Fault>> {
        let judged = self.judge(exchange, None);
        if let Judged::Long(_) = judged {
            return None;
        }
        if let Keys::Fetched(issuer) = &self.keys {
            match &judged {
                Judged::NoKeys if !issuer.has_failed() => return None,
                Judged::UnknownKey(name) if issuer.may_ask(name.as_deref()) => return None,
                _ => {}
            }
        }
        let judged = self.last_word(judged);
        if judged.as_ref().is_err_and(is_unfinished) {
            return None;
        }
        Some(judged.map_err(|fault| self.sender.dress(fault, exchange)))
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
            vouchers: self.subjects.vouchers(),
            needs_host: self.sender.needs_host(),
            credentials: self.places.headers(),
            keeps_token: self.keep && self.places.is_usual(),
            asks_scopes: !self.rules.scopes_text.is_empty(),
            ..Facts::default()
        }
    }
}
