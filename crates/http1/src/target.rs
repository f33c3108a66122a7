//! The target of a request (RFC 9112, 3.2).

use crate::refusal::Refusal;
use base::caps::TARGET_BYTES_MAX;
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method};

/// What a request asks for.
#[derive(Clone, Debug)]
pub struct Target {
    /// Path and query as they were written; an empty path is `/`, and so is that of an authority form.
    pub path_and_query: PathAndQuery,
    /// The authority, if the target names one: without user information, its host not empty.
    pub authority: Option<HeaderValue>,
    /// How it was written.
    pub form: Form,
}

/// The four forms of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `/path?query`, the usual one.
    Origin,
    /// `http://host/path?query`, as sent to proxies.
    Absolute,
    /// `host:port`, only with `CONNECT`.
    Authority,
    /// `*`, only with `OPTIONS`.
    Asterisk,
}

impl Target {
    /// Reads a target, which is a part of `head`.
    pub(crate) fn read(head: &Bytes, written: &str, method: &Method) -> Result<Self, Refusal> {
        if written.len() > TARGET_BYTES_MAX {
            return Err(Refusal::TargetTooLong);
        }
        if written.bytes().any(|byte| byte == b'#' || !byte.is_ascii_graphic()) {
            return Err(Refusal::BadTarget);
        }
        if *method == Method::CONNECT {
            if !ends_with_port(written) {
                return Err(Refusal::BadAuthority);
            }
            return Ok(Self {
                path_and_query: PathAndQuery::from_static("/"),
                authority: Some(authority(head, written)?),
                form: Form::Authority,
            });
        }
        let (authority, path, form) = match written.as_bytes() {
            [b'/', ..] => (None, written, Form::Origin),
            b"*" if *method == Method::OPTIONS => (None, written, Form::Asterisk),
            _ => {
                let (host, path) = split_absolute(written).ok_or(Refusal::TargetForm)?;
                (Some(authority(head, host)?), path, Form::Absolute)
            }
        };
        Ok(Self { path_and_query: path_and_query(head, path)?, authority, form })
    }
}

/// An authority form has a port always (RFC 9112, 3.2.3).
fn ends_with_port(written: &str) -> bool {
    let port = written.rsplit_once(':').map_or("", |(_, port)| port);
    !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
}

/// Authority and the rest of `http://authority/path?query`.
fn split_absolute(written: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = written.split_once("://")?;
    let is_ours = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    is_ours.then(|| rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len())))
}

fn authority(head: &Bytes, written: &str) -> Result<HeaderValue, Refusal> {
    if written.is_empty() || written.starts_with(':') || written.contains(['@', '/', '?']) {
        return Err(Refusal::BadAuthority);
    }
    HeaderValue::from_maybe_shared(head.slice_ref(written.as_bytes()))
        .map_err(|_| Refusal::BadAuthority)
}

fn path_and_query(head: &Bytes, written: &str) -> Result<PathAndQuery, Refusal> {
    let bytes = match written.as_bytes() {
        b"" => return Ok(PathAndQuery::from_static("/")),
        query @ [b'?', ..] => Bytes::from([b"/", query].concat()),
        whole => head.slice_ref(whole),
    };
    PathAndQuery::from_maybe_shared(bytes).map_err(|_| Refusal::BadTarget)
}
