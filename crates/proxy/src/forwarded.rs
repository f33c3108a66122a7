//! What trusted proxies tell of a request's way: `X-Forwarded-For`, `-Proto` and `-Host`, or `Forwarded`
//! (RFC 7239). The way is walked from our peer towards the client for as long as its hops are trusted: the first
//! that is not is the client, and what it says of what lies beyond it is not believed. What is no address ends
//! the walk as well; a trusted hop's element that breaks the grammar of `Forwarded` ends the request.

use crate::told_certificate;
use base::caps::FORWARDED_HOPS_MAX;
use http::HeaderValue;
use http::header::{FORWARDED, HeaderName};
use smallvec::SmallVec;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use traffic::clients::{Clients, ToldBy};
use traffic::exchange::{Exchange, address_text};
use traffic::forwarded::{Forwarded, ToldCertificate};
use traffic::head::{RequestHead, Scheme};
use traffic::{Fault, FaultCode, Stage};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// One hop as a proxy told of it.
#[derive(Clone, Debug, Default)]
struct Hop {
    address: Option<IpAddr>,
    scheme: Option<Scheme>,
    host: Option<HeaderValue>,
    /// What was told breaks the grammar.
    is_broken: bool,
}

/// Takes from the headers of a trusted peer who the client is, and by which scheme and host it asked.
///
/// # Errors
/// When what is told of a certificate is none (see [`told_certificate::read`]), and when a trusted hop's own element of `Forwarded` breaks the grammar, as it does where the proxy copies into it what
/// the client chose: nobody can tell then who the client is, and it must not pass for the proxy.
pub(crate) fn believe(exchange: &mut Exchange, clients: &Clients) -> Result<(), Fault> {
    let request = &exchange.request;
    let hops = match clients.told_by {
        ToldBy::XForwarded => x_forwarded(request),
        ToldBy::Forwarded => forwarded(request),
    };
    let mut way: SmallVec<[IpAddr; 4]> = SmallVec::new();
    let mut first = Hop::default();
    for hop in hops {
        if hop.is_broken {
            let fault = Fault::new(Stage::Admit, FaultCode::BadRequest);
            return Err(fault.detail("a trusted proxy's Forwarded breaks the grammar"));
        }
        let Some(address) = hop.address else { break };
        way.push(address);
        first = hop;
        if !clients.trusted.hold(Some(address)) {
            break;
        }
    }
    if way.is_empty() && clients.told_by == ToldBy::XForwarded {
        // A proxy that ends TLS may tell the scheme and the host, and nothing of the client.
        first = said(request);
    }
    if let Some(scheme) = first.scheme {
        exchange.request.scheme = scheme;
    }
    let peer = exchange.connection.peer.ip();
    let client = way.last().copied().unwrap_or(peer);
    let mut text = String::new();
    for address in way.iter().rev() {
        // Writing to a string cannot fail.
        write!(text, "{}, ", address.to_canonical()).ok();
    }
    text.push_str(exchange.connection.peer_header.to_str().unwrap_or("unknown"));
    let way = HeaderValue::try_from(text).unwrap_or_else(|_| address_text(peer));
    let host = first.host;
    let client_text = address_text(client);
    let certificate = match &clients.told_certificates {
        Some(certificates) => told_certificate::read(exchange, certificates),
        None => Ok(ToldCertificate::NotAsked),
    };
    let (certificate, believed) = match certificate {
        Ok(certificate) => (certificate, Ok(())),
        Err(fault) => (ToldCertificate::Nothing, Err(fault)),
    };
    let forwarded = Forwarded { client, client_text, way, host, certificate, told: None };
    exchange.forwarded = Some(Box::new(forwarded));
    believed
}

