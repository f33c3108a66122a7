//! A bound address.

use crate::map::Map;
use crate::proxies::{ProxyProtocol, TrustedProxies};
use crate::relay::Relay;
use base::rates::Limit;
use base::units::Period;
use base::{Placed, Text};
use schemars::JsonSchema;
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// An address on which clients are served.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Address and port, such as `0.0.0.0:8080` or `[::]:8443`, or the path of a Unix socket, such as
    /// `unix:/run/yett/yett.sock`. Its folder must be there and writable. Who comes that way has no address: in logs and
    /// lists of networks it is `unix`.
    pub bind: Placed<Text>,
    /// Who may connect to a Unix socket: the mode of its file, in octal with the zero in front; `0660` (the gateway's
    /// user and group) unless said otherwise.
    pub mode: Option<Placed<Mode>>,
    /// Certificates; without them the listener speaks plain HTTP.
    pub tls: Option<ListenerTls>,
    /// Answer every request with a redirect to this HTTPS port.
    pub redirect_https: Option<Placed<u16>>,
    /// What to do with unusual paths.
    #[serde(default)]
    pub paths: PathRules,
    /// Proxies that announce by the PROXY protocol whom they carry. Connections from there must begin with its
    /// header; on others it is never read.
    #[serde(default)]
    pub proxy_protocol: ProxyProtocol,
    /// Proxies that are believed about the client's address, scheme and host, in place of those of the gateway;
    /// `[]` believes none.
    pub trusted_proxies: Option<TrustedProxies>,
    /// Tell backends a request's way by `Forwarded` (RFC 7239), besides `X-Forwarded-*`.
    #[serde(default)]
    pub forwarded: bool,
    /// Connections open at a time, over all workers; 100 000 unless said otherwise. Beyond them new ones are closed
    /// at once.
    pub connections_max: Option<Placed<u32>>,
    /// Connections open at a time from one IPv4 address or one IPv6 network of 64 bits; unlimited unless said
    /// otherwise. Trusted proxies are not limited.
    pub connections_per_address_max: Option<Placed<u32>>,
    /// How often one IPv4 address or one IPv6 network of 64 bits may connect, such as `50/s`, or `{ rate, burst }`;
    /// unlimited unless said otherwise. Beyond it connections are closed before anything of them is read. Trusted proxies
    /// are not limited.
    pub connection_rate: Option<Placed<Limit>>,
    /// How often it may begin a TLS handshake, which costs the gateway more than anything else a stranger can ask for.
    pub handshake_rate: Option<Placed<Limit>>,
    /// How long a connection may last before it is asked to end, give or take a tenth; 1 h unless said otherwise.
    pub connection_age_max: Option<Placed<Period>>,
    /// Pass the bytes of every connection on to an upstream, unread: the name of the upstream, or with settings. There
    /// is no HTTP here and there are no routes. With `tls` beside it, TLS ends at the gateway.
    pub tcp: Option<Relay>,
    /// TLS connections that are passed on unopened, by the name the client asks for (SNI), such as `db.example.com` or
    /// `*.db.example.com` for all below it. All others are for `tls`; without `tls` they are closed.
    #[serde(default)]
    pub passthrough: Map<Relay>,
}

impl Listener {
    /// Whether HTTP is spoken here, so that it has routes.
    #[must_use]
    pub fn speaks_http(&self) -> bool {
        self.tcp.is_none() && (self.tls.is_some() || self.passthrough.is_empty())
    }
}

/// Who may do what with a file: what `chmod` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub u32);

impl Mode {
    /// Everything that a mode of a socket can say.
    const ALL: u32 = 0o777;
    /// Writing, which is connecting.
    const WRITE: u32 = 0o222;

