//! What users write, and what is made of it.

use super::claims::Rules;
use super::long::Long;
use super::subject::Subjects;
use super::{Jwt, Keys};
use crate::bearer::{self, From, Places};
use crate::groups::{self, Groups};
use crate::issuer::{Issuer, Source, plain as without_query};
use crate::jose::{Algorithm, Key, KeySet};
use crate::kind::BuildCtx;
use crate::plain;
use crate::sender::{self, Sender};
use crate::verified::{self, Verified};
use crate::written::{OneOrMany, Short, Written};
use base::caps::KEY_SET_BYTES_MAX;
use base::units::Period;
use base::{Node, Report, Text, decode};
use http::Uri;
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use traffic::outbound::Destination;

/// Settings of `jwt`; short: `https://idp.example.com/realms/a for orders`, the issuer and the audience.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub struct Settings {
    /// Who signs the tokens: `iss` must be this, letter by letter. Where neither `jwks` nor `secret` is there, it is
    /// also the address at which the issuer says where its keys are (OpenID Connect Discovery, RFC 8414).
    pub issuer: String,
    /// Whom the tokens are for: `aud` must hold one of these. `'*'` alone accepts tokens that are for others, too.
    pub audience: OneOrMany,
    /// The issuer's public keys: the address of a set of keys (JWKS), or a set or a PEM block `PUBLIC KEY` itself,
    /// such as `${file:keys.json}`. Keys of an address are fetched again before they age out, and when a
    /// token names a new one. Of a token that names none (`kid`) the first eight keys of its algorithm are tried.
    pub jwks: Option<Text>,
    /// Certificates (PEM) that the issuer's is verified with, such as `${file:ca.pem}`, in place of the usual ones.
    pub ca: Option<Text>,
    /// The secret that the tokens are signed with (HMAC), in place of public keys, such as
    /// `${env:TOKEN_SECRET}`; at least 32 bytes. Everybody who has it can sign.
    pub secret: Option<Text>,
    /// The algorithms that are accepted: of `RS256`, `RS384`, `RS512`, `PS256`, `PS384`, `PS512`, `ES256`, `ES384`,
    /// `ES512` and `EdDSA`, or of `HS256`, `HS384` and `HS512` with a `secret`. All that go with each
    /// key when left out, and `HS256` with a secret.
    pub algorithms: Vec<String>,
    /// How much the issuer's clock may differ: 30s when left out, at most 5m.
    pub leeway: Option<Period>,
    /// Claims that must be there. `exp` always must.
    pub required: Vec<String>,
    /// Scopes that the token must have, all of them (`scope` or `scp`); others are refused with 403.
    pub scopes: Vec<String>,
    /// The type of the tokens (`typ`), such as `at+jwt` (RFC 9068). `JWT`, `at+jwt` and none are accepted when left out.
    pub token_type: Option<String>,
    /// Where the token is looked for.
    pub from: From,
    /// Whether the backend gets to see the token.
    pub keep: bool,
    /// Whether tokens must be bound to their holder, so that nobody else can use them; tokens that are bound are
    /// only ever accepted from their holder, with `Authorization: DPoP` (RFC 9449) or their client certificate (RFC 8705).
    pub sender: Option<Written<sender::Settings>>,
    /// The address of the resource's metadata (RFC 9728), which clients without a good token are told.
    pub resource_metadata: Option<String>,
    /// Who the caller is by what the token says.
    pub consumer: ConsumerSettings,
    /// The claim with the groups of callers whom the directory does not know, such as `realm_access.roles`. They stand
    /// behind the issuer's prefix, `idp.example.com/staff`, but for those that it may say as groups of this config:
    /// `{ from: realm_access.roles, as: [staff] }`.
    pub groups: Option<Written<groups::Settings>>,
}

/// How tokens become consumers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub struct ConsumerSettings {
    /// The claim that says who it is; dots lead into objects.
    pub claim: String,
    /// What stands before the slash in the names of those whom the directory does not know: the issuer's host when
    /// left out. Two issuers with one prefix would call different people by one name, so that must be said of both.
    pub prefix: Option<String>,
    /// Whether the claim is the name of one of the `consumers` here. The issuer can then speak for all of them.
    pub by_name: bool,
    /// What becomes of those whom the directory does not know.
    pub unknown: Unknown,
}

impl Default for ConsumerSettings {
    fn default() -> Self {
        Self { claim: "sub".to_owned(), prefix: None, by_name: false, unknown: Unknown::Accept }
    }
}

/// What becomes of callers whom the directory does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Unknown {
    /// They are consumers with a slash in their name, such as `idp.example.com/alice`.
    Accept,
    /// They are refused with 401.
    Refuse,
}

