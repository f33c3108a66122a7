//! Compresses answers in a coding that the client accepts (RFC 9110, 12.5.3). Answers stream through the
//! coder, and whenever the backend pauses what it has is handed on, so no stream is held up.

use self::coder::Coder;
use self::negotiate::{Wish, is_token};
use crate::kind::{BuildCtx, Group, Kind};
use base::caps::{COMPRESS_PIECE_BYTES, COMPRESSIONS_MAX};
use base::units::Size;
use base::{Node, Report, decode};
use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    ETAG, VARY,
};
use http::{HeaderValue, Method, StatusCode};
use http_body::Body as _;
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use traffic::body::BodyFilter;
use traffic::exchange::Slot;
use traffic::policy::Phases;
use traffic::{Exchange, Fault, FaultCode, Flow, Headers, Outcome, Policy, Response, Stage};

/// The coders of all codings.
mod coder;
/// What a client accepts.
mod negotiate;

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "compress",
    group: Group::Shape,
    phases: Phases { request: true, forward: false, reply: true, record: false },
    answers: false,
    about: "Compresses answers with gzip, brotli or zstd, as the client accepts. Leave it off where an answer \
            holds a secret beside text that its reader can choose (BREACH).",
    example: "compress: { codings: [br, gzip], min_size: 2KiB }",
    resets: "it has no state",
    schema: <Settings as JsonSchema>::json_schema,
    build,
};

/// Settings of `compress`. None are needed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// The codings to use, those preferred first; a client's own preference goes before. All of them
    /// unless said otherwise: `zstd`, `br`, `gzip`.
    pub codings: Vec<Coding>,
    /// How much work is put into making answers small.
    pub level: Level,
    /// Media types of answers to compress; `text/*` stands for all that begin like this, and
    /// `application/*+json` for all that end like this as well. Unless said otherwise: text, JSON, XML,
    /// JavaScript, SVG, WebAssembly and fonts that are not compressed by themselves. Event streams
    /// (`text/event-stream`) are compressed only if they are named in full.
    pub types: Vec<String>,
    /// Answers that are known to be shorter are left as they are. `1KiB` unless said otherwise.
    pub min_size: Size,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            codings: vec![Coding::Zstd, Coding::Br, Coding::Gzip],
            level: Level::default(),
            types: TYPES.iter().map(|written| (*written).to_owned()).collect(),
            min_size: Size(1 << 10),
        }
    }
}

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Coding {
    /// Zstandard (RFC 8878).
    Zstd,
    /// Brotli (RFC 7932).
    Br,
    /// The coding that every client knows (RFC 1952).
    Gzip,
}

impl Coding {
    const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Br => "br",
            Self::Gzip => "gzip",
        }
    }
}

/// How much work is put into making answers small. Higher levels than these take so long that they are of
/// use only for what is compressed once and kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Little: for much traffic.
    Fast,
    /// A sensible amount.
    #[default]
    Balanced,
    /// Much: several times the work of `balanced`.
    Small,
}

const TYPES: &[&str] = &[
    "text/*",
    "application/json",
    "application/*+json",
    "application/xml",
    "application/*+xml",
    "application/javascript",
    "application/x-javascript",
    "application/x-ndjson",
    "application/graphql-response+json",
    "application/wasm",
    "application/vnd.ms-fontobject",
    "font/otf",
    "font/ttf",
    "image/bmp",
    "image/svg+xml",
];

const EVENT_STREAM: &str = "text/event-stream";

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let settings = decode::<Settings>(node, ctx.path, report)?;
    let mut is_usable = true;
    if settings.codings.is_empty() {
        ctx.error(report, node, "/codings", "without a coding nothing can be compressed");
        is_usable = false;
    }
    for (index, coding) in settings.codings.iter().enumerate() {
        if settings.codings.iter().take(index).any(|earlier| earlier == coding) {
            let message = format!("`{}` is named twice", coding.name());
            ctx.error(report, node, &format!("/codings/{index}"), message);
            is_usable = false;
        }
    }
    if settings.types.is_empty() {
        ctx.error(report, node, "/types", "without a media type nothing can be compressed");
        is_usable = false;
    }
    let mut types = Vec::with_capacity(settings.types.len());
    for (index, written) in settings.types.iter().enumerate() {
        match Pattern::parse(written) {
            Ok(pattern) => types.push(pattern),
            Err(message) => {
                ctx.error(report, node, &format!("/types/{index}"), message);
                is_usable = false;
            }
        }
    }
    let compress = Compress {
        codings: settings.codings.into(),
        level: settings.level,
        types: types.into(),
        min_bytes: settings.min_size.0,
        running: ctx.state.whole().cell("compress/running", AtomicUsize::default),
    };
    is_usable.then(|| Arc::new(compress) as Arc<dyn Policy>)
}

