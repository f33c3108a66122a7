//! Spans as OTLP, the protocol of OpenTelemetry: the messages of `opentelemetry/proto/trace/v1` that we
//! send, and what collectors answer.

use crate::trace::{Kind, Span, Traced, Value};
use prost::Message;

/// Path of a collector that takes traces over HTTP (OTLP 1, section "OTLP/HTTP Request").
pub const PATH: &str = "/v1/traces";
/// The media type of requests and answers.
pub const CONTENT_TYPE: &str = "application/x-protobuf";

/// The scope by which our spans are told from those of others.
const SCOPE: &str = "yett";

const CODE_ERROR: i32 = 2;

#[derive(Clone, PartialEq, Message)]
struct ExportRequest {
    #[prost(message, repeated, tag = "1")]
    resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scope_spans: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    spans: Vec<SpanMessage>,
}

#[derive(Clone, PartialEq, Message)]
struct Scope {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    version: String,
}

#[derive(Clone, PartialEq, Message)]
struct SpanMessage {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(int32, tag = "6")]
    kind: i32,
    #[prost(fixed64, tag = "7")]
    start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    attributes: Vec<KeyValue>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
}

#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(int32, tag = "3")]
    code: i32,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, optional, tag = "2")]
    value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct AnyValue {
    #[prost(oneof = "Any", tags = "1, 3")]
    value: Option<Any>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Any {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Number(i64),
}

#[derive(Clone, PartialEq, Message)]
struct ExportAnswer {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_spans: i64,
    #[prost(string, tag = "2")]
    error_message: String,
}

/// The body of a request to a collector. `resource` says whose spans these are.
#[must_use]
pub fn encode(resource: &[(&str, &str)], batch: &[Traced]) -> Vec<u8> {
    let resource = resource.iter().map(|(key, value)| KeyValue {
        key: (*key).to_owned(),
        value: Some(AnyValue { value: Some(Any::Text((*value).to_owned())) }),
    });
    let spans = batch
        .iter()
        .flat_map(|traced| traced.spans.iter().map(|span| span_message(traced.trace, span)));
    let scope = Scope { name: SCOPE.to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    ExportRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource { attributes: resource.collect() }),
            scope_spans: vec![ScopeSpans { scope: Some(scope), spans: spans.collect() }],
        }],
    }
    .encode_to_vec()
}

fn span_message(trace: u128, span: &Span) -> SpanMessage {
    let parent = if span.parent == 0 { Vec::new() } else { span.parent.to_be_bytes().to_vec() };
    SpanMessage {
        trace_id: trace.to_be_bytes().to_vec(),
        span_id: span.id.to_be_bytes().to_vec(),
        parent_span_id: parent,
        name: span.name.to_string(),
        kind: match span.kind {
            Kind::Internal => 1,
            Kind::Server => 2,
            Kind::Client => 3,
        },
        start_time_unix_nano: span.began_ns,
        end_time_unix_nano: span.ended_ns.max(span.began_ns),
        attributes: span.facts.iter().map(|(key, value)| fact(key, value)).collect(),
        status: span
            .error
            .as_ref()
            .map(|why| Status { message: why.to_string(), code: CODE_ERROR }),
    }
}

