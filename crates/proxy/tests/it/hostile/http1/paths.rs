//! Paths: one canonical form is routed and forwarded. What programs read differently is refused. `/admin` is
//! guarded.

use crate::it::hostile::http1::check;
use crate::it::hostile::row::{Row, head};

#[test]
fn no_spelling_gets_around_a_guard() {
    check(&guarded());
}

#[test]
fn what_is_forwarded_is_what_was_routed() {
    check(&passed());
}

#[test]
fn what_programs_read_differently_is_refused() {
    check(&refused());
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: a.test\r\n\r\n").into_bytes()
}

/// Paths of the guarded kind, for both protocols.
pub(crate) const GUARDED: &[(&str, &[&str])] = &[
    ("as it is", &["/admin", "/admin/", "/admin/x"]),
    ("encoded letters", &["/%61dmin/x", "/%61%64%6D%69%6e/x", "/admi%6E"]),
    ("more slashes", &["//admin/x", "/admin//x", "///admin", "/.//admin"]),
    ("a dot", &["/./admin/x", "/%2e/admin/x", "/%2E/admin", "/admin/./x"]),
    (
        "two dots",
        &[
            "/x/../admin/x",
            "/x/%2e%2e/admin/x",
            "/x/%2E./admin",
            "/x/.%2e/admin",
            "/x/y/../../admin",
        ],
    ),
    ("dots and slashes together", &["//x//..//admin", "/x/./../%61dmin", "/admin/%2e%2e/admin"]),
    ("out and in again", &["/admin/../admin/x", "/admin/x/..", "/admin/x/../../admin"]),
    ("a query that looks like a path", &["/admin?x=/../public", "/admin/x?/../..", "/admin?"]),
];

pub(crate) fn guarded() -> Vec<Row> {
    let row = |(name, paths): &(&'static str, &[&str])| {
        let cases = paths.iter().map(|path| get(path));
        Row::each(name, "RFC 3986, 6.2.2", cases, "403 access_denied")
    };
    let mut rows: Vec<Row> = GUARDED.iter().map(row).collect();
    for row in &mut rows {
        row.peers = match row.name {
            "encoded letters" => Some(
                "HAProxy compares paths as they are written, so `/%61dmin` passes its rule; nginx decodes for its own rules.",
            ),
            "two dots" => Some(
                "HAProxy does not resolve dots: its rule is passed, and the backend resolves them.",
            ),
            "more slashes" => Some(
                "HAProxy does not merge slashes: its rule is passed, and many backends merge them.",
            ),
            _ => None,
        };
    }
    rows
}

/// Paths, and how the backend sees each.
pub(crate) const PASSED: &[(&str, &str, &[&str], &str)] = &[
    (
        "dots inside",
        "RFC 3986, 6.2.2.3",
        &["/a/./b/../c", "/a/%2e/b/%2e%2e/c", "/a/b/../../a/c"],
        "/a/c",
    ),
    ("dots at the end", "RFC 3986, 6.2.2.3", &["/a/b/..", "/a/.", "/a/b/c/../.."], "/a/"),
    ("three dots are a name", "RFC 3986, 6.2.2.3", &["/.../a"], "/.../a"),
    ("slashes are merged", "RFC 3986, 6.2.2", &["/a//b///c", "//a/b//c"], "/a/b/c"),
    (
        "letters that need no encoding",
        "RFC 3986, 6.2.2.2",
        &["/%7Ejoe/%61%2Db", "/~joe/a-b"],
        "/~joe/a-b",
    ),
    (
        "digits of encodings in capitals",
        "RFC 3986, 6.2.2.1",
        &["/caf%c3%a9", "/caf%C3%a9"],
        "/caf%C3%A9",
    ),
    (
        "a double encoding is decoded once",
        "RFC 3986, 2.4",
        &["/%252e%252e/admin", "/%25%32%65%252e/admin"],
        "/%252e%252e/admin",
    ),
    ("a double encoding of a slash", "RFC 3986, 2.4", &["/a%252fb", "/a%25%32%66b"], "/a%252fb"),
    (
        "overlong dots are never dots",
        "RFC 3629, 3",
        &["/%c0%ae%c0%ae/admin"],
        "/%C0%AE%C0%AE/admin",
    ),
    (
        "overlong slashes are never slashes",
        "RFC 3629, 3",
        &["/a%c0%afadmin", "/a%C0%AFadmin"],
        "/a%C0%AFadmin",
    ),
    ("overlong in three bytes", "RFC 3629, 3", &["/a%e0%80%afadmin"], "/a%E0%80%AFadmin"),
    ("a wide slash", "RFC 3986, 2.5", &["/a%ef%bc%8fadmin"], "/a%EF%BC%8Fadmin"),
    ("parameters of a segment", "RFC 3986, 3.3", &["/a;v=1/b;w"], "/a;v=1/b;w"),
    (
        "a parameter on a guarded name makes another name",
        "RFC 3986, 3.3",
        &["/admin;x/y"],
        "/admin;x/y",
    ),
    ("an encoded semicolon", "RFC 3986, 2.2", &["/admin%3bx/y", "/admin%3Bx/y"], "/admin%3Bx/y"),
    ("an encoded question mark", "RFC 3986, 2.2", &["/a%3fb"], "/a%3Fb"),
    ("an encoded fragment", "RFC 3986, 2.2", &["/a%23b"], "/a%23b"),
    ("spaces", "RFC 3986, 2.1", &["/a%20b"], "/a%20b"),
    ("capital letters are others", "RFC 3986, 6.2.2.1", &["/ADMIN/x"], "/ADMIN/x"),
    ("characters that should be encoded", "RFC 3986, 2.1", &["/a|b", "/a%7Cb", "/a%7cb"], "/a%7Cb"),
    (
        "a query stays as it is",
        "RFC 3986, 3.4",
        &["/a?x=%2e%2e/&y=//;z&z=%0d%0a"],
        "/a?x=%2e%2e/&y=//;z&z=%0d%0a",
    ),
    ("a second question mark", "RFC 3986, 3.4", &["/a?b?c=/../d"], "/a?b?c=/../d"),
];

