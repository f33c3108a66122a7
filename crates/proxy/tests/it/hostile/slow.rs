//! Whoever is slow: clients that send or read slowly, and backends that answer slowly. Each is given up in
//! its time, not before and not after, and holds little memory until then.

/// What is tried.
mod rows;

use crate::it::hostile::recorder;
use crate::it::hostile::talk::{Client, Stage, growth};
use crate::it::http2::frames::Client as Client2;
use crate::it::kit::brief;
pub(crate) use rows::rows;
use std::time::Duration;
use testkit::TestGateway;
use testkit::gateway::BACKEND;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::sleep;

/// Bytes that are said at once, and then again and again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Say {
    pub(crate) first: Vec<u8>,
    pub(crate) then: Vec<u8>,
    pub(crate) every_s: u64,
}

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speaks {
    Http1,
    Http2,
}

/// What a backend does.
#[derive(Clone, Debug)]
pub(crate) enum Backend {
    /// Answers what is whole.
    Answers,
    /// Says this when it has the request.
    Says(Say),
    /// Answers without end, as fast as it can.
    Floods,
    /// Reads nothing.
    Deaf,
}

/// One row.
#[derive(Clone, Debug)]
pub(crate) struct Slow {
    pub(crate) name: &'static str,
    pub(crate) clause: &'static str,
    pub(crate) speaks: Speaks,
    pub(crate) says: Say,
    /// Whether the client reads before the end.
    pub(crate) reads: bool,
    pub(crate) backend: Backend,
    /// What the client has heard in the end.
    pub(crate) outcome: String,
    /// The end comes after so many seconds and before so many.
    pub(crate) within_s: (u64, u64),
    pub(crate) growth_max: u64,
}

#[test]
fn whoever_is_slow_is_given_up_in_time() {
    let failures: Vec<String> = rows()
        .iter()
        .filter_map(|row| Some(format!("{} ({})\n  {}", row.name, row.clause, check(row).err()?)))
        .collect();
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n\n"));
}

fn check(row: &Slow) -> Result<(), String> {
    let stage = Stage::new();
    let mut connections = stage.gateway.play(BACKEND);
    let backend = row.backend.clone();
    stage.run(async {
        drop(tokio::spawn(async move {
            while let Some(io) = connections.recv().await {
                drop(tokio::spawn(play(io, backend.clone())));
            }
        }));
    });
    // What a thread keeps for ever is no growth.
    stage.run(async { drop(Listener::new(&stage.gateway, row.speaks).await) });
    let (found, growth) = growth(|| stage.run(live(&stage.gateway, row)));
    let (story, seconds) = found;
    let story = gathered(story);
    let (from_s, to_s) = row.within_s;
    if story != row.outcome || !(from_s..=to_s).contains(&seconds) {
        return Err(format!(
            "`{story}` after {seconds} s, not `{}` within {:?} s",
            row.outcome, row.within_s
        ));
    }
    if growth > row.growth_max {
        return Err(format!("memory grew by {growth} bytes"));
    }
    match in_flight(&stage.gateway) {
        0.0 => Ok(()),
        count => Err(format!("{count} requests are still in flight")),
    }
}

/// Goes on until the client has heard what it should, or far longer; returns that and the seconds.
async fn live(gateway: &TestGateway, row: &Slow) -> (String, u64) {
    let mut client = Listener::new(gateway, row.speaks).await;
    client.tell(&row.says.first).await;
    for seconds in 0.. {
        let is_over = if row.reads {
            client.listen().await == row.outcome
        } else {
            seconds > 0 && in_flight(gateway) == 0.0
        };
        if is_over || seconds > row.within_s.1 + 30 {
            return (client.listen().await, seconds);
        }
        sleep(Duration::from_secs(1)).await;
        if row.says.every_s > 0 && (seconds + 1) % row.says.every_s == 0 {
            client.tell(&row.says.then).await;
        }
    }
    unreachable!()
}

/// What becomes of many streams, in one word: they end in no order.
fn gathered(story: String) -> String {
    match story.matches(":CANCEL").count() {
        count if count > 1 => format!("{count} streams CANCEL"),
        _ => story,
    }
}

/// A client of either protocol.
enum Listener {
    Http1(Client),
    Http2(Client2, Vec<String>),
}

impl Listener {
    async fn new(gateway: &TestGateway, speaks: Speaks) -> Self {
        match speaks {
            Speaks::Http1 => Self::Http1(Client::new(gateway.connect())),
            Speaks::Http2 => Self::Http2(Client2::ready(gateway).await, Vec::new()),
        }
    }

    async fn tell(&mut self, bytes: &[u8]) {
        match self {
            Self::Http1(client) => crate::it::kit::tell_bytes(&mut client.io, bytes).await,
            Self::Http2(client, _) => client.tell(bytes).await,
        }
    }

    /// All that was heard so far, in short.
    async fn listen(&mut self) -> String {
        match self {
            Self::Http1(client) => {
                client.listen().await;
                brief(&client.text())
            }
            Self::Http2(client, told) => {
                let more = client.story().await;
                // Once it is closed it is said each time.
                if !more.is_empty() && told.last().is_none_or(|last| !last.ends_with("closed")) {
                    told.push(more);
                }
                told.join(", ")
            }
        }
    }
}

fn in_flight(gateway: &TestGateway) -> f64 {
    let text = gateway.metrics.encode();
    let lines = text.lines().filter(|line| line.starts_with("yett_requests_in_flight{"));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
}

/// A backend's side of one connection.
async fn play(mut io: DuplexStream, backend: Backend) {
    if matches!(backend, Backend::Deaf) {
        return std::future::pending().await;
    }
    let mut bytes = Vec::new();
    let mut piece = vec![0; 4 << 10];
    loop {
        match io.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
        }
        let Some(length) = recorder::length(&bytes) else { continue };
        bytes.drain(..length);
        let heard = match &backend {
            Backend::Answers => io.write_all(OK).await.is_ok(),
            Backend::Says(say) => speak(&mut io, say).await,
            Backend::Floods => flood(&mut io).await,
            Backend::Deaf => false,
        };
        if !heard {
            return;
        }
    }
}

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Says something again and again, until the gateway goes.
async fn speak(io: &mut DuplexStream, say: &Say) -> bool {
    if io.write_all(&say.first).await.is_err() {
        return false;
    }
    let mut byte = [0];
    loop {
        let pause = Duration::from_secs(say.every_s.max(1));
        let is_gone = tokio::time::timeout(pause, io.read(&mut byte)).await.is_ok();
        if is_gone || (say.every_s > 0 && io.write_all(&say.then).await.is_err()) {
            return false;
        }
    }
}

async fn flood(io: &mut DuplexStream) -> bool {
    let head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n";
    let piece = [b'x'; 4 << 10];
    let mut is_taken = io.write_all(head).await.is_ok();
    while is_taken {
        is_taken = io.write_all(&piece).await.is_ok();
    }
    false
}

impl Slow {
    /// Its name, for the reference.
    pub(crate) fn title(&self) -> String {
        match self.speaks {
            Speaks::Http1 => self.name.to_owned(),
            Speaks::Http2 => format!("{}, over HTTP/2", self.name),
        }
    }

    /// When its end comes, for the reference.
    pub(crate) fn time(&self) -> String {
        let (from_s, to_s) = self.within_s;
        format!("{from_s} to {to_s} s")
    }
}
