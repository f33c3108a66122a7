//! Requests whose length can be read in two ways. hyper takes `Transfer-Encoding` and silently drops a
//! `Content-Length` beside it, as RFC 9112, 6.3 permits; another server on the way may read the other
//! one, which is how requests are smuggled. So the bytes are watched on their way in, message by
//! message, and such a request is refused and its connection closed.
//!
//! A head that takes too long to come ends the connection as well, the first one included: hyper waits
//! without a limit for the bytes by which it tells HTTP/1 from HTTP/2.

use base::caps::{HEAD_BYTES_MAX, HEAD_TIMEOUT_S};
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Which request of a connection, counted from one, has an ambiguous length; zero for none.
#[derive(Clone, Debug, Default)]
pub struct Verdict(Arc<AtomicU64>);

impl Verdict {
    /// Whether the request of this number is the ambiguous one.
    #[must_use]
    pub fn condemns(&self, number: u64) -> bool {
        self.0.load(Ordering::Acquire) == number
    }
}

/// A client's connection under watch.
#[derive(Debug)]
pub struct Watched<I> {
    io: I,
    scan: Scan,
    verdict: Verdict,
    /// Runs while a head is being waited for.
    late: Option<Pin<Box<Sleep>>>,
}

impl<I> Watched<I> {
    /// Watches what is read from `io`.
    pub fn new(io: I) -> (Self, Verdict) {
        let verdict = Verdict::default();
        (Self { io, scan: Scan::default(), verdict: verdict.clone(), late: None }, verdict)
    }

    /// Nothing came: an error if the head of a request has been waited for too long.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.scan.is_within_head() {
            return Poll::Pending;
        }
        let limit = Duration::from_secs(HEAD_TIMEOUT_S);
        let late = self.late.get_or_insert_with(|| Box::pin(sleep(limit)));
        late.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.io).poll_read(cx, buffer) {
            Poll::Pending => return self.poll_late(cx),
            Poll::Ready(read) => read?,
        }
        let new = buffer.filled().get(before..).unwrap_or_default();
        if let Some(number) = self.scan.feed(new) {
            self.verdict.0.store(number, Ordering::Release);
        }
        if !self.scan.is_within_head() {
            self.late = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, data)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, data)
    }
}

/// Where in a connection's bytes the scan stands.
#[derive(Debug, Default)]
struct Scan {
    state: State,
    /// The line that the last read left unfinished.
    line: Vec<u8>,
    head: Head,
    /// Requests whose head was complete.
    requests: u64,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Head,
    Body(u64),
    ChunkSize,
    ChunkData(u64),
    Trailers,
    /// Whatever follows is not for us: HTTP/2, or something the server refuses anyway.
    Done,
}

#[derive(Debug, Default)]
struct Head {
    lines: usize,
    bytes: usize,
    length: Option<u64>,
    has_length: bool,
    has_coding: bool,
}

impl Scan {
    /// Whether a head has begun and not ended; the first one begins with the connection.
    fn is_within_head(&self) -> bool {
        let has_begun = self.requests == 0 || self.head.lines > 0 || !self.line.is_empty();
        matches!(self.state, State::Head) && has_begun
    }

