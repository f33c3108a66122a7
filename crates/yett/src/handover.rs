//! Upgrading in place: a running gateway starts the program that is at its path now, hands it the listening
//! sockets with the clients that wait on them, the hold on `state_dir` and what limits have counted, and leaves
//! only when the new one serves. If that fails at any point, the old one goes on as if nothing had been asked.
//!
//! The two talk over a pair of Unix sockets, the new one's standard input, so that nobody else can take part:
//!
//! 1. old to new: what there is ([`Header`]), then one file descriptor after the other;
//! 2. new to old: prepared, that is: config compiled, sockets taken up;
//! 3. old to new: the state of limits, as late as possible;
//! 4. new to old: serving;
//! 5. old to new: what it counts of quotas while it finishes what it has begun.

use base::Endpoint;
use proxy::door::Door;
use proxy::workers::Legacy;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use traffic::State;

/// Tells a process that its standard input is the way to the one that it replaces.
const VARIABLE: &str = "YETT_HANDOVER";
/// What the two sides have to agree on.
const VERSION: u64 = 1;
/// How long the new process may take to be prepared.
const PREPARE_LIMIT: Duration = Duration::from_secs(60);
/// How long either side may take for any other step.
const STEP_LIMIT: Duration = Duration::from_secs(10);
/// Bytes of one message: the state of all limits is the largest.
const MESSAGE_BYTES_MAX: usize = 1 << 30;

const PREPARED: &[u8] = b"prepared";
const SERVING: &[u8] = b"serving";

/// What a process serves, as far as it can be handed over.
#[derive(Debug)]
pub(crate) struct Estate {
    /// The listeners.
    pub(crate) listeners: Vec<Legacy>,
    /// The operators' listener.
    pub(crate) admin: Option<TcpListener>,
    /// The hold on `state_dir`, and its path.
    pub(crate) state_dir: Option<(PathBuf, File)>,
}

/// The means to give an upgrade up while it is under way.
#[derive(Debug, Default)]
pub(crate) struct Cancel {
    is_cancelled: AtomicBool,
    way: Mutex<Option<UnixStream>>,
}

impl Cancel {
    /// Gives it up: unless the new process serves already, it is ended.
    pub(crate) fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::SeqCst);
        if let Some(way) = &*self.way.lock().unwrap_or_else(PoisonError::into_inner) {
            // It is gone if this fails.
            way.shutdown(Shutdown::Both).ok();
        }
    }

    fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::SeqCst)
    }

    /// Has [`Cancel::cancel`] close this way.
    fn watch(&self, way: &UnixStream) -> io::Result<()> {
        *self.way.lock().unwrap_or_else(PoisonError::into_inner) = Some(way.try_clone()?);
        match self.is_cancelled() {
            true => Err(io::Error::other("the upgrade was given up")),
            false => Ok(()),
        }
    }
}

/// The process that serves now, and the way to it.
#[derive(Debug)]
pub(crate) struct Successor {
    pub(crate) process: u32,
    way: UnixStream,
}

/// How often the old process tells what it counts.
const REST_PERIOD: Duration = Duration::from_millis(500);

/// Tells a successor what is counted here, until this is dropped.
#[derive(Debug)]
pub(crate) struct Rest {
    end: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Successor {
    /// Begins to tell it what is counted here.
    pub(crate) fn told(self, state: Arc<State>) -> Option<Rest> {
        let (end, ended) = sync_channel(1);
        let tell = move || {
            let mut way = self.way;
            loop {
                let is_last = ended.recv_timeout(REST_PERIOD) != Err(RecvTimeoutError::Timeout);
                let rest = state.export_rest();
                let told = if rest.is_empty() { Ok(()) } else { write(&mut way, &packed(&rest)) };
                if let Err(error) = told {
                    tracing::warn!(%error, "what is counted here could not be told to the process that took over");
                    return;
                }
                if is_last {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("yett-rest".to_owned()).spawn(tell);
        match thread {
            Ok(thread) => Some(Rest { end: Some(end), thread: Some(thread) }),
            Err(error) => {
                tracing::warn!(%error, "what is counted here is not told to the process that took over");
                None
            }
        }
    }
}

impl Drop for Rest {
    /// Tells what was counted last.
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("what was counted last was not told");
        }
    }
}

/// Starts `program` and hands everything over. Returns the process that serves now.
///
/// # Errors
/// Why it does not serve; it has been ended then.
pub(crate) fn pass_on(
    program: &Path,
    arguments: &[OsString],
    estate: &Estate,
    state: &State,
    cancel: &Cancel,
) -> Result<Successor, String> {
    let (ours, theirs) = UnixStream::pair().map_err(|error| format!("no way to it: {error}"))?;
    let mut child = Command::new(program)
        .args(arguments)
        .env(VARIABLE, "1")
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .spawn()
        .map_err(|error| format!("`{}` cannot be started: {error}", program.display()))?;
    match cancel.watch(&ours).and_then(|()| tell(ours, estate, state)) {
        Ok(way) => Ok(Successor { process: child.id(), way }),
        Err(error) => {
            let why = end(&mut child, &error, cancel);
            state.hand_over(false);
            Err(why)
        }
    }
}

/// Makes sure that a process that did not take over is gone, and says why.
fn end(child: &mut Child, error: &io::Error, cancel: &Cancel) -> String {
    if !cancel.is_cancelled()
        && error.kind() == io::ErrorKind::UnexpectedEof
        && let Ok(status) = child.wait()
    {
        return format!("the new process ended before it served ({status}); its log says why");
    }
    // Whether it was still there does not matter.
    child.kill().ok();
    child.wait().ok();
    if cancel.is_cancelled() {
        return "it was given up, since this process was told to stop".to_owned();
    }
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            format!("the new process did not serve within {PREPARE_LIMIT:?}")
        }
        _ => format!("the new process could not be told: {error}"),
    }
}

