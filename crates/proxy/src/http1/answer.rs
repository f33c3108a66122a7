//! An answer on its way: its head and its framing, written from scratch, and its body as it comes.

use crate::http1::Asked;
use ::http1::{Framing, Version, write};
use base::BoxError;
use base::buffers::Outbox;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderMap, TE};
use http::{Method, StatusCode};
use http_body::{Body as HttpBody, Frame};
use std::pin::Pin;
use std::task::{Context, Poll};
use traffic::{Body, Headers, Response};

/// What of a request decides how it is answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts {
    pub(super) version: Version,
    pub(super) is_head: bool,
    pub(super) keeps_alive: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub(super) expects_continue: bool,
    pub(super) has_continued: bool,
    pub(super) takes_trailers: bool,
}

impl Facts {
    pub(super) fn of(asked: &Asked) -> Self {
        match asked {
            Err(bad) => Self {
                version: bad.version.unwrap_or(Version::Http11),
                is_head: bad.method.as_ref() == Some(&Method::HEAD),
                keeps_alive: false,
                expects_continue: false,
                has_continued: false,
                takes_trailers: false,
            },
            Ok(head) => Self {
                version: head.version,
                is_head: head.method == Method::HEAD,
                // Whoever asks for another protocol may take what follows for it.
                keeps_alive: head.keeps_alive && !head.upgrades,
                expects_continue: head.expects_continue,
                has_continued: false,
                takes_trailers: head.headers.contains(TE),
            },
        }
    }
}

/// An answer that is being sent.
pub(super) struct Answer {
    body: Body,
    keeps_alive: bool,
    is_chunked: bool,
    takes_trailers: bool,
    /// Bytes still owed, if their number was announced.
    left: Option<u64>,
    state: State,
}

enum State {
    Going,
    Done,
    Cut(BoxError),
}

/// The last chunk, behind the end of the one before.
const CRLF_LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";

impl Answer {
    /// Writes the head.
    pub(super) fn begin(response: Response, facts: &Facts, out: &mut Vec<u8>) -> Self {
        let Response { status, headers, body } = response;
        let framing = framing(status, &headers, &body, facts);
        let is_until_close = matches!(framing, Framing::UntilClose);
        let keeps_alive = facts.keeps_alive && !is_until_close && !orders_close(&headers);
        let connection: &[&str] = match (keeps_alive, facts.version) {
            (false, _) => &["close"],
            (true, Version::Http10) => &["keep-alive"],
            (true, Version::Http11) => &[],
        };
        write::response_head(out, status, &headers, framing, connection, None);
        let left = if let Framing::Length(length) = framing { Some(length) } else { None };
        let is_bodiless = matches!(framing, Framing::None | Framing::Declared(_)) || left == Some(0);
        Self {
            keeps_alive,
            is_chunked: matches!(framing, Framing::Chunked),
            takes_trailers: facts.takes_trailers,
            left,
            state: if is_bodiless { State::Done } else { State::Going },
            body,
        }
    }

    /// Whether the connection can serve another request after this answer.
    pub(super) const fn keeps_alive(&self) -> bool {
        self.keeps_alive
    }

    /// Whether all of it was put out.
    pub(super) const fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Why it cannot come to its end, if so.
    pub(super) fn cut(&mut self) -> Option<BoxError> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Cut(error) => Some(error),
            state => {
                self.state = state;
                None
            }
        }
    }

    /// Takes of the body what is there, while there is room for it. Says whether there is nothing yet.
    pub(super) fn gather(&mut self, out: &mut Outbox, cx: &mut Context<'_>) -> bool {
        while matches!(self.state, State::Going) && out.has_room() {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return true,
                Poll::Ready(Some(Ok(frame))) => self.take(frame, out),
                Poll::Ready(Some(Err(error))) => self.state = State::Cut(Box::new(error)),
                Poll::Ready(None) => self.end(None, out),
            }
        }
        false
    }

    fn take(&mut self, frame: Frame<Bytes>, out: &mut Outbox) {
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => return self.end(frame.into_trailers().ok(), out),
        };
        if data.is_empty() {
            return;
        }
        if let Some(left) = self.left {
            let Some(left) = left.checked_sub(data.len() as u64) else {
                self.state = State::Cut("the answer is longer than it said".into());
                return;
            };
            self.left = Some(left);
            out.push(data, b"");
            if left == 0 {
                self.state = State::Done;
            }
        } else if self.is_chunked {
            write::chunk_size(out.small(), data.len());
            if self.body.is_end_stream() {
                out.push(data, CRLF_LAST_CHUNK);
                self.state = State::Done;
            } else {
                out.push(data, write::CRLF);
            }
        } else {
            out.push(data, b"");
        }
    }

    fn end(&mut self, trailers: Option<HeaderMap>, out: &mut Outbox) {
        if self.left.is_some_and(|left| left > 0) {
            self.state = State::Cut("the answer is shorter than it said".into());
            return;
        }
        if self.is_chunked {
            write::last_chunk(out.small(), trailers.as_ref().filter(|_| self.takes_trailers));
        }
        self.state = State::Done;
    }
}

/// How the end of an answer is told (RFC 9112, 6.3). What the backend said of it does not matter, except
/// where there is no body to measure.
fn framing(status: StatusCode, headers: &Headers, body: &Body, facts: &Facts) -> Framing {
    if status == StatusCode::NO_CONTENT {
        return Framing::None;
    }
    let length = body.size_hint().exact();
    if facts.is_head || status == StatusCode::NOT_MODIFIED {
        let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let own = length.filter(|length| *length > 0);
        return Framing::Declared(declared.and_then(|digits| digits.parse().ok()).or(own));
    }
    match (length, facts.version) {
        (Some(length), _) => Framing::Length(length),
        (None, Version::Http11) => Framing::Chunked,
        (None, Version::Http10) => Framing::UntilClose,
    }
}

/// Whether the spine wants the connection closed.
fn orders_close(headers: &Headers) -> bool {
    headers.get(CONNECTION).is_some_and(|value| value == "close")
}

/// Writes an informational answer.
pub(super) fn informational(out: &mut Vec<u8>, status: StatusCode, headers: &Headers) {
    write::response_head(out, status, headers, Framing::None, &[], None);
}
