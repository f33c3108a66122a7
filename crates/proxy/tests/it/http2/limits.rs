//! Bounds of time and size: on both sides of each.

use crate::it::http2::exchanges::in_flight;
use crate::it::http2::frames::{
    ACK, Client, DATA, END_STREAM, HEADERS, Heard, PING, PREFACE, SETTINGS, WHOLE, WINDOW_UPDATE,
    block, frame, get, head, post, setting, tell_story, window,
};
use crate::it::kit::{CLOSED, accept, hear, hear_bytes, played, tell, tell_bytes};
use base::caps::{
    CONNECTION_AGE_MAX_S, CONNECTION_WINDOW_BYTES, FAREWELL_TIMEOUT_S, FAREWELL_TOTAL_S,
    FRAME_BYTES_MAX, HEAD_TIMEOUT_S, HPACK_TABLE_BYTES, IDLE_TIMEOUT_S, PING_TIMEOUT_S, PULSE_S,
    STREAM_WINDOW_BYTES, STREAMS_MAX, WRITE_TIMEOUT_S,
};
use std::time::Duration;
use testkit::gateway::BACKEND;
use testkit::{Act, Backend, TestGateway};
use tokio::io::AsyncWriteExt as _;

const CALM: &str = "goaway ENHANCE_YOUR_CALM, closed";

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

/// Nothing comes before so many seconds have passed, and this soon after.
async fn check_after(client: &mut Client, seconds: u64, outcome: &str) {
    pass(seconds - 1).await;
    assert_eq!(client.story().await, "", "before {seconds} s");
    pass(PULSE_S + 1).await;
    assert_eq!(client.story().await, outcome, "after {seconds} s");
}

/// The PING among frames.
fn ping_in(frames: &[Heard]) -> &Heard {
    frames.iter().find(|frame| frame.kind == PING).expect("a PING")
}

#[tokio::test(start_paused = true)]
async fn the_settings_say_what_is_allowed() {
    let gateway = TestGateway::with_policies("[]");
    let mut client = Client::new(&gateway);
    client.tell(&[PREFACE, &frame(SETTINGS, 0, 0, b"")].concat()).await;
    let heard = client.hear().await;
    let settings = &heard.first().unwrap().payload;
    let mut said: Vec<(u16, u32)> = Vec::new();
    for pair in settings.chunks(6) {
        let (parameter, value) = pair.split_at(2);
        said.push((
            u16::from_be_bytes(parameter.try_into().unwrap()),
            u32::from_be_bytes(value.try_into().unwrap()),
        ));
    }
    said.sort_unstable();
    let list_bytes = 2 * u32::try_from(base::caps::HEAD_BYTES_MAX).unwrap();
    let expected = [
        (1, HPACK_TABLE_BYTES),
        (3, STREAMS_MAX),
        (4, STREAM_WINDOW_BYTES),
        (5, FRAME_BYTES_MAX),
        (6, list_bytes),
        // RFC 8441, 3.
        (8, 1),
    ];
    assert_eq!(said, expected);
    let more = heard.iter().find(|frame| frame.kind == WINDOW_UPDATE).unwrap();
    assert_eq!(
        (more.stream, &more.payload[..]),
        (0, &(CONNECTION_WINDOW_BYTES - 65_535).to_be_bytes()[..])
    );
}

