//! Cookies of a request (RFC 6265, 5.4). Other cookies of a line may hold any bytes, and are left as they are.

use http::HeaderValue;
use http::header::COOKIE;
use traffic::head::RequestHead;

/// The values of the cookies of this name that are text.
pub(crate) fn values<'a>(head: &'a RequestHead, name: &str) -> impl Iterator<Item = &'a str> {
    let pairs = head.headers.all(COOKIE).flat_map(|line| pairs(line.as_bytes()));
    let own = pairs.filter_map(move |pair| value(pair, name));
    own.filter_map(|value| std::str::from_utf8(value).ok())
}

/// Takes the cookies of this name out.
pub(crate) fn hide(head: &mut RequestHead, name: &str) {
    let is_own = |pair: &&[u8]| value(pair, name).is_some();
    let lines = || head.headers.all(COOKIE);
    if !lines().any(|line| pairs(line.as_bytes()).any(|pair| is_own(&pair))) {
        return;
    }
    let mut kept = Vec::new();
    for line in lines() {
        let others: Vec<&[u8]> = pairs(line.as_bytes()).filter(|pair| !is_own(pair)).collect();
        // A part of a valid value is valid.
        if let Ok(line) = HeaderValue::from_bytes(&others.join(&b"; "[..]))
            && !others.is_empty()
        {
            kept.push(line);
        }
    }
    head.headers.remove(COOKIE);
    for line in kept {
        head.headers.append(COOKIE, line);
    }
}

/// The cookies of one line.
fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty())
}

/// The value of a cookie, if it has this name.
fn value<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let at = pair.iter().position(|byte| *byte == b'=')?;
    let (own, value) = pair.split_at_checked(at)?;
    (trimmed(own) == name.as_bytes()).then(|| value.get(1..).unwrap_or_default().trim_ascii())
}

/// Without what anybody might take for white space at the ends, bytes that are no text included.
fn trimmed(bytes: &[u8]) -> &[u8] {
    let is_kept = |byte: &u8| byte.is_ascii_graphic();
    let start = bytes.iter().position(is_kept).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(is_kept).map_or(start, |at| at + 1);
    bytes.get(start..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{hide, values};
    use crate::fixture::{exchange, lines};
    use http::HeaderValue;
    use http::header::COOKIE;

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
    fn a_cookie_that_is_no_text_hides_no_other_one() {
        let mut head = exchange("GET /").request;
        let line = HeaderValue::from_bytes(b"a=1; n=\xe9; b=2").unwrap();
        head.headers.append(COOKIE, line);
        assert_eq!(values(&head, "a").collect::<Vec<_>>(), ["1"]);
        hide(&mut head, "a");
        assert_eq!(head.headers.get(COOKIE).unwrap().as_bytes(), b"n=\xe9; b=2");
    }

    #[test]
    fn other_cookies_are_left_as_they_are() {
        let mut head = exchange("GET /\ncookie: b=2;c = a=1").request;
        hide(&mut head, "a");
        assert_eq!(lines(&head.headers), ["cookie: b=2;c = a=1"]);
    }
}
