//! Calls of gRPC over HTTP/2 and of gRPC-Web: how they are told from other requests, how their time limits
//! are written, and which status stands for which failure.
//!
//! gRPC answers with status 200 and says in `grpc-status` how a call ended, mostly in trailers. So a call
//! that fails in the gateway gets an answer of that form too, which its client understands.

use crate::Body;
use crate::fault::FaultCode;
use crate::head::RequestHead;
use crate::headers::Headers;
use crate::message::Response;
use base::Clock;
use base::caps::GRPC_TIMEOUT_MAX_S;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// How a call ended: a number of [`Status`].
pub const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// Words beside the status, percent-encoded.
pub const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// How long the caller waits.
pub const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// When a refused call may be made again, in milliseconds (gRPC proposal A6).
const RETRY_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// What a message must not hold as it is (gRPC over HTTP/2, "Percent-Encoded").
const MESSAGE: &AsciiSet = &CONTROLS.add(b'%');

macro_rules! statuses {
    ($($status:ident $name:literal;)*) => {
        /// How a call ended, in the order of its numbers from 0.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Status {
            $(#[doc = concat!("`", $name, "`")] $status,)*
        }

        const STATUSES: &[(Status, &str)] = &[$((Status::$status, $name),)*];
    };
}

statuses! {
    Ok "OK";
    Cancelled "CANCELLED";
    Unknown "UNKNOWN";
    InvalidArgument "INVALID_ARGUMENT";
    DeadlineExceeded "DEADLINE_EXCEEDED";
    NotFound "NOT_FOUND";
    AlreadyExists "ALREADY_EXISTS";
    PermissionDenied "PERMISSION_DENIED";
    ResourceExhausted "RESOURCE_EXHAUSTED";
    FailedPrecondition "FAILED_PRECONDITION";
    Aborted "ABORTED";
    OutOfRange "OUT_OF_RANGE";
    Unimplemented "UNIMPLEMENTED";
    Internal "INTERNAL";
    Unavailable "UNAVAILABLE";
    DataLoss "DATA_LOSS";
    Unauthenticated "UNAUTHENTICATED";
}

impl Status {
    /// Its number, as in `grpc-status`.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        STATUSES.get(usize::from(self.number())).map_or("", |(_, name)| name)
    }

    /// The status of a number; unknown ones are [`Status::Unknown`], as for every client.
    #[must_use]
    pub fn of_number(number: u8) -> Self {
        STATUSES.get(usize::from(number)).map_or(Self::Unknown, |(status, _)| *status)
    }

    /// What clients take an answer without `grpc-status` for ("HTTP to gRPC Status Code Mapping"); one
    /// for statuses that this leaves open, which only policies answer with.
    #[must_use]
    pub fn of_http(status: u16) -> Self {
        match status {
            400 | 431 => Self::Internal,
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 | 405 | 415 | 501 => Self::Unimplemented,
            408 => Self::DeadlineExceeded,
            409 => Self::Aborted,
            412 => Self::FailedPrecondition,
            413 | 414 => Self::ResourceExhausted,
            422 => Self::InvalidArgument,
            429 | 502..=504 => Self::Unavailable,
            _ => Self::Unknown,
        }
    }

    /// What a caller is told of a fault.
    #[must_use]
    pub fn of_fault(code: FaultCode) -> Self {
        match code {
            FaultCode::HttpsRequired => Self::FailedPrecondition,
            // Nothing was sent yet, so unlike after the other time limits calling again is safe.
            FaultCode::ConnectTimeout => Self::Unavailable,
            FaultCode::HeadTooLarge => Self::ResourceExhausted,
            _ => match code.row().status {
                429 => Self::ResourceExhausted,
                500 => Self::Internal,
                504 => Self::DeadlineExceeded,
                status => Self::of_http(status),
            },
        }
    }

    /// What headers or trailers say; none if they say nothing.
    #[must_use]
    pub fn told(value: Option<&HeaderValue>) -> Option<Self> {
        let digits = value?.to_str().ok()?;
        Some(digits.parse().map_or(Self::Unknown, Self::of_number))
    }
}

/// The ways in which a call may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// gRPC over HTTP/2.
    Native,
    /// gRPC-Web: trailers are the last part of the body.
    Web,
    /// gRPC-Web with its body in base64.
    WebText,
}

impl Dialect {
    /// The dialect of a media type such as `application/grpc+proto`.
    #[must_use]
    pub fn of(content_type: &HeaderValue) -> Option<Self> {
        let essence = essence(content_type)?;
        let begins = |prefix: &str| {
            let (head, rest) = essence.split_at_checked(prefix.len())?;
            (head.eq_ignore_ascii_case(prefix) && (rest.is_empty() || rest.starts_with('+')))
                .then_some(())
        };
        if begins("application/grpc").is_some() {
            return Some(Self::Native);
        }
        if begins("application/grpc-web-text").is_some() {
            return Some(Self::WebText);
        }
        begins("application/grpc-web").map(|()| Self::Web)
    }
}

/// A media type without parameters.
fn essence(content_type: &HeaderValue) -> Option<&str> {
    content_type.to_str().ok()?.split(';').next().map(str::trim)
}

