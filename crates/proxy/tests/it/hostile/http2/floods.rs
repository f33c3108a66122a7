//! More than there is room for. Who sends frames that ask for nothing is told to calm down.

use crate::it::hostile::http2::{check, get, post, whole};
use crate::it::hostile::row::{FLOOD_GROWTH_MAX, Row};
use crate::it::http2::frames::{
    CONTINUATION, DATA, END_STREAM, HEADERS, PING, SETTINGS, WHOLE, block, frame, get as get_on,
    ping, reset, setting, window,
};
use base::caps::{HEAD_BYTES_MAX, TARGET_BYTES_MAX};

#[test]
fn floods_meet_their_bounds() {
    check(&rows());
}

const CALM: &str = "goaway ENHANCE_YOUR_CALM, closed";
const FLOOD: usize = 2_000;

pub(crate) fn rows() -> Vec<Row> {
    let flood = |name, clause, bytes: Vec<u8>, reason| {
        Row::new(name, clause, bytes, CALM).counted(reason).grows(FLOOD_GROWTH_MAX)
    };
    let many = |count: usize| (0..count).map(|n| format!("x-{n}: {n}\n")).collect::<String>();
    let pairs: Vec<u8> =
        (1..1_000).flat_map(|n| [get_on(2 * n + 1), reset(2 * n + 1)].concat()).collect();
    vec![
        flood(
            "streams opened and reset (CVE-2023-44487)",
            "RFC 9113, 10.5",
            pairs,
            "rapid_reset|frame_flood|http2_stream",
        ),
        flood("PING", "RFC 9113, 10.5", ping().repeat(FLOOD), "frame_flood"),
        flood(
            "answers to PING",
            "RFC 9113, 10.5",
            frame(PING, 1, 0, b"01234567").repeat(FLOOD),
            "frame_flood",
        ),
        flood(
            "SETTINGS",
            "RFC 9113, 10.5",
            frame(SETTINGS, 0, 0, b"").repeat(FLOOD),
            "frame_flood",
        ),
        flood(
            "SETTINGS that change windows",
            "RFC 9113, 10.5",
            [setting(4, 1), setting(4, 2)].concat().repeat(FLOOD),
            "frame_flood",
        ),
        flood("WINDOW_UPDATE", "RFC 9113, 10.5", window(0, 1).repeat(FLOOD), "frame_flood"),
        flood(
            "PRIORITY",
            "RFC 9113, 10.5",
            frame(2, 0, 9, &[0, 0, 0, 3, 200]).repeat(FLOOD),
            "frame_flood",
        ),
        flood(
            "what nobody knows",
            "RFC 9113, 10.5",
            frame(99, 0, 0, b"").repeat(FLOOD),
            "frame_flood",
        ),
        flood(
            "DATA without data",
            "RFC 9113, 10.5",
            [post(""), frame(DATA, 0, 3, b"").repeat(FLOOD)].concat(),
            "frame_flood|http2_stream",
        ),
        flood(
            "CONTINUATION without end (CVE-2024-27316)",
            "RFC 9113, 10.5.1",
            [
                frame(HEADERS, END_STREAM, 3, &[]),
                frame(CONTINUATION, 0, 3, b"\x00\x01a\x01b").repeat(FLOOD),
            ]
            .concat(),
            "frame_flood",
        ),
        Row::new(
            "a hundred fields and more",
            "RFC 6585, 5",
            get(&many(101)),
            "3:431 head_too_large",
        )
        .grows(FLOOD_GROWTH_MAX),
        Row::new("a large head", "RFC 6585, 5", large(HEAD_BYTES_MAX + 1), "3:431 head_too_large")
            .counted("head_too_large")
            .grows(FLOOD_GROWTH_MAX),
        Row::new(
            "a long target",
            "RFC 9110, 15.5.15",
            whole(3, &format!("/{}", "a".repeat(TARGET_BYTES_MAX - 200))),
            "3:200",
        )
        .saw(crate::it::hostile::row::head(
            &format!("GET /{}", "a".repeat(TARGET_BYTES_MAX - 200)),
            "",
            "",
        ))
        .grows(FLOOD_GROWTH_MAX),
    ]
}

/// A request whose fields have so many bytes and more, over several frames.
fn large(bytes: usize) -> Vec<u8> {
    let start = block(":method: GET\n:scheme: http\n:path: /\n:authority: a.test\n");
    let field = block(&format!("x: {}\n", "y".repeat(8_000)));
    let mut frames = frame(HEADERS, END_STREAM, 3, &start);
    let count = bytes / 8_000 + 1;
    for at in 0..count {
        let flags = if at + 1 == count { WHOLE & !END_STREAM } else { 0 };
        frames.extend(frame(CONTINUATION, flags, 3, &field));
    }
    frames
}
