//! Hosts and ports as users write them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authority {
    /// The host.
    pub host: Host,
    /// The port, from 1.
    pub port: u16,
}

/// An address or a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// An IPv4 or IPv6 address.
    Ip(IpAddr),
    /// A DNS name in lower case, without a final dot.
    Name(String),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// Reads `host:port`, the host being a DNS name, an IPv4 address or an IPv6 address in brackets
/// (RFC 3986, section 3.2.2).
///
/// # Errors
/// A sentence that says what is wrong and, where it can, what to write.
pub fn parse_authority(text: &str) -> Result<Authority, String> {
    bare(text)?;
    let (host, port) = if text.starts_with('[') {
        let (host, port) = text.split_once(']').ok_or_else(|| format!("`{text}` lacks a `]`"))?;
        (format!("{host}]"), port.strip_prefix(':'))
    } else if text.parse::<Ipv6Addr>().is_ok() {
        return Err(format!("`{text}` has no port; write `[{text}]:443` with the right number"));
    } else {
        match text.rsplit_once(':') {
            Some((host, port)) => (host.to_owned(), Some(port)),
            None => (text.to_owned(), None),
        }
    };
    if host.is_empty() {
        return Err(format!("`{text}` has no host; write `127.0.0.1{text}` for this machine"));
    }
    let host = parse_host(&host)?;
    let Some(port) = port else {
        return Err(format!("`{text}` has no port; write `{host}:80` with the right number"));
    };
    let number = port.parse().ok().filter(|_| port.bytes().all(|b| b.is_ascii_digit()));
    match number {
        Some(port) if port != 0 => Ok(Authority { host, port }),
        _ => Err(format!("`{port}` in `{text}` is not a port, a number from 1 to 65535")),
    }
}

/// Reads a host alone: a DNS name, an IPv4 address or an IPv6 address in brackets.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn parse_host(text: &str) -> Result<Host, String> {
    bare(text)?;
    if let Some(inside) = text.strip_prefix('[') {
        let ip: Option<Ipv6Addr> = inside.strip_suffix(']').and_then(|ip| ip.parse().ok());
        return ip
            .map(|ip| Host::Ip(ip.into()))
            .ok_or_else(|| format!("`{text}` is not an IPv6 address in brackets"));
    }
    if text.matches(':').count() > 1 {
        return Err(match text.parse::<Ipv6Addr>() {
            Ok(_) => format!("put the IPv6 address in brackets: `[{text}]`"),
            Err(_) => format!("`{text}` is no host; an IPv6 address stands in brackets: `[::1]`"),
        });
    }
    if let Ok(ip) = text.parse::<Ipv4Addr>() {
        return Ok(Host::Ip(ip.into()));
    }
    dns_name(text).map(Host::Name)
}

/// Refuses what surrounds an authority in a URL.
fn bare(text: &str) -> Result<(), String> {
    if let Some((scheme, rest)) = text.split_once("://") {
        let rest = rest.split('/').next().unwrap_or_default();
        return Err(format!("leave `{scheme}://` out: write `{rest}`"));
    }
    match text.chars().find(|c| "/@?#".contains(*c) || c.is_whitespace()) {
        Some(c) if c.is_whitespace() => Err(format!("`{text}` has a space in it")),
        Some(c) => Err(format!("`{c}` in `{text}` has no place here; write host and port alone")),
        None if text.is_empty() => Err("the host is empty".to_owned()),
        None => Ok(()),
    }
}

/// Checks a DNS name: labels of letters, digits, `-` and `_` (RFC 1123, section 2.1, and the `_` that
/// service names use), at most 63 bytes each and 253 in all.
pub(crate) fn dns_name(text: &str) -> Result<String, String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if let Some(c) = name.chars().find(|c| !c.is_ascii()) {
        return Err(format!("`{c}` in `{text}`: write the name in its ASCII form (`xn--…`)"));
    }
    if name.len() > 253 || !name.split('.').all(is_label) {
        return Err(format!("`{text}` is not a host name"));
    }
    let last = name.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("`{text}` is neither an IPv4 address nor a host name"));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::{parse_authority, parse_host};

    #[test]
    fn hosts_and_ports_are_told_apart() {
        let shown = |text: &str| match parse_authority(text) {
            Ok(authority) => authority.to_string(),
            Err(problem) => problem,
        };
        for (text, expected) in [
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("[::1]:80", "[::1]:80"),
            ("Orders.Example.com.:8080", "orders.example.com:8080"),
            ("orders_v2:1", "orders_v2:1"),
            ("orders", "`orders` has no port; write `orders:80` with the right number"),
            ("[::1]", "`[::1]` has no port; write `[::1]:80` with the right number"),
            ("::1", "`::1` has no port; write `[::1]:443` with the right number"),
            ("[::1:80", "`[::1:80` lacks a `]`"),
            (":80", "`:80` has no host; write `127.0.0.1:80` for this machine"),
            ("a:0", "`0` in `a:0` is not a port, a number from 1 to 65535"),
            ("a:+80", "`+80` in `a:+80` is not a port, a number from 1 to 65535"),
            ("a:65536", "`65536` in `a:65536` is not a port, a number from 1 to 65535"),
            ("http://a:80/x", "leave `http://` out: write `a:80`"),
            ("https://a", "leave `https://` out: write `a`"),
            ("a:80/x", "`/` in `a:80/x` has no place here; write host and port alone"),
            ("u@a:80", "`@` in `u@a:80` has no place here; write host and port alone"),
            ("a b:80", "`a b:80` has a space in it"),
            ("10.0.0.300:80", "`10.0.0.300` is neither an IPv4 address nor a host name"),
            ("-a:80", "`-a` is not a host name"),
            ("a..b:80", "`a..b` is not a host name"),
            ("müller.de:80", "`ü` in `müller.de`: write the name in its ASCII form (`xn--…`)"),
            ("", "the host is empty"),
        ] {
            assert_eq!(shown(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_bare_ipv6_address_asks_for_brackets() {
        assert!(parse_host("::1").unwrap_err().contains("`[::1]`"));
        assert!(parse_host("1:2:3").unwrap_err().contains("brackets"));
    }
}