/// One call of gRPC, as far as it concerns the gateway.
#[derive(Debug)]
pub struct Rpc {
    /// How the client speaks.
    pub dialect: Dialect,
    /// The media type of answers to the client: that of its request.
    pub content_type: HeaderValue,
    /// When the caller gives up, by the clock beside it.
    pub expires: Option<(Instant, Clock)>,
    /// Whether it gives up before the gateway would have: a target that is late then has not failed.
    pub is_hurried: bool,
    /// Whether the body of the answer ends by itself when the time of the exchange is over.
    pub keeps_time: bool,
    /// How it ended; shared with the body of the answer, which learns it.
    pub ending: Arc<Ending>,
}

impl Rpc {
    /// What `head` says of a call, if it is one.
    #[must_use]
    pub fn of(head: &RequestHead) -> Option<Box<Self>> {
        if head.method != Method::POST {
            return None;
        }
        let written = head.headers.get(CONTENT_TYPE)?;
        let dialect = Dialect::of(written)?;
        let content_type = essence(written).and_then(|essence| essence.parse().ok())?;
        let ending = Arc::default();
        Some(Box::new(Self {
            dialect,
            content_type,
            expires: None,
            is_hurried: false,
            keeps_time: false,
            ending,
        }))
    }

    /// Tells a backend how long the caller still waits, if the caller said so.
    pub fn tell_timeout(&self, headers: &mut Headers) {
        if let Some((expires, clock)) = &self.expires {
            let left = expires.saturating_duration_since(clock.now());
            headers.insert(GRPC_TIMEOUT, format_timeout(left));
        }
    }

    /// An answer in which nothing but a status is told ("Trailers-Only").
    #[must_use]
    pub fn refusal(&self, status: Status, message: &str) -> Response {
        self.ending.set(status);
        let mut answer = Response::new(StatusCode::OK, Body::empty());
        answer.headers.insert(CONTENT_TYPE, self.content_type.clone());
        answer.headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(status.number())));
        let message = utf8_percent_encode(message, MESSAGE).to_string();
        if let Ok(message) = HeaderValue::try_from(message) {
            answer.headers.insert(GRPC_MESSAGE, message);
        }
        answer
    }
}

/// Says in gRPC's way what `Retry-After` says in seconds.
pub fn add_pushback(headers: &mut Headers) {
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok());
    if let Some(seconds) = seconds.and_then(|digits| digits.parse::<u32>().ok()) {
        headers.insert(RETRY_PUSHBACK, HeaderValue::from(u64::from(seconds) * 1_000));
    }
}

/// How a call ended, once it is known.
#[derive(Debug)]
pub struct Ending {
    status: AtomicU8,
    cause: OnceLock<String>,
}

const UNKNOWN_YET: u8 = u8::MAX;

impl Default for Ending {
    fn default() -> Self {
        Self { status: AtomicU8::new(UNKNOWN_YET), cause: OnceLock::new() }
    }
}

impl Ending {
    /// Notes it; a later note replaces an earlier one.
    pub fn set(&self, status: Status) {
        self.status.store(status.number(), Ordering::Relaxed);
    }

    /// Notes what lay behind it, for the log; the first stays.
    pub fn set_cause(&self, cause: String) {
        self.cause.set(cause).ok();
    }

    /// What is known.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        let number = self.status.load(Ordering::Relaxed);
        (number != UNKNOWN_YET).then(|| Status::of_number(number))
    }

    /// What lay behind it, if the gateway ended the call.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        self.cause.get().map(String::as_str)
    }
}

/// Reads `grpc-timeout`: up to eight digits and a unit, `H`, `M`, `S`, `m`, `u` or `n`. More than
/// [`GRPC_TIMEOUT_MAX_S`] is taken for that.
///
/// # Errors
/// What is wrong with it.
pub fn parse_timeout(value: &HeaderValue) -> Result<Duration, &'static str> {
    const EXPECTED: &str =
        "`grpc-timeout` is not up to eight digits and a unit of H, M, S, m, u or n";
    let (unit, digits) = value.as_bytes().split_last().ok_or(EXPECTED)?;
    if digits.is_empty() || digits.len() > 8 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(EXPECTED);
    }
    let number = digits.iter().fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    let timeout = match unit {
        b'H' => Duration::from_secs(number * 3_600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return Err(EXPECTED),
    };
    Ok(timeout.min(Duration::from_secs(GRPC_TIMEOUT_MAX_S)))
}

/// Writes `grpc-timeout` in the finest unit that takes no more than eight digits.
fn format_timeout(left: Duration) -> HeaderValue {
    const NUMBER_MAX: u128 = 99_999_999;
    let units = [(left.as_nanos(), 'n'), (left.as_micros(), 'u'), (left.as_millis(), 'm')];
    let (number, unit) = units
        .into_iter()
        .find(|(number, _)| *number <= NUMBER_MAX)
        .unwrap_or_else(|| (u128::from(left.as_secs()).min(NUMBER_MAX), 'S'));
    HeaderValue::try_from(format!("{number}{unit}"))
        .unwrap_or_else(|_| HeaderValue::from_static("0n"))
}

/// What trailers say of the end of a call.
#[must_use]
pub fn told(trailers: &HeaderMap) -> Option<Status> {
    Status::told(trailers.get(GRPC_STATUS))
}

#[cfg(test)]
mod tests;
