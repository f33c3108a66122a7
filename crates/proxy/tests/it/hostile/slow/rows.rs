use crate::it::hostile::row::{FLOOD_GROWTH_MAX, get, post};
use crate::it::hostile::slow::{Backend, Say, Slow, Speaks};
use crate::it::http2::frames::{
    DATA, END_HEADERS, HEADERS, block, frame, get as get2, post as post2, setting, window,
};
use base::caps::{
    BODY_GRACE_S, HEAD_TIMEOUT_S, IDLE_TIMEOUT_S, PING_TIMEOUT_S, PULSE_S, STREAMS_MAX,
    WRITE_TIMEOUT_S,
};

/// Seconds of silence within an answer or a request, unless the config says otherwise.
const SILENCE_S: u64 = 60;
/// Seconds until an answer must have begun, unless the config says otherwise.
const FIRST_BYTE_S: u64 = 30;
/// What is said once.
const ONCE: (&str, u64) = ("", 0);

pub(crate) fn rows() -> Vec<Slow> {
    let mut rows = heads();
    rows.extend(bodies());
    rows.extend(readers());
    rows.extend(backends());
    rows
}

fn row(
    name: &'static str,
    clause: &'static str,
    first: impl Into<Vec<u8>>,
    again: (&str, u64),
) -> Slow {
    Slow {
        name,
        clause,
        speaks: Speaks::Http1,
        says: Say { first: first.into(), then: again.0.into(), every_s: again.1 },
        reads: true,
        backend: Backend::Answers,
        outcome: "closed".to_owned(),
        within_s: (HEAD_TIMEOUT_S, HEAD_TIMEOUT_S + 1),
        growth_max: 256 << 10,
    }
}

impl Slow {
    fn http2(self) -> Self {
        Self { speaks: Speaks::Http2, ..self }
    }

    fn until(self, outcome: impl Into<String>, from_s: u64, to_s: u64) -> Self {
        Self { outcome: outcome.into(), within_s: (from_s, to_s), ..self }
    }

    fn before(self, backend: Backend) -> Self {
        Self { backend, ..self }
    }

    fn grows(self) -> Self {
        Self { growth_max: FLOOD_GROWTH_MAX, ..self }
    }

    fn grows_to(self, growth_max: u64) -> Self {
        Self { growth_max, ..self }
    }

    fn reads_nothing(self) -> Self {
        Self { reads: false, ..self.grows() }
    }
}

fn heads() -> Vec<Slow> {
    let clause = "RFC 9112, 9.5";
    let calm = "goaway ENHANCE_YOUR_CALM, closed";
    let open = frame(HEADERS, 1, 1, &block(":method: GET\n:scheme: http\n"));
    vec![
        row("nothing", clause, "", ONCE),
        row("half a head, and nothing more", clause, "GET / HTTP/1.1\r\nhost: a", ONCE),
        row("a byte of a head every 10 s", clause, "G", ("E", 10)),
        row("a field every second", clause, "GET / HTTP/1.1\r\nhost: a.test\r\n", ("x: y\r\n", 1)),
        row("a line without end, slowly", clause, "GET /", ("a", 1)),
        row("half a preface of HTTP/2", clause, "PRI * HTTP/2.0\r\n\r\nSM", ONCE),
        row("half a second head", clause, [get(""), b"GET /".to_vec()].concat(), ONCE).until(
            "200, closed",
            HEAD_TIMEOUT_S,
            HEAD_TIMEOUT_S + 1,
        ),
        row("silence after an answer", clause, get(""), ONCE).until(
            "200, closed",
            IDLE_TIMEOUT_S,
            IDLE_TIMEOUT_S + 1,
        ),
        row("silence on a connection", clause, "", ONCE).http2().until(
            "goaway NO_ERROR, closed",
            IDLE_TIMEOUT_S + PING_TIMEOUT_S,
            IDLE_TIMEOUT_S + PING_TIMEOUT_S + 2 * PULSE_S,
        ),
        row("a head that is not ended", "RFC 9113, 10.5", open, ONCE).http2().until(
            calm,
            HEAD_TIMEOUT_S,
            HEAD_TIMEOUT_S + PULSE_S + 1,
        ),
    ]
}

fn bodies() -> Vec<Slow> {
    let clause = "RFC 9110, 15.5.9";
    let slow = "408 body_timeout, closed";
    let ten = "content-length: 1000000\r\n";
    let chunked = "transfer-encoding: chunked\r\n";
    let grace = (BODY_GRACE_S, BODY_GRACE_S + 1);
    vec![
        row("a body that does not begin", clause, post(ten, ""), ONCE)
            .until(slow, grace.0, grace.1),
        row("a body that stops", clause, post(ten, "abc"), ONCE).until(slow, grace.0, grace.1),
        row("a byte every 5 s", clause, post(ten, "a"), ("a", 5)).until(slow, grace.0, grace.1),
        row("a chunk of one byte every 5 s", clause, post(chunked, ""), ("1\r\na\r\n", 5))
            .until(slow, grace.0, grace.1),
        row("less than the least rate", clause, post(ten, ""), (&"a".repeat(60), 1))
            .until(slow, 100, 600),
        row("a pause after much", clause, post(ten, &"a".repeat(32_000)), ONCE).until(
            slow,
            SILENCE_S,
            SILENCE_S + 1,
        ),
        row(
            "the least rate is enough",
            clause,
            post("content-length: 20000\r\n", ""),
            (&"a".repeat(100), 1),
        )
        .until("200", 200, 201),
        row("a body that stops", clause, [post2(1, ""), frame(DATA, 0, 1, b"abc")].concat(), ONCE)
            .http2()
            .until("1:408 body_timeout, 1:NO_ERROR", SILENCE_S, SILENCE_S + 1),
    ]
}

