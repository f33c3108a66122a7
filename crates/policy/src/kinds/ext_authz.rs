//! Asks an external authoriser about each request: by Envoy's `ext_authz` protocol over gRPC, or by HTTP.
//!
//! Whatever goes wrong with it is a refusal (503). Whether it also says who calls is up to `consumer`: with it the
//! policy identifies callers as any identity policy does, and a yes that names nobody is no answer. Without it the
//! route still needs an identity policy, or to be `public`: a yes alone names nobody for limits, logs and
//! backends to go by, so that it must be a decision to do without.

use crate::expression::Expression;
use crate::groups::{self, Groups};
use crate::identity::Scheme;
use crate::kind::{BuildCtx, Group, Kind};
use crate::plain;
use crate::written::{Short, Written};
use base::caps::{
    AUTHORISER_BODY_BYTES_MAX, AUTHORISER_CACHE, AUTHORISER_CACHE_MAX, AUTHORISER_CACHE_S_MAX,
    AUTHORISER_CACHED_BYTES,
};
use base::units::{Period, Size};
use base::{Clock, Node, Report, decode};
use http::{HeaderName, HeaderValue, Method};
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use telemetry::metrics::AuthoriserMetrics;
use traffic::directory::Directory;
use traffic::memory::Memory;
use traffic::plan::Plans;
use traffic::policy::Phases;
use traffic::upstream::Timeouts;
use traffic::{Destination, Policy, Remote};
use verdict::Verdict;

pub use grpc::says_yes;

mod ask;
mod body;
mod grpc;
mod callout;
mod protocol;
mod verdict;

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "ext_authz",
    group: Group::Identity,
    phases: Phases { request: true, forward: false, reply: true, record: false },
    answers: false,
    about: "Asks an external authoriser whether a request may pass, by Envoy's `ext_authz` protocol (gRPC) or by \
            HTTP. It may change the request, answer the client, and say who calls. When it does not answer in time, \
            the request is refused with 503.",
    example: "ext_authz: { grpc: \"grpc://127.0.0.1:9191\", consumer: { header: x-user } }",
    resets: "changing the authoriser, the key or the lifetime of the cache: cached answers are forgotten",
    schema: <Written<Settings> as JsonSchema>::json_schema,
    build,
};

/// Settings of `ext_authz`; short: the URL alone, `grpc://…`, `grpcs://…`, `http://…` or `https://…`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct Settings {
    /// The URL of an authoriser that speaks `envoy.service.auth.v3`: `grpc://host:port`, or `grpcs://host:port` with
    /// TLS. Either this or `http`.
    pub grpc: Option<String>,
    /// An authoriser that is asked by HTTP: answers with 2xx let the request pass, other answers go to the
    /// client, and 5xx counts as no answer. Either this or `grpc`.
    #[schemars(with = "Option<Written<HttpSettings>>")]
    http: Option<Written<HttpSettings>>,
    /// The headers of the request that the authoriser is told: by gRPC all of them unless they are listed here, by HTTP
    /// `authorization` and `cookie`. What an identity policy has taken out of the request is not among them.
    pub headers: Option<Vec<String>>,
    /// How long it may take in all. After that the request is refused with 503.
    #[serde(default = "timeout")]
    pub timeout: Period,
    /// Has the authoriser told the beginning of the body. The backend gets all of it.
    pub body: Option<BodySettings>,
    /// Remembers what the authoriser said. Nothing is remembered where this is left out.
    pub cache: Option<CacheSettings>,
    /// Where the authoriser says who calls. With this the policy identifies callers, and a yes that names nobody is
    /// refused with 503. Without it the route needs an identity policy besides, or `public`.
    pub consumer: Option<ConsumerSettings>,
    /// Names and values that the authoriser is told with each request: `context_extensions` by gRPC, headers by HTTP.
    #[serde(default)]
    pub context: BTreeMap<String, String>,
    /// Whether the authoriser may set `Host`.
    #[serde(default)]
    pub allow_host: bool,
}

