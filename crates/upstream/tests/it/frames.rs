//! Targets that speak HTTP/2 frame by frame, as they like.

use super::kit::{
    At, Net, exchange, fed, get, in_flight, post, read, send, send_within, settle, spec, world,
};
use bytes::Bytes;
use http::header::EXPECT;
use http::{HeaderValue, StatusCode};
use http_body::Frame as Piece;
use http_body_util::BodyExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc::Receiver;
use traffic::body::BodyError;
use traffic::upstream::{Call, Timeouts, Upstream};
use traffic::{Body, FaultCode, Interim};
use upstream::{Protocol, UpstreamSpec, build};

const AT: &str = "192.0.2.1:8080";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// `:status: 200` in HPACK (RFC 7541, appendix A).
const OK: &[u8] = &[0x88];

/// One frame.
#[derive(Debug)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

/// A target's end of a connection.
struct Peer(DuplexStream);

impl Peer {
    /// Takes the next connection, and sends SETTINGS.
    async fn meet(accepted: &mut Receiver<DuplexStream>, settings: &[(u16, u32)]) -> Self {
        let mut io = accepted.recv().await.unwrap();
        let mut preface = [0; 24];
        io.read_exact(&mut preface).await.unwrap();
        assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let mut peer = Self(io);
        peer.settings(settings).await;
        peer.write(SETTINGS, ACK, 0, &[]).await;
        peer
    }

    async fn settings(&mut self, settings: &[(u16, u32)]) {
        let mut payload = Vec::new();
        for (name, value) in settings {
            payload.extend(name.to_be_bytes());
            payload.extend(value.to_be_bytes());
        }
        self.write(SETTINGS, 0, 0, &payload).await;
    }

    async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.0.write_all(&frame).await.unwrap();
    }

    /// The next frame but for SETTINGS, windows and, unless they are looked for, PINGs, which are answered.
    async fn next(&mut self) -> Frame {
        loop {
            let frame = self.any().await;
            match frame.kind {
                PING if frame.flags == 0 => self.write(PING, ACK, 0, &frame.payload).await,
                SETTINGS | WINDOW | PING => {}
                _ => return frame,
            }
        }
    }

    async fn any(&mut self) -> Frame {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.0.read_exact(&mut payload).await.unwrap();
        Frame { kind: head[3], flags: head[4], stream, payload }
    }

    /// The next request's stream; there must be one.
    async fn request(&mut self) -> u32 {
        let frame = self.next().await;
        assert_eq!(frame.kind, HEADERS, "{frame:?}");
        frame.stream
    }

    async fn answer(&mut self, stream: u32, body: &[u8]) {
        self.write(HEADERS, END_HEADERS, stream, OK).await;
        self.write(DATA, END_STREAM, stream, body).await;
    }

    async fn go_away(&mut self, last: u32, reason: u32) {
        let payload = [last.to_be_bytes(), reason.to_be_bytes()].concat();
        self.write(GOAWAY, 0, 0, &payload).await;
    }

    async fn reset(&mut self, stream: u32, reason: u32) {
        self.write(RESET, 0, stream, &reason.to_be_bytes()).await;
    }
}

fn http2(net: &Arc<Net>) -> Arc<dyn Upstream> {
    build(UpstreamSpec { protocol: Protocol::Http2, ..spec(&[AT]) }, &world(net)).unwrap()
}

fn target() -> (Arc<Net>, Receiver<DuplexStream>, Arc<dyn Upstream>) {
    let net = Arc::new(Net::default());
    let accepted = net.listen(AT);
    let upstream = http2(&net);
    (net, accepted, upstream)
}

#[tokio::test]
async fn requests_that_a_goaway_leaves_out_are_sent_again_whatever_their_method() {
    let (net, mut accepted, upstream) = target();
    let first = tokio::spawn(send(&upstream, post(Body::full("one"))));
    let mut peer = Peer::meet(&mut accepted, &[]).await;
    let kept = peer.request().await;
    peer.next().await;
    let second = tokio::spawn(send(&upstream, post(Body::full("two"))));
    peer.request().await;
    peer.next().await;
    peer.go_away(kept, 0).await;
    let mut other = Peer::meet(&mut accepted, &[]).await;
    let stream = other.request().await;
    assert_eq!(other.next().await.payload, b"two");
    other.answer(stream, b"elsewhere").await;
    assert_eq!(read(second.await.unwrap().unwrap()).await, "elsewhere");
    peer.answer(kept, b"here").await;
    assert_eq!(read(first.await.unwrap().unwrap()).await, "here", "those before it go on");
    assert_eq!((net.dials(), in_flight(&upstream)), (2, 0));
}

