//! Decompresses the bodies of requests (RFC 9110, 8.4), so that policies and backends see what was meant. A
//! body streams through its decoders in bounded pieces; what grows beyond its bounds is refused.

use self::decoder::{Bounds, Decoders, Trouble};
use crate::kind::{BuildCtx, Group, Kind};
use crate::written::{Short, Written};
use base::caps::{CODINGS_MAX, COMPRESS_PIECE_BYTES, DECOMPRESS_MEMORY_MAX, DECOMPRESS_WINDOW_LOG};
use base::units::Size;
use base::{Node, Report, Value, decode};
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, RETRY_AFTER};
use http::{HeaderValue, Version};
use http_body::Body as _;
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use traffic::body::BodyFilter;
use traffic::exchange::Slot;
use traffic::policy::Phases;
use traffic::{Exchange, Fault, FaultCode, Flow, Headers, Outcome, Policy, Stage};

/// The decoders of all codings.
mod decoder;

/// The row of the table.
pub const KIND: Kind = Kind {
    name: "decompress",
    group: Group::Limit,
    phases: Phases { request: true, forward: false, reply: false, record: false },
    answers: false,
    about: "Decompresses request bodies that have a `Content-Encoding`, for policies and backends behind it. A body \
            that grows beyond its bounds is refused with 413, one that cannot be read with 400, another coding with 415.",
    example: "decompress: { codings: [gzip, zstd], max: 5MiB }",
    resets: "it has no state",
    schema: <Written<Settings> as JsonSchema>::json_schema,
    build,
};

/// Settings of `decompress`; short: the size alone. None are needed.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(inline)]
pub struct Settings {
    /// The codings that clients may use: `gzip`, `br`, `zstd` and `deflate`, all of them unless said otherwise.
    pub codings: Vec<Coding>,
    /// The largest body that may come out of it. `10MiB` unless said otherwise. A `body_limit` counts what
    /// comes out, too.
    pub max: Size,
    /// How many times as large as what was sent a body may become, from the first 64 KiB on. `100` unless said
    /// otherwise; what people write rarely becomes more than ten times as large.
    pub max_ratio: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { codings: Coding::ALL.to_vec(), max: Size(10 << 20), max_ratio: 100 }
    }
}

impl Short for Settings {
    const EXPECTING: &'static str = "a size such as `10MiB`, or `{ max, max_ratio, codings }`";
    const SAMPLE: &'static str = "10MiB";

    fn short(text: &str) -> Result<Self, String> {
        Size::parse(text).map(|max| Self { max, ..Self::default() })
    }
}

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Coding {
    /// The coding that every client knows (RFC 1952).
    Gzip,
    /// Brotli (RFC 7932).
    Br,
    /// Zstandard (RFC 8878), with windows of up to 8 MiB (RFC 9659).
    Zstd,
    /// Deflate in the zlib format (RFC 1950), as RFC 9110 has it.
    Deflate,
}

impl Coding {
    const ALL: [Self; 4] = [Self::Gzip, Self::Br, Self::Zstd, Self::Deflate];

    const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Br => "br",
            Self::Zstd => "zstd",
            Self::Deflate => "deflate",
        }
    }

    fn of(name: &str) -> Option<Self> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        let known = Self::ALL.into_iter().find(|coding| is(coding.name()));
        // RFC 9110, 8.4.1.3.
        known.or_else(|| is("x-gzip").then_some(Self::Gzip))
    }

    /// Bytes that a decoder may come to hold.
    const fn memory_bytes(self) -> u64 {
        match self {
            Self::Gzip | Self::Deflate => 64 << 10,
            Self::Zstd => 1 << DECOMPRESS_WINDOW_LOG,
            Self::Br => 16 << 20,
        }
    }
}