/// Settings of an authoriser that is asked by HTTP; short: the URL alone.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct HttpSettings {
    /// Where it is asked. It learns method, host, path and client of the request from `x-forwarded-method`,
    /// `x-forwarded-proto`, `x-forwarded-host`, `x-forwarded-uri` and `x-forwarded-for`.
    pub url: String,
    /// The method by which it is asked: GET, or POST where it is told the body.
    pub method: Option<String>,
    /// Whether path and query of the request are appended to those of `url`.
    #[serde(default)]
    pub append_path: bool,
    /// Headers of a yes that are set on the request. What clients send under these names is taken out of all requests to
    /// the gateway, except for `authorization` and `cookie`, which are taken out of those that are asked about.
    #[serde(default)]
    pub to_backend: Vec<String>,
    /// Headers of a no that go to the client.
    #[serde(default = "to_client")]
    pub to_client: Vec<String>,
    /// Headers of a yes that are added to the answer of the backend.
    #[serde(default)]
    pub to_client_on_success: Vec<String>,
}

/// How much of the body the authoriser is told.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BodySettings {
    /// At most so many bytes, which are held in memory; at most 1MiB.
    #[serde(default = "body_max")]
    pub max: Size,
    /// Whether the beginning of a larger body will do. Otherwise requests with a larger one are refused with 413.
    #[serde(default)]
    pub partial: bool,
}

/// What is remembered.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CacheSettings {
    /// An expression (CEL) for what the answer depends on, besides what always counts: who was identified before, with
    /// application, groups and claims; the client's certificate; scheme, method, host, path and query; and the `headers` that the
    /// authoriser is told, which by gRPC must be listed. It is for what else there is, such as the client's address,
    /// `client.address`. Where it has no value, or a header of the request is there twice, the authoriser is asked.
    pub key: String,
    /// How long an answer holds, at most one hour.
    #[serde(default = "ttl")]
    pub ttl: Period,
    /// How many answers are remembered, of 1 KiB each, and fewer of larger ones; at most 1000000.
    #[serde(default = "entries")]
    pub entries: usize,
}

/// Where the authoriser says who calls.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsumerSettings {
    /// The header of its yes that holds the name. Either this or `metadata`.
    pub header: Option<String>,
    /// The member of its `dynamic_metadata` (gRPC) that holds the name. Either this or `header`.
    pub metadata: Option<String>,
    /// The header, separated by commas, or the member of the metadata, a list, that holds the groups of a consumer that the
    /// config does not know. They stand behind the authoriser's host, `authz.example.com/staff`, but for those that it may
    /// say as groups of this config: `{ from: x-groups, as: [staff] }`.
    pub groups: Option<Written<groups::Settings>>,
}

const fn timeout() -> Period {
    Period(Duration::from_millis(200))
}

const fn body_max() -> Size {
    Size(8 << 10)
}

const fn ttl() -> Period {
    Period(Duration::from_secs(30))
}

const fn entries() -> usize {
    AUTHORISER_CACHE
}

fn to_client() -> Vec<String> {
    ["www-authenticate", "location", "set-cookie", "content-type", "cache-control", "retry-after"]
        .map(str::to_owned)
        .into()
}

impl Short for Settings {
    const EXPECTING: &'static str = "the URL of an authoriser, or `{ grpc | http, headers, timeout, body, cache, consumer, context, allow_host }`";
    const SAMPLE: &'static str = "grpc://127.0.0.1:9191";

    fn short(text: &str) -> Result<Self, String> {
        let (grpc, http) = if text.starts_with("grpc") {
            (Some(text.to_owned()), None)
        } else {
            (None, Some(Written(HttpSettings::short(text)?)))
        };
        Ok(Self {
            grpc,
            http,
            headers: None,
            timeout: timeout(),
            body: None,
            cache: None,
            consumer: None,
            context: BTreeMap::new(),
            allow_host: false,
        })
    }
}

impl Short for HttpSettings {
    const EXPECTING: &'static str =
        "a URL, or `{ url, method, append_path, to_backend, to_client, to_client_on_success }`";
    const SAMPLE: &'static str = "http://127.0.0.1:9192/check";

