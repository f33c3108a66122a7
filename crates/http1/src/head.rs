//! Heads of requests and answers, from bytes to what they mean.

use crate::fields::{Fields, first_fault};
use crate::framing::{self, Length};
use crate::refusal::Refusal;
use crate::scan::{Limit, Scan};
use crate::target::Target;
use crate::token::is_token_byte;
use base::caps::{HEAD_BYTES_MAX, HEADERS_MAX, UPSTREAM_HEAD_BYTES_MAX};
use bytes::{Bytes, BytesMut};
use http::header::{HOST, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, StatusCode};
use httparse::Error;
use std::mem::MaybeUninit;
use traffic::Headers;

/// The versions that this crate reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0 (RFC 1945).
    Http10,
    /// HTTP/1.1 (RFC 9112).
    Http11,
}

impl From<Version> for http::Version {
    fn from(version: Version) -> Self {
        match version {
            Version::Http10 => Self::HTTP_10,
            Version::Http11 => Self::HTTP_11,
        }
    }
}

/// The head of a request.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// What it asks for.
    pub target: Target,
    /// The version.
    pub version: Version,
    /// All fields in order but `Content-Length` and `Transfer-Encoding`, whose meaning is `length`.
    pub headers: Headers,
    /// How long the body is.
    pub length: Length,
    /// Whether the client wants the connection kept (RFC 9112, 9.3).
    pub keeps_alive: bool,
    /// Whether the client waits for `100 Continue` before it sends its body (RFC 9110, 10.1.1).
    pub expects_continue: bool,
    /// Whether the client would rather speak another protocol (RFC 9110, 7.8).
    pub upgrades: bool,
}

/// The head of an answer. Its reason phrase is dropped.
#[derive(Clone, Debug)]
pub struct ResponseHead {
    /// The status, from 100 to 999.
    pub status: StatusCode,
    /// The version.
    pub version: Version,
    /// All fields in order but `Content-Length` and `Transfer-Encoding`, whose meaning is `length`.
    pub headers: Headers,
    /// How long the body is.
    pub length: Length,
    /// Whether the connection can serve another request (RFC 9112, 9.3).
    pub keeps_alive: bool,
    /// What `Content-Length` says, also where no body follows, as in an answer to `HEAD`.
    pub declared: Option<u64>,
}

/// A request that is refused, and what could be read of it for the log.
#[derive(Clone, Debug)]
pub struct BadHead {
    /// Why.
    pub refusal: Refusal,
    /// The method.
    pub method: Option<Method>,
    /// What it asked for.
    pub target: Option<PathAndQuery>,
    /// The first `Host`.
    pub host: Option<HeaderValue>,
    /// The version.
    pub version: Option<Version>,
}

/// Takes the head of a request off the front of `buffer`; nothing if more bytes are needed. With
/// [`HEAD_BYTES_MAX`] bytes and two more there is a verdict at the latest. `scan` stays with the
/// connection; it remembers what was searched, and starts anew behind every head.
///
/// # Errors
/// Why the request is refused; the connection is of no use then. What is certain before the head is
/// complete is said at once.
pub fn request(
    scan: &mut Scan,
    buffer: &mut BytesMut,
) -> Result<Option<RequestHead>, Box<BadHead>> {
    let end = match find_request(scan, buffer) {
        Ok(Some(end)) => end,
        Ok(None) => return Ok(None),
        Err(refusal) => return Err(BadHead::read(refusal, buffer)),
    };
    *scan = Scan::default();
    let head = buffer.split_to(end).freeze();
    let request = parse_request(&head);
    request.map(Some).map_err(|refusal| BadHead::read(refusal, &head))
}

/// Takes the head of an answer off the front of `buffer`; nothing if more bytes are needed. With
/// [`UPSTREAM_HEAD_BYTES_MAX`] bytes and two more there is a verdict at the latest. Answers of all
/// kinds are handed out, informational ones (1xx) too. `scan` stays with the connection.
///
/// # Errors
/// Why the answer is refused; the connection is of no use then.
pub fn response(
    scan: &mut Scan,
    buffer: &mut BytesMut,
    request_method: &Method,
) -> Result<Option<ResponseHead>, Refusal> {
    let limit = Limit { bytes: UPSTREAM_HEAD_BYTES_MAX, excess: Refusal::HeadTooLarge };
    if buffer.first().is_some_and(|first| *first != b'H') {
        return Err(Refusal::BadStatusLine);
    }
    let Some(end) = scan.lines(buffer, limit)? else { return Ok(None) };
    *scan = Scan::default();
    parse_response(&buffer.split_to(end).freeze(), request_method).map(Some)
}

fn find_request(scan: &mut Scan, buffer: &mut BytesMut) -> Result<Option<usize>, Refusal> {
    scan.skip_empty_lines(buffer)?;
    match buffer.first() {
        Some(0x16) => return Err(Refusal::TlsToPlainPort),
        Some(b'\r' | b'\n' | 0) | None => {}
        Some(first) if is_token_byte(*first) => {}
        Some(_) => return Err(Refusal::BadMethod),
    }
    if !scan.request_line(buffer)? {
        return Ok(None);
    }
    scan.lines(buffer, Limit { bytes: HEAD_BYTES_MAX, excess: Refusal::HeadTooLarge })
}

