//! The journal of quotas: what was used, in `state_dir`, so that it outlives the process.
//!
//! Twice a second what has changed is added to the end of a file and synced, by a thread of its own, so that neither
//! `kill -9` nor a loss of power forgets more than a second. A file that has grown to twice of what it holds is written
//! anew beside itself and renamed. Each record has a check of its own: what was cut off in the middle is noticed.
//! Who used what is written as hashes with a secret that stands at the beginning of the same file.

use base::Clock;
use base::backoff::Backoff;
use policy::quota::{Ledger, Record};
use siphasher::sip::SipHasher13;
use std::fs::{self, File};
use std::hash::Hasher as _;
use std::io::{self, BufReader, BufWriter, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use telemetry::Metrics;

/// How often it is written: a write may take as long again before a second is over.
const PERIOD: Duration = Duration::from_millis(500);
/// A file of a few old records is not worth writing anew.
const SLACK_BYTES: u64 = 1 << 20;
/// How long to wait after a write that failed, at most.
const RETRY_MAX: Duration = Duration::from_secs(10);

const NAME: &str = "quotas.journal";
/// The first bytes of a file, which tell its form.
const MAGIC: &[u8; 16] = b"yett quotas 1\n\0\0";
const SECRET_BYTES: usize = 16;
const CHECK_BYTES: usize = 8;
/// Bytes of a record with its check; those of the beginning are as many.
const RECORD_BYTES: usize = Record::BYTES + CHECK_BYTES;

/// A journal that is written, until this is dropped.
#[derive(Debug)]
pub(crate) struct Journal {
    orders: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Journal {
    /// Goes on from the journal in a folder, unless `ledger` has been told already what was used, and writes it from
    /// now on.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(crate) fn open(
        folder: &Path,
        ledger: &Arc<Ledger>,
        metrics: &Arc<Metrics>,
        clock: &Clock,
    ) -> io::Result<Self> {
        let path = folder.join(NAME);
        let now_s = unix_s(clock);
        if !ledger.has_begun() {
            tell(&path, &read(&path, ledger, now_s));
        }
        ledger.note_changes();
        let mut book = Book {
            path,
            ledger: Arc::clone(ledger),
            metrics: Arc::clone(metrics),
            clock: clock.clone(),
            file: None,
            bytes: 0,
            trouble: None,
        };
        book.keep();
        let (orders, ordered) = sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("yett-quotas".to_owned())
            .spawn(move || book.keep_on(&ordered))?;
        Ok(Self { orders: Some(orders), thread: Some(thread) })
    }

    /// Writes the whole file anew: what has changed was not told.
    pub(crate) fn renew(&self) {
        if let Some(orders) = &self.orders {
            // One that was given before does as well.
            orders.try_send(()).ok();
        }
    }
}

impl Drop for Journal {
    /// Writes what has changed last.
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the journal of quotas was given up");
        }
    }
}

/// Why it cannot be written, and when that is tried again.
struct Trouble {
    again: Instant,
    wait: Backoff,
}

/// The file, and what goes into it.
struct Book {
    path: PathBuf,
    ledger: Arc<Ledger>,
    metrics: Arc<Metrics>,
    clock: Clock,
    /// None before it is written anew.
    file: Option<File>,
    bytes: u64,
    trouble: Option<Trouble>,
}

impl Book {
    fn keep_on(mut self, ordered: &Receiver<()>) {
        loop {
            match ordered.recv_timeout(PERIOD) {
                Err(RecvTimeoutError::Timeout) => {}
                Ok(()) => self.file = None,
                Err(RecvTimeoutError::Disconnected) => return self.last(),
            }
            let waits = self.trouble.as_ref().is_some_and(|it| self.clock.now() < it.again);
            if !waits {
                self.keep();
            }
        }
    }

    fn last(mut self) {
        self.trouble = self.trouble.take().map(|it| Trouble { again: self.clock.now(), ..it });
        self.keep();
    }

    /// Writes what has changed; tells when that begins to fail, and when it no longer does.
    fn keep(&mut self) {
        let ledger = Arc::clone(&self.ledger);
        // It is another process's once counts were handed over.
        let Some(_writing) = ledger.writing() else { return };
        match self.write() {
            Ok(()) => {
                let counts = u64::try_from(ledger.len()).unwrap_or(u64::MAX);
                self.metrics.quota_journal_written(self.bytes, counts);
                if self.trouble.take().is_some() {
                    tracing::info!(path = %self.path.display(), "the journal of quotas is written again");
                }
            }
            Err(error) => {
                self.file = None;
                self.metrics.quota_journal_failed();
                if self.trouble.is_none() {
                    tracing::warn!(
                        path = %self.path.display(), %error,
                        "the journal of quotas cannot be written; requests go on, and a restart would forget what is counted from now on"
                    );
                }
                let new =
                    || Trouble { again: self.clock.now(), wait: Backoff::new(PERIOD, RETRY_MAX) };
                let mut trouble = self.trouble.take().unwrap_or_else(new);
                trouble.again = self.clock.now() + trouble.wait.after_failure();
                self.trouble = Some(trouble);
            }
        }
    }

