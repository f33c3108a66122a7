//! What frames may follow each other: each rule of RFC 9113, 3 to 6 is a row.

use crate::it::http2::frames::{
    ACK, CONTINUATION, Client, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PADDED, PING,
    PREFACE, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS, WHOLE, WINDOW_UPDATE, WITH_PRIORITY,
    frame, get, head, post, reset, setting, window,
};
use testkit::TestGateway;

/// Sends bytes on a connection that is ready and checks what comes of them.
async fn check(bytes: &[u8], outcome: &str, clause: &str) {
    let gateway = TestGateway::with_policies("[]");
    let mut client = Client::ready(&gateway).await;
    assert_eq!(client.say(bytes).await, outcome, "{clause}");
    if !client.is_closed {
        assert_eq!(client.say(&get(101)).await, "101:200", "{clause}: the connection serves on");
    }
}

/// Sends bytes that end the connection for this reason.
async fn ends(bytes: &[u8], code: &str, clause: &str) {
    check(bytes, &format!("goaway {code}, closed"), clause).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_begins_with_settings() {
    for (bytes, why) in [
        (get(1), "HEADERS"),
        (frame(PING, 0, 0, b"01234567"), "PING"),
        (frame(SETTINGS, ACK, 0, b""), "an acknowledgement"),
        (window(0, 1), "WINDOW_UPDATE"),
    ] {
        let gateway = TestGateway::with_policies("[]");
        let mut client = Client::new(&gateway);
        let told = client.say(&[PREFACE, &bytes].concat()).await;
        assert_eq!(told, "goaway PROTOCOL_ERROR, closed", "3.4: {why}");
        assert_eq!(gateway.seen(), Vec::<String>::new(), "3.4: {why}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_preface_is_taken_byte_by_byte_and_one_that_goes_wrong_is_not_http_2() {
    let gateway = TestGateway::with_policies("[]");
    let mut client = Client::new(&gateway);
    for byte in [PREFACE, &frame(SETTINGS, 0, 0, b""), &get(1)].concat() {
        client.tell(&[byte]).await;
    }
    assert_eq!(client.story().await, "1:200");
    let mut client = Client::new(&gateway);
    client.tell(b"PRI * HTTP/2.0\r\n\r\nSX\r\n\r\n").await;
    let (answer, is_closed) = crate::it::kit::hear_bytes(&mut client.io).await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 505 ") && is_closed, "{answer}");
}

#[tokio::test(start_paused = true)]
async fn frames_stand_on_the_right_stream() {
    for kind in [DATA, HEADERS, PRIORITY, RST_STREAM, PUSH_PROMISE, CONTINUATION] {
        ends(&frame(kind, WHOLE, 0, &head("")), "PROTOCOL_ERROR", "6: on the connection").await;
    }
    ends(&frame(SETTINGS, 0, 1, b""), "PROTOCOL_ERROR", "6.5").await;
    ends(&frame(PING, 0, 1, b"01234567"), "PROTOCOL_ERROR", "6.7").await;
    ends(&frame(GOAWAY, 0, 1, &[0; 8]), "PROTOCOL_ERROR", "6.8").await;
    ends(&get(2), "PROTOCOL_ERROR", "5.1.1: an even number").await;
    ends(&frame(DATA, 0, 1, b"x"), "PROTOCOL_ERROR", "5.1: idle").await;
    ends(&reset(1), "PROTOCOL_ERROR", "5.1: idle").await;
    ends(&window(1, 1), "PROTOCOL_ERROR", "5.1: idle").await;
    let back = [get(5), get(3)].concat();
    let gateway = TestGateway::with_policies("[]");
    let mut client = Client::ready(&gateway).await;
    assert_eq!(client.say(&back).await, "goaway PROTOCOL_ERROR, closed", "5.1.1: a lower number");
}

#[tokio::test(start_paused = true)]
async fn frames_have_the_right_length() {
    ends(&frame(DATA, 0, 1, &[0; 16_385]), "FRAME_SIZE_ERROR", "4.2").await;
    ends(&frame(HEADERS, WHOLE, 1, &[0; 16_385]), "FRAME_SIZE_ERROR", "4.2").await;
    ends(&frame(99, 0, 1, &[0; 16_385]), "FRAME_SIZE_ERROR", "4.2").await;
    // The code should be FRAME_SIZE_ERROR; the outcome is the same.
    ends(&frame(PING, 0, 0, b"0123456"), "PROTOCOL_ERROR", "6.7").await;
    ends(&frame(PING, 0, 0, b"012345678"), "PROTOCOL_ERROR", "6.7").await;
    ends(&frame(SETTINGS, 0, 0, b"12345"), "PROTOCOL_ERROR", "6.5").await;
    ends(&frame(SETTINGS, ACK, 0, &[0; 6]), "PROTOCOL_ERROR", "6.5").await;
    ends(&frame(WINDOW_UPDATE, 0, 0, &[0; 3]), "PROTOCOL_ERROR", "6.9").await;
    ends(&frame(RST_STREAM, 0, 1, &[0; 3]), "PROTOCOL_ERROR", "6.4").await;
    ends(&frame(PRIORITY, 0, 1, &[0; 4]), "PROTOCOL_ERROR", "6.3").await;
    ends(&frame(GOAWAY, 0, 0, &[0; 7]), "PROTOCOL_ERROR", "6.8").await;
    ends(&frame(HEADERS, WHOLE | WITH_PRIORITY, 1, &[0; 4]), "PROTOCOL_ERROR", "6.2").await;
    ends(&frame(HEADERS, WHOLE | PADDED, 1, b""), "PROTOCOL_ERROR", "6.2").await;
    ends(&frame(HEADERS, WHOLE | PADDED, 1, b"\x09\x82"), "PROTOCOL_ERROR", "6.2").await;
    ends(&[post(1, ""), frame(DATA, PADDED, 1, b"")].concat(), "PROTOCOL_ERROR", "6.1").await;
}

#[tokio::test(start_paused = true)]
async fn a_header_block_is_not_interrupted() {
    let start = frame(HEADERS, END_STREAM, 1, &head(""));
    let end = |stream| frame(CONTINUATION, END_HEADERS, stream, b"");
    check(&[start.clone(), end(1)].concat(), "1:200", "6.10").await;
    let late = [start.clone(), frame(CONTINUATION, 0, 1, b""), end(1)].concat();
    check(&late, "1:200", "6.10").await;
    for (other, why) in [
        (frame(DATA, 0, 1, b"x"), "DATA"),
        (get(3), "HEADERS of another stream"),
        (frame(HEADERS, WHOLE, 1, b""), "HEADERS"),
        (frame(PING, 0, 0, b"01234567"), "PING"),
        (frame(SETTINGS, 0, 0, b""), "SETTINGS"),
        (frame(99, 0, 0, b""), "an unknown frame"),
        (end(3), "CONTINUATION of another stream"),
    ] {
        ends(&[start.clone(), other].concat(), "PROTOCOL_ERROR", &format!("6.10: {why}")).await;
    }
    ends(&end(1), "PROTOCOL_ERROR", "6.10: there is nothing to continue").await;
    ends(&[get(1), end(1)].concat(), "PROTOCOL_ERROR", "6.10: the block has ended").await;
}

#[tokio::test(start_paused = true)]
async fn compression_that_cannot_be_undone_ends_the_connection() {
    // The code should be COMPRESSION_ERROR; the outcome is the same.
    for (block, why) in [
        (&b"\x80"[..], "index zero"),
        (b"\xff\x80\x80\x80\x80\x80\x80\x80\x80\x01", "an index without end"),
        (b"\xbe", "an entry that is not there"),
        (b"\x00\x7f\xff\xff\xff\xff\x0fa", "a name without end"),
        (b"\x3f\xff\xff\x03", "a table larger than allowed"),
        (b"\x82\x20", "the size of the table is changed too late"),
        (b"\x00\x81\xff\x00", "a Huffman code that is none"),
        (b"\x00\x05ab", "a name that is cut"),
    ] {
        ends(&frame(HEADERS, WHOLE, 1, block), "PROTOCOL_ERROR", &format!("7541: {why}")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn settings_have_values_that_make_sense() {
    for (parameter, value, why) in [
        (2, 2, "ENABLE_PUSH"),
        (4, 1 << 31, "INITIAL_WINDOW_SIZE"),
        (5, 16_383, "MAX_FRAME_SIZE, low"),
        (5, 1 << 24, "MAX_FRAME_SIZE, high"),
        (8, 2, "ENABLE_CONNECT_PROTOCOL"),
    ] {
        ends(&setting(parameter, value), "PROTOCOL_ERROR", &format!("6.5.2: {why}")).await;
    }
    check(&setting(99, 7), "", "6.5.2: an unknown one is ignored").await;
    check(&setting(1, u32::MAX), "", "6.5.2: a table of any size may be offered").await;
    ends(&frame(SETTINGS, ACK, 0, b""), "PROTOCOL_ERROR", "6.5.3: nothing was left to acknowledge")
        .await;
}

#[tokio::test(start_paused = true)]
async fn windows_are_kept() {
    let zero = [post(1, ""), window(1, 0)].concat();
    ends(&zero, "PROTOCOL_ERROR", "6.9: by nothing").await;
    ends(&window(0, 0), "PROTOCOL_ERROR", "6.9: by nothing").await;
    ends(&window(0, (1 << 31) - 1), "FLOW_CONTROL_ERROR", "6.9.1: beyond the largest").await;
    let over = [post(1, ""), window(1, (1 << 31) - 1)].concat();
    check(&over, "1:FLOW_CONTROL_ERROR", "6.9.1: beyond the largest").await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_has_ended_takes_no_more() {
    let gateway = TestGateway::with_policies("[]");
    for (late, outcome, why) in [
        (frame(DATA, 0, 1, b"x"), "1:STREAM_CLOSED", "DATA"),
        (frame(HEADERS, WHOLE, 1, &head("")), "goaway PROTOCOL_ERROR, closed", "HEADERS"),
        (reset(1), "", "RST_STREAM"),
        (window(1, 1), "", "WINDOW_UPDATE"),
        (frame(PRIORITY, 0, 1, &[0, 0, 0, 9, 1]), "", "PRIORITY"),
    ] {
        let mut client = Client::ready(&gateway).await;
        assert_eq!(client.say(&get(1)).await, "1:200");
        assert_eq!(client.say(&late).await, outcome, "5.1: {why}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_whose_request_has_ended_takes_no_data() {
    let (gateway, _connections) = crate::it::kit::played("retries: 0");
    let mut client = Client::ready(&gateway).await;
    let told = client.say(&[get(1), frame(DATA, 0, 1, b"x")].concat()).await;
    assert_eq!(told, "goaway PROTOCOL_ERROR, closed", "5.1, half-closed");
    let mut client = Client::ready(&gateway).await;
    let told = client.say(&[get(1), frame(HEADERS, WHOLE, 1, &head(""))].concat()).await;
    assert!(told.starts_with("1:STREAM_CLOSED") || told.starts_with("goaway"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_client_pushes_nothing() {
    let push = frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2], &head("")[..]].concat());
    ends(&[post(1, ""), push].concat(), "PROTOCOL_ERROR", "8.4").await;
}

#[tokio::test(start_paused = true)]
async fn priorities_and_unknown_frames_change_nothing() {
    check(&frame(PRIORITY, 0, 9, &[0, 0, 0, 3, 200]), "", "5.3.2").await;
    check(&frame(99, 0xff, 1, b"whatever"), "", "5.5").await;
    let prioritised = [&[0, 0, 0, 0, 1], &head("")[..]].concat();
    check(&frame(HEADERS, WHOLE | WITH_PRIORITY, 1, &prioritised), "1:200", "6.2").await;
    let own = [&[0, 0, 0, 1, 1], &head("")[..]].concat();
    let told = "1:PROTOCOL_ERROR";
    check(&frame(HEADERS, WHOLE | WITH_PRIORITY, 1, &own), told, "5.3.1 of RFC 7540").await;
}

#[tokio::test(start_paused = true)]
async fn pings_are_answered() {
    let gateway = TestGateway::with_policies("[]");
    let mut client = Client::ready(&gateway).await;
    client.tell(&frame(PING, 0, 0, b"01234567")).await;
    let heard = client.hear().await;
    let pong = heard.iter().find(|frame| frame.kind == PING).unwrap();
    assert_eq!((pong.flags, &pong.payload[..]), (ACK, &b"01234567"[..]));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_gets_its_answers_first() {
    let gateway = TestGateway::with_policies("[]");
    let mut client = Client::ready(&gateway).await;
    let told = client.say(&[get(1), frame(GOAWAY, 0, 0, &[0; 8])].concat()).await;
    assert_eq!(told, "1:200, goaway NO_ERROR, closed");
}
