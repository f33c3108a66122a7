//! What goes on after a restart besides counts: state that lasts, such as the keys that the gateway made for itself, in a
//! file of `state_dir`, written anew as a whole whenever it has changed. It holds private keys: whoever reads it signs
//! as the gateway, so nobody but its owner may.

use base::backoff::Backoff;
use base::caps::KEPT_KEYS_BYTES_MAX;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use traffic::State;
use zeroize::Zeroizing;

/// The file in the folder.
const NAME: &str = "keys.json";
/// How often it is looked whether anything has changed. A key is published long before it signs.
const EVERY: Duration = Duration::from_secs(2);
/// How long to wait after a write that failed, at most.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// For its owner only.
const MODE: u32 = 0o600;

/// State that is kept in a file until this is dropped.
pub(crate) struct Kept {
    file: Arc<Book>,
    keeping: JoinHandle<()>,
}

struct Book {
    path: PathBuf,
    state: Arc<State>,
    written: Mutex<Written>,
}

/// Ids and versions of what is in the file.
#[derive(Default)]
struct Written {
    versions: Option<Vec<(String, u64)>>,
    has_failed: bool,
}

/// Goes on with what was kept in a folder that this process holds.
pub(crate) fn restore(folder: &Path, state: &State) {
    if state.all_lasting().is_empty() {
        return;
    }
    let path = folder.join(NAME);
    match read(&path) {
        Ok(entries) => state.restore(&entries.unwrap_or_default()),
        Err(why) => {
            let path = path.display();
            tracing::error!(%path, why, "kept keys are not used; tokens that were signed by them are no longer believed");
        }
    }
}

impl Kept {
    /// Keeps state in a folder that this process holds, at once and from now on.
    pub(crate) fn begin(folder: &Path, state: &Arc<State>, background: &Runtime) -> Self {
        let (path, state) = (folder.join(NAME), Arc::clone(state));
        let file = Arc::new(Book { path, state, written: Mutex::default() });
        file.save().ok();
        let keeping = background.spawn(keep(Arc::clone(&file)));
        Self { file, keeping }
    }

    /// Keeps what has changed, before anybody relies on it.
    pub(crate) fn save(&self) {
        self.file.save().ok();
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.keeping.abort();
    }
}

async fn keep(file: Arc<Book>) {
    let mut backoff = Backoff::new(EVERY, RETRY_MAX);
    let mut pause = EVERY;
    loop {
        tokio::time::sleep(pause).await;
        let book = Arc::clone(&file);
        // A disk may be slow.
        let saved = tokio::task::spawn_blocking(move || book.save()).await;
        if matches!(saved, Ok(Ok(()))) {
            backoff.reset();
            pause = EVERY;
        } else {
            pause = backoff.after_failure();
        }
    }
}

impl Book {
    /// Writes the file anew if anything has changed. What cannot be written is told, once, and goes on in memory.
    fn save(&self) -> Result<(), ()> {
        let all = self.state.all_lasting();
        let versions: Vec<_> = all.iter().map(|(id, cell)| (id.clone(), cell.version())).collect();
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        // What is no longer used stays as it is: a config that comes back goes on with it.
        if versions.is_empty() || written.versions.as_ref() == Some(&versions) {
            return Ok(());
        }
        let entries: Map<String, Value> = all
            .iter()
            .map(|(id, cell)| {
                let bytes = Zeroizing::new(cell.export());
                (id.clone(), Value::String(STANDARD.encode(&*bytes)))
            })
            .collect();
        let text = Zeroizing::new(Value::Object(entries).to_string());
        let path = self.path.display();
        match write(&self.path, text.as_bytes()) {
            Ok(()) => {
                if std::mem::take(&mut written.has_failed) {
                    tracing::info!(%path, "the gateway's keys are kept again");
                }
                written.versions = Some(versions);
                Ok(())
            }
            Err(error) => {
                if !std::mem::replace(&mut written.has_failed, true) {
                    tracing::error!(
                        %path, %error,
                        "the gateway's keys cannot be written; requests go on, and after a restart tokens that were signed by them are no longer believed"
                    );
                }
                Err(())
            }
        }
    }
}

/// State by id.
type Entries = Vec<(String, Vec<u8>)>;

/// What a file holds, if it is there.
fn read(path: &Path) -> Result<Option<Entries>, String> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let about = file.metadata().map_err(|error| error.to_string())?;
    if about.permissions().mode() & 0o077 != 0 {
        return Err("others than its owner may have read or written it (`chmod 600`)".to_owned());
    }
    let mut text = Zeroizing::new(String::new());
    let limit = KEPT_KEYS_BYTES_MAX as u64 + 1;
    file.take(limit).read_to_string(&mut text).map_err(|error| error.to_string())?;
    let not_ours = || "it was not written by this program, or not as a whole".to_owned();
    if text.len() > KEPT_KEYS_BYTES_MAX {
        return Err(not_ours());
    }
    let entries: Map<String, Value> = serde_json::from_str(&text).map_err(|_| not_ours())?;
    let decoded = entries.into_iter().map(|(id, value)| {
        let bytes = value.as_str().and_then(|text| STANDARD.decode(text).ok());
        Ok((id, bytes.ok_or_else(not_ours)?))
    });
    decoded.collect::<Result<Entries, String>>().map(Some)
}

/// Writes a file so that it is there as a whole or as it was before, whatever happens.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("json.new");
    // What another process left there may have other rights.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(MODE).open(&beside)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    if let Err(error) = written.and_then(|()| fs::rename(&beside, path)) {
        fs::remove_file(&beside).ok();
        return Err(error);
    }
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kept({})", self.file.path.display())
    }
}

#[cfg(test)]
mod tests {
    use super::{NAME, read, write};
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_file_that_others_may_read_or_that_is_damaged_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        assert_eq!(read(&path), Ok(None));
        fs::write(path.with_extension("json.new"), "left behind").unwrap();
        write(&path, br#"{"a/b":"aGk="}"#).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read(&path), Ok(Some(vec![("a/b".to_owned(), b"hi".to_vec())])));
        for (text, mode, why) in [
            (r#"{"a/b":"aGk="}"#, 0o640, "others than its owner"),
            (r#"{"a/b":"aGk="#, 0o600, "not as a whole"),
            (r#"{"a/b":"!"}"#, 0o600, "not as a whole"),
            ("", 0o600, "not as a whole"),
        ] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(read(&path).unwrap_err().contains(why), "{text}");
        }
    }
}
