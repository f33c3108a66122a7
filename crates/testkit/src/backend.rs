//! Backends in memory that do what a test tells them: answer, be slow, lie, break off, refuse.

use crate::message::{self, Kind};
use base::Endpoint;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;
use traffic::BoxFuture;
use upstream::{Called, Dial, Io, Led, Resolve, Resolved};

/// One thing a backend does with a request.
#[derive(Clone, Debug)]
pub enum Act {
    /// Answers 200 with the request it saw as body.
    Echo,
    /// Sends this answer, written with plain line breaks.
    Answer(String),
    /// Sends these bytes as they are.
    Bytes(Vec<u8>),
    /// Waits, by the clock of the test.
    Wait(Duration),
    /// Never does anything again, and keeps the connection open.
    Hang,
    /// Closes the connection.
    Close,
}

/// What a backend does with each request, and whether it lets anybody in.
#[derive(Clone, Debug)]
pub struct Backend {
    acts: Vec<Act>,
    door: Door,
}

/// What becomes of those who connect.
#[derive(Clone, Debug)]
enum Door {
    Open,
    Refuses,
    Silent,
    /// The test itself is the backend.
    Hands(mpsc::Sender<DuplexStream>),
}

/// Connections that wait for a test to take them.
const WAITING_MAX: usize = 64;

impl Backend {
    /// A backend that answers with what it saw.
    #[must_use]
    pub fn echo() -> Self {
        Self::acts([Act::Echo])
    }

    /// A backend that sends this answer.
    #[must_use]
    pub fn answer(text: &str) -> Self {
        Self::acts([Act::Answer(text.to_owned())])
    }

    /// A backend that does these things with each request.
    #[must_use]
    pub fn acts(acts: impl IntoIterator<Item = Act>) -> Self {
        Self { acts: acts.into_iter().collect(), door: Door::Open }
    }

    /// A backend that refuses connections.
    #[must_use]
    pub fn refusing() -> Self {
        Self { acts: Vec::new(), door: Door::Refuses }
    }

    /// A backend that neither takes nor refuses connections.
    #[must_use]
    pub fn unreachable() -> Self {
        Self { acts: Vec::new(), door: Door::Silent }
    }

    /// A backend played by the test, which gets the far end of each connection. What is read there is
    /// not in [`Backends::seen`].
    #[must_use]
    pub fn played() -> (Self, mpsc::Receiver<DuplexStream>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        (Self { acts: Vec::new(), door: Door::Hands(sender) }, receiver)
    }
}

/// A request as a backend saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The address it came to.
    pub address: SocketAddr,
    /// Its bytes.
    pub request: Vec<u8>,
}

/// All backends of a test, by address.
#[derive(Debug, Default)]
pub struct Backends {
    by_address: Mutex<HashMap<SocketAddr, Backend>>,
    seen: Mutex<Vec<Seen>>,
    dialled: Mutex<u64>,
}

impl Backends {
    /// Puts a backend at an address, in place of the one there.
    pub fn put(&self, address: SocketAddr, backend: Backend) {
        self.by_address.lock().unwrap().insert(address, backend);
    }

    /// The requests seen so far, in order.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Forgets the requests seen so far, for tests of what is left in memory.
    pub fn forget(&self) {
        *self.seen.lock().unwrap() = Vec::new();
    }

    /// How many connections were opened.
    #[must_use]
    pub fn dialled(&self) -> u64 {
        *self.dialled.lock().unwrap()
    }

    async fn serve(self: Arc<Self>, address: SocketAddr, mut io: DuplexStream) {
        loop {
            let request = message::read(&mut io, Kind::Request).await;
            if request.is_empty() {
                return;
            }
            self.seen.lock().unwrap().push(Seen { address, request: request.clone() });
            let backend = self.by_address.lock().unwrap().get(&address).cloned();
            for act in backend.map(|backend| backend.acts).unwrap_or_default() {
                let sent = match act {
                    Act::Echo => {
                        let head = format!(
                            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n",
                            request.len()
                        );
                        io.write_all(&[head.as_bytes(), &request].concat()).await
                    }
                    Act::Answer(text) => io.write_all(&message::wire(&text)).await,
                    Act::Bytes(bytes) => io.write_all(&bytes).await,
                    Act::Wait(time) => {
                        tokio::time::sleep(time).await;
                        Ok(())
                    }
                    Act::Hang => std::future::pending().await,
                    Act::Close => return,
                };
                if sent.is_err() {
                    return;
                }
            }
        }
    }
}

/// Where all Unix sockets are: no file is opened.
const UNIX: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);

/// The way to the backends of a test. All Unix sockets are at `0.0.0.0:0`.
#[derive(Clone, Debug)]
pub struct MemoryDial(pub Arc<Backends>);

impl Dial for MemoryDial {
    fn dial<'a>(&'a self, to: &'a Endpoint) -> BoxFuture<'a, io::Result<Box<dyn Io>>> {
        Box::pin(async move {
            let address = to.ip().unwrap_or(UNIX);
            let backend = self.0.by_address.lock().unwrap().get(&address).cloned();
            let door = backend.map_or(Door::Refuses, |backend| backend.door);
            let (ours, theirs) = tokio::io::duplex(64 << 10);
            match door {
                Door::Refuses => return Err(io::ErrorKind::ConnectionRefused.into()),
                Door::Silent => return std::future::pending().await,
                Door::Open => drop(tokio::spawn(Arc::clone(&self.0).serve(address, theirs))),
                Door::Hands(to) => {
                    to.send(theirs).await.map_err(|_| io::ErrorKind::ConnectionRefused)?;
                }
            }
            *self.0.dialled.lock().unwrap() += 1;
            Ok(Box::new(ours) as Box<dyn Io>)
        })
    }
}

/// Names that tests may use: `name-7.test` stands for 10.0.0.7, `inward.test` for this machine, all others for nothing.
/// All addresses are called `crawl-A-B-C-D.bots.test`, those of 198.51.100.0/24 wrongly so.
#[derive(Clone, Copy, Debug)]
pub struct MemoryResolve;

impl Resolve for MemoryResolve {
    fn resolve(&self, name: &str) -> BoxFuture<'_, Result<Resolved, String>> {
        let number = name.trim_end_matches(".test").rsplit('-').next().and_then(|n| n.parse().ok());
        let name = name.to_owned();
        Box::pin(async move {
            if name == "inward.test" {
                let addresses = vec![IpAddr::from([127, 0, 0, 1])];
                return Ok(Resolved { addresses, valid_for: Duration::from_secs(60) });
            }
            let last: u8 = number.ok_or("there is no such name")?;
            let addresses = vec![IpAddr::from([10, 0, 0, last])];
            Ok(Resolved { addresses, valid_for: Duration::from_secs(60) })
        })
    }

    fn names(&self, address: IpAddr) -> BoxFuture<'_, Result<Called, String>> {
        let name = format!("crawl-{}.bots.test", address.to_string().replace(['.', ':'], "-"));
        let valid_for = Duration::from_secs(60);
        Box::pin(async move { Ok(Called { names: vec![name], valid_for }) })
    }

    fn leads(&self, _: &str, address: IpAddr) -> BoxFuture<'_, Result<Led, String>> {
        let there = !address.to_string().starts_with("198.51.100.");
        Box::pin(async move { Ok(Led { there, valid_for: Duration::from_secs(60) }) })
    }
}
