//! Queries as `name=value&…` pairs (WHATWG URL, application/x-www-form-urlencoded).

use percent_encoding::percent_decode;
use std::borrow::Cow;

/// The pairs of a query, names and values decoded.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

/// The query without the pairs of this name; nothing when none is left.
pub(crate) fn without(query: &str, name: &str) -> Option<String> {
    let is_kept = |pair: &&str| {
        let written = pair.split_once('=').map_or(*pair, |(name, _)| name);
        !pair.is_empty() && decode(written) != name
    };
    let kept: Vec<&str> = query.split('&').filter(is_kept).collect();
    if kept.is_empty() { None } else { Some(kept.join("&")) }
}

/// Text after percent-decoding, with `+` as a space; bytes that are no text become U+FFFD.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let spaced = text.replace('+', " ");
    Cow::Owned(percent_decode(spaced.as_bytes()).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::{pairs, without};

    #[test]
    fn pairs_are_decoded() {
        let read: Vec<_> = pairs("a=1&b%20c=d+e&flag&&x=%ff").collect();
        let expected = [("a", "1"), ("b c", "d e"), ("flag", ""), ("x", "\u{fffd}")];
        assert_eq!(read.len(), expected.len());
        for (pair, (name, value)) in read.iter().zip(expected) {
            assert_eq!((&*pair.0, &*pair.1), (name, value));
        }
    }

    #[test]
    fn a_parameter_is_taken_out_however_it_is_encoded() {
        for (query, expected) in [
            ("key=1", None),
            ("key=1&a=2", Some("a=2")),
            ("a=2&k%65y=1&key&b=%20", Some("a=2&b=%20")),
            ("keys=1", Some("keys=1")),
        ] {
            assert_eq!(without(query, "key").as_deref(), expected, "{query}");
        }
    }
}
