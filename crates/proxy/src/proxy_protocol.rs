//! The PROXY protocol, versions 1 and 2: in front of all else on a connection, a proxy says who connected to it.
//! It is read only from those whom the listener lists, and from those it must come.

use base::caps::PROXY_HEADER_BYTES_MAX;
use bytes::{Buf as _, BytesMut};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// The bytes by which version 2 begins.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Bytes of version 2 that are always there: signature, version and command, family, length.
const FIXED: usize = 16;
/// Bytes of the longest header of version 1, its line break included.
const LINE_MAX: usize = 107;
/// The addition that holds a checksum of the whole header (CRC-32C).
const CHECKSUM: u8 = 0x03;

/// Whom a proxy announced: source and destination, or nobody if it speaks for itself.
pub(crate) type Announced = Option<(SocketAddr, SocketAddr)>;

/// What is wrong with a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed(&'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bad PROXY header: {}", self.0)
    }
}

impl std::error::Error for Malformed {}

/// Takes the header off the beginning of `input`; nothing while there is more of it to come.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn take(input: &mut BytesMut) -> Result<Option<Announced>, Malformed> {
    let read = if input.starts_with(SIGNATURE) {
        version2(input)
    } else if SIGNATURE.starts_with(input) {
        Ok(None)
    } else {
        version1(input)
    };
    Ok(read?.map(|(length, announced)| {
        input.advance(length);
        announced
    }))
}

type Read = Result<Option<(usize, Announced)>, Malformed>;

fn version1(input: &[u8]) -> Read {
    let begins = b"PROXY ".iter().zip(input).all(|(expected, found)| expected == found);
    if !begins {
        return Err(Malformed("the connection does not begin with one"));
    }
    let Some(end) = input.iter().take(LINE_MAX).position(|byte| *byte == b'\n') else {
        let is_long = input.len() >= LINE_MAX;
        return if is_long { Err(Malformed("the line does not end")) } else { Ok(None) };
    };
    let line = input.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    let line = line.and_then(|line| std::str::from_utf8(line).ok());
    let line = line.ok_or(Malformed("the line is not one of text with CR LF"))?;
    let mut words = line.split(' ').skip(1);
    let announced = match words.next() {
        // What follows is to be ignored.
        Some("UNKNOWN") => return Ok(Some((end + 1, None))),
        Some("TCP4") => pair::<Ipv4Addr>(&mut words),
        Some("TCP6") => pair::<Ipv6Addr>(&mut words),
        _ => return Err(Malformed("the protocol is none of TCP4, TCP6 and UNKNOWN")),
    };
    let announced = announced.filter(|_| words.next().is_none());
    let announced = announced.ok_or(Malformed("the addresses cannot be read"))?;
    known(announced).map(|announced| Some((end + 1, Some(announced))))
}

/// `source destination port port`.
fn pair<'a, A: FromStr + Into<IpAddr>>(
    words: &mut impl Iterator<Item = &'a str>,
) -> Option<(SocketAddr, SocketAddr)> {
    let mut address = || words.next()?.parse::<A>().ok().map(Into::into);
    let (source, destination) = (address()?, address()?);
    let mut port = || {
        let digits = words.next()?;
        let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        let is_plain = is_plain && (digits == "0" || !digits.starts_with('0'));
        digits.parse().ok().filter(|_: &u16| is_plain)
    };
    Some((SocketAddr::new(source, port()?), SocketAddr::new(destination, port()?)))
}

/// An address that stands for none must not become one that is not there.
fn known(pair: (SocketAddr, SocketAddr)) -> Result<(SocketAddr, SocketAddr), Malformed> {
    match pair.0.ip().to_canonical().is_unspecified() {
        true => Err(Malformed("the source is no address")),
        false => Ok(pair),
    }
}

fn version2(input: &[u8]) -> Read {
    let Some((fixed, rest)) = input.split_at_checked(FIXED) else { return Ok(None) };
    let &[command, family, high, low] = fixed.last_chunk().unwrap_or(&[0; 4]);
    if command >> 4 != 2 {
        return Err(Malformed("the version is not 2"));
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if FIXED + length > PROXY_HEADER_BYTES_MAX {
        return Err(Malformed("it is too long"));
    }
    let Some(payload) = rest.get(..length) else { return Ok(None) };
    let whole = input.get(..FIXED + length).unwrap_or_default();
    let (announced, additions) = match (command & 0xf, family) {
        // The proxy itself, for example to see whether we are there; or something that has no address.
        (0, _) | (1, 0x00) => (None, None),
        (1, 0x11) => addresses::<4>(payload)?,
        (1, 0x21) => addresses::<16>(payload)?,
        (1, 0x31) => (None, payload.get(216..)),
        (1, _) => return Err(Malformed("the protocol is not TCP")),
        _ => return Err(Malformed("the command is unknown")),
    };
    if let Some(additions) = additions {
        check(whole, additions)?;
    }
    Ok(Some((FIXED + length, announced)))
}

/// Addresses of `N` bytes each and two ports, and what is behind them.
fn addresses<const N: usize>(payload: &[u8]) -> Result<(Announced, Option<&[u8]>), Malformed> {
    let short = Malformed("the addresses are cut off");
    let (source, rest) = payload.split_at_checked(N).ok_or(short)?;
    let (destination, rest) = rest.split_at_checked(N).ok_or(short)?;
    let (&[a, b, c, d], rest) = rest.split_first_chunk().ok_or(short)?;
    let source = SocketAddr::new(ip(source).ok_or(short)?, u16::from_be_bytes([a, b]));
    let destination = SocketAddr::new(ip(destination).ok_or(short)?, u16::from_be_bytes([c, d]));
    Ok((Some(known((source, destination))?), Some(rest)))
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// Passes over the additions; their checksum must be right, if there is one.
fn check(whole: &[u8], additions: &[u8]) -> Result<(), Malformed> {
    let mut rest = additions;
    while !rest.is_empty() {
        let cut = Malformed("an addition is cut off");
        let (&[kind, high, low], after) = rest.split_first_chunk().ok_or(cut)?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let (value, after) = after.split_at_checked(length).ok_or(cut)?;
        if kind == CHECKSUM {
            let wrong = Malformed("the checksum is wrong");
            let told = u32::from_be_bytes(value.try_into().map_err(|_| wrong)?);
            let at = whole.len() - after.len() - value.len();
            let blank = at..at + value.len();
            let bytes = whole.iter().enumerate();
            let bytes = bytes.map(|(at, byte)| if blank.contains(&at) { 0 } else { *byte });
            if crc32c(bytes) != told {
                return Err(wrong);
            }
        }
        rest = after;
    }
    Ok(())
}

/// CRC-32C (RFC 9260, appendix A).
fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0x82F6_3B78 } else { crc >> 1 };
    !bytes.fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(byte), step))
}

#[cfg(test)]
mod tests;
