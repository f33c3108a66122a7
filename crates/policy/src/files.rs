//! Files that policies go by besides the config, such as lists of addresses. They are read when a policy is built, and
//! again whenever they change, without the config being loaded anew. One that turns bad leaves in force what it said
//! before, and is told: in the log, in `/status` and in metrics.

use crate::kind::BuildCtx;
use arc_swap::{ArcSwap, Guard};
use aws_lc_rs::digest::{SHA256, digest};
use base::caps::ADDRESS_LIST_BYTES_MAX;
use base::ranges::{Mistake, Ranges};
use base::{Clock, Node, Place, Report};
use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::SystemTime;
use telemetry::Metrics;
use telemetry::metrics::FileMetrics;
use traffic::State;

/// Where the files are that a config names.
pub trait Files {
    /// Where a file is that was written like this, which matters from now on: its changes are to be noticed.
    fn locate(&self, written: &str) -> PathBuf;

    /// The content of a file, but no more than a byte beyond so many.
    ///
    /// # Errors
    /// A sentence that says why it cannot be read, without the path.
    fn read(&self, path: &Path, bytes_max: usize) -> Result<Vec<u8>, String>;

    /// Where a file is that was written like this, and its content, or a sentence that says why it cannot be read, without the
    /// path. It is a part of the config: when it changes, the config is another.
    fn part(&self, written: &str) -> (PathBuf, Result<Vec<u8>, String>);
}

/// What a file says, once it is read.
pub trait Content: Any + Send + Sync + Sized {
    /// What it is, for messages.
    const WHAT: &'static str;
    /// How large a file may be.
    const BYTES_MAX: usize;

    /// Reads it.
    ///
    /// # Errors
    /// What is wrong with it.
    fn read(bytes: Vec<u8>) -> Result<Self, Vec<Mistake>>;

    /// How many things it says.
    fn entries(&self) -> usize;

    /// Whether it may take the place of what is in force.
    ///
    /// # Errors
    /// Why not, in a sentence.
    fn replaces(&self, _: &Self) -> Result<(), String> {
        Ok(())
    }
}

impl Content for Ranges {
    const WHAT: &'static str = "list of addresses";
    const BYTES_MAX: usize = ADDRESS_LIST_BYTES_MAX;

    fn read(bytes: Vec<u8>) -> Result<Self, Vec<Mistake>> {
        Self::parse(&bytes)
    }

    fn entries(&self) -> usize {
        self.networks()
    }

    fn replaces(&self, old: &Self) -> Result<(), String> {
        self.follows(old)
    }
}

/// A file that somebody goes by.
pub struct Kept<T> {
    path: PathBuf,
    now: ArcSwap<T>,
    seen: Mutex<Seen>,
    metrics: Arc<FileMetrics>,
    clock: Clock,
    /// Who finds it there must find all others, too.
    _shelf: Arc<Shelf>,
}

/// What was seen of a file.
struct Seen {
    /// Of what is in force.
    digest: Digest,
    /// When that was read.
    at: SystemTime,
    /// What is there instead.
    bad: Option<Bad>,
    /// What was there when it was looked at last, if that was neither.
    new: Option<Digest>,
}

struct Bad {
    digest: Option<Digest>,
    why: String,
}

type Digest = [u8; 32];

impl<T: Content> Kept<T> {
    /// What it says now.
    pub fn now(&self) -> Guard<Arc<T>> {
        self.now.load()
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is wrong with it, if that is not what is in force.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.seen().bad.as_ref().map(|bad| bad.why.clone())
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse(&self, digest: Option<Digest>, why: String) {
        let mut seen = self.seen();
        if seen.bad.as_ref().is_none_or(|bad| bad.why != why) {
            let file = self.path.display();
            tracing::error!(%file, why, "a {} is bad; the one of before stays in force", T::WHAT);
            self.metrics.refused();
        }
        seen.bad = Some(Bad { digest, why });
        seen.new = None;
    }

    fn accept(&self, digest: Digest, content: T) {
        let entries = content.entries();
        self.now.store(Arc::new(content));
        *self.seen() = Seen { digest, at: self.clock.wall(), bad: None, new: None };
        self.metrics.read(entries);
        let file = self.path.display();
        tracing::info!(%file, entries, "a {} was read anew", T::WHAT);
    }
}

impl<T> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())
    }
}

/// How a file is.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The file.
    pub path: PathBuf,
    /// What it is.
    pub what: &'static str,
    /// How many things it says.
    pub entries: usize,
    /// When what is in force was read.
    pub read: SystemTime,
    /// What is wrong with it, if that is not what is in force.
    pub problem: Option<String>,
}

