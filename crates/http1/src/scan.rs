//! Looking for the end of a head or of a trailer section. What was searched is not searched again, so
//! bytes that trickle in one by one cost no more than all at once; and whatever is said of the bytes
//! depends on them alone, never on how they were split into reads.

use crate::refusal::Refusal;
use base::caps::{EMPTY_LINES_MAX, FIRST_LINE_BYTES_MAX};
use bytes::{Buf as _, BytesMut};
use memchr::memchr3;

/// How far the head at the front of a connection's buffer was searched.
#[derive(Clone, Debug, Default)]
pub struct Scan {
    /// Bytes that were searched.
    at: usize,
    /// Where the current line begins.
    line: usize,
    /// Empty lines that were skipped ahead of a request.
    empty_lines: usize,
}

/// How many bytes may come without the end, and what is said of more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) bytes: usize,
    pub(crate) excess: Refusal,
}

impl Scan {
    /// Drops the empty lines that some clients send after a body (RFC 9112, 2.2).
    pub(crate) fn skip_empty_lines(&mut self, buffer: &mut BytesMut) -> Result<(), Refusal> {
        while self.at == 0 && buffer.starts_with(b"\r\n") {
            if self.empty_lines == EMPTY_LINES_MAX {
                return Err(Refusal::EmptyLines);
            }
            self.empty_lines += 1;
            buffer.advance(2);
        }
        Ok(())
    }

    /// Whether a request line of bearable length is complete.
    pub(crate) fn request_line(&mut self, bytes: &[u8]) -> Result<bool, Refusal> {
        let limit = Limit { bytes: FIRST_LINE_BYTES_MAX, excess: Refusal::TargetTooLong };
        Ok(self.line > 0 || self.next_line(bytes, limit)?)
    }

    /// Where the lines end, the empty one that ends them included; nothing if that is still to come.
    pub(crate) fn lines(&mut self, bytes: &[u8], limit: Limit) -> Result<Option<usize>, Refusal> {
        loop {
            let start = self.line;
            if !self.next_line(bytes, limit)? {
                return Ok(None);
            }
            if self.line == start + 2 {
                return Ok(Some(self.line));
            }
        }
    }

    /// Whether another line is complete; it begins where the one before ended.
    fn next_line(&mut self, bytes: &[u8], limit: Limit) -> Result<bool, Refusal> {
        let window = bytes.get(..limit.bytes).unwrap_or(bytes);
        let rest = window.get(self.at..).unwrap_or_default();
        let Some(found) = memchr3(b'\r', b'\n', 0, rest) else {
            self.at = window.len();
            return if bytes.len() > limit.bytes { Err(limit.excess) } else { Ok(false) };
        };
        let end = self.at + found;
        match (bytes.get(end), bytes.get(end + 1)) {
            (Some(b'\r'), Some(b'\n')) if end + 2 > limit.bytes => Err(limit.excess),
            (Some(b'\r'), Some(b'\n')) => {
                self.at = end + 2;
                self.line = self.at;
                Ok(true)
            }
            (Some(b'\r'), None) => {
                self.at = end;
                Ok(false)
            }
            (Some(b'\r'), _) => Err(Refusal::BareCr),
            (Some(b'\n'), _) => Err(Refusal::BareLf),
            _ => Err(Refusal::NulByte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Limit, Scan};
    use crate::refusal::Refusal;

    #[test]
    fn bytes_that_trickle_in_are_searched_once() {
        let limit = Limit { bytes: 64, excess: Refusal::HeadTooLarge };
        let text = b"GET / HTTP/1.1\r\na: b\r\n\r\n";
        let mut scan = Scan::default();
        for length in 1..text.len() {
            assert_eq!(scan.lines(&text[..length], limit), Ok(None));
            // Only a CR whose LF is still to come is looked at again.
            let is_open = text[length - 1] == b'\r';
            assert_eq!(scan.at, length - usize::from(is_open));
        }
        assert_eq!(scan.lines(text, limit), Ok(Some(text.len())));
    }

    #[test]
    fn the_limit_holds_for_bytes_without_end() {
        let limit = Limit { bytes: 4, excess: Refusal::HeadTooLarge };
        for (text, expected) in [
            ("aaaa", Ok(None)),
            ("aaaaa", Err(Refusal::HeadTooLarge)),
            ("aaaa\n", Err(Refusal::HeadTooLarge)),
            ("\r\n", Ok(Some(2))),
            ("aa\r\n", Ok(None)),
            ("a\r\n\r\n", Err(Refusal::HeadTooLarge)),
            ("\r\naaaa\0", Ok(Some(2))),
        ] {
            assert_eq!(Scan::default().lines(text.as_bytes(), limit), expected, "{text:?}");
        }
    }
}
