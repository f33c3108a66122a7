//! Work that a client causes for nothing. Each flood ends its connection after a bounded number of frames,
//! the gateway serves on, and nothing is left behind.

use crate::it::http2::exchanges::in_flight;
use crate::it::http2::frames::{
    ACK, CONTINUATION, Client, DATA, END_STREAM, HEADERS, PING, PRIORITY, SETTINGS, WHOLE, frame,
    get, head, ping, post, reset, setting, tell_story, window,
};
use crate::it::kit::{accept, played, tell, with_upstream};
use base::caps::{CONTROL_FRAMES_BURST, EARLY_RESETS_BURST, STREAM_ERRORS_MAX, STREAMS_MAX};
use testkit::gateway::BACKEND;
use testkit::{Act, Backend, TestGateway};

/// How often a flood is tried.
const FLOOD: u32 = 10_000;
const CALM: &str = "goaway ENHANCE_YOUR_CALM, closed";

/// How often something was refused for this reason.
fn refused(gateway: &TestGateway, reason: &str) -> f64 {
    let text = gateway.metrics.encode();
    let line = text.lines().find(|line| line.contains(&format!("reason=\"{reason}\"")));
    line.map_or(0.0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
}

/// A gateway whose backend never answers.
fn waiting() -> TestGateway {
    let gateway = with_upstream(&format!("{{ targets: ['{BACKEND}'], retries: 0 }}"));
    gateway.put(BACKEND, Backend::acts([Act::Hang]));
    gateway
}

/// Sends what `make` makes of 1, 2, 3 and so on, so many at a time, until the connection ends. It must be
/// told to calm down within `most` turns, and the gateway must be as it was.
async fn flood(
    gateway: &TestGateway,
    start: &[u8],
    most: u32,
    at_a_time: u32,
    make: impl Fn(u32) -> Vec<u8>,
) {
    let mut client = Client::ready(gateway).await;
    client.say(start).await;
    let mut turns = 0;
    let mut told = String::new();
    while turns < FLOOD && !client.is_closed {
        let bytes: Vec<u8> = (0..at_a_time).flat_map(|more| make(turns + more + 1)).collect();
        turns += at_a_time;
        told = client.say(&bytes).await;
    }
    assert!(told.ends_with(CALM), "{told}");
    assert!(turns <= most + at_a_time, "only after {turns} turns");
    settle().await;
    assert_eq!(in_flight(gateway), 0.0);
    assert_eq!(refused(gateway, "frame_flood") + refused(gateway, "rapid_reset"), 1.0);
    gateway.put(BACKEND, Backend::echo());
    assert_eq!(Client::ready(gateway).await.say(&get(1)).await, "1:200");
}

/// Lets everybody do what is left to do.
async fn settle() {
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
}

/// The id of the nth stream, after one for the start.
fn id(turn: u32) -> u32 {
    2 * turn + 1
}

#[tokio::test(start_paused = true)]
async fn streams_that_are_opened_only_to_be_reset() {
    // CVE-2023-44487. Each pair apart, so that every request has begun before it is reset.
    let gateway = waiting();
    let mut client = Client::ready(&gateway).await;
    let mut pairs = 0;
    while !client.is_closed && pairs < FLOOD {
        pairs += 1;
        client.say(&get(id(pairs))).await;
        client.say(&reset(id(pairs))).await;
    }
    assert!(pairs <= EARLY_RESETS_BURST + 2, "only after {pairs}");
    assert!(gateway.seen().len() <= pairs as usize);
    assert_eq!(in_flight(&gateway), 0.0);
    assert_eq!(refused(&gateway, "rapid_reset"), 1.0);
    // Together, so that few of them have.
    let both = |turn| [get(id(turn)), reset(id(turn))].concat();
    for at_a_time in [10, 100, 1_000] {
        let gateway = waiting();
        flood(&gateway, b"", EARLY_RESETS_BURST + 2, at_a_time, both).await;
        assert!(gateway.seen().len() <= EARLY_RESETS_BURST as usize + 2);
    }
}

#[tokio::test(start_paused = true)]
async fn streams_that_the_gateway_is_made_to_reset() {
    // CVE-2025-8671: the client breaks a rule on each stream it opens.
    for rule in [|id| window(id, (1 << 31) - 1), |id| frame(DATA, END_STREAM, id, b"too long")] {
        let gateway = waiting();
        let most = u32::try_from(STREAM_ERRORS_MAX).unwrap().min(EARLY_RESETS_BURST) + 1;
        let open = |turn| [post(id(turn), "content-length: 3\n"), rule(id(turn))].concat();
        flood(&gateway, b"", most, 1, open).await;
    }
}

#[tokio::test(start_paused = true)]
async fn frames_that_ask_for_nothing() {
    let most = CONTROL_FRAMES_BURST + 10;
    type Make = fn(u32) -> Vec<u8>;
    let frames: [(&str, Make); 9] = [
        ("PING", |_| ping()),
        ("PING answers", |_| frame(PING, ACK, 0, b"01234567")),
        ("SETTINGS", |_| frame(SETTINGS, 0, 0, b"")),
        ("SETTINGS that change windows", |turn| setting(4, turn)),
        ("PRIORITY", |turn| frame(PRIORITY, 0, id(turn), &[0, 0, 0, 0, 1])),
        ("windows of the connection", |_| window(0, 1)),
        ("windows of a stream", |_| window(1, 1)),
        ("resets of a stream that is gone", |_| reset(3)),
        ("what nobody knows", |_| frame(99, 0, 1, b"")),
    ];
    for (name, make) in frames {
        for at_a_time in [1, 64] {
            println!("{name}, {at_a_time}");
            flood(&waiting(), &[get(1), get(3), reset(3)].concat(), most, at_a_time, make).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn data_without_data() {
    let empty = |_| frame(DATA, 0, 1, b"");
    flood(&waiting(), &post(1, ""), 101, 1, empty).await;
    let padded = |_| frame(DATA, 8, 1, b"\x03\0\0\0");
    flood(&waiting(), &post(1, ""), 101, 1, padded).await;
}

#[tokio::test(start_paused = true)]
async fn data_in_crumbs_that_nobody_reads() {
    let (gateway, mut connections) = played("retries: 0");
    let mut client = Client::ready(&gateway).await;
    client.say(&post(1, "")).await;
    let _backend = accept(&mut connections).await;
    // Between gateway and backend there is room for 64 KiB.
    let crumb = frame(DATA, 0, 1, b"x");
    let mut crumbs = 0;
    let mut told = String::new();
    while !client.is_closed && crumbs < 100_000 {
        told = client.say(&crumb.repeat(100)).await;
        crumbs += 100;
    }
    assert_eq!(told, CALM, "after {crumbs}");
    assert!(crumbs <= 30_000, "only after {crumbs}");
    assert_eq!(in_flight(&gateway), 0.0);
}

#[tokio::test(start_paused = true)]
async fn heads_without_end() {
    let start = frame(HEADERS, END_STREAM, 1, &head(""));
    for piece in [&b""[..], b"\x00\x01a\x01b", &[0; 1]] {
        flood(&waiting(), &start, 20, 1, |_| frame(CONTINUATION, 0, 1, piece)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn heads_without_anything() {
    let most = u32::try_from(STREAM_ERRORS_MAX).unwrap() + 1;
    let gateway = waiting();
    flood(&gateway, b"", most, 1, |turn| frame(HEADERS, WHOLE, id(turn), b"")).await;
    assert_eq!(refused(&gateway, "http2_stream"), f64::from(most));
}

#[tokio::test(start_paused = true)]
async fn streams_beyond_the_limit() {
    let start: Vec<u8> = (1..=STREAMS_MAX).flat_map(|turn| get(id(turn))).collect();
    let most = u32::try_from(STREAM_ERRORS_MAX).unwrap() + 1;
    let gateway = waiting();
    flood(&gateway, &start, most, 1, |turn| get(id(STREAMS_MAX + turn))).await;
    assert_eq!(refused(&gateway, "http2_stream"), f64::from(most));
}

#[tokio::test(start_paused = true)]
async fn heads_that_unfold_into_much() {
    // A large entry in the table, named a thousand times by one byte.
    let gateway = TestGateway::with_policies("[]");
    let mut client = Client::ready(&gateway).await;
    let large = [&b"\x40\x01a\x7f\xa1\x1e"[..], &[b'x'; 4_000]].concat();
    let kept = [head(""), large].concat();
    assert_eq!(client.say(&frame(HEADERS, WHOLE, 1, &kept)).await, "1:200");
    let unfolded = [head(""), vec![0xbe; 16_000]].concat();
    assert_eq!(client.say(&frame(HEADERS, WHOLE, 3, &unfolded)).await, CALM);
    assert_eq!(gateway.seen().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_goes_with_requests_and_answers_is_no_flood() {
    let gateway = TestGateway::with_policies("[]");
    let mut client = Client::ready(&gateway).await;
    for turn in 1..=1_000 {
        let id = id(turn);
        let priority = frame(PRIORITY, 0, id, &[0, 0, 0, 0, 1]);
        let update = frame(16, 0, 0, &[0, 0, 0, 1, b'u']);
        assert_eq!(
            client.say(&[get(id), priority, update, ping()].concat()).await,
            format!("{id}:200")
        );
        client.say(&window(0, 400)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_opens_its_window_for_each_frame_is_no_flood() {
    let (gateway, mut connections) = played("retries: 0");
    let mut client = Client::ready(&gateway).await;
    client.tell(&get(1)).await;
    let mut backend = accept(&mut connections).await;
    tell(&mut backend, "HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n").await;
    assert_eq!(client.story().await, "1:200..");
    for _ in 0..1_000 {
        tell(&mut backend, "5\nhello\n").await;
        assert_eq!(tell_story(&client.hear().await), ["1:.."]);
        client.tell(&[window(0, 5), window(1, 5), ping()].concat()).await;
    }
    tell(&mut backend, "0\n\n").await;
    assert_eq!(client.story().await, "1:end");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_changes_its_mind_now_and_then_is_no_flood() {
    let gateway = waiting();
    let mut client = Client::ready(&gateway).await;
    let mut turn = 0;
    // A page that is left while all its requests wait, again and again.
    for _ in 0..10 {
        let ids: Vec<u32> = (0..100)
            .map(|_| {
                turn += 1;
                id(turn)
            })
            .collect();
        let gets: Vec<u8> = ids.iter().flat_map(|id| get(*id)).collect();
        let resets: Vec<u8> = ids.iter().flat_map(|id| reset(*id)).collect();
        assert_eq!(client.say(&gets).await, "");
        assert_eq!(client.say(&resets).await, "");
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    }
    assert_eq!(in_flight(&gateway), 0.0);
}
