//! Paths and claims, as over HTTP/1.

use crate::it::hostile::http1::identity::CLAIMS;
use crate::it::hostile::http1::paths::{GUARDED, PASSED, REFUSED};
use crate::it::hostile::http2::{check, get, whole};
use crate::it::hostile::row::{Row, head};

#[test]
fn a_path_is_the_same_whatever_it_came_by() {
    check(&paths());
}

#[test]
fn a_client_cannot_say_who_it_is_by_a_header_of_the_gateway() {
    check(&claims());
}

pub(crate) fn paths() -> Vec<Row> {
    let guarded = GUARDED.iter().map(|(name, paths)| {
        let cases = paths.iter().map(|path| whole(3, path));
        Row::each(name, "RFC 3986, 6.2.2", cases, "3:403 access_denied")
    });
    let passed = PASSED.iter().map(|(name, clause, paths, seen)| {
        let cases = paths.iter().map(|path| whole(3, path));
        Row::each(name, clause, cases, "3:200").saw(head(&format!("GET {seen}"), "", ""))
    });
    let refused = REFUSED.iter().map(|(name, clause, paths)| {
        let cases = paths.iter().filter(|path| path.starts_with('/') && !path.contains(' '));
        Row::each(name, clause, cases.map(|path| whole(3, path)), "3:400 bad_path")
    });
    guarded.chain(passed).chain(refused).collect()
}

pub(crate) fn claims() -> Vec<Row> {
    let row = |(name, lines, kept): &(&'static str, &str, &str)| {
        let lines = lines.to_lowercase().replace("\r\n", "\n");
        Row::new(name, "RFC 9110, 7.6", get(&lines), "3:200").saw(head("GET /", kept, ""))
    };
    CLAIMS.iter().map(row).collect()
}
