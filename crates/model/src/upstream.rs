//! A named backend and its targets.

use crate::balance::{Balance, Sticky};
use crate::listener::CertificateFiles;
use crate::trouble::{Breaker, Concurrency, Hedge, Outliers, Retries};
use base::decode::short_or_long;
use base::units::{Period, Share};
use base::{Placed, Text};
use schemars::JsonSchema;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use std::time::Duration;

/// A backend service: one or more targets that can all answer the same requests.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// The servers.
    #[serde(deserialize_with = "crate::map::at_least_one")]
    #[schemars(length(min = 1))]
    pub targets: Vec<Placed<Target>>,
    /// How a target is chosen among those that take requests: `round_robin` (in turn, by weight),
    /// `least_request` (of two drawn at random the one with fewer requests under way), `peak_ewma` (of two the
    /// one that is expected to answer sooner), `random`, or `{ hash: client }` (the same key finds the same
    /// target). `round_robin` unless said otherwise.
    pub balance: Option<Placed<Balance>>,
    /// The protocol spoken to the targets.
    #[serde(default)]
    pub protocol: Protocol,
    /// TLS towards the targets: `true`, or with settings.
    pub tls: Option<UpstreamTls>,
    /// The `Host` that the targets see: `preserve` (what the client sent), `target` (the target's own
    /// address), or a name.
    pub host: Option<Placed<String>>,
    /// Active health check, such as `GET /healthz every 5s`, or `tcp every 5s`.
    pub health: Option<Placed<Health>>,
    /// Time limits of a call.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// When a request that is safe to repeat is tried again: how many times, or with settings. Once unless said
    /// otherwise.
    pub retries: Option<Placed<Retries>>,
    /// Idle connections.
    #[serde(default)]
    pub keep_alive: KeepAlive,
    /// Tells the targets of clients by the PROXY protocol, ahead of each connection: `v1` as text, `v2` as bytes.
    /// A connection then serves one client's connection only.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// The proxy through which the targets are reached (by CONNECT): `http://proxy:3128`, or
    /// `http://user:${env:PASSWORD}@proxy:3128`. The proxy resolves the names of the targets.
    pub proxy: Option<Placed<Text>>,
    /// A second attempt when the first is slow, such as `200ms`; none unless said otherwise.
    pub hedge: Option<Placed<Hedge>>,
    /// When a target is put aside because requests to it fail. Only connections that cannot be opened
    /// count unless said otherwise.
    pub outliers: Option<Placed<Outliers>>,
    /// When the whole upstream is left alone for a while, such as `50% in 10s`; never unless said
    /// otherwise.
    pub breaker: Option<Placed<Breaker>>,
    /// How many requests are under way at a time, such as `100`, or `adaptive` to have it found from how long answers
    /// take; unlimited unless said otherwise.
    pub concurrency: Option<Placed<Concurrency>>,
    /// Keeps each browser at the target that answered it first, by a cookie; off unless said otherwise.
    pub sticky: Option<Placed<Sticky>>,
    /// How long a target that is new, or healthy again, takes to get its whole share; it has it at once
    /// unless said otherwise. With `{ hash: … }` shares do not depend on it.
    #[serde(default, deserialize_with = "above_zero")]
    pub slow_start: Option<Period>,
    /// When fewer of the targets than this share are healthy, all of them get requests, so that the few that are
    /// left are not overrun; never unless said otherwise.
    pub panic_threshold: Option<Share>,
}

/// One server of an upstream, or a name that stands for several.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Host (name, IPv4 or bracketed IPv6) and port, the path of a Unix socket, or the name of a service.
    pub address: Text,
    /// Whether `address` is the name of a service, whose SRV records say hosts and ports.
    pub is_service: bool,
    /// Its share of the requests, relative to the other targets; 1 unless said otherwise. Each address of a
    /// name has it.
    pub weight: u16,
    /// Where it runs.
    pub zone: Option<String>,
    /// Where that is.
    pub region: Option<String>,
    /// Targets of priority 0 come first.
    pub priority: u8,
}