#[tokio::test]
async fn a_refused_request_is_handed_back_whole() {
    let (_net, mut accepted, upstream) = target();
    let (_feeder, body) = fed();
    let sending = tokio::spawn(send(&upstream, post(body)));
    let mut peer = Peer::meet(&mut accepted, &[]).await;
    let stream = peer.request().await;
    peer.reset(stream, 7).await;
    let failed = sending.await.unwrap().unwrap_err();
    assert_eq!(failed.fault.code, FaultCode::UpstreamReset);
    // The client was asked for its body already: what it says from now on cannot be sent twice.
    assert!(failed.unsent.is_none());
    let sending = tokio::spawn(send(&upstream, post(Body::full("data"))));
    let stream = peer.request().await;
    peer.reset(stream, 7).await;
    let mut other = Peer::meet(&mut accepted, &[]).await;
    let stream = other.request().await;
    other.reset(stream, 7).await;
    let failed = sending.await.unwrap().unwrap_err();
    let unsent = failed.unsent.unwrap();
    assert_eq!(unsent.headers["host"], "api.test");
    assert_eq!(unsent.body.collect().await.unwrap().to_bytes(), "data");
}

#[tokio::test]
async fn a_request_that_was_not_refused_is_not_repeated() {
    for reason in [0, 2, 8, 11] {
        let (net, mut accepted, upstream) = target();
        let sending = tokio::spawn(send(&upstream, post(Body::full("data"))));
        let mut peer = Peer::meet(&mut accepted, &[]).await;
        let stream = peer.request().await;
        peer.reset(stream, reason).await;
        let failed = sending.await.unwrap().unwrap_err();
        assert_eq!(failed.fault.code, FaultCode::UpstreamReset, "{reason}");
        assert!(failed.unsent.is_none());
        assert_eq!((net.dials(), in_flight(&upstream)), (1, 0));
    }
}

