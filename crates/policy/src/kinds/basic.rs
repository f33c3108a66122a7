//! Identifies consumers by a user name and a password (RFC 7617).
//!
//! Passwords are only known as hashes by argon2id, which take long to verify on purpose: that is done on the compute
//! pool, and what was verified is remembered for a while, for the address it came from. Somebody nobody knows costs as
//! much as a wrong password ([`Costs`]), so that the time of an answer does not tell which user names there are.

use crate::guesses::Guesses;
use crate::identity::{Identify, Identity, Scheme};
use crate::kind::{BuildCtx, Group, Kind};
use crate::nobody::Nobody;
use crate::password::{self, Costs};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base::caps::{
    CREDENTIAL_ID_BYTES_MAX, PASSWORD_BYTES_MAX, PASSWORD_REMEMBERED_S, PASSWORDS_REMEMBERED,
};
use base::network::owner;
use base::{Clock, Node, Report, Secret, decode, random};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use quick_cache::sync::Cache;
use schemars::JsonSchema;
use serde::Deserialize;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use traffic::background::compute;
use traffic::directory::{Credential, CredentialKind, Directory};
use traffic::head::RequestHead;
use traffic::policy::Phases;
use traffic::{Background, BoxFuture, Exchange, Fault, FaultCode, Policy, Stage};

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "basic",
    group: Group::Identity,
    phases: Phases { request: true, forward: false, reply: false, record: false },
    answers: false,
    about: "Identifies the consumer by a user name and a password (HTTP Basic, RFC 7617) and takes them out of the \
            request. Requests without them, or with wrong ones, are refused with 401; whoever guesses is slowed down \
            with 429.",
    example: "basic: { realm: orders }",
    resets: "passwords that were verified are forgotten when no policy `basic` is left; so are failed attempts",
    schema: <Settings as JsonSchema>::json_schema,
    build,
};

/// Settings of `basic`; it needs none.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What clients are told that the password is for.
    pub realm: String,
    /// Whether the backend gets to see user name and password.
    pub keep: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { realm: "yett".to_owned(), keep: false }
    }
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    read(node, ctx, report).map(|scheme| Identify::policy(scheme, ctx))
}

/// The same as one of the ways of `any` and `all`.
pub(crate) fn scheme(
    node: &Node,
    ctx: &BuildCtx<'_>,
    report: &mut Report,
) -> Option<Box<dyn Scheme>> {
    read(node, ctx, report).map(|scheme| Box::new(scheme) as _)
}