/// How files are read anew.
type ReadFile<'a> = &'a dyn Fn(&Path, usize) -> Result<Vec<u8>, String>;

/// A file of any kind.
trait Volume: Any + Send + Sync {
    /// Whether it must be looked at again soon, though nothing else may tell that it changes.
    fn refresh(&self, read: ReadFile<'_>) -> bool;
    fn standing(&self) -> Standing;
    fn is_read(&self);
}

impl<T: Content> Volume for Kept<T> {
    fn refresh(&self, read: ReadFile<'_>) -> bool {
        let bytes = match load(&self.path, T::BYTES_MAX, read) {
            Ok(bytes) => bytes,
            Err(why) => {
                self.refuse(None, why);
                return false;
            }
        };
        let digest = digest_of(&bytes);
        {
            let mut seen = self.seen();
            let last = seen.new.take();
            if digest == seen.digest {
                if seen.bad.take().is_some() {
                    self.metrics.read(self.now().entries());
                    let file = self.path.display();
                    tracing::info!(%file, "a {} is again what it was", T::WHAT);
                }
                return false;
            }
            if seen.bad.as_ref().is_some_and(|bad| bad.digest == Some(digest)) {
                return false;
            }
            // Somebody may be writing it: half a list lets pass whom the rest would deny.
            if last != Some(digest) {
                seen.new = Some(digest);
                return true;
            }
        }
        // Or be about to.
        if bytes.is_empty() && self.now().entries() > 0 {
            let why = "it is empty; write a comment into it if nothing is to be in it";
            self.refuse(Some(digest), why.to_owned());
            return false;
        }
        match T::read(bytes) {
            Ok(content) => match content.replaces(&self.now()) {
                Ok(()) => self.accept(digest, content),
                Err(why) => self.refuse(Some(digest), why),
            },
            Err(mistakes) => self.refuse(Some(digest), joined(&mistakes)),
        }
        false
    }

    fn standing(&self) -> Standing {
        let seen = self.seen();
        Standing {
            path: self.path.clone(),
            what: T::WHAT,
            entries: self.now().entries(),
            read: seen.at,
            problem: seen.bad.as_ref().map(|bad| bad.why.clone()),
        }
    }

    fn is_read(&self) {
        self.metrics.read(self.now().entries());
    }
}

/// All mistakes in one line.
fn joined(mistakes: &[Mistake]) -> String {
    let told = |mistake: &Mistake| match mistake.line {
        0 => mistake.message.clone(),
        line => format!("line {line}: {}", mistake.message),
    };
    mistakes.iter().map(told).collect::<Vec<_>>().join("; ")
}

fn load(path: &Path, bytes_max: usize, read: ReadFile<'_>) -> Result<Vec<u8>, String> {
    let bytes = read(path, bytes_max).map_err(|why| format!("cannot be read: {why}"))?;
    if bytes.len() > bytes_max {
        return Err(format!("it is larger than {}", base::units::Size(bytes_max as u64)));
    }
    Ok(bytes)
}

fn digest_of(bytes: &[u8]) -> Digest {
    let mut own = [0; 32];
    own.copy_from_slice(digest(&SHA256, bytes).as_ref());
    own
}

/// A file, and what it is read as.
type Name = (PathBuf, &'static str);

/// All files that policies go by.
#[derive(Default)]
pub struct Shelf {
    volumes: Mutex<BTreeMap<Name, Weak<dyn Volume>>>,
    /// Whether some were about to change when they were looked at last.
    is_unsettled: AtomicBool,
}

/// The one shelf of a process; whoever holds it sees all files that are in use.
#[must_use]
pub fn shelf(state: &State) -> Arc<Shelf> {
    state.cell("(files)", Shelf::default)
}

impl Shelf {
    /// Reads all files again, and goes by those that have changed and are the same as when they were last looked at.
    pub fn refresh(&self, read: impl Fn(&Path, usize) -> Result<Vec<u8>, String>) {
        let mut is_again = false;
        for volume in self.living() {
            is_again |= volume.refresh(&read);
        }
        self.is_unsettled.store(is_again, Ordering::Relaxed);
    }

    /// Whether some had changed and must be looked at again soon, though nobody may tell that they do.
    pub fn is_unsettled(&self) -> bool {
        self.is_unsettled.load(Ordering::Relaxed)
    }

    /// How the files are.
    #[must_use]
    pub fn standings(&self) -> Vec<Standing> {
        self.living().iter().map(|volume| volume.standing()).collect()
    }

    fn living(&self) -> Vec<Arc<dyn Volume>> {
        let mut volumes = self.volumes.lock().unwrap_or_else(PoisonError::into_inner);
        volumes.retain(|_, volume| volume.strong_count() > 0);
        volumes.values().filter_map(Weak::upgrade).collect()
    }

    fn find<T: Content>(&self, path: &Path) -> Option<Arc<Kept<T>>> {
        let volumes = self.volumes.lock().unwrap_or_else(PoisonError::into_inner);
        let volume = volumes.get(&(path.to_owned(), T::WHAT))?.upgrade()?;
        let any: Arc<dyn Any + Send + Sync> = volume;
        any.downcast().ok()
    }

    fn put<T: Content>(&self, kept: &Arc<Kept<T>>) {
        let volume: Arc<dyn Volume> = Arc::clone(kept) as _;
        volume.is_read();
        let mut volumes = self.volumes.lock().unwrap_or_else(PoisonError::into_inner);
        volumes.insert((kept.path.clone(), T::WHAT), Arc::downgrade(&volume));
    }
}

impl fmt::Debug for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shelf({} files)", self.living().len())
    }
}

