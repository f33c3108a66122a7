use super::kit::{
    At, Net, endless, fed, fetch, get, in_flight, post, send, send_within, spec, text, world,
};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::BodyExt;
use std::sync::Arc;
use std::time::Duration;
use traffic::body::BodyError;
use traffic::upstream::Timeouts;
use traffic::{Fault, FaultCode, Stage};
use upstream::build;

const AT: &str = "192.0.2.1:80";

const fn secs(secs: u64) -> Option<Duration> {
    Some(Duration::from_secs(secs))
}

#[tokio::test(start_paused = true)]
async fn a_target_that_does_not_accept_is_given_up_after_the_connect_timeout() {
    let net = Arc::new(Net::default());
    net.put(AT, At::Hangs);
    let upstream = build(spec(&[AT]), &world(&net)).unwrap();
    let limits = Timeouts { connect: secs(3), ..Timeouts::default() };
    let sending = send_within(&upstream, get(), limits);
    let failed = tokio::time::timeout(Duration::from_secs(4), sending).await.unwrap().unwrap_err();
    assert_eq!(failed.fault.code, FaultCode::ConnectTimeout);
    assert!(failed.unsent.is_some());
    assert_eq!(in_flight(&upstream), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_begin_is_given_up_after_the_first_byte_timeout() {
    let net = Arc::new(Net::default());
    net.serve(AT, |_| std::future::pending());
    let upstream = build(spec(&[AT]), &world(&net)).unwrap();
    let limits = Timeouts { first_byte: secs(5), ..Timeouts::default() };
    let failed = send_within(&upstream, get(), limits).await.unwrap_err();
    assert_eq!(failed.fault.code, FaultCode::FirstByteTimeout);
    assert!(failed.unsent.is_none());
    assert_eq!(in_flight(&upstream), 0);
}

#[tokio::test(start_paused = true)]
async fn the_first_byte_timeout_begins_when_the_request_was_sent() {
    for http2 in [false, true] {
        let net = Arc::new(Net::default());
        let answer = |request: http::Request<hyper::body::Incoming>| async {
            request.into_body().collect().await.unwrap();
            tokio::time::sleep(Duration::from_secs(4)).await;
            text("thanks")
        };
        let mut spec = spec(&[AT]);
        if http2 {
            spec.protocol = upstream::Protocol::Http2;
            net.serve_http2(AT, answer);
        } else {
            net.serve(AT, answer);
        }
        let upstream = build(spec, &world(&net)).unwrap();
        let (feeder, body) = fed();
        tokio::spawn(async move {
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_secs(20)).await;
                feeder.send(Ok(Frame::data(Bytes::from_static(b"data")))).await.unwrap();
            }
        });
        let limits = Timeouts { first_byte: secs(5), idle: secs(10), ..Timeouts::default() };
        assert!(send_within(&upstream, post(body), limits).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_that_stops_taking_the_request_is_given_up() {
    let net = Arc::new(Net::default());
    let _accepted = net.listen(AT);
    let upstream = build(spec(&[AT]), &world(&net)).unwrap();
    let (feeder, body) = fed();
    tokio::spawn(async move {
        let piece = || Ok(Frame::data(Bytes::from(vec![0; 64 << 10])));
        while feeder.send(piece()).await.is_ok() {}
    });
    let limits = Timeouts { idle: secs(10), ..Timeouts::default() };
    let failed = send_within(&upstream, post(body), limits).await.unwrap_err();
    assert_eq!(failed.fault.code, FaultCode::FirstByteTimeout);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_stops_is_given_up_after_the_idle_timeout() {
    let net = Arc::new(Net::default());
    net.serve(AT, |_| async { endless("first") });
    let upstream = build(spec(&[AT]), &world(&net)).unwrap();
    let limits = Timeouts { idle: secs(10), ..Timeouts::default() };
    let mut body = send_within(&upstream, get(), limits).await.unwrap().body;
    body.frame().await.unwrap().unwrap();
    let waited = tokio::time::timeout(Duration::from_secs(9), body.frame()).await;
    assert!(waited.is_err(), "there is time left");
    assert_eq!(in_flight(&upstream), 1);
    let error = body.frame().await.unwrap().unwrap_err();
    assert!(matches!(error, BodyError::Idle), "{error:?}");
    assert_eq!(in_flight(&upstream), 0);
}

#[tokio::test]
async fn a_request_whose_own_body_fails_is_not_the_target_s_fault() {
    for http2 in [false, true] {
        let net = Arc::new(Net::default());
        let answer = |request: http::Request<hyper::body::Incoming>| async {
            request.into_body().collect().await.ok();
            text("thanks")
        };
        let mut spec = spec(&[AT]);
        if http2 {
            spec.protocol = upstream::Protocol::Http2;
            net.serve_http2(AT, answer);
        } else {
            net.serve(AT, answer);
        }
        let world = world(&net);
        let upstream = build(spec, &world).unwrap();
        let (feeder, body) = fed();
        let sending = tokio::spawn(send(&upstream, post(body)));
        feeder.send(Ok(Frame::data(Bytes::from_static(b"data")))).await.unwrap();
        let refusal = Fault::new(Stage::Guard, FaultCode::BodyTooLarge);
        feeder.send(Err(BodyError::Refused(refusal))).await.unwrap();
        let failed = sending.await.unwrap().unwrap_err();
        assert_eq!(failed.fault.code, FaultCode::BodyTooLarge);
        assert_eq!(world.metrics.target("orders", AT).failures.sum(), 0);
        assert_eq!(fetch(&upstream).await, "thanks");
    }
}
