//! What users write, and what is made of it.

use super::Introspection;
use super::endpoint::{self, Endpoint, Place, Proof};
use super::memory::Memory;
use crate::bearer::{self, From, Places};
use crate::groups;
use crate::guesses::Guesses;
use crate::kind::BuildCtx;
use crate::kinds::jwt::claims::{Rules, date};
use crate::kinds::jwt::settings::{ConsumerSettings, subjects};
use crate::kinds::jwt::subject::{Subject, Subjects};
use crate::plain;
use crate::sender::{self, Sender};
use crate::verified;
use crate::written::{OneOrMany, Written};
use arc_swap::ArcSwapOption;
use base::caps::VERIFIED_TOKENS_BYTES_MAX;
use base::units::{Period, Size};
use base::{Node, Report, Secret, Text, decode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, SystemTime};
use tokio::sync::Mutex;
use traffic::exchange::Claims;

/// Settings of `introspection`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline, extend("required" = ["client_id", "client_secret"]))]
pub struct Settings {
    /// Who gives out the tokens. Where there is no `url`, it is also the address at which the issuer says where to ask
    /// (OpenID Connect Discovery, RFC 8414). Answers that name another issuer are not believed.
    pub issuer: Option<String>,
    /// The address of the introspection endpoint.
    pub url: Option<String>,
    /// The name of the gateway at the issuer.
    pub client_id: String,
    /// Its secret there, such as `${env:INTROSPECTION_SECRET}`.
    pub client_secret: Option<Text>,
    /// How the gateway shows them: `basic`, in a header, or `post`, in the form.
    pub auth: Auth,
    /// Whom tokens must be for: `aud` must hold one of these. Any when left out: prefer to say it.
    pub audience: OneOrMany,
    /// Scopes that the token must have, all of them; others are refused with 403.
    pub scopes: Vec<String>,
    /// What else must be said of the token.
    pub required: Vec<String>,
    /// The kind of token (`token_type`), such as `Bearer`, whatever it is when left out.
    pub token_type: Option<String>,
    /// How long a request waits for the answer: 2s when left out, at most 30s.
    pub timeout: Option<Period>,
    /// How long answers are remembered. A token that is revoked is accepted for as long.
    pub cache: CacheSettings,
    /// Certificates (PEM) that the endpoint's is verified with, such as `${file:ca.pem}`, in place of the usual ones.
    pub ca: Option<Text>,
    /// Where the token is looked for.
    pub from: From,
    /// Whether the backend gets to see the token.
    pub keep: bool,
    /// Whether tokens must be bound to their holder, so that nobody else can use them; tokens that are bound are
    /// only ever accepted from their holder, with `Authorization: DPoP` (RFC 9449) or their client certificate (RFC 8705).
    pub sender: Option<Written<sender::Settings>>,
    /// The address of the resource's metadata (RFC 9728), which clients without a good token are told.
    pub resource_metadata: Option<String>,
    /// Who the caller is by what is said of the token. For tokens that are about no user write `{ claim: client_id }`.
    pub consumer: ConsumerSettings,
    /// What holds the groups of callers whom the directory does not know, as in `jwt`.
    pub groups: Option<Written<groups::Settings>>,
}

/// How the gateway proves who it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Auth {
    /// Name and secret in `Authorization: Basic` (`client_secret_basic`).
    #[default]
    Basic,
    /// In the form (`client_secret_post`).
    Post,
}

/// How long answers are remembered.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub struct CacheSettings {
    /// That a token is good: 1m when left out, at most 1h, and never beyond its own end. `0s` asks at each request.
    pub ttl: Option<Period>,
    /// That a token is not good: 10s when left out, at most 5m.
    pub negative: Option<Period>,
    /// How much memory they may take: 64MiB when left out.
    pub max: Option<Size>,
}

const TIMEOUT: Duration = Duration::from_secs(2);
const TIMEOUT_MAX: Duration = Duration::from_secs(30);
const TTL: Duration = Duration::from_secs(60);
const TTL_MAX: Duration = Duration::from_secs(3_600);
const NEGATIVE: Duration = Duration::from_secs(10);
const NEGATIVE_MAX: Duration = Duration::from_secs(300);
const MEMORY: u64 = 64 << 20;
/// How much clocks may differ where proofs are looked at.
const LEEWAY: Duration = Duration::from_secs(30);

/// What must hold of a token.
pub(super) struct Terms {
    pub(super) rules: Rules,
    pub(super) subjects: Subjects,
    issuer: Option<String>,
    token_type: Option<String>,
    ttl: Duration,
    pub(super) refused_for: Duration,
}

