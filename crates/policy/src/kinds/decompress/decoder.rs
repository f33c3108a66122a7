//! One body's way through its decoders. Each hands out a bounded piece at a time, however much a few bytes
//! stand for, and holds no more than its window.

use super::Coding;
use base::caps::{
    DECOMPRESS_GRACE_BYTES, DECOMPRESS_MEMBERS_MAX, DECOMPRESS_PIECE_BYTES, DECOMPRESS_WINDOW_LOG,
};
use brotli::enc::StandardAlloc;
use brotli::{BrotliDecompressStream, BrotliResult, BrotliState};
use bytes::{Buf as _, Bytes, BytesMut};
use flate2::{Decompress, FlushDecompress, Status};
use std::fmt;
use std::io;
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, Operation as _};

/// Logarithm of the window of gzip.
const GZIP_WINDOW_LOG: u8 = 15;

/// Why a body cannot be decoded.
#[derive(Debug)]
pub(super) enum Trouble {
    /// More comes out than may.
    TooLarge,
    /// More comes out than such bodies hold.
    Bomb,
    /// It is not what it is said to be.
    Broken(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => f.write_str("too large"),
            Self::Bomb => f.write_str("expands too much"),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Trouble {}

fn broken(why: impl fmt::Display) -> Trouble {
    Trouble::Broken(why.to_string())
}

/// What may come out of a body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Bytes in all.
    pub(super) max_bytes: u64,
    /// Bytes for each that came.
    pub(super) max_ratio: u64,
}

impl Bounds {
    /// Bytes of the compressed form: what cannot be made smaller becomes a little larger.
    pub(super) const fn max_packed_bytes(&self) -> u64 {
        self.max_bytes.saturating_add(self.max_bytes / 16).saturating_add(1 << 10)
    }
}

/// The decoders of a body, the one that takes what comes from the client first.
pub(super) struct Decoders {
    stages: Box<[Stage]>,
    bounds: Bounds,
    came_bytes: u64,
}

struct Stage {
    decoder: Decoder,
    input: Bytes,
    /// Whether it may have more without being given more.
    is_full: bool,
    gave_bytes: u64,
}

impl Decoders {
    /// Decoders for codings in the order in which they were applied.
    pub(super) fn new(codings: &[Coding], bounds: Bounds) -> io::Result<Self> {
        let stage = |coding: &Coding| {
            let decoder = Decoder::new(*coding)?;
            Ok(Stage { decoder, input: Bytes::new(), is_full: false, gave_bytes: 0 })
        };
        let stages = codings.iter().rev().map(stage).collect::<io::Result<_>>()?;
        Ok(Self { stages, bounds, came_bytes: 0 })
    }

    /// Takes a piece as it came, and gives the first of what it stands for. The rest is to be
    /// asked for by [`Decoders::more`].
    pub(super) fn put(&mut self, data: Bytes) -> Result<Bytes, Trouble> {
        self.came_bytes = self.came_bytes.saturating_add(data.len() as u64);
        if self.came_bytes > self.bounds.max_packed_bytes() {
            return Err(Trouble::TooLarge);
        }
        if let Some(first) = self.stages.first_mut() {
            first.feed(data);
        }
        self.more()
    }

    /// What comes next of what was taken; nothing when all of it was given.
    pub(super) fn more(&mut self) -> Result<Bytes, Trouble> {
        let Self { stages, bounds, came_bytes } = self;
        pull(stages, *bounds, *came_bytes)
    }

    /// Whether the body may end here.
    pub(super) fn finish(&self) -> Result<(), Trouble> {
        if self.came_bytes > 0 && !self.stages.iter().all(Stage::has_ended) {
            return Err(broken("it ends in the middle"));
        }
        Ok(())
    }
}

/// The next piece that the last of these stages gives.
fn pull(stages: &mut [Stage], bounds: Bounds, came_bytes: u64) -> Result<Bytes, Trouble> {
    let Some((last, earlier)) = stages.split_last_mut() else { return Ok(Bytes::new()) };
    // What passes between two decoders is compressed still.
    loop {
        let piece = last.step()?;
        if !piece.is_empty() {
            last.gave_bytes = last.gave_bytes.saturating_add(piece.len() as u64);
            let fair = came_bytes.saturating_mul(bounds.max_ratio);
            if last.gave_bytes > bounds.max_bytes {
                return Err(Trouble::TooLarge);
            }
            if last.gave_bytes > fair.saturating_add(DECOMPRESS_GRACE_BYTES) {
                return Err(Trouble::Bomb);
            }
            return Ok(piece);
        }
        if !last.input.is_empty() {
            continue;
        }
        let packed = Bounds { max_bytes: bounds.max_packed_bytes(), ..bounds };
        let more = pull(earlier, packed, came_bytes)?;
        if more.is_empty() {
            return Ok(more);
        }
        last.feed(more);
    }
}

impl Stage {
    fn feed(&mut self, data: Bytes) {
        if self.input.is_empty() {
            self.input = data;
        } else {
            let mut both = BytesMut::with_capacity(self.input.len() + data.len());
            both.extend_from_slice(&self.input);
            both.extend_from_slice(&data);
            self.input = both.freeze();
        }
    }