    /// Reads four octal digits.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let is_octal = text.len() == 4 && text.starts_with('0');
        let bits = u32::from_str_radix(text, 8).ok().filter(|bits| is_octal && *bits <= Self::ALL);
        match bits {
            None => Err(format!("`{text}` is not a mode such as `0660`")),
            Some(bits) if bits & Self::WRITE == 0 => {
                Err(format!("with `{text}` nobody can connect: that takes leave to write"))
            }
            Some(bits) => Ok(Self(bits)),
        }
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;
        impl Visitor<'_> for Digits {
            type Value = Mode;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mode in octal with the zero in front, such as `0660`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Mode, E> {
                Mode::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Digits)
    }
}

impl JsonSchema for Mode {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Mode".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^0[0-7]{3}$" })
    }
}

/// TLS of a listener.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListenerTls {
    /// Certificates, chosen by the name the client asks for (SNI); the first serves clients that name
    /// none or an unknown one.
    #[serde(deserialize_with = "crate::map::at_least_one")]
    #[schemars(length(min = 1))]
    pub certificates: Vec<Placed<HostCertificate>>,
    /// Certificates of clients, for all hosts that do not say otherwise; none are asked for unless said here or there.
    pub client: Option<Placed<ClientTls>>,
    /// The oldest version of TLS that is spoken, `"1.2"` or `"1.3"`; 1.2 unless said otherwise.
    #[serde(default)]
    pub min_version: TlsVersion,
    /// The only cipher suites that are used, by their IANA names such as `TLS_AES_256_GCM_SHA384`, the preferred first.
    /// Unless said otherwise all that are known: none without forward secrecy and authenticated encryption.
    #[serde(default)]
    pub ciphers: Vec<Placed<String>>,
}

/// Certificates of clients (mutual TLS).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientTls {
    /// Whether one must come.
    #[serde(default)]
    pub mode: ClientMode,
    /// PEM file with the authorities that sign them, relative to the config file.
    pub ca: Option<Placed<String>>,
    /// PEM file with revocation lists, one of each authority. Whoever is on one is refused; so is everybody once it is
    /// out of date.
    pub crl: Option<Placed<String>>,
}

/// Whether a client must show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientMode {
    /// Nobody comes in without one.
    #[default]
    Required,
    /// Who has one shows it; who shows one that is not valid is refused.
    Optional,
    /// None is asked for.
    Off,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// TLS 1.2 (RFC 5246).
    #[default]
    #[serde(rename = "1.2")]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    #[serde(rename = "1.3")]
    Tls13,
}

/// A certificate and its key as files, relative to the config file. Changed files are read again.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateFiles {
    /// PEM file with the certificate, followed by its intermediates.
    pub cert: Placed<String>,
    /// PEM file with the private key.
    pub key: Placed<String>,
}

/// A certificate of a listener, and what is asked of the clients of its hosts.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostCertificate {
    /// PEM file with the certificate, followed by its intermediates; relative to the config file, as all of them.
    /// Changed files are read again.
    pub cert: Placed<String>,
    /// PEM file with the private key.
    pub key: Placed<String>,
    /// Certificates of clients for the hosts of this certificate, in place of those of the listener.
    pub client: Option<Placed<ClientTls>>,
}

impl HostCertificate {
    /// The files alone.
    #[must_use]
    pub fn files(&self) -> CertificateFiles {
        CertificateFiles { cert: self.cert.clone(), key: self.key.clone() }
    }
}

/// What to do with paths that programs read differently.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PathRules {
    /// `%2F` in a path: a slash for some programs, a letter for others.
    #[serde(default)]
    pub encoded_slash: EncodedSlash,
    /// Several slashes in a row.
    #[serde(default)]
    pub double_slash: DoubleSlash,
}

/// What becomes of `%2F`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EncodedSlash {
    /// The request is refused with 400.
    #[default]
    Reject,
    /// It stays `%2F`, an ordinary character of its segment, and is forwarded so.
    Keep,
}

/// What becomes of `//`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DoubleSlash {
    /// It becomes one slash before the request is routed, and is forwarded so.
    #[default]
    Merge,
    /// The request is refused with 400.
    Reject,
    /// It stays; the segment between the slashes is empty.
    Keep,
}
