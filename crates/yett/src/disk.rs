//! Files and environment variables. What was read is remembered, so that it can be watched.

use crate::handover::Heir;
use base::Secret;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The machine's files, and what was read of them.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    read: RefCell<BTreeMap<PathBuf, [u8; 32]>>,
    listed: RefCell<Vec<PathBuf>>,
    /// Files that may change without the config being another.
    apart: RefCell<BTreeSet<PathBuf>>,
    /// What workspaces keep.
    secrets: Arc<Secrets>,
}

/// Secrets by their names, by the names of their workspaces.
pub(crate) type Secrets = BTreeMap<String, BTreeMap<String, Secret>>;

/// The workspace whose secrets are those of the platform.
const PLATFORM: &str = model::join::DEFAULT;

impl Disk {
    /// With what workspaces keep.
    pub(crate) fn with(secrets: &Arc<Secrets>) -> Self {
        Self { secrets: Arc::clone(secrets), ..Self::default() }
    }

    /// The folders in which something was read or looked for.
    pub(crate) fn folders(&self) -> Vec<PathBuf> {
        let (files, apart) = (self.read.borrow(), self.apart.borrow());
        let all = files.keys().chain(apart.iter());
        let parents = all.map(|file| file.parent().unwrap_or_else(|| Path::new("")));
        let mut folders: Vec<PathBuf> =
            parents.map(Path::to_owned).chain(self.listed.borrow().iter().cloned()).collect();
        for folder in &mut folders {
            if folder.as_os_str().is_empty() {
                *folder = PathBuf::from(".");
            }
        }
        folders.sort();
        folders.dedup();
        folders
    }

    /// The names of the files that were read.
    pub(crate) fn file_names(&self) -> HashSet<OsString> {
        let (files, apart) = (self.read.borrow(), self.apart.borrow());
        let all = files.keys().chain(apart.iter());
        all.filter_map(|file| file.file_name()).map(OsStr::to_owned).collect()
    }

    /// The files that were read.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.read.borrow().keys().cloned().collect()
    }

    /// Whether what was read so far, together with these files, is what it was when `fingerprint` was taken.
    pub(crate) fn is_unchanged(&self, paths: &[PathBuf], fingerprint: [u8; 32]) -> bool {
        for path in paths {
            let is_known = self.read.borrow().contains_key(path);
            if !is_known {
                // What cannot be read has a digest as well.
                self.read_whole(path).ok();
            }
        }
        self.fingerprint() == fingerprint
    }

    /// A digest of everything that was read: it changes when any of it does.
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        let mut all = Vec::new();
        for (path, digest) in self.read.borrow().iter() {
            all.extend_from_slice(path.as_os_str().as_encoded_bytes());
            all.push(0);
            all.extend_from_slice(digest);
        }
        digest(&all)
    }

    fn read_whole(&self, path: &Path) -> Result<Vec<u8>, String> {
        let bytes = read(path, base::caps::CONFIG_FILE_BYTES_MAX);
        let digest = bytes.as_ref().map_or([0; 32], |bytes| digest(bytes));
        self.read.borrow_mut().insert(path.to_owned(), digest);
        bytes
    }
}

/// SHA-256.
pub(crate) fn digest(bytes: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
    digest
}

/// Reads no more than a file may hold, plus one byte by which the reader notices.
pub(crate) fn read(path: &Path, bytes_max: usize) -> Result<Vec<u8>, String> {
    let told = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission is denied".to_owned(),
        std::io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => error.to_string(),
    };
    let file = File::open(path).map_err(told)?;
    let mut bytes = Vec::new();
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(told)?;
    Ok(bytes)
}

impl model::load::Files for Disk {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        self.read_whole(Path::new(path))
    }

    fn list(&self, pattern: &str) -> Result<Vec<String>, String> {
        let path = Path::new(pattern);
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some((before, after)) = name.split_once('*') else {
            return Ok(if path.exists() { vec![pattern.to_owned()] } else { Vec::new() });
        };
        let folder = path.parent().unwrap_or_else(|| Path::new(""));
        self.listed.borrow_mut().push(folder.to_owned());
        let opened = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let entries = std::fs::read_dir(opened).map_err(|error| error.to_string())?;
        let mut found = Vec::new();
        for entry in entries {
            let name = entry.map_err(|error| error.to_string())?.file_name();
            let Some(name) = name.to_str() else { continue };
            let fits = name.len() >= before.len() + after.len()
                && name.starts_with(before)
                && name.ends_with(after)
                && !name.starts_with('.');
            if fits {
                found.push(folder.join(name).display().to_string());
            }
        }
        found.sort();
        Ok(found)
    }

    fn is_folder(&self, path: &str) -> bool {
        Path::new(path).is_dir()
    }
}

