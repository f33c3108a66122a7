//! The one thread that writes access lines out.

use super::rotation::{Turning, is_moved};
use super::{AccessTarget, Batch, Control, Message, Rotation};
use base::Clock;
use base::caps;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::{Duration, Instant};

/// How long a failure that goes on is not reported again.
const REPORT_PERIOD: Duration = Duration::from_secs(60);

/// An open target.
#[derive(Debug)]
pub(super) struct Sink {
    target: AccessTarget,
    file: Option<File>,
    /// The last write ended in the middle of a line.
    torn: bool,
    /// How the file is moved away when it is full.
    turning: Option<Turning>,
}

impl Sink {
    /// Opens the target.
    ///
    /// # Errors
    /// When the file cannot be opened for appending; the message names it.
    pub(super) fn open(target: AccessTarget, rotation: Option<Rotation>) -> io::Result<Self> {
        let file = match &target {
            // Descriptors of our own: the buffers of the standard library would write line by line.
            AccessTarget::Stdout => Some(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
            AccessTarget::Stderr => Some(File::from(io::stderr().as_fd().try_clone_to_owned()?)),
            AccessTarget::File(path) => Some(append(path)?),
            AccessTarget::Off => None,
        };
        let turning = match (&target, rotation) {
            (AccessTarget::File(path), Some(rotation)) => Some(Turning::new(path, rotation)),
            _ => None,
        };
        Ok(Self { target, file, torn: false, turning })
    }

    /// Sees to it that the file is the one that its name stands for, and not full. What fails is tried
    /// again with the next lines; these go to the file that is open.
    ///
    /// # Errors
    /// Why the file cannot be moved away or opened.
    fn renew(&mut self, bytes: usize) -> io::Result<()> {
        let (AccessTarget::File(path), Some(file)) = (&self.target, &self.file) else {
            return Ok(());
        };
        if let Some(turning) = &self.turning
            && turning.is_due(file, bytes)
        {
            turning.turn()?;
            return self.reopen();
        }
        if is_moved(path, file) { self.reopen() } else { Ok(()) }
    }

    /// Opens a file anew, after it was moved away; the old one stays in use when that fails.
    fn reopen(&mut self) -> io::Result<()> {
        if let AccessTarget::File(path) = &self.target {
            self.file = Some(append(path)?);
            self.torn = false;
        }
        Ok(())
    }

    /// Writes whole lines.
    ///
    /// # Errors
    /// The error that stopped it and the number of lines that were not written whole.
    fn write(&mut self, lines: &[u8]) -> Result<(), (io::Error, u64)> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        let mut rest = lines;
        if self.torn {
            match write_all(file, b"\n") {
                (_, None) => self.torn = false,
                (_, Some(error)) => return Err((error, count_lines(rest))),
            }
        }
        let (written, error) = write_all(file, rest);
        let Some(error) = error else {
            return Ok(());
        };
        self.torn = written.checked_sub(1).is_some_and(|last| rest[last] != b'\n');
        rest = &rest[written..];
        Err((error, count_lines(rest)))
    }
}

/// How many bytes were written, and what stopped it before the end.
fn write_all(file: &mut File, bytes: &[u8]) -> (usize, Option<io::Error>) {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return (written, Some(ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (written, Some(error)),
        }
    }
    (written, None)
}

fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

pub(super) fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path).map_err(|error| {
        let message = format!("cannot open the access log `{}`: {error}", path.display());
        io::Error::new(error.kind(), message)
    })
}

/// A change that takes effect between two batches.
#[derive(Debug)]
pub(super) enum Change {
    /// The file was moved away.
    Reopen,
    /// Another target.
    To(Sink),
}

/// What the thread works with.
pub(super) struct Drain {
    pub(super) sink: Sink,
    pub(super) control: Arc<Control>,
    pub(super) queue: Receiver<Message>,
    /// The setting under which the sink was opened.
    pub(super) setting: u32,
    /// Lines that could not be written.
    pub(super) failures: Failures,
    /// Lines that go to a file that was moved away, since no new one can be had.
    pub(super) detours: Failures,
}

