//! HTTP/1.1 messages as text: enough framing to know where one ends, for tests on both sides.

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Reads one message: a head, and the body that its headers announce, or everything up to the end of
/// the stream for an answer without a length. Returns what came if the stream ends early.
pub async fn read(io: &mut (impl AsyncRead + Unpin), kind: Kind) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !is_complete(&bytes, kind) {
        let mut piece = [0; 4_096];
        match io.read(&mut piece).await {
            Ok(0) | Err(_) => break,
            Ok(n) => bytes.extend_from_slice(piece.get(..n).unwrap_or_default()),
        }
    }
    bytes
}

/// What kind of message is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A request.
    Request,
    /// An answer.
    Answer,
    /// An answer to HEAD: a head without its body.
    HeadAnswer,
}

/// Splits a message after its head.
#[must_use]
pub fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    Some(bytes.split_at(end))
}

/// The value of a header in a head.
#[must_use]
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (written, value) = line.split_once(':')?;
        written.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn is_complete(bytes: &[u8], kind: Kind) -> bool {
    let Some((head, body)) = split(bytes) else { return false };
    let head = String::from_utf8_lossy(head);
    let status = head.split_whitespace().nth(1).unwrap_or_default();
    let is_bodiless = kind == Kind::HeadAnswer
        || (kind == Kind::Answer
            && (status == "204" || status == "304" || status.starts_with('1')));
    if is_bodiless {
        return true;
    }
    if header(&head, "transfer-encoding").is_some() {
        return body.ends_with(b"\r\n\r\n") && body.windows(3).any(|w| w == b"0\r\n");
    }
    match header(&head, "content-length") {
        Some(length) => body.len() >= length.parse().unwrap_or(0),
        None => kind == Kind::Request,
    }
}

/// A request or answer written with plain line breaks, as it goes over the wire: the lines of the head
/// end with CR LF, the body is left as it is.
#[must_use]
pub fn wire(text: &str) -> Vec<u8> {
    let (head, body) = text.split_once("\n\n").unwrap_or_else(|| (text.trim_end_matches('\n'), ""));
    let mut bytes = head.replace('\n', "\r\n").into_bytes();
    bytes.extend_from_slice(b"\r\n\r\n");
    bytes.extend_from_slice(body.as_bytes());
    bytes
}