fn build(node: &Node, ctx: &BuildCtx<'_>, report: &mut Report) -> Option<Arc<dyn Policy>> {
    let settings = match node.value {
        Value::Null => Settings::default(),
        _ => decode::<Written<Settings>>(node, ctx.path, report)?.0,
    };
    let mut is_usable = true;
    let mut wrong = |at: &str, message: String| {
        ctx.error(report, node, at, message);
        is_usable = false;
    };
    if settings.codings.is_empty() {
        wrong("/codings", "without a coding nothing can be decompressed".to_owned());
    }
    for (index, coding) in settings.codings.iter().enumerate() {
        if settings.codings.iter().take(index).any(|earlier| earlier == coding) {
            wrong(&format!("/codings/{index}"), format!("`{}` is named twice", coding.name()));
        }
    }
    if settings.max.0 == 0 {
        wrong(
            "/max",
            "nothing can come out of nothing; `body_limit: 0` refuses all bodies".to_owned(),
        );
    }
    if settings.max_ratio == 0 {
        wrong("/max_ratio", "a body cannot become nothing; 100 is a good beginning".to_owned());
    }
    let names: Vec<&str> = settings.codings.iter().map(|coding| coding.name()).collect();
    let names = names.join(", ");
    let decompress = Decompress {
        accepted: HeaderValue::from_str(&names).ok()?,
        names,
        codings: settings.codings.into(),
        bounds: Bounds { max_bytes: settings.max.0, max_ratio: settings.max_ratio.into() },
        memory: ctx.state.whole().cell("decompress/memory", AtomicU64::default),
    };
    is_usable.then(|| Arc::new(decompress) as Arc<dyn Policy>)
}

struct Decompress {
    codings: Box<[Coding]>,
    /// Their names, for messages,
    names: String,
    /// and as a header.
    accepted: HeaderValue,
    bounds: Bounds,
    /// Bytes that decoders of all policies of this kind may hold now.
    memory: Arc<AtomicU64>,
}

impl Policy for Decompress {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange, _: Slot) -> Outcome<'a, Flow> {
        let is_plain = !exchange.request.headers.contains(CONTENT_ENCODING);
        if is_plain || exchange.upgrade.is_some() || exchange.body.is_tunnel() {
            return Outcome::Now(Ok(Flow::Continue));
        }
        Outcome::Now(self.decode(exchange).map(|()| Flow::Continue))
    }
}

impl Decompress {
    fn decode(&self, exchange: &mut Exchange) -> Result<(), Fault> {
        let codings = self.codings_of(&exchange.request.headers)?;
        if !codings.is_empty() && exchange.request.headers.contains(CONTENT_RANGE) {
            // It is a part of the compressed form (RFC 9110, 14.5).
            return Err(self.unsupported("a part of a compressed body cannot be decompressed"));
        }
        if exchange.body.size_hint().lower() > self.bounds.max_packed_bytes() {
            let mut fault = too_large(self.bounds);
            // What is left of the body would have to be read before the next request.
            fault.closes = exchange.request.version < Version::HTTP_2;
            return Err(fault);
        }
        exchange.request.headers.remove(CONTENT_ENCODING);
        if codings.is_empty() || exchange.body.is_empty() {
            return Ok(());
        }
        let seat = self.seat(&codings)?;
        let decoders = Decoders::new(&codings, self.bounds)
            .map_err(|error| Fault::new(Stage::Guard, FaultCode::Internal).cause(error))?;
        for name in ABOUT_BYTES {
            exchange.request.headers.remove(*name);
        }
        exchange.request.headers.remove(CONTENT_LENGTH);
        let decoding = Some((decoders, seat));
        exchange.body.filter(Box::new(Decompressed { decoding, bounds: self.bounds }));
        Ok(())
    }

