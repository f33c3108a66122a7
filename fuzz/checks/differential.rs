//! What we and hyper make of the same bytes. hyper is the more lenient reader, so it may go on where we
//! refuse; where both accept a message it must be the same, and we must not accept what hyper refuses.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt as _, Empty};
use http1::{Decoder, Piece, Refusal, Scan};
use hyper::body::Incoming;
use hyper::rt::{Read, ReadBufCursor, Write};
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use traffic::Headers;

/// How the two readers relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Both accept as much.
    Same,
    /// Neither accepts any more.
    BothRefuse(Refusal),
    /// We refuse what hyper accepts.
    Stricter(Refusal),
}

/// A message as either reader sees it, without its framing fields.
#[derive(Debug, PartialEq)]
struct Message {
    start: String,
    fields: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    trailers: Vec<(String, Vec<u8>)>,
}

/// What a reader makes of a connection.
struct Seen<E> {
    messages: Vec<Message>,
    error: Option<E>,
    /// Whether nothing more is to be read of the connection.
    closed: bool,
}

/// Why we stop.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stop {
    Refused(Refusal),
    /// The bytes end in the middle of a message.
    Cut,
}

/// Checks a connection: `>` and requests, or `<` and an answer to `GET`, or `h` and one to `HEAD`.
pub(crate) fn check(data: &[u8]) -> Option<Verdict> {
    let (first, bytes) = data.split_first()?;
    Some(match first {
        b'>' => compare(&our_requests(bytes), &hyper_requests(bytes)),
        b'<' => compare(&our_response(bytes, &Method::GET), &hyper_response(bytes, Method::GET)),
        b'h' => compare(&our_response(bytes, &Method::HEAD), &hyper_response(bytes, Method::HEAD)),
        _ => return None,
    })
}

fn compare(ours: &Seen<Stop>, hyper: &Seen<String>) -> Verdict {
    for (ours, hyper) in ours.messages.iter().zip(&hyper.messages) {
        assert_eq!(ours, hyper);
    }
    let (our_count, hyper_count) = (ours.messages.len(), hyper.messages.len());
    if our_count > hyper_count {
        let error = hyper.error.as_deref().unwrap_or("none");
        // The host of a target is judged later by us, and now by hyper.
        assert!(error.contains("Parse(Uri)"), "only hyper refuses: {error}\n{:?}", ours.messages);
    }
    match ours.error {
        Some(Stop::Refused(refusal)) if hyper_count > our_count => Verdict::Stricter(refusal),
        Some(Stop::Refused(refusal)) => Verdict::BothRefuse(refusal),
        Some(Stop::Cut) | None => {
            assert!(hyper_count <= our_count || ours.closed, "{:?}", hyper.messages);
            Verdict::Same
        }
    }
}

fn our_requests(bytes: &[u8]) -> Seen<Stop> {
    let mut seen = Seen { messages: Vec::new(), error: None, closed: false };
    let mut scan = Scan::default();
    let mut buffer = BytesMut::from(bytes);
    while !seen.closed && seen.error.is_none() {
        let head = match http1::request(&mut scan, &mut buffer) {
            Ok(Some(head)) => head,
            Ok(None) => {
                seen.error = (!buffer.is_empty()).then_some(Stop::Cut);
                break;
            }
            Err(bad) => {
                seen.error = Some(Stop::Refused(bad.refusal));
                break;
            }
        };
        if head.method == Method::CONNECT {
            // What follows is no HTTP any more, for both.
            seen.closed = true;
            break;
        }
        seen.closed = !head.keeps_alive;
        let target = &head.target.path_and_query;
        let authority = head.target.authority.as_ref().map_or(b"".as_slice(), |a| a.as_bytes());
        let authority = String::from_utf8_lossy(authority);
        let version = http::Version::from(head.version);
        let start = format!("{} {authority} {target} {version:?}", head.method);
        read_body(&mut seen, start, &head.headers, Decoder::new(head.length), &mut buffer);
    }
    seen
}

fn our_response(bytes: &[u8], method: &Method) -> Seen<Stop> {
    let mut seen = Seen { messages: Vec::new(), error: None, closed: true };
    let mut buffer = BytesMut::from(bytes);
    loop {
        match http1::response(&mut Scan::default(), &mut buffer, method) {
            Ok(Some(head)) if head.status.is_informational() && head.status != 101 => {}
            Ok(Some(head)) => {
                let start = format!("{:?} {}", http::Version::from(head.version), head.status);
                read_body(&mut seen, start, &head.headers, Decoder::new(head.length), &mut buffer);
                return seen;
            }
            Ok(None) => {
                seen.error = Some(Stop::Cut);
                return seen;
            }
            Err(refusal) => {
                seen.error = Some(Stop::Refused(refusal));
                return seen;
            }
        }
    }
}