impl Drain {
    /// Writes batches in the order in which they came, until the log is closed and nothing waits, or
    /// nobody is left who could write.
    pub(super) fn run(mut self) {
        loop {
            let message = match self.queue.try_recv() {
                Ok(message) => Some(message),
                Err(TryRecvError::Disconnected) => None,
                Err(TryRecvError::Empty) if self.control.closing.load(Ordering::Acquire) => None,
                Err(TryRecvError::Empty) => self.queue.recv().ok(),
            };
            match message {
                Some(Message::Lines(batch)) => self.write(batch),
                Some(Message::Wake(setting)) => self.change(setting),
                None => return,
            }
        }
    }

    fn write(&mut self, mut batch: Batch) {
        self.change(batch.setting);
        if let Err(error) = self.sink.renew(batch.bytes.len())
            && self.detours.report(0).is_some()
        {
            tracing::warn!("access lines go on to the old file: {error}");
        }
        match self.sink.write(&batch.bytes) {
            Ok(()) => {
                if let Some(lines) = self.failures.end() {
                    tracing::info!(lost = lines, "the access log is written again");
                }
            }
            Err((error, lines)) => {
                self.control.metrics.log_dropped(lines);
                if let Some(lines) = self.failures.report(lines) {
                    tracing::warn!(
                        lines,
                        "access lines are lost, the log cannot be written: {error}"
                    );
                }
            }
        }
        batch.bytes.clear();
        // One long line must not keep its memory for ever. Where the worker has spares enough, or
        // is gone, the buffer is freed.
        if batch.bytes.capacity() <= 2 * caps::LOG_BUFFER_BYTES {
            batch.home.try_send(batch.bytes).ok();
        }
    }

    /// Makes the changes up to this setting. One that is not waiting was made before: its batch comes
    /// late, and goes where lines go now.
    fn change(&mut self, setting: u32) {
        if setting == self.setting {
            return;
        }
        let changes: Vec<_> = {
            let mut announced = self.control.announced();
            let pending = &mut announced.pending;
            let Some(last) = pending.iter().position(|(waiting, _)| *waiting == setting) else {
                return;
            };
            pending.drain(..=last).collect()
        };
        self.setting = setting;
        for (_, change) in changes {
            self.make(change);
        }
    }

    fn make(&mut self, change: Change) {
        match change {
            Change::To(sink) => self.sink = sink,
            Change::Reopen => {
                if let Err(error) = self.sink.reopen() {
                    tracing::warn!("access lines go on to the old file: {error}");
                }
            }
        }
    }
}

/// Failures to write: reported at once, then once a minute while they go on.
#[derive(Debug)]
pub(super) struct Failures {
    clock: Clock,
    unreported: u64,
    /// Since it last went well.
    total: u64,
    quiet_until: Option<Instant>,
}

impl Failures {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, unreported: 0, total: 0, quiet_until: None }
    }

    /// Takes note of lost lines; the number to report, if it is time to.
    fn report(&mut self, lines: u64) -> Option<u64> {
        self.unreported = self.unreported.saturating_add(lines);
        self.total = self.total.saturating_add(lines);
        let now = self.clock.now();
        if self.quiet_until.is_some_and(|until| now < until) {
            return None;
        }
        self.quiet_until = Some(now + REPORT_PERIOD);
        Some(std::mem::take(&mut self.unreported))
    }

    /// It went well again: the number of lines lost meanwhile, if any were.
    fn end(&mut self) -> Option<u64> {
        if self.total == 0 {
            return None;
        }
        (self.quiet_until, self.unreported) = (None, 0);
        Some(std::mem::take(&mut self.total))
    }
}

#[cfg(test)]
mod tests {
    use super::{Failures, REPORT_PERIOD};
    use base::Clock;
    use std::time::Duration;

    #[test]
    fn lasting_failure_is_reported_once_a_minute_with_all_lines_lost_since() {
        let clock = Clock::manual();
        let mut failures = Failures::new(clock.clone());
        assert_eq!(failures.report(3), Some(3));
        assert_eq!(failures.report(2), None);
        clock.advance(REPORT_PERIOD - Duration::from_millis(1));
        assert_eq!(failures.report(2), None);
        clock.advance(Duration::from_millis(1));
        assert_eq!(failures.report(1), Some(5));
        assert_eq!(failures.report(1), None);
        assert_eq!(failures.end(), Some(9), "the end is told once, with all of them");
        assert_eq!(failures.end(), None);
        assert_eq!(failures.report(1), Some(1), "what fails afterwards is told at once");
    }
}
