//! Notices when files change. Folders are watched rather than files, so that a file that is replaced
//! by another (an editor's save, a Kubernetes ConfigMap's swap of links) is noticed as well.

use notify::event::ModifyKind;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use std::collections::{BTreeSet, HashSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// Watches folders and tells that something changed, never what.
#[derive(Debug)]
pub(crate) struct Watch {
    watcher: RecommendedWatcher,
    folders: BTreeSet<PathBuf>,
    /// Names of the files whose content matters; shared with the watcher's thread.
    files: Arc<Mutex<HashSet<OsString>>>,
}

impl Watch {
    /// Watches nothing yet. The receiver gets at most one token at a time.
    ///
    /// # Errors
    /// When the system has no more watches to give.
    pub(crate) fn new() -> notify::Result<(Self, mpsc::Receiver<()>)> {
        let (sender, receiver) = mpsc::channel(1);
        let files = Arc::new(Mutex::new(HashSet::new()));
        let ours = Arc::clone(&files);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let ours = ours.lock().unwrap_or_else(PoisonError::into_inner);
            if event.map_or(true, |event| matters(&event, &ours)) {
                // A token that is already waiting says the same.
                sender.try_send(()).ok();
            }
        })?;
        Ok((Self { watcher, folders: BTreeSet::new(), files }, receiver))
    }

    /// Watches these folders and no others, and in them the content of files of these names. Says
    /// whether a folder is watched that was not before.
    pub(crate) fn follow(&mut self, folders: &[PathBuf], files: &HashSet<OsString>) -> bool {
        self.files.lock().unwrap_or_else(PoisonError::into_inner).clone_from(files);
        let wanted: BTreeSet<PathBuf> = folders.iter().cloned().collect();
        for gone in self.folders.difference(&wanted) {
            // A folder that no longer exists is no longer watched anyway.
            drop(self.watcher.unwatch(gone));
        }
        let mut watched = BTreeSet::new();
        let mut has_new = false;
        for folder in wanted {
            let is_new = !self.folders.contains(&folder);
            if is_new && let Err(error) = self.watcher.watch(&folder, RecursiveMode::NonRecursive) {
                tracing::warn!(folder = %folder.display(), %error, "cannot watch a folder; SIGHUP still reloads");
                continue;
            }
            has_new |= is_new;
            watched.insert(folder);
        }
        self.folders = watched;
        has_new
    }
}

/// Names that come, go or move may be ours under another name (links are swapped so); of what is
/// written to, only our own files matter: a log beside the config is written to all the time.
fn matters(event: &Event, ours: &HashSet<OsString>) -> bool {
    match event.kind {
        EventKind::Access(_) => false,
        EventKind::Modify(ModifyKind::Name(_)) => true,
        EventKind::Modify(_) => {
            event.paths.iter().filter_map(|path| path.file_name()).any(|name| ours.contains(name))
        }
        _ => true,
    }
}
