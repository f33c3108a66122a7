use crate::envelope::Keys;
use base::{Secret, random};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Bytes of a file of master keys.
const BYTES_MAX: u64 = 64 << 10;
/// Who may read and write the file: its owner.
const MODE: u32 = 0o600;

impl Keys {
    /// Reads the master keys of a file; none when there is no such file.
    ///
    /// # Errors
    /// A sentence that says what is wrong, and what helps: it cannot be read, others may read it, or it holds no keys.
    pub fn load(path: &Path) -> Result<Option<Self>, String> {
        let told = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
        let file = match File::open(path) {
            Ok(file) => file,
            Err(why) if why.kind() == ErrorKind::NotFound => return Ok(None),
            Err(why) => return Err(told(&why)),
        };
        let mode = file.metadata().map_err(|why| told(&why))?.mode();
        if mode & 0o077 != 0 {
            return Err(told(&"others may read the master key; `chmod 600` keeps them out"));
        }
        let mut text = String::new();
        file.take(BYTES_MAX).read_to_string(&mut text).map_err(|why| told(&why))?;
        Self::parse(&Secret::new(text)).map(Some).map_err(|why| told(&why))
    }

    /// Makes a file with a first master key. If another process has made it meanwhile, its key is the one.
    ///
    /// # Errors
    /// A sentence that says why it could not be made.
    pub fn make(path: &Path) -> Result<Self, String> {
        let keys = Self::generate().map_err(|why| why.to_string())?;
        let beside = keys.write_beside(path)?;
        // A link is made only if nothing has the name: of two who begin at once one wins.
        let linked = fs::hard_link(&beside, path);
        fs::remove_file(&beside).ok();
        match linked {
            Ok(()) => {
                settle(path)?;
                Ok(keys)
            }
            Err(why) if why.kind() == ErrorKind::AlreadyExists => {
                Self::load(path)?.ok_or_else(|| format!("{}: it is gone again", path.display()))
            }
            Err(why) => Err(format!("{}: {why}", path.display())),
        }
    }

    /// Writes the keys into a file in place of those that are there.
    ///
    /// # Errors
    /// A sentence that says why; the file is as before then.
    pub fn save(&self, path: &Path) -> Result<(), String> {
        let beside = self.write_beside(path)?;
        fs::rename(&beside, path).map_err(|why| format!("{}: {why}", path.display()))?;
        settle(path)
    }

    fn write_beside(&self, path: &Path) -> Result<std::path::PathBuf, String> {
        let beside = path.with_extension(format!("{:016x}", random::fast()));
        let write = || {
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(MODE).open(&beside)?;
            file.write_all(self.text().reveal().as_bytes())?;
            file.sync_all()
        };
        match write() {
            Ok(()) => Ok(beside),
            Err(why) => {
                fs::remove_file(&beside).ok();
                Err(format!("{}: {why}", beside.display()))
            }
        }
    }
}

/// Waits until the name of a file is on the disk.
fn settle(path: &Path) -> Result<(), String> {
    let folder =
        path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|why| format!("{}: {why}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::Keys;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn keys_are_made_once_and_only_their_owner_reads_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        assert_eq!(Keys::load(&path), Ok(None));
        let made = Keys::make(&path).unwrap();
        assert_eq!(Keys::make(&path).unwrap(), made, "who comes second takes the first's");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");

        let mut more = made.clone();
        more.rotate().unwrap();
        more.save(&path).unwrap();
        assert_eq!(Keys::load(&path), Ok(Some(more)));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Keys::load(&path).unwrap_err().contains("chmod 600"));
    }

    #[test]
    fn a_file_without_keys_is_no_first_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(Keys::load(&path).unwrap_err().contains("no master key"));
        assert!(Keys::make(&path).is_err());
    }
}