    fn write(&mut self) -> io::Result<()> {
        let Some(file) = &mut self.file else { return self.write_anew() };
        let secret = self.ledger.secret();
        let mut changed = Vec::new();
        for part in 0..self.ledger.parts() {
            for record in self.ledger.changed(part) {
                changed.extend(sealed(&secret, &record));
            }
        }
        if changed.is_empty() {
            return Ok(());
        }
        file.write_all(&changed)?;
        file.sync_data()?;
        self.bytes += changed.len() as u64;
        let live = self.ledger.len() as u64 * RECORD_BYTES as u64;
        if self.bytes > 2 * live + SLACK_BYTES { self.write_anew() } else { Ok(()) }
    }

    fn write_anew(&mut self) -> io::Result<()> {
        let beside = self.path.with_extension("journal.new");
        let written = self.write_beside(&beside);
        if written.is_err() {
            // The space that it took may be what others wait for.
            fs::remove_file(&beside).ok();
        }
        let (file, bytes) = written?;
        (self.file, self.bytes) = (Some(file), bytes);
        Ok(())
    }

    fn write_beside(&self, beside: &Path) -> io::Result<(File, u64)> {
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600);
        let mut file = BufWriter::new(options.open(beside)?);
        let secret = self.ledger.secret();
        file.write_all(&beginning(&secret))?;
        let mut records = 1;
        let now_s = unix_s(&self.clock);
        for part in 0..self.ledger.parts() {
            for record in self.ledger.all(part, now_s) {
                file.write_all(&sealed(&secret, &record))?;
                records += 1;
            }
        }
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        fs::rename(beside, &self.path)?;
        if let Some(folder) = self.path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok((file, records * RECORD_BYTES as u64))
    }
}

/// What was found in a file.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    /// Records of windows that have not ended.
    kept: u64,
    /// Records of windows that have.
    ended: u64,
    /// Pieces that are no records.
    broken: u64,
}

