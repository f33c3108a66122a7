//! Text that a client controls, written so that it can neither end its field nor its line, nor command
//! a terminal on which the log is shown.

use base::caps;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// The beginning of a field, at most [`caps::LOG_FIELD_BYTES_MAX`] bytes, ending between two characters.
pub(super) fn cut(text: &str) -> &str {
    let end = text.floor_char_boundary(caps::LOG_FIELD_BYTES_MAX);
    text.get(..end).unwrap_or_default()
}

/// Appends a JSON string (RFC 8259), quotes included. More is escaped than JSON demands: whatever
/// [`is_hostile`] finds.
pub(super) fn json(out: &mut Vec<u8>, text: &str) {
    let text = cut(text);
    out.reserve(text.len() + 2);
    out.push(b'"');
    if is_plain(text.as_bytes()) {
        out.extend_from_slice(text.as_bytes());
    } else {
        text.chars().for_each(|c| json_char(out, c));
    }
    out.push(b'"');
}

/// Whether nothing is to be escaped. Looks at many bytes at a time; at the end of a text, which would be left
/// over, it looks at some of them twice.
fn is_plain(text: &[u8]) -> bool {
    let (wide, _) = text.as_chunks::<16>();
    match (text.first_chunk::<8>(), text.last_chunk::<8>(), text.last_chunk::<16>()) {
        (_, _, Some(last)) => wide.iter().all(are_plain) && are_plain(last),
        (Some(first), Some(last), None) => are_plain(first) && are_plain(last),
        _ => text.iter().all(|b| are_plain(&[*b])),
    }
}

/// Without leaving early, which lets the compiler look at all of them at once.
fn are_plain<const COUNT: usize>(bytes: &[u8; COUNT]) -> bool {
    let is_special = |b: u8| {
        u8::from(b < b' ') | u8::from(b > b'~') | u8::from(b == b'"') | u8::from(b == b'\\')
    };
    bytes.iter().fold(0, |special, b| special | is_special(*b)) == 0
}

