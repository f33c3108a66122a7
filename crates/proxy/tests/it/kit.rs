//! Conversations in raw bytes. Time stands still while anybody has something to do, so that "quiet" is
//! a fact and not a guess.

use std::time::Duration;
use testkit::TestGateway;
use testkit::gateway::BACKEND;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long, by the paused clock, nothing must happen for all to be quiet.
const QUIET: Duration = Duration::from_millis(1);
/// What stands for the end of the connection in the texts of this kit.
pub(crate) const CLOSED: &str = "<closed>";

/// What comes until the other side is quiet, and whether it closed.
pub(crate) async fn hear_bytes(io: &mut (impl AsyncRead + Unpin)) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let mut piece = vec![0; 64 << 10];
    loop {
        match timeout(QUIET, io.read(&mut piece)).await {
            Err(_) => return (bytes, false),
            Ok(Ok(0) | Err(_)) => return (bytes, true),
            Ok(Ok(length)) => bytes.extend_from_slice(piece.get(..length).unwrap()),
        }
    }
}

/// Like [`hear_bytes`], as text with plain line breaks, without what differs each time.
pub(crate) async fn hear(io: &mut (impl AsyncRead + Unpin)) -> String {
    let (bytes, is_closed) = hear_bytes(io).await;
    let text = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
    let volatile = |line: &str| line.starts_with("date: ") || line.starts_with("x-request-id: ");
    let mut kept: String = text.split_inclusive('\n').filter(|line| !volatile(line)).collect();
    if is_closed {
        kept.push_str(CLOSED);
    }
    kept
}

/// Writes bytes as they are. A gateway that refuses early need not read them all.
pub(crate) async fn tell_bytes(io: &mut DuplexStream, bytes: &[u8]) {
    drop(timeout(QUIET, io.write_all(bytes)).await);
}

/// Writes a text, its line breaks as CR LF.
pub(crate) async fn tell(io: &mut DuplexStream, text: &str) {
    tell_bytes(io, text.replace('\n', "\r\n").as_bytes()).await;
}

/// Says something to a gateway on a connection of its own and returns all that comes back.
pub(crate) async fn say(gateway: &TestGateway, text: &str) -> String {
    let mut io = gateway.connect();
    tell(&mut io, text).await;
    hear(&mut io).await
}

/// Like [`say`], with bytes as they are.
pub(crate) async fn say_bytes(gateway: &TestGateway, bytes: &[u8]) -> String {
    let mut io = gateway.connect();
    tell_bytes(&mut io, bytes).await;
    hear(&mut io).await
}

/// A `GET` of a path at the host `a.test`; returns all that comes back.
pub(crate) async fn fetch(gateway: &TestGateway, path: &str) -> String {
    say(gateway, &format!("GET {path} HTTP/1.1\nhost: a.test\n\n")).await
}

/// The statuses of all answers in a text, the fault codes with them, and whether the end came:
/// `200, 400 bad_host, closed`.
pub(crate) fn brief(text: &str) -> String {
    let mut parts: Vec<String> = Vec::new();
    // An echoed request has the version at the end of a line, an answer has a status after it.
    for answer in text.split("HTTP/1.").skip(1) {
        let mut words = answer.split([' ', '\n']).skip(1);
        let Some(status) = words.next().filter(|word| word.parse::<u16>().is_ok()) else {
            continue;
        };
        let code = answer.split_once("\"code\":\"").and_then(|(_, code)| code.split_once('"'));
        parts.push(match code {
            Some((code, _)) => format!("{status} {code}"),
            None => status.to_owned(),
        });
    }
    if text.ends_with(CLOSED) {
        parts.push("closed".to_owned());
    }
    parts.join(", ")
}

/// A gateway with one route for everything whose only backend is played by the test, and these further
/// settings of the upstream in flow style.
pub(crate) fn played(settings: &str) -> (TestGateway, mpsc::Receiver<DuplexStream>) {
    let gateway = with_upstream(&format!("{{ targets: ['{BACKEND}'], {settings} }}"));
    let connections = gateway.play(BACKEND);
    (gateway, connections)
}

/// A gateway with one route for everything to this upstream, written in flow style.
pub(crate) fn with_upstream(upstream: &str) -> TestGateway {
    TestGateway::new(&config(upstream, "[]"))
}

/// A config with one route for everything to this upstream, and these policies.
pub(crate) fn config(upstream: &str, policies: &str) -> String {
    format!(
        "version: 1
listeners: {{ public: {{ bind: '127.0.0.1:8080' }} }}
upstreams: {{ one: {upstream} }}
apis: {{ test: {{ upstream: one, public: a test, policies: {policies} }} }}
"
    )
}

/// The next connection that a played backend gets.
pub(crate) async fn accept(connections: &mut mpsc::Receiver<DuplexStream>) -> DuplexStream {
    timeout(QUIET, connections.recv()).await.expect("somebody connects").unwrap()
}

/// The first line of each request that backends saw.
pub(crate) fn first_lines(gateway: &TestGateway) -> Vec<String> {
    gateway.seen().iter().map(|seen| seen.lines().next().unwrap().to_owned()).collect()
}

/// The value of a header in a message.
pub(crate) fn header<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    testkit::message::header(message, name)
}
