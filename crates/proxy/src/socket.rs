//! Addresses, held exclusively. Each worker has a socket of its own on the same address
//! (`SO_REUSEPORT`), which would let a second process share it by accident: so one process claims an
//! address first, and a probe without `SO_REUSEPORT` finds any other holder.

use crate::door::Door;
use crate::unix_socket::{self, PathClaim};
use base::Endpoint;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

/// Connections that may wait to be accepted, per worker.
const BACKLOG: i32 = 4_096;

/// An address or a path of ours, one socket per worker. Those of a path are one and the same.
#[derive(Debug)]
pub struct Bound {
    /// The address, its port known, or the path.
    pub address: Endpoint,
    /// The sockets.
    pub sockets: Vec<Door>,
    /// The claim on it, for as long as it is held.
    pub claim: Claim,
}

/// The hold on an address.
#[derive(Debug)]
pub enum Claim {
    /// A name in the abstract namespace of Unix sockets, which the kernel frees when the process ends, however it
    /// ends.
    Name(UnixListener),
    /// A lock beside the socket.
    Path(PathClaim),
}

impl Bound {
    /// Takes up an address that another process of ours serves: its sockets, on which clients may be waiting
    /// already, and its claim. More sockets are bound if there are fewer than workers; nobody can wait on those
    /// before [`listen`].
    ///
    /// # Errors
    /// What the system says.
    pub fn inherit(
        mut sockets: Vec<Door>,
        path: Option<Arc<Path>>,
        claim: OwnedFd,
        workers: usize,
    ) -> io::Result<Self> {
        let first = sockets.first().ok_or_else(|| io::Error::other("no socket was handed over"))?;
        let (address, claim) = match (path, first) {
            (Some(path), _) => {
                let claim = PathClaim::inherit(Arc::clone(&path), claim);
                (Endpoint::Unix(path), Claim::Path(claim))
            }
            (None, first) => {
                let address = SockRef::from(first).local_addr()?;
                (Endpoint::Ip(ip(&address)?), Claim::Name(claim.into()))
            }
        };
        while sockets.len() < workers {
            // Nobody waits on it before it is opened, so that nobody is lost if it never is.
            let more = match (&address, sockets.first()) {
                (Endpoint::Ip(address), _) => Door::Tcp(socket(*address, true)?.into()),
                (Endpoint::Unix(_), Some(first)) => first.try_clone()?,
                (Endpoint::Unix(_), None) => break,
            };
            sockets.push(more);
        }
        for socket in &sockets {
            socket.set_nonblocking()?;
        }
        Ok(Self { address, sockets, claim })
    }
}

/// Lets clients wait on a socket to be accepted.
///
/// # Errors
/// What the system says.
pub fn listen(socket: &Door) -> io::Result<()> {
    SockRef::from(socket).listen(BACKLOG)
}

impl Claim {
    /// That of another process on a path that nobody wants any more.
    pub(crate) fn gone(path: Arc<Path>, claim: OwnedFd) -> Self {
        let claim = PathClaim::inherit(path, claim);
        claim.leave(false);
        Self::Path(claim)
    }

    /// The same claim once more, for another process.
    ///
    /// # Errors
    /// When there are no file descriptors left.
    pub fn share(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Name(name) => name.try_clone().map(OwnedFd::from),
            Self::Path(path) => path.share(),
        }
    }

    /// Whose the files are that stand for it, if there are any: whoever has them last removes them.
    pub fn leave(&self, is_left: bool) {
        if let Self::Path(path) = self {
            path.leave(is_left);
        }
    }

    /// Who may connect from now on, where that is a matter of files.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        match self {
            Self::Name(_) => Ok(()),
            Self::Path(path) => path.set_mode(mode),
        }
    }
}

/// Binds an address or a path for a number of workers; `mode` is that of the file of a path.
///
/// # Errors
/// `AddrInUse` when anybody else holds the address, and whatever else the system says.
pub fn bind(address: &Endpoint, mode: u32, workers: usize) -> io::Result<Bound> {
    match address {
        Endpoint::Ip(address) => bind_ip(*address, workers),
        Endpoint::Unix(path) => bind_unix(path, mode, workers),
    }
}

fn bind_unix(path: &Arc<Path>, mode: u32, workers: usize) -> io::Result<Bound> {
    let (socket, claim) = unix_socket::bind(path, mode)?;
    let clones = (1..workers).map(|_| socket.try_clone().map(Door::Unix));
    let mut sockets = clones.collect::<io::Result<Vec<_>>>()?;
    sockets.push(Door::Unix(socket));
    Ok(Bound { address: Endpoint::Unix(Arc::clone(path)), sockets, claim: Claim::Path(claim) })
}

fn bind_ip(address: SocketAddr, workers: usize) -> io::Result<Bound> {
    let probe = socket(address, false)?;
    let address = ip(&probe.local_addr()?)?;
    drop(probe);
    let claim = Claim::Name(claim(address)?);
    let sockets = (0..workers.max(1)).map(|_| listening(address).map(Door::Tcp));
    let sockets = sockets.collect::<io::Result<Vec<_>>>()?;
    Ok(Bound { address: Endpoint::Ip(address), sockets, claim })
}

fn listening(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket(address, true)?;
    socket.listen(BACKLOG)?;
    Ok(TcpListener::from(socket))
}

fn socket(address: SocketAddr, is_shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // So that `0.0.0.0` and `[::]` can have the same port.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(is_shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    if !is_shared {
        // A listening socket finds other listeners that binding alone tolerates.
        socket.listen(1)?;
    }
    Ok(socket)
}

fn ip(address: &SockAddr) -> io::Result<SocketAddr> {
    address.as_socket().ok_or_else(|| io::Error::other("not an IP socket"))
}

fn claim(address: SocketAddr) -> io::Result<UnixListener> {
    let name = format!("yett/listen/{address}");
    let name = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
    UnixListener::bind_addr(&name)
}

#[cfg(test)]
mod tests {
    use super::{Bound, bind};
    use std::io::{self, ErrorKind};
    use std::net::{SocketAddr, TcpListener};

    fn bound(address: SocketAddr) -> io::Result<Bound> {
        bind(&address.into(), 0, 2)
    }

    #[test]
    fn an_address_is_held_by_one_only() {
        let ours = bound("127.0.0.1:0".parse().unwrap()).unwrap();
        assert_eq!(ours.sockets.len(), 2);
        let address = ours.address.ip().unwrap();
        let again = bound(address).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AddrInUse);
        assert_eq!(TcpListener::bind(address).unwrap_err().kind(), ErrorKind::AddrInUse);
        drop(ours);
        bound(address).unwrap();
    }

    #[test]
    fn an_address_of_another_program_is_refused() {
        let theirs = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = bound(theirs.local_addr().unwrap()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    }
}
