//! Where clients come in, and clients who came: over TCP or over a Unix socket. Beyond this file nobody asks which.

use crate::connection::Stream;
use socket2::SockRef;
use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use traffic::exchange::Connection;

/// A socket on which clients wait.
#[derive(Debug)]
pub enum Door {
    /// Of an address.
    Tcp(TcpListener),
    /// Of a path.
    Unix(UnixListener),
}

impl Door {
    /// A socket that another process had.
    #[must_use]
    pub fn of(fd: OwnedFd, is_unix: bool) -> Self {
        if is_unix { Self::Unix(fd.into()) } else { Self::Tcp(fd.into()) }
    }

    /// Address and port, if it has them.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// The same socket once more.
    ///
    /// # Errors
    /// When there are no file descriptors left.
    pub fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Tcp(socket) => socket.try_clone().map(Self::Tcp),
            Self::Unix(socket) => socket.try_clone().map(Self::Unix),
        }
    }

    /// Has the system return at once where it would wait.
    ///
    /// # Errors
    /// What the system says.
    pub fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.set_nonblocking(true),
            Self::Unix(socket) => socket.set_nonblocking(true),
        }
    }

    /// A client who waits by now.
    ///
    /// # Errors
    /// `WouldBlock` when there is none, and whatever else the system says.
    pub(crate) fn accept(&self) -> io::Result<Caller> {
        match self {
            Self::Tcp(socket) => socket.accept().map(|(stream, _)| Caller::Tcp(stream)),
            Self::Unix(socket) => socket.accept().map(|(stream, _)| Caller::Unix(stream)),
        }
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

/// A socket on which a worker waits for clients.
#[derive(Debug)]
pub(crate) enum OpenDoor {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl OpenDoor {
    pub(crate) fn new(door: Door) -> io::Result<Self> {
        match door {
            Door::Tcp(socket) => tokio::net::TcpListener::from_std(socket).map(Self::Tcp),
            Door::Unix(socket) => tokio::net::UnixListener::from_std(socket).map(Self::Unix),
        }
    }

    pub(crate) async fn accept(&self) -> io::Result<Guest> {
        match self {
            Self::Tcp(socket) => socket.accept().await.map(|(stream, _)| Guest::Tcp(stream)),
            Self::Unix(socket) => socket.accept().await.map(|(stream, _)| Guest::Unix(stream)),
        }
    }

    pub(crate) fn close(self) -> io::Result<Door> {
        match self {
            Self::Tcp(socket) => socket.into_std().map(Door::Tcp),
            Self::Unix(socket) => socket.into_std().map(Door::Unix),
        }
    }
}

impl AsFd for OpenDoor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }
}

/// A client on whom no worker waits.
#[derive(Debug)]
pub(crate) enum Caller {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Caller {
    pub(crate) fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_nonblocking(true),
            Self::Unix(stream) => stream.set_nonblocking(true),
        }
    }
}

/// A client's connection on the worker that serves it.
#[derive(Debug)]
pub enum Guest {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

impl Guest {
    pub(crate) fn new(caller: Caller) -> io::Result<Self> {
        match caller {
            Caller::Tcp(stream) => TcpStream::from_std(stream).map(Self::Tcp),
            Caller::Unix(stream) => UnixStream::from_std(stream).map(Self::Unix),
        }
    }

    pub(crate) fn leave(self) -> io::Result<Caller> {
        match self {
            Self::Tcp(stream) => stream.into_std().map(Caller::Tcp),
            Self::Unix(stream) => stream.into_std().map(Caller::Unix),
        }
    }

    /// What is known of the connection by itself.
    pub(crate) fn connection(&self, listener: &Arc<str>) -> io::Result<Connection> {
        let listener = Arc::clone(listener);
        match self {
            Self::Tcp(stream) => {
                stream.set_nodelay(true)?;
                Ok(Connection::plain(listener, stream.peer_addr()?, stream.local_addr()?))
            }
            Self::Unix(_) => Ok(Connection::over_unix(listener)),
        }
    }
}

impl AsFd for Guest {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Stream for Guest {
    fn reset(&mut self) {
        match self {
            // If this fails the connection is gone already.
            Self::Tcp(stream) => drop(SockRef::from(&*stream).set_linger(Some(Duration::ZERO))),
            // There is no such way: the answer has a length, or chunks that do not end.
            Self::Unix(_) => {}
        }
    }
}

impl AsyncRead for Guest {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Guest {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, data),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, data),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
