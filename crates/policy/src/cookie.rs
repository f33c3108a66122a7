//! Cookies of a request (RFC 6265, 5.4).

use http::HeaderValue;
use http::header::COOKIE;
use traffic::head::RequestHead;

/// The values of the cookies of this name.
pub(crate) fn values<'a>(head: &'a RequestHead, name: &str) -> impl Iterator<Item = &'a str> {
    let texts = head.headers.all(COOKIE).filter_map(|value| value.to_str().ok());
    let pairs = texts.flat_map(|text| text.split(';').filter_map(|it| it.trim().split_once('=')));
    pairs.filter(move |(own, _)| *own == name).map(|(_, value)| value)
}

/// Takes the cookies of this name out.
pub(crate) fn hide(head: &mut RequestHead, name: &str) {
    let mut kept = Vec::new();
    for value in head.headers.all(COOKIE) {
        let Ok(text) = value.to_str() else {
            // Not text, so it was not searched either; it may hold the cookie all the same.
            continue;
        };
        let pairs = text.split(';').map(str::trim).filter(|pair| !pair.is_empty());
        let others: Vec<&str> =
            pairs.filter(|pair| pair.split_once('=').is_none_or(|(own, _)| own != name)).collect();
        if let Ok(value) = HeaderValue::from_str(&others.join("; "))
            && !others.is_empty()
        {
            kept.push(value);
        }
    }
    head.headers.remove(COOKIE);
    for value in kept {
        head.headers.append(COOKIE, value);
    }
}
