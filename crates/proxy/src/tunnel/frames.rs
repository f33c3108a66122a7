//! Where the frames of a WebSocket begin and end (RFC 6455, 5.2), as far as it takes to know whether one side has
//! said that it closes. What is in them is nobody's business here.

/// Bytes of the longest head of a frame: two, a length of eight, a mask of four.
const HEAD_BYTES_MAX: usize = 14;
/// The operation by which a side closes (RFC 6455, 5.5.1).
const CLOSE: u8 = 8;

/// The frames of one direction, told from bytes as they pass.
#[derive(Debug, Default)]
pub(super) struct Frames {
    head: [u8; HEAD_BYTES_MAX],
    /// Bytes of a head that have come.
    have: usize,
    /// Bytes of a frame that come still.
    left: u64,
    is_closing: bool,
}

impl Frames {
    /// Sees bytes pass; returns whether the frame that closes has passed by now, as a whole.
    pub(super) fn see(&mut self, mut data: &[u8]) -> bool {
        while !data.is_empty() && !self.has_closed() {
            if self.left > 0 {
                let passing = usize::try_from(self.left).unwrap_or(usize::MAX).min(data.len());
                self.left -= passing as u64;
                data = data.get(passing..).unwrap_or_default();
            } else if let Some((byte, rest)) = data.split_first() {
                self.take(*byte);
                data = rest;
            }
        }
        self.has_closed()
    }

    const fn has_closed(&self) -> bool {
        self.is_closing && self.left == 0
    }

    /// A byte of a head.
    fn take(&mut self, byte: u8) {
        if let Some(place) = self.head.get_mut(self.have) {
            *place = byte;
        }
        self.have += 1;
        let [first, second, long @ ..] = self.head;
        let length_bytes = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask_bytes = if second & 0x80 == 0 { 0 } else { 4 };
        if self.have < 2 || self.have < 2 + length_bytes + mask_bytes {
            return;
        }
        self.left = match length_bytes {
            0 => u64::from(second & 0x7f),
            _ => long.iter().take(length_bytes).fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        self.is_closing = first & 0x0f == CLOSE;
        self.have = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::Frames;

    /// A frame of this operation with so many bytes in it.
    fn frame(operation: u8, length: usize, is_masked: bool) -> Vec<u8> {
        let mask = if is_masked { 0x80 } else { 0 };
        let mut frame = vec![0x80 | operation];
        match length {
            0..126 => frame.push(mask | u8::try_from(length).unwrap()),
            126..65_536 => {
                frame.push(mask | 126);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        // What is in it looks like frames that close.
        frame.extend(vec![0x88; length + if is_masked { 4 } else { 0 }]);
        frame
    }

    #[test]
    fn only_the_frame_that_closes_closes_however_bytes_are_cut() {
        for is_masked in [false, true] {
            let mut bytes = Vec::new();
            for (operation, length) in
                [(1, 0), (2, 125), (0, 126), (9, 4), (1, 65_535), (2, 65_536), (10, 0)]
            {
                bytes.extend(frame(operation, length, is_masked));
            }
            for length in [0, 2, 125] {
                let all = [bytes.as_slice(), &frame(8, length, is_masked)].concat();
                for size in [1, 3, 1_000, all.len()] {
                    let mut frames = Frames::default();
                    let (last, before) = all.split_last().unwrap();
                    assert!(!before.chunks(size).any(|piece| frames.see(piece)), "{length} {size}");
                    assert!(frames.see(&[*last]), "{length} {size}");
                    assert!(frames.see(b"whatever follows"));
                }
            }
        }
    }

    #[test]
    fn what_is_no_frame_does_no_harm() {
        let mut frames = Frames::default();
        frames.see(&[0xff; 14]);
        for _ in 0..100 {
            frames.see(&[0x88; 1_000]);
        }
        assert!(!frames.see(b"GET / HTTP/1.1\r\n\r\n"), "one frame of 2^64 - 1 bytes");
    }
}