/// Reads the rest of a message, which is kept if it is complete.
fn read_body(
    seen: &mut Seen<Stop>,
    start: String,
    headers: &Headers,
    mut decoder: Decoder,
    buffer: &mut BytesMut,
) {
    let mut message =
        Message { start, fields: list(headers.iter()), body: Vec::new(), trailers: Vec::new() };
    let error = loop {
        match decoder.next(buffer) {
            Ok(Piece::Data(data)) => message.body.extend_from_slice(&data),
            Ok(Piece::Trailers(trailers)) => message.trailers = list(&trailers),
            Ok(Piece::End) => break None,
            Ok(Piece::More) if decoder.on_eof().is_ok() => break None,
            Ok(Piece::More) => break Some(Stop::Cut),
            Err(refusal) => break Some(Stop::Refused(refusal)),
        }
    };
    match error {
        None => seen.messages.push(message),
        Some(_) => seen.error = error,
    }
}

/// Fields sorted by name, as a map has them, without those of the framing.
fn list<'a>(
    fields: impl IntoIterator<Item = (&'a http::HeaderName, &'a http::HeaderValue)>,
) -> Vec<(String, Vec<u8>)> {
    let is_framing = |name: &str| matches!(name, "content-length" | "transfer-encoding");
    let fields = fields.into_iter().filter(|(name, _)| !is_framing(name.as_str()));
    let mut list: Vec<_> =
        fields.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    list.sort_by(|a, b| a.0.cmp(&b.0));
    list
}

fn hyper_requests(bytes: &[u8]) -> Seen<String> {
    let messages: Arc<Mutex<Vec<Message>>> = Arc::default();
    let service = hyper::service::service_fn(|request: Request<Incoming>| {
        let messages = Arc::clone(&messages);
        async move {
            let (parts, body) = request.into_parts();
            let authority = parts.uri.authority().map_or("", |authority| authority.as_str());
            // The path of `http://host?query` is written differently, and is `/` for both.
            let query = parts.uri.query().map(|query| format!("?{query}")).unwrap_or_default();
            let target = format!("{authority} {}{query}", parts.uri.path());
            let start = format!("{} {target} {:?}", parts.method, parts.version);
            if let Some(message) = collect(start, &parts.headers, body).await {
                messages.lock().unwrap().push(message);
            }
            Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
        }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.header_read_timeout(None).half_close(true);
    let io = Memory { input: bytes, is_open: true };
    let ended = drive(builder.serve_connection(io, service));
    let error = ended.and_then(Result::err).map(|error| format!("{error:?}"));
    let messages = std::mem::take(&mut *messages.lock().unwrap());
    Seen { messages, error, closed: true }
}

fn hyper_response(bytes: &[u8], method: Method) -> Seen<String> {
    let exchange = async {
        let io = Memory { input: bytes, is_open: false };
        let (mut sender, mut connection) = hyper::client::conn::http1::handshake(io).await?;
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.method_mut() = method;
        let answer = async move {
            let (parts, body) = sender.send_request(request).await?.into_parts();
            let start = format!("{:?} {}", parts.version, parts.status);
            Ok(collect(start, &parts.headers, body).await)
        };
        let mut answer = pin!(answer);
        std::future::poll_fn(|cx| {
            // What breaks the connection is told by the answer as well.
            drop(Pin::new(&mut connection).poll(cx));
            answer.as_mut().poll(cx)
        })
        .await
    };
    let ended: Option<hyper::Result<Option<Message>>> = drive(exchange);
    let mut seen = Seen { messages: Vec::new(), error: None, closed: true };
    match ended {
        Some(Ok(Some(message))) => seen.messages.push(message),
        Some(Ok(None)) => seen.error = Some("body".to_owned()),
        Some(Err(error)) => seen.error = Some(format!("{error:?}")),
        None => seen.error = Some("never ended".to_owned()),
    }
    seen
}

async fn collect(start: String, headers: &HeaderMap, body: Incoming) -> Option<Message> {
    let body = body.collect().await.ok()?;
    let trailers = body.trailers().map(list).unwrap_or_default();
    Some(Message { start, fields: list(headers), body: body.to_bytes().to_vec(), trailers })
}

/// Polls until the end; nothing if it does not come.
fn drive<F: Future>(future: F) -> Option<F::Output> {
    const POLLS_MAX: usize = 100_000;
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    (0..POLLS_MAX).find_map(|_| match future.as_mut().poll(&mut cx) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    })
}

/// A peer that has sent its bytes and half-closed, and takes whatever is written.
struct Memory<'a> {
    input: &'a [u8],
    /// An answer must not come before its request.
    is_open: bool,
}

impl Read for Memory<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_open {
            return Poll::Pending;
        }
        let (now, later) = self.input.split_at(self.input.len().min(buffer.remaining()));
        buffer.put_slice(now);
        self.input = later;
        Poll::Ready(Ok(()))
    }
}

impl Write for Memory<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        written: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.is_open = true;
        Poll::Ready(Ok(written.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
