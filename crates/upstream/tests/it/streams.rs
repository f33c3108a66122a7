use super::kit::{
    Fed, Net, fed, fetch, get, in_flight, post, read, send, settle, spec, text, world,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Version};
use http_body::Frame;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::sync::{Semaphore, mpsc};
use traffic::FaultCode;
use upstream::{Protocol, UpstreamSpec, build};

const AT: &str = "192.0.2.1:8080";

fn http2() -> UpstreamSpec {
    UpstreamSpec { protocol: Protocol::Http2, ..spec(&[AT]) }
}

#[tokio::test]
async fn http2_by_prior_knowledge_has_the_authority_in_the_target() {
    let net = Arc::new(Net::default());
    net.serve_http2(AT, |request| async move {
        assert_eq!(request.version(), Version::HTTP_2);
        assert!(!request.headers().contains_key("host"));
        text(&request.uri().to_string())
    });
    let upstream = build(http2(), &world(&net)).unwrap();
    assert_eq!(fetch(&upstream).await, "http://api.test/things?n=1");
}

#[tokio::test]
async fn requests_share_a_connection_and_wait_for_it_together() {
    let net = Arc::new(Net::default());
    net.serve_http2(AT, |_| async { text("hello") });
    let upstream = build(http2(), &world(&net)).unwrap();
    let sent: Vec<_> = (0..50).map(|_| tokio::spawn(send(&upstream, get()))).collect();
    for sent in sent {
        assert_eq!(read(sent.await.unwrap().unwrap()).await, "hello");
    }
    assert_eq!((net.dials(), in_flight(&upstream)), (1, 0));
}

#[tokio::test]
async fn those_who_wait_for_a_connection_learn_of_its_failure_together() {
    let net = Arc::new(Net::default());
    let upstream = build(http2(), &world(&net)).unwrap();
    let sent: Vec<_> = (0..50).map(|_| tokio::spawn(send(&upstream, get()))).collect();
    for sent in sent {
        let failed = sent.await.unwrap().unwrap_err();
        assert_eq!(failed.fault.code, FaultCode::ConnectFailed);
    }
    assert_eq!(net.dials(), 1);
    assert!(send(&upstream, get()).await.is_err());
    assert_eq!(net.dials(), 2, "the next one tries anew");
}

#[tokio::test]
async fn a_second_connection_is_opened_for_more_than_a_hundred_streams() {
    let net = Arc::new(Net::default());
    let gate = Arc::new(Semaphore::new(0));
    let waiting = Arc::clone(&gate);
    net.serve_http2(AT, move |_| {
        let waiting = Arc::clone(&waiting);
        async move {
            drop(waiting.acquire().await);
            text("hello")
        }
    });
    let upstream = build(http2(), &world(&net)).unwrap();
    let sent: Vec<_> = (0..101).map(|_| tokio::spawn(send(&upstream, get()))).collect();
    settle().await;
    assert_eq!(net.dials(), 2);
    gate.add_permits(1);
    for sent in sent {
        read(sent.await.unwrap().unwrap()).await;
    }
}

