//! Requests become answers, and everything between them passes.

use crate::it::http2::frames::{
    ACK, Client, DATA, END_STREAM, HEADERS, PING, WHOLE, block, frame, get, post, reset, tell_story,
};
use crate::it::kit::{CLOSED, accept, hear, played, tell};
use testkit::gateway::BACKEND;
use testkit::{Backend, TestGateway};

#[tokio::test(start_paused = true)]
async fn a_request_is_answered() {
    let gateway = TestGateway::with_policies("[]");
    let mut client = Client::ready(&gateway).await;
    assert_eq!(client.say(&get(1)).await, "1:200");
    assert_eq!(client.say(&[get(3), get(5)].concat()).await, "3:200, 5:200");
    let seen = gateway.seen();
    assert_eq!(seen.len(), 3);
    assert!(seen[0].starts_with("GET / HTTP/1.1\nhost: a.test\n"), "{}", seen[0]);
}

#[tokio::test(start_paused = true)]
async fn a_body_passes_with_its_length_or_without() {
    let gateway = TestGateway::with_policies("[]");
    let mut client = Client::ready(&gateway).await;
    let data = frame(DATA, END_STREAM, 1, b"hello");
    assert_eq!(client.say(&[post(1, "content-length: 5\n"), data].concat()).await, "1:200");
    assert!(gateway.seen()[0].ends_with("\n\nhello"), "{}", gateway.seen()[0]);
    let data =
        [frame(DATA, 0, 3, b"hel"), frame(DATA, 0, 3, b"lo"), frame(DATA, END_STREAM, 3, b"")];
    assert_eq!(client.say(&[post(3, ""), data.concat()].concat()).await, "3:200");
    assert!(gateway.seen()[1].ends_with("\n\n3\nhel\n2\nlo\n0\n\n"), "{}", gateway.seen()[1]);
}

#[tokio::test(start_paused = true)]
async fn trailers_pass_both_ways() {
    let (gateway, mut connections) = played("retries: 0");
    let mut client = Client::ready(&gateway).await;
    let trailers = frame(HEADERS, WHOLE, 1, &block("x-sum: 1\n"));
    client.tell(&[post(1, "te: trailers\n"), frame(DATA, 0, 1, b"hello"), trailers].concat()).await;
    let mut backend = accept(&mut connections).await;
    let request = hear(&mut backend).await;
    assert!(request.ends_with("\n\n5\nhello\n0\nx-sum: 1\n\n"), "{request}");
    tell(&mut backend, "HTTP/1.1 200 OK\ntransfer-encoding: chunked\ntrailer: x-end\n\n").await;
    assert_eq!(client.story().await, "1:200..");
    tell(&mut backend, "2\nok\n").await;
    assert_eq!(client.story().await, "1:..");
    tell(&mut backend, "0\nx-end: yes\n\n").await;
    assert_eq!(client.story().await, "1:x-end=yes");
}

#[tokio::test(start_paused = true)]
async fn trailers_follow_a_body_whose_length_was_announced() {
    let (gateway, mut connections) = played("retries: 0, protocol: http2");
    let mut client = Client::ready(&gateway).await;
    client.tell(&get(1)).await;
    let mut backend = h2::server::handshake(accept(&mut connections).await).await.unwrap();
    drop(tokio::spawn(async move {
        while let Some(Ok((_, mut respond))) = backend.accept().await {
            let head = http::Response::builder().header("content-length", "5").body(()).unwrap();
            let mut stream = respond.send_response(head, false).unwrap();
            stream.send_data("hello".into(), false).unwrap();
            let trailers = [("grpc-status".parse().unwrap(), "0".parse().unwrap())];
            stream.send_trailers(trailers.into_iter().collect()).unwrap();
        }
    }));
    assert_eq!(client.story().await, "1:200.., 1:grpc-status=0");
}