fn read(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Basic> {
    let settings = decode::<Settings>(node, ctx.path, report)?;
    let is_plain = |c: char| (c.is_ascii_graphic() || c == ' ') && !matches!(c, '"' | '\\');
    let challenge = format!("Basic realm=\"{}\", charset=\"UTF-8\"", settings.realm);
    let challenge = HeaderValue::try_from(challenge).ok();
    let Some(challenge) = challenge.filter(|_| settings.realm.chars().all(is_plain)) else {
        let message = "a realm has printable ASCII characters other than quotes and backslashes";
        ctx.error(report, node, "/realm", message);
        return None;
    };
    let Some(verified) = Verified::of(ctx) else {
        ctx.error(report, node, "", "the system gives no randomness");
        return None;
    };
    Some(Basic {
        challenge,
        keep: settings.keep,
        directory: Arc::clone(ctx.directory),
        background: Arc::clone(ctx.background),
        clock: ctx.clock.clone(),
        guesses: Guesses::of(ctx),
        verified,
        costs: Arc::new(Costs::of(ctx.directory)),
        nobody: Nobody::new(CredentialKind::Password, password::NOBODY),
    })
}

struct Basic {
    challenge: HeaderValue,
    keep: bool,
    directory: Arc<Directory>,
    background: Arc<dyn Background>,
    clock: Clock,
    guesses: Arc<Guesses>,
    verified: Arc<Verified>,
    costs: Arc<Costs>,
    nobody: Nobody,
}

/// Passwords that were verified not long ago, each only as a digest under a key that never leaves the process.
struct Verified {
    key: hmac::Key,
    cache: Cache<[u8; 32], (Secret, Instant)>,
}

impl Verified {
    /// Those of the gateway that a policy is built for.
    fn of(ctx: &BuildCtx<'_>) -> Option<Arc<Self>> {
        let mut key = [0; 32];
        random::fill(&mut key).ok()?;
        Some(ctx.state.cell("basic/verified", || Self {
            key: hmac::Key::new(HMAC_SHA256, &key),
            cache: Cache::new(PASSWORDS_REMEMBERED),
        }))
    }

    /// What was verified from one address helps nobody elsewhere: a guess from there would learn at no cost that it is
    /// right.
    fn digest(&self, shown: &Shown, client: IpAddr) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&owner(client).to_be_bytes());
        context.update(&(shown.username.len() as u64).to_be_bytes());
        context.update(shown.username.as_bytes());
        context.update(shown.password.reveal().as_bytes());
        let mut digest = [0; 32];
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }

    /// The hash that a password was verified against, if that was not long ago.
    fn find(&self, digest: &[u8; 32], now: Instant) -> Option<Secret> {
        let (hash, until) = self.cache.get(digest)?;
        (now < until).then_some(hash)
    }

    fn remember(&self, digest: [u8; 32], hash: &Secret, now: Instant) {
        if let Some(until) = now.checked_add(Duration::from_secs(PASSWORD_REMEMBERED_S)) {
            self.cache.insert(digest, (hash.clone(), until));
        }
    }
}

/// What a request shows.
struct Shown {
    username: String,
    password: Secret,
}

/// What comes after `Basic`, if a header shows that scheme.
fn of_basic(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, rest) = value.as_bytes().split_at_checked("Basic".len())?;
    let is_basic = scheme.eq_ignore_ascii_case(b"basic");
    let is_alone = rest.is_empty() || rest.starts_with(b" ");
    (is_basic && is_alone).then(|| rest.trim_ascii())
}

fn read_shown(encoded: &[u8]) -> Result<Shown, &'static str> {
    if encoded.len() > (CREDENTIAL_ID_BYTES_MAX + 1 + PASSWORD_BYTES_MAX).div_ceil(3) * 4 {
        return Err("user name and password are too long");
    }
    let decoded = STANDARD.decode(encoded).map_err(|_| "what is shown is not in base 64")?;
    let text = String::from_utf8(decoded).map_err(|_| "what is shown is not in UTF-8")?;
    let text = Secret::new(text);
    let (username, password) = text.reveal().split_once(':').ok_or("there is no password")?;
    if username.is_empty() || username.len() > CREDENTIAL_ID_BYTES_MAX {
        return Err("the user name is empty or too long");
    }
    if password.len() > PASSWORD_BYTES_MAX || text.reveal().chars().any(char::is_control) {
        return Err("the password is too long, or there are control characters");
    }
    Ok(Shown { username: username.to_owned(), password: Secret::new(password.to_owned()) })
}

impl Basic {
    fn shown(&self, head: &RequestHead) -> Result<Shown, Fault> {
        let mut all = head.headers.all(AUTHORIZATION).filter_map(of_basic);
        let Some(encoded) = all.next() else {
            return Err(self.refused(FaultCode::CredentialsMissing));
        };
        if all.next().is_some() {
            return Err(self.invalid("there are several user names"));
        }
        read_shown(encoded).map_err(|why| self.invalid(why))
    }

    /// The record of a user name and whether it is one of somebody and valid now.
    fn find(&self, username: &str) -> (Arc<Credential>, bool) {
        let kind = CredentialKind::Password;
        let found = self.directory.find(kind, &kind.hash(&[username]));
        self.nobody.unless(found, self.clock.wall())
    }

