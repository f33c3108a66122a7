//! Counts frames as they come in, by their nine bytes of head, and looks whether they go out. `h2` bounds
//! what a client can have it remember, not how much work it can cause: it would answer PINGs for ever.
//!
//! Frames that carry requests and bodies are work the client may ask for. All others are paid for from a
//! store that fills with time and with each message; whoever empties it is shown out. So is whoever opens
//! streams only to reset them.

use base::caps;
use h2::Reason;
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;

/// Why a connection is broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Breach {
    /// It does not begin with the preface and SETTINGS.
    Preface,
    /// A head was begun and not ended.
    SlowHead,
    /// Too many frames that ask for nothing.
    Flood,
    /// Too many streams that were reset before they were answered.
    Resets,
    /// The client reads nothing.
    SlowReader,
    /// The client does not answer a PING.
    Silent,
    /// Anything else that `h2` ends a connection for.
    Protocol,
}

impl Breach {
    /// Stable name, in logs and metrics.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Preface => "bad_preface",
            Self::SlowHead => "head_timeout",
            Self::Flood => "frame_flood",
            Self::Resets => "rapid_reset",
            Self::SlowReader => "write_timeout",
            Self::Silent => "ping_timeout",
            Self::Protocol => "http2_protocol",
        }
    }

    /// What the client is told (RFC 9113, 7), if it may still listen.
    pub(super) const fn reason(self) -> Option<Reason> {
        match self {
            Self::Preface | Self::Protocol => Some(Reason::PROTOCOL_ERROR),
            Self::SlowHead | Self::Flood | Self::Resets => Some(Reason::ENHANCE_YOUR_CALM),
            Self::SlowReader | Self::Silent => None,
        }
    }
}

/// What is known of a connection's bytes at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Reads that brought something.
    pub(super) reads: u64,
    /// Frames whose head came.
    pub(super) frames: u64,
    /// The number of the frame with which a header block began that has not ended, or what may become one.
    pub(super) head: Option<u64>,
    /// Answers to PINGs.
    pub(super) pongs: u64,
    /// Bytes written.
    pub(super) written: u64,
    /// The last write was not taken.
    pub(super) is_blocked: bool,
}

/// What the connection's task, its streams and its bytes share. All live on one thread, so the lock is
/// never waited for.
#[derive(Debug, Default)]
pub(super) struct Meter(Mutex<Tally>);

#[derive(Debug)]
struct Tally {
    scan: Scan,
    seen: Seen,
    breach: Option<Breach>,
    /// The number of the last HEADERS among the frames.
    head_began: u64,
    /// Streams that were begun, and the last of them.
    streams: u64,
    last_stream: u32,
    /// Frames that the client may still send.
    frames_left: u32,
    /// Streams that the client may still reset.
    resets_left: u32,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            scan: Scan::default(),
            seen: Seen::default(),
            breach: None,
            head_began: 0,
            streams: 0,
            last_stream: 0,
            frames_left: caps::CONTROL_FRAMES_BURST,
            resets_left: caps::EARLY_RESETS_BURST,
        }
    }
}

impl Meter {
    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the connection must be broken off. Nobody is woken for it: it is looked at whenever the
    /// connection has been.
    pub(super) async fn breached(&self) -> Breach {
        poll_fn(|_| self.lock().breach.map_or(Poll::Pending, Poll::Ready)).await
    }

    /// The time between two looks has passed.
    pub(super) fn beat(&self) -> Seen {
        let mut tally = self.lock();
        tally.earn_frames(caps::CONTROL_FRAMES_PER_S.saturating_mul(PULSE_S));
        tally.earn_resets(caps::EARLY_RESETS_PER_S.saturating_mul(PULSE_S));
        Seen { head: tally.head(), ..tally.seen }
    }

    /// Takes what was read.
    pub(super) fn read(&self, bytes: &[u8]) {
        self.lock().feed(bytes);
    }

    /// Whether the connection must be broken off.
    pub(super) fn is_breached(&self) -> bool {
        self.lock().breach.is_some()
    }

    /// Streams whose head has come, in all.
    pub(super) fn streams(&self) -> u64 {
        let tally = self.lock();
        tally.streams - u64::from(tally.scan.block != Block::Outside)
    }