/// Media types that look like this: as they are, or by beginning and end.
struct Pattern {
    begin: Box<str>,
    /// Nothing: the whole type is `begin`.
    end: Option<Box<str>>,
}

impl Pattern {
    fn parse(written: &str) -> Result<Self, String> {
        let bad = || {
            format!(
                "`{written}` is not a media type such as `application/json`, or `text/*` for all that begin so"
            )
        };
        let (main, sub) = written.split_once('/').ok_or_else(bad)?;
        let stands_alone = sub.replacen('*', "x", 1);
        if !is_token(main) || main.contains('*') || !is_token(&stands_alone) {
            return Err(bad());
        }
        if stands_alone.contains('*') {
            return Err(bad());
        }
        let written = written.to_ascii_lowercase();
        if written.starts_with("application/grpc") {
            return Err(format!(
                "`{written}` is not compressed here: gRPC compresses message by message"
            ));
        }
        Ok(match written.split_once('*') {
            Some((begin, end)) => Self { begin: begin.into(), end: Some(end.into()) },
            None => Self { begin: written.into(), end: None },
        })
    }

    fn matches(&self, essence: &str) -> bool {
        match &self.end {
            None => essence.eq_ignore_ascii_case(&self.begin),
            Some(end) => {
                let begins = essence
                    .split_at_checked(self.begin.len())
                    .filter(|(head, _)| head.eq_ignore_ascii_case(&self.begin));
                let rest_ends = |rest: &str| {
                    rest.len()
                        .checked_sub(end.len())
                        .and_then(|at| rest.split_at_checked(at))
                        .is_some_and(|(_, tail)| tail.eq_ignore_ascii_case(end))
                };
                // Wildcards are not written with streams in mind.
                begins.is_some_and(|(_, rest)| rest_ends(rest))
                    && !essence.eq_ignore_ascii_case(EVENT_STREAM)
            }
        }
    }
}

struct Compress {
    codings: Box<[Coding]>,
    level: Level,
    types: Box<[Pattern]>,
    min_bytes: u64,
    /// Answers being compressed now, by all policies of this kind.
    running: Arc<AtomicUsize>,
}

impl Policy for Compress {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, slot: Slot) -> Outcome<'a, Flow> {
        // Noted now: other policies may keep the header from the backend.
        let wish = Wish::read(&exchange.request.headers, &self.codings);
        exchange.notes.put(slot, wish);
        Outcome::Now(Ok(Flow::Continue))
    }

    fn on_reply<'a>(
        &'a self,
        exchange: &'a mut Exchange,
        reply: &'a mut Response,
        slot: Slot,
    ) -> Outcome<'a, ()> {
        let Some(wish) = exchange.notes.peek::<Wish>(slot).copied() else {
            return Outcome::Now(Ok(()));
        };
        if reply.status == StatusCode::NOT_MODIFIED {
            // It stands for an answer that would have said so.
            vary(&mut reply.headers);
            return Outcome::Now(Ok(()));
        }
        if !self.concerns(&exchange.request.headers, reply) {
            return Outcome::Now(Ok(()));
        }
        vary(&mut reply.headers);
        let is_short = reply.body.size_hint().exact().is_some_and(|bytes| bytes < self.min_bytes);
        let leaves = exchange.request.method == Method::HEAD
            || reply.body.is_empty()
            || (is_short && !wish.refuses_identity);
        let (Some(coding), false) = (wish.coding, leaves) else { return Outcome::Now(Ok(())) };
        // Beyond the cap answers go out as they are.
        if let Some(seat) = Seat::take(&self.running) {
            let length = reply.body.size_hint().exact();
            Outcome::Now(Coder::new(coding, self.level, length).map_err(broken).map(|coder| {
                mark(&mut reply.headers, coding);
                let coder = Some(coder);
                reply.body.filter(Box::new(Compressed { coder, is_dirty: false, _seat: seat }));
            }))
        } else {
            Outcome::Now(Ok(()))
        }
    }
}