fn readers() -> Vec<Slow> {
    let clause = "RFC 9112, 9.5";
    let ask = frame(
        HEADERS,
        END_HEADERS | 1,
        1,
        &block(":method: GET\n:scheme: http\n:path: /\n:authority: a.test\n"),
    );
    vec![
        row("reads nothing", clause, get(""), ONCE).before(Backend::Floods).reads_nothing().until(
            "200, closed",
            WRITE_TIMEOUT_S,
            WRITE_TIMEOUT_S + 2,
        ),
        row("reads nothing, and asks a thousand times", clause, get("").repeat(1_000), ONCE)
            .before(Backend::Floods)
            .reads_nothing()
            .until("200, closed", WRITE_TIMEOUT_S, WRITE_TIMEOUT_S + 2),
        row(
            "reads nothing, its windows wide open",
            clause,
            [setting(4, 1 << 30), window(0, 1 << 30), get2(1)].concat(),
            ONCE,
        )
        .http2()
        .before(Backend::Floods)
        .reads_nothing()
        .grows_to(768 << 10)
        .until("1:200.., 1:CANCEL", WRITE_TIMEOUT_S, WRITE_TIMEOUT_S + 2),
        row(
            "reads nothing on all streams, its windows wide open",
            "RFC 9113, 10.5",
            wide_open(),
            ONCE,
        )
        .http2()
        .before(Backend::Floods)
        .reads_nothing()
        .grows_to(32 << 20)
        .until(
            format!("{STREAMS_MAX} streams CANCEL"),
            WRITE_TIMEOUT_S,
            WRITE_TIMEOUT_S + 2 * PULSE_S,
        ),
        row("opens no window", "RFC 9113, 10.5", [setting(4, 0), ask].concat(), ONCE)
            .http2()
            .before(Backend::Floods)
            .grows()
            .until("1:200.., 1:CANCEL", WRITE_TIMEOUT_S, WRITE_TIMEOUT_S + 1),
    ]
}

fn backends() -> Vec<Slow> {
    let clause = "RFC 9110, 15.6.5";
    let late = "504 first_byte_timeout";
    let says = |first: &str, then: &str, every_s| {
        Backend::Says(Say { first: first.into(), then: then.into(), every_s })
    };
    let ask = |name, backend| row(name, clause, get(""), ONCE).before(backend);
    vec![
        ask("a backend that says nothing", says("", "", 0)).until(
            late,
            FIRST_BYTE_S,
            FIRST_BYTE_S + 1,
        ),
        ask("a backend that says a byte of a head every 10 s", says("H", "T", 9)).until(
            late,
            FIRST_BYTE_S,
            FIRST_BYTE_S + 1,
        ),
        ask("a backend that says a field every second", says("HTTP/1.1 200 OK\r\n", "x: y\r\n", 1))
            .until(late, FIRST_BYTE_S, FIRST_BYTE_S + 1),
        ask("a backend that hints every 10 s", says("", "HTTP/1.1 103 x\r\n\r\n", 9)).until(
            "103, 103, 103, 504 first_byte_timeout",
            FIRST_BYTE_S,
            FIRST_BYTE_S + 1,
        ),
        ask(
            "a backend that stops in an answer",
            says("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", "", 0),
        )
        .until("200, closed", SILENCE_S, SILENCE_S + 1),
        ask(
            "a backend that stops in a chunk",
            says("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabc", "", 0),
        )
        .until("200, closed", SILENCE_S, SILENCE_S + 1),
        ask(
            "a backend that stops before a connection's end",
            says("HTTP/1.1 200 OK\r\n\r\nabc", "", 0),
        )
        .until("200, closed", SILENCE_S, SILENCE_S + 1),
        row("a backend that stops in an answer", clause, get2(1), ONCE)
            .http2()
            .before(says("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", "", 0))
            .until("1:200.., 1:INTERNAL_ERROR", SILENCE_S, SILENCE_S + 1),
        row(
            "a backend that takes nothing",
            clause,
            post("content-length: 1000000\r\n", &"a".repeat(500_000)),
            (&"a".repeat(1_000), 1),
        )
        .before(Backend::Deaf)
        .grows()
        .until("504 first_byte_timeout, closed", SILENCE_S, SILENCE_S + 1),
    ]
}

/// As many streams as may be.
fn wide_open() -> Vec<u8> {
    let open = [setting(4, 1 << 30), window(0, 1 << 30)].concat();
    let streams = (0..STREAMS_MAX).map(|number| get2(2 * number + 1));
    streams.fold(open, |all, one| [all, one].concat())
}
