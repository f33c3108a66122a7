//! Backends that the test itself plays: they show what they saw, are slow, or misbehave.

use super::client::header;
use super::wait::{PATIENCE, until_true};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// A request as the backend saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        header(&self.head, name)
    }

    /// The words of the request line.
    pub(crate) fn line(&self) -> &str {
        self.head.lines().next().unwrap()
    }
}

/// A backend on a thread, with one more for each connection.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    opened: Arc<AtomicUsize>,
    closed: Arc<AtomicUsize>,
}

impl Backend {
    /// Answers each request by `answer`, which says whether the connection goes on.
    pub(crate) fn start(
        answer: impl Fn(&Seen, &mut TcpStream) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), answer)
    }

    /// The same at this address.
    pub(crate) fn start_at(
        address: SocketAddr,
        answer: impl Fn(&Seen, &mut TcpStream) -> bool + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let backend = Self {
            address: listener.local_addr().unwrap(),
            seen: Arc::default(),
            opened: Arc::default(),
            closed: Arc::default(),
        };
        let answer = Arc::new(answer);
        let (seen, opened) = (Arc::clone(&backend.seen), Arc::clone(&backend.opened));
        let closed = Arc::clone(&backend.closed);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                opened.fetch_add(1, Ordering::SeqCst);
                let (seen, closed) = (Arc::clone(&seen), Arc::clone(&closed));
                let answer = Arc::clone(&answer);
                std::thread::spawn(move || {
                    converse(stream, &seen, &*answer);
                    closed.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        backend
    }

    /// Answers with the request it saw.
    pub(crate) fn echo() -> Self {
        Self::start(|seen, stream| {
            let body = [seen.head.as_bytes(), &seen.body].concat();
            answer(stream, "200 OK", "", &body)
        })
    }

    /// Answers with these words and nothing else.
    pub(crate) fn says(text: &'static str) -> Self {
        Self::start(move |_, stream| answer(stream, "200 OK", "", text.as_bytes()))
    }

    /// The same at this address.
    pub(crate) fn says_at(address: SocketAddr, text: &'static str) -> Self {
        Self::start_at(address, move |_, stream| answer(stream, "200 OK", "", text.as_bytes()))
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Waits for so many requests.
    pub(crate) fn until_seen(&self, count: usize) {
        until_true("the backend has the request", || self.seen.lock().unwrap().len() >= count);
    }

    /// Connections that were opened so far.
    pub(crate) fn opened(&self) -> usize {
        self.opened.load(Ordering::SeqCst)
    }

    /// Connections that have ended so far.
    pub(crate) fn closed(&self) -> usize {
        self.closed.load(Ordering::SeqCst)
    }
}

fn converse(
    mut stream: TcpStream,
    seen: &Mutex<Vec<Seen>>,
    answer: &(dyn Fn(&Seen, &mut TcpStream) -> bool + Send + Sync),
) {
    stream.set_nodelay(true).unwrap();
    stream.set_write_timeout(Some(2 * PATIENCE)).unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(request) = read(&mut reader) {
        seen.lock().unwrap().push(request.clone());
        if !answer(&request, &mut stream) {
            return;
        }
    }
}

/// Reads a request; nothing if the connection ends before or within it.
fn read(reader: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let mut body = Vec::new();
    if let Some(length) = header(&head, "content-length") {
        body.resize(length.parse().unwrap(), 0);
        reader.read_exact(&mut body).ok()?;
    } else if header(&head, "transfer-encoding").is_some() {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size).ok()?;
            let size = usize::from_str_radix(size.trim(), 16).ok()?;
            let mut chunk = vec![0; size + 2];
            reader.read_exact(&mut chunk).ok()?;
            if size == 0 {
                break;
            }
            chunk.truncate(size);
            body.append(&mut chunk);
        }
    }
    Some(Seen { head, body })
}

/// Sends an answer of a known length; whether that was possible.
pub(crate) fn answer(stream: &mut TcpStream, status: &str, headers: &str, body: &[u8]) -> bool {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body].concat()).is_ok()
}
