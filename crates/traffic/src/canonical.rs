//! Canonical paths and hosts: the form that is routed is the form that is forwarded, so that gateway
//! and backend never see two different paths in one request.

use base::caps::PATH_SEGMENTS_MAX;
use std::borrow::Cow;

/// What to do with path forms that programs read differently.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathRules {
    /// `%2F` stays in place of being refused.
    pub keep_encoded_slash: bool,
    /// What becomes of several slashes in a row.
    pub double_slash: DoubleSlash,
}

/// What becomes of several slashes in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DoubleSlash {
    /// They become one.
    #[default]
    Merge,
    /// The path is refused.
    Reject,
    /// They stay.
    Keep,
}

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadPath {
    /// It does not begin with a slash.
    NotAbsolute,
    /// A `%` is not followed by two hexadecimal digits.
    BrokenEncoding,
    /// It holds a control character, a backslash, a space or a byte outside ASCII, plain or encoded
    /// where an encoding would hide it.
    ForbiddenByte,
    /// It climbs above the root.
    AboveRoot,
    /// It holds `%2F`, which the listener refuses.
    EncodedSlash,
    /// It holds several slashes in a row, which the listener refuses.
    DoubleSlash,
    /// It has too many segments.
    TooDeep,
}

impl BadPath {
    /// What the client is told.
    #[must_use]
    pub const fn detail(self) -> &'static str {
        match self {
            Self::NotAbsolute => "the path must begin with a slash",
            Self::BrokenEncoding => "the path holds a `%` that encodes nothing",
            Self::ForbiddenByte => "the path holds a character that has no place in a path",
            Self::AboveRoot => "the path climbs above the root",
            Self::EncodedSlash => "the path holds an encoded slash",
            Self::DoubleSlash => "the path holds several slashes in a row",
            Self::TooDeep => "the path has too many segments",
        }
    }
}

/// The canonical form of a path (RFC 3986, 6.2.2): unreserved characters decoded, hexadecimal digits
/// upper case, dot segments resolved. Borrowed when the path was canonical already.
///
/// # Errors
/// Why the path is refused.
pub fn path(written: &str, rules: PathRules) -> Result<Cow<'_, str>, BadPath> {
    if !written.starts_with('/') {
        return Err(BadPath::NotAbsolute);
    }
    if is_canonical(written.as_bytes()) {
        return Ok(Cow::Borrowed(written));
    }
    let decoded = decode(written.as_bytes(), rules)?;
    resolve(&decoded, rules).map(Cow::Owned)
}

/// The common case: nothing to decode, resolve, merge or refuse.
fn is_canonical(path: &[u8]) -> bool {
    let mut slashes = 0;
    let mut previous = 0;
    for &byte in path {
        let is_suspect = match byte {
            b'/' => {
                slashes += 1;
                previous == b'/'
            }
            b'.' => previous == b'/',
            _ => !is_segment_byte(byte),
        };
        if is_suspect {
            return false;
        }
        previous = byte;
    }
    slashes <= PATH_SEGMENTS_MAX
}

/// `pchar` of RFC 3986 without percent-encodings.
const fn is_segment_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b':'
                | b'@'
        )
}

/// Characters that some clients send plainly although RFC 3986 wants them encoded; they are encoded.
const fn is_tolerated(byte: u8) -> bool {
    matches!(byte, b'"' | b'<' | b'>' | b'[' | b']' | b'^' | b'`' | b'{' | b'|' | b'}')
}

fn decode(path: &[u8], rules: PathRules) -> Result<String, BadPath> {
    let mut decoded = String::with_capacity(path.len());
    let mut at = 0;
    while let Some(&byte) = path.get(at) {
        at += 1;
        match byte {
            b'/' => decoded.push('/'),
            b'%' => {
                let digit = |at: usize| path.get(at).and_then(|d| char::from(*d).to_digit(16));
                let (high, low) = digit(at).zip(digit(at + 1)).ok_or(BadPath::BrokenEncoding)?;
                at += 2;
                let byte = u8::try_from(high * 16 + low).map_err(|_| BadPath::BrokenEncoding)?;
                push_encoded(&mut decoded, byte, rules)?;
            }
            _ if is_segment_byte(byte) => decoded.push(char::from(byte)),
            _ if is_tolerated(byte) => push_escape(&mut decoded, byte),
            _ => return Err(BadPath::ForbiddenByte),
        }
    }
    Ok(decoded)
}

