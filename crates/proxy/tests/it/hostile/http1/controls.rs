//! Control characters, each of them, wherever one can stand. CR and LF have rows of their own as line ends.

use crate::it::hostile::http1::check;
use crate::it::hostile::row::Row;

#[test]
fn no_control_character_passes() {
    check(&rows());
}

/// A request with each control character but these in the place of `@`.
fn row(name: &'static str, text: &str, except: &[u8], reason: &'static str) -> Row {
    let (before, after) = text.split_once('@').unwrap();
    let controls = (0..=0x1f).chain([0x7f]).filter(|byte| !except.contains(byte));
    let cases = controls.map(|byte| [before.as_bytes(), &[byte], after.as_bytes()].concat());
    Row::each(name, "RFC 9110, 5.5", cases, "400 bad_request, closed").counted(reason)
}

pub(crate) fn rows() -> Vec<Row> {
    let (none, tab): (&[u8], &[u8]) = (&[], b"\t");
    let ends = "nul_byte|bare_cr|bare_lf";
    let or =
        |other: &str| -> &'static str { Box::leak(format!("{ends}|{other}").into_boxed_str()) };
    vec![
        row(
            "before the method",
            "@GET / HTTP/1.1\r\nhost: a.test\r\n\r\n",
            b"\x16",
            or("bad_method"),
        ),
        row("in the method", "GE@T / HTTP/1.1\r\nhost: a.test\r\n\r\n", none, or("bad_method")),
        row("behind the method", "GET@ / HTTP/1.1\r\nhost: a.test\r\n\r\n", none, or("bad_method")),
        row(
            "before the target",
            "GET @/ HTTP/1.1\r\nhost: a.test\r\n\r\n",
            none,
            or("bad_target|bad_request_line"),
        ),
        row("in the path", "GET /a@b HTTP/1.1\r\nhost: a.test\r\n\r\n", none, or("bad_target")),
        row("in the query", "GET /a?b@c HTTP/1.1\r\nhost: a.test\r\n\r\n", none, or("bad_target")),
        row("behind the target", "GET /@ HTTP/1.1\r\nhost: a.test\r\n\r\n", none, or("bad_target")),
        row(
            "before the version",
            "GET / @HTTP/1.1\r\nhost: a.test\r\n\r\n",
            none,
            or("bad_request_line"),
        ),
        row(
            "in the version",
            "GET / HTTP/@1.1\r\nhost: a.test\r\n\r\n",
            none,
            or("bad_request_line"),
        ),
        row(
            "behind the version",
            "GET / HTTP/1.1@\r\nhost: a.test\r\n\r\n",
            none,
            or("bad_request_line"),
        ),
        row(
            "before a name",
            "GET / HTTP/1.1\r\nhost: a.test\r\n@x: y\r\n\r\n",
            none,
            or("bad_field_name|folded"),
        ),
        row(
            "in a name",
            "GET / HTTP/1.1\r\nhost: a.test\r\nx@y: z\r\n\r\n",
            none,
            or("bad_field_name"),
        ),
        row(
            "before a colon",
            "GET / HTTP/1.1\r\nhost: a.test\r\nx@: z\r\n\r\n",
            none,
            or("bad_field_name|space_before_colon"),
        ),
        row(
            "before a value",
            "GET / HTTP/1.1\r\nhost: a.test\r\nx:@y\r\n\r\n",
            tab,
            or("bad_field_value"),
        ),
        row(
            "in a value",
            "GET / HTTP/1.1\r\nhost: a.test\r\nx: y@z\r\n\r\n",
            tab,
            or("bad_field_value"),
        ),
        row(
            "behind a value",
            "GET / HTTP/1.1\r\nhost: a.test\r\nx: y@\r\n\r\n",
            tab,
            or("bad_field_value"),
        ),
        row(
            "in the coding",
            "POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: @chunked\r\n\r\n0\r\n\r\n",
            tab,
            or("bad_field_value"),
        ),
        row(
            "behind the length",
            "POST / HTTP/1.1\r\nhost: a.test\r\ncontent-length: 5@\r\n\r\nhello",
            tab,
            or("bad_field_value"),
        ),
        row("in the host", "GET / HTTP/1.1\r\nhost: a@.test\r\n\r\n", tab, or("bad_field_value")),
        row(
            "in place of the last line",
            "GET / HTTP/1.1\r\nhost: a.test\r\n@\r\n\r\n",
            none,
            or("bad_field_name|missing_colon|folded"),
        ),
    ]
}
