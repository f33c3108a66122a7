use super::ledger::Ledger;
use super::shard::Record;
use traffic::state::Portable;

/// Words of a count.
const WORDS: usize = 4;
/// Bits for what was told.
const TOLD_BITS: u32 = 8;

fn words(record: &Record) -> [u64; WORDS] {
    let state = record.ends_s << TOLD_BITS | u64::from(record.told);
    [record.key[0], record.key[1], state, record.used]
}

fn record(words: &[u64; WORDS]) -> Record {
    let told = u8::try_from(words[2] & u64::from(u8::MAX)).unwrap_or(0);
    Record { key: [words[0], words[1]], ends_s: words[2] >> TOLD_BITS, told, used: words[3] }
}

impl Record {
    /// Bytes of one.
    pub const BYTES: usize = WORDS * 8;

    /// As bytes.
    #[must_use]
    pub fn bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(words(self)) {
            chunk.copy_from_slice(&word.to_be_bytes());
        }
        bytes
    }

    /// Of bytes.
    #[must_use]
    pub fn of(bytes: &[u8; Self::BYTES]) -> Self {
        let mut all = [0; WORDS];
        let (chunks, _) = bytes.as_chunks();
        for (word, chunk) in all.iter_mut().zip(chunks) {
            *word = u64::from_be_bytes(*chunk);
        }
        record(&all)
    }
}

/// The secret, then all counts. What is counted after that is told as counts and by how much they grew.
impl Portable for Ledger {
    fn export(&self) -> Vec<u8> {
        let records = self.leave();
        let mut bytes = self.secret().to_vec();
        bytes.extend(records.iter().flat_map(Record::bytes));
        bytes
    }

    fn import(&self, bytes: &[u8]) {
        let Some((secret, rest)) = bytes.split_first_chunk() else { return };
        let (records, []) = rest.as_chunks() else { return };
        // Once a holder was hashed here, those from elsewhere mean nothing.
        if !self.has_begun() {
            let is_adopted = self.adopt(*secret, records.iter().map(Record::of));
            debug_assert!(is_adopted, "it had not begun");
        }
    }

    fn export_rest(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (record, by) in self.grown() {
            bytes.extend(record.bytes());
            bytes.extend(by.to_be_bytes());
        }
        bytes
    }

    fn import_rest(&self, bytes: &[u8]) {
        let (grown, []) = bytes.as_chunks::<{ Record::BYTES + 8 }>() else { return };
        for one in grown {
            let Some((bytes, by)) = one.split_first_chunk() else { return };
            let Ok(by) = by.try_into() else { return };
            self.grow(&Record::of(bytes), i64::from_be_bytes(by));
        }
    }
}