    /// The codings of a body in the order in which they were applied (RFC 9110, 8.4).
    fn codings_of(&self, headers: &Headers) -> Result<Vec<Coding>, Fault> {
        let mut codings = Vec::new();
        for value in headers.all(CONTENT_ENCODING) {
            let value = value.to_str().unwrap_or("?");
            for name in value.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                if name.eq_ignore_ascii_case("identity") {
                    continue;
                }
                let known = Coding::of(name).filter(|coding| self.codings.contains(coding));
                let Some(coding) = known else {
                    return Err(self.unsupported(format!("{} are accepted here", self.names)));
                };
                if codings.len() == CODINGS_MAX {
                    let detail =
                        format!("at most {CODINGS_MAX} codings in a row are accepted here");
                    return Err(self.unsupported(detail));
                }
                codings.push(coding);
            }
        }
        Ok(codings)
    }

    /// RFC 9110, 15.5.16, and RFC 7694, 3.
    fn unsupported(&self, detail: impl Into<std::borrow::Cow<'static, str>>) -> Fault {
        Fault::new(Stage::Guard, FaultCode::EncodingUnsupported)
            .detail(detail)
            .header(ACCEPT_ENCODING, self.accepted.clone())
    }

    /// Room for the decoders of a body.
    fn seat(&self, codings: &[Coding]) -> Result<Seat, Fault> {
        let bytes = codings.iter().map(|coding| coding.memory_bytes()).sum();
        let seat = Seat { memory: Arc::clone(&self.memory), bytes };
        // Given back by the drop of the seat if it was too much.
        let before = self.memory.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > DECOMPRESS_MEMORY_MAX {
            return Err(Fault::new(Stage::Guard, FaultCode::DecoderBusy)
                .header(RETRY_AFTER, HeaderValue::from_static("1")));
        }
        Ok(seat)
    }
}

/// Headers that vouch for the very bytes of a body as it was sent (RFC 9530, and their ancestors).
const ABOUT_BYTES: &[&str] = &["content-digest", "repr-digest", "digest", "content-md5"];

/// Room among the decoders that are at work.
struct Seat {
    memory: Arc<AtomicU64>,
    bytes: u64,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.memory.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

struct Decompressed {
    /// Nothing after the end.
    decoding: Option<(Decoders, Seat)>,
    bounds: Bounds,
}

impl Decompressed {
    fn told(&mut self, result: Result<Bytes, Trouble>) -> Result<Bytes, Fault> {
        result.map_err(|trouble| {
            self.decoding = None;
            let bounds = self.bounds;
            match trouble {
                Trouble::TooLarge => too_large(bounds),
                Trouble::Bomb => Fault::new(Stage::Guard, FaultCode::BodyTooLarge).detail(format!(
                    "it becomes more than {} times as large as it was sent",
                    bounds.max_ratio
                )),
                Trouble::Broken(_) => {
                    Fault::new(Stage::Guard, FaultCode::EncodingInvalid).cause(trouble)
                }
            }
            .closing()
        })
    }
}

impl BodyFilter for Decompressed {
    fn on_data(&mut self, data: Bytes) -> Result<Bytes, Fault> {
        let Some((decoders, _)) = &mut self.decoding else { return Ok(Bytes::new()) };
        let given = decoders.put(data);
        self.told(given)
    }

    fn on_more(&mut self) -> Result<Bytes, Fault> {
        let Some((decoders, _)) = &mut self.decoding else { return Ok(Bytes::new()) };
        let given = decoders.more();
        self.told(given)
    }

    fn on_end(&mut self) -> Result<Bytes, Fault> {
        let Some((decoders, _)) = self.decoding.take() else { return Ok(Bytes::new()) };
        self.told(decoders.finish().map(|()| Bytes::new()))
    }

    fn piece_max(&self) -> usize {
        COMPRESS_PIECE_BYTES
    }
}

fn too_large(bounds: Bounds) -> Fault {
    let detail = format!("at most {} are accepted here", Size(bounds.max_bytes));
    Fault::new(Stage::Guard, FaultCode::BodyTooLarge).detail(detail)
}

#[cfg(test)]
mod tests;