impl Terms {
    /// Judges what an endpoint says at a time.
    pub(super) fn judge(
        &self,
        said: Option<Claims>,
        now: SystemTime,
    ) -> Result<Subject, &'static str> {
        let claims = said.ok_or("the token is not active")?;
        let expires = date(&claims, "exp")?;
        if expires.is_some_and(|end| end <= now) {
            return Err("the token has expired");
        }
        if date(&claims, "nbf")?.is_some_and(|from| from > now + LEEWAY) {
            return Err("the token is not valid yet (`nbf`)");
        }
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        if let (Some(wanted), Some(_)) = (&self.issuer, claims.get("iss"))
            && text("iss") != Some(wanted)
        {
            return Err("the token's issuer (`iss`) is another one");
        }
        if let Some(wanted) = &self.token_type
            && !text("token_type").is_some_and(|told| told.eq_ignore_ascii_case(wanted))
        {
            return Err("the token is of another kind (`token_type`)");
        }
        let is_proven = text("token_type").is_some_and(|told| told.eq_ignore_ascii_case("dpop"));
        let key = claims.get("cnf").and_then(|told| told.get("jkt"));
        if is_proven && key.is_none() {
            return Err("the token must be shown with a proof, and is bound to no key (`cnf`)");
        }
        if !self.rules.audience.is_empty() && !self.rules.is_for_us(&claims) {
            return Err("the token is for somebody else (`aud`)");
        }
        let is_there = |name: &String| claims.get(name).is_some_and(|value| !value.is_null());
        if !self.rules.required.iter().all(is_there) {
            return Err("something that is required is not said of the token");
        }
        let latest = now + self.ttl;
        let until = expires.map_or(latest, |end| end.min(latest));
        self.subjects.of(&claims, self.rules.lacks_scope(), (expires, until), 0)
    }
}

