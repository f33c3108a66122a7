//! One answer's way through a coder. Windows are small: what a coder holds for each answer is bounded, and
//! longer ones make hardly any answer smaller.

use super::{Coding, Level};
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::{self, Write};

/// Logarithm of the bytes that brotli and zstd look back. A quarter of a megabyte: gzip has an eighth of it.
const WINDOW_LOG: u32 = 18;
/// The smallest window that both know.
const WINDOW_LOG_MIN: u32 = 10;
/// Bytes that brotli hands out at once.
const BROTLI_BUFFER_BYTES: usize = 4 << 10;

/// A coder and what it has given so far.
pub(super) enum Coder {
    Gzip(GzEncoder<Vec<u8>>),
    Br(Box<brotli::CompressorWriter<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Coder {
    /// A coder for an answer of so many bytes, if that is known.
    pub(super) fn new(coding: Coding, level: Level, bytes: Option<u64>) -> io::Result<Self> {
        let out = Vec::new();
        Ok(match coding {
            Coding::Gzip => {
                let level = match level {
                    Level::Fast => 1,
                    Level::Balanced => 5,
                    Level::Small => 8,
                };
                Self::Gzip(GzEncoder::new(out, Compression::new(level)))
            }
            Coding::Br => {
                let quality = match level {
                    Level::Fast => 2,
                    Level::Balanced => 4,
                    Level::Small => 6,
                };
                let writer = brotli::CompressorWriter::new(
                    out,
                    BROTLI_BUFFER_BYTES,
                    quality,
                    window_log(bytes),
                );
                Self::Br(Box::new(writer))
            }
            Coding::Zstd => {
                let level = match level {
                    Level::Fast => 1,
                    Level::Balanced => 3,
                    Level::Small => 8,
                };
                let mut encoder = zstd::stream::write::Encoder::new(out, level)?;
                encoder.window_log(window_log(bytes))?;
                encoder.set_pledged_src_size(bytes)?;
                Self::Zstd(encoder)
            }
        })
    }

    /// Puts data in and takes out what is ready.
    pub(super) fn put(&mut self, data: &[u8]) -> io::Result<Bytes> {
        self.writer().write_all(data)?;
        Ok(self.take())
    }

    /// Takes out all that was put in, so that the client can read it now.
    pub(super) fn flush(&mut self) -> io::Result<Bytes> {
        self.writer().flush()?;
        Ok(self.take())
    }

    /// Takes out all that is left, and the end.
    pub(super) fn finish(self) -> io::Result<Bytes> {
        Ok(match self {
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Br(writer) => writer.into_inner(),
            Self::Zstd(encoder) => encoder.finish()?,
        }
        .into())
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Gzip(encoder) => encoder,
            Self::Br(writer) => writer,
            Self::Zstd(encoder) => encoder,
        }
    }

    fn take(&mut self) -> Bytes {
        let out = match self {
            Self::Gzip(encoder) => encoder.get_mut(),
            Self::Br(writer) => writer.get_mut(),
            Self::Zstd(encoder) => encoder.get_mut(),
        };
        std::mem::take(out).into()
    }
}

/// As large a window as the answer can use.
fn window_log(bytes: Option<u64>) -> u32 {
    let needed = bytes.map_or(WINDOW_LOG, |bytes| u64::BITS - bytes.leading_zeros());
    needed.clamp(WINDOW_LOG_MIN, WINDOW_LOG)
}
