//! Networks of addresses as words: `10.0.0.0/8`, `2001:db8::/32`, `192.0.2.7`, and `unix` for whoever comes
//! over a Unix socket and has no address.

use schemars::JsonSchema;
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// A network (RFC 4632, RFC 4291), a single address, or `unix`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Addresses that begin with the same bits.
    Ip {
        /// The first address; what is beyond the prefix is zero.
        first: IpAddr,
        /// How many bits are the same: up to 32, or up to 128.
        prefix: u8,
    },
    /// Peers over a Unix socket.
    Unix,
}

impl Network {
    /// Reads a network; an address alone is a network of one.
    ///
    /// # Errors
    /// A sentence that says what is wrong and what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == "unix" {
            return Ok(Self::Unix);
        }
        let wrong = || {
            format!(
                "`{text}` is not a network such as `10.0.0.0/8` or `2001:db8::/32`, an address, or `unix`"
            )
        };
        let (address, prefix) = match text.split_once('/') {
            None => (text, None),
            Some((address, prefix)) => (address, Some(prefix)),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => most,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|prefix| *prefix <= most).ok_or_else(wrong)?
            }
            Some(_) => return Err(wrong()),
        };
        let first = first(address, prefix);
        if first != address {
            return Err(format!(
                "`{text}` has bits beyond its prefix; write `{first}/{prefix}`, or `{address}` for this address alone"
            ));
        }
        Ok(Self::Ip { first, prefix })
    }

    /// Whether it is every address there is, of one version of IP.
    #[must_use]
    pub const fn is_everything(&self) -> bool {
        matches!(self, Self::Ip { prefix: 0, .. })
    }

    fn holds(&self, address: IpAddr) -> bool {
        match self {
            Self::Unix => false,
            Self::Ip { first: begin, prefix } => {
                begin.is_ipv4() == address.is_ipv4() && first(address, *prefix) == *begin
            }
        }
    }
}

/// The first address of the network with this prefix in which an address is.
fn first(address: IpAddr, prefix: u8) -> IpAddr {
    let gone = |bits: u32| bits.saturating_sub(u32::from(prefix));
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(gone(32)).unwrap_or(0);
            IpAddr::V4((address.to_bits() & mask).into())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(gone(128)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & mask))
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip { first, prefix } => write!(f, "{first}/{prefix}"),
            Self::Unix => f.write_str("unix"),
        }
    }
}

const EXPECTING: &str = "a network such as `10.0.0.0/8`, an address, or `unix`";

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Word;
        impl Visitor<'_> for Word {
            type Value = Network;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTING)
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Network, E> {
                Network::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Word)
    }
}

impl JsonSchema for Network {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Network".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string", "description": EXPECTING, "pattern": "^(unix|[0-9a-fA-F.:]+(/[0-9]{1,3})?)$"
        })
    }
}

/// Several networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Box<[Network]>);

impl FromIterator<Network> for Networks {
    fn from_iter<T: IntoIterator<Item = Network>>(networks: T) -> Self {
        Self(networks.into_iter().collect())
    }
}

impl Networks {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a peer is in any of them: one without an address is if `unix` is listed. An IPv4 address that
    /// is written as IPv6 (RFC 4291, 2.5.5.2) is an IPv4 address.
    #[must_use]
    pub fn hold(&self, peer: Option<IpAddr>) -> bool {
        match peer {
            None => self.0.contains(&Network::Unix),
            Some(address) => {
                let address = address.to_canonical();
                self.0.iter().any(|network| network.holds(address))
            }
        }
    }
}

/// What one client owns, as a number: an IPv4 address, or 64 bits of an IPv6 network.
#[must_use]
pub fn owner(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        // No IPv6 network in use begins with 32 zero bits, so the two never meet.
        IpAddr::V6(address) => u64::try_from(address.to_bits() >> 64).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::{Network, Networks, owner};
    use std::net::IpAddr;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        let networks: Networks =
            ["10.0.0.0/8", "192.0.2.7", "2001:db8::/33", "0.0.0.0/32", "172.16.0.0/12"]
                .map(|text| Network::parse(text).unwrap())
                .into_iter()
                .collect();
        for inside in [
            "10.0.0.0",
            "10.255.255.255",
            "192.0.2.7",
            "2001:db8:7fff::1",
            "::ffff:10.1.2.3",
            "172.31.0.1",
        ] {
            assert!(networks.hold(Some(ip(inside))), "{inside}");
        }
        for outside in [
            "11.0.0.0",
            "9.255.255.255",
            "192.0.2.8",
            "2001:db8:8000::",
            "::10.0.0.1",
            "172.32.0.0",
        ] {
            assert!(!networks.hold(Some(ip(outside))), "{outside}");
        }
        assert!(!networks.hold(None));
        assert!(Networks::from_iter([Network::Unix]).hold(None));
        let all = Networks::from_iter([Network::parse("::/0").unwrap()]);
        assert!(all.hold(Some(ip("2001:db8::1"))) && !all.hold(Some(ip("192.0.2.1"))));
    }

    #[test]
    fn what_is_no_network_is_told_so() {
        for (text, part) in [
            ("10.0.0.1/8", "write `10.0.0.0/8`"),
            ("2001:db8::1/32", "write `2001:db8::/32`"),
            ("10.0.0.0/33", "is not a network"),
            ("10.0.0.0/+8", "is not a network"),
            ("10.0.0/8", "is not a network"),
            ("010.0.0.0/8", "is not a network"),
            ("example.com", "is not a network"),
            ("", "is not a network"),
            ("10.0.0.0/", "is not a network"),
        ] {
            let message = Network::parse(text).unwrap_err();
            assert!(message.contains(part), "{text}: {message}");
        }
    }

    #[test]
    fn neighbours_in_one_ipv6_network_are_one_owner() {
        assert_eq!(owner(ip("2001:db8::1")), owner(ip("2001:db8::ffff:1")));
        assert_ne!(owner(ip("2001:db8::1")), owner(ip("2001:db8:0:1::1")));
        assert_eq!(owner(ip("192.0.2.1")), owner(ip("::ffff:192.0.2.1")));
        assert_ne!(owner(ip("192.0.2.1")), owner(ip("192.0.2.2")));
    }
}