    fn short(text: &str) -> Result<Self, String> {
        Ok(Self {
            url: text.to_owned(),
            method: None,
            append_path: false,
            to_backend: Vec::new(),
            to_client: to_client(),
            to_client_on_success: Vec::new(),
        })
    }
}

impl std::fmt::Debug for Written<HttpSettings> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// How an authoriser is spoken to.
enum Way {
    Grpc,
    Http(Box<Callout>),
}

/// What is particular to one that is asked by HTTP.
struct Callout {
    method: Option<Method>,
    append_path: bool,
    to_backend: Vec<HeaderName>,
    to_client: Vec<HeaderName>,
    to_client_on_success: Vec<HeaderName>,
}

/// Where an authoriser says who calls.
enum Named {
    Header { name: HeaderName, groups: Option<HeaderName> },
    Metadata { name: String, groups: Option<String> },
}

/// What was said before.
struct Remembered {
    key: Expression,
    ttl: Duration,
    said: Arc<Said>,
}

/// Answers, and until when they hold.
type Said = Cache<[u8; 32], (Verdict, Instant), ByBytes>;

#[derive(Clone)]
struct ByBytes;

impl Weighter<[u8; 32], (Verdict, Instant)> for ByBytes {
    fn weight(&self, _: &[u8; 32], (verdict, _): &(Verdict, Instant)) -> u64 {
        verdict.bytes().max(AUTHORISER_CACHED_BYTES)
    }
}

/// Remembers so many answers, and fewer of large ones.
fn up_to(entries: usize) -> Said {
    Cache::with_weighter(entries, entries as u64 * AUTHORISER_CACHED_BYTES, ByBytes)
}

/// An authoriser, and how it is asked.
struct Authoriser {
    way: Way,
    remote: Arc<dyn Remote>,
    /// Its host and port, for names and numbers.
    host: String,
    tells: Option<Vec<HeaderName>>,
    timeout: Duration,
    body: Option<(usize, bool)>,
    memory: Arc<Memory>,
    remembered: Option<Remembered>,
    named: Option<Named>,
    groups: Option<Groups>,
    context: Vec<(String, String)>,
    allows_host: bool,
    directory: Arc<Directory>,
    plans: Arc<Plans>,
    clock: Clock,
    metrics: Arc<AuthoriserMetrics>,
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    read(node, ctx, report).map(|authoriser| Arc::new(authoriser) as _)
}

/// The same as one of the ways of `any` and `all`.
pub(crate) fn scheme(
    node: &Node,
    ctx: &BuildCtx<'_>,
    report: &mut Report,
) -> Option<Box<dyn Scheme>> {
    let authoriser = read(node, ctx, report)?;
    if authoriser.named.is_none() {
        let message = "an authoriser that does not say who calls is no way to identify callers";
        ctx.error(report, node, "", message).help("add `consumer`");
        return None;
    }
    if let Way::Http(callout) = &authoriser.way
        && !callout.to_client_on_success.is_empty()
    {
        let message = "one of several ways to identify the caller tells the client nothing";
        ctx.error(report, node, "/http/to_client_on_success", message)
            .help("leave it out, or make `ext_authz` a policy of its own");
        return None;
    }
    Some(Box::new(authoriser))
}

