//! Proxies in front of the gateway, and what is believed of what they say.

use base::Placed;
use base::decode::short_or_long;
use base::network::Network;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Proxies whose word on a request's way is taken: a list of networks, or with the headers they write.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    /// Where they are.
    pub from: Vec<Placed<Network>>,
    /// Which headers they write.
    pub header: ForwardedBy,
    /// Whether they tell of their clients' certificates.
    pub client_cert: Option<ClientCert>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TrustedLong {
    /// Where they are: networks such as `10.0.0.0/8`, or addresses.
    from: Vec<Placed<Network>>,
    /// Which headers they write. The other kind is ignored, since such a proxy passes it on as the client sent it.
    #[serde(default)]
    header: ForwardedBy,
    /// Say so only if they tell of their clients' certificates by `Client-Cert` (RFC 9440), and let nobody else's header of
    /// that name pass: the certificates count like those that are shown to the listener.
    client_cert: Option<ClientCert>,
}

/// Certificates of clients, as proxies that end TLS tell of them: `verified` by the proxy, or also here.
#[derive(Clone, Debug, Default)]
pub struct ClientCert {
    /// PEM file with the authorities that must have signed them.
    pub ca: Option<Placed<String>>,
    /// PEM file with revocation lists.
    pub crl: Option<Placed<String>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ClientCertLong {
    /// PEM file with the authorities that must have signed them, relative to the config file. Proxies that tell no chain
    /// (`Client-Cert-Chain`) need those in it that sign clients' certificates themselves.
    ca: Placed<String>,
    /// PEM file with revocation lists, one of each authority. Whoever is on one is refused; so is everybody once it is
    /// out of date.
    crl: Option<Placed<String>>,
}

impl From<ClientCertLong> for ClientCert {
    fn from(long: ClientCertLong) -> Self {
        Self { ca: Some(long.ca), crl: long.crl }
    }
}

impl<'de> Deserialize<'de> for ClientCert {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        short_or_long::<D, ClientCertLong, Self>(
            deserializer,
            "`verified`, or `{ ca, crl }` to verify them here as well",
            |text| match text {
                "verified" => Ok(Self::default()),
                other => Err(format!("`{other}` is neither `verified` nor `{{ ca, crl }}`")),
            },
        )
    }
}

impl JsonSchema for ClientCert {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ClientCert".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let long = generator.subschema_for::<ClientCertLong>();
        let short = schemars::json_schema!({ "type": "string", "pattern": "^verified$" });
        schemars::json_schema!({
            "description": "Certificates of clients, as proxies that end TLS tell of them: `verified` by the proxy, or `{ ca, crl }` to verify them here as well.",
            "oneOf": [short, long]
        })
    }
}

/// The headers by which a proxy tells a request's way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum ForwardedBy {
    /// `X-Forwarded-For`, `X-Forwarded-Proto` and `X-Forwarded-Host`.
    #[default]
    #[serde(rename = "x-forwarded-for")]
    XForwarded,
    /// `Forwarded` (RFC 7239).
    #[serde(rename = "forwarded")]
    Forwarded,
}

/// Proxies that announce by the PROXY protocol (version 1 or 2) whom they carry: a list of networks.
#[derive(Clone, Debug, Default)]
pub struct ProxyProtocol {
    /// Where they are.
    pub from: Vec<Placed<Network>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ProtocolLong {
    /// Where they are. Connections from there must begin with the header; on others it is never read.
    from: Vec<Placed<Network>>,
}

impl From<TrustedLong> for TrustedProxies {
    fn from(long: TrustedLong) -> Self {
        Self { from: long.from, header: long.header, client_cert: long.client_cert }
    }
}

impl From<Vec<Placed<Network>>> for TrustedProxies {
    fn from(from: Vec<Placed<Network>>) -> Self {
        Self { from, ..Self::default() }
    }
}

impl From<ProtocolLong> for ProxyProtocol {
    fn from(long: ProtocolLong) -> Self {
        Self { from: long.from }
    }
}

impl From<Vec<Placed<Network>>> for ProxyProtocol {
    fn from(from: Vec<Placed<Network>>) -> Self {
        Self { from }
    }
}

/// Reads a list of networks or a map.
struct ListOr<Long, T>(&'static str, std::marker::PhantomData<(Long, T)>);

impl<'de, Long, T> Visitor<'de> for ListOr<Long, T>
where
    Long: Deserialize<'de> + Into<T>,
    T: From<Vec<Placed<Network>>>,
{
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<T, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(T::from)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        Long::deserialize(MapAccessDeserializer::new(map)).map(Into::into)
    }
}

macro_rules! list_or {
    ($type:ident, $long:ident, $expecting:literal) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let visitor = ListOr::<$long, Self>($expecting, std::marker::PhantomData);
                deserializer.deserialize_any(visitor)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                let list = generator.subschema_for::<Vec<Network>>();
                let long = generator.subschema_for::<$long>();
                schemars::json_schema!({ "oneOf": [list, long] })
            }
        }
    };
}

list_or!(TrustedProxies, TrustedLong, "a list of networks, or `{ from, header, client_cert }`");
list_or!(ProxyProtocol, ProtocolLong, "a list of networks, or `{ from }`");
