//! What is said on a connection before HTTP: to a proxy on the way, that it should lead to the target (CONNECT,
//! RFC 9110, 9.3.6), and to the target, who the client is (the PROXY protocol of HAProxy).

use crate::spec::{ProxyProtocol, Through};
use base::caps::{BUFFER_BYTES, INFORMATIONAL_MAX, PROXY_HEAD_BYTES_MAX};
use http::{Method, StatusCode};
use std::net::{IpAddr, SocketAddr};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use traffic::upstream::Peers;

/// How every header of version 2 begins.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2, which is not about a client's connection but the gateway's own.
const LOCAL: u8 = 0x20;
/// Version 2, on behalf of a client.
const PROXY: u8 = 0x21;
/// A protocol and addresses that nobody tells.
const UNSPECIFIED: u8 = 0;
/// TCP over IPv4.
const TCP4: u8 = 0x11;
/// TCP over IPv6.
const TCP6: u8 = 0x21;

/// The header that tells of a client; without one, that the connection is the gateway's own. A client over a Unix
/// socket has no address to tell: targets learn that it is unknown.
pub(crate) fn proxy_header(version: ProxyProtocol, peers: Option<Peers>) -> Vec<u8> {
    let pair = peers.map(|peers| (canonical(peers.client), canonical(peers.local)));
    match version {
        ProxyProtocol::V1 => text(pair.filter(|(client, _)| !client.ip().is_unspecified())),
        ProxyProtocol::V2 => binary(pair),
    }
}

/// An IPv4 address as one, also where IPv6 carries it.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn text(pair: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let Some((client, local)) = pair else { return b"PROXY UNKNOWN\r\n".to_vec() };
    let (from, to) = (client.ip(), local.ip());
    let (family, from, to) = match (from, to) {
        (IpAddr::V4(_), IpAddr::V4(_)) => ("TCP4", from.to_string(), to.to_string()),
        _ => ("TCP6", wide(from).to_string(), wide(to).to_string()),
    };
    format!("PROXY {family} {from} {to} {} {}\r\n", client.port(), local.port()).into_bytes()
}

fn binary(pair: Option<(SocketAddr, SocketAddr)>) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    let Some((client, local)) = pair else {
        header.extend([LOCAL, 0, 0, 0]);
        return header;
    };
    header.push(PROXY);
    match (client.ip(), local.ip()) {
        (from, _) if from.is_unspecified() => {
            header.extend([UNSPECIFIED, 0, 0]);
            return header;
        }
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            header.extend([TCP4, 0, 12]);
            header.extend(from.octets());
            header.extend(to.octets());
        }
        (from, to) => {
            header.extend([TCP6, 0, 36]);
            header.extend(wide(from).octets());
            header.extend(wide(to).octets());
        }
    }
    header.extend(client.port().to_be_bytes());
    header.extend(local.port().to_be_bytes());
    header
}

fn wide(address: IpAddr) -> std::net::Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// Has a proxy lead to the target.
///
/// # Errors
/// In words, what the proxy says instead.
pub(crate) async fn tunnel<I>(io: &mut I, to: &Through) -> Result<(), String>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let gone = |error: std::io::Error| format!("the proxy went away: {error}");
    let authority = &to.authority;
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\n").into_bytes();
    if let Some(authorization) = &to.authorization {
        request.extend_from_slice(b"proxy-authorization: ");
        request.extend_from_slice(authorization.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    io.write_all(&request).await.map_err(gone)?;
    io.flush().await.map_err(gone)?;
    let mut head = bytes::BytesMut::with_capacity(BUFFER_BYTES);
    let mut scan = http1::Scan::default();
    let mut informed = 0;
    let status = loop {
        // What came together is read together: only then is there something to wait for.
        let read = http1::response(&mut scan, &mut head, &Method::CONNECT);
        match read.map_err(|refusal| format!("the proxy does not speak HTTP: {refusal}"))? {
            Some(answer) if is_interim(answer.status) && informed < INFORMATIONAL_MAX => {
                informed += 1;
            }
            Some(answer) => break answer.status,
            None if head.len() > PROXY_HEAD_BYTES_MAX => {
                return Err("the proxy's answer is too large".to_owned());
            }
            None if io.read_buf(&mut head).await.map_err(gone)? == 0 => {
                return Err("the proxy closed the connection without an answer".to_owned());
            }
            None => {}
        }
    };
    if is_interim(status) {
        return Err("the proxy sent too many informational answers".to_owned());
    }
    if !status.is_success() {
        return Err(format!("the proxy answered {} for {authority}", status.as_u16()));
    }
    // The target speaks only when it was spoken to.
    if head.is_empty() { Ok(()) } else { Err("the proxy said more than an answer".to_owned()) }
}

/// Whether an answer is ahead of the real one. 101 is none that anybody asked for.
fn is_interim(status: StatusCode) -> bool {
    status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS
}

#[cfg(test)]
mod tests {
    use super::{SIGNATURE, proxy_header};
    use crate::spec::ProxyProtocol;
    use traffic::upstream::Peers;

    #[test]
    fn a_client_without_an_address_is_unknown() {
        let nowhere = "0.0.0.0:0".parse().unwrap();
        let peers = Some(Peers { client: nowhere, local: nowhere });
        assert_eq!(proxy_header(ProxyProtocol::V1, peers), b"PROXY UNKNOWN\r\n");
        let expected = [&SIGNATURE[..], &[0x21, 0, 0, 0]].concat();
        assert_eq!(proxy_header(ProxyProtocol::V2, peers), expected);
    }
}