#[tokio::test(start_paused = true)]
async fn settings_are_waited_for_only_so_long() {
    let gateway = TestGateway::with_policies("[]");
    let mut client = Client::new(&gateway);
    client.tell(PREFACE).await;
    client.hear().await;
    check_after(&mut client, HEAD_TIMEOUT_S, CALM).await;
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_head_is_waited_for_only_so_long() {
    let begun = frame(HEADERS, END_STREAM, 1, &head(""));
    let half = frame(HEADERS, WHOLE, 1, &head(""));
    for bytes in [&begun[..], &half[..20]] {
        let gateway = TestGateway::with_policies("[]");
        let mut client = Client::ready(&gateway).await;
        client.tell(bytes).await;
        check_after(&mut client, HEAD_TIMEOUT_S, CALM).await;
        assert_eq!(gateway.seen(), Vec::<String>::new());
    }
    // Byte by byte is no better.
    let gateway = TestGateway::with_policies("[]");
    let mut client = Client::ready(&gateway).await;
    let bytes = frame(HEADERS, WHOLE, 1, &head("x-a: abcdefghijklmnopqrstuvwxyz\n"));
    let mut seconds = 0;
    for byte in bytes {
        client.tell(&[byte]).await;
        seconds += 1;
        pass(1).await;
        if client.story().await == CALM {
            break;
        }
    }
    assert!((HEAD_TIMEOUT_S..=HEAD_TIMEOUT_S + PULSE_S + 1).contains(&seconds), "{seconds}");
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed() {
    let gateway = TestGateway::with_policies("[]");
    let mut client = Client::ready(&gateway).await;
    pass(IDLE_TIMEOUT_S - 5).await;
    assert_eq!(client.say(&get(1)).await, "1:200");
    pass(IDLE_TIMEOUT_S - 1).await;
    assert_eq!(client.story().await, "");
    // PINGs do not make it busy.
    client.tell(&frame(PING, 0, 0, b"01234567")).await;
    client.hear().await;
    pass(PULSE_S + 1).await;
    let heard = client.hear().await;
    assert_eq!(tell_story(&heard), ["goaway NO_ERROR"]);
    let pong = frame(PING, ACK, 0, &ping_in(&heard).payload);
    assert_eq!(client.say(&pong).await, "goaway NO_ERROR, closed");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_answer_a_goodbye_is_not_waited_for() {
    let gateway = TestGateway::with_policies("[]");
    let mut client = Client::ready(&gateway).await;
    pass(IDLE_TIMEOUT_S + PULSE_S).await;
    assert_eq!(client.story().await, "goaway NO_ERROR");
    pass(PING_TIMEOUT_S - 1).await;
    assert_eq!(client.story().await, "");
    pass(PULSE_S + 1).await;
    assert_eq!(client.story().await, "closed");
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_whose_stream_is_open_is_asked_whether_it_is_there() {
    let (gateway, mut connections) = played("retries: 0, timeouts: { first_byte: 1h }");
    let mut client = Client::ready(&gateway).await;
    client.tell(&get(1)).await;
    let mut backend = accept(&mut connections).await;
    hear(&mut backend).await;
    for _ in 0..3 {
        pass(IDLE_TIMEOUT_S + PULSE_S).await;
        let heard = client.hear().await;
        client.tell(&frame(PING, ACK, 0, &ping_in(&heard).payload)).await;
    }
    assert_eq!(client.story().await, "");
    pass(IDLE_TIMEOUT_S + PING_TIMEOUT_S - 1).await;
    ping_in(&client.hear().await);
    assert!(!client.is_closed);
    pass(PULSE_S + 1).await;
    assert_eq!(client.story().await, "closed");
    assert_eq!(in_flight(&gateway), 0.0);
    assert_eq!(hear(&mut backend).await, CLOSED);
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_is_asked_to_go() {
    let gateway = TestGateway::with_policies("[]");
    let mut client = Client::ready(&gateway).await;
    let mut id = 1;
    let mut seconds = 0;
    let heard = loop {
        client.tell(&get(id)).await;
        let heard = client.hear().await;
        let story = tell_story(&heard);
        if story.iter().any(|told| told == "goaway NO_ERROR") {
            break heard;
        }
        assert_eq!(story, [format!("{id}:200")]);
        pass(15).await;
        (id, seconds) = (id + 2, seconds + 15);
    };
    let tenth = CONNECTION_AGE_MAX_S / 10;
    let range = CONNECTION_AGE_MAX_S - tenth..=CONNECTION_AGE_MAX_S + tenth + 60;
    assert!(range.contains(&seconds), "{seconds}");
    let pong = frame(PING, ACK, 0, &ping_in(&heard).payload);
    assert_eq!(client.say(&pong).await, "goaway NO_ERROR, closed");
}

#[tokio::test(start_paused = true)]
async fn an_answer_goes_out_as_the_windows_open() {
    let (gateway, mut connections) = played("retries: 0");
    let mut client = Client::ready(&gateway).await;
    client.tell(&get(1)).await;
    let mut backend = accept(&mut connections).await;
    let size = 3_000_000;
    tell(&mut backend, &format!("HTTP/1.1 200 OK\ncontent-length: {size}\n\n")).await;
    let fed = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt as _;
        backend.write_all(&vec![b'x'; size]).await.unwrap();
        backend
    });
    let bytes = |frames: &[Heard]| {
        let data = frames.iter().filter(|frame| frame.kind == DATA);
        data.map(|frame| frame.payload.len()).sum::<usize>()
    };
    assert_eq!(bytes(&client.hear().await), 65_535);
    assert!(!fed.is_finished(), "the backend is held back");
    client.tell(&window(0, 10)).await;
    assert_eq!(bytes(&client.hear().await), 0, "one window is not enough");
    client.tell(&window(1, 1_000)).await;
    assert_eq!(bytes(&client.hear().await), 10);
    client.tell(&[window(0, 1 << 30), window(1, 1 << 30)].concat()).await;
    assert_eq!(bytes(&client.hear().await), size - 65_535 - 10);
    fed.await.unwrap();
    assert_eq!(in_flight(&gateway), 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_window_that_stays_closed_ends_its_stream_and_no_other() {
    let (gateway, mut connections) = played("retries: 0, timeouts: { idle: 1h }");
    let mut client = Client::ready(&gateway).await;
    client.tell(&[setting(4, 10), get(1)].concat()).await;
    let mut backend = accept(&mut connections).await;
    tell(&mut backend, "HTTP/1.1 200 OK\ncontent-length: 100\n\n").await;
    tell_bytes(&mut backend, &[b'x'; 100]).await;
    assert_eq!(client.story().await, "1:200..");
    pass(WRITE_TIMEOUT_S - 1).await;
    assert_eq!(client.story().await, "");
    // Opening it counts, by however little.
    client.tell(&window(1, 5)).await;
    assert_eq!(client.story().await, "1:..");
    pass(WRITE_TIMEOUT_S - 1).await;
    assert_eq!(client.story().await, "");
    pass(1).await;
    assert_eq!(client.story().await, "1:CANCEL");
    assert_eq!(in_flight(&gateway), 0.0);
    client.tell(&get(3)).await;
    hear(&mut backend).await;
    tell(&mut backend, "HTTP/1.1 200 OK\ncontent-length: 2\n\nok").await;
    assert_eq!(client.story().await, "3:200");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_opens_a_window_holds_nothing_for_ever() {
    let gateway = TestGateway::with_policies("[]");
    let mut client = Client::ready(&gateway).await;
    client.tell(&setting(4, 0)).await;
    let streams: Vec<u32> = (0..STREAMS_MAX).map(|n| 2 * n + 1).collect();
    let gets: Vec<u8> = streams.iter().flat_map(|id| get(*id)).collect();
    let told = client.say(&gets).await;
    assert_eq!(told.matches(":200..").count(), streams.len(), "{told}");
    assert_eq!(in_flight(&gateway), f64::from(STREAMS_MAX));
    pass(WRITE_TIMEOUT_S).await;
    let told = client.story().await;
    assert_eq!(told.matches(":CANCEL").count(), streams.len(), "{told}");
    assert_eq!(in_flight(&gateway), 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_is_not_waited_for() {
    let (gateway, mut connections) = played("retries: 0, timeouts: { idle: 1h }");
    let mut client = Client::ready(&gateway).await;
    let wide = [setting(4, 1 << 30), window(0, 1 << 30), get(1)].concat();
    client.tell(&wide).await;
    let mut backend = accept(&mut connections).await;
    tell(&mut backend, "HTTP/1.1 200 OK\ncontent-length: 1000000\n\n").await;
    // More than there is room for between gateway and client.
    for _ in 0..10 {
        tell_bytes(&mut backend, &[b'x'; 50_000]).await;
    }
    pass(WRITE_TIMEOUT_S - 1).await;
    assert_eq!(in_flight(&gateway), 1.0);
    pass(PULSE_S + 2).await;
    assert_eq!(in_flight(&gateway), 0.0);
    let (bytes, is_closed) = hear_bytes(&mut client.io).await;
    assert!(is_closed && bytes.len() < 100_000, "{}", bytes.len());
}

#[tokio::test(start_paused = true)]
async fn a_body_is_taken_as_the_backend_takes_it() {
    let (gateway, mut connections) = played("retries: 0");
    let mut client = Client::ready(&gateway).await;
    client.tell(&post(1, "")).await;
    let mut backend = accept(&mut connections).await;
    // As much as the stream's window holds; between gateway and backend there is room for a part of it.
    let piece = frame(DATA, 0, 1, &[b'x'; 16_384]);
    let mut opened = 0;
    for _ in 0..16 {
        client.tell(&piece).await;
        opened += opened_in(&client.hear().await, 1);
    }
    assert!(opened <= 128 << 10, "{opened} bytes are still not read by anybody");
    let mut read = 0;
    while read < 262_144 {
        let (bytes, _) = hear_bytes(&mut backend).await;
        assert!(!bytes.is_empty());
        read += bytes.len();
    }
    opened += opened_in(&client.hear().await, 1);
    assert!(opened > 128 << 10, "{opened} bytes were made room for");
}

/// By how much the window of a stream was opened.
fn opened_in(frames: &[Heard], stream: u32) -> u32 {
    let updates = frames.iter().filter(|f| f.kind == WINDOW_UPDATE && f.stream == stream);
    updates.map(|f| u32::from_be_bytes(f.payload[..4].try_into().unwrap())).sum()
}

#[tokio::test(start_paused = true)]
async fn more_data_than_the_window_allows_resets_the_stream() {
    let (gateway, mut connections) = played("retries: 0");
    let mut client = Client::ready(&gateway).await;
    client.tell(&post(1, "")).await;
    let _backend = accept(&mut connections).await;
    let piece = frame(DATA, 0, 1, &[b'x'; 16_384]);
    let mut told = String::new();
    for _ in 0..40 {
        told = client.say(&piece).await;
        if !told.is_empty() {
            break;
        }
    }
    assert_eq!(told, "1:FLOW_CONTROL_ERROR");
    assert_eq!(in_flight(&gateway), 0.0);
}

#[tokio::test(start_paused = true)]
async fn so_many_streams_and_no_more_at_a_time() {
    let (gateway, _connections) = played("retries: 0");
    let mut client = Client::ready(&gateway).await;
    let streams: Vec<u8> = (0..STREAMS_MAX).flat_map(|n| get(2 * n + 1)).collect();
    assert_eq!(client.say(&streams).await, "");
    assert_eq!(in_flight(&gateway), f64::from(STREAMS_MAX));
    let more = 2 * STREAMS_MAX + 1;
    assert_eq!(client.say(&get(more)).await, format!("{more}:REFUSED_STREAM"));
}

/// A `GET` with so many bytes of headers, in as many frames as it takes.
fn large(stream: u32, bytes: usize) -> Vec<u8> {
    let mut lines = String::new();
    for n in 0..bytes / 1_000 {
        lines.push_str(&format!("x-{n}: {}\n", "y".repeat(1_000 - 32 - 4)));
    }
    let block = head(&lines);
    let mut pieces = block.chunks(16_384);
    let mut frames = frame(HEADERS, END_STREAM, stream, pieces.next().unwrap());
    for piece in pieces {
        frames.extend(frame(9, 0, stream, piece));
    }
    frames.extend(frame(9, 4, stream, b""));
    frames
}

#[tokio::test(start_paused = true)]
async fn a_head_has_so_many_bytes_and_no_more() {
    for (bytes, outcome) in [
        (60_000, "1:200"),
        (66_000, "1:431 head_too_large"),
        (99_000, "1:431 head_too_large"),
        // More than the settings allow gets no words.
        (140_000, "1:431"),
        (170_000, "1:431"),
        (2_000_000, CALM),
    ] {
        let gateway = TestGateway::with_policies("[]");
        let mut client = Client::ready(&gateway).await;
        let told = client.say(&large(1, bytes)).await;
        assert_eq!(told, outcome, "{bytes}");
        assert_eq!(gateway.seen().len(), usize::from(outcome == "1:200"), "{bytes}");
        if !client.is_closed {
            assert_eq!(client.say(&get(3)).await, "3:200", "{bytes}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn trailers_have_so_many_bytes_and_no_more() {
    let trailers = |bytes: usize| -> Vec<u8> {
        let lines = (0..bytes / 1_000).map(|n| format!("x-{n}: {}\n", "y".repeat(1_000 - 36)));
        let block = block(&lines.collect::<String>());
        let mut pieces = block.chunks(16_384);
        let mut frames = frame(HEADERS, END_STREAM, 1, pieces.next().unwrap());
        pieces.for_each(|piece| frames.extend(frame(9, 0, 1, piece)));
        frames.extend(frame(9, 4, 1, b""));
        frames
    };
    for (bytes, is_whole) in [(60_000, true), (70_000, false), (140_000, false)] {
        let (gateway, mut connections) = played("retries: 0");
        let mut client = Client::ready(&gateway).await;
        client.tell(&[post(1, ""), trailers(bytes)].concat()).await;
        let mut backend = accept(&mut connections).await;
        let request = hear(&mut backend).await;
        assert_eq!(request.ends_with("\n\n"), is_whole, "{bytes}");
        assert_eq!(request.ends_with(CLOSED), !is_whole, "{bytes}");
        let told = client.story().await;
        assert_eq!(told, if is_whole { "" } else { "1:400 body_cut" }, "{bytes}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_has_so_many_fields_and_no_more() {
    let gateway = TestGateway::with_policies("[]");
    let mut client = Client::ready(&gateway).await;
    let lines = |count| (0..count).map(|n| format!("x-{n}: 1\n")).collect::<String>();
    assert_eq!(client.say(&frame(HEADERS, WHOLE, 1, &head(&lines(100)))).await, "1:200");
    let told = client.say(&frame(HEADERS, WHOLE, 3, &head(&lines(101)))).await;
    assert_eq!(told, "3:431 head_too_large");
    let same = "x-a: 1\n".repeat(101);
    let told = client.say(&frame(HEADERS, WHOLE, 5, &head(&same))).await;
    assert_eq!(told, "5:431 head_too_large");
}

#[tokio::test(start_paused = true)]
async fn a_target_has_so_many_bytes_and_no_more() {
    let gateway = TestGateway::with_policies("[]");
    gateway.put(BACKEND, Backend::answer("HTTP/1.1 204 No Content\n\n"));
    let mut client = Client::ready(&gateway).await;
    for (stream, bytes, outcome) in
        [(1, 16 << 10, "1:204"), (3, (16 << 10) + 1, "3:414 target_too_long")]
    {
        let path = format!("/{}", "a".repeat(bytes - 1));
        let lines = format!(":method: GET\n:scheme: http\n:path: {path}\n:authority: a.test\n");
        let block = block(&lines);
        let (first, rest) = block.split_at(10_000);
        let frames = [frame(HEADERS, END_STREAM, stream, first), frame(9, 4, stream, rest)];
        assert_eq!(client.say(&frames.concat()).await, outcome);
    }
}

/// A client that was asked to leave and has been told that nothing more comes.
async fn dismissed() -> (TestGateway, Client) {
    let gateway = TestGateway::with_policies("[]");
    let mut client = Client::ready(&gateway).await;
    assert_eq!(client.say(&get(1)).await, "1:200");
    gateway.drain();
    let heard = client.hear().await;
    let asked = heard.iter().find(|frame| frame.kind == PING).unwrap();
    assert_eq!(client.say(&frame(PING, ACK, 0, &asked.payload)).await, "goaway NO_ERROR, closed");
    (gateway, client)
}

/// Whether somebody still reads what the client says.
async fn is_taken(client: &mut Client) -> bool {
    client.io.write_all(&window(0, 1)).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn a_client_may_speak_while_it_reads_what_was_sent_before_the_end() {
    let (_gateway, mut client) = dismissed().await;
    pass(FAREWELL_TIMEOUT_S - 1).await;
    assert!(is_taken(&mut client).await);
    pass(FAREWELL_TIMEOUT_S - 1).await;
    assert!(is_taken(&mut client).await);
    pass(FAREWELL_TIMEOUT_S + 1).await;
    assert!(!is_taken(&mut client).await, "it was silent for too long");

    let (_gateway, mut client) = dismissed().await;
    let mut seconds = 0;
    while is_taken(&mut client).await {
        pass(1).await;
        seconds += 1;
    }
    assert!((FAREWELL_TOTAL_S..=FAREWELL_TOTAL_S + 1).contains(&seconds), "{seconds}");

    let (gateway, mut client) = dismissed().await;
    gateway.stop();
    pass(1).await;
    assert!(!is_taken(&mut client).await, "the gateway has ended");
}

#[tokio::test(start_paused = true)]
async fn requests_that_wait_for_their_answers_hold_no_windows() {
    let piece = vec![b'x'; FRAME_BYTES_MAX as usize];
    let announced = format!("content-length: {FRAME_BYTES_MAX}\n");
    // The end comes with the last piece, after it, or is known without being told.
    for (lines, flags, end) in
        [("", END_STREAM, false), ("", 0, true), (announced.as_str(), 0, false)]
    {
        let gateway = TestGateway::with_policies("[]");
        gateway.put(BACKEND, Backend::acts([Act::Hang]));
        let mut client = Client::ready(&gateway).await;
        let mut window = CONNECTION_WINDOW_BYTES;
        for turn in 0..STREAMS_MAX {
            let id = 2 * turn + 1;
            assert!(window >= FRAME_BYTES_MAX, "{turn} requests hold all of it");
            window -= FRAME_BYTES_MAX;
            client.tell(&[post(id, lines), frame(DATA, flags, id, &piece)].concat()).await;
            if end {
                client.tell(&frame(DATA, END_STREAM, id, b"")).await;
            }
            let heard = client.hear().await;
            let more =
                heard.iter().filter(|frame| (frame.kind, frame.stream) == (WINDOW_UPDATE, 0));
            let bytes = more.map(|frame| u32::from_be_bytes(frame.payload[..].try_into().unwrap()));
            window += bytes.sum::<u32>();
        }
        assert_eq!(gateway.seen().len(), STREAMS_MAX as usize);
    }
}