/// Has backends told by `Forwarded` too. The host was found to be one.
pub(crate) fn tell(exchange: &mut Exchange) {
    let connection = &exchange.connection;
    let request = &exchange.request;
    let forwarded = exchange.forwarded.get_or_insert_with(|| {
        Box::new(Forwarded {
            client: connection.peer.ip(),
            client_text: connection.peer_header.clone(),
            way: connection.peer_header.clone(),
            host: None,
            certificate: ToldCertificate::NotAsked,
            told: None,
        })
    });
    let host = forwarded.host.as_ref().unwrap_or(&request.authority);
    let mut told = String::new();
    for (at, address) in forwarded.way.to_str().unwrap_or_default().split(", ").enumerate() {
        told.push_str(if at == 0 { "for=" } else { ", for=" });
        // Writing to a string cannot fail.
        match address.contains(':') {
            true => write!(told, "\"[{address}]\"").ok(),
            false => write!(told, "{address}").ok(),
        };
        if at == 0 {
            if let Some(host) = host.to_str().ok().filter(|host| !host.contains(['"', '\\'])) {
                write!(told, ";host=\"{host}\"").ok();
            }
            write!(told, ";proto={}", request.scheme.as_str()).ok();
        }
    }
    forwarded.told = HeaderValue::try_from(told).ok();
}

/// The hops that `X-Forwarded-For` tells of, the nearest first. Scheme and host are of the whole way.
fn x_forwarded(request: &RequestHead) -> Vec<Hop> {
    let said = said(request);
    let lines: SmallVec<[&HeaderValue; 2]> = request.headers.all(X_FORWARDED_FOR).collect();
    let members = lines.iter().rev().flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    members
        .take(FORWARDED_HOPS_MAX)
        .map(|member| Hop { address: address(member), ..said.clone() })
        .collect()
}

/// What `X-Forwarded-Proto` and `X-Forwarded-Host` say, if they say one thing.
fn said(request: &RequestHead) -> Hop {
    let mut schemes = request
        .headers
        .all(X_FORWARDED_PROTO)
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .map(|word| scheme(word.trim_ascii()));
    let scheme = schemes.next().flatten();
    let is_one = schemes.all(|other| other == scheme);
    let mut hosts = request.headers.all(X_FORWARDED_HOST);
    let host = hosts.next().filter(|host| is_host(host.as_bytes())).cloned();
    Hop {
        address: None,
        is_broken: false,
        scheme: scheme.filter(|_| is_one),
        host: host.filter(|_| hosts.next().is_none()),
    }
}

/// The hops that `Forwarded` tells of, the nearest first. /// Lines are read from their right ends: what a proxy appended is read alike whatever stands before it, as
/// the client chose that.
fn forwarded(request: &RequestHead) -> Vec<Hop> {
    let lines: SmallVec<[&HeaderValue; 2]> = request.headers.all(FORWARDED).collect();
    let members = lines.iter().rev().flat_map(|line| members(line.as_bytes()));
    let broken = || Hop { is_broken: true, ..Hop::default() };
    members.take(FORWARDED_HOPS_MAX).map(|member| element(member).unwrap_or_else(broken)).collect()
}

/// The members of one line from the last to the first, parted by commas that are not within quotes. A quote that
/// is open at the beginning of the line leaves one member that breaks the grammar.
fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let mut is_quoted = false;
        let comma = (0..line.len()).rev().find(|at| {
            let (before, from) = line.split_at(*at);
            match from.first() {
                // Within quotes one after a backslash is text, unless the backslash itself is.
                Some(b'"') => {
                    let backslashes =
                        before.iter().rev().take_while(|byte| **byte == b'\\').count();
                    is_quoted = !is_quoted || backslashes % 2 == 1;
                    false
                }
                Some(b',') => !is_quoted,
                _ => false,
            }
        });
        rest = comma.and_then(|at| line.get(..at));
        comma.map_or(Some(line), |at| line.get(at + 1..))
    })
}

/// One element (RFC 7239, 4), or nothing if it breaks the grammar.
fn element(member: &[u8]) -> Option<Hop> {
    let mut hop = Hop::default();
    let mut rest = std::str::from_utf8(member).ok()?.trim_matches([' ', '\t']);
    let mut seen: SmallVec<[String; 4]> = SmallVec::new();
    loop {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim_start().to_ascii_lowercase();
        if name.is_empty() || !name.bytes().all(is_token) || seen.contains(&name) {
            return None;
        }
        let (value, after) = value(after)?;
        match name.as_str() {
            "for" => hop.address = address(value.as_bytes()),
            "proto" => hop.scheme = scheme(value.as_bytes()),
            "host" if is_host(value.as_bytes()) => hop.host = HeaderValue::from_str(&value).ok(),
            _ => {}
        }
        seen.push(name);
        let after = after.trim_start();
        if after.is_empty() {
            return Some(hop);
        }
        rest = after.strip_prefix(';')?;
    }
}