fn fact(key: &str, value: &Value) -> KeyValue {
    let value = match value {
        Value::Number(number) => Any::Number(*number),
        Value::Text(text) => Any::Text(text.to_string()),
        Value::Shared(text) => Any::Text(text.to_string()),
    };
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

/// What a collector refused of a request it answered with 200: how many spans, and why. None where it
/// took all of them, and where its answer cannot be read.
#[must_use]
pub fn refused(answer: &[u8]) -> Option<(u64, String)> {
    let partial = ExportAnswer::decode(answer).ok()?.partial_success?;
    let spans = u64::try_from(partial.rejected_spans).unwrap_or(0);
    (spans > 0).then_some((spans, partial.error_message))
}

#[cfg(test)]
mod tests {
    use super::{encode, refused};
    use crate::trace::{Kind, Span, Traced, Value};

    /// The bytes of each field with this number, one level deep.
    fn field(mut message: &[u8], wanted: u64) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        while !message.is_empty() {
            let tag = varint(&mut message);
            let value = match tag & 7 {
                0 => varint(&mut message).to_le_bytes().to_vec(),
                1 => message.split_off(..8).unwrap().to_vec(),
                2 => {
                    let length = usize::try_from(varint(&mut message)).unwrap();
                    message.split_off(..length).unwrap().to_vec()
                }
                other => panic!("wire type {other}"),
            };
            if tag >> 3 == wanted {
                found.push(value);
            }
        }
        found
    }

    fn varint(message: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = *message.split_off_first().unwrap();
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return value;
            }
        }
        panic!("too long a number")
    }

    fn path(message: &[u8], fields: &[u64]) -> Vec<Vec<u8>> {
        fields.iter().fold(vec![message.to_vec()], |messages, number| {
            messages.iter().flat_map(|message| field(message, *number)).collect()
        })
    }

    fn span(id: u64, parent: u64) -> Span {
        Span {
            id,
            parent,
            kind: Kind::Server,
            name: "GET /x".into(),
            began_ns: 1_000,
            ended_ns: 2_000,
            facts: vec![
                ("url.path", Value::cut("/x")),
                ("http.response.status_code", Value::Number(503)),
            ],
            error: Some("no_target".into()),
        }
    }

    /// The numbers are those of `opentelemetry/proto/trace/v1/trace.proto`, read without the messages of
    /// the other side of this test.
    #[test]
    fn spans_are_encoded_as_the_protocol_wants_them() {
        let traced = Traced { trace: 0x0102, spans: vec![span(7, 0), span(8, 7)] };
        let bytes = encode(&[("service.name", "shop")], &[traced]);
        assert_eq!(path(&bytes, &[1, 1, 1, 1]), [b"service.name"]);
        assert_eq!(path(&bytes, &[1, 1, 1, 2, 1]), [b"shop"]);
        assert_eq!(path(&bytes, &[1, 2, 1, 1]), [b"yett"]);
        let spans = path(&bytes, &[1, 2, 2]);
        assert_eq!(spans.len(), 2);
        assert_eq!(field(&spans[0], 1), [0x0102_u128.to_be_bytes()]);
        assert_eq!(field(&spans[0], 2), [7_u64.to_be_bytes()]);
        assert!(field(&spans[0], 4).is_empty(), "the first has no parent");
        assert_eq!(field(&spans[1], 4), [7_u64.to_be_bytes()]);
        assert_eq!(field(&spans[0], 5), [b"GET /x"]);
        assert_eq!(field(&spans[0], 6), [2_u64.to_le_bytes()]);
        assert_eq!(field(&spans[0], 7), [1_000_u64.to_le_bytes()]);
        assert_eq!(field(&spans[0], 8), [2_000_u64.to_le_bytes()]);
        assert_eq!(path(&spans[0], &[9, 1]), [&b"url.path"[..], b"http.response.status_code"]);
        assert_eq!(path(&spans[0], &[9, 2, 1]), [b"/x"]);
        assert_eq!(path(&spans[0], &[9, 2, 3]), [503_u64.to_le_bytes()]);
        assert_eq!(path(&spans[0], &[15, 2]), [b"no_target"]);
        assert_eq!(path(&spans[0], &[15, 3]), [2_u64.to_le_bytes()]);
    }

    #[test]
    fn what_a_collector_refused_is_understood() {
        assert_eq!(refused(b""), None);
        assert_eq!(refused(b"\xff\xff"), None);
        let partial = b"\x0a\x08\x08\x03\x12\x04full";
        assert_eq!(refused(partial), Some((3, "full".to_owned())));
    }
}
