//! A client that sends pieces and listens; and how much memory a conversation takes at its peak.
//!
//! Memory is counted by the allocator, for the test's own thread: a gateway in memory, its backend and its
//! client live on one thread, and nothing of what tests beside it do is counted.

use crate::it::hostile::recorder::Recorder;
use crate::it::hostile::row::Then;
use crate::it::hostile::text;
use crate::it::kit::CLOSED;
use std::time::Duration;
use testkit::TestGateway;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// How long, by the paused clock, nothing must happen for all to be quiet.
const QUIET: Duration = Duration::from_millis(1);
/// Bytes kept of what is heard.
const KEPT_BYTES: usize = 16 << 10;

/// A gateway and the thread that it lives on. Nothing below `/admin` is for clients.
pub(crate) struct Stage {
    runtime: Runtime,
    pub(crate) gateway: TestGateway,
}

const CONFIG: &str = "version: 1
listeners: { public: { bind: '127.0.0.1:8080' } }
upstreams: { one: { targets: ['10.0.0.1:80'], retries: 0 } }
apis:
  test:
    upstream: one
    public: a test
    routes:
      - /admin/*: { policies: [{ deny: 'true' }] }
      - /*
";

/// A request that is served.
pub(crate) const GOOD: &[u8] = b"GET /good HTTP/1.1\r\nhost: a.test\r\n\r\n";

impl Stage {
    /// A gateway that has no backend yet.
    pub(crate) fn new() -> Self {
        let builder = &mut Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        let gateway = runtime.block_on(async { TestGateway::new(CONFIG) });
        Self { runtime, gateway }
    }

    /// A gateway before a backend that writes down what it sees.
    pub(crate) fn recorded() -> (Self, Recorder) {
        let stage = Self::new();
        let recorder = stage.run(async { Recorder::behind(&stage.gateway) });
        // What a thread keeps for ever is no growth.
        stage.says(&[GOOD], Then::Waits);
        recorder.take();
        (stage, recorder)
    }

    /// Runs something on the gateway's thread.
    pub(crate) fn run<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Has all that is under way come to rest.
    pub(crate) fn settle(&self) {
        self.run(async { tokio::time::sleep(QUIET).await });
    }

    /// What a client of its own hears for these pieces.
    pub(crate) fn says(&self, pieces: &[&[u8]], then: Then) -> String {
        self.run(async {
            let mut client = Client::new(self.gateway.connect());
            for piece in pieces {
                client.send(piece).await;
            }
            if then == Then::Ends {
                drop(client.io.shutdown().await);
            }
            client.listen().await;
            client.text()
        })
    }
}

/// Runs something and returns by how many bytes the memory of this thread grew at the most.
pub(crate) fn growth<T>(run: impl FnOnce() -> T) -> (T, u64) {
    let mut result = None;
    let counted = allocation_counter::measure(|| result = Some(run()));
    (result.unwrap(), counted.bytes_max)
}

/// A client that keeps little of what it hears.
pub(crate) struct Client {
    pub(crate) io: DuplexStream,
    room: Vec<u8>,
    heard: Vec<u8>,
    /// All bytes that came.
    pub(crate) count: usize,
    pub(crate) is_closed: bool,
}

impl Client {
    pub(crate) fn new(io: DuplexStream) -> Self {
        let (room, heard) = (vec![0; 4 << 10], Vec::new());
        Self { io, room, heard, count: 0, is_closed: false }
    }

    /// Sends a piece, listening all the while, until it is gone or nobody takes more, and all is quiet.
    pub(crate) async fn send(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while !rest.is_empty() {
            match timeout(QUIET, self.io.write(rest)).await {
                Ok(Ok(count)) => rest = rest.get(count..).unwrap(),
                Ok(Err(_)) => break,
                Err(_) => {
                    let before = self.count;
                    self.listen().await;
                    if self.count == before {
                        break;
                    }
                }
            }
        }
        self.listen().await;
    }

    /// Listens until all is quiet.
    pub(crate) async fn listen(&mut self) {
        while !self.is_closed {
            match timeout(QUIET, self.io.read(&mut self.room)).await {
                Err(_) => return,
                Ok(Ok(0) | Err(_)) => self.is_closed = true,
                Ok(Ok(count)) => {
                    self.count += count;
                    let room = KEPT_BYTES - self.heard.len();
                    self.heard.extend_from_slice(&self.room[..count.min(room)]);
                }
            }
        }
        tokio::time::sleep(QUIET).await;
    }

    /// Forgets what was heard.
    pub(crate) fn forget(&mut self) {
        self.heard.clear();
    }

    /// What was heard, and whether the other side closed.
    pub(crate) fn text(&self) -> String {
        let end = if self.is_closed { CLOSED } else { "" };
        text::answer(&self.heard) + end
    }
}
