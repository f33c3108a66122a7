//! Identifiers of requests and traces.

use base::{Clock, random};
use http::HeaderValue;
use std::fmt;

/// Identifies one request in logs, answers and towards backends: a UUID version 7 (RFC 9562), so ids
/// sort by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId([u8; 36]);

impl RequestId {
    /// A new id.
    #[must_use]
    pub fn new(clock: &Clock) -> Self {
        let ms = u128::from(base::clock::unix_ms(clock.wall())) & 0xFFFF_FFFF_FFFF;
        let noise = (u128::from(random::fast()) << 64) | u128::from(random::fast());
        let bits = (ms << 80)
            | (0x7 << 76)
            | (((noise >> 64) & 0xFFF) << 64)
            | (0b10 << 62)
            | (noise & 0x3FFF_FFFF_FFFF_FFFF);
        Self(hyphenated(bits))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The id as a header's value.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.0).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn hyphenated(bits: u128) -> [u8; 36] {
    let digits = digits(bits);
    let mut text = [b'-'; 36];
    for (from, to) in
        [(0..8, 0..8), (8..12, 9..13), (12..16, 14..18), (16..20, 19..23), (20..32, 24..36)]
    {
        text[to].copy_from_slice(&digits[from]);
    }
    text
}

/// Thirty-two hexadecimal digits.
fn digits(bits: u128) -> [u8; 32] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 32];
    for (byte, pair) in bits.to_be_bytes().into_iter().zip(text.chunks_exact_mut(2)) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0xF)];
    }
    text
}

/// Where a request stands in a distributed trace (W3C Trace Context, `traceparent`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    text: [u8; 55],
    /// The span of whoever called; zero if this one began the trace.
    parent: u64,
}

impl Trace {
    /// Goes on with the client's trace if `traceparent` is valid, or begins one; either way with a
    /// span of our own.
    #[must_use]
    pub fn follow(traceparent: Option<&HeaderValue>) -> Self {
        let known = traceparent.and_then(|value| parse(value.as_bytes()));
        let (trace, parent, flags) = known.unwrap_or_else(|| {
            ((u128::from(random::fast()) << 64) | u128::from(random::fast()) | 1, 0, *b"00")
        });
        let span = random::fast() | 1;
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        text[3..35].copy_from_slice(&digits(trace));
        text[36..52].copy_from_slice(&digits(u128::from(span))[16..]);
        text[53..55].copy_from_slice(&flags);
        Self { text, parent }
    }

    /// The trace's id as a number.
    #[must_use]
    pub fn number(&self) -> u128 {
        hex(&self.text[3..35]).unwrap_or_default()
    }

    /// The id of our span; never zero.
    #[must_use]
    pub fn span(&self) -> u64 {
        hex(&self.text[36..52]).and_then(|span| u64::try_from(span).ok()).unwrap_or_default()
    }

    /// The span of whoever called; zero if we began the trace.
    #[must_use]
    pub fn parent(&self) -> u64 {
        self.parent
    }

    /// Whether the trace is recorded by somebody before us (the flag `sampled`).
    #[must_use]
    pub fn is_sampled(&self) -> bool {
        matches!(self.text[54], b'1' | b'3' | b'5' | b'7' | b'9' | b'b' | b'd' | b'f')
    }

    /// Says to those behind us whether we record the trace.
    pub fn set_sampled(&mut self, is_sampled: bool) {
        let flags = hex(&self.text[53..55]).unwrap_or_default();
        let flags = if is_sampled { flags | 1 } else { flags & !1 };
        self.text[53..55].copy_from_slice(&digits(flags)[30..]);
    }

    /// The value of `traceparent` towards a backend that a span of ours calls.
    #[must_use]
    pub fn header_for(&self, span: u64) -> HeaderValue {
        let mut text = self.text;
        text[36..52].copy_from_slice(&digits(u128::from(span))[16..]);
        HeaderValue::from_bytes(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    /// The trace's id: 32 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> &str {
        std::str::from_utf8(&self.text[3..35]).unwrap_or_default()
    }

    /// The value of `traceparent` towards the backend.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        HeaderValue::from_bytes(&self.text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

/// Version, trace id, parent id and flags; a later version may be longer.
fn parse(text: &[u8]) -> Option<(u128, u64, [u8; 2])> {
    let is_hyphenated = text.len() >= 55 && [2, 35, 52].iter().all(|&at| text[at] == b'-');
    let version = text.get(0..2)?;
    let fits = text.len() == 55 || (version != b"00" && text.get(55) == Some(&b'-'));
    if !is_hyphenated || !fits || version == b"ff" || hex(version).is_none() {
        return None;
    }
    let trace = hex(&text[3..35]).filter(|id| *id != 0)?;
    let parent = u64::try_from(hex(&text[36..52])?).ok().filter(|id| *id != 0)?;
    hex(&text[53..55])?;
    Some((trace, parent, [text[53], text[54]]))
}

fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |sum, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some((sum << 4) | u128::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::{RequestId, Trace};
    use base::Clock;
    use http::HeaderValue;

    #[test]
    fn request_ids_are_unique_uuids_of_version_7() {
        let clock = Clock::manual();
        let (one, two) = (RequestId::new(&clock), RequestId::new(&clock));
        assert_ne!(one, two);
        // 2026-01-01T00:00:00Z is 0x019b76da a800 milliseconds after 1970.
        assert!(one.as_str().starts_with("019b76da-a800-7"), "{one}");
        assert!(matches!(one.as_str().as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{one}");
    }

    #[test]
    fn a_valid_trace_goes_on_with_a_span_of_our_own() {
        let theirs = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let ours = Trace::follow(Some(&HeaderValue::from_static(theirs)));
        assert_eq!(ours.id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let text = ours.header();
        assert!(text.to_str().unwrap().ends_with("-01"));
        assert_ne!(text, theirs);
        assert_eq!(ours.number(), 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!(ours.parent(), 0x00f0_67aa_0ba9_02b7);
        assert!(text.to_str().unwrap().contains(&format!("-{:016x}-", ours.span())));
    }

    #[test]
    fn whether_a_trace_is_recorded_is_told_to_those_behind() {
        let mut trace = Trace::follow(None);
        assert!(!trace.is_sampled() && trace.parent() == 0);
        trace.set_sampled(true);
        assert!(trace.is_sampled() && trace.header().to_str().unwrap().ends_with("-01"));
        let header = trace.header_for(0xab);
        assert!(header.to_str().unwrap().ends_with("-00000000000000ab-01"), "{header:?}");
        let theirs = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03";
        let mut trace = Trace::follow(Some(&HeaderValue::from_static(theirs)));
        trace.set_sampled(false);
        assert!(trace.header().to_str().unwrap().ends_with("-02"), "other flags stay");
    }

    #[test]
    fn an_invalid_trace_is_begun_anew() {
        for bad in [
            "",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra",
        ] {
            let value = HeaderValue::from_str(bad).unwrap();
            assert_ne!(
                Trace::follow(Some(&value)).id(),
                "4bf92f3577b34da6a3ce929d0e0e4736",
                "{bad}"
            );
        }
    }
}
