use super::{Body, BodyError, BodyFilter, SILENT_PIECES_MAX};
use crate::fault::{Fault, FaultCode, Stage};
use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// What it is given, with pauses where there is nothing.
struct Script(Vec<Option<&'static str>>);

impl HttpBody for Script {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.0.pop() {
            None => Poll::Ready(None),
            Some(None) => Poll::Pending,
            Some(Some(text)) => {
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(text.as_bytes())))))
            }
        }
    }
}

/// Holds everything back as long as it may.
struct Hoard {
    held: BytesMut,
    piece_max: usize,
    gives_on_pause: bool,
}

impl BodyFilter for Hoard {
    fn on_data(&mut self, data: Bytes) -> Result<Bytes, Fault> {
        assert!(data.len() <= self.piece_max);
        self.held.extend_from_slice(&data);
        Ok(Bytes::new())
    }

    fn on_pause(&mut self) -> Result<Bytes, Fault> {
        Ok(if self.gives_on_pause { self.held.split().freeze() } else { Bytes::new() })
    }

    fn on_end(&mut self) -> Result<Bytes, Fault> {
        Ok(self.held.split().freeze())
    }

    fn piece_max(&self) -> usize {
        self.piece_max
    }
}

fn hoard(script: &[Option<&'static str>], piece_max: usize, gives_on_pause: bool) -> Body {
    let mut body = Body::stream(Script(script.iter().rev().copied().collect()));
    body.filter(Box::new(Hoard { held: BytesMut::new(), piece_max, gives_on_pause }));
    body
}

/// The pieces that come out, `-` for each time there is nothing.
fn polled(mut body: Body) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        match Pin::new(&mut body).poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => seen.push("-".to_owned()),
            Poll::Ready(None) => return seen,
            Poll::Ready(Some(frame)) => {
                let data = frame.unwrap().into_data().unwrap();
                seen.push(String::from_utf8(data.to_vec()).unwrap());
            }
        }
    }
}

#[test]
fn what_a_filter_holds_goes_out_when_the_sender_pauses() {
    let script = [Some("a"), Some("b"), None, None, Some("c")];
    assert_eq!(polled(hoard(&script, 9, true)), ["ab", "-", "c"]);
    assert_eq!(polled(hoard(&script, 9, false)), ["-", "-", "abc"]);
}

#[test]
fn large_pieces_come_in_parts_and_leave_room_for_others() {
    assert_eq!(polled(hoard(&[Some("0123456789")], 3, true)), ["0123456789"]);
    let long: &'static str = "0123456789012345678901234567890123456789";
    let parts = long.len().div_ceil(2);
    assert!(parts > SILENT_PIECES_MAX as usize);
    assert_eq!(polled(hoard(&[Some(long)], 2, true)), ["-", long]);
}

/// Hands out what it is given by the byte.
struct Trickle(Bytes);

impl BodyFilter for Trickle {
    fn on_data(&mut self, data: Bytes) -> Result<Bytes, Fault> {
        assert!(self.0.is_empty(), "there is more of the last piece");
        self.0 = data;
        self.on_more()
    }

    fn on_more(&mut self) -> Result<Bytes, Fault> {
        Ok(self.0.split_to(self.0.len().min(1)))
    }
}

#[test]
fn a_filter_hands_out_by_and_by_what_a_piece_stands_for() {
    let mut body = Body::stream(Script(vec![Some("d"), None, Some("abc")]));
    body.filter(Box::new(Trickle(Bytes::new())));
    assert_eq!(polled(body), ["a", "b", "c", "-", "d"]);
}

#[test]
fn the_cause_of_a_refusal_is_not_lost_on_the_way() {
    let fault = Fault::new(Stage::Guard, FaultCode::EncodingInvalid).cause("it is not gzip");
    let error = BodyError::Refused(fault.detail("told").closing());
    let found = BodyError::fault_behind(&error);
    let found = found.unwrap();
    assert_eq!((found.code, found.detail.as_deref()), (FaultCode::EncodingInvalid, Some("told")));
    assert!(found.closes);
    assert_eq!(found.cause.unwrap().to_string(), "it is not gzip");
}
