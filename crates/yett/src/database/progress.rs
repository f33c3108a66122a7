use base::Clock;
use owo_colors::OwoColorize as _;
use std::io::{self, BufRead, IsTerminal as _, Read, Write};
use std::time::{Duration, Instant};

/// How often it is told.
const EVERY: Duration = Duration::from_millis(200);

/// Reads or writes, and tells on a terminal how far that has come.
pub(crate) struct Progress<T> {
    inner: T,
    verb: &'static str,
    /// Bytes so far, and in all if that is known.
    done: u64,
    all: Option<u64>,
    told: Option<Instant>,
    is_shown: bool,
}

impl<T> Progress<T> {
    /// `verb` is what is done, such as `writing`.
    pub(crate) fn of(inner: T, verb: &'static str, all: Option<u64>) -> Self {
        let is_shown = io::stderr().is_terminal();
        Self { inner, verb, done: 0, all, told: None, is_shown }
    }

    /// Bytes so far.
    pub(crate) const fn done(&self) -> u64 {
        self.done
    }

    fn add(&mut self, bytes: usize) {
        self.done = self.done.saturating_add(bytes as u64);
        let now = Clock::System.now();
        let is_due = self.told.is_none_or(|told| now.duration_since(told) >= EVERY);
        if !self.is_shown || !is_due {
            return;
        }
        self.told = Some(now);
        let mebibytes = |bytes: u64| bytes / (1 << 20);
        let far = match self.all.filter(|all| *all > 0) {
            Some(all) => format!("{} %", self.done.saturating_mul(100) / all),
            None => format!("{} MiB", mebibytes(self.done)),
        };
        let text = format!("{} {far}", self.verb);
        drop(write!(io::stderr(), "\r\x1b[K{}", text.dimmed()));
    }
}

impl<T> Drop for Progress<T> {
    fn drop(&mut self) {
        if self.told.is_some() {
            drop(write!(io::stderr(), "\r\x1b[K"));
        }
    }
}

impl<T: Write> Write for Progress<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.add(count);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Progress<T> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(bytes)?;
        self.add(count);
        Ok(count)
    }
}

impl<T: BufRead> BufRead for Progress<T> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, count: usize) {
        self.inner.consume(count);
        self.add(count);
    }
}
