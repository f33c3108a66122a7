//! Chunked bodies mean the same however they are split into reads, and what a simple reader sees.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http1::{Chunks, Piece, Refusal};

/// What became of a body.
#[derive(Debug, PartialEq)]
struct Outcome {
    data: Vec<u8>,
    trailers: Option<HeaderMap>,
    /// Whether it ended, or why it was refused.
    ended: Result<bool, Refusal>,
    /// Bytes that were taken off the connection.
    taken: usize,
}

/// Checks these bytes as a chunked body.
pub(crate) fn check(bytes: &[u8]) {
    let whole = decode(bytes, bytes.len().max(1));
    for step in [1, 2, 7, 61] {
        let split = decode(bytes, step);
        // How much of what is refused was taken before says nothing.
        let taken = if whole.ended.is_err() { split.taken } else { whole.taken };
        assert_eq!(split, Outcome { taken, ..clone(&whole) }, "{step} bytes at a time");
    }
    if whole.ended == Ok(true) {
        let (data, rest) = simple(bytes);
        assert_eq!(whole.data, data);
        assert!(bytes[rest..whole.taken].ends_with(b"\r\n"));
        assert_eq!(whole.trailers.is_none(), &bytes[rest..whole.taken] == b"\r\n");
    }
}

fn clone(outcome: &Outcome) -> Outcome {
    let Outcome { data, trailers, ended, taken } = outcome;
    Outcome { data: data.clone(), trailers: trailers.clone(), ended: *ended, taken: *taken }
}

fn decode(bytes: &[u8], step: usize) -> Outcome {
    let mut chunks = Chunks::default();
    let mut buffer = BytesMut::new();
    let mut outcome = Outcome { data: Vec::new(), trailers: None, ended: Ok(false), taken: 0 };
    let mut fed = 0;
    'reads: for piece in bytes.chunks(step) {
        buffer.extend_from_slice(piece);
        fed += piece.len();
        loop {
            match chunks.next(&mut buffer) {
                Ok(Piece::Data(data)) => {
                    assert_ne!(data, Bytes::new());
                    outcome.data.extend_from_slice(&data);
                }
                Ok(Piece::More) => break,
                Ok(Piece::Trailers(trailers)) => {
                    assert_ne!(trailers, HeaderMap::new());
                    assert_eq!(chunks.next(&mut buffer), Ok(Piece::End));
                    outcome.trailers = Some(trailers);
                    outcome.ended = Ok(true);
                    break 'reads;
                }
                Ok(Piece::End) => {
                    outcome.ended = Ok(true);
                    break 'reads;
                }
                Err(refusal) => {
                    outcome.ended = Err(refusal);
                    break 'reads;
                }
            }
        }
    }
    outcome.taken = fed - buffer.len();
    outcome
}

/// The data of a body that is well-formed, and where its trailer section begins.
fn simple(bytes: &[u8]) -> (Vec<u8>, usize) {
    let mut data = Vec::new();
    let mut at = 0;
    loop {
        let end = at + bytes[at..].iter().position(|byte| *byte == b'\n').unwrap();
        let line = String::from_utf8_lossy(&bytes[at..end - 1]);
        let size = usize::from_str_radix(line.split(';').next().unwrap(), 16).unwrap();
        at = end + 1;
        if size == 0 {
            return (data, at);
        }
        data.extend_from_slice(&bytes[at..at + size]);
        assert_eq!(&bytes[at + size..at + size + 2], b"\r\n");
        at += size + 2;
    }
}
