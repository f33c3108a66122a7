//! Identifies consumers by a key they show in a header, a query parameter or a cookie.
//!
//! Keys of our own ([`crate::key`]) are recognised by their prefix: they are also accepted as
//! `Authorization: Bearer yett_…`, and one with a wrong checksum is refused without a look-up. Keys made
//! elsewhere are accepted if the directory has their hash.

use crate::cookie;
use crate::field;
use crate::guesses::Guesses;
use crate::identity::{Identify, Identity, Scheme};
use crate::key;
use crate::kind::{BuildCtx, Group, Kind};
use crate::query;
use base::caps::{API_KEY_BYTES_MAX, QUERY_PARAMS_MAX};
use base::{Clock, Node, Report, decode};
use http::header::{AUTHORIZATION, COOKIE, WWW_AUTHENTICATE};
use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::Deserialize;
use std::borrow::Cow;
use std::sync::Arc;
use traffic::directory::{CredentialKind, Directory};
use traffic::head::RequestHead;
use traffic::policy::{Facts, Phases};
use traffic::{Exchange, Fault, FaultCode, Policy, Stage};

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "api_key",
    group: Group::Identity,
    phases: Phases { request: true, forward: false, reply: false, record: false },
    answers: false,
    about: "Identifies the consumer by an API key and takes the key out of the request. Requests \
            without a key, or with one that is not valid, are refused with 401.",
    example: "api_key: { header: x-api-key }",
    resets: "it has no state",
    schema: <Settings as JsonSchema>::json_schema,
    build,
};

/// Settings of `api_key`; it needs none. `Authorization: Bearer yett_…` is accepted in any case.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The header that holds the key.
    pub header: String,
    /// A query parameter that may hold the key. Queries end up in histories, logs and `Referer`: prefer a header.
    pub query: Option<String>,
    /// A cookie that may hold the key. A browser sends it whichever page makes the request: set it with
    /// `SameSite=Strict`, and let only pages of yours change anything (`cors`).
    pub cookie: Option<String>,
    /// Whether the backend gets to see the key.
    pub keep: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { header: "x-api-key".to_owned(), query: None, cookie: None, keep: false }
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

