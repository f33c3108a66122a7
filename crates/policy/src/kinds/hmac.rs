//! Identifies consumers by a signature of the request with a shared secret (HTTP Message Signatures, RFC 9421).
//!
//! The signature covers what a request asks for and, by its digest (RFC 9530), its body, so that nothing of it can
//! be changed on the way; it is believed for a short time only, and once.

use crate::field;
use crate::identity::{Identify, Identity, Scheme};
use crate::kind::{BuildCtx, Group, Kind};
use crate::nobody::Nobody;
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base::caps::{SIGNATURE_SKEW_S, SIGNATURE_WINDOW_S_MAX};
use base::clock::unix_ms;
use base::units::Period;
use base::{Clock, Node, Report, Secret, decode};
use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use traffic::directory::{Credential, CredentialKind, Directory};
use traffic::head::RequestHead;
use traffic::policy::Phases;
use traffic::{BoxFuture, Exchange, Fault, FaultCode, Policy, Stage};

/// What the body must be.
mod content;
/// What is signed.
mod message;
/// Signatures that were believed.
mod replays;

use content::{CONTENT_DIGEST, Digests};
use message::{SIGNATURE, SIGNATURE_INPUT, Signed};
use replays::{Replays, Seen};

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "hmac",
    group: Group::Identity,
    phases: Phases { request: true, forward: false, reply: false, record: false },
    answers: false,
    about: "Identifies the consumer by a signature of the request with a shared secret (HTTP Message Signatures, RFC \
            9421, `hmac-sha256`). It must cover method, authority, path and query, and the `Content-Digest` of a body, \
            is believed for a short time, and only once. Requests without a valid one are refused with 401.",
    example: "hmac: { window: 1m, covered: [content-type] }",
    resets: "taking the last policy `hmac` away: signatures made before one is there again get 503",
    schema: <Settings as JsonSchema>::json_schema,
    build,
};

/// Settings of `hmac`; it needs none.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// How long after it was made (`created`) a signature is believed, at most an hour. The client's clock may be ahead by 5 seconds.
    pub window: Period,
    /// Headers that must be signed where a request has them, besides what always must be.
    pub covered: Vec<String>,
    /// Whether the backend gets to see the signature.
    pub keep: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { window: Period(Duration::from_secs(300)), covered: Vec::new(), keep: false }
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