impl Short for Settings {
    const EXPECTING: &'static str = "issuer and audience such as `https://idp.example.com for orders`, or `{ issuer, audience, jwks, … }`";
    const SAMPLE: &'static str = "https://idp.example.com for orders";

    fn short(text: &str) -> Result<Self, String> {
        let (issuer, audience) = text.split_once(" for ").ok_or_else(|| {
            format!("`{text}` does not say whom the tokens are for, such as `https://idp.example.com for orders`")
        })?;
        let audience = OneOrMany(vec![audience.trim().to_owned()]);
        Ok(Self { issuer: issuer.trim().to_owned(), audience, ..Self::default() })
    }
}

const LEEWAY: Duration = Duration::from_secs(30);
const LEEWAY_MAX: Duration = Duration::from_secs(300);

pub(super) fn read(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Jwt> {
    let Written(settings) = decode::<Written<Settings>>(node, ctx.path, report)?;
    let mut own = Report::new();
    let problems = &mut own;
    let rules = rules(&settings, node, ctx, problems);
    let who = (&*settings.issuer, &settings.consumer, settings.groups.as_ref().map(|it| &it.0));
    let subjects = subjects(who, node, ctx, problems);
    let places = Places::read(&settings.from, node, ctx, problems);
    let (keys, fingerprint) = match &rules {
        Some(rules) => keys(&settings, rules, node, ctx, problems).unzip(),
        None => (None, None),
    };
    let leeway = rules.as_ref().map_or(LEEWAY, |rules| rules.leeway);
    let sender = settings.sender.as_ref().map_or_else(sender::Settings::default, |it| it.0.clone());
    let metadata = settings.resource_metadata.as_deref();
    let sender = Sender::read(&sender, (metadata, leeway), node, ctx, &mut own);
    let is_usable = !own.has_errors();
    report.absorb(own);
    let sender = sender?;
    let (rules, subjects, places, keys) = (rules?, subjects?, places?, keys?);
    if !is_usable {
        return None;
    }
    // What was verified under these very settings and keys holds for all who have them.
    let all = format!("{settings:?} {}", fingerprint.unwrap_or_default());
    let id: String = verified::hash(&all).iter().map(|byte| format!("{byte:02x}")).collect();
    let verified = ctx.state.cell(&format!("jwt/{id}"), Verified::new);
    let (directory, clock) = (Arc::clone(ctx.directory), ctx.clock.clone());
    Some(Jwt {
        places,
        keep: settings.keep,
        keys,
        rules,
        subjects,
        sender,
        verified,
        long: Long::of(ctx),
        directory,
        clock,
    })
}

fn rules(
    settings: &Settings,
    node: &Node,
    ctx: &BuildCtx<'_>,
    report: &mut Report,
) -> Option<Rules> {
    if settings.issuer.is_empty() {
        ctx.error(report, node, "/issuer", "`issuer` is missing: who signs the tokens?").help(
            "write what the tokens have as `iss`, such as `https://idp.example.com/realms/a`",
        );
        return None;
    }
    let audience = settings.audience.0.clone();
    if audience.is_empty() || audience.iter().any(String::is_empty) {
        ctx.error(report, node, "/audience", "`audience` is missing: whom are the tokens for?")
            .help("write what they have as `aud`; `'*'` accepts tokens that the issuer gave out for others, too");
        return None;
    }
    let any = audience.iter().any(|it| it == "*");
    if any && audience.len() > 1 {
        let message = "`*` is every audience: those beside it mean nothing";
        ctx.error(report, node, "/audience", message).help("leave out either `*` or the others");
        return None;
    }
    if any
        && settings.scopes.is_empty()
        && settings.required.is_empty()
        && settings.token_type.is_none()
    {
        let message = "every token of the issuer is good here, also one that was given out for another service";
        ctx.warning(report, node, "/audience", message)
            .help("name whom the tokens are for, or what they must have: `scopes`, `required`, `token_type`");
    }
    let audience = if any { Vec::new() } else { audience };
    let leeway = settings.leeway.map_or(LEEWAY, |leeway| leeway.0);
    if leeway > LEEWAY_MAX {
        ctx.error(report, node, "/leeway", "clocks that differ by more than 5m are to be mended");
        return None;
    }
    if let Some(at) = settings.scopes.iter().position(|scope| !bearer::is_scope(scope)) {
        let message = "this is no scope: they have neither spaces nor quotes";
        ctx.error(report, node, &format!("/scopes/{at}"), message);
        return None;
    }
    let token_type = settings.token_type.as_deref().map(str::to_ascii_lowercase);
    let bare =
        |it: String| it.strip_prefix("application/").map_or_else(|| it.clone(), str::to_owned);
    Some(Rules {
        issuer: settings.issuer.clone(),
        audience,
        algorithms: algorithms(settings, node, ctx, report)?,
        leeway,
        required: settings.required.clone(),
        token_type: token_type.map(bare),
        scopes: settings.scopes.clone(),
        scopes_text: settings.scopes.join(" "),
    })
}

fn algorithms(
    settings: &Settings,
    node: &Node,
    ctx: &BuildCtx<'_>,
    report: &mut Report,
) -> Option<Vec<Algorithm>> {
    let has_secret = settings.secret.is_some();
    if settings.algorithms.is_empty() {
        let asymmetric = Algorithm::ALL.into_iter().filter(|it| !it.is_symmetric());
        return Some(if has_secret { vec![Algorithm::Hs256] } else { asymmetric.collect() });
    }
    let mut known = Vec::new();
    for (at, name) in settings.algorithms.iter().enumerate() {
        let below = format!("/algorithms/{at}");
        let Some(algorithm) = Algorithm::of(name) else {
            let names: Vec<_> = Algorithm::ALL.iter().map(|it| it.name()).collect();
            ctx.error(report, node, &below, format!("`{name}` is no algorithm that is known here"))
                .help(format!("there are {}", names.join(", ")));
            return None;
        };
        if algorithm.is_symmetric() != has_secret {
            let (message, help) = if has_secret {
                (
                    format!("`{name}` does not go with a `secret`"),
                    "there are HS256, HS384 and HS512",
                )
            } else {
                (
                    format!("`{name}` needs a `secret`"),
                    "public keys never verify `HS…`: anybody could sign",
                )
            };
            ctx.error(report, node, &below, message).help(help);
            return None;
        }
        known.push(algorithm);
    }
    Some(known)
}

/// How the tokens of an issuer become consumers, with the claim that holds their groups.
pub(in crate::kinds) fn subjects(
    (issuer, consumer, groups): (&str, &ConsumerSettings, Option<&groups::Settings>),
    node: &Node,
    ctx: &BuildCtx<'_>,
    report: &mut Report,
) -> Option<Subjects> {
    let ConsumerSettings { claim, prefix, by_name, unknown } = consumer;
    if claim.is_empty() {
        ctx.error(report, node, "/consumer/claim", "which claim says who it is?");
        return None;
    }
    let host = issuer.parse::<Uri>().ok().and_then(|uri| uri.host().map(str::to_owned));
    let is_told = prefix.is_some();
    let prefix = prefix.clone().or(host).unwrap_or_else(|| issuer.to_owned());
    if prefix.is_empty() || prefix.chars().any(char::is_control) {
        ctx.error(
            report,
            node,
            "/consumer/prefix",
            "a prefix is a text without control characters",
        );
        return None;
    }
    Some(Subjects {
        issuer: issuer.to_owned(),
        claim: claim.clone(),
        prefix,
        workspace: ctx.directory.workspace().cloned(),
        is_told,
        is_name: *by_name,
        accepts_unknown: *unknown == Unknown::Accept,
        groups: groups.map(Groups::new),
    })
}

/// The keys, and what tells them from others where they do not change by themselves.
fn keys(
    settings: &Settings,
    rules: &Rules,
    node: &Node,
    ctx: &BuildCtx<'_>,
    report: &mut Report,
) -> Option<(Keys, String)> {
    match (&settings.jwks, &settings.secret) {
        (Some(_), Some(_)) => {
            ctx.error(report, node, "/secret", "`jwks` and `secret` cannot stand side by side")
                .help("for two ways to sign write two policies `jwt` in one `any`");
            None
        }
        (None, Some(secret)) => secret_key(secret, rules, node, ctx, report),
        (None, None) => {
            let source = Source::Discovery(settings.issuer.clone());
            let at = (&*settings.issuer, "/issuer", settings);
            fetched(&source, at, node, ctx, report)
        }
        (Some(jwks), None) => {
            let text = match jwks.resolve(ctx.secrets) {
                Ok(text) => text,
                Err(why) => {
                    ctx.error(report, node, "/jwks", why);
                    return None;
                }
            };
            let text = text.reveal().trim();
            if text.starts_with("http:") || text.starts_with("https:") {
                // What a reference stands for may be a secret; who is asked is told all the same.
                let name = if jwks.has_reference() {
                    origin(text)
                } else {
                    without_query(text).to_owned()
                };
                let source = Source::Url { url: text.to_owned(), name };
                return fetched(&source, (text, "/jwks", settings), node, ctx, report);
            }
            fixed(text, rules, node, ctx, report)
        }
    }
}

fn secret_key(
    secret: &Text,
    rules: &Rules,
    node: &Node,
    ctx: &BuildCtx<'_>,
    report: &mut Report,
) -> Option<(Keys, String)> {
    if !secret.has_reference() {
        ctx.error(report, node, "/secret", "a secret stands in the config")
            .help("keep it elsewhere and refer to it, such as `${env:TOKEN_SECRET}`");
        return None;
    }
    let key = secret.resolve(ctx.secrets).and_then(|value| {
        let key = Key::from_secret(value.reveal().as_bytes(), &rules.algorithms);
        let fingerprint = format!("{:?}", verified::hash(value.reveal()));
        key.map(|key| (key, fingerprint)).map_err(str::to_owned)
    });
    match key {
        Ok((key, fingerprint)) => Some((Keys::fixed(KeySet::of(vec![key])), fingerprint)),
        Err(why) => {
            ctx.error(report, node, "/secret", why).help(
                "HS256 needs 32 bytes, HS384 48 and HS512 64; `openssl rand -hex 32` makes 64",
            );
            None
        }
    }
}

fn fixed(
    text: &str,
    rules: &Rules,
    node: &Node,
    ctx: &BuildCtx<'_>,
    report: &mut Report,
) -> Option<(Keys, String)> {
    let set = if text.len() > KEY_SET_BYTES_MAX {
        Err(format!("there are more than {KEY_SET_BYTES_MAX} bytes"))
    } else if text.starts_with("-----BEGIN") {
        let blocks = text.split_inclusive("-----END PUBLIC KEY-----");
        let blocks = blocks.filter(|block| !block.trim().is_empty());
        let keys: Result<Vec<_>, _> = blocks.map(Key::from_pem).collect();
        keys.map(KeySet::of).map_err(str::to_owned)
    } else {
        KeySet::parse(text.as_bytes())
    };
    let set = match set {
        Ok(set) => set,
        Err(why) => {
            ctx.error(report, node, "/jwks", why).help(
                "expected the address of a set of keys, `{\"keys\": […]}`, or `-----BEGIN PUBLIC KEY-----`; \
                 `openssl x509 -pubkey -noout` takes the key out of a certificate",
            );
            return None;
        }
    };
    for why in &set.skipped {
        ctx.warning(report, node, "/jwks", format!("not used: {why}"));
    }
    let is_usable =
        |key: &Key| key.algorithms().any(|algorithm| rules.algorithms.contains(&algorithm));
    if !set.keys().iter().any(is_usable) {
        ctx.error(report, node, "/jwks", "no key goes with one of `algorithms`");
        return None;
    }
    Some((Keys::fixed(set), format!("{:?}", verified::hash(text))))
}

fn fetched(
    source: &Source,
    (url, below, settings): (&str, &str, &Settings),
    node: &Node,
    ctx: &BuildCtx<'_>,
    report: &mut Report,
) -> Option<(Keys, String)> {
    let destination = Destination::parse(url);
    if let Err(why) = &destination {
        let is_hidden = settings.jwks.as_ref().is_some_and(Text::has_reference);
        let hidden = "what it stands for is neither an address nor keys";
        let why = if is_hidden { hidden } else { why };
        let problem = ctx.error(report, node, below, why);
        if below == "/issuer" {
            problem.help("an issuer whose name is no URL needs `jwks` or `secret`");
        }
        return None;
    }
    let what = "keys that come by plain HTTP are those of whoever is on the way";
    plain::warn((url, what), (node, below), ctx, report);
    let ca = settings.ca.as_ref().map(|ca| ca.resolve(ctx.secrets)).transpose();
    let ca_pem = match ca {
        Ok(ca) => ca.map(|pem| pem.reveal().as_bytes().to_vec()),
        Err(why) => {
            ctx.error(report, node, "/ca", why);
            return None;
        }
    };
    let opened = destination.and_then(|mut destination| {
        destination.ca_pem.clone_from(&ca_pem);
        ctx.outbound.open(destination)
    });
    if let Err(why) = opened {
        ctx.error(report, node, if ca_pem.is_some() { "/ca" } else { below }, why);
        return None;
    }
    // A reference may stand for another address by and by.
    let fingerprint = format!("{:?}", verified::hash(url));
    Some((Keys::Fetched(Issuer::of(source, ca_pem, ctx)), fingerprint))
}

/// Scheme, host and port of an address.
fn origin(url: &str) -> String {
    let uri = url.parse::<Uri>().ok();
    let parts = uri.as_ref().and_then(|uri| Some((uri.scheme_str()?, uri.authority()?.as_str())));
    parts.map_or_else(String::new, |(scheme, authority)| {
        format!("{scheme}://{}", authority.rsplit('@').next().unwrap_or_default())
    })
}
