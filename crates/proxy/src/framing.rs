//! Requests whose length can be read in two ways. hyper takes `Transfer-Encoding` and silently drops a
//! `Content-Length` beside it, as RFC 9112, 6.3 permits; another server on the way may read the other
//! one, which is how requests are smuggled. So the bytes are watched on their way in, message by
//! message, and such a request is refused and its connection closed. Bytes that this scan and hyper may
//! read differently condemn every later request of their connection.
//!
//! A head that takes too long to come ends the connection as well, the first one included: hyper waits
//! without a limit for the bytes by which it tells HTTP/1 from HTTP/2.

use base::caps::{HEAD_BYTES_MAX, HEAD_TIMEOUT_S, WRITE_TIMEOUT_S};
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// From which request of a connection on, counted from one, lengths are ambiguous; zero for none.
#[derive(Clone, Debug, Default)]
pub struct Verdict(Arc<AtomicU64>);

impl Verdict {
    /// Whether the request of this number must be refused.
    #[must_use]
    pub fn condemns(&self, number: u64) -> bool {
        let first = self.0.load(Ordering::Acquire);
        first != 0 && number >= first
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
    /// Runs while the client takes nothing of what is written.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<I> Watched<I> {
    /// Watches what is read from `io`.
    pub fn new(io: I) -> (Self, Verdict) {
        let verdict = Verdict::default();
        (
            Self { io, scan: Scan::default(), verdict: verdict.clone(), late: None, stalled: None },
            verdict,
        )
    }

    /// Passes on what became of a write: an error if the client has taken nothing for too long. A
    /// client that does not read would hold its request and the backend's answer for ever.
    fn poll_stalled<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let limit = Duration::from_secs(WRITE_TIMEOUT_S);
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
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
        let written = Pin::new(&mut self.io).poll_write(cx, data);
        self.poll_stalled(cx, written)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let written = Pin::new(&mut self.io).poll_flush(cx);
        self.poll_stalled(cx, written)
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
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, data);
        self.poll_stalled(cx, written)
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
    /// What is left of the bytes by which HTTP/2 begins (RFC 9113, 3.4).
    Preface(u64),
    /// Whatever follows is not for us: it is HTTP/2, or condemned.
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
        matches!(self.state, State::Preface(_)) || (matches!(self.state, State::Head) && has_begun)
    }

    /// Takes the next bytes; returns the number from which on requests are condemned.
    fn feed(&mut self, mut bytes: &[u8]) -> Option<u64> {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Done => return None,
                State::Body(left) | State::ChunkData(left) | State::Preface(left) => {
                    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= taken as u64;
                    bytes = bytes.get(taken..).unwrap_or_default();
                    if *left == 0 {
                        self.state = match self.state {
                            State::ChunkData(_) => State::ChunkSize,
                            State::Preface(_) => State::Done,
                            _ => State::Head,
                        };
                    }
                }
                State::Head | State::ChunkSize | State::Trailers => {
                    let Some(end) = memchr::memchr(b'\n', bytes) else {
                        return self.keep(bytes);
                    };
                    let (line, rest) = bytes.split_at(end);
                    bytes = rest.get(1..).unwrap_or_default();
                    if let Some(number) = self.take_line(line) {
                        self.state = State::Done;
                        return Some(number);
                    }
                }
            }
        }
        None
    }

    /// Keeps an unfinished line, up to a cap beyond which nothing is understood any more.
    fn keep(&mut self, bytes: &[u8]) -> Option<u64> {
        if self.line.len() + bytes.len() > HEAD_BYTES_MAX {
            self.state = State::Done;
            self.line = Vec::new();
            return self.next();
        }
        self.line.extend_from_slice(bytes);
        None
    }

    /// The request after those whose head was complete.
    fn next(&self) -> Option<u64> {
        Some(self.requests + 1)
    }

    /// A line is complete; returns the number from which on requests are condemned by it.
    fn take_line(&mut self, end: &[u8]) -> Option<u64> {
        if self.line.is_empty() {
            return self.read_line(end);
        }
        let mut line = std::mem::take(&mut self.line);
        line.extend_from_slice(end);
        let condemned = self.read_line(&line);
        line.clear();
        self.line = line;
        condemned
    }

    fn read_line(&mut self, line: &[u8]) -> Option<u64> {
        let whole = line.strip_suffix(b"\r");
        match (&self.state, whole) {
            (State::Head, _) => self.read_head_line(whole.unwrap_or(line)),
            // In a body a bare line feed ends nothing for hyper; where it stands, we may be lost.
            (_, None) => self.next(),
            (State::ChunkSize, Some(line)) => self.read_chunk_size(line),
            (State::Trailers, Some(b"")) => {
                self.state = State::Head;
                None
            }
            _ => None,
        }
    }

    fn read_head_line(&mut self, line: &[u8]) -> Option<u64> {
        if line.is_empty() {
            // Empty lines before a request are skipped, as servers do.
            return if self.head.lines > 0 { self.end_head() } else { None };
        }
        self.head.lines += 1;
        self.head.bytes += line.len();
        if self.head.bytes > 2 * HEAD_BYTES_MAX {
            return self.next();
        }
        if self.head.lines == 1 {
            if line == b"PRI * HTTP/2.0" && self.requests == 0 {
                self.state = State::Preface(PREFACE_REST.len() as u64);
            }
        } else if let Some(value) = value_of(line, b"content-length") {
            self.head.has_length = true;
            self.head.length = std::str::from_utf8(value).ok().and_then(|v| v.trim().parse().ok());
        } else if value_of(line, b"transfer-encoding").is_some() {
            self.head.has_coding = true;
        }
        None
    }

    fn end_head(&mut self) -> Option<u64> {
        let head = std::mem::take(&mut self.head);
        self.requests += 1;
        self.state = match head {
            Head { has_length: true, has_coding: true, .. }
            | Head { has_length: true, length: None, .. } => return Some(self.requests),
            Head { has_coding: true, .. } => State::ChunkSize,
            Head { length: Some(length), .. } if length > 0 => State::Body(length),
            _ => State::Head,
        };
        None
    }

    /// A chunk's size, or the line break after a chunk's data.
    fn read_chunk_size(&mut self, line: &[u8]) -> Option<u64> {
        if line.is_empty() {
            return None;
        }
        let digits = line.split(|&b| b == b';').next().unwrap_or_default();
        let digits = std::str::from_utf8(digits).unwrap_or_default().trim();
        self.state = match u64::from_str_radix(digits, 16) {
            Ok(0) => State::Trailers,
            Ok(size) => State::ChunkData(size),
            Err(_) => return self.next(),
        };
        None
    }
}

