//! What is sent.

use super::super::asking::{Answer, Ask, Content, Framing, all};
use super::super::pair::Pair;

/// Sends a body and takes the backend's word for what arrived.
fn store(pair: &mut Pair, content: &Content, framing: Framing) -> Answer {
    let answer = pair.ask(&Ask::put("/store/body", content, framing));
    assert_eq!(answer.status, 200, "{answer:?}");
    let report = answer.report();
    assert_eq!(report.length, content.length, "{report:?}");
    assert_eq!(report.sha256, content.sha256, "{report:?}");
    answer
}

/// The framing arrives as it was sent, where nothing is between the gateway and who tells it.
fn check_framing(pair: &Pair, answer: &Answer, framing: Framing) {
    let expected = if framing == Framing::Chunked { "chunked" } else { "length" };
    if pair.origin.is_direct() {
        let report = answer.report();
        assert_eq!(report.framing, expected, "{report:?}");
    }
}

pub(super) fn by_length(pair: &mut Pair) {
    let small = pair.contents.small.clone();
    let answer = store(pair, &small, Framing::Length);
    check_framing(pair, &answer, Framing::Length);
}

pub(super) fn in_chunks(pair: &mut Pair) {
    let small = pair.contents.small.clone();
    let answer = store(pair, &small, Framing::Chunked);
    check_framing(pair, &answer, Framing::Chunked);
}

pub(super) fn empty_by_length(pair: &mut Pair) {
    let empty = pair.contents.empty.clone();
    let answer = store(pair, &empty, Framing::Length);
    check_framing(pair, &answer, Framing::Length);
}

pub(super) fn empty_in_chunks(pair: &mut Pair) {
    let empty = pair.contents.empty.clone();
    store(pair, &empty, Framing::Chunked);
}

pub(super) fn large_by_length(pair: &mut Pair) {
    let large = pair.contents.large.clone();
    let answer = store(pair, &large, Framing::Length);
    check_framing(pair, &answer, Framing::Length);
}

pub(super) fn large_in_chunks(pair: &mut Pair) {
    let large = pair.contents.large.clone();
    let answer = store(pair, &large, Framing::Chunked);
    check_framing(pair, &answer, Framing::Chunked);
}

pub(super) fn repeated_headers(pair: &mut Pair) {
    let ask = Ask::get("/headers").header("x-many", "one").header("x-other", "1");
    let answer = pair.ask(&ask.header("x-many", "two").header("x-many", "three"));
    let report = answer.report();
    let joined = ["one, two, three"];
    let expected: &[&str] =
        if pair.client.joins_headers() { &joined } else { &["one", "two", "three"] };
    assert_eq!(all(&report.headers, "x-many"), expected, "{report:?}");
}

pub(super) fn trailers(pair: &mut Pair) {
    let ask = Ask::put("/store/summed", &pair.contents.small, Framing::Chunked);
    let mut ask = ask.header("trailer", "x-sum");
    ask.trailers.push(("x-sum".to_owned(), "7".to_owned()));
    let report = pair.ask(&ask).report();
    assert_eq!(report.length, pair.contents.small.length);
    assert_eq!(all(&report.trailers, "x-sum"), ["7"], "{report:?}");
}

pub(super) fn granted(pair: &mut Pair) {
    let mut ask = Ask::put("/store/granted", &pair.contents.large, Framing::Length);
    ask.expects = true;
    let answer = pair.ask(&ask);
    let report = answer.report();
    assert_eq!(report.sha256, pair.contents.large.sha256, "{report:?}");
    if pair.origin.is_direct() {
        // RFC 9110, 10.1.1: the expectation is for the backend to meet.
        assert_eq!(all(&report.headers, "expect"), ["100-continue"], "{report:?}");
    }
    if pair.client.hears_interim().is_ok() {
        let interim: Vec<_> = answer.interim.iter().map(|interim| interim.status).collect();
        assert!(!interim.is_empty() && interim.iter().all(|status| *status == 100), "{interim:?}");
    }
}

pub(super) fn refused(pair: &mut Pair) {
    let mut ask = Ask::put("/refuse/it", &pair.contents.large, Framing::Length);
    ask.expects = true;
    let answer = pair.ask(&ask);
    assert_eq!(answer.status, 403, "{answer:?}");
    let interim = answer.interim.iter().map(|interim| interim.status).collect::<Vec<_>>();
    assert_eq!(interim, [0_u64; 0], "the body was asked for though it is refused");
    // What follows must not be taken for the body by the backend, nor the body for what follows.
    let small = pair.contents.small.clone();
    store(pair, &small, Framing::Length);
    if pair.origin.is_direct() {
        pair.server.expect(&["refused"], "it");
        assert_eq!(pair.server.count("leaked", "it"), 0, "the body came to the backend");
    }
}