    /// Decodes until a piece is full or nothing is left to decode.
    fn step(&mut self) -> Result<Bytes, Trouble> {
        if self.input.is_empty() && !self.is_full {
            return Ok(Bytes::new());
        }
        let mut piece = vec![0; DECOMPRESS_PIECE_BYTES];
        let mut written = 0;
        loop {
            let free = piece.get_mut(written..).unwrap_or_default();
            let (read, wrote) = self.decoder.run(&self.input, free)?;
            self.input.advance(read.min(self.input.len()));
            written += wrote;
            self.is_full = written >= piece.len();
            if self.is_full || self.input.is_empty() {
                break;
            }
            if read == 0 && wrote == 0 {
                return Err(broken("it cannot go on"));
            }
        }
        piece.truncate(written);
        Ok(piece.into())
    }

    fn has_ended(&self) -> bool {
        self.input.is_empty() && self.decoder.has_ended()
    }
}

/// A decoder and whether what it was given may be all.
enum Decoder {
    Inflate { inner: Decompress, is_gzip: bool, has_ended: bool, members: u32 },
    Br { state: Box<BrotliStandardState>, has_ended: bool },
    Zstd { inner: ZstdDecoder<'static>, has_ended: bool },
}

type BrotliStandardState = BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>;

impl Decoder {
    fn new(coding: Coding) -> io::Result<Self> {
        let inflate = |is_gzip| Self::Inflate {
            inner: inflate(is_gzip),
            is_gzip,
            has_ended: false,
            members: 1,
        };
        Ok(match coding {
            Coding::Gzip => inflate(true),
            Coding::Deflate => inflate(false),
            Coding::Br => {
                let alloc = StandardAlloc::default;
                let state = BrotliState::new_strict(alloc(), alloc(), alloc());
                Self::Br { state: Box::new(state), has_ended: false }
            }
            Coding::Zstd => {
                let mut inner = ZstdDecoder::new()?;
                inner.set_parameter(DParameter::WindowLogMax(DECOMPRESS_WINDOW_LOG))?;
                Self::Zstd { inner, has_ended: false }
            }
        })
    }

    /// Decodes; returns how many bytes were read and written.
    fn run(&mut self, input: &[u8], output: &mut [u8]) -> Result<(usize, usize), Trouble> {
        if self.has_ended() && input.is_empty() {
            return Ok((0, 0));
        }
        match self {
            Self::Inflate { inner, is_gzip, has_ended, members } => {
                if *has_ended {
                    if !*is_gzip {
                        return Err(broken("something follows its end"));
                    }
                    // RFC 1952, 2.2: members follow each other.
                    *members += 1;
                    if *members > DECOMPRESS_MEMBERS_MAX {
                        return Err(broken("it has too many members"));
                    }
                    (*inner, *has_ended) = (inflate(true), false);
                }
                let before = (inner.total_in(), inner.total_out());
                let status = inner
                    .decompress(input, output, FlushDecompress::None)
                    .map_err(|error| broken(&error))?;
                *has_ended = status == Status::StreamEnd;
                Ok((since(inner.total_in(), before.0), since(inner.total_out(), before.1)))
            }
            Self::Br { has_ended: true, .. } => Err(broken("something follows its end")),
            Self::Br { state, has_ended } => {
                let (mut left, mut read) = (input.len(), 0);
                let (mut free, mut wrote, mut total) = (output.len(), 0, 0);
                let result = BrotliDecompressStream(
                    &mut left, &mut read, input, &mut free, &mut wrote, output, &mut total, state,
                );
                match result {
                    BrotliResult::ResultFailure => return Err(broken("it is not brotli")),
                    BrotliResult::ResultSuccess => *has_ended = true,
                    BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
                }
                Ok((read, wrote))
            }
            Self::Zstd { inner, has_ended } => {
                let status = inner.run_on_buffers(input, output).map_err(|error| broken(&error))?;
                *has_ended = status.remaining == 0;
                Ok((status.bytes_read, status.bytes_written))
            }
        }
    }

    const fn has_ended(&self) -> bool {
        match self {
            Self::Inflate { has_ended, .. }
            | Self::Br { has_ended, .. }
            | Self::Zstd { has_ended, .. } => *has_ended,
        }
    }
}

fn inflate(is_gzip: bool) -> Decompress {
    if is_gzip { Decompress::new_gzip(GZIP_WINDOW_LOG) } else { Decompress::new(true) }
}

/// Never more than the length of a buffer.
fn since(now: u64, before: u64) -> usize {
    usize::try_from(now.saturating_sub(before)).unwrap_or(usize::MAX)
}
