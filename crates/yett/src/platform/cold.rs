//! What a gateway knows of callers and secrets, kept beside what it serves by, for a start without the database.
//!
//! The file is written anew soon after something has changed. What has changed since is noted at once in a file of its
//! own, before the gateway goes by it: after a start without the database nobody is believed by what is noted there. So
//! who was locked out before a crash stays out after it.

use super::{Shared, lock};
use base::caps::COLD_CHANGES_MAX;
use base::random;
use control::Control;
use control::cold::{Cold, cold_read};
use control::directory::Change;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use store::envelope::Keys;
use tokio::sync::{Notify, watch};

/// What was known last, in `state_dir`.
pub(super) const NAME: &str = "last-known.jsonl";
/// What has changed since.
pub(super) const CHANGES: &str = "last-known.changes";
/// For its owner only: there are hashes of passwords in it.
const MODE: u32 = 0o600;
/// How long changes are gathered before the file is written anew, and how long it rests then, at least.
const PAUSE: Duration = Duration::from_secs(1);
/// The file is written a part of the time that is one in so many.
const SHARE: u32 = 20;

/// The files.
#[derive(Debug)]
pub(super) struct Known {
    folder: Option<PathBuf>,
    changes: Mutex<Changes>,
    wake: Notify,
}

/// What has changed since the file was written.
#[derive(Debug, Default)]
struct Changes {
    all: Vec<Stale>,
    /// How often they were so many that they became everything.
    overflows: u64,
    has_failed: bool,
}

/// Something of which it is not known what it is by now.
#[derive(Clone, Debug)]
pub(super) enum Stale {
    One(Change),
    Everything,
}

impl Stale {
    fn line(&self) -> String {
        match self {
            Self::One(change) => change.body() + "\n",
            Self::Everything => json!({ "everything": true }).to_string() + "\n",
        }
    }

    fn parse(line: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(line).ok()?;
        if value["everything"] == true {
            return Some(Self::Everything);
        }
        Change::parse(line).map(Self::One)
    }
}

impl Known {
    pub(super) fn new(folder: Option<&Path>) -> Self {
        let folder = folder.map(Path::to_owned);
        Self { folder, changes: Mutex::default(), wake: Notify::new() }
    }

    /// Notes what is about to change, so that nobody is believed by what the file says of it.
    pub(super) fn stale(&self, news: &[Stale]) {
        let Some(folder) = self.folder.as_ref().filter(|_| !news.is_empty()) else { return };
        let mut changes = lock(&self.changes);
        changes.all.extend_from_slice(news);
        let text: String = if changes.all.len() > COLD_CHANGES_MAX {
            changes.all = vec![Stale::Everything];
            changes.overflows += 1;
            Stale::Everything.line()
        } else {
            news.iter().map(Stale::line).collect()
        };
        let written = File::options()
            .create(true)
            .append(true)
            .mode(MODE)
            .open(folder.join(CHANGES))
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_data()));
        if let Err(error) = written {
            // Rather nothing than what is no longer so.
            let gone = fs::remove_file(folder.join(NAME));
            changes.troubled(&error);
            if gone.is_err_and(|error| error.kind() != ErrorKind::NotFound) {
                tracing::error!(
                    "what was known before is in state_dir still: a start without the database would go by it"
                );
            }
        }
        drop(changes);
        self.wake.notify_one();
    }

    /// Tells that something has changed that was known of otherwise, such as the value of a secret.
    pub(super) fn other(&self) {
        self.wake.notify_one();
    }

    /// What was known last, without what has changed since; nothing if nothing was kept.
    fn read(&self, keys: Option<&Keys>) -> Result<Option<Cold>, String> {
        let Some(folder) = &self.folder else { return Ok(None) };
        let file = match File::open(folder.join(NAME)) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let text = match fs::read_to_string(folder.join(CHANGES)) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            text => text.map_err(|error| error.to_string())?,
        };
        let mut stale = Vec::new();
        for line in text.lines() {
            match Stale::parse(line) {
                Some(Stale::One(change)) => stale.push(change),
                // A line that was cut off may have been any.
                Some(Stale::Everything) | None => {
                    return Err(
                        "it was about to be written anew, as everything may be other than it says"
                            .to_owned(),
                    );
                }
            }
        }
        cold_read(BufReader::new(file), keys, &stale).map(Some)
    }

    /// Writes what is known anew.
    async fn write(&self, control: &Control) {
        let Some(folder) = &self.folder else { return };
        // What changes meanwhile may not be in it.
        let (noted, overflows) = {
            let changes = lock(&self.changes);
            (changes.all.len(), changes.overflows)
        };
        let beside = folder.join(format!("{NAME}.{:016x}", random::fast()));
        let written = write(control, &beside).await;
        let mut changes = lock(&self.changes);
        let rest = changes.all.get(noted..).unwrap_or_default().to_vec();
        let text: String = rest.iter().map(Stale::line).collect();
        let placed = written.and_then(|()| {
            fs::rename(&beside, folder.join(NAME))?;
            File::open(folder)?.sync_all()?;
            if changes.overflows != overflows {
                // They became everything meanwhile, which the next time is known.
                return Ok(false);
            }
            crate::kept::write(&folder.join(CHANGES), text.as_bytes())?;
            Ok(true)
        });
        match placed {
            Ok(is_current) => {
                if is_current {
                    changes.all = rest;
                }
                if std::mem::take(&mut changes.has_failed) {
                    tracing::info!("callers and secrets are kept again");
                }
            }
            Err(error) => {
                fs::remove_file(&beside).ok();
                changes.troubled(&error);
            }
        }
    }
}