/// What follows the first line of HTTP/2's preface (RFC 9113, 3.4).
const PREFACE_REST: &[u8] = b"\r\nSM\r\n\r\n";

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
    fn what_hyper_may_read_differently_condemns_what_follows() {
        let chunked = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n";
        check(&format!("{chunked}0\r\nx: y\n\nPRI * HTTP/2.0\n\r\n\r\n"), Some(2));
        check(&format!("{chunked}5\nhello"), Some(2));
        check(&format!("{chunked}nonsense\r\n"), Some(2));
        check("POST / HTTP/1.1\r\ncontent-length: 1x\r\n\r\n", Some(1));
        check(
            "GET / HTTP/1.1\r\n\r\nPRI * HTTP/2.0\r\ncontent-length: 1\r\ntransfer-encoding: x\r\n\r\n",
            Some(2),
        );
    }

    #[test]
    fn half_a_preface_is_still_a_head() {
        let mut scan = Scan::default();
        scan.feed(b"PRI * HTTP/2.0\r\n\r\nSM");
        assert!(scan.is_within_head());
        scan.feed(b"\r\n\r\n");
        assert!(!scan.is_within_head());
    }

    #[test]
    fn http_2_is_left_alone() {
        check(
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\ncontent-length: 1\r\ntransfer-encoding: x\r\n\r\n",
            None,
        );
    }
}