impl compile::Outside for Disk {
    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        self.read_whole(path)
    }

    fn read_apart(&self, path: &Path, bytes_max: usize) -> Result<Vec<u8>, String> {
        read(path, bytes_max)
    }

    fn follow(&self, path: &Path) {
        self.apart.borrow_mut().insert(path.to_owned());
    }

    fn env(&self, name: &str) -> Option<String> {
        base::env::text(name)
    }

    fn secret(&self, workspace: Option<&str>, name: &str) -> Option<Secret> {
        self.secrets.get(workspace.unwrap_or(PLATFORM))?.get(name).cloned()
    }
}

/// The folder for what must outlive a restart, held by one process at a time.
#[derive(Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
    lock: File,
}

impl StateDir {
    /// Where the folder of a config is, whether it can be used or not.
    ///
    /// # Errors
    /// When its name refers to nothing.
    pub(crate) fn path_of(config: &model::Config, disk: &Disk) -> Result<Option<PathBuf>, String> {
        let Some(written) = &config.state_dir else { return Ok(None) };
        let place = &written.place;
        let path =
            written.value.resolve(&References(disk)).map_err(|why| format!("{place}: {why}"))?;
        Ok(Some(compile::resolve_path(path.reveal(), place)))
    }

    /// Makes the folder of a config, if it names one, and holds it. A folder that cannot be written to
    /// is told and done without: traffic flows all the same.
    ///
    /// # Errors
    /// When a process other than the one that hands over holds the folder, or its name refers to nothing.
    pub(crate) fn claim(
        config: &model::Config,
        disk: &Disk,
        heir: Option<&mut Heir>,
    ) -> Result<Option<Self>, String> {
        let Some(written) = &config.state_dir else { return Ok(None) };
        let place = &written.place;
        let Some(path) = Self::path_of(config, disk)? else { return Ok(None) };
        if let Some(lock) = heir.and_then(|heir| heir.state_dir(&path)) {
            return Ok(Some(Self { path, lock }));
        }
        let shown = path.display();
        let opened = std::fs::create_dir_all(&path)
            .and_then(|()| File::options().create(true).append(true).open(path.join("lock")));
        let lock = match opened {
            Ok(lock) => lock,
            Err(error) => {
                tracing::warn!(
                    "{place}: state_dir `{shown}` cannot be used: {error}; going on without"
                );
                return Ok(None);
            }
        };
        match lock.try_lock() {
            Ok(()) => Ok(Some(Self { path, lock })),
            Err(std::fs::TryLockError::WouldBlock) => {
                Err(format!("{place}: state_dir `{shown}` is in use by another gateway"))
            }
            Err(std::fs::TryLockError::Error(error)) => {
                tracing::warn!(
                    "{place}: state_dir `{shown}` cannot be locked: {error}; going on without"
                );
                Ok(None)
            }
        }
    }
}

impl StateDir {
    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder, and the hold on it once more for another process.
    ///
    /// # Errors
    /// When there are no file descriptors left.
    pub(crate) fn share(&self) -> std::io::Result<(PathBuf, File)> {
        Ok((self.path.clone(), self.lock.try_clone()?))
    }
}

/// Environment variables only: the state folder is no secret.
struct References<'a>(&'a Disk);

impl base::Secrets for References<'_> {
    fn resolve(&self, reference: &base::secret::Reference) -> Result<Secret, String> {
        match reference {
            base::secret::Reference::Env(name) => compile::Outside::env(self.0, name)
                .map(Secret::new)
                .ok_or_else(|| format!("the environment variable `{name}` is not set")),
            base::secret::Reference::File(_) | base::secret::Reference::Kept(_) => {
                Err("only `${env:NAME}` is possible here".to_owned())
            }
        }
    }
}