impl Target {
    fn new(address: Text) -> Self {
        Self { address, is_service: false, weight: 1, zone: None, region: None, priority: 0 }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TargetLong {
    /// Host (name, IPv4 or bracketed IPv6) and port, or the path of a Unix socket, such as `unix:/run/app.sock`. Each
    /// address of a name is a target of its own. A Unix socket is `localhost` where its host is asked for: as `Host`
    /// with `host: target`, in health checks and in certificates.
    address: Option<Text>,
    /// In place of `address`, the name of a service, such as `_orders._tcp.example.com`, whose SRV records
    /// (RFC 2782) say hosts, ports, priorities and weights. With TLS, hosts outside its domain are passed over
    /// unless `tls: { server_name }` says what to verify.
    srv: Option<Text>,
    /// Its share of the requests, relative to the other targets; 1 unless said otherwise. Each address of a
    /// name has it; 0 takes no new requests.
    #[serde(default = "one")]
    weight: u16,
    /// The zone it runs in. Gateways that know their own (`gateway: { zone }`) prefer it.
    zone: Option<String>,
    /// The region it runs in, for gateways in another zone of it.
    region: Option<String>,
    /// Targets of priority 0 come first; those of 1 get what these cannot carry, and so on to 15.
    #[serde(default)]
    priority: u8,
}

const fn one() -> u16 {
    1
}

impl TryFrom<TargetLong> for Target {
    type Error = &'static str;

    fn try_from(long: TargetLong) -> Result<Self, &'static str> {
        let TargetLong { address, srv, weight, zone, region, priority } = long;
        let (address, is_service) = match (address, srv) {
            (Some(address), None) => (address, false),
            (None, Some(service)) => (service, true),
            (None, None) => return Err("the target has neither `address` nor `srv`"),
            (Some(_), Some(_)) => return Err("the target has both `address` and `srv`"),
        };
        Ok(Self { address, is_service, weight, zone, region, priority })
    }
}

impl<'de> Deserialize<'de> for Target {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Lets the short form carry references.
        struct Either;
        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = Target;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an address such as `10.0.0.1:8080` or `unix:/run/app.sock`, or `{ address, weight, zone, … }`")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Target, E> {
                let address = Text::parse(text).map_err(E::custom)?;
                Ok(Target::new(address))
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Target, A::Error> {
                TargetLong::deserialize(serde::de::value::MapAccessDeserializer::new(map))?
                    .try_into()
                    .map_err(A::Error::custom)
            }
            fn visit_newtype_struct<D: Deserializer<'de>>(self, d: D) -> Result<Target, D::Error> {
                d.deserialize_any(self)
            }
        }
        deserializer.deserialize_newtype_struct(base::tree::TEXT_TOKEN, Either)
    }
}

impl JsonSchema for Target {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Target".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let long = generator.subschema_for::<TargetLong>();
        schemars::json_schema!({ "oneOf": [{ "type": "string" }, long] })
    }
}

/// The protocol spoken to the targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/2 where TLS negotiates it (ALPN), otherwise HTTP/1.1.
    #[default]
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, without TLS by prior knowledge.
    Http2,
}

/// How targets are told of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProxyProtocol {
    /// Version 1: a line of text.
    V1,
    /// Version 2: bytes.
    V2,
}

/// TLS towards the targets. Certificates are always verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// Whether TLS is spoken at all.
    pub on: bool,
    /// PEM file with the certificate authorities to trust in place of the system's.
    pub ca: Option<Placed<String>>,
    /// The name to ask for and to verify, where it is not the target's host.
    pub server_name: Option<Placed<String>>,
    /// What targets are shown that ask for a certificate.
    pub client: Option<Placed<CertificateFiles>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct UpstreamTlsLong {
    /// PEM file with the certificate authorities to trust in place of the system's.
    ca: Option<Placed<String>>,
    /// The name to ask for and to verify, where it is not the target's host.
    server_name: Option<Placed<String>>,
    /// What targets are shown that ask for a certificate (mutual TLS). Changed files are read again.
    client: Option<Placed<CertificateFiles>>,
}

impl<'de> Deserialize<'de> for UpstreamTls {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = UpstreamTls;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("`true`, `false` or `{ ca, server_name, client }`")
            }
            fn visit_bool<E>(self, on: bool) -> Result<UpstreamTls, E> {
                Ok(UpstreamTls { on, ..UpstreamTls::default() })
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                map: A,
            ) -> Result<UpstreamTls, A::Error> {
                let map = serde::de::value::MapAccessDeserializer::new(map);
                let long = UpstreamTlsLong::deserialize(map)?;
                let UpstreamTlsLong { ca, server_name, client } = long;
                Ok(UpstreamTls { on: true, ca, server_name, client })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for UpstreamTls {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "UpstreamTls".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let long = generator.subschema_for::<UpstreamTlsLong>();
        schemars::json_schema!({ "oneOf": [{ "type": "boolean" }, long] })
    }
}