fn read(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<ApiKey> {
    let settings = decode::<Settings>(node, ctx.path, report)?;
    let header = HeaderName::from_bytes(settings.header.as_bytes()).ok();
    // What is stripped or framed before a policy sees it holds no key.
    let is_free = |name: &HeaderName| {
        name != AUTHORIZATION && name != COOKIE && !field::is_own(name) && !is_stripped(name)
    };
    let Some(header) = header.filter(is_free) else {
        let message = format!("`{}` is not a header that can hold a key alone", settings.header);
        ctx.error(report, node, "/header", message)
            .help("name a header such as `x-api-key`; `authorization: Bearer yett_…` works anyway");
        return None;
    };
    for (below, name) in [("/query", &settings.query), ("/cookie", &settings.cookie)] {
        if name.as_ref().is_some_and(|name| !is_token(name)) {
            ctx.error(report, node, below, "a name has letters, digits, `-`, `_` and `.`");
            return None;
        }
    }
    let Settings { query, cookie, keep, .. } = settings;
    let (directory, clock) = (Arc::clone(ctx.directory), ctx.clock.clone());
    Some(ApiKey { header, query, cookie, keep, directory, clock, guesses: Guesses::of(ctx) })
}

/// Whether the gateway takes a header out of requests, or writes it anew, whatever a client sends.
fn is_stripped(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-forwarded")
        || ["forwarded", "via", "x-real-ip", "x-request-id"].contains(&name)
}

fn is_token(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !name.is_empty() && name.chars().all(is_plain)
}

struct ApiKey {
    header: HeaderName,
    query: Option<String>,
    cookie: Option<String>,
    keep: bool,
    directory: Arc<Directory>,
    clock: Clock,
    guesses: Arc<Guesses>,
}

/// What a request shows.
enum Shown<'a> {
    Nothing,
    One(Cow<'a, [u8]>),
    Several,
}

impl<'a> Shown<'a> {
    fn add(&mut self, key: impl Into<Cow<'a, [u8]>>) {
        let key = key.into();
        match self {
            _ if key.is_empty() => {}
            Self::Nothing => *self = Self::One(key),
            Self::One(other) if *other == key => {}
            _ => *self = Self::Several,
        }
    }
}

impl ApiKey {
    fn shown<'a>(&self, head: &'a RequestHead) -> Shown<'a> {
        let mut shown = Shown::Nothing;
        for value in head.headers.all(&self.header) {
            shown.add(value.as_bytes());
        }
        for key in head.headers.all(AUTHORIZATION).filter_map(bearer_key) {
            shown.add(key.as_bytes());
        }
        if let (Some(name), Some(query)) = (&self.query, head.query()) {
            // Whoever reads on would find what nobody has looked at.
            if query.split('&').nth(QUERY_PARAMS_MAX).is_some() {
                return match query::without(query, name).as_deref() == Some(query) {
                    true => shown,
                    false => Shown::Several,
                };
            }
            for (_, value) in query::pairs(query).filter(|(own, _)| own == name) {
                shown.add(value.into_owned().into_bytes());
            }
        }
        if let Some(name) = &self.cookie {
            cookie::values(head, name).for_each(|value| shown.add(value.as_bytes()));
        }
        shown
    }

    fn identify(&self, exchange: &Exchange) -> Result<Identity, Fault> {
        let key = match self.shown(&exchange.request) {
            Shown::Nothing => return Err(refused(FaultCode::CredentialsMissing)),
            Shown::Several => return Err(invalid("several keys are shown")),
            Shown::One(key) => key,
        };
        if key.starts_with(key::PREFIX.as_bytes()) {
            if !std::str::from_utf8(&key).is_ok_and(key::has_valid_checksum) {
                return Err(invalid("the key's checksum is wrong"));
            }
        } else if key.len() > API_KEY_BYTES_MAX {
            return Err(invalid("the key is too long"));
        } else {
            // One that was made elsewhere may be short enough to be guessed.
            self.guesses.check(exchange)?;
        }
        let found = self.directory.find(CredentialKind::ApiKey, &key::hash(&key));
        let credential = found.ok_or_else(|| invalid("the key is unknown"))?;
        let has_times = credential.from.is_some() || credential.until.is_some();
        if has_times && !credential.is_valid_at(self.clock.wall()) {
            return Err(invalid("the key has expired, or is not valid yet"));
        }
        Ok(Identity::of(credential))
    }
}

impl Scheme for ApiKey {
    fn kinds(&self) -> Option<&'static [CredentialKind]> {
        Some(&[CredentialKind::ApiKey])
    }

    fn is_shown(&self, head: &RequestHead) -> bool {
        !matches!(self.shown(head), Shown::Nothing)
    }

    fn now(&self, exchange: &Exchange) -> Option<Result<Identity, Fault>> {
        Some(self.identify(exchange))
    }

    fn keeps(&self) -> bool {
        self.keep
    }

    fn facts(&self) -> Facts {
        let usual = [AUTHORIZATION, COOKIE];
        let own = (!usual.contains(&self.header)).then(|| self.header.clone());
        Facts { credentials: own.into_iter().collect(), ..Facts::default() }
    }

    fn hide(&self, head: &mut RequestHead) {
        // Many a backend reads `x_api_key` as `x-api-key`.
        head.headers.retain(|name, _| *name != self.header && !is_twin(name, &self.header));
        // Nor does one of ours pass that is written in a way in which it is not read here.
        head.headers.retain(|name, value| *name != AUTHORIZATION || !holds_key(value));
        if let (Some(name), Some(query)) = (&self.query, head.query()) {
            let target = match query::without(query, name) {
                Some(query) => format!("{}?{query}", head.path()),
                None => head.path().to_owned(),
            };
            // A part of a valid target is valid.
            if let Ok(target) = PathAndQuery::try_from(target) {
                head.target = target;
            }
        }
        if let Some(name) = &self.cookie {
            cookie::hide(head, name);
        }
    }
}

