//! Notices when files change. Folders are watched rather than files, so that a file that is replaced
//! by another (an editor's save, a Kubernetes ConfigMap's swap of links) is noticed as well.

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use std::collections::BTreeSet;
use std::path::PathBuf;
use tokio::sync::mpsc;

/// Watches folders and tells that something changed, never what.
#[derive(Debug)]
pub(crate) struct Watch {
    watcher: RecommendedWatcher,
    folders: BTreeSet<PathBuf>,
}

impl Watch {
    /// Watches nothing yet. The receiver gets at most one token at a time.
    ///
    /// # Errors
    /// When the system has no more watches to give.
    pub(crate) fn new() -> notify::Result<(Self, mpsc::Receiver<()>)> {
        let (sender, receiver) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let is_change =
                event.map_or(true, |event| !matches!(event.kind, EventKind::Access(_)));
            if is_change {
                // A token that is already waiting says the same.
                drop(sender.try_send(()));
            }
        })?;
        Ok((Self { watcher, folders: BTreeSet::new() }, receiver))
    }

    /// Watches these folders and no others.
    pub(crate) fn follow(&mut self, folders: Vec<PathBuf>) {
        let wanted: BTreeSet<PathBuf> = folders.into_iter().collect();
        for gone in self.folders.difference(&wanted) {
            // A folder that no longer exists is no longer watched anyway.
            drop(self.watcher.unwatch(gone));
        }
        let mut watched = BTreeSet::new();
        for folder in wanted {
            let is_new = !self.folders.contains(&folder);
            if is_new && let Err(error) = self.watcher.watch(&folder, RecursiveMode::NonRecursive) {
                tracing::warn!(folder = %folder.display(), %error, "cannot watch a folder; SIGHUP still reloads");
                continue;
            }
            watched.insert(folder);
        }
        self.folders = watched;
    }
}