impl Compress {
    /// Whether an answer is one to compress for those who accept it.
    fn concerns(&self, request: &Headers, reply: &Response) -> bool {
        let headers = &reply.headers;
        let is_whole = !reply.status.is_informational()
            && !matches!(
                reply.status,
                StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::PARTIAL_CONTENT
            )
            && !headers.contains(CONTENT_RANGE)
            && !reply.body.is_tunnel();
        is_whole
            && headers.all(CONTENT_ENCODING).all(|coding| coding == "identity")
            && !DIGESTS.iter().any(|name| headers.contains(*name))
            && !forbids_transforms(headers)
            && !forbids_transforms(request)
            && headers
                .get(CONTENT_TYPE)
                .and_then(|written| written.to_str().ok()?.split(';').next())
                .is_some_and(|essence| {
                    let essence = essence.trim();
                    let is_grpc = || {
                        essence
                            .split_at_checked("application/grpc".len())
                            .is_some_and(|(head, _)| head.eq_ignore_ascii_case("application/grpc"))
                    };
                    self.types.iter().any(|pattern| pattern.matches(essence)) && !is_grpc()
                })
    }
}

/// Headers that vouch for the very bytes of an answer (RFC 9530, and their ancestors).
const DIGESTS: &[&str] = &["content-digest", "repr-digest", "digest", "content-md5"];

/// RFC 9111, 5.2.1.6 and 5.2.2.6.
fn forbids_transforms(headers: &Headers) -> bool {
    headers.all(CACHE_CONTROL).filter_map(|value| value.to_str().ok()).any(|value| {
        value.split(',').any(|directive| directive.trim().eq_ignore_ascii_case("no-transform"))
    })
}

/// Tells caches that the answer depends on what the client accepts (RFC 9110, 12.5.5).
fn vary(headers: &mut Headers) {
    let covers = |name: &str| name == "*" || name.eq_ignore_ascii_case("accept-encoding");
    let is_told = headers
        .all(VARY)
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(|name| covers(name.trim())));
    if !is_told {
        headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    }
}

/// Makes the headers those of a compressed answer: it is as good as the plain one, but not the same bytes
/// (RFC 9110, 8.8.3).
fn mark(headers: &mut Headers, coding: Coding) {
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    headers.remove(CONTENT_LENGTH);
    headers.remove(ACCEPT_RANGES);
    if let Some(etag) = headers.get(ETAG).filter(|etag| etag.as_bytes().starts_with(b"\"")) {
        let weak = HeaderValue::from_bytes(&[b"W/", etag.as_bytes()].concat());
        match weak {
            Ok(weak) => headers.insert(ETAG, weak),
            Err(_) => drop(headers.remove(ETAG)),
        }
    }
}

/// A place among the answers that are compressed at a time.
struct Seat(Arc<AtomicUsize>);

impl Seat {
    fn take(running: &Arc<AtomicUsize>) -> Option<Self> {
        let seat = Self(Arc::clone(running));
        // Given back by the drop of the seat if there were too many.
        (running.fetch_add(1, Ordering::Relaxed) < COMPRESSIONS_MAX).then_some(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

struct Compressed {
    /// Nothing after the end.
    coder: Option<Coder>,
    /// Whether something was put in since it was last emptied.
    is_dirty: bool,
    _seat: Seat,
}

impl BodyFilter for Compressed {
    fn on_data(&mut self, data: Bytes) -> Result<Bytes, Fault> {
        let Some(coder) = &mut self.coder else { return Ok(Bytes::new()) };
        self.is_dirty |= !data.is_empty();
        coder.put(&data).map_err(broken)
    }

    fn on_pause(&mut self) -> Result<Bytes, Fault> {
        match &mut self.coder {
            Some(coder) if std::mem::take(&mut self.is_dirty) => coder.flush().map_err(broken),
            _ => Ok(Bytes::new()),
        }
    }

    fn on_end(&mut self) -> Result<Bytes, Fault> {
        match self.coder.take() {
            Some(coder) => coder.finish().map_err(broken),
            None => Ok(Bytes::new()),
        }
    }

    fn piece_max(&self) -> usize {
        COMPRESS_PIECE_BYTES
    }
}

fn broken(error: std::io::Error) -> Fault {
    Fault::new(Stage::Reply, FaultCode::Internal).cause(error)
}

#[cfg(test)]
mod tests;