pub(crate) fn passed() -> Vec<Row> {
    let row = |(name, clause, paths, seen): &(&'static str, &'static str, &[&str], &str)| {
        let cases = paths.iter().map(|path| get(path));
        Row::each(name, clause, cases, "200").saw(head(&format!("GET {seen}"), "", ""))
    };
    PASSED.iter().map(row).collect()
}

/// Paths that are refused.
pub(crate) const REFUSED: &[(&str, &str, &[&str])] = &[
    (
        "above the root",
        "RFC 3986, 5.2.4",
        &["/..", "/../x", "/a/../../x", "/a/../..", "/./..", "//.."],
    ),
    (
        "above the root, encoded",
        "RFC 3986, 5.2.4",
        &["/%2e%2e/x", "/.%2e/x", "/%2E./x", "/a/%2e%2e/%2e%2e/x"],
    ),
    (
        "an encoded slash",
        "RFC 3986, 2.2",
        &["/a%2fb", "/a%2Fb", "/%2fadmin", "/a%2F..%2Fadmin", "/x/..%2fadmin"],
    ),
    ("a backslash", "RFC 3986, 2", &["/a\\b", "/a\\..\\admin", "\\admin", "/\\admin"]),
    ("an encoded backslash", "RFC 3986, 2", &["/a%5cb", "/..%5cadmin", "/a%5C..%5Cadmin"]),
    ("NUL", "RFC 3986, 7.3", &["/a%00", "/a%00b", "/%00/admin", "/admin%00.jpg"]),
    ("line ends", "RFC 3986, 7.3", &["/a%0d%0ab", "/a%0ab", "/a%0db", "/a%0d%0aHost:%20b.test"]),
    ("control characters", "RFC 3986, 7.3", &["/a%01", "/a%09b", "/a%1fb", "/a%7f", "/a%7Fb"]),
    ("encodings that are cut", "RFC 3986, 2.1", &["/a%", "/a%2", "/%", "/a%/b", "/a%2/e"]),
    (
        "encodings that are none",
        "RFC 3986, 2.1",
        &["/a%zz", "/a%2g", "/%u002e", "/%u002e%u002e/admin", "/%%32e", "/%+2e", "/% 2e", "/%-1"],
    ),
    (
        "dots behind which parameters stand",
        "RFC 3986, 3.3",
        &["/a/..;/admin/x", "/a/..;x=y/admin", "/..;/admin", "/a/.;x/admin", "/a/;/..;/admin"],
    ),
    ("dots behind which encoded slashes stand", "RFC 3986, 3.3", &["/a/..%2f..%2fadmin", "/..%2f"]),
    ("many segments", "RFC 9110, 4.1", &[MANY]),
];

/// 300 segments.
const MANY: &str = "/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a/a";

pub(crate) fn refused() -> Vec<Row> {
    let row = |(name, clause, paths): &(&'static str, &'static str, &[&str])| {
        let cases = paths.iter().filter(|path| path.starts_with('/') && !path.contains(' '));
        Row::each(name, clause, cases.map(|path| get(path)), "400 bad_path")
    };
    let mut rows: Vec<Row> = REFUSED.iter().map(row).collect();
    for row in &mut rows {
        row.peers = match row.name {
            "an encoded slash" => Some(
                "Both pass it on: a backend that decodes it sees a deeper path than was routed. A listener can be told to keep it.",
            ),
            "a backslash" => Some("Both pass it on; some backends take it for a slash."),
            "NUL" => Some("HAProxy passes it on: where a path becomes a C string, it ends there."),
            "dots behind which parameters stand" => Some(
                "Both pass it on: servlet containers strip `;…` before they resolve dots, and this path climbs into `/admin`.",
            ),
            _ => None,
        };
    }
    rows
}