fn tell(mut way: UnixStream, estate: &Estate, state: &State) -> io::Result<UnixStream> {
    way.set_write_timeout(Some(STEP_LIMIT))?;
    way.set_read_timeout(Some(PREPARE_LIMIT))?;
    let listeners: Vec<Value> = estate
        .listeners
        .iter()
        .map(|legacy| {
            let (name, sockets) = (&*legacy.name, legacy.sockets.len());
            json!({ "name": name, "sockets": sockets, "path": legacy.path })
        })
        .collect();
    let header = json!({
        "version": VERSION,
        "listeners": listeners,
        "admin": estate.admin.is_some(),
        "state_dir": estate.state_dir.as_ref().map(|(path, _)| path),
    });
    write(&mut way, header.to_string().as_bytes())?;
    for legacy in &estate.listeners {
        for socket in &legacy.sockets {
            send(&way, socket.as_fd())?;
        }
        send(&way, legacy.claim.as_fd())?;
    }
    if let Some(admin) = &estate.admin {
        send(&way, admin.as_fd())?;
    }
    if let Some((_, lock)) = &estate.state_dir {
        send(&way, lock.as_fd())?;
    }
    expect(&mut way, PREPARED)?;
    // Before it is told: what is believed afterwards, the new process would not know of.
    state.hand_over(true);
    write(&mut way, &packed(&state.export()))?;
    way.set_read_timeout(Some(STEP_LIMIT))?;
    expect(&mut way, SERVING)?;
    way.set_write_timeout(Some(STEP_LIMIT))?;
    Ok(way)
}

/// What a process was handed when it was started.
#[derive(Debug)]
pub(crate) struct Heir {
    way: UnixStream,
    estate: Estate,
}

impl Heir {
    /// Takes up what was handed over, if anything was.
    ///
    /// # Errors
    /// When the process that is to be replaced speaks another version, or is gone.
    pub(crate) fn find() -> Result<Option<Self>, String> {
        if base::env::text(VARIABLE).is_none() {
            return Ok(None);
        }
        Self::take_up().map(Some).map_err(|error| {
            format!("nothing was handed over: {error}; `{VARIABLE}` is set for upgrades only")
        })
    }

    fn take_up() -> io::Result<Self> {
        let mut way = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
        way.set_read_timeout(Some(STEP_LIMIT))?;
        way.set_write_timeout(Some(STEP_LIMIT))?;
        let header: Value = serde_json::from_slice(&read(&mut way)?)?;
        if header["version"] != VERSION {
            return Err(io::Error::other("the running process speaks another version"));
        }
        let mut listeners = Vec::new();
        for listener in header["listeners"].as_array().into_iter().flatten() {
            let name = Arc::from(listener["name"].as_str().unwrap_or_default());
            let count = listener["sockets"].as_u64().unwrap_or(0);
            let path = listener["path"].as_str().map(|path| Arc::from(Path::new(path)));
            let sockets = (0..count).map(|_| Ok(Door::of(receive(&way)?, path.is_some())));
            let sockets = sockets.collect::<io::Result<_>>()?;
            listeners.push(Legacy { name, sockets, path, claim: receive(&way)? });
        }
        let has_admin = header["admin"].as_bool() == Some(true);
        let admin = has_admin.then(|| receive(&way).map(TcpListener::from)).transpose()?;
        let state_dir = header["state_dir"].as_str().map(PathBuf::from);
        let lock = |path| Ok::<_, io::Error>((path, File::from(receive(&way)?)));
        let state_dir = state_dir.map(lock).transpose()?;
        Ok(Self { way, estate: Estate { listeners, admin, state_dir } })
    }

    /// The sockets of a listener that is to be at this address, if the old process has it; port 0 is any
    /// port that it had.
    pub(crate) fn listener(&mut self, name: &str, bind: &Endpoint) -> Option<Legacy> {
        let fits = |legacy: &Legacy| {
            let is_any_port = bind.ip().is_some_and(|address| address.port() == 0);
            let is_named = !is_any_port || *legacy.name == *name;
            is_named && legacy.address().is_some_and(|address| bind.is_met_by(&address))
        };
        let at = self.estate.listeners.iter().position(fits)?;
        Some(self.estate.listeners.remove(at))
    }

