//! Heads and chunks as bytes. Framing comes from the caller's word alone, never from fields that came
//! with a message. That no name and no value holds a line break is the promise of their types.

use http::header::{CONNECTION, CONTENT_LENGTH, DATE, HeaderMap, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderName, Method, StatusCode};
use traffic::Headers;
use traffic::headers::may_trail;

/// What ends a line, and a chunk's data.
pub const CRLF: &[u8] = b"\r\n";

/// What a head says of the body that follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none, and nothing is said.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// All bytes until the connection ends; only answers, and `close` must be among the options.
    UntilClose,
    /// No body follows; it would have this length (answers to `HEAD`, and 304).
    Declared(Option<u64>),
}

/// Writes the head of a request of HTTP/1.1. Of `headers`, those of the framing and `Connection` are
/// left out: `framing` and `connection`, a list of options, stand in their place.
pub fn request_head(
    out: &mut Vec<u8>,
    method: &Method,
    target: &PathAndQuery,
    headers: &Headers,
    framing: Framing,
    connection: &[&'static str],
) {
    let target = target.as_str();
    out.reserve(method.as_str().len() + target.len() + fields_size(headers) + SPARE_BYTES);
    line(out, &[method.as_str().as_bytes(), b" ", target.as_bytes(), b" HTTP/1.1"]);
    fields(out, headers);
    end(out, framing, connection);
}

/// Writes the head of an answer of HTTP/1.1, whatever the client's version (RFC 9110, 6.2). Of `headers`,
/// those of the framing and `Connection` are left out: `framing` and `connection`, a list of options,
/// stand in their place. `date` is written where `headers` has none.
pub fn response_head(
    out: &mut Vec<u8>,
    status: StatusCode,
    headers: &Headers,
    framing: Framing,
    connection: &[&'static str],
    date: Option<&str>,
) {
    let reason = status.canonical_reason().unwrap_or_default();
    out.reserve(reason.len() + fields_size(headers) + SPARE_BYTES);
    line(out, &[b"HTTP/1.1 ", status.as_str().as_bytes(), b" ", reason.as_bytes()]);
    let has_date = fields(out, headers);
    if let (Some(date), false) = (date, has_date) {
        line(out, &[b"date: ", date.as_bytes()]);
    }
    end(out, framing, connection);
}

/// Writes what stands before a chunk's data; [`CRLF`] follows them. `size` must not be zero, which would
/// end the body.
pub fn chunk_size(out: &mut Vec<u8>, size: usize) {
    debug_assert!(size > 0, "an empty piece of data is not written");
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4);
    for place in (0..digits).rev() {
        out.push(DIGITS[(size >> (4 * place)) & 0xF]);
    }
    out.extend_from_slice(CRLF);
}

/// Ends a chunked body. Trailers that have no place in a trailer section are left out.
pub fn last_chunk(out: &mut Vec<u8>, trailers: Option<&HeaderMap>) {
    line(out, &[b"0"]);
    for (name, value) in trailers.into_iter().flatten() {
        if may_trail(name.as_str()) {
            field(out, name, value.as_bytes());
        }
    }
    out.extend_from_slice(CRLF);
}

/// Room for the first line, the framing, the connection options and the date.
const SPARE_BYTES: usize = 192;

fn fields_size(headers: &Headers) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// Writes all fields but those of the framing and the connection; returns whether a date was there.
fn fields(out: &mut Vec<u8>, headers: &Headers) -> bool {
    let mut has_date = false;
    for (name, value) in headers.iter() {
        if *name == CONTENT_LENGTH || *name == TRANSFER_ENCODING || *name == CONNECTION {
            continue;
        }
        has_date |= *name == DATE;
        field(out, name, value.as_bytes());
    }
    has_date
}

fn end(out: &mut Vec<u8>, framing: Framing, connection: &[&'static str]) {
    match framing {
        Framing::Length(length) | Framing::Declared(Some(length)) => {
            line(out, &[b"content-length: ", itoa::Buffer::new().format(length).as_bytes()]);
        }
        Framing::Chunked => line(out, &[b"transfer-encoding: chunked"]),
        Framing::None | Framing::UntilClose | Framing::Declared(None) => {}
    }
    if let [first, others @ ..] = connection {
        out.extend_from_slice(b"connection: ");
        out.extend_from_slice(first.as_bytes());
        for option in others {
            out.extend_from_slice(b", ");
            out.extend_from_slice(option.as_bytes());
        }
        out.extend_from_slice(CRLF);
    }
    out.extend_from_slice(CRLF);
}

fn field(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    let name = name.as_str().as_bytes();
    out.reserve(name.len() + value.len() + 4);
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(CRLF);
}

fn line(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
    out.extend_from_slice(CRLF);
}