pub(super) fn read(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Introspection> {
    let settings = decode::<Settings>(node, ctx.path, report)?;
    let mut own = Report::new();
    let problems = &mut own;
    let places = Places::read(&settings.from, node, ctx, problems);
    let asked = asked(&settings, node, ctx, problems);
    let terms = asked.as_deref().and_then(|asked| terms(&settings, asked, node, ctx, problems));
    let sender = settings.sender.as_ref().map_or_else(sender::Settings::default, |it| it.0.clone());
    let metadata = settings.resource_metadata.as_deref();
    let sender = Sender::read(&sender, (metadata, LEEWAY), node, ctx, problems);
    let bytes_max = settings.cache.max.map_or(MEMORY, |size| size.0);
    if bytes_max > VERIFIED_TOKENS_BYTES_MAX {
        ctx.error(problems, node, "/cache/max", "at most 128MiB of tokens are remembered");
    }
    let endpoint = asked.as_deref().and_then(|asked| whom(&settings, asked, node, ctx, problems));
    let is_usable = !own.has_errors();
    report.absorb(own);
    let (places, terms, sender, endpoint) = (places?, terms?, sender?, endpoint?);
    let asked = asked.filter(|_| is_usable)?;
    // What was said under these very settings holds for all who have them.
    let all = format!("{settings:?}");
    let id: String = verified::hash(&all).iter().map(|byte| format!("{byte:02x}")).collect();
    let memory = ctx.state.cell(&format!("introspection/{id}"), || {
        Memory::new(&asked, bytes_max, ctx.metrics.introspection(&asked), ctx.clock)
    });
    Some(Introspection {
        places,
        keep: settings.keep,
        terms,
        sender,
        endpoint,
        memory,
        guesses: Guesses::of(ctx),
        directory: Arc::clone(ctx.directory),
        clock: ctx.clock.clone(),
    })
}

/// The address that is told, or the issuer who is asked for it.
fn asked(
    settings: &Settings,
    node: &Node,
    ctx: &BuildCtx<'_>,
    report: &mut Report,
) -> Option<String> {
    let (address, below) = match (&settings.url, &settings.issuer) {
        (Some(url), _) => (url, "/url"),
        (None, Some(issuer)) => (issuer, "/issuer"),
        (None, None) => {
            let message = "neither `issuer` nor `url` is there: who is asked?";
            ctx.error(report, node, "", message)
                .help("write `issuer: https://idp.example.com`, or the `url` of the endpoint");
            return None;
        }
    };
    if let Err(why) = endpoint::destination(address, TIMEOUT, None) {
        ctx.error(report, node, below, why);
        return None;
    }
    let what = "tokens and the secret go there by plain HTTP, for all to read";
    plain::warn((address, what), (node, below), ctx, report);
    Some(address.clone())
}

fn terms(
    settings: &Settings,
    asked: &str,
    node: &Node,
    ctx: &BuildCtx<'_>,
    report: &mut Report,
) -> Option<Terms> {
    let mut period = |told: Option<Period>, (usual, max): (Duration, Duration), below: &str| {
        let told = told.map_or(usual, |period| period.0);
        if told > max {
            ctx.error(report, node, below, format!("at most {}s", max.as_secs()));
        }
        told
    };
    let ttl = period(settings.cache.ttl, (TTL, TTL_MAX), "/cache/ttl");
    let refused_for = period(settings.cache.negative, (NEGATIVE, NEGATIVE_MAX), "/cache/negative");
    if let Some(at) = settings.scopes.iter().position(|scope| !bearer::is_scope(scope)) {
        let message = "this is no scope: they have neither spaces nor quotes";
        ctx.error(report, node, &format!("/scopes/{at}"), message);
        return None;
    }
    let name = settings.issuer.as_deref().unwrap_or(asked);
    let who = (name, &settings.consumer, settings.groups.as_ref().map(|it| &it.0));
    let subjects = subjects(who, node, ctx, report)?;
    let any = settings.audience.0.iter().any(|it| it == "*");
    let rules = Rules {
        issuer: name.to_owned(),
        audience: if any { Vec::new() } else { settings.audience.0.clone() },
        algorithms: Vec::new(),
        leeway: LEEWAY,
        required: settings.required.clone(),
        token_type: None,
        scopes: settings.scopes.clone(),
        scopes_text: settings.scopes.join(" "),
    };
    let (issuer, token_type) = (settings.issuer.clone(), settings.token_type.clone());
    Some(Terms { rules, subjects, issuer, token_type, ttl, refused_for })
}

fn whom(
    settings: &Settings,
    asked: &str,
    node: &Node,
    ctx: &BuildCtx<'_>,
    report: &mut Report,
) -> Option<Endpoint> {
    let limit = settings.timeout.map_or(TIMEOUT, |timeout| timeout.0);
    if limit > TIMEOUT_MAX || limit.is_zero() {
        ctx.error(report, node, "/timeout", "a request waits at least 1ms and at most 30s");
        return None;
    }
    let proof = proof(settings, node, ctx, report)?;
    let ca_pem = match settings.ca.as_ref().map(|ca| ca.resolve(ctx.secrets)).transpose() {
        Ok(ca) => ca.map(|pem| pem.reveal().as_bytes().to_vec()),
        Err(why) => {
            ctx.error(report, node, "/ca", why);
            return None;
        }
    };
    // Opened in any case, so that bad certificates are told at once.
    let remote = endpoint::destination(asked, limit, ca_pem.clone())
        .and_then(|destination| ctx.outbound.open(destination));
    let remote = match remote {
        Ok(remote) => remote,
        Err(why) => {
            let below = if settings.url.is_some() { "/url" } else { "/issuer" };
            ctx.error(report, node, below, why);
            return None;
        }
    };
    let place = match (&settings.url, &settings.issuer) {
        (None, Some(issuer)) => Place::Told {
            issuer: issuer.clone(),
            way: Arc::clone(ctx.outbound),
            found: ArcSwapOption::default(),
            failures: AtomicU32::default(),
            asking: Mutex::default(),
        },
        _ => Place::Fixed(remote),
    };
    Some(Endpoint { place, proof, limit, ca_pem })
}

fn proof(
    settings: &Settings,
    node: &Node,
    ctx: &BuildCtx<'_>,
    report: &mut Report,
) -> Option<Proof> {
    if settings.client_id.is_empty() {
        ctx.error(report, node, "/client_id", "`client_id` is missing: who is the gateway there?")
            .help("register the gateway at the issuer, and write its name and secret here");
        return None;
    }
    let Some(written) = &settings.client_secret else {
        ctx.error(report, node, "/client_secret", "`client_secret` is missing").help(
            "such as `${env:INTROSPECTION_SECRET}`; nobody may ask without one (RFC 7662, 2.1)",
        );
        return None;
    };
    if !written.has_reference() {
        ctx.error(report, node, "/client_secret", "a secret stands in the config")
            .help("keep it elsewhere and refer to it, such as `${env:INTROSPECTION_SECRET}`");
        return None;
    }
    let secret = match written.resolve(ctx.secrets) {
        Ok(secret) => Secret::new(secret.reveal().trim_end_matches(['\r', '\n']).to_owned()),
        Err(why) => {
            ctx.error(report, node, "/client_secret", why);
            return None;
        }
    };
    match settings.auth {
        Auth::Basic => Proof::basic(&settings.client_id, &secret),
        Auth::Post => Some(Proof::post(&settings.client_id, &secret)),
    }
}