    /// So many bytes went out, or the client takes none.
    pub(super) fn wrote(&self, written: Poll<usize>) {
        let seen = &mut self.lock().seen;
        seen.is_blocked = written.is_pending();
        if let Poll::Ready(count) = written {
            seen.written += count as u64;
        }
    }

    /// A stream was answered.
    pub(super) fn answered(&self) {
        self.lock().earn_resets(1);
    }

    /// So many bytes of an answer go out, for which the client will open its windows again.
    pub(super) fn sent(&self, bytes: usize) {
        let frames = u32::try_from(bytes / caps::FRAME_BYTES_MAX as usize).unwrap_or(u32::MAX);
        let frames = frames.saturating_add(1).saturating_mul(caps::CONTROL_FRAMES_PER_MESSAGE);
        self.lock().earn_frames(frames);
    }

    /// A stream was reset before it was answered.
    pub(super) fn reset_early(&self) {
        let mut tally = self.lock();
        match tally.resets_left.checked_sub(1) {
            Some(left) => tally.resets_left = left,
            None => tally.fail(Breach::Resets),
        }
    }
}

/// [`caps::PULSE_S`], to count with.
#[expect(clippy::cast_possible_truncation, reason = "a few seconds")]
const PULSE_S: u32 = caps::PULSE_S as u32;

impl Tally {
    fn earn_frames(&mut self, count: u32) {
        self.frames_left = self.frames_left.saturating_add(count).min(caps::CONTROL_FRAMES_BURST);
    }

    fn earn_resets(&mut self, count: u32) {
        self.resets_left = self.resets_left.saturating_add(count).min(caps::EARLY_RESETS_BURST);
    }

    fn fail(&mut self, breach: Breach) {
        self.breach.get_or_insert(breach);
    }

    /// Takes what was read.
    fn feed(&mut self, mut bytes: &[u8]) {
        self.seen.reads += 1;
        while !bytes.is_empty() && self.breach.is_none() {
            if let Some(frame) = self.scan.next(&mut bytes) {
                self.take(frame);
            }
        }
    }

    fn head(&self) -> Option<u64> {
        let is_between = self.scan.payload == 0 && self.scan.have > 0;
        match self.scan.block {
            Block::Outside => is_between.then_some(self.seen.frames + 1),
            Block::Open | Block::Last => Some(self.head_began),
        }
    }

    fn take(&mut self, frame: FrameHead) {
        self.seen.frames += 1;
        if self.seen.frames == 1 && (frame.kind != SETTINGS || frame.flags & ACK != 0) {
            // RFC 9113, 3.4.
            return self.fail(Breach::Preface);
        }
        match frame.kind {
            HEADERS => {
                self.head_began = self.seen.frames;
                if frame.stream > self.last_stream {
                    self.last_stream = frame.stream;
                    self.streams += 1;
                }
                return self.earn_frames(caps::CONTROL_FRAMES_PER_MESSAGE);
            }
            DATA if frame.length > 0 || frame.flags & END_STREAM != 0 => return,
            PING if frame.flags & ACK != 0 => self.seen.pongs += 1,
            _ => {}
        }
        match self.frames_left.checked_sub(1) {
            Some(left) => self.frames_left = left,
            None => self.fail(Breach::Flood),
        }
    }
}

// Kinds of frames and their flags (RFC 9113, 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// The bytes ahead of the first frame (RFC 9113, 3.4).
const PREFACE_BYTES: u32 = 24;
const HEAD_BYTES: usize = 9;

/// What is read of a frame's head.
#[derive(Clone, Copy, Debug)]
struct FrameHead {
    length: u32,
    kind: u8,
    flags: u8,
    stream: u32,
}

/// Where in a connection's bytes the frames begin.
#[derive(Debug)]
struct Scan {
    head: [u8; HEAD_BYTES],
    /// Bytes of the head that came.
    have: usize,
    /// Bytes of the payload that are to come.
    payload: u32,
    block: Block,
}

/// Where the frame that is being read stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    /// Not in a header block.
    Outside,
    /// In its last frame.
    Last,
    /// In a frame after which it goes on.
    Open,
}