    /// Takes the next bytes; returns the number of a request with an ambiguous length.
    fn feed(&mut self, mut bytes: &[u8]) -> Option<u64> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Done => return None,
                State::Body(left) | State::ChunkData(left) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= taken as u64;
                    bytes = bytes.get(taken..).unwrap_or_default();
                    if *left == 0 {
                        let in_chunk = matches!(self.state, State::ChunkData(_));
                        self.state = if in_chunk { State::ChunkSize } else { State::Head };
                    }
                }
                State::Head | State::ChunkSize | State::Trailers => {
                    let Some(end) = memchr::memchr(b'\n', bytes) else {
                        self.keep(bytes);
                        return None;
                    };
                    let (line, rest) = bytes.split_at(end);
                    bytes = rest.get(1..).unwrap_or_default();
                    if self.take_line(line) {
                        self.state = State::Done;
                        return Some(self.requests);
                    }
                }
            }
        }
        None
    }

    /// Keeps an unfinished line, up to a cap beyond which the server refuses it anyway.
    fn keep(&mut self, bytes: &[u8]) {
        if self.line.len() + bytes.len() > HEAD_BYTES_MAX {
            self.state = State::Done;
            self.line = Vec::new();
        } else {
            self.line.extend_from_slice(bytes);
        }
    }

    /// A line is complete; true if it completes a head with an ambiguous length.
    fn take_line(&mut self, end: &[u8]) -> bool {
        if self.line.is_empty() {
            return self.read_line(end);
        }
        let mut line = std::mem::take(&mut self.line);
        line.extend_from_slice(end);
        let is_ambiguous = self.read_line(&line);
        line.clear();
        self.line = line;
        is_ambiguous
    }

    fn read_line(&mut self, line: &[u8]) -> bool {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match self.state {
            State::Head => self.read_head_line(line),
            State::ChunkSize => {
                self.read_chunk_size(line);
                false
            }
            State::Trailers if line.is_empty() => {
                self.state = State::Head;
                false
            }
            _ => false,
        }
    }

    fn read_head_line(&mut self, line: &[u8]) -> bool {
        if line.is_empty() {
            // Empty lines before a request are skipped, as servers do.
            return self.head.lines > 0 && self.end_head();
        }
        self.head.lines += 1;
        self.head.bytes += line.len();
        if self.head.lines == 1 {
            if line.starts_with(b"PRI * HTTP/2") {
                self.state = State::Done;
            }
        } else if let Some(value) = value_of(line, b"content-length") {
            self.head.has_length = true;
            self.head.length = std::str::from_utf8(value).ok().and_then(|v| v.trim().parse().ok());
        } else if value_of(line, b"transfer-encoding").is_some() {
            self.head.has_coding = true;
        }
        if self.head.bytes > 2 * HEAD_BYTES_MAX {
            self.state = State::Done;
        }
        false
    }

    fn end_head(&mut self) -> bool {
        let head = std::mem::take(&mut self.head);
        self.requests += 1;
        self.state = match head {
            Head { has_length: true, has_coding: true, .. } => return true,
            Head { has_coding: true, .. } => State::ChunkSize,
            Head { length: Some(length), .. } if length > 0 => State::Body(length),
            Head { has_length: true, length: None, .. } => State::Done,
            _ => State::Head,
        };
        false
    }

    /// A chunk's size, or the line break after a chunk's data.
    fn read_chunk_size(&mut self, line: &[u8]) {
        if line.is_empty() {
            return;
        }
        let digits = line.split(|&b| b == b';').next().unwrap_or_default();
        let digits = std::str::from_utf8(digits).unwrap_or_default().trim();
        self.state = match u64::from_str_radix(digits, 16) {
            Ok(0) => State::Trailers,
            Ok(size) => State::ChunkData(size),
            Err(_) => State::Done,
        };
    }
}

/// The value of a header line, if it has this name.
fn value_of<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (written, value) = line.split_at_checked(name.len())?;
    if !written.eq_ignore_ascii_case(name) {
        return None;
    }
    value.trim_ascii_start().strip_prefix(b":")
}

#[cfg(test)]
mod tests {
    use super::Scan;

    /// Feeds the same bytes whole and byte by byte.
    fn check(bytes: &str, ambiguous: Option<u64>) {
        assert_eq!(Scan::default().feed(bytes.as_bytes()), ambiguous, "whole: {bytes}");
        let mut scan = Scan::default();
        let found = bytes.as_bytes().chunks(1).find_map(|byte| scan.feed(byte));
        assert_eq!(found, ambiguous, "byte by byte: {bytes}");
    }

    #[test]
    fn a_length_beside_a_coding_is_found() {
        let smuggled =
            "POST / HTTP/1.1\r\nhost: a\r\nContent-Length: 4\r\nTRANSFER-ENCODING: chunked\r\n\r\n";
        check(smuggled, Some(1));
        check(&smuggled.replace('\r', ""), Some(1));
        check(&format!("GET / HTTP/1.1\r\nhost: a\r\n\r\n{smuggled}"), Some(2));
        check(&format!("\r\nPOST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc{smuggled}"), Some(2));
        let chunked = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nt: 1\r\n\r\n";
        check(&format!("{chunked}{smuggled}"), Some(2));
        check(
            "POST / HTTP/1.1\r\nContent-Length : 4\r\nTransfer-Encoding : chunked\r\n\r\n",
            Some(1),
        );
    }

    #[test]
    fn the_same_words_in_a_body_are_no_header() {
        let body = "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n";
        check(&format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len()), None);
        let chunk = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        check(&format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"), None);
    }

    #[test]
    fn http_2_is_left_alone() {
        check(
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\ncontent-length: 1\r\ntransfer-encoding: x\r\n\r\n",
            None,
        );
    }
}
