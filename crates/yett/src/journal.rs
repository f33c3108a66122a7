//! The journal of quotas: what was used, in `state_dir`, so that it outlives the process.
//!
//! Twice a second what has changed is added to the end of a file and synced, by a thread of its own, so that neither
//! `kill -9` nor a loss of power forgets more than a second. A file that has grown to twice of what it holds is written
//! anew beside itself and renamed. Each record has a check of its own: what was cut off in the middle is noticed.
//! Who used what is written as hashes with a secret that stands at the beginning of the same file, twice.
//!
//! What cannot be read is never destroyed: it is put aside before anything is written.

use base::Clock;
use base::backoff::Backoff;
use policy::quota::{Ledger, Record};
use rustix::fs::OFlags;
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
/// How often the beginning is written, since nothing can be read without it.
const BEGINNINGS: usize = 2;
/// Bytes of a record with its check; those of a beginning are as many.
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
        let mut aside = None;
        if !ledger.has_begun() {
            let found = read(&path, ledger, now_s);
            tell(&path, &found);
            aside = reason_to_keep(&found);
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
            aside,
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
    /// What becomes of the file that is there before another is written: the word that its new name gets.
    aside: Option<&'static str>,
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
        if let Some(word) = self.aside {
            put_aside(&self.path, word, unix_s(&self.clock))?;
            self.aside = None;
        }
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
        // What a crash left, or somebody else: it is not written to, and a link is not followed.
        match fs::remove_file(beside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = File::options();
        options.write(true).create_new(true).mode(0o600);
        let mut file = BufWriter::new(options.open(beside)?);
        let secret = self.ledger.secret();
        // Without the secret all else would be worthless.
        file.write_all(&beginning(&secret).repeat(BEGINNINGS))?;
        let mut records = BEGINNINGS as u64;
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
    /// Of these, one at the end that was not written whole, as happens when a process is killed.
    cut: u64,
}

/// Goes on from a file.
fn read(path: &Path, ledger: &Ledger, now_s: u64) -> io::Result<Found> {
    let mut file = BufReader::new(open_file(path)?);
    let mut piece = [0; RECORD_BYTES];
    let mut found = Found::default();
    let mut secret = None;
    for _ in 0..BEGINNINGS {
        file.read_exact(&mut piece).map_err(|_| wrong("it has no beginning"))?;
        secret = secret_of(&piece);
        if secret.is_some() {
            break;
        }
        found.broken += 1;
    }
    let secret = secret.ok_or_else(|| wrong("its beginning is broken"))?;
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
        if length < RECORD_BYTES {
            found.broken += 1;
            found.cut += 1;
            continue;
        }
        match record_of(&secret, &piece) {
            // It is sealed as records are, so it would be taken for one.
            _ if secret_of(&piece) == Some(secret) => {}
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

/// Opens what is there if it is a file: a pipe would be waited for, and a link may lead anywhere.
fn open_file(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(wrong("it is no regular file")) }
}

/// Whether a file must not be lost when another is written in its place, and the word that its name then gets.
fn reason_to_keep(found: &io::Result<Found>) -> Option<&'static str> {
    match found {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(_) => Some("bad"),
        Ok(found) if found.broken > found.cut => Some("bad"),
        // So it is, too, when the clock of the machine is not set yet.
        Ok(found) if found.ended > 0 && found.kept == 0 => Some("ended"),
        Ok(_) => None,
    }
}

/// Gives what is there another name: `quotas.journal.bad-1700000000`. There is one of what has ended, which replaces
/// that of before; what is bad is never replaced.
fn put_aside(path: &Path, word: &str, now_s: u64) -> io::Result<()> {
    let named = |ending: String| path.with_extension(format!("journal.{ending}"));
    let mut to = named(word.to_owned());
    if word == "bad" {
        let mut stamp = now_s;
        to = named(format!("{word}-{stamp}"));
        while fs::symlink_metadata(&to).is_ok() {
            stamp += 1;
            to = named(format!("{word}-{stamp}"));
        }
    }
    match fs::rename(path, &to) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io::Error::new(
            error.kind(),
            format!("what is there must be kept, and cannot be put aside: {error}"),
        )),
        Ok(()) => {
            let (path, to) = (path.display(), to.display());
            tracing::warn!(%path, %to, "the journal of quotas of before was put aside");
            Ok(())
        }
    }
}

fn tell(path: &Path, found: &io::Result<Found>) {
    let path = path.display();
    match found {
        Ok(Found { kept: 0, ended, broken: 0, .. }) if *ended > 0 => tracing::warn!(
            %path, ended,
            "all quotas in the journal have ended, if the clock is right; quotas begin anew"
        ),
        Ok(Found { kept, ended, broken: 0, .. }) => {
            tracing::info!(%path, kept, ended, "quotas go on from their journal");
        }
        Ok(Found { kept, ended, broken, .. }) => tracing::warn!(
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
mod tests;