fn read(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Hmac> {
    let settings = decode::<Settings>(node, ctx.path, report)?;
    let window_s = settings.window.0.as_secs();
    if !(1..=SIGNATURE_WINDOW_S_MAX).contains(&window_s) {
        ctx.error(report, node, "/window", "signatures are believed for 1s to 1h");
        return None;
    }
    let mut covered = Vec::new();
    for (index, name) in settings.covered.iter().enumerate() {
        match name.parse::<HeaderName>() {
            Ok(name)
                if field::is_own(&name)
                    || [SIGNATURE, SIGNATURE_INPUT].contains(&name.as_str()) =>
            {
                let message = format!("`{name}` is no header that could be signed here");
                ctx.error(report, node, &format!("/covered/{index}"), message)
                    .help("the host is signed as `@authority`, which is demanded anyway");
                return None;
            }
            Ok(name) => covered.push(name),
            Err(_) => {
                let message = format!("`{name}` is no name of a header");
                ctx.error(report, node, &format!("/covered/{index}"), message);
                return None;
            }
        }
    }
    let replays = ctx.state.portable("hmac/replays", || Replays::new(ctx.clock.clone()));
    replays.remember_for(Duration::from_secs(window_s));
    Some(Hmac {
        window_s,
        covered,
        keep: settings.keep,
        directory: Arc::clone(ctx.directory),
        clock: ctx.clock.clone(),
        replays,
        nobody: Nobody::new(CredentialKind::SharedSecret, "nobody has this secret, whatever it is"),
    })
}

struct Hmac {
    window_s: u64,
    covered: Vec<HeaderName>,
    keep: bool,
    directory: Arc<Directory>,
    clock: Clock,
    replays: Arc<Replays>,
    nobody: Nobody,
}

/// A signature that is right, and has not been looked for among those that were believed before.
struct Right {
    credential: Arc<Credential>,
    signed: Signed,
    /// What the body must be, where there is one.
    digests: Option<Digests>,
}

impl Hmac {
    fn judge(&self, exchange: &Exchange) -> Result<Right, Fault> {
        let head = &exchange.request;
        if !self.is_shown(head) {
            return Err(refused(FaultCode::CredentialsMissing));
        }
        let signed = Signed::read(&head.headers).map_err(invalid)?;
        let wall = self.clock.wall();
        let wall_s = unix_ms(wall) / 1_000;
        self.check_times(&signed, wall_s).map_err(invalid)?;
        let has_body = !exchange.body.is_empty() && !exchange.body.is_tunnel();
        self.check_covered(&signed, head, has_body).map_err(invalid)?;
        let base = signed.base(head).map_err(invalid)?;
        let kind = CredentialKind::SharedSecret;
        let found = self.directory.find(kind, &kind.hash(&[&signed.key_id]));
        let (credential, is_known) = self.nobody.unless(found, wall);
        let secret = credential.secret.as_ref().map_or("", Secret::reveal);
        let key = hmac::Key::new(HMAC_SHA256, secret.as_bytes());
        let is_right = hmac::verify(&key, &base, &signed.mac).is_ok();
        if !is_known {
            return Err(invalid("the key is unknown, has expired, or is not valid yet"));
        }
        if !is_right {
            return Err(invalid("the signature is wrong"));
        }
        let digests = match head.headers.contains(CONTENT_DIGEST) {
            true if signed.covers(CONTENT_DIGEST) => {
                Some(Digests::read(&head.headers).map_err(invalid)?)
            }
            _ => None,
        };
        Ok(Right { credential, signed, digests })
    }

    fn check_times(&self, signed: &Signed, wall_s: u64) -> Result<(), &'static str> {
        if signed.created_s > wall_s.saturating_add(SIGNATURE_SKEW_S) {
            return Err("the signature was made in the future");
        }
        if signed.created_s.saturating_add(self.window_s) < wall_s {
            return Err("the signature is too old");
        }
        match signed.expires_s {
            Some(expires_s) if expires_s <= wall_s => Err("the signature has expired"),
            _ => Ok(()),
        }
    }

    /// What says what is asked for must all be signed.
    fn check_covered(
        &self,
        signed: &Signed,
        head: &RequestHead,
        has_body: bool,
    ) -> Result<(), &'static str> {
        let covers = |name: &str| signed.covers(name);
        if !covers("@method") {
            return Err("`@method` is not signed");
        }
        let is_whole = covers("@target-uri");
        if !is_whole && !covers("@authority") {
            return Err("neither `@authority` nor `@target-uri` is signed");
        }
        let has_target = is_whole || covers("@request-target");
        if !has_target && !covers("@path") {
            return Err("neither `@path` nor `@target-uri` is signed");
        }
        if !has_target && head.query().is_some() && !covers("@query") {
            return Err("`@query` is not signed");
        }
        if has_body && !(covers(CONTENT_DIGEST) && head.headers.contains(CONTENT_DIGEST)) {
            return Err("there is a body, and its `content-digest` is not signed");
        }
        let is_left =
            |name: &&HeaderName| head.headers.contains(name.as_str()) && !covers(name.as_str());
        if self.covered.iter().any(|name| is_left(&name)) {
            return Err("a header that must be signed is not");
        }
        // Many a backend takes it for the header that is written with a dash.
        let is_twin = |name: &HeaderName| {
            name.as_str().contains('_') && {
                let name = name.as_str().replace('_', "-");
                covers(&name) || self.covered.iter().any(|covered| *covered == name.as_str())
            }
        };
        if head.headers.iter().any(|(name, _)| is_twin(name)) {
            return Err("a header is there that reads like one that is signed");
        }
        Ok(())
    }

    fn believe(&self, exchange: &mut Exchange) -> Result<Identity, Fault> {
        let right = self.judge(exchange)?;
        let is_empty = exchange.body.is_empty();
        if let Some(digests) = right.digests {
            if !is_empty {
                exchange.body.filter(Box::new(digests));
            } else if !digests.is_right() {
                return Err(invalid("the body is not what was signed"));
            }
        }
        match self.replays.put(&right.signed, exchange.id) {
            Seen::Never => Ok(Identity::of(right.credential)),
            Seen::Before => Err(invalid("the signature was used before")),
            Seen::Unknown(why) => {
                // On another connection another process may answer.
                let fault = Fault::new(Stage::Guard, FaultCode::IdentityUnavailable).closing();
                Err(fault.header(RETRY_AFTER, HeaderValue::from_static("1")).cause(why))
            }
        }
    }
}

impl Scheme for Hmac {
    fn kinds(&self) -> Option<&'static [CredentialKind]> {
        Some(&[CredentialKind::SharedSecret])
    }

    fn is_shown(&self, head: &RequestHead) -> bool {
        head.headers.contains(SIGNATURE_INPUT) || head.headers.contains(SIGNATURE)
    }

    /// Only says no: who is asked twice, as in `all`, must not take the second time for a replay.
    fn now(&self, exchange: &Exchange) -> Option<Result<Identity, Fault>> {
        self.judge(exchange).err().map(Err)
    }

    fn later<'a>(&'a self, exchange: &'a mut Exchange) -> BoxFuture<'a, Result<Identity, Fault>> {
        Box::pin(async move { self.believe(exchange) })
    }

    fn keeps(&self) -> bool {
        self.keep
    }

    fn hide(&self, head: &mut RequestHead) {
        head.headers.remove(SIGNATURE);
        head.headers.remove(SIGNATURE_INPUT);
    }
}

/// One answer for everything that is wrong, so that nothing is learnt from it; the log gets the reason.
fn invalid(why: &'static str) -> Fault {
    refused(FaultCode::CredentialsInvalid).detail("the signature is not valid").cause(why)
}

/// No registered scheme stands for signatures of requests, but RFC 9110, 11.6.1 wants a challenge.
fn refused(code: FaultCode) -> Fault {
    let challenge = HeaderValue::from_static("Signature realm=\"yett\"");
    Fault::new(Stage::Guard, code).header(WWW_AUTHENTICATE, challenge)
}

#[cfg(test)]
mod tests;