#[tokio::test]
async fn giving_up_an_answer_resets_its_stream_only() {
    let net = Arc::new(Net::default());
    let open = Arc::new(AtomicUsize::new(0));
    let opened = Arc::clone(&open);
    net.serve_http2(AT, move |request: http::Request<Incoming>| {
        let opened = Arc::clone(&opened);
        async move {
            if request.uri().path() == "/things" && request.method() == "POST" {
                opened.fetch_add(1, Ordering::SeqCst);
                request.into_body().collect().await.unwrap_err();
                opened.fetch_sub(1, Ordering::SeqCst);
            }
            text("hello")
        }
    });
    let upstream = build(http2(), &world(&net)).unwrap();
    let (feeder, body) = fed();
    let sending = tokio::spawn(send(&upstream, post(body)));
    settle().await;
    assert_eq!(open.load(Ordering::SeqCst), 1);
    sending.abort();
    settle().await;
    assert_eq!(open.load(Ordering::SeqCst), 0, "the server learns of it");
    assert!(feeder.is_closed());
    assert_eq!(fetch(&upstream).await, "hello");
    assert_eq!((net.dials(), in_flight(&upstream)), (1, 0));
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_replaced() {
    let net = Arc::new(Net::default());
    let mut accepted = net.listen(AT);
    let upstream = build(http2(), &world(&net)).unwrap();
    for dials in 1..=3 {
        let sending = tokio::spawn(send(&upstream, get()));
        let io = accepted.recv().await.unwrap();
        let answer = Arc::new(|_| async { text("hello") });
        let serving = tokio::spawn(super::kit::converse(io, true, answer));
        assert_eq!(read(sending.await.unwrap().unwrap()).await, "hello");
        serving.abort();
        settle().await;
        assert_eq!(net.dials(), dials);
    }
}

#[tokio::test]
async fn a_shared_connection_that_was_idle_for_too_long_is_not_used() {
    let net = Arc::new(Net::default());
    net.serve_http2(AT, |_| async { text("hello") });
    let world = world(&net);
    let upstream = build(http2(), &world).unwrap();
    let held = send(&upstream, get()).await.unwrap();
    world.clock.advance(Duration::from_secs(60));
    fetch(&upstream).await;
    assert_eq!(net.dials(), 1, "an answer was under way on it");
    read(held).await;
    world.clock.advance(Duration::from_secs(60));
    fetch(&upstream).await;
    assert_eq!(net.dials(), 2);
}

#[tokio::test]
async fn a_target_that_speaks_http1_to_an_http2_client_is_invalid() {
    let net = Arc::new(Net::default());
    let mut accepted = net.listen(AT);
    let upstream = build(http2(), &world(&net)).unwrap();
    let sending = tokio::spawn(send(&upstream, get()));
    let mut io = accepted.recv().await.unwrap();
    io.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let failed = sending.await.unwrap().unwrap_err();
    assert_eq!(failed.fault.code, FaultCode::UpstreamInvalid, "{:?}", failed.fault.cause);
}

#[tokio::test]
async fn trailers_pass_both_ways() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let net = Arc::new(Net::default());
        let echo = |request: http::Request<Incoming>| async move {
            assert_eq!(request.headers()["te"], "trailers");
            let body = request.into_body().collect().await.unwrap();
            let trailers = body.trailers().unwrap().clone();
            let (feeder, body) = mpsc::channel(2);
            feeder.try_send(Ok(Frame::data(Bytes::from_static(b"hello")))).unwrap();
            feeder.try_send(Ok(Frame::trailers(trailers))).unwrap();
            let mut answer = http::Response::new(Fed(body).boxed());
            answer.headers_mut().insert("trailer", HeaderValue::from_static("x-sum"));
            answer
        };
        if protocol == Protocol::Http2 {
            net.serve_http2(AT, echo);
        } else {
            net.serve(AT, echo);
        }
        let upstream = build(UpstreamSpec { protocol, ..spec(&[AT]) }, &world(&net)).unwrap();
        for _ in 0..2 {
            let (feeder, body) = fed();
            let mut request = post(body);
            request.headers.insert(http::header::TE, HeaderValue::from_static("trailers"));
            request.headers.insert(http::header::TRAILER, HeaderValue::from_static("x-sum"));
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", HeaderValue::from_static("42"));
            feeder.send(Ok(Frame::data(Bytes::from_static(b"data")))).await.unwrap();
            feeder.send(Ok(Frame::trailers(trailers))).await.unwrap();
            drop(feeder);
            let response = send(&upstream, request).await.unwrap();
            let body = response.body.collect().await.unwrap();
            assert_eq!(body.trailers().unwrap()["x-sum"], "42");
            assert_eq!(body.to_bytes(), "hello");
        }
        assert_eq!((net.dials(), in_flight(&upstream)), (1, 0), "{protocol:?}");
    }
}