#[tokio::test]
async fn a_connection_that_ended_before_a_byte_was_sent_costs_nothing() {
    let (net, mut accepted, upstream) = target();
    let sending = tokio::spawn(send(&upstream, get()));
    let mut peer = Peer::meet(&mut accepted, &[]).await;
    let stream = peer.request().await;
    peer.answer(stream, b"hello").await;
    read(sending.await.unwrap().unwrap()).await;
    // The connection's task had no turn yet when the next request is begun.
    drop(peer);
    let sending = tokio::spawn(send(&upstream, post(Body::full("data"))));
    let mut peer = Peer::meet(&mut accepted, &[]).await;
    let stream = peer.request().await;
    peer.answer(stream, b"again").await;
    assert_eq!(read(sending.await.unwrap().unwrap()).await, "again");
    assert_eq!(net.dials(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_body_waits_for_the_targets_window_and_for_no_longer_than_idle() {
    let (_net, mut accepted, upstream) = target();
    let sending = tokio::spawn(send(&upstream, post(Body::full("hello"))));
    // SETTINGS_INITIAL_WINDOW_SIZE
    let mut peer = Peer::meet(&mut accepted, &[(4, 0)]).await;
    let stream = peer.request().await;
    let early = tokio::time::timeout(Duration::from_secs(1), peer.next());
    assert!(early.await.is_err(), "there is no window");
    peer.write(WINDOW, 0, stream, &5u32.to_be_bytes()).await;
    assert_eq!(peer.next().await.payload, b"hello");
    peer.answer(stream, b"").await;
    sending.await.unwrap().unwrap();
    let limits = Timeouts { idle: Some(Duration::from_secs(3)), ..Timeouts::default() };
    let sending = tokio::spawn(send_within(&upstream, post(Body::full("hello")), limits));
    peer.request().await;
    let failed = sending.await.unwrap().unwrap_err();
    assert_eq!(failed.fault.code, FaultCode::FirstByteTimeout);
    assert!(failed.unsent.is_none());
    assert_eq!(peer.next().await.kind, RESET, "the target learns of it");
}

#[tokio::test(start_paused = true)]
async fn a_dead_connection_is_found_within_seconds_and_not_used_again() {
    let (net, mut accepted, upstream) = target();
    let sending = tokio::spawn(send(&upstream, get()));
    let mut peer = Peer::meet(&mut accepted, &[]).await;
    peer.request().await;
    let within = tokio::time::timeout(Duration::from_secs(15), sending);
    let failed = within.await.unwrap().unwrap().unwrap_err();
    assert_eq!(failed.fault.code, FaultCode::UpstreamReset);
    let cause = failed.fault.cause.unwrap().to_string();
    assert_eq!(cause, "the target does not answer PING");
    assert!(failed.unsent.is_none());
    let sending = tokio::spawn(send(&upstream, get()));
    let mut peer = Peer::meet(&mut accepted, &[]).await;
    let stream = peer.request().await;
    peer.answer(stream, b"hello").await;
    read(sending.await.unwrap().unwrap()).await;
    assert_eq!(net.dials(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_target_that_answers_pings_may_take_its_time() {
    let (net, mut accepted, upstream) = target();
    let sending = tokio::spawn(send(&upstream, get()));
    let mut peer = Peer::meet(&mut accepted, &[]).await;
    let stream = peer.request().await;
    let patience = tokio::time::timeout(Duration::from_secs(100), peer.next());
    assert!(patience.await.is_err());
    peer.answer(stream, b"at last").await;
    assert_eq!(read(sending.await.unwrap().unwrap()).await, "at last");
    assert_eq!(net.dials(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_makes_others_use_another_connection_until_the_target_says_something() {
    let (net, mut accepted, upstream) = target();
    let limits = Timeouts { first_byte: Some(Duration::from_secs(1)), ..Timeouts::default() };
    let sending = tokio::spawn(send_within(&upstream, get(), limits));
    let mut peer = Peer::meet(&mut accepted, &[]).await;
    peer.request().await;
    let failed = sending.await.unwrap().unwrap_err();
    assert_eq!(failed.fault.code, FaultCode::FirstByteTimeout);
    let sending = tokio::spawn(send(&upstream, get()));
    let mut other = Peer::meet(&mut accepted, &[]).await;
    let stream = other.request().await;
    other.answer(stream, b"").await;
    read(sending.await.unwrap().unwrap()).await;
    assert_eq!(net.dials(), 2);
}

#[tokio::test]
async fn no_more_requests_share_a_connection_than_the_target_allows() {
    let (net, mut accepted, upstream) = target();
    let mut sent = Vec::new();
    let mut peers = Vec::new();
    for _ in 0..3 {
        sent.push(tokio::spawn(send(&upstream, get())));
        // SETTINGS_MAX_CONCURRENT_STREAMS
        let mut peer = Peer::meet(&mut accepted, &[(3, 1)]).await;
        let stream = peer.request().await;
        peers.push((peer, stream));
    }
    assert_eq!(net.dials(), 3);
    peers[0].0.settings(&[(3, 2)]).await;
    settle().await;
    sent.push(tokio::spawn(send(&upstream, get())));
    let stream = peers[0].0.request().await;
    peers[0].0.answer(stream, b"").await;
    for (peer, stream) in &mut peers {
        peer.answer(*stream, b"").await;
    }
    for sent in sent {
        read(sent.await.unwrap().unwrap()).await;
    }
    assert_eq!(net.dials(), 3);
}

/// The paused time of the test.
#[expect(clippy::disallowed_methods, reason = "waits go by the paused time")]
fn now() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

#[tokio::test(start_paused = true)]
async fn when_every_connection_is_full_requests_wait_their_turn() {
    let net = Arc::new(Net::default());
    let mut accepted = net.listen(AT);
    let world = world(&net);
    let spec = UpstreamSpec { protocol: Protocol::Http2, ..spec(&[AT]) };
    let upstream = build(spec, &world).unwrap();
    let limits = Timeouts { connect: Some(Duration::from_secs(5)), ..Timeouts::default() };
    let sent: Vec<_> =
        (0..33).map(|_| tokio::spawn(send_within(&upstream, get(), limits))).collect();
    let mut peers = Vec::new();
    for _ in 0..32 {
        let mut peer = Peer::meet(&mut accepted, &[(3, 1)]).await;
        let stream = peer.request().await;
        peers.push((peer, stream));
    }
    settle().await;
    assert_eq!(net.dials(), 32, "the next one waits");
    let (peer, stream) = &mut peers[9];
    peer.answer(*stream, b"").await;
    let last = peer.request();
    let stream = tokio::time::timeout(Duration::from_secs(1), last).await;
    // The answer's place is given back when it was read.
    assert!(stream.is_err());
    let mut sent = sent.into_iter();
    let done = sent.nth(9).unwrap().await.unwrap().unwrap();
    read(done).await;
    peers[9].0.request().await;
    tokio::time::advance(Duration::from_secs(5)).await;
    let began = now();
    let failed = send_within(&upstream, get(), limits).await.unwrap_err();
    assert_eq!(failed.fault.code, FaultCode::UpstreamBusy);
    assert!(failed.unsent.is_some());
    assert_eq!(began.elapsed().as_millis(), u128::from(base::caps::STREAM_WAIT_MS));
    let failures = world.metrics.target("orders", AT).failures.sum();
    assert_eq!(failures, 0, "that others use a target is no failure of its own");
}

#[tokio::test(start_paused = true)]
async fn a_target_that_says_nothing_at_all_is_not_connected() {
    let (_net, mut accepted, upstream) = target();
    let limits = Timeouts { connect: Some(Duration::from_secs(5)), ..Timeouts::default() };
    let sending = tokio::spawn(send_within(&upstream, post(Body::full("data")), limits));
    let _io = accepted.recv().await.unwrap();
    let failed = sending.await.unwrap().unwrap_err();
    assert_eq!(failed.fault.code, FaultCode::ConnectTimeout);
    assert!(failed.unsent.is_some());
}

#[tokio::test]
async fn what_is_not_http2_is_told_from_a_broken_connection() {
    // No status; a status that is none; a 101; a name with a capital; a connection's header; far too many
    // headers; a body longer than announced.
    let many: Vec<u8> = OK.iter().copied().chain([0x40, 1, b'a', 1, b'b'].repeat(200)).collect();
    let invalid: [&[u8]; 6] = [
        &[0x00, 1, b'a', 1, b'b'],
        &[0x08, 2, b'x', b'y'],
        &[0x08, 3, b'1', b'0', b'1'],
        &[0x88, 0x00, 1, b'A', 1, b'b'],
        &[0x88, 0x00, 7, b'u', b'p', b'g', b'r', b'a', b'd', b'e', 1, b'x'],
        &many,
    ];
    for head in invalid {
        let (_net, mut accepted, upstream) = target();
        let sending = tokio::spawn(send(&upstream, get()));
        let mut peer = Peer::meet(&mut accepted, &[]).await;
        let stream = peer.request().await;
        peer.write(HEADERS, END_HEADERS | END_STREAM, stream, head).await;
        let failed = sending.await.unwrap().unwrap_err();
        assert_eq!(failed.fault.code, FaultCode::UpstreamInvalid, "{head:?}: {:?}", failed.fault);
        assert!(failed.unsent.is_none());
        assert_eq!(in_flight(&upstream), 0);
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let (_net, mut accepted, upstream) = target();
    let sending = tokio::spawn(send(&upstream, get()));
    let mut peer = Peer::meet(&mut accepted, &[]).await;
    let stream = peer.request().await;
    // A value of 16 000 bytes, five times, in frames of one block.
    let mut field = vec![0x00, 1, b'a', 0x7f];
    field.extend([0x81, 0x7c]);
    field.extend([b'x'; 16_000]);
    let (first, rest) = field.split_at(9);
    let mut head = OK.to_vec();
    head.extend(first);
    peer.write(HEADERS, 0, stream, &head).await;
    peer.write(9, 0, stream, rest).await;
    for _ in 0..3 {
        peer.write(9, 0, stream, &field).await;
    }
    peer.write(9, END_HEADERS, stream, &field).await;
    let failed = sending.await.unwrap().unwrap_err();
    assert_eq!(failed.fault.code, FaultCode::UpstreamInvalid, "{:?}", failed.fault.cause);
}

#[tokio::test]
async fn an_answer_that_is_reset_is_cut_unless_it_was_complete() {
    let (_net, mut accepted, upstream) = target();
    let (_feeder, body) = fed();
    let sending = tokio::spawn(send(&upstream, post(body)));
    let mut peer = Peer::meet(&mut accepted, &[]).await;
    let stream = peer.request().await;
    peer.answer(stream, b"no thanks").await;
    peer.reset(stream, 0).await;
    assert_eq!(read(sending.await.unwrap().unwrap()).await, "no thanks");
    for reason in [2, 8] {
        let sending = tokio::spawn(send(&upstream, get()));
        let stream = peer.request().await;
        peer.write(HEADERS, END_HEADERS, stream, OK).await;
        peer.write(DATA, 0, stream, b"half").await;
        let response = sending.await.unwrap().unwrap();
        peer.reset(stream, reason).await;
        let error = response.body.collect().await.unwrap_err();
        assert!(matches!(error, BodyError::Cut(_)), "{error:?}");
        assert_eq!(in_flight(&upstream), 0);
    }
}

#[tokio::test]
async fn an_answer_shorter_or_longer_than_announced_is_cut() {
    for body in [&b"hell"[..], b"hello!"] {
        let (_net, mut accepted, upstream) = target();
        let sending = tokio::spawn(send(&upstream, get()));
        let mut peer = Peer::meet(&mut accepted, &[]).await;
        let stream = peer.request().await;
        // `content-length: 5`
        peer.write(HEADERS, END_HEADERS, stream, &[0x88, 0x0f, 0x0d, 1, b'5']).await;
        let response = sending.await.unwrap().unwrap();
        peer.write(DATA, END_STREAM, stream, body).await;
        assert!(response.body.collect().await.is_err(), "{body:?}");
    }
}

#[tokio::test]
async fn informational_answers_are_relayed_within_bounds() {
    let (_net, mut accepted, upstream) = target();
    let ask = |interim: &Interim| {
        let mut request = get();
        request.headers.insert(EXPECT, HeaderValue::from_static("100-continue"));
        let picked = upstream.pick(&exchange()).unwrap();
        let timeouts = Timeouts::default();
        let interim = interim.clone();
        let call = Call { worker: 0, timeouts, interim, ..Call::default() };
        tokio::spawn(picked.target.send(call, request))
    };
    let interim = Interim::open();
    let asking = ask(&interim);
    let mut peer = Peer::meet(&mut accepted, &[]).await;
    let stream = peer.request().await;
    for status in [b"100", b"103"] {
        let head = [&[0x08, 3], &status[..]].concat();
        peer.write(HEADERS, END_HEADERS, stream, &head).await;
    }
    peer.answer(stream, b"").await;
    assert_eq!(asking.await.unwrap().unwrap().status, StatusCode::OK);
    let told: Vec<_> = interim.take().iter().map(|told| told.status.as_u16()).collect();
    assert_eq!(told, [100, 103]);
    let asking = ask(&interim);
    let stream = peer.request().await;
    for _ in 0..20 {
        peer.write(HEADERS, END_HEADERS, stream, &[0x08, 3, b'1', b'0', b'3']).await;
    }
    let failed = asking.await.unwrap().unwrap_err();
    assert_eq!(failed.fault.code, FaultCode::UpstreamInvalid);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_for_100_gets_it_though_the_target_never_says_it() {
    let (_net, mut accepted, upstream) = target();
    let (feeder, body) = fed();
    let mut request = post(body);
    request.headers.insert(EXPECT, HeaderValue::from_static("100-continue"));
    let interim = Interim::open();
    let picked = upstream.pick(&exchange()).unwrap();
    let call = Call {
        worker: 0,
        timeouts: Timeouts::default(),
        interim: interim.clone(),
        ..Call::default()
    };
    let asking = tokio::spawn(picked.target.send(call, request));
    let mut peer = Peer::meet(&mut accepted, &[]).await;
    let stream = peer.request().await;
    assert!(interim.take().is_empty(), "the target may still say it");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(interim.take()[0].status, StatusCode::CONTINUE);
    feeder.send(Ok(Piece::data(Bytes::from_static(b"data")))).await.unwrap();
    assert_eq!(peer.next().await.payload, b"data");
    peer.answer(stream, b"").await;
    asking.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_tunnel_is_an_extended_connect() {
    let (_net, mut accepted, upstream) = target();
    let (feeder, body) = fed();
    let mut request = get();
    request.protocol = Some(HeaderValue::from_static("websocket"));
    request.body = body;
    let sending = tokio::spawn(send(&upstream, request));
    // SETTINGS_ENABLE_CONNECT_PROTOCOL
    let mut peer = Peer::meet(&mut accepted, &[(8, 1)]).await;
    let frame = peer.next().await;
    assert_eq!((frame.kind, frame.flags & END_STREAM), (HEADERS, 0));
    peer.write(HEADERS, END_HEADERS, frame.stream, OK).await;
    let mut response = sending.await.unwrap().unwrap();
    assert_eq!(response.status, StatusCode::SWITCHING_PROTOCOLS);
    assert!(response.body.is_tunnel());
    peer.write(DATA, 0, frame.stream, b"from the target").await;
    let piece = response.body.frame().await.unwrap().unwrap();
    assert_eq!(piece.into_data().unwrap(), "from the target");
    feeder.send(Ok(Piece::data(Bytes::from_static(b"from the client")))).await.unwrap();
    // Nobody takes more of the answer: the other direction goes on all the same.
    let drive = std::future::poll_fn(|cx| response.body.poll_drive(cx));
    tokio::select! {
        biased;
        driven = drive => panic!("the client has not ended: {driven:?}"),
        sent = peer.next() => assert_eq!(sent.payload, b"from the client"),
    }
    // The target's side ends before the client's.
    peer.write(DATA, END_STREAM, frame.stream, b"bye").await;
    let piece = response.body.frame().await.unwrap().unwrap();
    assert_eq!(piece.into_data().unwrap(), "bye");
    assert!(response.body.frame().await.is_none());
    feeder.send(Ok(Piece::data(Bytes::from_static(b"last words")))).await.unwrap();
    drop(feeder);
    std::future::poll_fn(|cx| response.body.poll_drive(cx)).await.unwrap();
    assert_eq!(peer.next().await.payload, b"last words");
    assert_eq!(peer.next().await.flags & END_STREAM, END_STREAM);
    assert_eq!(in_flight(&upstream), 0);
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_that_is_not_answered_is_given_up() {
    let (_net, mut accepted, upstream) = target();
    let (_feeder, body) = fed();
    let mut request = get();
    request.protocol = Some(HeaderValue::from_static("websocket"));
    request.body = body;
    let limits = Timeouts { first_byte: Some(Duration::from_secs(1)), ..Timeouts::default() };
    let sending = tokio::spawn(send_within(&upstream, request, limits));
    let mut peer = Peer::meet(&mut accepted, &[(8, 1)]).await;
    assert_eq!(peer.next().await.kind, HEADERS);
    let failed = sending.await.unwrap().unwrap_err();
    assert_eq!(failed.fault.code, FaultCode::FirstByteTimeout);
    assert_eq!(in_flight(&upstream), 0);
}

#[tokio::test]
async fn a_target_without_extended_connect_carries_no_tunnel() {
    let (_net, mut accepted, upstream) = target();
    let mut request = get();
    request.protocol = Some(HeaderValue::from_static("websocket"));
    let sending = tokio::spawn(send(&upstream, request));
    let _peer = Peer::meet(&mut accepted, &[]).await;
    let failed = sending.await.unwrap().unwrap_err();
    assert_eq!(failed.fault.code, FaultCode::SwitchRefused);
}

#[tokio::test]
async fn answers_that_nobody_reads_do_not_stop_others() {
    let (net, mut accepted, upstream) = target();
    let sent: Vec<_> = (0..20).map(|_| tokio::spawn(send(&upstream, get()))).collect();
    let mut peer = Peer::meet(&mut accepted, &[]).await;
    let piece = vec![b'x'; 16 << 10];
    let mut unread = Vec::new();
    for sent in sent {
        let stream = peer.request().await;
        peer.write(HEADERS, END_HEADERS, stream, OK).await;
        // As much as a stream's window takes.
        for _ in 0..16 {
            peer.write(DATA, 0, stream, &piece).await;
        }
        unread.push(sent.await.unwrap().unwrap());
    }
    let sending = tokio::spawn(send(&upstream, get()));
    let stream = peer.request().await;
    peer.answer(stream, b"hello").await;
    assert_eq!(read(sending.await.unwrap().unwrap()).await, "hello");
    assert_eq!(net.dials(), 1);
}

#[tokio::test]
async fn a_connection_that_nobody_needs_says_goodbye() {
    let net = Arc::new(Net::default());
    let mut accepted = net.listen(AT);
    let upstream = http2(&net);
    let sending = tokio::spawn(send(&upstream, get()));
    let mut peer = Peer::meet(&mut accepted, &[]).await;
    let stream = peer.request().await;
    peer.answer(stream, b"").await;
    read(sending.await.unwrap().unwrap()).await;
    drop(upstream);
    assert_eq!(peer.next().await.kind, GOAWAY);
    assert_eq!(peer.0.read(&mut [0]).await.unwrap(), 0);
    net.put(AT, At::Refuses);
}