/// Unreserved characters come out plain, others stay encoded, dangerous ones are refused.
fn push_encoded(decoded: &mut String, byte: u8, rules: PathRules) -> Result<(), BadPath> {
    match byte {
        b'/' if !rules.keep_encoded_slash => return Err(BadPath::EncodedSlash),
        b'\\' | 0..=0x1F | 0x7F => return Err(BadPath::ForbiddenByte),
        b'-' | b'.' | b'_' | b'~' => decoded.push(char::from(byte)),
        _ if byte.is_ascii_alphanumeric() => decoded.push(char::from(byte)),
        _ => push_escape(decoded, byte),
    }
    Ok(())
}

fn push_escape(decoded: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    decoded.push('%');
    decoded.push(char::from(DIGITS[usize::from(byte >> 4)]));
    decoded.push(char::from(DIGITS[usize::from(byte & 0xF)]));
}

/// Dot segments and repeated slashes.
fn resolve(path: &str, rules: PathRules) -> Result<String, BadPath> {
    let mut kept: Vec<&str> = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        match part {
            "." if is_last => kept.push(""),
            "." => {}
            ".." => {
                kept.pop().ok_or(BadPath::AboveRoot)?;
                if is_last {
                    kept.push("");
                }
            }
            _ if hides_dots(part) => return Err(BadPath::ForbiddenByte),
            "" if !is_last && rules.double_slash == DoubleSlash::Merge => {}
            "" if !is_last && rules.double_slash == DoubleSlash::Reject => {
                return Err(BadPath::DoubleSlash);
            }
            _ => kept.push(part),
        }
    }
    if kept.len() > PATH_SEGMENTS_MAX {
        return Err(BadPath::TooDeep);
    }
    Ok(kept.iter().fold(String::with_capacity(path.len()), |joined, part| joined + "/" + part))
}

/// Some servers strip `;parameters`, or decode `%2F`, before they resolve dots.
fn hides_dots(segment: &str) -> bool {
    let is_dots = |piece: &str| matches!(piece.split(';').next(), Some("." | ".."));
    (segment.contains(';') || segment.contains("%2F")) && segment.split("%2F").any(is_dots)
}

/// The canonical form of a host: lower case, without port and without a final dot. Borrowed when it
/// was canonical already; nothing when it is no host.
#[must_use]
pub fn host(authority: &str) -> Option<Cow<'_, str>> {
    let (name, port) = split_port(authority)?;
    if port.is_some_and(|port| port.is_empty() || port.parse::<u16>().is_err()) {
        return None;
    }
    let name = if name.starts_with('[') {
        let inside = name.strip_prefix('[')?.strip_suffix(']')?;
        inside.parse::<std::net::Ipv6Addr>().ok()?;
        name
    } else {
        let name = name.strip_suffix('.').unwrap_or(name);
        is_host_name(name).then_some(name)?
    };
    Some(if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    })
}

fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    if authority.starts_with('[') {
        let (inside, rest) = authority.split_once(']')?;
        let name = authority.get(..=inside.len())?;
        return match rest.strip_prefix(':') {
            Some(port) => Some((name, Some(port))),
            None => rest.is_empty().then_some((name, None)),
        };
    }
    // Hosts are short: a search that is made for long texts takes longer.
    Some(match authority.bytes().position(|byte| byte == b':') {
        Some(end) => (authority.get(..end)?, authority.get(end + 1..)),
        None => (authority, None),
    })
}

