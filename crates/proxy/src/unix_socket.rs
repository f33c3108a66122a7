//! Unix sockets, held exclusively: a lock on a file beside the socket says whose the path is, so that two processes
//! never share one, and what a process has left behind that was killed is replaced.

use rustix::fs::OFlags;
use socket2::{Domain, SockAddr, Socket, Type};
use std::ffi::OsString;
use std::fs::{self, File, Permissions, TryLockError};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{
    FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What the name of the lock has more than that of the socket.
const LOCK: &str = ".lock";
/// Whom the lock is for.
const LOCK_MODE: u32 = 0o600;
/// How often a lock is taken whose file was removed meanwhile.
const LOCK_ATTEMPTS: usize = 16;

/// The hold on a path. When it is dropped, the files are removed, unless somebody else has taken them over.
#[derive(Debug)]
pub struct PathClaim {
    path: Arc<Path>,
    lock: File,
    /// Which file the socket is.
    file: Option<(u64, u64)>,
    is_left: AtomicBool,
}

/// Binds a path. Nobody can connect before the socket listens, and by then it has its mode.
///
/// # Errors
/// `AddrInUse` when somebody listens there, and whatever else the system says.
pub(crate) fn bind(path: &Arc<Path>, mode: u32) -> io::Result<(UnixListener, PathClaim)> {
    let lock = lock(path)?;
    let mut claim =
        PathClaim { path: Arc::clone(path), lock, file: None, is_left: AtomicBool::new(false) };
    clear(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    claim.file = identity(path);
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok((UnixListener::from(OwnedFd::from(socket)), claim))
}

/// Makes way for a new socket: one that nobody listens on any more is removed.
fn clear(path: &Path) -> io::Result<()> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !found.file_type().is_socket() {
        return Err(io::Error::other(
            "there is a file that is no socket; remove it, or choose another path",
        ));
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Where the other's queue is full this would wait.
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(LOCK);
    name.into()
}

/// Takes the lock of a path. Whoever had it before removes its file when it ends: a lock on a file that is gone is
/// none.
fn lock(path: &Path) -> io::Result<File> {
    let beside = lock_path(path);
    // Not through a link that somebody else may have put there.
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::CLOEXEC).bits()).unwrap_or_default();
    for _ in 0..LOCK_ATTEMPTS {
        let mut options = File::options();
        options.create(true).append(true).mode(LOCK_MODE).custom_flags(flags);
        let lock = options.open(&beside).map_err(|error| {
            let why =
                format!("`{}`, by which it is held, cannot be opened: {error}", beside.display());
            io::Error::new(error.kind(), why)
        })?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(io::ErrorKind::AddrInUse.into()),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let held = lock.metadata()?;
        if identity(&beside) == Some((held.dev(), held.ino())) {
            return Ok(lock);
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

/// Which file is at a path.
fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

impl PathClaim {
    /// The hold that another process had.
    pub(crate) fn inherit(path: Arc<Path>, lock: OwnedFd) -> Self {
        let file = identity(&path);
        Self { path, lock: lock.into(), file, is_left: AtomicBool::new(true) }
    }

    /// The lock once more, for another process.
    pub(crate) fn share(&self) -> io::Result<OwnedFd> {
        self.lock.try_clone().map(OwnedFd::from)
    }

    /// The files are for another process from now on, or no longer.
    pub(crate) fn leave(&self, is_left: bool) {
        self.is_left.store(is_left, Ordering::Relaxed);
    }

    /// Gives the socket this mode from now on.
    pub(crate) fn set_mode(&self, mode: u32) -> io::Result<()> {
        match identity(&self.path) == self.file {
            true => fs::set_permissions(&self.path, Permissions::from_mode(mode)),
            false => Err(io::Error::other("another program has put something in its place")),
        }
    }
}

impl Drop for PathClaim {
    fn drop(&mut self) {
        if self.is_left.load(Ordering::Relaxed) {
            return;
        }
        // What cannot be removed is found to be dead by the next that comes.
        if self.file.is_some() && identity(&self.path) == self.file {
            drop(fs::remove_file(&self.path));
        }
        // It is still locked: whoever waits for it sees that it is gone, and makes a new one.
        drop(fs::remove_file(lock_path(&self.path)));
    }
}

#[cfg(test)]
mod tests {
    use super::{bind, lock_path};
    use std::fs;
    use std::io::ErrorKind;
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::{UnixListener, UnixStream};
    use std::path::Path;
    use std::sync::Arc;

    fn path(folder: &tempfile::TempDir) -> Arc<Path> {
        Arc::from(folder.path().join("x.sock"))
    }

    #[test]
    fn a_path_is_held_by_one_only_and_cleared_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(&folder);
        let (socket, claim) = bind(&path, 0o640).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(UnixStream::connect(&path).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(
            bind(&path, 0o640).unwrap_err().kind(),
            ErrorKind::AddrInUse,
            "before it listens"
        );
        drop((socket, claim));
        assert!(fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing is left");
        drop(bind(&path, 0o660).unwrap());
    }

    #[test]
    fn what_a_killed_process_has_left_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(&folder);
        drop(UnixListener::bind(&path).unwrap());
        fs::write(lock_path(&path), "").unwrap();
        let (_socket, _claim) = bind(&path, 0o660).unwrap();
    }

    #[test]
    fn the_socket_of_another_program_and_other_files_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(&folder);
        let theirs = UnixListener::bind(&path).unwrap();
        assert_eq!(bind(&path, 0o660).unwrap_err().kind(), ErrorKind::AddrInUse);
        UnixStream::connect(&path).unwrap();
        drop(theirs);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        let error = bind(&path, 0o660).unwrap_err();
        assert!(error.to_string().contains("no socket"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn a_file_that_took_the_place_of_the_socket_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(&folder);
        let (socket, claim) = bind(&path, 0o660).unwrap();
        fs::remove_file(&path).unwrap();
        fs::write(&path, "precious").unwrap();
        claim.set_mode(0o600).unwrap_err();
        drop((socket, claim));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }
}