impl Changes {
    /// Tells that nothing can be kept: once.
    fn troubled(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.has_failed, true) {
            tracing::warn!(%error, "callers and secrets cannot be kept in state_dir; after a start without the database nobody would be believed");
        }
    }
}

async fn write(control: &Control, beside: &Path) -> io::Result<()> {
    let file = File::options().write(true).create_new(true).mode(MODE).open(beside)?;
    let synced = file.try_clone()?;
    let written = control.cold_write(BufWriter::new(file)).await;
    written.map_err(|problem| io::Error::other(problem.cause.unwrap_or(problem.detail)))?;
    // A disk may be slow.
    let synced = tokio::task::spawn_blocking(move || synced.sync_all()).await;
    synced.map_err(io::Error::other)?
}

impl Shared {
    /// Goes by what was known last, as the database does not answer.
    pub(super) fn go_cold(&self) {
        let keys = self.place.keys_there().unwrap_or_default();
        match self.known.read(keys.as_ref()) {
            Ok(None) => {}
            Ok(Some(cold)) => {
                let Cold { known, secrets, locked } = cold;
                let (callers, credentials) = (known.consumers.len(), known.credentials.len());
                tracing::warn!(
                    callers,
                    credentials,
                    locked,
                    "the database does not answer: callers and secrets are those that were known last"
                );
                self.records.all(known);
                *lock(&self.secrets) = Arc::new(secrets);
            }
            Err(why) => {
                tracing::error!(why, "callers and secrets that were known last are not used");
            }
        }
    }
}

/// Keeps what is known whenever it has changed.
pub(super) async fn keep(shared: Arc<Shared>, control: Control, mut ending: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = shared.known.wake.notified() => {}
            _ = ending.wait_for(|is_ended| *is_ended) => return,
        }
        let begun = shared.clock.now();
        shared.known.write(&control).await;
        let took = shared.clock.now().duration_since(begun);
        tokio::select! {
            () = tokio::time::sleep(PAUSE.max(took.saturating_mul(SHARE))) => {}
            _ = ending.wait_for(|is_ended| *is_ended) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{CHANGES, Known, NAME, Stale};
    use control::directory::Change;
    use std::fs;

    fn change(consumer: &str) -> Change {
        let body = format!("{{\"consumer\":\"{consumer}\"}}");
        Change::parse(&body).unwrap()
    }

    #[test]
    fn what_is_noted_is_read_again_and_a_note_that_was_cut_off_is_everything() {
        let folder = tempfile::tempdir().unwrap();
        let known = Known::new(Some(folder.path()));
        assert!(known.read(None).unwrap().is_none());
        let begin = "{\"begin\":{\"version\":1}}\n";
        fs::write(folder.path().join(NAME), begin).unwrap();
        assert!(known.read(None).is_err(), "it has no end");
        known.stale(&[Stale::One(change("a")), Stale::One(change("b"))]);
        let text = fs::read_to_string(folder.path().join(CHANGES)).unwrap();
        let read: Vec<Stale> = text.lines().filter_map(Stale::parse).collect();
        assert!(
            matches!(read.as_slice(), [Stale::One(a), Stale::One(b)] if *a == change("a") && *b == change("b"))
        );
        fs::write(folder.path().join(CHANGES), text.get(..text.len() - 3).unwrap()).unwrap();
        assert!(known.read(None).unwrap_err().contains("everything"));
        known.stale(&[Stale::Everything]);
        assert!(known.read(None).unwrap_err().contains("everything"));
    }

    #[test]
    fn where_changes_cannot_be_noted_what_was_known_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let known = Known::new(Some(folder.path()));
        fs::write(folder.path().join(NAME), "").unwrap();
        fs::create_dir(folder.path().join(CHANGES)).unwrap();
        known.stale(&[Stale::One(change("a"))]);
        assert!(!folder.path().join(NAME).exists());
    }
}
