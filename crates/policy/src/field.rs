//! Header names and values as users write them.

use crate::kind::BuildCtx;
use base::{Node, Report, Text};
use http::{HeaderName, HeaderValue, header};
use std::collections::BTreeMap;

/// What the gateway itself decides: framing and connection (RFC 9110, 7.6.1), and the host.
const OWN: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "host",
    "content-length",
];

/// Headers by which the gateway tells backends who calls.
const IDENTITY_PREFIX: &str = "x-yett-";

/// Whether a policy must leave this header alone.
pub(crate) fn is_own(name: &HeaderName) -> bool {
    OWN.contains(&name.as_str()) || name.as_str().starts_with(IDENTITY_PREFIX)
}

/// A header's name that a policy may touch.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn name(written: &str) -> Result<HeaderName, String> {
    let name = HeaderName::from_bytes(written.as_bytes())
        .map_err(|_| format!("`{written}` is not a header name"))?;
    if name == header::HOST {
        return Err("`host` is not a header to change; use `rewrite: { host: … }`".to_owned());
    }
    if is_own(&name) {
        return Err(format!("`{name}` is set by the gateway itself and cannot be changed"));
    }
    Ok(name)
}

/// A header's value. What came from a secret is marked, so that it is neither logged nor indexed.
///
/// # Errors
/// What is wrong with it, without any secret in it.
pub(crate) fn value(written: &Text, ctx: &BuildCtx<'_>) -> Result<HeaderValue, String> {
    let text = written.resolve(ctx.secrets)?;
    let mut value = HeaderValue::from_str(text.reveal())
        .ok()
        .filter(|value| value.to_str().is_ok())
        .ok_or_else(|| {
            format!("`{written}` is not a header value: it holds a line break, or other than ASCII")
        })?;
    value.set_sensitive(written.has_reference());
    Ok(value)
}

/// Names and values of a map of headers at `below`; problems go to the report.
pub(crate) fn pairs(
    written: &BTreeMap<String, Text>,
    (node, below): (&Node, &str),
    ctx: &BuildCtx<'_>,
    report: &mut Report,
) -> Vec<(HeaderName, HeaderValue)> {
    let mut pairs = Vec::with_capacity(written.len());
    for (written_name, written_value) in written {
        let at = format!("{below}/{}", written_name.replace('~', "~0").replace('/', "~1"));
        let pair = name(written_name).and_then(|n| value(written_value, ctx).map(|v| (n, v)));
        match pair {
            Ok(pair) => pairs.push(pair),
            Err(message) => {
                ctx.error(report, node, &at, message);
            }
        }
    }
    pairs
}
/// Whether two names are one for backends that read headers as variables (RFC 3875, 4.1.18), where `-` becomes `_`.
pub(crate) fn is_same(one: &HeaderName, other: &HeaderName) -> bool {
    let letters = |name: &HeaderName| {
        let bytes = name.as_str().as_bytes().to_vec();
        bytes.into_iter().map(|byte| if byte == b'_' { b'-' } else { byte }).collect::<Vec<_>>()
    };
    one == other || one.as_str().len() == other.as_str().len() && letters(one) == letters(other)
}
