//! Cookies of a request (RFC 6265, 5.4).

use http::HeaderValue;
use http::header::COOKIE;
use traffic::head::RequestHead;

/// The values of the cookies of this name.
pub(crate) fn values<'a>(head: &'a RequestHead, name: &str) -> impl Iterator<Item = &'a str> {
    let texts = head.headers.all(COOKIE).filter_map(|value| value.to_str().ok());
    let pairs = texts.flat_map(|text| text.split(';').filter_map(|it| it.trim().split_once('=')));
    pairs.filter(move |(own, _)| own.trim() == name).map(|(_, value)| value.trim())
}

/// Takes the cookies of this name out.
pub(crate) fn hide(head: &mut RequestHead, name: &str) {
    let is_clean = |value: &HeaderValue| value.to_str().is_ok() && !value_has(value, name);
    if head.headers.all(COOKIE).all(is_clean) {
        return;
    }
    let mut kept = Vec::new();
    for value in head.headers.all(COOKIE) {
        let Ok(text) = value.to_str() else {
            // Not text, so it was not searched either; it may hold the cookie all the same.
            continue;
        };
        let pairs = text.split(';').map(str::trim).filter(|pair| !pair.is_empty());
        let others: Vec<&str> = pairs
            .filter(|pair| pair.split_once('=').is_none_or(|(own, _)| own.trim() != name))
            .collect();
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

fn value_has(value: &HeaderValue, name: &str) -> bool {
    let pairs = value.to_str().unwrap_or_default().split(';');
    pairs.filter_map(|pair| pair.split_once('=')).any(|(own, _)| own.trim() == name)
}

#[cfg(test)]
mod tests {
    use super::{hide, values};
    use crate::fixture::{exchange, lines};

    #[test]
    fn a_cookie_is_found_and_taken_out_however_much_space_is_around_its_name() {
        for (shown, left) in [
            ("a=1; b=2", "cookie: b=2"),
            ("a =1;b=2", "cookie: b=2"),
            ("b=2;  a = 1", "cookie: b=2"),
            ("a=1", ""),
        ] {
            let mut head = exchange(&format!("GET /\ncookie: {shown}")).request;
            assert_eq!(values(&head, "a").collect::<Vec<_>>(), ["1"], "{shown}");
            hide(&mut head, "a");
            assert_eq!(lines(&head.headers).join("\n"), left, "{shown}");
        }
    }

    #[test]
    fn other_cookies_are_left_as_they_are() {
        let mut head = exchange("GET /\ncookie: b=2;c = a=1").request;
        hide(&mut head, "a");
        assert_eq!(lines(&head.headers), ["cookie: b=2;c = a=1"]);
    }
}
