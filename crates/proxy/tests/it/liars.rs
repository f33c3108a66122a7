//! Every wrong answer has a defined outcome, no client waits for ever, and nothing of one answer is ever
//! taken for another.

use crate::it::kit::{brief, fetch, hear, tell, with_upstream};
use base::caps::INFORMATIONAL_MAX;
use testkit::gateway::BACKEND;
use testkit::{Act, Backend, TestGateway};

const GET: &str = "GET / HTTP/1.1\nhost: a.test\n\n";

fn lying(acts: impl IntoIterator<Item = Act>) -> TestGateway {
    let gateway = with_upstream(&format!("{{ targets: ['{BACKEND}'], retries: 0 }}"));
    gateway.put(BACKEND, Backend::acts(acts));
    gateway
}

fn bytes(text: &str) -> Act {
    Act::Bytes(text.replace('\n', "\r\n").into_bytes())
}

/// Sends these bytes and closes.
async fn check(text: &str, expected: &str) {
    let gateway = lying([bytes(text), Act::Close]);
    let answer = fetch(&gateway, "/").await;
    assert_eq!(brief(&answer), expected, "{text:?}\n{answer}");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_answer_is_told_from_no_answer() {
    check("", "502 upstream_reset").await;
    check("HTTP/1.1 200 OK\ncontent-le", "502 upstream_reset").await;
    for garbage in [
        "garbage\n\n",
        "SSH-2.0-OpenSSH_9.2\n",
        "HTTP/2.0 200 OK\n\n",
        "HTTP/1.1 99 Low\n\n",
        "HTTP/1.1 20 Short\n\n",
        "HTTP/1.1 abc Text\n\n",
        "HTTP/1.1 200 OK\nno colon\n\n",
        "HTTP/1.1 200 OK\n: empty\n\n",
        "HTTP/1.1 200 OK\nx y: space\n\n",
        "\u{0}\u{1}\u{2}\n\n",
    ] {
        check(garbage, "502 upstream_invalid").await;
    }
}

#[tokio::test(start_paused = true)]
async fn headers_cannot_be_injected_through_an_answer() {
    for line in ["x: a\rset-cookie: b", "x: a\u{0}b", "x: a\u{7f}b", "x: a\u{b}b", "x\u{0}y: z"] {
        check(&format!("HTTP/1.1 200 OK\n{line}\n\n"), "502 upstream_invalid").await;
    }
    // A line that goes on (obs-fold) must not become two.
    let gateway = lying([bytes("HTTP/1.1 200 OK\nx: a\n set-cookie: b\n\n"), Act::Close]);
    let answer = fetch(&gateway, "/").await;
    assert!(!answer.contains("\nset-cookie") && !answer.contains("\n set-cookie"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn lengths_that_contradict_themselves_are_refused() {
    for lengths in [
        "content-length: 3\ncontent-length: 5\n",
        "content-length: 3, 5\n",
        "content-length: -1\n",
        "content-length: +3\n",
        "content-length: x\n",
    ] {
        check(&format!("HTTP/1.1 200 OK\n{lengths}\nhello"), "502 upstream_invalid").await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_with_length_and_coding_has_one_length_only_on_its_way_on() {
    let both = "HTTP/1.1 200 OK\ncontent-length: 3\ntransfer-encoding: chunked\n\n5\nhello\n0\n\n";
    let gateway = lying([bytes(both)]);
    let mut io = gateway.connect();
    tell(&mut io, GET).await;
    let answer = hear(&mut io).await;
    let is_refused = brief(&answer) == "502 upstream_invalid";
    let is_chunked = answer == "HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n5\nhello\n0\n\n";
    assert!(is_refused || is_chunked, "{answer}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_is_seen_to_break_off() {
    for answer in [
        "HTTP/1.1 200 OK\ncontent-length: 10\n\nabc",
        "HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n5\nhello\n",
        "HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n5\nhe",
        "HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n5\nhello\nzz\n",
        "HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\nfffffffffffffffff\nhello\n",
    ] {
        let heard = fetch(&lying([bytes(answer), Act::Close]), "/").await;
        // What is wrong at once may be noticed before the head has left.
        let brief = brief(&heard);
        assert!(brief == "200, closed" || brief == "closed", "{answer}\n{heard}");
        assert!(!heard.contains("\n0\n\n"), "it looks whole: {heard}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_after_an_answer_is_never_served_to_the_next_client() {
    let next = "HTTP/1.1 200 OK\nx-poison: 1\ncontent-length: 6\n\npoison";
    for answer in [
        "HTTP/1.1 200 OK\ncontent-length: 2\n\nok",
        "HTTP/1.1 204 No Content\n\n",
        "HTTP/1.1 304 Not Modified\n\n",
        "HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n2\nok\n0\n\n",
    ] {
        let gateway = lying([bytes(&format!("{answer}{next}"))]);
        for _ in 0..3 {
            let heard = fetch(&gateway, "/").await;
            assert!(!heard.contains("poison"), "{answer}: {heard}");
        }
        assert_eq!(gateway.backends.dialled(), 3, "{answer}");
    }
    let gateway = lying([bytes(&format!("HTTP/1.1 200 OK\ncontent-length: 6\n\npoison{next}"))]);
    let mut io = gateway.connect();
    for _ in 0..2 {
        tell(&mut io, "HEAD / HTTP/1.1\nhost: a.test\n\n").await;
        assert!(!hear(&mut io).await.contains("poison"));
    }
}

#[tokio::test(start_paused = true)]
async fn endless_headers_are_cut_off() {
    let many: String = (0..5_000).map(|n| format!("x-{n}: {n}\n")).collect();
    check(&format!("HTTP/1.1 200 OK\n{many}\n"), "502 upstream_invalid").await;
    check(&format!("HTTP/1.1 200 OK\nx: {}\n\n", "y".repeat(1 << 20)), "502 upstream_invalid")
        .await;
    check(&"z".repeat(1 << 20), "502 upstream_invalid").await;
}

#[tokio::test(start_paused = true)]
async fn interim_answers_are_not_the_answer() {
    let ok = "HTTP/1.1 200 OK\ncontent-length: 2\n\nok";
    let hint = "HTTP/1.1 103 Early Hints\nlink: </x>\n\n";
    check(&format!("{hint}{hint}{ok}"), "103, 103, 200").await;
    check(&format!("HTTP/1.1 100 Continue\n\n{ok}"), "200").await;
    let flood = hint.repeat(500);
    let told = "103, ".repeat(INFORMATIONAL_MAX);
    check(&format!("{flood}{ok}"), &format!("{told}502 upstream_invalid")).await;
    let gateway = lying([bytes("HTTP/1.1 100 Continue\n\n"), Act::Hang]);
    let mut io = gateway.connect();
    tell(&mut io, GET).await;
    tokio::time::sleep(std::time::Duration::from_secs(31)).await;
    assert_eq!(brief(&hear(&mut io).await), "504 first_byte_timeout");
    check(
        "HTTP/1.1 101 Switching Protocols\nupgrade: x\nconnection: upgrade\n\n",
        "502 upstream_invalid",
    )
    .await;
}
