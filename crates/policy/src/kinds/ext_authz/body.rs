//! A look at the beginning of a request's body, all of which goes on to the backend.

use base::caps::AUTHORISER_BODY_TIMEOUT_S;
use base::units::Size;
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::header::EXPECT;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use traffic::body::BodyError;
use traffic::memory::{Hold, Memory};
use traffic::message::Informational;
use traffic::{Body, Exchange, Fault, FaultCode, Headers, Stage};

/// The beginning of a body.
pub(super) struct Beginning {
    /// At most as many bytes as were asked for.
    pub(super) data: Bytes,
    /// Whether there is more.
    pub(super) is_partial: bool,
}

/// Reads the body up to a length. Unless a part will do, a longer one is refused.
///
/// # Errors
/// `body_too_large`, or what ended the body.
pub(super) async fn begin(
    exchange: &mut Exchange,
    bytes_max: usize,
    takes_part: bool,
    memory: &Arc<Memory>,
) -> Result<Beginning, Fault> {
    let too_large = || {
        let detail = format!("at most {} are accepted here", Size(bytes_max as u64));
        Fault::new(Stage::Guard, FaultCode::BodyTooLarge).detail(detail).closing()
    };
    if !takes_part && exchange.body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large());
    }
    let mut hold = held(exchange, bytes_max, memory)?;
    if exchange.request.headers.remove(EXPECT).is_some() {
        // The client waits to be told that its body is wanted (RFC 9110, 10.1.1), here and not by the backend.
        let go_on = Informational { status: StatusCode::CONTINUE, headers: Headers::new() };
        exchange.interim.send(go_on);
    }
    let limit = Duration::from_secs(AUTHORISER_BODY_TIMEOUT_S);
    let mut rest = std::mem::take(&mut exchange.body);
    let read = tokio::time::timeout(limit, read(&mut rest, bytes_max, &mut hold)).await;
    let read = read.map_err(|_| Fault::new(Stage::Guard, FaultCode::BodyTimeout).closing())??;
    let Read { data, frames, is_over } = read;
    let is_partial = data.len() > bytes_max;
    if is_partial && !takes_part {
        return Err(too_large());
    }
    let data = data.freeze();
    exchange.holds.extend(hold);
    let has_trailers = frames.iter().any(Frame::is_trailers);
    exchange.body = if is_over && !has_trailers {
        Body::full(data.clone())
    } else {
        Body::stream(Again { frames, rest })
    };
    Ok(Beginning { data: data.slice(..data.len().min(bytes_max)), is_partial })
}

struct Read {
    data: BytesMut,
    frames: VecDeque<Frame<Bytes>>,
    is_over: bool,
}

/// Room for what will be read, where memory is counted: while it is read it is there twice, as it came and in one piece.
fn held(
    exchange: &Exchange,
    bytes_max: usize,
    memory: &Arc<Memory>,
) -> Result<Option<Hold>, Fault> {
    if memory.ceiling() == 0 {
        return Ok(None);
    }
    let length = exchange.body.size_hint().upper().unwrap_or(u64::MAX).min(bytes_max as u64);
    let short = || Fault::new(Stage::Guard, FaultCode::MemoryShort).come_back().closing();
    memory.promise(length.saturating_mul(2)).map(Some).ok_or_else(short)
}

async fn read(body: &mut Body, bytes_max: usize, hold: &mut Option<Hold>) -> Result<Read, Fault> {
    let mut read = Read { data: BytesMut::new(), frames: VecDeque::new(), is_over: false };
    while read.data.len() <= bytes_max {
        if body.is_empty() {
            read.is_over = true;
            break;
        }
        let frame = poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await;
        let Some(frame) = frame.transpose().map_err(fault)? else {
            read.is_over = true;
            break;
        };
        if let Some(data) = frame.data_ref() {
            if let Some(hold) = hold {
                hold.add(2 * data.len() as u64);
            }
            read.data.extend_from_slice(data);
        }
        read.frames.push_back(frame);
    }
    Ok(read)
}

fn fault(error: BodyError) -> Fault {
    match error {
        BodyError::Refused(fault) => fault,
        BodyError::Cut(cause) => {
            Fault::new(Stage::Guard, FaultCode::BodyCut).cause(cause).closing()
        }
        BodyError::Idle => Fault::new(Stage::Guard, FaultCode::BodyTimeout).closing(),
    }
}

/// What was read, then the rest.
struct Again {
    frames: VecDeque<Frame<Bytes>>,
    rest: Body,
}

impl HttpBody for Again {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.frames.pop_front() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let read = self.frames.iter().filter_map(Frame::data_ref).map(|data| data.len() as u64);
        let read: u64 = read.sum();
        let rest = self.rest.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(read));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(read));
        }
        hint
    }
}