/// A token or a quoted string (RFC 9110, 5.6), and what follows.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| !u8::try_from(c).is_ok_and(is_token)).unwrap_or(text.len());
        let (token, after) = text.split_at_checked(end)?;
        return (!token.is_empty()).then(|| (token.to_owned(), after));
    };
    let mut value = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '"' => return Some((value, characters.as_str())),
            '\\' => value.push(characters.next()?),
            other => value.push(other),
        }
    }
}

const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

/// An address, with a port or without, an IPv6 address in brackets or without.
fn address(member: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(member.trim_ascii()).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let address = match bare {
        Some(inside) => IpAddr::V6(inside.parse().ok()?),
        None => text
            .parse()
            .ok()
            .or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()))?,
    };
    let address = address.to_canonical();
    (!address.is_unspecified()).then_some(address)
}

fn scheme(word: &[u8]) -> Option<Scheme> {
    if word.eq_ignore_ascii_case(b"https") {
        Some(Scheme::Https)
    } else if word.eq_ignore_ascii_case(b"http") {
        Some(Scheme::Http)
    } else {
        None
    }
}

/// Whether it may be a host: no list, no text, nothing that would need quoting.
fn is_host(text: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%:[]".contains(byte);
    !text.is_empty() && text.iter().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::{Hop, address, element, members};

    #[test]
    fn addresses_come_in_several_forms() {
        for (written, expected) in [
            ("192.0.2.7", "192.0.2.7"),
            (" 192.0.2.7:80 ", "192.0.2.7"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
        ] {
            assert_eq!(address(written.as_bytes()), Some(expected.parse().unwrap()), "{written}");
        }
        for garbage in [
            "",
            "unknown",
            "_hidden",
            "0.0.0.0",
            "::",
            "192.0.2",
            "192.0.2.7:",
            "[192.0.2.7]",
            "1 2",
            "\u{e9}",
        ] {
            assert_eq!(address(garbage.as_bytes()), None, "{garbage}");
        }
    }

    #[test]
    fn a_line_of_forwarded_is_read_from_its_right_end() {
        let read = |line: &str| {
            let shown = members(line.as_bytes()).map(|member| match element(member) {
                Some(Hop { address: Some(address), .. }) => address.to_string(),
                Some(_) => "?".to_owned(),
                None => "-".to_owned(),
            });
            shown.collect::<Vec<_>>().join(" ")
        };
        for (line, expected) in [
            ("for=192.0.2.43", "192.0.2.43"),
            ("For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
            ("for=192.0.2.43, for=198.51.100.17", "198.51.100.17 192.0.2.43"),
            ("for=\"1,2;3\", for=198.51.100.17", "198.51.100.17 ?"),
            ("for=unknown;host=\"a, b\"", "?"),
            ("for=unknown;host=\"a\\\", b\"", "?"),
            ("for=unknown;host=\"a\\\\\", for=192.0.2.1", "192.0.2.1 ?"),
            ("proto=https", "?"),
            // What the client wrote does not take away what the proxy appended.
            ("garbage, for=192.0.2.1", "192.0.2.1 -"),
            ("for=\"evil, for=192.0.2.1", "192.0.2.1 -"),
            ("for=\"evil, for=\"[2001:db8::1]\"", "2001:db8::1 -"),
            ("for=\"evil\\, for=\"[2001:db8::1]\";host=\"a, b\"", "2001:db8::1 -"),
            ("\u{e9}, for=192.0.2.1", "192.0.2.1 -"),
            (",for=192.0.2.1", "192.0.2.1 -"),
            ("for=\"192.0.2.43", "-"),
            ("for=192.0.2.1, b\"", "-"),
            ("for=192.0.2.43;for=192.0.2.44", "-"),
            ("for", "-"),
            ("for=", "-"),
            ("for=a b", "-"),
            ("for=192.0.2.1;", "-"),
            ("", "-"),
            ("=x", "-"),
        ] {
            assert_eq!(read(line), expected, "{line}");
        }
    }
}
