use super::{Coding, KIND};
use crate::fixture::{self, World, lines};
use base::caps::{DECOMPRESS_MEMBERS_MAX, DECOMPRESS_PIECE_BYTES};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use http_body::{Body as HttpBody, Frame};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use traffic::Body;
use traffic::body::BodyError;

const ALL: [&str; 4] = ["gzip", "br", "zstd", "deflate"];

fn text() -> Vec<u8> {
    (0..4_000)
        .flat_map(|n| format!("line {n} of a text that repeats itself\n").into_bytes())
        .collect()
}

fn packed(coding: &str, data: &[u8]) -> Vec<u8> {
    let level = Compression::new(6);
    match coding {
        "gzip" => {
            let mut encoder = GzEncoder::new(Vec::new(), level);
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        "deflate" => {
            let mut encoder = ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(data).unwrap();
            encoder.finish().unwrap()
        }
        "br" => {
            let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4_096, 5, 22);
            encoder.write_all(data).unwrap();
            encoder.into_inner()
        }
        _ => zstd::stream::encode_all(data, 3).unwrap(),
    }
}

/// A body that comes in pieces of this size, with a pause after each.
struct Slowly(VecDeque<Bytes>, bool);

impl Slowly {
    fn body(data: &[u8], size: usize) -> Body {
        Body::stream(Self(data.chunks(size).map(Bytes::copy_from_slice).collect(), false))
    }
}

impl HttpBody for Slowly {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.1 = !self.1;
        if self.1 {
            return Poll::Pending;
        }
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }
}

/// What a body comes to: its bytes, or the fault and its detail.
fn read(mut body: Body) -> Result<Vec<u8>, String> {
    let mut all = Vec::new();
    loop {
        match Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => {}
            Poll::Ready(None) => return Ok(all),
            Poll::Ready(Some(Ok(frame))) => {
                let data = frame.into_data().unwrap();
                assert!(data.len() <= DECOMPRESS_PIECE_BYTES, "{} bytes at once", data.len());
                all.extend_from_slice(&data);
            }
            Poll::Ready(Some(Err(BodyError::Refused(fault)))) => {
                assert!(fault.closes);
                let detail = fault.detail.as_deref().unwrap_or_default();
                return Err(format!("{} {detail}", fault.code.name()).trim().to_owned());
            }
            Poll::Ready(Some(Err(error))) => return Err(error.to_string()),
        }
    }
}

/// What becomes of a body of these codings under these settings.
fn treated(settings: &Value, codings: &str, body: Body) -> Result<Vec<u8>, String> {
    let mut exchange = fixture::exchange(&format!("POST /\ncontent-encoding: {codings}"));
    exchange.body = body;
    let outcome = fixture::built(&KIND, settings).request(&mut exchange);
    if outcome == "continue" { read(exchange.body) } else { Err(outcome) }
}

fn decoded(codings: &str, data: &[u8]) -> Result<Vec<u8>, String> {
    treated(&json!({}), codings, Body::full(data.to_vec()))
}

#[test]
fn every_coding_gives_what_was_sent_however_it_is_cut() {
    for coding in ALL {
        for data in [text(), b"x".to_vec(), Vec::new(), (0..=255).cycle().take(70_000).collect()] {
            let packed = packed(coding, &data);
            assert_eq!(decoded(coding, &packed).unwrap(), data, "{coding}");
            for size in [1, 7, 1_000] {
                let body = Slowly::body(&packed, size);
                assert_eq!(treated(&json!({}), coding, body).unwrap(), data, "{coding} {size}");
            }
        }
    }
}

#[test]
fn what_is_ready_goes_on_before_the_next_piece_comes() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(b"first").unwrap();
    encoder.flush().unwrap();
    let first = encoder.get_ref().clone();
    encoder.write_all(b"second").unwrap();
    let all = encoder.finish().unwrap();
    let rest = all.get(first.len()..).unwrap().to_vec();
    let mut exchange = fixture::exchange("POST /\ncontent-encoding: gzip");
    exchange.body = Body::stream(Slowly(VecDeque::from([first.into(), rest.into()]), false));
    assert_eq!(fixture::built(&KIND, &json!({})).request(&mut exchange), "continue");
    let mut seen = Vec::new();
    loop {
        match Pin::new(&mut exchange.body).poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(None) => break,
            Poll::Ready(Some(frame)) => {
                let data = frame.unwrap().into_data().unwrap();
                seen.push(String::from_utf8(data.to_vec()).unwrap());
            }
            Poll::Pending => seen.push("pause".to_owned()),
        }
    }
    seen.dedup();
    assert_eq!(seen, ["pause", "first", "pause", "second", "pause"]);
}

