//! Addresses that lead inward: to this machine, to what is beside it, or to what a cloud tells its machines. Whoever may
//! choose targets, but is not trusted with the machine, must not reach them. That is asked of the address to which a
//! connection is about to be opened, so that no name, no answer of a name server and no redirect leads around it.

use crate::world::{Dial, Io};
use base::Endpoint;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use traffic::BoxFuture;

/// Where clouds tell machines their names, keys and tokens, as far as those are not link-local.
const METADATA: [IpAddr; 5] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254)),
];

/// Why an address leads inward; nothing if it does not.
#[must_use]
pub fn why_inward(address: IpAddr) -> Option<&'static str> {
    let address = address.to_canonical();
    if METADATA.contains(&address) {
        return Some("it tells machines of a cloud their secrets");
    }
    match address {
        IpAddr::V4(address) => why_inward_v4(address),
        IpAddr::V6(address) => match embedded(address) {
            Some(inner) => why_inward(IpAddr::V4(inner)),
            None if address.is_loopback() => Some("it is this machine"),
            None if address.is_unspecified() => Some("it is this machine"),
            None if address.is_unicast_link_local() => Some("it is of this network only"),
            // Site-local, which some networks still have (RFC 3879).
            None if address.segments()[0] & 0xffc0 == 0xfec0 => Some("it is of this network only"),
            None if address.is_multicast() => Some("it is nobody in particular"),
            None => None,
        },
    }
}

fn why_inward_v4(address: Ipv4Addr) -> Option<&'static str> {
    if address.is_loopback() || address.octets()[0] == 0 {
        Some("it is this machine")
    } else if address.is_link_local() {
        Some("it is of this network only")
    } else if address.is_multicast() || address.is_broadcast() {
        Some("it is nobody in particular")
    } else {
        None
    }
}

/// The IPv4 address that a translator makes of one of IPv6: NAT64 (RFC 6052 and 8215), 6to4 (RFC 3056), or the old form
/// with nothing before it.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let of = |high: u16, low: u16| {
        let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
        Ipv4Addr::new(a, b, c, d)
    };
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x64, 0xff9b, 1, _, _, _, high, low] => {
            Some(of(high, low))
        }
        [0x2002, high, low, ..] => Some(of(high, low)),
        // `::` and `::1` are no addresses of IPv4.
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => Some(of(high, low)),
        _ => None,
    }
}

/// Opens connections that do not lead inward.
pub(crate) struct Walled(pub(crate) Arc<dyn Dial>);

fn refused(to: &Endpoint, why: &str) -> io::Error {
    let why = format!("{to} is no target for a workspace: {why}");
    io::Error::new(io::ErrorKind::PermissionDenied, why)
}

impl Dial for Walled {
    fn dial<'a>(&'a self, to: &'a Endpoint) -> BoxFuture<'a, io::Result<Box<dyn Io>>> {
        Box::pin(async move {
            let why = match to {
                Endpoint::Ip(address) => why_inward(address.ip()),
                Endpoint::Unix(_) => Some("it is this machine"),
            };
            if let Some(why) = why {
                return Err(refused(to, why));
            }
            let mut io = self.0.dial(to).await?;
            // Under whatever address this machine is known: what it serves its operators with may be bound to any.
            if io.is_local() {
                io.reset();
                return Err(refused(to, "it is this machine"));
            }
            Ok(io)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::why_inward;

    #[test]
    fn what_leads_inward_is_known_however_it_is_written() {
        for inward in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "100.100.100.200",
            "168.63.129.16",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::7f00:1",
            "2002:7f00:0001::",
            "2002:a9fe:a9fe::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "fd00:ec2::254",
        ] {
            assert!(why_inward(inward.parse().unwrap()).is_some(), "{inward}");
        }
        for outward in [
            "10.0.0.1",
            "192.168.1.1",
            "203.0.113.7",
            "2001:db8::1",
            "fd12::1",
            "64:ff9b::cb00:7107",
        ] {
            assert_eq!(why_inward(outward.parse().unwrap()), None, "{outward}");
        }
    }
}