/// The file that the setting `below` names, as a living snapshot has it, or read now. What is wrong with it goes to the
/// report, at its line; nothing comes of one that was never good.
pub(crate) fn open<T: Content>(
    written: &str,
    (node, below): (&Node, &str),
    ctx: &BuildCtx<'_>,
    report: &mut Report,
) -> Option<Arc<Kept<T>>> {
    let BuildCtx { files, state, metrics, clock, .. } = *ctx;
    let (place, pointer) = ctx.find(node, below);
    Library { files, state, metrics, clock }.open(written, (&place, &pointer), report)
}

/// Where files are, and where what they say is kept.
#[derive(Clone, Copy)]
pub struct Library<'a> {
    /// Where files are.
    pub files: &'a dyn Files,
    /// Where what they say is kept.
    pub state: &'a State,
    /// Counters.
    pub metrics: &'a Metrics,
    /// Time.
    pub clock: &'a Clock,
}

impl fmt::Debug for Library<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Library")
    }
}

impl Library<'_> {
    /// As `open`, for a setting at a place, which has this JSON pointer in its document.
    pub(crate) fn open<T: Content>(
        self,
        written: &str,
        (place, pointer): (&Place, &str),
        report: &mut Report,
    ) -> Option<Arc<Kept<T>>> {
        let ctx = self;
        let path = ctx.files.locate(written);
        let shelf = shelf(ctx.state);
        if let Some(kept) = shelf.find::<T>(&path) {
            if let Some(why) = kept.problem() {
                let message = format!(
                    "`{}` is bad, so that what it said before stays in force: {why}",
                    path.display()
                );
                report.warning("doubtful_value", place, message).at(pointer);
            }
            return Some(kept);
        }
        let bytes = match load(&path, T::BYTES_MAX, &|path, most| ctx.files.read(path, most)) {
            Ok(bytes) => bytes,
            Err(why) => {
                let message = format!("the {} `{}` {why}", T::WHAT, path.display());
                report.error("invalid_value", place, message).at(pointer);
                return None;
            }
        };
        let digest = digest_of(&bytes);
        match T::read(bytes) {
            Ok(content) => {
                let kept = Arc::new(Kept {
                    metrics: ctx.metrics.file(&path.display().to_string()),
                    path,
                    now: ArcSwap::from_pointee(content),
                    seen: Mutex::new(Seen { digest, at: ctx.clock.wall(), bad: None, new: None }),
                    clock: ctx.clock.clone(),
                    _shelf: Arc::clone(&shelf),
                });
                shelf.put(&kept);
                Some(kept)
            }
            Err(mistakes) => {
                tell(&mistakes, (&path, T::WHAT), (place, pointer), report);
                None
            }
        }
    }
}

/// Tells what is wrong with a file, at its lines.
fn tell(
    mistakes: &[Mistake],
    (path, what): (&Path, &str),
    (named, pointer): (&Place, &str),
    report: &mut Report,
) {
    let file: Arc<str> = path.display().to_string().into();
    for mistake in mistakes {
        let whole = format!("the {what} `{file}` cannot be used: {}", mistake.message);
        if mistake.line == 0 {
            report.error("invalid_value", named, whole).at(pointer);
            continue;
        }
        let place = Place::new(Arc::clone(&file), mistake.line, 1);
        let help = format!("{named} names this {what}");
        report.error("bad_file", &place, &*mistake.message).at(pointer).help(help);
    }
}

#[cfg(test)]
mod tests;
