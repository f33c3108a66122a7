//! How a scalar is written: as plainly as its meaning allows.

use crate::yaml::scalar::resolve;
use base::Value;
use granit_parser::ScalarStyle;
use std::fmt::Write;

/// What older YAML reads as true or false, which is better left in quotes.
const OLD_FLAGS: [&str; 6] = ["yes", "no", "on", "off", "y", "n"];

/// A scalar in one line. `raw` is how it was written.
pub(super) fn text(text: &str, style: ScalarStyle, raw: &str, in_flow: bool) -> String {
    if style == ScalarStyle::Plain {
        // A plain scalar may be a number, so it stays as it is unless it went over several lines.
        if raw == text || !matches!(resolve(text), Value::Text(_)) {
            return text.to_owned();
        }
    }
    if is_plain(text, in_flow) { text.to_owned() } else { quoted(text) }
}

/// Whether a text without quotes would be read as this text, everywhere.
fn is_plain(text: &str, in_flow: bool) -> bool {
    let is_first = |c: char| c.is_alphanumeric() || "/._~$(^+;\\".contains(c);
    let is_special = |c: char| c.is_control() || is_exotic(c) || (in_flow && ",[]{}".contains(c));
    text.starts_with(is_first)
        && !text.starts_with("...")
        && !text.contains(is_special)
        && !text.ends_with([' ', ':'])
        && !text.ends_with(char::is_whitespace)
        && !text.contains(": ")
        && !text.contains(" #")
        && matches!(resolve(text), Value::Text(_))
        && !OLD_FLAGS.contains(&text.to_ascii_lowercase().as_str())
}

/// Characters that look like others or like nothing, and those YAML does not print.
const fn is_exotic(c: char) -> bool {
    matches!(
        c,
        '\u{85}' | '\u{a0}' | '\u{2000}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{feff}'
            | '\u{fffe}' | '\u{ffff}'
    )
}

/// In double quotes; in single ones where these save backslashes.
fn quoted(text: &str) -> String {
    let is_simple = |c: char| !c.is_control() && !is_exotic(c) && c != '\'';
    if text.contains(['"', '\\']) && text.chars().all(is_simple) {
        return format!("'{text}'");
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            '\0' => quoted.push_str("\\0"),
            c if c.is_control() || is_exotic(c) => {
                // Writing to a string cannot fail.
                let _infallible = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