/// Letters, digits, `-`, `_` and dots, up to 253 characters: DNS names and IPv4 addresses.
fn is_host_name(name: &str) -> bool {
    let is_label = |label: &[u8]| {
        (1..=63).contains(&label.len())
            && label.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-' || *b == b'_')
    };
    name.len() <= 253 && name.as_bytes().split(|byte| *byte == b'.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::{BadPath, DoubleSlash, PathRules, host, path};

    fn check(written: &str, expected: Result<&str, BadPath>) {
        let canonical = path(written, PathRules::default());
        assert_eq!(canonical.as_deref(), expected.as_ref().map(|p| *p), "{written}");
        if let Ok(canonical) = &canonical {
            let again = path(canonical, PathRules::default());
            assert_eq!(again.as_deref(), Ok(canonical.as_ref()), "canonical is stable: {written}");
        }
    }

    #[test]
    fn one_form_for_each_path() {
        check("/", Ok("/"));
        check("/orders/1", Ok("/orders/1"));
        check("/orders/", Ok("/orders/"));
        check("/%6frders/%7Ejoe", Ok("/orders/~joe"));
        check("/a/./b/../c", Ok("/a/c"));
        check("/a/%2e%2e/b", Ok("/b"));
        check("/a/..", Ok("/"));
        check("/a/b/.", Ok("/a/b/"));
        check("//a///b", Ok("/a/b"));
        check("/a%c3%a9", Ok("/a%C3%A9"));
        check("/a|b", Ok("/a%7Cb"));
        check("/.well-known/x", Ok("/.well-known/x"));
        check("/a;v=1/b", Ok("/a;v=1/b"));
    }

    #[test]
    fn what_programs_read_differently_is_refused() {
        check("", Err(BadPath::NotAbsolute));
        check("*", Err(BadPath::NotAbsolute));
        check("/../etc", Err(BadPath::AboveRoot));
        check("/a/../../etc", Err(BadPath::AboveRoot));
        check("/a%2Fb", Err(BadPath::EncodedSlash));
        check("/a%2fb", Err(BadPath::EncodedSlash));
        check("/a\\b", Err(BadPath::ForbiddenByte));
        check("/a%5Cb", Err(BadPath::ForbiddenByte));
        check("/a%00b", Err(BadPath::ForbiddenByte));
        check("/a%0d%0ab", Err(BadPath::ForbiddenByte));
        check("/a%zz", Err(BadPath::BrokenEncoding));
        check("/a%2", Err(BadPath::BrokenEncoding));
        check("/a/..;/b", Err(BadPath::ForbiddenByte));
        check("/a\u{e9}", Err(BadPath::ForbiddenByte));
        check("/a b", Err(BadPath::ForbiddenByte));
        let deep = "/x".repeat(300) + "//";
        check(&deep, Err(BadPath::TooDeep));
    }

    #[test]
    fn a_double_encoding_is_decoded_once() {
        check("/a%252e%252e/b", Ok("/a%252e%252e/b"));
    }

    #[test]
    fn slash_rules_can_be_changed() {
        let keep = PathRules { keep_encoded_slash: true, double_slash: DoubleSlash::Keep };
        assert_eq!(path("/a%2fb//c", keep).as_deref(), Ok("/a%2Fb//c"));
        for hidden in ["/pub/..%2Fadmin", "/pub/%2e%2e%2fadmin", "/a%2F..", "/a%2F.;x%2Fb"] {
            assert_eq!(path(hidden, keep), Err(BadPath::ForbiddenByte), "{hidden}");
        }
        let strict = PathRules { keep_encoded_slash: false, double_slash: DoubleSlash::Reject };
        assert_eq!(path("/a//c", strict), Err(BadPath::DoubleSlash));
    }

    #[test]
    fn hosts_lose_case_port_and_final_dot() {
        assert_eq!(host("Api.Example.COM:8443").as_deref(), Some("api.example.com"));
        assert_eq!(host("example.com.").as_deref(), Some("example.com"));
        assert_eq!(host("[::1]:80").as_deref(), Some("[::1]"));
        assert_eq!(host("10.0.0.1").as_deref(), Some("10.0.0.1"));
        for bad in
            ["", ":80", "a b", "a/b", "a..b", "[::1", "[nope]", "a:port", "a:", "a@b", "[::1]x"]
        {
            assert_eq!(host(bad), None, "{bad}");
        }
    }
}
