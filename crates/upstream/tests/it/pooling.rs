use super::kit::{
    Net, endless, fed, fetch, get, in_flight, post, read, send, settle, spec, text, world,
};
use bytes::Bytes;
use http::{HeaderValue, StatusCode};
use http_body::Frame;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::TcpListener;
use traffic::body::BodyError;
use traffic::upstream::Call;
use traffic::{Body, FaultCode};
use upstream::{HostHeader, TcpDial, build};

const AT: &str = "192.0.2.1:8080";
const HELLO: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";

/// Reads up to the end of a request head, as text.
async fn read_head(io: &mut DuplexStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(io.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let net = Arc::new(Net::default());
    net.serve(AT, |_| async { text("hello") });
    let world = world(&net);
    let upstream = build(spec(&[AT]), &world).unwrap();
    for _ in 0..5 {
        assert_eq!(fetch(&upstream).await, "hello");
    }
    assert_eq!(net.dials(), 1);
    let upstream = build(spec(&[AT]), &world).unwrap();
    fetch(&upstream).await;
    assert_eq!(net.dials(), 1, "a new config goes on with the connections of the old");
}

#[tokio::test]
async fn each_worker_has_connections_of_its_own() {
    let net = Arc::new(Net::default());
    net.serve(AT, |_| async { text("hello") });
    let upstream = build(spec(&[AT]), &world(&net)).unwrap();
    for worker in [0, 1, 0, 1] {
        let picked = upstream.pick(&super::kit::exchange()).unwrap();
        let call = Call { worker, timeouts: upstream.timeouts(), ..Call::default() };
        read(picked.target.send(call, get()).await.unwrap()).await;
    }
    assert_eq!(net.dials(), 2);
}

#[tokio::test]
async fn a_connection_that_was_idle_for_too_long_is_not_used() {
    let net = Arc::new(Net::default());
    net.serve(AT, |_| async { text("hello") });
    let world = world(&net);
    let upstream = build(spec(&[AT]), &world).unwrap();
    fetch(&upstream).await;
    world.clock.advance(Duration::from_secs(59));
    fetch(&upstream).await;
    assert_eq!(net.dials(), 1);
    world.clock.advance(Duration::from_secs(60));
    fetch(&upstream).await;
    assert_eq!(net.dials(), 2);
}

#[tokio::test(start_paused = true)]
async fn connections_that_nobody_uses_are_closed() {
    let net = Arc::new(Net::default());
    let mut accepted = net.listen(AT);
    let world = world(&net);
    let upstream = build(spec(&[AT]), &world).unwrap();
    let sending = tokio::spawn(send(&upstream, get()));
    let mut io = accepted.recv().await.unwrap();
    read_head(&mut io).await;
    io.write_all(HELLO).await.unwrap();
    read(sending.await.unwrap().unwrap()).await;
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(io.read(&mut [0]).await.unwrap(), 0, "closed without a request that looks for it");
}

#[tokio::test]
async fn no_more_idle_connections_are_kept_than_the_config_says() {
    let net = Arc::new(Net::default());
    net.serve(AT, |_| async { text("hello") });
    let mut spec = spec(&[AT]);
    spec.idle_max = 1;
    let upstream = build(spec, &world(&net)).unwrap();
    for _ in 0..2 {
        let both = [send(&upstream, get()).await.unwrap(), send(&upstream, get()).await.unwrap()];
        for response in both {
            read(response).await;
        }
    }
    assert_eq!(net.dials(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_a_dead_connection_did_not_take_goes_out_on_a_new_one() {
    let net = Arc::new(Net::default());
    let mut accepted = net.listen(AT);
    let mut spec = spec(&[AT]);
    spec.host = HostHeader::Target;
    let upstream = build(spec, &world(&net)).unwrap();
    let sending = tokio::spawn(send(&upstream, get()));
    let mut io = accepted.recv().await.unwrap();
    read_head(&mut io).await;
    io.write_all(HELLO).await.unwrap();
    read(sending.await.unwrap().unwrap()).await;
    settle().await;
    // Nothing has noticed yet that it is closed when the next request takes it.
    drop(io);
    let (feeder, body) = fed();
    let sending = send(&upstream, post(body));
    let served = async {
        let mut io = accepted.recv().await.unwrap();
        let head = read_head(&mut io).await;
        assert!(head.contains("host: 192.0.2.1:8080\r\n"), "{head}");
        feeder.send(Ok(Frame::data(Bytes::from_static(b"data")))).await.unwrap();
        drop(feeder);
        let mut rest = [0; 14];
        io.read_exact(&mut rest).await.unwrap();
        assert_eq!(&rest, b"4\r\ndata\r\n0\r\n\r\n");
        io.write_all(HELLO).await.unwrap();
        io
    };
    // Without a second connection the server would wait for ever.
    let both = async { tokio::join!(sending, served) };
    let (response, _io) = tokio::time::timeout(Duration::from_secs(9), both).await.unwrap();
    assert_eq!(read(response.unwrap()).await, "hello");
    assert_eq!(net.dials(), 2);
}

#[tokio::test]
async fn a_request_that_was_taken_is_not_sent_again() {
    let net = Arc::new(Net::default());
    let mut accepted = net.listen(AT);
    let upstream = build(spec(&[AT]), &world(&net)).unwrap();
    let sending = tokio::spawn(send(&upstream, get()));
    let mut io = accepted.recv().await.unwrap();
    read_head(&mut io).await;
    io.write_all(HELLO).await.unwrap();
    read(sending.await.unwrap().unwrap()).await;
    let sending = tokio::spawn(send(&upstream, get()));
    read_head(&mut io).await;
    drop(io);
    let failed = sending.await.unwrap().unwrap_err();
    assert_eq!(failed.fault.code, FaultCode::UpstreamReset);
    assert!(failed.unsent.is_none());
    assert_eq!((net.dials(), in_flight(&upstream)), (1, 0));
}

#[tokio::test]
async fn an_answer_that_breaks_the_rules_is_told_from_a_broken_connection() {
    let net = Arc::new(Net::default());
    let mut accepted = net.listen(AT);
    let upstream = build(spec(&[AT]), &world(&net)).unwrap();
    for (answer, code) in [
        (&b"SMTP ready\r\n\r\n"[..], FaultCode::UpstreamInvalid),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
            FaultCode::UpstreamInvalid,
        ),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n", FaultCode::UpstreamInvalid),
        (b"HTTP/1.1 200 O", FaultCode::UpstreamReset),
        (b"", FaultCode::UpstreamReset),
    ] {
        let sending = tokio::spawn(send(&upstream, get()));
        let mut io = accepted.recv().await.unwrap();
        read_head(&mut io).await;
        io.write_all(answer).await.unwrap();
        drop(io);
        let failed = sending.await.unwrap().unwrap_err();
        assert_eq!(failed.fault.code, code, "{:?}", failed.fault.cause);
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_off_fails_and_its_connection_is_not_used_again() {
    let net = Arc::new(Net::default());
    let mut accepted = net.listen(AT);
    let upstream = build(spec(&[AT]), &world(&net)).unwrap();
    let sending = tokio::spawn(send(&upstream, get()));
    let mut io = accepted.recv().await.unwrap();
    read_head(&mut io).await;
    io.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello").await.unwrap();
    drop(io);
    let response = sending.await.unwrap().unwrap();
    let error = http_body_util::BodyExt::collect(response.body).await.unwrap_err();
    assert!(matches!(error, BodyError::Cut(_)), "{error:?}");
    assert_eq!(in_flight(&upstream), 0);
}

#[tokio::test]
async fn giving_up_an_answer_or_a_request_closes_the_connection() {
    let net = Arc::new(Net::default());
    let mut accepted = net.listen(AT);
    let upstream = build(spec(&[AT]), &world(&net)).unwrap();
    let sending = tokio::spawn(send(&upstream, get()));
    let mut io = accepted.recv().await.unwrap();
    read_head(&mut io).await;
    io.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello").await.unwrap();
    drop(sending.await.unwrap().unwrap());
    assert_eq!(io.read(&mut [0]).await.unwrap(), 0, "the answer was given up");
    let sending = tokio::spawn(send(&upstream, get()));
    let mut io = accepted.recv().await.unwrap();
    read_head(&mut io).await;
    sending.abort();
    assert_eq!(io.read(&mut [0]).await.unwrap(), 0, "the request was given up");
    assert_eq!(in_flight(&upstream), 0);
}

#[tokio::test]
async fn an_answer_before_the_request_was_taken_costs_the_connection_only() {
    let net = Arc::new(Net::default());
    net.serve(AT, |_| async { text("no thanks") });
    let upstream = build(spec(&[AT]), &world(&net)).unwrap();
    let (feeder, body) = fed();
    let response = send(&upstream, post(body)).await.unwrap();
    assert_eq!(read(response).await, "no thanks");
    settle().await;
    assert!(feeder.is_closed(), "the body is not asked for any more");
    fetch(&upstream).await;
    assert_eq!(net.dials(), 2);
}

#[tokio::test]
async fn a_refused_connection_hands_the_request_back_as_it_was() {
    let net = Arc::new(Net::default());
    let mut spec = spec(&[AT]);
    spec.host = HostHeader::Fixed(HeaderValue::from_static("inner.test"));
    let upstream = build(spec, &world(&net)).unwrap();
    let (feeder, body) = fed();
    let failed = send(&upstream, post(body)).await.unwrap_err();
    assert_eq!(failed.fault.code, FaultCode::ConnectFailed);
    let unsent = failed.unsent.unwrap();
    assert_eq!(unsent.headers["host"], "api.test");
    feeder.send(Ok(Frame::data(Bytes::from_static(b"data")))).await.unwrap();
    drop(feeder);
    let body = http_body_util::BodyExt::collect(unsent.body).await.unwrap();
    assert_eq!(body.to_bytes(), "data", "the body still flows");
    assert_eq!(in_flight(&upstream), 0);
}

#[tokio::test]
async fn the_target_sees_path_host_and_te_as_they_should_be() {
    let net = Arc::new(Net::default());
    let mut accepted = net.listen(AT);
    let upstream = build(spec(&[AT]), &world(&net)).unwrap();
    let mut request = get();
    request.headers.insert(http::header::TE, HeaderValue::from_static("trailers"));
    let sending = tokio::spawn(send(&upstream, request));
    let mut io = accepted.recv().await.unwrap();
    let head = read_head(&mut io).await;
    assert!(head.starts_with("GET /things?n=1 HTTP/1.1\r\n"), "{head}");
    for line in ["host: api.test\r\n", "te: trailers\r\n", "connection: te\r\n"] {
        assert!(head.contains(line), "{line:?} is not in {head}");
    }
    sending.abort();
}

#[tokio::test]
async fn an_answer_without_body_ends_at_once() {
    let net = Arc::new(Net::default());
    net.serve(AT, |_| async {
        let mut answer = text("");
        *answer.status_mut() = StatusCode::NO_CONTENT;
        answer
    });
    let upstream = build(spec(&[AT]), &world(&net)).unwrap();
    let response = send(&upstream, post(Body::full("data"))).await.unwrap();
    assert!(response.body.is_empty());
    assert_eq!(in_flight(&upstream), 0);
    settle().await;
    send(&upstream, get()).await.unwrap();
    assert_eq!(net.dials(), 1);
}

#[tokio::test]
async fn a_streaming_answer_holds_its_place() {
    let net = Arc::new(Net::default());
    net.serve(AT, |_| async { endless("first") });
    let upstream = build(spec(&[AT]), &world(&net)).unwrap();
    let response = send(&upstream, get()).await.unwrap();
    let mut body = response.body;
    let frame = http_body_util::BodyExt::frame(&mut body).await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "first");
    assert_eq!(in_flight(&upstream), 1);
}

#[tokio::test]
async fn real_sockets_are_dialed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut world = world(&Arc::default());
    world.dial = Arc::new(TcpDial::default());
    let upstream = build(spec(&[&address.to_string()]), &world).unwrap();
    let serving = async {
        let (mut io, _) = listener.accept().await.unwrap();
        io.read_u8().await.unwrap();
        io.write_all(HELLO).await.unwrap();
        io
    };
    let (text, _io) = tokio::join!(fetch(&upstream), serving);
    assert_eq!(text, "hello");
}

#[tokio::test]
async fn a_port_where_nobody_listens_refuses() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut world = world(&Arc::default());
    world.dial = Arc::new(TcpDial::default());
    let upstream = build(spec(&[&address.to_string()]), &world).unwrap();
    let failed = send(&upstream, get()).await.unwrap_err();
    assert_eq!(failed.fault.code, FaultCode::ConnectFailed);
    let cause = failed.fault.cause.unwrap().to_string();
    assert!(cause.contains("refused"), "{cause}");
    assert!(failed.unsent.is_some());
}

#[tokio::test]
async fn a_client_that_breaks_off_while_nobody_reads_is_no_failure_of_the_target() {
    let net = Arc::new(Net::default());
    let mut accepted = net.listen(AT);
    let world = world(&net);
    let upstream = build(spec(&[AT]), &world).unwrap();
    let (feeder, body) = fed();
    let sending = tokio::spawn(send(&upstream, post(body)));
    let mut target = accepted.recv().await.unwrap();
    read_head(&mut target).await;
    target.write_all(HELLO).await.unwrap();
    let mut response = sending.await.unwrap().unwrap();
    feeder.send(Err(BodyError::Cut("the client left".into()))).await.unwrap();
    std::future::poll_fn(|cx| response.body.poll_drive(cx)).await.unwrap_err();
    assert_eq!(world.metrics.target("orders", AT).failures.sum(), 0);
    assert_eq!(in_flight(&upstream), 0);
}