#[test]
fn codings_are_taken_off_in_the_reverse_order() {
    let both = packed("br", &packed("gzip", &text()));
    assert_eq!(decoded("gzip, br", &both).unwrap(), text());
    assert_eq!(decoded("identity, x-gzip,, BR", &both).unwrap(), text());
    assert_eq!(decoded("br, gzip", &both), Err("encoding_invalid".to_owned()));
    assert_eq!(decoded("gzip", &both), Err("encoding_invalid".to_owned()));
}

#[test]
fn members_of_gzip_and_frames_of_zstd_follow_each_other() {
    for coding in ["gzip", "zstd"] {
        let two = [packed(coding, b"one, "), packed(coding, b"two")].concat();
        assert_eq!(decoded(coding, &two).unwrap(), b"one, two", "{coding}");
        assert_eq!(treated(&json!({}), coding, Slowly::body(&two, 1)).unwrap(), b"one, two");
    }
    let many = packed("gzip", b"").repeat(DECOMPRESS_MEMBERS_MAX as usize + 1);
    assert_eq!(decoded("gzip", &many), Err("encoding_invalid".to_owned()));
}

#[test]
fn what_is_not_what_it_is_said_to_be_is_refused() {
    let broken = || Err("encoding_invalid".to_owned());
    for coding in ALL {
        let whole = packed(coding, &text());
        assert_eq!(decoded(coding, b"plain text"), broken(), "{coding}");
        assert_eq!(decoded(coding, whole.get(..whole.len() - 1).unwrap()), broken(), "{coding}");
        assert_eq!(decoded(coding, whole.get(..1).unwrap()), broken(), "{coding}");
        let followed = [whole.clone(), b"more".to_vec()].concat();
        assert_eq!(decoded(coding, &followed), broken(), "{coding}");
        let mut flipped = whole.clone();
        // Brotli and zstd as it is usually made have no checksum: only where it must be noticed.
        flipped[whole.len() / 2] ^= 0x55;
        let flipped = decoded(coding, &flipped);
        assert_ne!(flipped.as_deref(), Ok(&*text()), "{coding}");
        if ["gzip", "deflate"].contains(&coding) {
            assert_eq!(flipped, broken(), "{coding}");
        }
    }
    let mut raw = DeflateEncoder::new(Vec::new(), Compression::new(6));
    raw.write_all(&text()).unwrap();
    let raw = raw.finish().unwrap();
    assert_eq!(decoded("deflate", &raw), broken(), "deflate is the zlib format");
}

#[test]
fn a_bomb_is_given_up_long_before_it_is_unpacked() {
    let zeros = vec![0; 3 << 20];
    for coding in ALL {
        let bomb = packed(coding, &zeros);
        let too_much =
            Err("body_too_large it becomes more than 100 times as large as it was sent".into());
        assert_eq!(decoded(coding, &bomb), too_much, "{coding}: {} bytes", bomb.len());
        let settings = json!({ "max_ratio": 4_000_000, "max": "2MiB" });
        let too_large = Err("body_too_large at most 2MiB are accepted here".into());
        assert_eq!(treated(&settings, coding, Body::full(bomb)), too_large, "{coding}");
    }
    let small = vec![0; 64 << 10];
    assert_eq!(decoded("gzip", &packed("gzip", &small)).unwrap(), small, "a little is no bomb");
    let nested = packed("gzip", &packed("gzip", &zeros));
    assert!(decoded("gzip, gzip", &nested).unwrap_err().starts_with("body_too_large"));
}

#[test]
fn what_becomes_much_between_two_decoders_is_refused_too() {
    // Empty members: all of it is nothing, but there is much of it in between.
    let members = packed("gzip", b"").repeat(4_000);
    let inner = [members.as_slice(), &packed("gzip", b"end")].concat();
    let mut frames = Vec::new();
    for _ in 0..40 {
        frames.extend_from_slice(&inner);
    }
    let bomb = packed("br", &frames);
    let error = decoded("gzip, br", &bomb).unwrap_err();
    assert!(error.starts_with("body_too_large") || error == "encoding_invalid", "{error}");
    let skippable = [0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0].repeat(3 << 17);
    let settings = json!({ "max": "1MiB" });
    let endless = treated(&settings, "zstd", Slowly::body(&skippable, 8 << 10)).unwrap_err();
    assert!(endless.starts_with("body_too_large"), "{endless}");
}

#[test]
fn an_announced_length_is_judged_at_once() {
    let settings = json!("1KiB");
    let longest = 1_024 + 64 + 1_024;
    for (length, expected) in
        [(longest, Err("encoding_invalid")), (longest + 1, Err("body_too_large"))]
    {
        let body = Body::full(vec![b'x'; length]);
        assert_eq!(treated(&settings, "gzip", body), expected.map_err(str::to_owned), "{length}");
    }
}

