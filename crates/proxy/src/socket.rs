//! Addresses, held exclusively. Each worker has a socket of its own on the same address
//! (`SO_REUSEPORT`), which would let a second process share it by accident: so one process claims an
//! address first, and a probe without `SO_REUSEPORT` finds any other holder.

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::UnixListener;

/// Connections that may wait to be accepted, per worker.
const BACKLOG: i32 = 4_096;

/// An address of ours, one socket per worker.
#[derive(Debug)]
pub struct Bound {
    /// The address, its port known.
    pub address: SocketAddr,
    /// The sockets.
    pub sockets: Vec<TcpListener>,
    /// The claim on the address, for as long as it is held.
    pub claim: Claim,
}

/// A claim on an address: a name in the abstract namespace of Unix sockets, which the kernel frees
/// when the process ends, however it ends.
#[derive(Debug)]
pub struct Claim {
    name: UnixListener,
}

impl Bound {
    /// Takes up an address that another process of ours serves: its sockets, on which clients may be waiting
    /// already, and its claim. More sockets are bound if there are fewer than workers; nobody can wait on those
    /// before [`listen`].
    ///
    /// # Errors
    /// What the system says.
    pub fn inherit(
        mut sockets: Vec<TcpListener>,
        claim: UnixListener,
        workers: usize,
    ) -> io::Result<Self> {
        let first = sockets.first().ok_or_else(|| io::Error::other("no socket was handed over"))?;
        let address = first.local_addr()?;
        while sockets.len() < workers {
            // Nobody waits on it before it is opened, so that nobody is lost if it never is.
            sockets.push(socket(address, true)?.into());
        }
        for socket in &sockets {
            socket.set_nonblocking(true)?;
        }
        Ok(Self { address, sockets, claim: Claim { name: claim } })
    }
}

/// Lets clients wait on a socket to be accepted.
///
/// # Errors
/// What the system says.
pub fn listen(socket: &TcpListener) -> io::Result<()> {
    SockRef::from(socket).listen(BACKLOG)
}

impl Claim {
    /// The same claim once more, for another process.
    ///
    /// # Errors
    /// When there are no file descriptors left.
    pub fn share(&self) -> io::Result<UnixListener> {
        self.name.try_clone()
    }
}

/// Binds an address for a number of workers.
///
/// # Errors
/// `AddrInUse` when anybody else holds the address, and whatever else the system says.
pub fn bind(address: SocketAddr, workers: usize) -> io::Result<Bound> {
    let probe = socket(address, false)?;
    let address = local(&probe)?;
    drop(probe);
    let claim = claim(address)?;
    let sockets =
        (0..workers.max(1)).map(|_| listening(address)).collect::<io::Result<Vec<_>>>()?;
    Ok(Bound { address, sockets, claim })
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

fn local(socket: &Socket) -> io::Result<SocketAddr> {
    socket.local_addr()?.as_socket().ok_or_else(|| io::Error::other("not an IP socket"))
}

fn claim(address: SocketAddr) -> io::Result<Claim> {
    let name = format!("yett/listen/{address}");
    let name = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
    Ok(Claim { name: UnixListener::bind_addr(&name)? })
}

#[cfg(test)]
mod tests {
    use super::bind;
    use std::io::ErrorKind;
    use std::net::TcpListener;

    #[test]
    fn an_address_is_held_by_one_only() {
        let ours = bind("127.0.0.1:0".parse().unwrap(), 2).unwrap();
        assert_eq!(ours.sockets.len(), 2);
        let again = bind(ours.address, 2).unwrap_err();
        assert_eq!(again.kind(), ErrorKind::AddrInUse);
        assert_eq!(TcpListener::bind(ours.address).unwrap_err().kind(), ErrorKind::AddrInUse);
        let address = ours.address;
        drop(ours);
        bind(address, 2).unwrap();
    }

    #[test]
    fn an_address_of_another_program_is_refused() {
        let theirs = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = bind(theirs.local_addr().unwrap(), 2).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
    }
}