    /// The operators' listener, if it is to stay where it is.
    pub(crate) fn admin(&mut self, bind: SocketAddr) -> Option<TcpListener> {
        let address = self.estate.admin.as_ref()?.local_addr().ok()?;
        let fits = address == bind || (bind.port() == 0 && address.ip() == bind.ip());
        self.estate.admin.take_if(|_| fits)
    }

    /// The hold on the folder at `path`.
    pub(crate) fn state_dir(&mut self, path: &Path) -> Option<File> {
        self.estate.state_dir.take_if(|(held, _)| held == path).map(|(_, lock)| lock)
    }

    /// Everything is ready to serve. Returns what the old process knows of limits.
    ///
    /// # Errors
    /// When the old process is gone or has given up: then it serves, and this one must not.
    pub(crate) fn prepared(&mut self) -> Result<Vec<(String, Vec<u8>)>, String> {
        let exported = write(&mut self.way, PREPARED).and_then(|()| read(&mut self.way));
        exported.map(|bytes| unpacked(&bytes)).map_err(|error| {
            format!("the running process does not hand over: {error}; it goes on serving")
        })
    }

    /// This process serves: the old one may leave. What it counts until it ends is added to `state`.
    pub(crate) fn serving(mut self, state: &Arc<State>) {
        if let Err(error) =
            write(&mut self.way, SERVING).and_then(|()| self.way.set_read_timeout(None))
        {
            tracing::warn!(%error, "the process that was replaced could not be told");
            return;
        }
        // What the config no longer has leaves no files behind.
        self.estate.listeners.into_iter().for_each(Legacy::give_up);
        let (mut way, state) = (self.way, Arc::clone(state));
        let listen = move || {
            // It ends when the old process does.
            while let Ok(message) = read(&mut way) {
                state.import_rest(&unpacked(&message));
            }
        };
        let begun = std::thread::Builder::new().name("yett-rest".to_owned()).spawn(listen);
        if let Err(error) = begun {
            tracing::warn!(%error, "what the process that was replaced still counts is lost");
        }
    }
}

/// Tells a process that has taken over to stop as well.
pub(crate) fn terminate(process: u32) {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw);
    let told = process.map(|process| kill_process(process, Signal::TERM));
    if let Some(Err(error)) = told {
        tracing::warn!(%error, "the process that took over could not be told to stop");
    }
}

fn packed(exported: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in exported.iter().flat_map(|(id, state)| [id.as_bytes(), state]) {
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend(part);
    }
    bytes
}

fn unpacked(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let (mut rest, mut parts) = (bytes, Vec::new());
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = usize::try_from(u64::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((part, after)) = after.split_at_checked(length) else { break };
        parts.push(part);
        rest = after;
    }
    let pair =
        |pair: &[&[u8]; 2]| (String::from_utf8_lossy(pair[0]).into_owned(), pair[1].to_vec());
    parts.as_chunks().0.iter().map(pair).collect()
}

/// Writes a message, its length first.
fn write(way: &mut UnixStream, message: &[u8]) -> io::Result<()> {
    way.write_all(&(message.len() as u64).to_be_bytes())?;
    way.write_all(message)
}

/// Reads a message.
fn read(way: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 8];
    way.read_exact(&mut length)?;
    let length = usize::try_from(u64::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MESSAGE_BYTES_MAX {
        return Err(io::Error::other("a message is too large"));
    }
    let mut message = vec![0; length];
    way.read_exact(&mut message)?;
    Ok(message)
}

fn expect(way: &mut UnixStream, word: &[u8]) -> io::Result<()> {
    match read(way)? == word {
        true => Ok(()),
        false => Err(io::Error::other("it answers something else than was asked")),
    }
}

/// Sends a file descriptor, with one byte to carry it.
fn send(way: &UnixStream, fd: BorrowedFd<'_>) -> io::Result<()> {
    let fds = [fd];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    sendmsg(way, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives a file descriptor.
fn receive(way: &UnixStream) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::CMSG_CLOEXEC;
    recvmsg(way, &mut [IoSliceMut::new(&mut byte)], &mut control, flags)?;
    let fd = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
        _ => None,
    });
    fd.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
}

#[cfg(test)]
mod tests {
    use super::{packed, receive, send, unpacked};
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsFd as _;
    use std::os::unix::net::UnixStream;

    #[test]
    fn state_is_unpacked_as_it_was_packed() {
        let exported = vec![("a/b".to_owned(), vec![1, 2]), ("c".to_owned(), Vec::new())];
        let bytes = packed(&exported);
        assert_eq!(unpacked(&bytes), exported);
        for length in 0..bytes.len() {
            assert!(unpacked(&bytes[..length]).len() < 2, "{length}");
        }
        assert!(unpacked(&[0xff; 40]).is_empty());
    }

    #[test]
    fn what_is_received_is_what_was_sent() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut near, far) = UnixStream::pair().unwrap();
        send(&ours, far.as_fd()).unwrap();
        drop(far);
        let mut received = UnixStream::from(receive(&theirs).unwrap());
        received.write_all(b"here").unwrap();
        drop(received);
        let mut heard = String::new();
        near.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "here");
        drop(ours);
        receive(&theirs).unwrap_err();
    }
}