fn is_twin(name: &HeaderName, of: &HeaderName) -> bool {
    let bytes = |name: &HeaderName| name.as_str().replace('_', "-");
    name.as_str().contains('_') && bytes(name) == bytes(of)
}

/// Whether there is a key of ours anywhere in a value.
fn holds_key(value: &HeaderValue) -> bool {
    let mut windows = value.as_bytes().windows(key::PREFIX.len());
    windows.any(|window| window == key::PREFIX.as_bytes())
}

/// The key in `Bearer yett_…`; other bearer tokens are not ours to judge.
fn bearer_key(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim_start();
    let is_key = scheme.eq_ignore_ascii_case("bearer") && token.starts_with(key::PREFIX);
    is_key.then_some(token)
}

/// One answer for everything that is wrong with a key, so that nothing is learnt from it; the log gets the
/// reason.
fn invalid(why: &'static str) -> Fault {
    refused(FaultCode::CredentialsInvalid).detail("the API key is not valid").cause(why)
}

/// RFC 9110, 11.6.1 wants a challenge; `Bearer` is the registered scheme that is understood here.
fn refused(code: FaultCode) -> Fault {
    let challenge = HeaderValue::from_static("Bearer realm=\"yett\"");
    Fault::new(Stage::Guard, code).header(WWW_AUTHENTICATE, challenge)
}

#[cfg(test)]
mod tests {
    use super::KIND;
    use crate::fixture::{self, World, lines};
    use crate::key;
    use serde_json::{Value, json};
    use std::sync::Arc;
    use traffic::directory::{Consumer, Credential, CredentialKind};

    const OURS: &str = "yett_";

    fn world(keys: &[&str]) -> World {
        let world = World::default();
        for known in keys {
            let consumer = Consumer { name: "alice".into(), is_known: true, ..Consumer::default() };
            let credential = Arc::new(Credential::new(CredentialKind::ApiKey, Arc::new(consumer)));
            world.directory.put(key::hash(known.as_bytes()), &credential);
        }
        world
    }

    /// `KEY` in the request stands for a key of our own form, known to the directory.
    fn check(settings: &Value, request: &str, expected: &str) {
        let (secret, _) = key::generate().unwrap();
        let world = world(&[secret.reveal(), "legacy"]);
        let policy = world.build(&KIND, settings).unwrap();
        let mut exchange = fixture::exchange(&request.replace("KEY", secret.reveal()));
        let outcome = policy.request(&mut exchange);
        let outcome = if outcome == "continue" {
            assert_eq!(&*exchange.consumer.as_ref().unwrap().name, "alice");
            assert!(exchange.credential.is_some());
            let mut shown = vec![exchange.request.target.to_string()];
            shown.extend(lines(&exchange.request.headers));
            shown.join(" | ").replace(secret.reveal(), "KEY")
        } else {
            assert!(exchange.consumer.is_none(), "{request}");
            outcome
        };
        assert_eq!(outcome, expected, "{request}");
    }

    #[test]
    fn a_known_key_identifies_and_is_not_forwarded() {
        check(&Value::Null, "GET /a\nx-api-key: KEY", "/a");
        check(&Value::Null, "GET /a\nx-api-key: legacy", "/a");
        check(&Value::Null, "GET /a\nauthorization: Bearer KEY", "/a");
        check(&Value::Null, "GET /a\nauthorization: bearer KEY\nx-api-key: KEY", "/a");
        check(&json!({ "header": "x-key" }), "GET /a\nx-key: KEY", "/a");
        check(&json!({ "keep": true }), "GET /a\nx-api-key: KEY", "/a | x-api-key: KEY");
        let query = json!({ "query": "api_key" });
        check(&query, "GET /a?b=1&api_key=KEY&c=2", "/a?b=1&c=2");
        check(&query, "GET /a?api_key=KEY", "/a");
        check(&query, "GET /a?%61pi_key=KEY\nx-api-key: KEY", "/a");
        let cookie = json!({ "cookie": "key" });
        check(&cookie, "GET /a\ncookie: a=1; key=KEY; b=2", "/a | cookie: a=1; b=2");
        check(&cookie, "GET /a\ncookie: key=KEY", "/a");
    }

