//! Heads mean the same however they are split into reads, mean what a simple reader sees in them, and
//! mean the same when they are written and read again.

use bytes::BytesMut;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http1::{Form, Framing, Length, RequestHead, ResponseHead, Scan, write};
use std::fmt::Debug;
use traffic::Headers;

/// Checks these bytes as the beginning of a client's connection.
pub(crate) fn request(data: &[u8]) {
    let read = |scan: &mut Scan, buffer: &mut BytesMut| {
        http1::request(scan, buffer).map_err(|bad| bad.refusal)
    };
    let Some((head, bytes)) = read_in_any_way(data, read) else { return };
    let (line, fields) = simple(&data[..bytes]);
    let line: Vec<&str> = line.split(' ').collect();
    assert_eq!(line.len(), 3);
    assert_eq!(line[0], head.method.as_str());
    assert!(
        head.target.form == Form::Authority
            || line[1].contains(head.target.path_and_query.query().unwrap_or(""))
    );
    assert_eq!(line[2], format!("{:?}", http::Version::from(head.version)));
    compare(&head.headers, &fields, head.length != Length::None);
    if head.target.form != Form::Authority && has_room(&head.headers, bytes) {
        write_request(&head);
    }
}

/// Checks these bytes as the beginning of an answer to `GET` and to `HEAD`.
pub(crate) fn response(data: &[u8]) {
    for method in [http::Method::GET, http::Method::HEAD] {
        let read = |scan: &mut Scan, buffer: &mut BytesMut| http1::response(scan, buffer, &method);
        let Some((head, bytes)) = read_in_any_way(data, read) else { continue };
        let (line, fields) = simple(&data[..bytes]);
        let start = format!("{:?} {}", http::Version::from(head.version), head.status.as_str());
        assert!(line == start || line.starts_with(&format!("{start} ")), "{line}");
        let may_be_framed = !matches!(head.length, Length::None | Length::UntilClose);
        compare(&head.headers, &fields, may_be_framed || head.length == Length::None);
        if has_room(&head.headers, bytes) {
            write_response(&head, &method);
        }
    }
}

/// Whether a head may grow a little when it is written.
fn has_room(headers: &Headers, bytes: usize) -> bool {
    headers.len() <= 98 && bytes <= 63 << 10
}

/// Reads the bytes in several ways; returns a head that all of them gave, and its length.
fn read_in_any_way<H: Debug, R: Debug + PartialEq>(
    data: &[u8],
    mut read: impl FnMut(&mut Scan, &mut BytesMut) -> Result<Option<H>, R>,
) -> Option<(H, usize)> {
    let mut read_by = |step: usize| {
        let mut scan = Scan::default();
        let mut buffer = BytesMut::new();
        let mut fed = 0;
        for piece in data.chunks(step) {
            buffer.extend_from_slice(piece);
            fed += piece.len();
            match read(&mut scan, &mut buffer) {
                Ok(None) => {}
                ended => return ended.map(|head| head.map(|head| (head, fed - buffer.len()))),
            }
        }
        Ok(None)
    };
    let whole = read_by(data.len().max(1));
    let shown = format!("{whole:?}");
    for step in [1, 7, 61] {
        assert_eq!(format!("{:?}", read_by(step)), shown, "{step} bytes at a time");
    }
    whole.ok().flatten()
}

/// The first line, and the fields as pairs.
fn simple(head: &[u8]) -> (String, Vec<(String, Vec<u8>)>) {
    let start = head.iter().position(|byte| !b"\r\n".contains(byte)).unwrap();
    let head = head[start..].strip_suffix(b"\r\n\r\n").unwrap();
    let mut lines = head.split(|byte| *byte == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l));
    let first = String::from_utf8_lossy(lines.next().unwrap()).into_owned();
    let fields = lines.map(|line| {
        let colon = line.iter().position(|byte| *byte == b':').unwrap();
        let name = std::str::from_utf8(&line[..colon]).unwrap().to_ascii_lowercase();
        (name, line[colon + 1..].trim_ascii().to_vec())
    });
    (first, fields.collect())
}

fn compare(headers: &Headers, simple: &[(String, Vec<u8>)], may_be_framed: bool) {
    let is_framing = |name: &str| name == CONTENT_LENGTH || name == TRANSFER_ENCODING;
    let ours: Vec<_> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let theirs = simple.iter().filter(|(name, _)| !is_framing(name));
    let theirs: Vec<_> = theirs.map(|(name, value)| (name.as_str(), value.as_slice())).collect();
    assert_eq!(ours, theirs);
    let framed = simple.iter().filter(|(name, _)| is_framing(name)).count();
    assert!(framed <= usize::from(may_be_framed), "{simple:?}");
}

fn write_request(head: &RequestHead) {
    let framing = match head.length {
        Length::Exact(length) => Framing::Length(length),
        Length::Chunked => Framing::Chunked,
        Length::None | Length::UntilClose => Framing::None,
    };
    let mut out = Vec::new();
    let target = &head.target.path_and_query;
    write::request_head(&mut out, &head.method, target, &head.headers, framing, &[]);
    let mut buffer = BytesMut::from(out.as_slice());
    let again = http1::request(&mut Scan::default(), &mut buffer).unwrap().unwrap();
    assert!(buffer.is_empty() && again.keeps_alive);
    assert_eq!(again.method, head.method);
    assert_eq!(again.target.path_and_query, *target);
    assert_eq!(again.length, head.length);
    assert_eq!(again.headers, without_connection(&head.headers));
}

fn write_response(head: &ResponseHead, method: &http::Method) {
    let framing = match head.length {
        Length::Exact(length) => Framing::Length(length),
        Length::Chunked => Framing::Chunked,
        Length::UntilClose => Framing::UntilClose,
        Length::None => Framing::Declared(head.declared),
    };
    let mut out = Vec::new();
    write::response_head(&mut out, head.status, &head.headers, framing, &["close"], None);
    let mut buffer = BytesMut::from(out.as_slice());
    let mut again = http1::response(&mut Scan::default(), &mut buffer, method).unwrap().unwrap();
    assert!(buffer.is_empty() && !again.keeps_alive);
    assert_eq!(again.headers.remove(CONNECTION).unwrap(), "close");
    assert_eq!((again.status, again.length), (head.status, head.length));
    assert_eq!(again.declared, head.declared);
    assert_eq!(again.headers, without_connection(&head.headers));
}

fn without_connection(headers: &Headers) -> Headers {
    let mut headers = headers.clone();
    headers.remove(CONNECTION);
    headers
}