/// Goes on from a file.
fn read(path: &Path, ledger: &Ledger, now_s: u64) -> io::Result<Found> {
    let mut file = BufReader::new(File::open(path)?);
    let mut piece = [0; RECORD_BYTES];
    file.read_exact(&mut piece).map_err(|_| wrong("it has no beginning"))?;
    let secret = secret_of(&piece).ok_or_else(|| wrong("its beginning is broken"))?;
    let mut found = Found::default();
    loop {
        let mut length = 0;
        while let Some(rest) = piece.get_mut(length..).filter(|rest| !rest.is_empty()) {
            match file.read(rest) {
                Ok(0) => break,
                Ok(count) => length += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if length == 0 {
            return Ok(found);
        }
        match record_of(&secret, &piece).filter(|_| length == RECORD_BYTES) {
            None => found.broken += 1,
            Some(record) if record.ends_s <= now_s => found.ended += 1,
            Some(record) => {
                found.kept += 1;
                if !ledger.adopt(secret, [record]) {
                    return Err(wrong("counting has begun without it"));
                }
            }
        }
    }
}

fn tell(path: &Path, found: &io::Result<Found>) {
    let path = path.display();
    match found {
        Ok(Found { kept, ended, broken: 0 }) => {
            tracing::info!(%path, kept, ended, "quotas go on from their journal");
        }
        Ok(Found { kept, ended, broken }) => tracing::warn!(
            %path, kept, ended, broken,
            "the journal of quotas was cut off or damaged; quotas go on from what is whole"
        ),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => {
            tracing::warn!(%path, %error, "the journal of quotas cannot be read; quotas begin anew");
        }
    }
}

fn wrong(why: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

fn check(secret: &[u8; SECRET_BYTES], bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let mut hasher = SipHasher13::new_with_key(secret);
    hasher.write(bytes);
    hasher.finish().to_be_bytes()
}

fn beginning(secret: &[u8; SECRET_BYTES]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(secret);
    bytes.extend(check(secret, &bytes));
    bytes
}

fn secret_of(piece: &[u8; RECORD_BYTES]) -> Option<[u8; SECRET_BYTES]> {
    let (magic, rest) = piece.split_first_chunk()?;
    let secret = rest.first_chunk()?;
    (magic == MAGIC && *piece == *beginning(secret)).then_some(*secret)
}

fn sealed(secret: &[u8; SECRET_BYTES], record: &Record) -> [u8; RECORD_BYTES] {
    let mut piece = [0; RECORD_BYTES];
    let (bytes, seal) = piece.split_at_mut(Record::BYTES);
    bytes.copy_from_slice(&record.bytes());
    seal.copy_from_slice(&check(secret, bytes));
    piece
}

fn record_of(secret: &[u8; SECRET_BYTES], piece: &[u8; RECORD_BYTES]) -> Option<Record> {
    let (bytes, seal) = piece.split_first_chunk()?;
    (check(secret, bytes) == *seal).then(|| Record::of(bytes))
}

fn unix_s(clock: &Clock) -> u64 {
    base::clock::unix_ms(clock.wall()) / 1_000
}

#[cfg(test)]
mod tests {
    use super::{Book, Found, NAME, RECORD_BYTES, read};
    use base::Clock;
    use policy::quota::{Ledger, Record};
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;
    use telemetry::Metrics;

    /// Beyond what the clock of tests shows.
    const ENDS_S: u64 = 2_000_000_000;

    fn record(who: u64, used: u64) -> Record {
        Record { key: [who, 7], ends_s: ENDS_S, told: 1, used }
    }

    fn book(folder: &Path, ledger: &Arc<Ledger>) -> Book {
        Book {
            path: folder.join(NAME),
            ledger: Arc::clone(ledger),
            metrics: Metrics::new(1, &[]),
            clock: Clock::manual(),
            file: None,
            bytes: 0,
            trouble: None,
        }
    }

    fn kept(path: &Path, now_s: u64) -> (Found, Vec<u64>) {
        let ledger = Ledger::default();
        let found = read(path, &ledger, now_s).unwrap();
        let all = (0..ledger.parts()).flat_map(|part| ledger.all(part, 0));
        let mut used: Vec<u64> = all.map(|record| record.used).collect();
        used.sort_unstable();
        (found, used)
    }

    #[test]
    fn what_was_written_is_read_whatever_was_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let ledger = Arc::new(Ledger::default());
        assert!(ledger.adopt([9; 16], (1..=20).map(|who| record(who, who))));
        book(folder.path(), &ledger).write().unwrap();
        assert_eq!(kept(&path, 0).1, (1..=20).collect::<Vec<u64>>());
        assert_eq!(kept(&path, ENDS_S).0, Found { ended: 20, ..Found::default() });
        let whole = fs::read(&path).unwrap();
        assert_eq!(whole.len(), 21 * RECORD_BYTES);
        for cut in [1, 7, RECORD_BYTES - 1] {
            fs::write(&path, &whole[..whole.len() - cut]).unwrap();
            let (found, used) = kept(&path, 0);
            assert_eq!((found.kept, found.broken, used.len()), (19, 1, 19), "{cut}");
        }
        // A block of zeros, as file systems leave it after a loss of power.
        let mut zeroed = whole.clone();
        zeroed[5 * RECORD_BYTES..8 * RECORD_BYTES].fill(0);
        fs::write(&path, &zeroed).unwrap();
        assert_eq!(kept(&path, 0).0, Found { kept: 17, ended: 0, broken: 3 });
        for (at, why) in [(0, "is broken"), (20, "is broken")] {
            let mut other = whole.clone();
            other[at] ^= 1;
            fs::write(&path, &other).unwrap();
            let error = read(&path, &Ledger::default(), 0).unwrap_err();
            assert!(error.to_string().contains(why), "{error}");
        }
        fs::write(&path, &whole[..9]).unwrap();
        assert!(read(&path, &Ledger::default(), 0).is_err());
    }

    #[test]
    fn later_records_count_and_a_file_that_has_grown_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let ledger = Arc::new(Ledger::default());
        assert!(ledger.adopt([9; 16], (0..1_000).map(|who| record(who, 1))));
        let mut book = book(folder.path(), &ledger);
        book.write().unwrap();
        let first = book.bytes;
        for _ in 0..2 {
            // What another process counts is noted like what this one does.
            let rest: Vec<u8> = (0..1_000_u64)
                .flat_map(|who| [&record(who, 0).bytes()[..], &1_i64.to_be_bytes()].concat())
                .collect();
            ledger.note_changes();
            traffic::state::Portable::import_rest(&*ledger, &rest);
            book.write().unwrap();
        }
        assert_eq!(book.bytes, fs::metadata(&path).unwrap().len());
        assert!(book.bytes > 2 * first);
        assert_eq!(kept(&path, 0).1, vec![3; 1_000]);
        book.file = None;
        book.write().unwrap();
        assert_eq!(book.bytes, first);
        assert_eq!(kept(&path, 0).1, vec![3; 1_000]);
    }

    #[test]
    fn a_file_that_cannot_be_written_is_tried_again_and_loses_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let gone = folder.path().join("gone");
        let ledger = Arc::new(Ledger::default());
        assert!(ledger.adopt([9; 16], [record(1, 5)]));
        let mut book = book(&gone, &ledger);
        book.keep();
        assert!(book.trouble.is_some());
        assert!(book.metrics.encode().contains("yett_quota_journal_up{} 0"));
        fs::create_dir(&gone).unwrap();
        book.keep();
        assert!(book.trouble.is_none());
        assert!(book.metrics.encode().contains("yett_quota_journal_up{} 1"));
        assert_eq!(kept(&gone.join(NAME), 0).1, [5]);
    }
}