    #[test]
    fn no_key_is_forwarded_however_it_is_written() {
        for hidden in [
            "authorization: Bearer\tKEY",
            "authorization: Digest x, Bearer KEY",
            "authorization: bearer  KEY",
            "x_api_key: another",
            "X_Api_Key: KEY",
            "x-api_key: KEY",
        ] {
            check(&Value::Null, &format!("GET /a\n{hidden}\nx-api-key: KEY"), "/a");
        }
        let many = "a&".repeat(300);
        let query = json!({ "query": "api_key" });
        let hidden = format!("GET /a?{many}api_key=other\nx-api-key: KEY");
        check(&query, &hidden, "credentials_invalid");
        check(&query, &format!("GET /a?{many}a=1\nx-api-key: KEY"), &format!("/a?{many}a=1"));
    }

    #[test]
    fn a_foreign_bearer_token_is_left_alone() {
        check(
            &Value::Null,
            "GET /a\nauthorization: Bearer abc\nx-api-key: KEY",
            "/a | authorization: Bearer abc",
        );
        check(&Value::Null, "GET /a\nauthorization: Bearer legacy", "credentials_missing");
    }

    #[test]
    fn everything_else_is_refused() {
        let wrong_checksum = format!("GET /\nx-api-key: {OURS}{}", "0".repeat(49));
        let too_long = format!("GET /\nx-api-key: {}", "k".repeat(257));
        for (request, expected) in [
            ("GET /", "credentials_missing"),
            ("GET /?api_key=KEY", "credentials_missing"),
            ("GET /\ncookie: key=KEY", "credentials_missing"),
            ("GET /\nx-api-key: unknown", "credentials_invalid"),
            ("GET /\nx-api-key: KEYx", "credentials_invalid"),
            ("GET /\nx-api-key: KEY\nx-api-key: legacy", "credentials_invalid"),
            ("GET /\nx-api-key: legacy\nauthorization: Bearer KEY", "credentials_invalid"),
            (&wrong_checksum, "credentials_invalid"),
            (&too_long, "credentials_invalid"),
        ] {
            check(&Value::Null, request, expected);
        }
    }

    #[test]
    fn a_key_of_our_form_with_a_wrong_checksum_is_refused_even_if_its_hash_is_known() {
        let forged = format!("{OURS}{}", "0".repeat(49));
        let policy = world(&[&forged]).build(&KIND, &Value::Null).unwrap();
        let request = format!("GET /\nx-api-key: {forged}");
        assert_eq!(policy.request(&mut fixture::exchange(&request)), "credentials_invalid");
    }

    #[test]
    fn refusals_carry_a_challenge_and_tell_invalid_keys_apart_by_nothing() {
        let policy = world(&[]).build(&KIND, &Value::Null).unwrap();
        let told = |request: &str| {
            let fault = policy.fault(&mut fixture::exchange(request));
            assert_eq!(fault.headers[0].0, "www-authenticate");
            (fault.code, fault.detail, fault.headers)
        };
        let unknown = told("GET /\nx-api-key: unknown");
        assert_eq!(unknown, told("GET /\nx-api-key: yett_short"));
        assert_eq!(unknown, told("GET /\nx-api-key: a\nx-api-key: b"));
    }

    #[test]
    fn wrong_settings_are_refused() {
        fixture::refuses(&KIND, &json!({ "header": "authorization" }), "hold a key alone");
        for stripped in ["host", "connection", "x-real-ip", "x-forwarded-key", "x-yett-consumer"] {
            fixture::refuses(&KIND, &json!({ "header": stripped }), "hold a key alone");
        }
        fixture::refuses(&KIND, &json!({ "header": "a b" }), "hold a key alone");
        fixture::refuses(&KIND, &json!({ "query": "" }), "a name has letters");
        fixture::refuses(&KIND, &json!({ "cookies": "a" }), "did you mean `cookie`");
    }
}
