//! Frames that may not stand where they do, and connections that end within them.

use crate::it::hostile::http2::{GONE, PROTOCOL, check, get, post};
use crate::it::hostile::recorder::CUT;
use crate::it::hostile::row::{Row, Then, head};
use crate::it::http2::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PRIORITY, PUSH_PROMISE, RST_STREAM,
    SETTINGS, WHOLE, block, frame, reset, setting, window,
};

#[test]
fn frames_that_make_no_sense_end_the_connection() {
    check(&rows());
}

#[test]
fn what_breaks_off_is_never_taken_for_a_whole() {
    check(&ends());
}

pub(crate) fn rows() -> Vec<Row> {
    let gone =
        |name, clause, cases: Vec<Vec<u8>>| Row::each(name, clause, cases, GONE).counted(PROTOCOL);
    let open = get("")
        .iter()
        .enumerate()
        .map(|(at, byte)| if at == 4 { END_STREAM } else { *byte })
        .collect::<Vec<u8>>();
    let hold = |other: Vec<u8>| [open.clone(), other].concat();
    let with_block = |bytes: &[u8]| frame(HEADERS, WHOLE, 3, bytes);
    vec![
        gone(
            "frames of a stream on the connection",
            "RFC 9113, 6",
            [DATA, HEADERS, PRIORITY, RST_STREAM, CONTINUATION]
                .map(|kind| frame(kind, WHOLE, 0, b"\0\0\0\0\0"))
                .to_vec(),
        ),
        gone(
            "frames of the connection on a stream",
            "RFC 9113, 6",
            vec![frame(SETTINGS, 0, 3, b""), frame(PING, 0, 3, b"01234567")],
        ),
        gone(
            "frames on a stream that was never opened",
            "RFC 9113, 5.1",
            vec![frame(DATA, 0, 3, b"x"), reset(3), window(3, 1)],
        ),
        gone(
            "a stream with an even number",
            "RFC 9113, 5.1.1",
            vec![frame(
                HEADERS,
                WHOLE,
                2,
                &block(":method: GET\n:scheme: http\n:path: /\n:authority: a.test\n"),
            )],
        ),
        gone(
            "a head that something interrupts",
            "RFC 9113, 6.10",
            vec![
                hold(frame(DATA, 0, 3, b"x")),
                hold(frame(PING, 0, 0, b"01234567")),
                hold(get("")),
                hold(frame(CONTINUATION, END_HEADERS, 5, b"")),
                hold(frame(99, 0, 0, b"")),
            ],
        ),
        gone(
            "nothing to continue",
            "RFC 9113, 6.10",
            vec![frame(CONTINUATION, END_HEADERS, 3, b"")],
        ),
        gone("a push", "RFC 9113, 8.4", vec![frame(PUSH_PROMISE, END_HEADERS, 3, b"\0\0\0\x02")]),
        gone(
            "frames of the wrong length",
            "RFC 9113, 4.2",
            vec![
                frame(PING, 0, 0, b"0123456"),
                frame(SETTINGS, 0, 0, b"12345"),
                frame(RST_STREAM, 0, 3, b"123"),
                frame(8, 0, 0, b"123"),
            ],
        ),
        gone(
            "settings that make no sense",
            "RFC 9113, 6.5.2",
            vec![setting(2, 2), setting(4, 1 << 31), setting(5, 16_383), setting(5, 1 << 24)],
        ),
        gone("a window that opens by nothing", "RFC 9113, 6.9", vec![window(0, 0)]),
        gone(
            "compression that cannot be undone",
            "RFC 7541",
            [
                &b"\x80"[..],
                b"\xff\x80\x80\x80\x80\x80\x80\x80\x80\x01",
                b"\xbe",
                b"\x3f\xff\xff\x03",
                b"\x00\x81\xff\x00",
                b"\x00\x05ab",
            ]
            .map(with_block)
            .to_vec(),
        ),
        Row::new(
            "a frame larger than allowed",
            "RFC 9113, 4.2",
            frame(DATA, 0, 3, &[0; 16_385]),
            "goaway FRAME_SIZE_ERROR, closed",
        )
        .counted(PROTOCOL),
        Row::new(
            "a window beyond the largest",
            "RFC 9113, 6.9.1",
            window(0, (1 << 31) - 1),
            "goaway FLOW_CONTROL_ERROR, closed",
        )
        .counted(PROTOCOL),
        Row::each(
            "what nobody knows changes nothing",
            "RFC 9113, 5.5",
            [
                frame(99, 0xff, 3, b"whatever"),
                setting(99, 7),
                frame(PRIORITY, 0, 9, &[0, 0, 0, 3, 200]),
            ],
            "",
        ),
        Row::new(
            "a request of HTTP/1 among frames",
            "RFC 9113, 4.1",
            "GET / HTTP/1.1\r\nhost: a.test\r\n\r\n",
            "goaway FRAME_SIZE_ERROR, closed",
        )
        .counted(PROTOCOL),
    ]
}

pub(crate) fn ends() -> Vec<Row> {
    let five = "content-length: 5\n";
    let silent = |name, clause, cases: Vec<Vec<u8>>| {
        Row::each(name, clause, cases, "closed").then(Then::Ends)
    };
    let head = |framing: &str| head("POST /", "", framing);
    vec![
        silent("in a frame's head", "RFC 9113, 4.1", vec![get("")[..5].to_vec()]),
        silent("in a head", "RFC 9113, 4.1", vec![get("")[..30].to_vec()]),
        Row::new(
            "reset in the body",
            "RFC 9113, 5.1",
            [post(five), frame(DATA, 0, 3, b"hel"), reset(3)].concat(),
            "",
        )
        .late(head(five) + "hel")
        .uncut(),
        Row::new(
            "reset before a body of no known length has ended",
            "RFC 9113, 5.1",
            [post(""), frame(DATA, 0, 3, b"hel"), reset(3)].concat(),
            "",
        )
        .late(head("transfer-encoding: chunked\n") + "3\nhel\n")
        .uncut(),
        Row::new(
            "in the body",
            "RFC 9113, 5.1",
            [post(five), frame(DATA, 0, 3, b"hel")].concat(),
            "closed",
        )
        .then(Then::Ends)
        .saw(head(five) + "hel" + CUT),
        Row::new(
            "in a frame of the body",
            "RFC 9113, 5.1",
            [post(five), frame(DATA, END_STREAM, 3, b"hello")[..12].to_vec()].concat(),
            "closed",
        )
        .then(Then::Ends)
        .saw(head(five) + CUT),
    ]
}
