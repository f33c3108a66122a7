//! Bodies of every length, piece by piece.

use crate::chunks::{Chunks, Piece, take};
use crate::framing::Length;
use crate::refusal::Refusal;
use base::caps::BODY_READ_BYTES_MAX;
use bytes::BytesMut;

/// Takes the body of one message off a connection, and nothing that follows it.
#[derive(Clone, Debug)]
pub enum Decoder {
    /// Nothing is to come.
    Done,
    /// So many bytes are to come.
    Exact(u64),
    /// Chunks are to come.
    Chunked(Chunks),
    /// Everything belongs to the body until the connection ends.
    UntilClose,
}

impl Decoder {
    /// For a body of this length.
    #[must_use]
    pub fn new(length: Length) -> Self {
        match length {
            Length::None | Length::Exact(0) => Self::Done,
            Length::Exact(left) => Self::Exact(left),
            Length::Chunked => Self::Chunked(Chunks::default()),
            Length::UntilClose => Self::UntilClose,
        }
    }

    /// Takes the next piece off the front of `buffer`.
    ///
    /// # Errors
    /// Why the body is refused; the connection is of no use then.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Piece, Refusal> {
        let piece = match self {
            Self::Done => Piece::End,
            Self::Exact(left) => {
                let piece = take(buffer, left);
                if *left == 0 {
                    *self = Self::Done;
                }
                return Ok(piece);
            }
            Self::UntilClose if buffer.is_empty() => Piece::More,
            Self::UntilClose => Piece::Data(buffer.split().freeze()),
            Self::Chunked(chunks) => chunks.next(buffer)?,
        };
        if matches!(piece, Piece::End | Piece::Trailers(_)) {
            *self = Self::Done;
        }
        Ok(piece)
    }

    /// The connection ended, and all that was read has been taken.
    ///
    /// # Errors
    /// The body is incomplete.
    pub fn on_eof(&mut self) -> Result<(), Refusal> {
        match self {
            Self::Done | Self::UntilClose => {
                *self = Self::Done;
                Ok(())
            }
            Self::Exact(_) | Self::Chunked(_) => Err(Refusal::BodyCut),
        }
    }

    /// Whether the body is over, so that what follows is another message.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// How many bytes are to come, where that is known.
    #[must_use]
    pub const fn hint(&self) -> Option<u64> {
        match self {
            Self::Done => Some(0),
            Self::Exact(left) => Some(*left),
            Self::Chunked(_) | Self::UntilClose => None,
        }
    }

    /// A good number of bytes to read next, at most [`BODY_READ_BYTES_MAX`]; zero if none is to come.
    #[must_use]
    pub fn wants(&self) -> usize {
        let wanted = match self {
            Self::Done => 0,
            Self::Exact(left) => *left,
            Self::Chunked(chunks) => chunks.wants(),
            Self::UntilClose => u64::MAX,
        };
        usize::try_from(wanted).unwrap_or(usize::MAX).min(BODY_READ_BYTES_MAX)
    }
}