/// What is wrong with the settings: where, and why.
type Wrongs = Vec<(&'static str, String)>;

fn read(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Authoriser> {
    let Written(settings) = decode::<Written<Settings>>(node, ctx.path, report)?;
    let asked = match (&settings.grpc, &settings.http) {
        (Some(url), _) => Some((url, "/grpc")),
        (None, Some(Written(http))) => Some((&http.url, "/http/url")),
        (None, None) => None,
    };
    if let Some((url, below)) = asked {
        let what = "what callers show goes there by plain HTTP, for all to read";
        plain::warn((url, what), (node, below), ctx, report);
    }
    let mut wrongs = Wrongs::new();
    let authoriser = authoriser(settings, ctx, &mut wrongs);
    for (below, message) in &wrongs {
        ctx.error(report, node, below, message.as_str());
    }
    authoriser.filter(|_| wrongs.is_empty())
}

fn authoriser(settings: Settings, ctx: &BuildCtx<'_>, wrongs: &mut Wrongs) -> Option<Authoriser> {
    let way = way(&settings, wrongs);
    let named = named(&settings, wrongs);
    let tells = settings.headers.as_deref();
    let tells = tells.map(|names| headers(names, "/headers", wrongs));
    let body = settings.body.as_ref().map(|body| {
        let max = usize::try_from(body.max.0).unwrap_or(usize::MAX);
        if max > AUTHORISER_BODY_BYTES_MAX {
            let most = Size(AUTHORISER_BODY_BYTES_MAX as u64);
            wrongs.push(("/body/max", format!("bodies are held in memory; at most {most} each")));
        }
        (max, body.partial)
    });
    if settings.timeout.0.is_zero() {
        wrongs.push(("/timeout", "a time limit of zero would refuse every request".to_owned()));
    }
    for (name, value) in settings.context.iter().filter(|_| settings.http.is_some()) {
        let name = HeaderName::from_bytes(name.as_bytes());
        if name.is_err() || HeaderValue::from_str(value).is_err() {
            wrongs.push((
                "/context",
                "an authoriser that is asked by HTTP is told headers".to_owned(),
            ));
        }
    }
    let remembered = settings.cache.as_ref().and_then(|cache| {
        if settings.body.is_some() {
            let message =
                "what depends on bodies cannot be remembered; leave `body` or `cache` out";
            wrongs.push(("/cache", message.to_owned()));
        }
        if settings.grpc.is_some() && settings.headers.is_none() {
            let message = "the authoriser is told all headers, and nobody knows which of them its answers depend on; \
                           list those that it goes by as `headers`";
            wrongs.push(("/cache", message.to_owned()));
        }
        remembered(cache, &settings, ctx, wrongs)
    });
    let destination = destination(&settings, wrongs)?;
    let host = destination.url.authority().map(ToString::to_string).unwrap_or_default();
    let remote = ctx.outbound.open(destination);
    let remote = remote.map_err(|message| wrongs.push(("", message))).ok()?;
    Some(Authoriser {
        way: way?,
        remote,
        tells,
        timeout: settings.timeout.0,
        body,
        memory: Memory::of(ctx.state),
        remembered,
        named,
        groups: settings
            .consumer
            .as_ref()
            .and_then(|consumer| consumer.groups.as_ref().map(|it| Groups::new(&it.0))),
        context: settings.context.into_iter().collect(),
        allows_host: settings.allow_host,
        directory: Arc::clone(ctx.directory),
        plans: ctx.plans.names(),
        clock: ctx.clock.clone(),
        metrics: ctx.metrics.authoriser(&host),
        host,
    })
}

fn destination(settings: &Settings, wrongs: &mut Wrongs) -> Option<Destination> {
    let (url, below) = match (&settings.grpc, &settings.http) {
        (Some(url), None) => (url, "/grpc"),
        (None, Some(Written(http))) => (&http.url, "/http/url"),
        _ => {
            wrongs.push(("", "an authoriser has either `grpc` or `http`".to_owned()));
            return None;
        }
    };
    let by_grpc = settings.grpc.is_some();
    let parsed = match url.strip_prefix("grpc") {
        Some(rest) if by_grpc => Destination::parse(&format!("http{rest}")),
        _ if by_grpc => Err(format!("`{url}` is not a URL such as `grpc://127.0.0.1:9191`")),
        _ => Destination::parse(url),
    };
    let mut destination = parsed.map_err(|message| wrongs.push((below, message))).ok()?;
    destination.is_http2 = by_grpc;
    let limit = Some(settings.timeout.0);
    destination.timeouts =
        Timeouts { connect: limit, first_byte: limit, idle: limit, total: limit };
    Some(destination)
}

fn way(settings: &Settings, wrongs: &mut Wrongs) -> Option<Way> {
    let Some(Written(http)) = &settings.http else { return Some(Way::Grpc) };
    let method = http.method.as_deref().map(|method| Method::from_bytes(method.as_bytes()));
    let method = method.transpose().unwrap_or_else(|_| {
        wrongs.push(("/http/method", "this is not a method".to_owned()));
        None
    });
    Some(Way::Http(Box::new(Callout {
        method,
        append_path: http.append_path,
        to_backend: changeable(&http.to_backend, "/http/to_backend", wrongs),
        to_client: changeable(&http.to_client, "/http/to_client", wrongs),
        to_client_on_success: changeable(
            &http.to_client_on_success,
            "/http/to_client_on_success",
            wrongs,
        ),
    })))
}

/// Headers that an authoriser may set.
fn changeable(names: &[String], below: &'static str, wrongs: &mut Wrongs) -> Vec<HeaderName> {
    let names = headers(names, below, wrongs);
    for name in names.iter().filter(|name| verdict::is_closed(name)) {
        wrongs
            .push((below, format!("`{name}` is set by the gateway itself and cannot be changed")));
    }
    names
}

fn headers(names: &[String], below: &'static str, wrongs: &mut Wrongs) -> Vec<HeaderName> {
    let mut header = |name: &String| {
        let header = HeaderName::from_bytes(name.as_bytes());
        header.map_err(|_| wrongs.push((below, format!("`{name}` is not a header name")))).ok()
    };
    names.iter().filter_map(&mut header).collect()
}

fn named(settings: &Settings, wrongs: &mut Wrongs) -> Option<Named> {
    let consumer = settings.consumer.as_ref()?;
    let mut header = |name: &String| headers(std::slice::from_ref(name), "/consumer", wrongs).pop();
    match (&consumer.header, &consumer.metadata) {
        (Some(name), None) => {
            let groups = consumer.groups.as_ref().and_then(|it| header(&it.0.from));
            Some(Named::Header { name: header(name)?, groups })
        }
        (None, Some(name)) if settings.grpc.is_some() => Some(Named::Metadata {
            name: name.clone(),
            groups: consumer.groups.as_ref().map(|it| it.0.from.clone()),
        }),
        (None, Some(_)) => {
            wrongs.push((
                "/consumer/metadata",
                "only `grpc` has metadata; name a `header`".to_owned(),
            ));
            None
        }
        _ => {
            wrongs.push((
                "/consumer",
                "a consumer is named by either `header` or `metadata`".to_owned(),
            ));
            None
        }
    }
}

fn remembered(
    cache: &CacheSettings,
    settings: &Settings,
    ctx: &BuildCtx<'_>,
    wrongs: &mut Wrongs,
) -> Option<Remembered> {
    if cache.ttl.0 > Duration::from_secs(AUTHORISER_CACHE_S_MAX) {
        wrongs.push((
            "/cache/ttl",
            format!("an answer holds {AUTHORISER_CACHE_S_MAX} seconds at most"),
        ));
    }
    if cache.entries == 0 || cache.entries > AUTHORISER_CACHE_MAX {
        let message = format!("between 1 and {AUTHORISER_CACHE_MAX} answers can be remembered");
        wrongs.push(("/cache/entries", message));
    }
    let key = Expression::compile_key(&cache.key, ctx.scope());
    let key = key.map_err(|message| wrongs.push(("/cache/key", message))).ok()?;
    // Whatever the answers depend on makes another memory. Text that is written has no secret in it.
    let id = format!("{}/said/{settings:?}", ctx.id);
    let said = ctx.state.cell(&id, || up_to(cache.entries.min(AUTHORISER_CACHE_MAX)));
    Some(Remembered { key, ttl: cache.ttl.0, said })
}

/// The members of a list in a header.
fn list(text: &str) -> Vec<String> {
    let members = text.split(',').map(str::trim).filter(|member| !member.is_empty());
    members.map(str::to_owned).collect()
}
