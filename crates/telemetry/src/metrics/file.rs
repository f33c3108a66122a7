use super::exposition::{Page, counter, gauge, labels};
use super::series::Labels;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How a file is that policies go by.
#[derive(Debug, Default)]
pub struct FileMetrics {
    entries: AtomicU64,
    is_bad: AtomicBool,
    refusals: AtomicU64,
}

impl FileMetrics {
    /// It was read, and says so many things.
    pub fn read(&self, entries: usize) {
        self.entries.store(entries as u64, Ordering::Relaxed);
        self.is_bad.store(false, Ordering::Relaxed);
    }

    /// It has changed, and what it says now cannot be used.
    pub fn refused(&self) {
        self.refusals.fetch_add(1, Ordering::Relaxed);
        self.is_bad.store(true, Ordering::Relaxed);
    }
}

/// Writes the numbers of all files out.
pub(super) fn files(page: &mut Page<'_>, files: &[(Labels, Arc<FileMetrics>)]) -> fmt::Result {
    if files.is_empty() {
        return Ok(());
    }
    let about = "Entries of a file that policies go by, as they are in force";
    let mut family = page.gauges("yett_file_entries", about)?;
    for (values, metrics) in files {
        let entries = i64::try_from(metrics.entries.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        gauge(&mut family, &labels(["file"], values), entries)?;
    }
    let about =
        "Whether a file cannot be used as it is now (1), so that what it said before is in force";
    let mut family = page.gauges("yett_file_bad", about)?;
    for (values, metrics) in files {
        let is_bad = metrics.is_bad.load(Ordering::Relaxed);
        gauge(&mut family, &labels(["file"], values), i64::from(is_bad))?;
    }
    let about = "Times that a file changed to what cannot be used";
    let mut family = page.counters("yett_file_refusals", about)?;
    for (values, metrics) in files {
        let refusals = metrics.refusals.load(Ordering::Relaxed);
        counter(&mut family, &labels(["file"], values), refusals)?;
    }
    Ok(())
}
