//! How long a message is (RFC 9112, 6.3). Where two readers could come to two answers, ours is a
//! refusal.

use crate::fields::Fields;
use crate::head::Version;
use crate::refusal::Refusal;
use http::{Method, StatusCode};

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// There is none.
    None,
    /// So many bytes, as `Content-Length` says.
    Exact(u64),
    /// As long as its chunks.
    Chunked,
    /// It ends with the connection; only answers may.
    UntilClose,
}

/// What the framing fields of a message say.
enum Said {
    Nothing,
    Length(u64),
    Chunked,
}

/// The length of a request.
pub(crate) fn request(fields: &Fields<'_>, version: Version) -> Result<Length, Refusal> {
    Ok(match said(fields, version)? {
        Said::Nothing => Length::None,
        Said::Length(length) => Length::Exact(length),
        Said::Chunked => Length::Chunked,
    })
}

/// The length of an answer, and what its `Content-Length` says even if no body follows.
pub(crate) fn response(
    fields: &Fields<'_>,
    version: Version,
    status: StatusCode,
    method: &Method,
) -> Result<(Length, Option<u64>), Refusal> {
    let said = said(fields, version)?;
    if status.is_informational() || status == StatusCode::NO_CONTENT {
        return match said {
            Said::Nothing => Ok((Length::None, None)),
            Said::Length(0) if status == StatusCode::NO_CONTENT => Ok((Length::None, None)),
            _ => Err(Refusal::BodyForbidden),
        };
    }
    let is_bodiless = *method == Method::HEAD
        || status == StatusCode::NOT_MODIFIED
        || (*method == Method::CONNECT && status.is_success());
    let declared = if let Said::Length(length) = said { Some(length) } else { None };
    let length = match said {
        _ if is_bodiless => Length::None,
        Said::Nothing => Length::UntilClose,
        Said::Length(length) => Length::Exact(length),
        Said::Chunked => Length::Chunked,
    };
    Ok((length, declared))
}

fn said(fields: &Fields<'_>, version: Version) -> Result<Said, Refusal> {
    match (fields.length, fields.coding) {
        (None, None) => Ok(Said::Nothing),
        (Some(_), Some(_)) => Err(Refusal::LengthAndCoding),
        (Some(value), None) => number(value, fields.lengths).map(Said::Length),
        (None, Some(_)) if version == Version::Http10 => Err(Refusal::CodingInHttp10),
        (None, Some(value)) => coding(value, fields.codings).map(|()| Said::Chunked),
    }
}

/// One `Content-Length`: digits and nothing else.
fn number(value: &[u8], times: usize) -> Result<u64, Refusal> {
    if times > 1 || value.contains(&b',') {
        return Err(Refusal::SeveralLengths);
    }
    if value.is_empty() {
        return Err(Refusal::BadLength);
    }
    value
        .iter()
        .try_fold(0_u64, |number, byte| {
            let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
            number.checked_mul(10)?.checked_add(u64::from(digit))
        })
        .ok_or(Refusal::BadLength)
}

/// One `Transfer-Encoding`: `chunked` and nothing else. Other codings before it are possible in
/// HTTP, but not here.
fn coding(value: &[u8], times: usize) -> Result<(), Refusal> {
    if times > 1 {
        return Err(Refusal::BadCoding);
    }
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let mut codings = value.rsplit(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    let ends_well = codings.next().is_some_and(|last| last.eq_ignore_ascii_case(b"chunked"));
    let is_other = |coding: &[u8]| {
        !coding.is_empty()
            && coding.iter().all(u8::is_ascii_graphic)
            && !coding.eq_ignore_ascii_case(b"chunked")
    };
    Err(if ends_well && codings.all(is_other) {
        Refusal::UnknownCoding
    } else {
        Refusal::BadCoding
    })
}