    /// Who it is, if the same was verified not long ago, from the same address.
    fn remembered(&self, exchange: &Exchange, shown: &Shown) -> Option<Identity> {
        let digest = self.verified.digest(shown, exchange.client());
        let hash = self.verified.find(&digest, exchange.arrived)?;
        let (found, is_known) = self.find(&shown.username);
        (is_known && found.secret.as_ref() == Some(&hash)).then(|| Identity::of(found))
    }

    async fn verify(&self, exchange: &mut Exchange, shown: Shown) -> Result<Identity, Fault> {
        let attempt = self.guesses.attempt(exchange, &shown.username).await?;
        // Another request may have shown the same while this one waited.
        if let Some(identity) = self.remembered(exchange, &shown) {
            return Ok(identity);
        }
        let (found, is_known) = self.find(&shown.username);
        let hash = found.secret.clone().unwrap_or_else(|| Secret::new(String::new()));
        let (costs, password, its) =
            (Arc::clone(&self.costs), shown.password.clone(), hash.clone());
        // Whoever nobody knows takes the same way.
        let is_right = compute(&*self.background, move || {
            let is_right = costs.verify(&its, is_known, password.reveal().as_bytes());
            // Here, since the client may have left by now.
            if !is_right {
                attempt.failed();
            }
            is_right
        });
        if !is_right.await? {
            exchange.is_failure_counted = true;
            let unknown = "the user name is unknown, has expired, or is not valid yet";
            return Err(self.invalid(if is_known { "the password is wrong" } else { unknown }));
        }
        // The record may have been changed while this was computed.
        if !self.directory.stands(&found, self.clock.wall()) {
            return Err(self.invalid("the password was revoked just now"));
        }
        let digest = self.verified.digest(&shown, exchange.client());
        self.verified.remember(digest, &hash, exchange.arrived);
        self.guesses.succeeded(exchange, &shown.username);
        Ok(Identity::of(found))
    }

    /// One answer for everything that is wrong, so that nothing is learnt from it; the log gets the reason.
    fn invalid(&self, why: &'static str) -> Fault {
        let fault = self.refused(FaultCode::CredentialsInvalid);
        fault.detail("user name or password are not valid").cause(why)
    }

    fn refused(&self, code: FaultCode) -> Fault {
        Fault::new(Stage::Guard, code).header(WWW_AUTHENTICATE, self.challenge.clone())
    }
}

impl Scheme for Basic {
    fn kinds(&self) -> Option<&'static [CredentialKind]> {
        Some(&[CredentialKind::Password])
    }

    fn is_shown(&self, head: &RequestHead) -> bool {
        head.headers.all(AUTHORIZATION).any(|value| of_basic(value).is_some())
    }

    fn now(&self, exchange: &Exchange) -> Option<Result<Identity, Fault>> {
        let shown = match self.shown(&exchange.request) {
            Ok(shown) => shown,
            Err(fault) => return Some(Err(fault)),
        };
        // Before anything is looked for: that it was found would tell whoever guesses that it is right.
        if let Err(fault) = self.guesses.check(exchange) {
            return Some(Err(fault));
        }
        // A password that was verified is no guess, however many others are made on the account.
        if let Some(identity) = self.remembered(exchange, &shown) {
            return Some(Ok(identity));
        }
        self.guesses.check_account(exchange, &shown.username).err().map(Err)
    }

    fn later<'a>(&'a self, exchange: &'a mut Exchange) -> BoxFuture<'a, Result<Identity, Fault>> {
        Box::pin(async move {
            let shown = self.shown(&exchange.request)?;
            self.verify(exchange, shown).await
        })
    }

    fn keeps(&self) -> bool {
        self.keep
    }

    fn hide(&self, head: &mut RequestHead) {
        if self.is_shown(head) {
            head.headers.remove(AUTHORIZATION);
        }
    }
}

#[cfg(test)]
mod tests;
