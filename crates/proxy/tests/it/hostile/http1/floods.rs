//! More than there is room for: each bound holds, and memory with it.

use crate::it::hostile::http1::check;
use crate::it::hostile::row::{FLOOD_GROWTH_MAX, Row, Then, get, head};
use base::caps::{HEAD_BYTES_MAX, HEADERS_MAX, TARGET_BYTES_MAX};

#[test]
fn floods_meet_their_bounds() {
    check(&rows());
}

const LARGE: &str = "431 head_too_large, closed";
const LONG: &str = "414 target_too_long, closed";
const MANY: usize = 1 << 20;

fn fields(count: usize) -> String {
    (0..count).map(|n| format!("x-{n}: {n}\r\n")).collect()
}

/// A head of so many bytes in all.
fn sized(bytes: usize) -> Vec<u8> {
    let rest = bytes - get("x: \r\n").len();
    get(&format!("x: {}\r\n", "y".repeat(rest)))
}

fn target(bytes: usize) -> String {
    format!("GET /{} HTTP/1.1\r\nhost: a.test\r\n\r\n", "a".repeat(bytes - 1))
}

pub(crate) fn rows() -> Vec<Row> {
    let lines = |count: usize| (0..count).map(|n| format!("x-{n}: {n}\n")).collect::<String>();
    let large = |name, bytes: Vec<u8>, reason| {
        Row::new(name, "RFC 6585, 5", bytes, LARGE).counted(reason).grows(FLOOD_GROWTH_MAX)
    };
    let long = |name, bytes: String| {
        Row::new(name, "RFC 9110, 15.5.15", bytes, LONG)
            .counted("target_too_long")
            .grows(FLOOD_GROWTH_MAX)
    };
    let filled = "y".repeat(HEAD_BYTES_MAX - get("x: \r\n").len());
    let pipelined = 100;
    vec![
        Row::new("as many fields as may be", "RFC 6585, 5", get(&fields(HEADERS_MAX - 1)), "200")
            .saw(head("GET /", &lines(HEADERS_MAX - 1), "")),
        large("one field more", get(&fields(HEADERS_MAX)), "too_many_fields"),
        large("three thousand fields", get(&fields(3_000)), "too_many_fields"),
        large("fields without end", get(&fields(MANY / 8)), "head_too_large"),
        large("empty fields without end", get(&"x:\r\n".repeat(MANY / 4)), "head_too_large"),
        large("one field many times", get(&"cookie: a=b\r\n".repeat(1_000)), "too_many_fields"),
        Row::new("a head as large as may be", "RFC 6585, 5", sized(HEAD_BYTES_MAX), "200")
            .grows(FLOOD_GROWTH_MAX)
            .saw(head("GET /", &format!("x: {filled}\n"), "")),
        large("one byte more", sized(HEAD_BYTES_MAX + 1), "head_too_large"),
        large("one huge value", get(&format!("x: {}\r\n", "y".repeat(MANY))), "head_too_large"),
        large("one huge name", get(&format!("{}: y\r\n", "x".repeat(MANY))), "head_too_large"),
        large("a line without a colon and without end", get(&"x".repeat(MANY)), "head_too_large"),
        Row::new(
            "a target as long as may be",
            "RFC 9110, 15.5.15",
            target(TARGET_BYTES_MAX),
            "200",
        )
        .grows(FLOOD_GROWTH_MAX)
        .saw(head(&format!("GET /{}", "a".repeat(TARGET_BYTES_MAX - 1)), "", "")),
        long("one byte more of it", target(TARGET_BYTES_MAX + 1)),
        long("a long query", target(TARGET_BYTES_MAX + 1).replacen('a', "?", 1)),
        long("a target without end", format!("GET /{}", "a".repeat(MANY))),
        long("a method without end", "M".repeat(MANY)),
        long("spaces without end", format!("GET {}", " ".repeat(MANY))),
        Row::new(
            "empty lines without end",
            "RFC 9112, 2.2",
            "\r\n".repeat(1_000),
            "400 bad_request, closed",
        )
        .counted("empty_lines"),
        pipeline("a hundred requests at once", pipelined),
    ]
}

/// Requests ahead of their answers.
fn pipeline(name: &'static str, count: usize) -> Row {
    let outcome = vec!["200"; count].join(", ");
    let mut row = Row::new(name, "RFC 9112, 9.3.2", get("").repeat(count), outcome)
        .then(Then::Waits)
        .grows(FLOOD_GROWTH_MAX);
    row.saw = vec![head("GET /", "", ""); count];
    row
}