fn parse_request(head: &Bytes) -> Result<RequestHead, Refusal> {
    let mut room = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut []);
    if let Err(error) = parsed.parse_with_uninit_headers(head, &mut room) {
        return Err(request_fault(head, &parsed, error));
    }
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err(Refusal::BadRequestLine);
    };
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| Refusal::BadMethod)?;
    let target = Target::read(head, target, &method)?;
    let version = version_of(version);
    let fields = Fields::read(head, parsed.headers)?;
    let length = framing::request(&fields, version)?;
    if fields.expects_more {
        return Err(Refusal::ExpectationFailed);
    }
    let is_http11 = version == Version::Http11;
    Ok(RequestHead {
        method,
        target,
        version,
        length,
        keeps_alive: fields.keeps_connection(version),
        // A client of HTTP/1.0 cannot mean it, and without a body there is nothing to wait for.
        expects_continue: fields.expects_continue
            && is_http11
            && !matches!(length, Length::None | Length::Exact(0)),
        upgrades: fields.names_protocol && fields.wants_upgrade && is_http11,
        headers: fields.headers,
    })
}

fn parse_response(head: &Bytes, method: &Method) -> Result<ResponseHead, Refusal> {
    let mut room = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    if let Err(error) = config.parse_response_with_uninit_headers(&mut parsed, head, &mut room) {
        return Err(response_fault(head, error));
    }
    let (Some(version), Some(code)) = (parsed.version, parsed.code) else {
        return Err(Refusal::BadStatusLine);
    };
    let version = version_of(version);
    let status = StatusCode::from_u16(code).map_err(|_| Refusal::BadStatusLine)?;
    let fields = Fields::read(head, parsed.headers)?;
    let (length, declared) = framing::response(&fields, version, status, method)?;
    let keeps_alive = length != Length::UntilClose && fields.keeps_connection(version);
    Ok(ResponseHead { status, version, length, keeps_alive, declared, headers: fields.headers })
}

const fn version_of(minor: u8) -> Version {
    if minor == 0 { Version::Http10 } else { Version::Http11 }
}

/// What is wrong with a complete head that was not understood.
#[cold]
fn request_fault(head: &[u8], parsed: &httparse::Request<'_, '_>, error: Error) -> Refusal {
    let (line, fields) = split_first_line(head);
    let mut parts = line.split(|byte| *byte == b' ');
    let mut next = || parts.next().unwrap_or_default();
    let (method, target, version, rest) = (next(), next(), next(), parts.next());
    if error == Error::TooManyHeaders {
        Refusal::TooManyFields
    } else if Method::from_bytes(method).is_err() {
        Refusal::BadMethod
    } else if target.is_empty() || rest.is_some() || !is_version(version) {
        Refusal::BadRequestLine
    } else if parsed.path.is_none() {
        Refusal::BadTarget
    } else if parsed.version.is_none() {
        Refusal::VersionUnsupported
    } else {
        first_fault(fields)
    }
}

#[cold]
fn response_fault(head: &[u8], error: Error) -> Refusal {
    let (line, fields) = split_first_line(head);
    let version = line.split(|byte| *byte == b' ').next().unwrap_or_default();
    match error {
        Error::TooManyHeaders => Refusal::TooManyFields,
        Error::HeaderName | Error::HeaderValue => first_fault(fields),
        Error::Version if is_version(version) && !matches!(version, b"HTTP/1.0" | b"HTTP/1.1") => {
            Refusal::VersionUnsupported
        }
        _ => Refusal::BadStatusLine,
    }
}

/// Whether this is a version, be it one that we speak or not.
const fn is_version(written: &[u8]) -> bool {
    matches!(written, [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'])
}

/// The first line, and all that follow.
fn split_first_line(head: &[u8]) -> (&[u8], &[u8]) {
    let mut lines = head.splitn(2, |byte| *byte == b'\n');
    let line = lines.next().unwrap_or_default();
    (line.strip_suffix(b"\r").unwrap_or(line), lines.next().unwrap_or_default())
}

impl BadHead {
    /// What can be read of a head that is refused, or of its beginning.
    #[cold]
    fn read(refusal: Refusal, bytes: &[u8]) -> Box<Self> {
        let mut parsed = httparse::Request::new(&mut []);
        // What is wrong is known; what counts is how far this comes.
        parsed.parse_with_uninit_headers(bytes, &mut []).ok();
        let method = parsed.method.and_then(|method| Method::from_bytes(method.as_bytes()).ok());
        let target = parsed.path.zip(method.as_ref()).and_then(|(written, method)| {
            let copy = Bytes::copy_from_slice(written.as_bytes());
            Some(Target::read(&copy, str::from_utf8(&copy).ok()?, method).ok()?.path_and_query)
        });
        let version = parsed.version.map(version_of);
        let host = host_of(split_first_line(bytes).1);
        Box::new(Self { refusal, method, target, host, version })
    }
}

/// The value of the first `Host` among these lines.
fn host_of(lines: &[u8]) -> Option<HeaderValue> {
    let value = lines.split(|byte| *byte == b'\n').find_map(|line| {
        let (name, value) = line.split_at_checked(HOST.as_str().len())?;
        if name.eq_ignore_ascii_case(b"host") { value.strip_prefix(b":") } else { None }
    })?;
    HeaderValue::from_bytes(value.trim_ascii()).ok()
}
