//! A request of HTTP/2 that is not refused is one request of HTTP/1, and the one that was meant.

use bytes::BytesMut;
use http::header::{HOST, HeaderName, HeaderValue};
use http::{Method, Request, Uri};
use http1::{Framing, Scan, write};
use proxy::http2::head::convert;
use traffic::Headers;
use traffic::head::{RequestHead, Scheme};

/// Checks these bytes as the fields of a request: `name` and `value` by turns, ended by LF; pseudo-headers
/// included. What the types of crate `http` refuse, its users refuse as well.
pub(crate) fn check(bytes: &[u8]) {
    let Some(request) = request(bytes) else { return };
    let (head, refused) = convert(request.into_parts().0, Scheme::Https);
    if refused.is_some() || head.method == Method::CONNECT {
        return;
    }
    let mut headers = Headers::with_capacity(head.headers.len() + 1);
    headers.append(HOST, head.authority.clone());
    for (name, value) in head.headers.iter().filter(|(name, _)| **name != HOST) {
        headers.append(name.clone(), value.clone());
    }
    let mut written = Vec::new();
    write::request_head(&mut written, &head.method, &head.target, &headers, Framing::None, &[]);
    read_back(&written, &head, &headers);
}

fn request(bytes: &[u8]) -> Option<Request<()>> {
    let mut request = Request::new(());
    let mut uri = Uri::default().into_parts();
    let mut lines = bytes.split(|byte| *byte == b'\n');
    while let (Some(name), Some(value)) = (lines.next(), lines.next()) {
        match name {
            b":method" => *request.method_mut() = Method::from_bytes(value).ok()?,
            b":scheme" => uri.scheme = Some(value.try_into().ok()?),
            b":authority" => uri.authority = Some(value.try_into().ok()?),
            b":path" => uri.path_and_query = Some(value.try_into().ok()?),
            _ => {
                let name = HeaderName::from_lowercase(name).ok()?;
                request.headers_mut().append(name, HeaderValue::from_bytes(value).ok()?);
            }
        }
    }
    if uri.scheme.is_some() && uri.authority.is_none() {
        uri.authority = Some(http::uri::Authority::from_static("a.test"));
    }
    *request.uri_mut() = Uri::from_parts(uri).ok()?;
    Some(request)
}

/// The bytes are one head, for two readers, and it says what was meant.
fn read_back(written: &[u8], head: &RequestHead, headers: &Headers) {
    let mut room = [httparse::EMPTY_HEADER; 256];
    let mut simple = httparse::Request::new(&mut room);
    let length = simple.parse(written).expect("another reader refuses it");
    assert_eq!(length, httparse::Status::Complete(written.len()), "not one head");
    assert_eq!(simple.method, Some(head.method.as_str()));
    assert_eq!(simple.path, Some(head.target.as_str()));
    let is_framing = |name: &HeaderName| {
        matches!(name.as_str(), "content-length" | "transfer-encoding" | "connection")
    };
    let meant: Vec<_> = headers.iter().filter(|(name, _)| !is_framing(name)).collect();
    assert_eq!(simple.headers.len(), meant.len(), "fields were added or lost");
    for (field, (name, value)) in simple.headers.iter().zip(meant) {
        assert_eq!((field.name, field.value), (name.as_str(), value.as_bytes()));
    }
    let mut buffer = BytesMut::from(written);
    if let Ok(read) = http1::request(&mut Scan::default(), &mut buffer) {
        let read = read.expect("our own reader wants more");
        assert!(buffer.is_empty(), "something follows the head");
        assert_eq!(read.method, head.method);
        assert_eq!(read.target.path_and_query, head.target);
    }
}