fn json_char(out: &mut Vec<u8>, c: char) {
    match c {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        c if is_hostile(c) => {
            // All of them lie in the basic plane: one unit of UTF-16.
            for unit in c.encode_utf16(&mut [0; 2]) {
                out.extend_from_slice(b"\\u");
                hex(out, u32::from(*unit), 4);
            }
        }
        c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Appends one word of a text line: no white space is left in it. An ASCII space becomes `space`,
/// everything else that must not stand there becomes `\xNN` or `\u{N}`; nothing at all becomes `-`.
pub(super) fn word(out: &mut Vec<u8>, text: &str, space: &[u8]) {
    let text = cut(text);
    if text.is_empty() {
        out.push(b'-');
    } else if text.bytes().all(|b| matches!(b, b'!'..=b'~') && b != b'\\') {
        out.extend_from_slice(text.as_bytes());
    } else {
        text.chars().for_each(|c| word_char(out, c, space));
    }
}

fn word_char(out: &mut Vec<u8>, c: char, space: &[u8]) {
    match c {
        ' ' => out.extend_from_slice(space),
        '\\' => out.extend_from_slice(b"\\\\"),
        c if c.is_ascii_control() => {
            out.extend_from_slice(b"\\x");
            hex(out, u32::from(c), 2);
        }
        c if is_hostile(c) || c.is_whitespace() => {
            out.extend_from_slice(b"\\u{");
            hex(out, u32::from(c), 4);
            out.push(b'}');
        }
        c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

/// Appends a value of a template. No white space is left in it but spaces where the field is quoted, and
/// none of the characters that divide fields there; nothing at all becomes `-`.
pub(super) fn divided(out: &mut Vec<u8>, text: &str, is_quoted: bool, dividers: &str) {
    let text = cut(text);
    if text.is_empty() {
        out.push(b'-');
        return;
    }
    let space: &[u8] = if is_quoted { b" " } else { b"\\x20" };
    for c in text.chars() {
        if c.is_ascii() && dividers.contains(c) {
            out.extend_from_slice(b"\\x");
            hex(out, u32::from(c), 2);
        } else {
            word_char(out, c, space);
        }
    }
}

/// Control characters of ASCII and Latin-1 (a terminal may obey them), line and paragraph separators
/// (some readers end a line there), and marks that turn the direction of writing (a line then reads
/// other than it is).
fn is_hostile(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// So many hexadecimal digits, the last of the number.
fn hex(out: &mut Vec<u8>, number: u32, digits: u32) {
    for position in (0..digits).rev() {
        let digit = (number >> (4 * position)) & 0xf;
        out.push(HEX[usize::try_from(digit).unwrap_or(0)]);
    }
}

#[cfg(test)]
mod tests {
    use super::{cut, is_hostile, json, word};
    use base::{caps, random};

    fn json_text(text: &str) -> String {
        let mut out = Vec::new();
        json(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    fn word_text(text: &str) -> String {
        let mut out = Vec::new();
        word(&mut out, text, b"\\x20");
        String::from_utf8(out).unwrap()
    }

    /// Random text, rich in what may go wrong.
    fn random_text() -> String {
        let nasty = ['"', '\\', '\n', '\r', '\0', '\u{7f}', '\u{9b}', '\u{2028}', '\u{202e}', ' '];
        let length = random::fast_below(40);
        let char = |_| match random::fast_below(4) {
            0 => nasty[usize::try_from(random::fast_below(nasty.len() as u64)).unwrap()],
            1 => u32::try_from(random::fast_below(0x11_0000))
                .ok()
                .and_then(char::from_u32)
                .unwrap_or('x'),
            _ => u32::try_from(random::fast_below(0x100)).ok().and_then(char::from_u32).unwrap(),
        };
        (0..length).map(char).collect()
    }

    #[test]
    fn json_of_any_text_is_read_back_as_it_was() {
        for _ in 0..20_000 {
            let text = random_text();
            let written = json_text(&text);
            assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text, "{written:?}");
            assert!(!written.chars().any(is_hostile), "{written:?}");
        }
    }

    #[test]
    fn json_of_every_character_is_read_back_as_it_was() {
        for c in '\0'..=char::MAX {
            let text = c.to_string();
            let written = json_text(&text);
            assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text, "{written:?}");
        }
    }

    #[test]
    fn word_of_any_text_is_one_word() {
        for _ in 0..20_000 {
            let text = random_text();
            let written = word_text(&text);
            assert!(!written.is_empty());
            assert!(!written.chars().any(|c| c.is_whitespace() || is_hostile(c)), "{written:?}");
        }
    }

    #[test]
    fn different_texts_are_different_words() {
        let texts = ["a b", "a\\x20b", "a\\\\x20b", "a\tb", "a\u{a0}b", "a\u{85}b", "", " "];
        let mut words: Vec<String> = texts.iter().map(|text| word_text(text)).collect();
        words.sort();
        words.dedup();
        assert_eq!(words.len(), texts.len(), "{words:?}");
    }

    #[test]
    fn escapes_are_as_expected() {
        assert_eq!(json_text("a\"b\\c\n\u{1b}[31m\u{7f}é"), r#""a\"b\\c\n\u001b[31m\u007fé""#);
        assert_eq!(word_text("a b\r\n\\ \u{2028}é"), r"a\x20b\x0d\x0a\\\x20\u{2028}é");
        assert_eq!(word_text(""), "-");
    }

    #[test]
    fn long_field_is_cut_between_two_characters() {
        let text = format!("x{}", "é".repeat(caps::LOG_FIELD_BYTES_MAX));
        let start = cut(&text);
        assert_eq!(start.len(), caps::LOG_FIELD_BYTES_MAX - 1);
        assert!(text.starts_with(start));
        assert_eq!(json_text(&text).len(), caps::LOG_FIELD_BYTES_MAX + 1);
        assert_eq!(word_text(&text).len(), caps::LOG_FIELD_BYTES_MAX - 1);
    }
}
