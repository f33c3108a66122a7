//! The way back: what a backend says of itself (`Location`, cookies) in terms of what the client knows.

use super::Rewrite;
use http::header::{CONTENT_LOCATION, LOCATION, SET_COOKIE};
use http::{HeaderName, HeaderValue};
use std::borrow::Cow;
use traffic::{Exchange, Headers, canonical};

/// Changes the headers that hold the backend's own address into the client's terms.
pub(super) fn location(
    rewrite: &Rewrite,
    is_stripped: bool,
    exchange: &Exchange,
    headers: &mut Headers,
) {
    for name in [LOCATION, CONTENT_LOCATION] {
        change(headers, &name, |value| url(rewrite, is_stripped, exchange, value));
    }
}

/// Changes where cookies hold.
pub(super) fn cookies(
    rewrite: &Rewrite,
    is_stripped: bool,
    exchange: &Exchange,
    headers: &mut Headers,
) {
    change(headers, &SET_COOKIE, |value| Some(cookie(rewrite, is_stripped, exchange, value)));
}

/// Puts what `with` makes of each value in its place.
fn change(headers: &mut Headers, name: &HeaderName, with: impl Fn(&str) -> Option<String>) {
    if !headers.contains(name) {
        return;
    }
    let old = std::mem::take(headers);
    *headers = old
        .into_iter()
        .map(|(own, value)| {
            let changed = (own == *name).then(|| value.to_str().ok().and_then(&with)).flatten();
            let changed = changed.and_then(|text| HeaderValue::try_from(text).ok());
            (own, changed.unwrap_or(value))
        })
        .collect();
}

/// A URL of the backend as one of this route; nothing if it is another's.
fn url(rewrite: &Rewrite, is_stripped: bool, exchange: &Exchange, value: &str) -> Option<String> {
    let rest = match value.split_once("://") {
        Some((scheme @ ("http" | "https"), after)) => {
            let end = after.find(['/', '?', '#']).unwrap_or(after.len());
            let (authority, rest) = after.split_at_checked(end)?;
            is_backend(exchange, scheme, authority).then_some(rest)?
        }
        // Relative to what was asked for, which is the same below either prefix; `//` names a host.
        _ if !value.starts_with('/') || value.starts_with("//") => return None,
        _ => value,
    };
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let (path, tail) = rest.split_at_checked(end)?;
    let path = self::path(rewrite, is_stripped, if path.is_empty() { "/" } else { path })?;
    // Browsers take either for the beginning of a host: a backend's path must not send clients elsewhere.
    let names_a_host = path.starts_with("//") || path.starts_with("/\\");
    (!names_a_host).then(|| format!("{path}{tail}"))
}

/// A path of the backend as one of this route: without the prefix that was added, with the one that was
/// taken away. Nothing if it lies outside of what was added.
fn path<'p>(rewrite: &Rewrite, is_stripped: bool, path: &'p str) -> Option<Cow<'p, str>> {
    let rest = path.strip_prefix(&*rewrite.add_prefix)?;
    if !(rest.is_empty() || rest.starts_with('/')) {
        return None;
    }
    if !is_stripped || rewrite.strip_prefix.is_empty() {
        return Some(if rest.is_empty() { Cow::Borrowed("/") } else { Cow::Borrowed(rest) });
    }
    // The root below a prefix is the prefix itself.
    let rest = if rest == "/" { "" } else { rest };
    Some(Cow::Owned(format!("{}{rest}", rewrite.strip_prefix)))
}

/// Whether this is how the backend was called: by the host it was told, or by its address. A port that is the
/// scheme's own may be left out (RFC 3986, 6.2.3).
fn is_backend(exchange: &Exchange, scheme: &str, authority: &str) -> bool {
    let target = exchange.record.target.as_deref().unwrap_or_default();
    // A target that is an address of a name has the address behind the name.
    let target = target.split_once('/').map_or(target, |(name, _)| name);
    let own_port = if scheme == "https" { ":443" } else { ":80" };
    let bare = |text| str::strip_suffix(text, own_port).unwrap_or(text).to_ascii_lowercase();
    let authority = bare(authority);
    let told = [Some(&exchange.request.authority), exchange.record.target_host.as_ref()];
    let mut told = told.into_iter().flatten().filter_map(|told| told.to_str().ok());
    authority == bare(target) || told.any(|told| authority == bare(told))
}

/// A cookie with its path below the prefix that the client knows, and without the backend's own domain:
/// then it holds for the host that was asked.
fn cookie(rewrite: &Rewrite, is_stripped: bool, exchange: &Exchange, value: &str) -> String {
    let mut parts = value.split(';');
    let mut cookie = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let (name, value) = (name.trim(), value.trim());
        if name.eq_ignore_ascii_case("path")
            && let Some(path) = path(rewrite, is_stripped, value)
        {
            cookie.push_str("; Path=");
            cookie.push_str(&path);
        } else if !(name.eq_ignore_ascii_case("domain") && is_own_domain(exchange, value)) {
            cookie.push(';');
            cookie.push_str(part);
        }
    }
    cookie
}

fn is_own_domain(exchange: &Exchange, domain: &str) -> bool {
    let told = exchange.request.authority.to_str().ok().and_then(canonical::host);
    let domain = domain.strip_prefix('.').unwrap_or(domain);
    told.is_some_and(|host| {
        host.eq_ignore_ascii_case(domain) && !exchange.request.host.eq_ignore_ascii_case(domain)
    })
}