#[test]
fn other_codings_are_refused_and_told_which_are_not() {
    let policy = fixture::built(&KIND, &json!({ "codings": ["zstd", "gzip"] }));
    for (codings, detail) in [
        ("br", "zstd, gzip are accepted here"),
        ("compress", "zstd, gzip are accepted here"),
        ("gzip, aes128gcm", "zstd, gzip are accepted here"),
        ("gzip;q=1", "zstd, gzip are accepted here"),
        ("*", "zstd, gzip are accepted here"),
        ("gzip, gzip, gzip", "at most 2 codings in a row are accepted here"),
        ("gzip\ncontent-range: bytes 0-1/3", "a part of a compressed body cannot be decompressed"),
    ] {
        let mut exchange = fixture::exchange(&format!("POST /\ncontent-encoding: {codings}"));
        exchange.body = Body::full("x");
        let fault = policy.fault(&mut exchange);
        assert_eq!(fault.code.name(), "encoding_unsupported", "{codings}");
        assert_eq!(fault.code.status().as_u16(), 415);
        assert_eq!(fault.detail.as_deref(), Some(detail), "{codings}");
        assert_eq!(fault.headers[0].0, "accept-encoding");
        assert_eq!(fault.headers[0].1, "zstd, gzip");
    }
}

#[test]
fn headers_that_are_true_no_longer_do_not_go_on() {
    let about = "content-encoding: gzip\ncontent-length: 20\ncontent-digest: sha-256=:AA==:\nrepr-digest: sha-256=:AA==:\ndigest: SHA-256=AA==\ncontent-md5: AA==\ncontent-type: text/plain\ngrpc-encoding: gzip\naccept-encoding: br";
    let kept = ["accept-encoding: br", "content-type: text/plain", "grpc-encoding: gzip"];
    let mut exchange = fixture::exchange(&format!("POST /\n{about}"));
    exchange.body = Body::full(packed("gzip", b"x"));
    assert_eq!(fixture::built(&KIND, &json!({})).request(&mut exchange), "continue");
    assert_eq!(lines(&exchange.request.headers), kept);
    assert_eq!(exchange.body.size_hint().exact(), None);
    assert!(exchange.body.copy().is_none(), "what was decoded cannot be sent twice");
}

#[test]
fn what_has_no_coding_passes_untouched() {
    let policy = fixture::built(&KIND, &json!({}));
    for (headers, left) in [
        ("content-length: 1\ncontent-digest: x", "content-digest: x, content-length: 1"),
        ("content-encoding: identity\ncontent-digest: x", "content-digest: x"),
    ] {
        let mut exchange = fixture::exchange(&format!("POST /\n{headers}"));
        exchange.body = Body::full("x");
        assert_eq!(policy.request(&mut exchange), "continue", "{headers}");
        assert_eq!(lines(&exchange.request.headers).join(", "), left);
        assert_eq!(exchange.body.size_hint().exact(), Some(1), "{headers}");
    }
    let mut exchange = fixture::exchange("GET /\ncontent-encoding: gzip");
    assert_eq!(policy.request(&mut exchange), "continue", "there is nothing to decode");
    assert!(exchange.request.headers.is_empty() && exchange.body.is_empty());
}

#[test]
fn decoders_hold_so_much_memory_and_no_more() {
    let world = World::default();
    let policy = world.build(&KIND, &json!({})).unwrap_or_else(|problems| panic!("{problems}"));
    let begin = || {
        let mut exchange = fixture::exchange("POST /\ncontent-encoding: br");
        exchange.body = Body::full(packed("br", b"x"));
        let outcome = policy.request(&mut exchange);
        (outcome, exchange.body)
    };
    let mut bodies = Vec::new();
    for _ in 0..(1 << 30) / Coding::Br.memory_bytes() {
        let (outcome, body) = begin();
        assert_eq!(outcome, "continue");
        bodies.push(body);
    }
    assert_eq!(begin().0, "decoder_busy");
    assert_eq!(read(bodies.pop().unwrap()).unwrap(), b"x");
    assert_eq!(begin().0, "continue");
    bodies.pop();
    assert_eq!(begin().0, "continue", "whoever left needs no room");
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    fixture::refuses(&KIND, &json!({ "codings": [] }), "nothing can be decompressed");
    fixture::refuses(&KIND, &json!({ "codings": ["br", "br"] }), "`br` is named twice");
    fixture::refuses(&KIND, &json!({ "codings": ["lzma"] }), "lzma");
    fixture::refuses(&KIND, &json!({ "max": 0 }), "nothing can come out of nothing");
    fixture::refuses(&KIND, &json!({ "max_ratio": 0 }), "100 is a good beginning");
    fixture::refuses(&KIND, &json!("much"), "is not a size");
    fixture::refuses(&KIND, &json!({ "maximum": "1MiB" }), "unknown field `maximum`");
}
