//! Chunked bodies, piece by piece (RFC 9112, 7.1).

use crate::fields::{first_fault, trailers};
use crate::refusal::Refusal;
use crate::scan::{Limit, Scan};
use crate::token::is_token_byte;
use base::caps::{
    CHUNK_EXTENSION_BYTES_MAX, CHUNK_EXTENSIONS_TOTAL, TRAILER_BYTES_MAX, TRAILERS_MAX,
};
use bytes::{Buf as _, Bytes, BytesMut};
use http::HeaderMap;

/// What comes next of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Some data, never empty: a part of what was read, not a copy.
    Data(Bytes),
    /// Trailers, never empty; the body ends with them.
    Trailers(HeaderMap),
    /// The body is over.
    End,
    /// More bytes must be read first.
    More,
}

/// Takes a chunked body apart.
#[derive(Clone, Debug, Default)]
pub struct Chunks {
    state: State,
    /// Bytes of extensions so far.
    extensions: usize,
}

#[derive(Clone, Debug, Default)]
enum State {
    /// In front of a chunk's size.
    #[default]
    Size,
    /// Within a chunk: so many bytes are to come.
    Data(u64),
    /// Behind a chunk's data, in front of the line break.
    Break,
    /// Behind the last chunk.
    Trailers(Scan),
    /// Behind everything.
    End,
}

/// The line in front of a chunk.
struct SizeLine {
    size: u64,
    /// Bytes of the extensions, their first `;` included.
    extensions: usize,
    /// Bytes of the line, its end included.
    bytes: usize,
}

/// What is read at least while no size is known.
const READ_BYTES: u64 = 8 << 10;
/// The digits of a size that fits 64 bits.
const DIGITS_MAX: usize = 16;

impl Chunks {
    /// Takes the next piece off the front of `buffer`.
    ///
    /// # Errors
    /// Why the body is refused; the connection is of no use then.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Piece, Refusal> {
        loop {
            match &mut self.state {
                State::Size => {
                    let Some(line) = size_line(buffer)? else { return Ok(Piece::More) };
                    self.extensions += line.extensions;
                    if self.extensions > CHUNK_EXTENSIONS_TOTAL {
                        return Err(Refusal::ExtensionsTooLarge);
                    }
                    buffer.advance(line.bytes);
                    self.state = match line.size {
                        0 => State::Trailers(Scan::default()),
                        size => State::Data(size),
                    };
                }
                State::Data(0) => self.state = State::Break,
                State::Data(left) => return Ok(take(buffer, left)),
                State::Break => match buffer.get(..2).unwrap_or(buffer) {
                    b"\r\n" => {
                        buffer.advance(2);
                        self.state = State::Size;
                    }
                    b"" | b"\r" => return Ok(Piece::More),
                    _ => return Err(Refusal::BadChunkEnd),
                },
                State::Trailers(scan) => {
                    let piece = take_trailers(scan, buffer)?;
                    if piece != Piece::More {
                        self.state = State::End;
                    }
                    return Ok(piece);
                }
                State::End => return Ok(Piece::End),
            }
        }
    }

    /// A good number of bytes to read next.
    pub(crate) fn wants(&self) -> u64 {
        match self.state {
            // The size of the next chunk comes along.
            State::Data(left) => left.saturating_add(READ_BYTES),
            _ => READ_BYTES,
        }
    }
}

/// What is there of the bytes to come, which become fewer.
pub(crate) fn take(buffer: &mut BytesMut, left: &mut u64) -> Piece {
    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
    if taken == 0 {
        return Piece::More;
    }
    *left -= taken as u64;
    Piece::Data(buffer.split_to(taken).freeze())
}

fn size_line(bytes: &[u8]) -> Result<Option<SizeLine>, Refusal> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map(u64::from);
    let digits = bytes.iter().map_while(digit);
    let (count, size) = digits
        .take(DIGITS_MAX + 1)
        .fold((0, 0), |(count, size), digit| (count + 1, (size << 4) | digit));
    let rest = bytes.get(count..).unwrap_or_default();
    match rest {
        _ if count > DIGITS_MAX => Err(Refusal::BadChunkSize),
        [] | [b'\r'] if count > 0 || rest.is_empty() => Ok(None),
        [b'\r', b'\n', ..] if count > 0 => {
            Ok(Some(SizeLine { size, extensions: 0, bytes: count + 2 }))
        }
        [b';', ..] if count > 0 => {
            let Some(extensions) = extensions(rest)? else { return Ok(None) };
            Ok(Some(SizeLine { size, extensions, bytes: count + extensions + 2 }))
        }
        _ => Err(Refusal::BadChunkSize),
    }
}

/// How many bytes there are of extensions; nothing if their end is still to come.
fn extensions(bytes: &[u8]) -> Result<Option<usize>, Refusal> {
    let is_text = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7F);
    let end = bytes.iter().take(CHUNK_EXTENSION_BYTES_MAX + 1).take_while(|b| is_text(b)).count();
    let (written, rest) = bytes.split_at_checked(end).unwrap_or_default();
    match rest {
        _ if end > CHUNK_EXTENSION_BYTES_MAX => Err(Refusal::ExtensionsTooLarge),
        [] | [b'\r'] => Ok(None),
        [b'\r', b'\n', ..] if are_extensions(written) => Ok(Some(end)),
        _ => Err(Refusal::BadChunkExtension),
    }
}

/// `*( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )` of RFC 9112, 7.1.1.
fn are_extensions(mut bytes: &[u8]) -> bool {
    while let Some(rest) = skip_spaces(bytes).strip_prefix(b";") {
        let Some(rest) = skip_token(skip_spaces(rest)) else { return false };
        bytes = match skip_spaces(rest).strip_prefix(b"=").map(skip_spaces) {
            None => rest,
            Some(value) => match skip_token(value).or_else(|| skip_quoted(value)) {
                Some(rest) => rest,
                None => return false,
            },
        };
    }
    bytes.is_empty()
}

fn skip_spaces(bytes: &[u8]) -> &[u8] {
    let spaces = bytes.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    bytes.get(spaces..).unwrap_or_default()
}

fn skip_token(bytes: &[u8]) -> Option<&[u8]> {
    let length = bytes.iter().take_while(|byte| is_token_byte(**byte)).count();
    if length == 0 { None } else { bytes.get(length..) }
}

/// A quoted string (RFC 9110, 5.6.4); that it holds no control characters is known.
fn skip_quoted(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.strip_prefix(b"\"")?;
    loop {
        rest = match rest {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', _, rest @ ..] | [_, rest @ ..] => rest,
            [] => return None,
        };
    }
}

fn take_trailers(scan: &mut Scan, buffer: &mut BytesMut) -> Result<Piece, Refusal> {
    let limit = Limit { bytes: TRAILER_BYTES_MAX, excess: Refusal::TrailersTooLarge };
    let Some(end) = scan.lines(buffer, limit)? else { return Ok(Piece::More) };
    let section = buffer.split_to(end).freeze();
    let mut room = [httparse::EMPTY_HEADER; TRAILERS_MAX];
    match httparse::parse_headers(&section, &mut room) {
        Ok(httparse::Status::Complete((_, []))) => Ok(Piece::End),
        Ok(httparse::Status::Complete((_, fields))) => {
            trailers(&section, fields).map(Piece::Trailers)
        }
        Err(httparse::Error::TooManyHeaders) => Err(Refusal::TrailersTooLarge),
        _ => Err(first_fault(&section)),
    }
}
