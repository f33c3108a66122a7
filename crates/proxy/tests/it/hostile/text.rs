//! Bytes as text: each byte is the character of its number, so that nothing is lost.

use crate::it::hostile::row::ADDED;

/// Each byte as a character.
pub(crate) fn latin(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// Bytes for people: what cannot be seen is escaped, and the middle of what is long is left out.
pub(crate) fn shown(bytes: &[u8]) -> String {
    const LONG: usize = 400;
    let escape = |bytes: &[u8]| bytes.escape_ascii().to_string();
    match (bytes.get(..LONG), bytes.len().checked_sub(LONG)) {
        (Some(start), Some(rest)) if rest > LONG => format!("{} … {rest} more", escape(start)),
        _ => escape(bytes),
    }
}

/// A message that is expected, as it goes over the wire: line breaks are CR LF, and what the gateway adds is
/// spelled out.
pub(crate) fn expected(message: &str) -> String {
    let host = message.split_once("\nhost: ").and_then(|(_, rest)| rest.split_once('\n'));
    let host = host.map_or("", |(host, _)| host);
    let added =
        format!("x-forwarded-for: 192.0.2.7\nx-forwarded-proto: http\nx-forwarded-host: {host}\n");
    message.replace(ADDED, &added).replace('\n', "\r\n")
}

/// A request as a backend saw it, without the two fields that differ each time, which must be well formed.
pub(crate) fn request(bytes: &[u8]) -> String {
    let text = latin(bytes);
    let (head, body) = match text.split_once("\r\n\r\n") {
        Some((head, body)) => (format!("{head}\r\n"), format!("\r\n{body}")),
        None => (text.clone(), String::new()),
    };
    let kept: String = head.split_inclusive("\r\n").filter(|line| !is_own(line)).collect();
    kept + &body
}

/// Whether a line is a request id or a `traceparent` as the gateway makes them.
fn is_own(line: &str) -> bool {
    let line = line.trim_end();
    let is_word = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    line.strip_prefix("x-request-id: ").is_some_and(is_word)
        || line.strip_prefix("traceparent: 00-").is_some_and(is_word)
}

/// An answer as a client got it, without what differs each time.
pub(crate) fn answer(bytes: &[u8]) -> String {
    let text = latin(bytes);
    let is_own = |line: &str| line.starts_with("date: ") || line.starts_with("x-request-id: ");
    text.split_inclusive("\r\n").filter(|line| !is_own(line)).collect()
}

/// The same message with all data of a chunked body in one chunk: how many chunks there are depends on how
/// the bytes came.
pub(crate) fn merged(message: &str) -> String {
    let Some((head, body)) = message.split_once("\r\n\r\n") else { return message.to_owned() };
    if !head.contains("\r\ntransfer-encoding: chunked") {
        return message.to_owned();
    }
    let mut data = String::new();
    let mut rest = body;
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap_or(0);
        let (Some(chunk), Some(end)) = (after.get(..size), after.get(size..)) else { break };
        if size == 0 || !chunk.is_ascii() {
            break;
        }
        data.push_str(chunk);
        rest = end.strip_prefix("\r\n").unwrap_or(end);
    }
    format!("{head}\r\n\r\n<{data}>{rest}")
}