#[tokio::test(start_paused = true)]
async fn what_a_client_resets_is_given_up_at_once() {
    let (gateway, mut connections) = played("retries: 0");
    let mut client = Client::ready(&gateway).await;
    client.tell(&get(1)).await;
    let mut backend = accept(&mut connections).await;
    hear(&mut backend).await;
    assert_eq!(in_flight(&gateway), 1.0);
    assert_eq!(client.say(&reset(1)).await, "");
    assert_eq!(hear(&mut backend).await, CLOSED);
    assert_eq!(in_flight(&gateway), 0.0);
    assert_eq!(gateway.metric(LEFT), 1.0);
    // In the middle of an answer as well.
    client.tell(&get(3)).await;
    let mut backend = accept(&mut connections).await;
    tell(&mut backend, "HTTP/1.1 200 OK\ncontent-length: 10\n\nhello").await;
    assert_eq!(client.story().await, "3:200..");
    assert_eq!(client.say(&reset(3)).await, "");
    assert_eq!(in_flight(&gateway), 0.0);
    hear(&mut backend).await;
    assert!(hear(&mut backend).await.ends_with(CLOSED));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_connection_ends_its_streams() {
    let (gateway, mut connections) = played("retries: 0");
    let mut client = Client::ready(&gateway).await;
    client.tell(&[get(1), get(3), post(5, "")].concat()).await;
    let mut backends = Vec::new();
    for _ in 0..3 {
        backends.push(accept(&mut connections).await);
    }
    assert_eq!(in_flight(&gateway), 3.0);
    drop(client);
    for mut backend in backends {
        assert!(hear(&mut backend).await.ends_with(CLOSED));
    }
    assert_eq!(in_flight(&gateway), 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_reset_is_cut_for_the_backend_too() {
    let (gateway, mut connections) = played("retries: 0");
    let mut client = Client::ready(&gateway).await;
    client.tell(&[post(1, ""), frame(DATA, 0, 1, b"hel")].concat()).await;
    let mut backend = accept(&mut connections).await;
    assert!(hear(&mut backend).await.ends_with("\n\n3\nhel\n"));
    client.tell(&reset(1)).await;
    assert_eq!(hear(&mut backend).await, CLOSED);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_is_never_taken_for_a_whole_one() {
    for answer in [
        "HTTP/1.1 200 OK\ncontent-length: 10\n\nhello",
        "HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n5\nhello\n",
    ] {
        let (gateway, mut connections) = played("retries: 0");
        let mut client = Client::ready(&gateway).await;
        client.tell(&get(1)).await;
        let mut backend = accept(&mut connections).await;
        tell(&mut backend, answer).await;
        assert_eq!(client.story().await, "1:200..");
        drop(backend);
        assert_eq!(client.story().await, "1:INTERNAL_ERROR");
        // The others are served on.
        client.tell(&get(3)).await;
        let mut backend = accept(&mut connections).await;
        tell(&mut backend, "HTTP/1.1 204 No Content\n\n").await;
        assert_eq!(client.story().await, "3:204");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_whose_body_nobody_wants_is_answered_and_told_to_stop() {
    let gateway = TestGateway::with_policies("[{ respond: { status: 403, body: no } }]");
    let mut client = Client::ready(&gateway).await;
    assert_eq!(client.say(&post(1, "")).await, "1:403, 1:NO_ERROR");
    // What was on its way does no harm.
    let late = [frame(DATA, 0, 1, b"hello"), frame(DATA, END_STREAM, 1, b"")].concat();
    assert_eq!(client.say(&late).await, "");
    assert_eq!(client.say(&get(3)).await, "3:403");
}

#[tokio::test(start_paused = true)]
async fn an_upload_ends_with_its_answer() {
    let (gateway, mut connections) = played("retries: 0");
    let mut client = Client::ready(&gateway).await;
    client.tell(&[post(1, ""), frame(DATA, 0, 1, b"hel")].concat()).await;
    let mut backend = accept(&mut connections).await;
    hear(&mut backend).await;
    tell(&mut backend, "HTTP/1.1 413 Content Too Large\ncontent-length: 2\n\nno").await;
    assert_eq!(client.story().await, "1:413, 1:NO_ERROR");
    assert!(hear(&mut backend).await.ends_with(CLOSED));
    assert_eq!(in_flight(&gateway), 0.0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_head_has_a_length_and_no_body() {
    let gateway = TestGateway::with_policies("[]");
    gateway.put(BACKEND, Backend::answer("HTTP/1.1 200 OK\ncontent-length: 7\n\n"));
    let mut client = Client::ready(&gateway).await;
    let block = block(":method: HEAD\n:scheme: http\n:path: /\n:authority: a.test\n");
    client.tell(&frame(HEADERS, WHOLE, 1, &block)).await;
    let heard = client.hear().await;
    let answer = heard.iter().find(|frame| frame.kind == HEADERS).unwrap();
    assert_eq!(answer.field("content-length"), Some("7"));
    assert_eq!(tell_story(&heard), ["1:200"]);
    let gateway = TestGateway::with_policies("[{ respond: { status: 200, body: hello } }]");
    let mut client = Client::ready(&gateway).await;
    client.tell(&frame(HEADERS, WHOLE, 1, &block)).await;
    assert_eq!(client.story().await, "1:200");
}

#[tokio::test(start_paused = true)]
async fn connection_headers_of_an_answer_stay_behind() {
    let gateway = TestGateway::with_policies("[]");
    gateway.put(
        BACKEND,
        Backend::answer(
            "HTTP/1.1 200 OK\nconnection: keep-alive, x-hop\nkeep-alive: timeout=5\nx-hop: 1\nproxy-connection: x\nX-Kept: 2\nset-cookie: a\nset-cookie: b\ncontent-length: 2\n\nok",
        ),
    );
    let mut client = Client::ready(&gateway).await;
    client.tell(&get(1)).await;
    let heard = client.hear().await;
    let answer = heard.iter().find(|frame| frame.kind == HEADERS).unwrap();
    let volatile = |name: &str| matches!(name, "date" | "x-request-id");
    let kept = answer.fields.iter().filter(|(name, _)| !volatile(name));
    let mut kept: Vec<String> = kept.map(|(name, value)| format!("{name}={value}")).collect();
    kept.sort();
    let expected = [":status=200", "content-length=2", "set-cookie=a", "set-cookie=b", "x-kept=2"];
    assert_eq!(kept, expected);
    assert!(answer.field("date").is_some() && answer.field("x-request-id").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_drain_lets_streams_finish_and_no_others_begin() {
    let (gateway, mut connections) = played("retries: 0");
    let mut client = Client::ready(&gateway).await;
    client.tell(&get(1)).await;
    let mut backend = accept(&mut connections).await;
    gateway.drain();
    let heard = client.hear().await;
    assert_eq!(tell_story(&heard), ["goaway NO_ERROR"]);
    // A stream that was on its way when the first GOAWAY was sent is served.
    client.tell(&get(3)).await;
    let mut second = accept(&mut connections).await;
    let asked = heard.iter().find(|frame| frame.kind == PING).unwrap();
    assert_eq!(client.say(&frame(PING, ACK, 0, &asked.payload)).await, "goaway NO_ERROR");
    assert_eq!(client.say(&get(5)).await, "");
    tell(&mut backend, "HTTP/1.1 200 OK\ncontent-length: 2\n\nok").await;
    assert_eq!(client.story().await, "1:200");
    tell(&mut second, "HTTP/1.1 200 OK\ncontent-length: 2\n\nok").await;
    assert_eq!(client.story().await, "3:200, closed");
    assert!(connections.try_recv().is_err(), "the third was not begun");
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_an_idle_connection() {
    let gateway = TestGateway::with_policies("[]");
    let mut client = Client::ready(&gateway).await;
    assert_eq!(client.say(&get(1)).await, "1:200");
    gateway.drain();
    let heard = client.hear().await;
    let asked = heard.iter().find(|frame| frame.kind == PING).unwrap();
    assert_eq!(client.say(&frame(PING, ACK, 0, &asked.payload)).await, "goaway NO_ERROR, closed");
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_is_gone_leaves_no_connection() {
    let gateway = TestGateway::with_policies("[]");
    let mut client = Client::ready(&gateway).await;
    drop(gateway);
    assert_eq!(client.story().await, "goaway NO_ERROR, closed");
}

#[tokio::test(start_paused = true)]
async fn informational_answers_are_passed_on() {
    let (gateway, mut connections) = played("retries: 0");
    let mut client = Client::ready(&gateway).await;
    client.tell(&get(1)).await;
    let mut backend = accept(&mut connections).await;
    tell(&mut backend, "HTTP/1.1 103 Early Hints\nlink: </style.css>\nconnection: x\n\n").await;
    let heard = client.hear().await;
    assert_eq!(tell_story(&heard), ["1:103.."]);
    let hints = heard.iter().find(|frame| frame.kind == HEADERS).unwrap();
    assert_eq!(hints.field("link"), Some("</style.css>"));
    assert_eq!(hints.field("connection"), None);
    tell(&mut backend, "HTTP/1.1 200 OK\ncontent-length: 2\n\nok").await;
    assert_eq!(client.story().await, "1:200");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_for_100_gets_it_from_the_backend() {
    let (gateway, mut connections) = played("retries: 0");
    let mut client = Client::ready(&gateway).await;
    client.tell(&post(1, "content-length: 5\nexpect: 100-continue\n")).await;
    let mut backend = accept(&mut connections).await;
    let request = hear(&mut backend).await;
    assert!(request.contains("\nexpect: 100-continue\n"), "{request}");
    tell(&mut backend, "HTTP/1.1 100 Continue\n\n").await;
    assert_eq!(client.story().await, "1:100..");
    client.tell(&frame(DATA, END_STREAM, 1, b"hello")).await;
    assert_eq!(hear(&mut backend).await, "hello");
    tell(&mut backend, "HTTP/1.1 200 OK\ncontent-length: 2\n\nok").await;
    assert_eq!(client.story().await, "1:200");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_for_100_may_get_the_answer_instead() {
    let (gateway, mut connections) = played("retries: 0");
    let mut client = Client::ready(&gateway).await;
    client.tell(&post(1, "content-length: 5\nexpect: 100-continue\n")).await;
    let mut backend = accept(&mut connections).await;
    tell(&mut backend, "HTTP/1.1 401 Unauthorized\ncontent-length: 2\n\nno").await;
    assert_eq!(client.story().await, "1:401, 1:NO_ERROR");
}

const LEFT: &str = "yett_requests_total{api=\"test\",route=\"all\",status=\"4xx\"}";

pub(crate) fn in_flight(gateway: &TestGateway) -> f64 {
    let text = gateway.metrics.encode();
    let lines = text.lines().filter(|line| line.starts_with("yett_requests_in_flight{"));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}
