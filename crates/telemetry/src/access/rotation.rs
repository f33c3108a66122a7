//! Files that are moved away: by others, or by the gateway when they are full.

use super::Rotation;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// Whether the name stands for another file than the open one, or for none. A folder that cannot be
/// looked into says nothing.
pub(super) fn is_moved(path: &Path, file: &File) -> bool {
    let Ok(open) = file.metadata() else { return false };
    match fs::metadata(path) {
        Ok(named) => (named.dev(), named.ino()) != (open.dev(), open.ino()),
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

/// Moves `NAME` to `NAME.1` when it is full, `NAME.1` to `NAME.2` and so on.
#[derive(Debug)]
pub(super) struct Turning {
    path: PathBuf,
    rotation: Rotation,
}

impl Turning {
    pub(super) fn new(path: &Path, rotation: Rotation) -> Self {
        Self { path: path.to_owned(), rotation }
    }

    /// Whether so many more bytes are too many. An empty file takes them whatever they are, and what is
    /// no file (a pipe, a device) is never full.
    pub(super) fn is_due(&self, file: &File, bytes: usize) -> bool {
        let Ok(open) = file.metadata() else { return false };
        open.is_file() && open.len() > 0 && open.len() + bytes as u64 > self.rotation.size
    }

    /// Moves the file away, and the oldest out of the world.
    ///
    /// # Errors
    /// Why a file cannot be moved.
    pub(super) fn turn(&self) -> io::Result<()> {
        if self.rotation.keep == 0 {
            return told(&self.path, fs::remove_file(&self.path));
        }
        for number in (1..self.rotation.keep).rev() {
            let from = self.numbered(number);
            told(&from, fs::rename(&from, self.numbered(number + 1)))?;
        }
        told(&self.path, fs::rename(&self.path, self.numbered(1)))
    }

    fn numbered(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }
}

/// A file that is not there needs no moving.
fn told(path: &Path, outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            let message = format!("cannot move `{}` away: {error}", path.display());
            Err(io::Error::new(error.kind(), message))
        }
        _ => Ok(()),
    }
}
