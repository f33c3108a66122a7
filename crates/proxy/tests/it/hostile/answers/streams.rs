//! What an HTTP/2 client gets, as text; and what it should get, from what an HTTP/1 client does.

use crate::it::hostile::text::latin;
use crate::it::http2::frames::{DATA, HEADERS, Heard, RST_STREAM, tell_story};
use crate::it::kit::CLOSED;

/// How an answer ends.
const END: &str = "<end>";
/// How one ends that breaks off (RFC 9113, 8.1).
pub(crate) const BROKEN: &str = "<INTERNAL_ERROR>";

/// All answers on a stream: status, sorted fields, data, trailers, and the end. Of faults, status and code.
pub(crate) fn told(frames: &[Heard], stream: u32) -> String {
    let frames: Vec<&Heard> = frames.iter().filter(|frame| frame.stream == stream).collect();
    let mut text = String::new();
    for frame in &frames {
        match frame.kind {
            HEADERS if frame.field(":status").is_some() => {
                text.push_str(frame.field(":status").unwrap());
                text.push_str(&fields(&frame.fields));
                text.push('\n');
            }
            HEADERS => text.push_str(&format!("<trailers>{}", fields(&frame.fields))),
            DATA => text.push_str(&latin(&frame.payload)),
            RST_STREAM => {
                let story = tell_story(&[(*frame).clone()]).remove(0);
                text.push_str(&format!("<{}>", story.split_once(':').unwrap().1));
                return text;
            }
            _ => {}
        }
        if matches!(frame.kind, HEADERS | DATA) && frame.flags & 1 != 0 {
            text.push_str(END);
        }
    }
    match text.split_once("\"code\":\"").and_then(|(_, code)| code.split_once('"')) {
        Some((code, _)) => {
            let status = frames.iter().rev().find_map(|frame| frame.field(":status"));
            let early = text.matches("103\n").count();
            format!("{}{} {code}", "103, ".repeat(early), status.unwrap_or_default())
        }
        None => text,
    }
}

/// Whether an answer breaks off where it should, or before: what was on its way to the client may be lost.
pub(crate) fn breaks_off(heard: &str, should: &str) -> bool {
    match (heard.strip_suffix(BROKEN), should.strip_suffix(BROKEN)) {
        (Some(start), Some(most)) => most.starts_with(start),
        _ => false,
    }
}

fn fields(fields: &[(String, String)]) -> String {
    let is_kept = |name: &str| !name.starts_with(':') && !matches!(name, "date" | "x-request-id");
    let lines = fields.iter().filter(|(name, _)| is_kept(name));
    let mut lines: Vec<String> = lines.map(|(name, value)| format!("\n{name}: {value}")).collect();
    lines.sort();
    lines.concat() + "\n"
}

/// The same of what an HTTP/1 client gets: the framing is another, the rest is the same.
pub(crate) fn over_http2(gets: &str) -> String {
    if !gets.contains('\n') {
        return gets.to_owned();
    }
    let (gets, is_closed) = match gets.strip_suffix(CLOSED) {
        Some(gets) => (gets, true),
        None => (gets, false),
    };
    let wire = gets.replace('\n', "\r\n");
    let mut rest = &*wire;
    let mut text = String::new();
    while let Some((head, body)) = rest.split_once("\r\n\r\n") {
        let (line, lines) = head.split_once("\r\n").unwrap_or((head, ""));
        let status = line.split(' ').nth(1).unwrap();
        let is_framing = |line: &&str| {
            line.starts_with("transfer-encoding: ") || line.starts_with("connection: ")
        };
        let mut kept: Vec<&str> = lines.lines().filter(|line| !is_framing(line)).collect();
        kept.sort_unstable();
        text.push_str(&format!(
            "{status}{}\n\n",
            kept.iter().map(|l| format!("\n{l}")).collect::<String>()
        ));
        rest = body;
        if status.starts_with('1') {
            continue;
        }
        let (data, is_whole) = if lines.contains("transfer-encoding: chunked") {
            unchunked(body)
        } else {
            let length = lines.lines().find_map(|line| line.strip_prefix("content-length: "));
            let is_whole = length.is_none_or(|length| length == body.len().to_string());
            (body.to_owned(), is_whole || !is_closed)
        };
        text.push_str(&data);
        text.push_str(if is_whole { END } else { BROKEN });
        if is_whole && is_closed {
            // The client is still sending, and is told to stop (RFC 9113, 8.1).
            text.push_str("<NO_ERROR>");
        }
        break;
    }
    text
}

/// The data of chunks, and whether the last one is there.
fn unchunked(body: &str) -> (String, bool) {
    let mut data = String::new();
    let mut rest = body;
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            let trailers = after.strip_suffix("\r\n").unwrap();
            if !trailers.is_empty() {
                data.push_str(&format!("<trailers>\n{}", trailers.replace("\r\n", "\n")));
            }
            return (data, true);
        }
        let (chunk, more) = after.split_at(size);
        data.push_str(chunk);
        rest = more.strip_prefix("\r\n").unwrap_or(more);
    }
    (data, false)
}
