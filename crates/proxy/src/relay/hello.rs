//! Whom a TLS client asks for, found out without answering it.

use base::buffers::poll_fill;
use base::caps;
use bytes::BytesMut;
use rustls::server::Acceptor;
use std::future::poll_fn;
use std::io;
use std::time::Duration;
use tokio::io::AsyncRead;

/// What a client begins with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Hello {
    /// TLS, for this host; none if it names none.
    Tls(Option<String>),
    /// Anything else, or TLS that cannot be read.
    Other,
}

/// Reads a ClientHello (RFC 8446, 4.1.2) into `head` and leaves it there.
///
/// # Errors
/// What the stream says, or that the client took too long.
pub(crate) async fn read<I: AsyncRead + Unpin>(
    io: &mut I,
    head: &mut BytesMut,
) -> io::Result<Hello> {
    let limit = Duration::from_secs(caps::HANDSHAKE_TIMEOUT_S);
    let reading = tokio::time::timeout(limit, whole(io, head));
    reading.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

async fn whole<I: AsyncRead + Unpin>(io: &mut I, head: &mut BytesMut) -> io::Result<Hello> {
    let mut acceptor = Acceptor::default();
    let mut looked_at = 0;
    loop {
        // TLS begins with a record of type 22 (RFC 8446, 5.1).
        if head.first().is_some_and(|first| *first != 22) {
            return Ok(Hello::Other);
        }
        while let Some(mut news) = head.get(looked_at..).filter(|news| !news.is_empty()) {
            let Ok(taken @ 1..) = acceptor.read_tls(&mut news) else { return Ok(Hello::Other) };
            looked_at += taken;
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let name = accepted.client_hello().server_name().map(str::to_owned);
                    return Ok(Hello::Tls(name));
                }
                Err(_) => return Ok(Hello::Other),
            }
        }
        if head.len() >= caps::CLIENT_HELLO_BYTES_MAX {
            return Ok(Hello::Other);
        }
        if poll_fn(|cx| poll_fill(io, head, 1, cx)).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