/// An active health check: a request sent to each target, or a connection opened, from time to time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether a connection that can be opened is answer enough. Otherwise there is a path.
    pub tcp: bool,
    /// Method of the request; `GET` where nothing is said.
    pub method: Option<String>,
    /// Path and query of the request.
    pub path: Option<String>,
    /// Time between two checks of one target.
    pub every: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Good answers in a row that make an unhealthy target healthy.
    pub healthy_after: u32,
    /// Bad answers in a row that make a healthy target unhealthy.
    pub unhealthy_after: u32,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct HealthLong {
    /// Method of the request; `GET` unless said otherwise.
    method: Option<String>,
    /// Path and query of the request. Statuses from 200 to 399 are good.
    path: Option<String>,
    /// `true` asks nothing: a connection that can be opened, TLS included where the upstream has it, is good. For targets
    /// that do not speak HTTP; in place of `path`.
    #[serde(default)]
    tcp: bool,
    /// Time between two checks of one target; 10 s unless said otherwise.
    #[serde(default, deserialize_with = "above_zero")]
    every: Option<Period>,
    /// How long an answer may take; 2 s unless said otherwise.
    #[serde(default, deserialize_with = "above_zero")]
    timeout: Option<Period>,
    /// Good answers in a row that make an unhealthy target healthy; 2 unless said otherwise.
    healthy_after: Option<u32>,
    /// Bad answers in a row that make a healthy target unhealthy; 3 unless said otherwise.
    unhealthy_after: Option<u32>,
}

impl From<HealthLong> for Health {
    fn from(long: HealthLong) -> Self {
        let seconds = |period: Option<Period>, default| {
            period.map_or_else(|| Duration::from_secs(default), |period| period.0)
        };
        Self {
            tcp: long.tcp,
            method: long.method,
            path: long.path,
            every: seconds(long.every, 10),
            timeout: seconds(long.timeout, 2),
            healthy_after: long.healthy_after.unwrap_or(2),
            unhealthy_after: long.unhealthy_after.unwrap_or(3),
        }
    }
}

impl Health {
    /// Reads the short form: `GET /healthz every 5s` or `tcp every 5s`, the interval being optional.
    ///
    /// # Errors
    /// A sentence that says what is expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is not a health check such as `GET /healthz every 5s` or `tcp every 5s`"
            )
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let (asked, every) = match &words[..] {
            [asked @ .., "every", period] => (asked, Some(Period::parse(period)?)),
            asked => (asked, None),
        };
        let request = match asked {
            ["tcp"] => None,
            [method, path] => Some((*method, *path)),
            _ => return Err(wrong()),
        };
        if request.is_some_and(|(method, path)| {
            !path.starts_with('/') || !method.chars().all(|c| c.is_ascii_uppercase())
        }) {
            return Err(wrong());
        }
        Ok(HealthLong {
            tcp: request.is_none(),
            method: request.map(|(method, _)| method.to_owned()),
            path: request.map(|(_, path)| path.to_owned()),
            every,
            timeout: None,
            healthy_after: None,
            unhealthy_after: None,
        }
        .into())
    }
}

impl<'de> Deserialize<'de> for Health {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        short_or_long::<D, HealthLong, Self>(
            deserializer,
            "a health check such as `GET /healthz every 5s` or `tcp every 5s`, or `{ path, every, … }`",
            Self::parse,
        )
    }
}

impl JsonSchema for Health {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Health".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let long = generator.subschema_for::<HealthLong>();
        schemars::json_schema!({
            "oneOf": [{ "type": "string", "pattern": "^([A-Z]+ /\\S*|tcp)( every .+)?$" }, long]
        })
    }
}

/// Time limits of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Timeouts {
    /// Establishing a connection, TLS included; 5 s unless said otherwise.
    #[serde(default, deserialize_with = "above_zero")]
    pub connect: Option<Period>,
    /// From the request's last byte to the answer's first; 30 s unless said otherwise.
    #[serde(default, deserialize_with = "above_zero")]
    pub first_byte: Option<Period>,
    /// Between two pieces of a body, in either direction; 60 s unless said otherwise.
    #[serde(default, deserialize_with = "above_zero")]
    pub idle: Option<Period>,
    /// The whole exchange; unlimited unless said otherwise, so that streams can go on.
    #[serde(default, deserialize_with = "above_zero")]
    pub total: Option<Period>,
}

/// A period that is given must be one in which something can happen.
pub(crate) fn above_zero<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Period>, D::Error> {
    match Option::<Period>::deserialize(deserializer)? {
        Some(Period(Duration::ZERO)) => Err(D::Error::custom("the duration must be above zero")),
        period => Ok(period),
    }
}

/// Idle connections to a target, per worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeepAlive {
    /// How many are kept; 64 unless said otherwise, 0 closes each after its request.
    pub idle_max: Option<u16>,
    /// How long one is kept; 55 s unless said otherwise. Keep it below the backend's own limit.
    pub idle_timeout: Option<Period>,
}