impl Default for Scan {
    fn default() -> Self {
        Self { head: [0; HEAD_BYTES], have: 0, payload: PREFACE_BYTES, block: Block::Outside }
    }
}

impl Scan {
    /// Goes on to the next frame; nothing if its head is not there yet.
    fn next(&mut self, bytes: &mut &[u8]) -> Option<FrameHead> {
        if self.payload > 0 {
            let there = u32::try_from(bytes.len()).unwrap_or(u32::MAX).min(self.payload);
            self.payload -= there;
            *bytes = bytes.get(there as usize..).unwrap_or_default();
            self.end_frame();
            return None;
        }
        let free = self.head.get_mut(self.have..).unwrap_or_default();
        let count = free.len().min(bytes.len());
        let (taken, rest) = bytes.split_at(count);
        free.iter_mut().zip(taken).for_each(|(to, from)| *to = *from);
        self.have += count;
        *bytes = rest;
        if self.have < HEAD_BYTES {
            return None;
        }
        self.have = 0;
        let [high, middle, low, kind, flags, stream @ ..] = self.head;
        let length = u32::from_be_bytes([0, high, middle, low]);
        self.payload = length;
        if matches!(kind, HEADERS | CONTINUATION) {
            self.block = if flags & END_HEADERS != 0 { Block::Last } else { Block::Open };
        }
        self.end_frame();
        Some(FrameHead { length, kind, flags, stream: u32::from_be_bytes(stream) })
    }

    fn end_frame(&mut self) {
        if self.payload == 0 && self.block == Block::Last {
            self.block = Block::Outside;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Breach, Meter, Seen};
    use base::caps::CONTROL_FRAMES_BURST;

    fn frame(kind: u8, flags: u8, stream: u8, length: u8) -> Vec<u8> {
        let mut bytes = vec![0, 0, length, kind, flags, 0, 0, 0, stream];
        bytes.resize(9 + usize::from(length), 0xff);
        bytes
    }

    fn begun() -> Vec<u8> {
        [vec![b'x'; 24], frame(4, 0, 0, 6)].concat()
    }

    #[test]
    fn frames_are_told_apart_however_their_bytes_come() {
        let frames = [
            begun(),
            frame(1, 4, 1, 20),
            frame(0, 1, 1, 200),
            frame(6, 1, 0, 8),
            frame(1, 0, 3, 5),
            frame(9, 0, 3, 0),
            frame(9, 4, 3, 7),
            frame(1, 1, 5, 3),
        ];
        let bytes = frames.concat();
        for size in [1, 2, 5, 9, 10, 33, 1_000] {
            let meter = Meter::default();
            bytes.chunks(size).for_each(|piece| meter.read(piece));
            let seen = meter.beat();
            let expected =
                Seen { frames: 8, head: Some(8), pongs: 1, reads: seen.reads, ..Seen::default() };
            assert_eq!((seen, meter.streams()), (expected, 2), "in pieces of {size}");
        }
    }

    #[test]
    fn a_head_is_under_way_from_its_first_byte_to_its_last() {
        let meter = Meter::default();
        meter.read(&begun());
        let head = [frame(1, 0, 1, 4), frame(9, 4, 1, 2)].concat();
        let (last, others) = head.split_last().unwrap();
        assert_eq!(meter.beat().head, None);
        for byte in others {
            meter.read(&[*byte]);
            assert_eq!((meter.beat().head, meter.streams()), (Some(2), 0));
        }
        meter.read(&[*last]);
        assert_eq!((meter.beat().head, meter.streams()), (None, 1));
    }

    #[test]
    fn control_frames_are_earned_by_time_and_work() {
        let meter = Meter::default();
        meter.read(&begun());
        let ping = frame(6, 0, 0, 8);
        for _ in 1..CONTROL_FRAMES_BURST {
            meter.read(&ping);
        }
        meter.sent(1);
        (0..4).for_each(|_| meter.read(&ping));
        assert!(!meter.is_breached());
        meter.beat();
        (0..500).for_each(|_| meter.read(&ping));
        assert!(!meter.is_breached());
        meter.read(&ping);
        assert_eq!(meter.lock().breach, Some(Breach::Flood));
    }
}
