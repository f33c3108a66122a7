//! A backend that writes down the first line of each whole request, and answers it.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// The backend, on a thread, with one more for each connection.
pub(crate) struct Recorder {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Recorder {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || record(stream, &kept));
            }
        });
        Self { address, seen }
    }

    /// The requests since this was last asked.
    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

fn record(mut stream: TcpStream, seen: &Mutex<Vec<String>>) {
    let mut bytes = Vec::new();
    let mut piece = [0; 4 << 10];
    loop {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(count) => bytes.extend_from_slice(piece.get(..count).unwrap()),
        }
        while let Some((end, line)) = whole(&bytes) {
            bytes.drain(..end);
            // It is written down before it is answered, so that whoever has the answer finds it here.
            seen.lock().unwrap().push(line);
            if stream.write_all(OK).is_err() {
                return;
            }
        }
    }
}

/// Where the first request ends, and method, target and length of it; as lenient as a lax backend.
fn whole(bytes: &[u8]) -> Option<(usize, String)> {
    let head = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let text: String = bytes.get(..head)?.iter().map(|byte| char::from(*byte)).collect();
    let value = |name: &str| {
        text.split("\r\n").skip(1).find_map(|line| {
            let (own, value) = line.split_once(':')?;
            own.trim().eq_ignore_ascii_case(name).then(|| value.trim().to_ascii_lowercase())
        })
    };
    let line = text.lines().next().unwrap_or_default();
    let line = line.rsplit_once(" HTTP/").map_or(line, |(line, _)| line);
    let is_seen = |c: char| c.is_ascii_graphic() || c == ' ';
    let shown: String = line
        .chars()
        .map(|c| if is_seen(c) { c.to_string() } else { c.escape_default().to_string() })
        .collect();
    let shown =
        if value("upgrade").is_some() { format!("{shown} with a wish to upgrade") } else { shown };
    if value("transfer-encoding").is_some() {
        return chunks(bytes, head).map(|end| (end, format!("{shown} with chunks")));
    }
    let length = value("content-length").map_or(Some(0), |length| length.parse().ok())?;
    let end = head + length;
    let shown = if length > 0 { format!("{shown} with {length} bytes") } else { shown };
    (bytes.len() >= end).then_some((end, shown))
}

/// Where the chunks end that begin here.
fn chunks(bytes: &[u8], mut at: usize) -> Option<usize> {
    let line = |at: usize| {
        let rest = bytes.get(at..)?;
        let end = rest.windows(2).position(|two| two == b"\r\n")?;
        String::from_utf8(rest.get(..end)?.to_vec()).ok()
    };
    loop {
        let size = line(at)?;
        at += size.len() + 2;
        match usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()? {
            0 => break,
            size => at += size + 2,
        }
    }
    loop {
        let trailer = line(at)?;
        at += trailer.len() + 2;
        if trailer.is_empty() {
            return Some(at);
        }
    }
}
