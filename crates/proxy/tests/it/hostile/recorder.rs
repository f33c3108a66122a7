//! A backend that writes down each byte it gets, message by message, and answers what is whole.

use crate::it::hostile::text;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use testkit::TestGateway;
use testkit::gateway::BACKEND;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

/// What every whole request is answered with.
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
/// What stands behind a message that its connection ended in.
pub(crate) const CUT: &str = "<cut>";
/// What stands behind a message that goes on.
const OPEN: &str = "<open>";

#[derive(Default)]
struct Log {
    ended: Vec<String>,
    /// What came of the message that each connection is in.
    open: BTreeMap<usize, Vec<u8>>,
}

impl Log {
    /// Writes down what came on a connection; nothing is its end. Returns how many messages are whole now.
    fn write(&mut self, number: usize, piece: &[u8]) -> usize {
        let bytes = self.open.entry(number).or_default();
        bytes.extend_from_slice(piece);
        let before = self.ended.len();
        while let Some(length) = length(bytes) {
            let message: Vec<u8> = bytes.drain(..length).collect();
            self.ended.push(text::request(&message));
        }
        let whole = self.ended.len() - before;
        if piece.is_empty() {
            let rest = self.open.remove(&number).unwrap_or_default();
            if !rest.is_empty() {
                self.ended.push(text::request(&rest) + CUT);
            }
        }
        whole
    }
}

/// The backend.
pub(crate) struct Recorder(Arc<Mutex<Log>>);

impl Recorder {
    /// Stands behind a gateway from now on.
    pub(crate) fn behind(gateway: &TestGateway) -> Self {
        let log = Arc::new(Mutex::new(Log::default()));
        let mut connections = gateway.play(BACKEND);
        let kept = Arc::clone(&log);
        drop(tokio::spawn(async move {
            let mut count = 0;
            while let Some(io) = connections.recv().await {
                drop(tokio::spawn(record(io, count, Arc::clone(&kept))));
                count += 1;
            }
        }));
        Self(log)
    }

    /// What came since this was last asked.
    pub(crate) fn take(&self) -> Vec<String> {
        let mut log = self.0.lock().unwrap();
        let mut all = std::mem::take(&mut log.ended);
        let open = log.open.values().filter(|bytes| !bytes.is_empty());
        all.extend(open.map(|bytes| text::request(bytes) + OPEN));
        all
    }
}

async fn record(mut io: DuplexStream, number: usize, log: Arc<Mutex<Log>>) {
    let mut piece = vec![0; 4 << 10];
    loop {
        let read = io.read(&mut piece).await.unwrap_or(0);
        let mut whole = 0;
        // What is written down is no growth of the gateway's.
        allocation_counter::opt_out(|| {
            whole = log.lock().unwrap().write(number, &piece[..read]);
        });
        if read == 0 {
            return;
        }
        for _ in 0..whole {
            // Who does not listen has gone, which the next read tells.
            drop(io.write_all(OK).await);
        }
    }
}

/// How long the first message is, if it is whole. What two readers could take for two things has no length
/// at all, and so never ends.
pub(crate) fn length(bytes: &[u8]) -> Option<usize> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text = text::latin(bytes.get(..head)?);
    let values = |name: &str| {
        let lines = text.split("\r\n").skip(1);
        let pairs = lines.filter_map(|line| line.split_once(": "));
        pairs.filter(|(own, _)| *own == name).map(|(_, value)| value.to_owned()).collect::<Vec<_>>()
    };
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => Some(head),
        ([length], []) => {
            let end = head + length.parse::<usize>().ok()?;
            (bytes.len() >= end).then_some(end)
        }
        ([], [coding]) if coding == "chunked" => chunks(bytes, head),
        _ => None,
    }
}

/// Where the chunks end that begin here.
fn chunks(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let line = line(bytes, at)?;
        let size = usize::from_str_radix(std::str::from_utf8(line).ok()?, 16).ok()?;
        at += line.len() + 2;
        if size == 0 {
            break;
        }
        at += size;
        if bytes.get(at..at + 2)? != b"\r\n" {
            return None;
        }
        at += 2;
    }
    loop {
        let line = line(bytes, at)?;
        at += line.len() + 2;
        if line.is_empty() {
            return Some(at);
        }
    }
}

/// The line that begins here, without its end.
fn line(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let rest = bytes.get(at..)?;
    let end = rest.windows(2).position(|two| two == b"\r\n")?;
    rest.get(..end)
}
