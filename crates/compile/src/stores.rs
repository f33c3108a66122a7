//! The stores in which gateways share counts, ready to be asked.

use crate::inputs::{Inputs, SecretsAt};
use crate::upstreams;
use base::caps::{STORE_GATEWAYS_MAX, STORE_TIMEOUT_MS_MAX};
use base::{Place, Placed, Report, Secret, Text};
use model::Config;
use model::authority::{Host, parse_authority};
use model::store::StoreLong;
use policy::store::{Store, StoreParts, Stores};
use std::collections::BTreeMap;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;
use upstream::{StoreServer, StoreShape, StoreSpec};

/// How long a request waits for a store unless said otherwise.
const TIMEOUT: Duration = Duration::from_millis(20);
/// What the names of keys begin with unless said otherwise.
const PREFIX: &str = "yett:";
const PREFIX_BYTES_MAX: usize = 64;
const REDIS_PORT: u16 = 6_379;
const SENTINEL_PORT: u16 = 26_379;
const FORM: &str = "write `redis://redis.internal:6379`, or `rediss://user@redis.internal:6379/0` for TLS, a user and a database";

/// Compiles all stores; one that is broken is there without a value.
pub(crate) fn compile(config: &Config, inputs: Inputs<'_>, report: &mut Report) -> Arc<Stores> {
    let background = upstream::background(inputs.world);
    let mut stores = BTreeMap::new();
    for (name, store) in config.stores.iter() {
        let mut reading = Reading { name, inputs, report };
        let spec = reading.spec(&store.0);
        let store =
            spec.and_then(|(spec, gateways)| match upstream::limit_store(&spec, inputs.world) {
                Ok(keeper) => {
                    let parts = StoreParts {
                        name: name.value.as_str().into(),
                        mark: mark(&spec, gateways),
                        keeper,
                        timeout: spec.timeout,
                        gateways,
                        metrics: inputs.metrics.store(&name.value),
                    };
                    Some(Store::open(parts, inputs.state, &*background))
                }
                Err(why) => {
                    report.error("bad_store", &name.place, why);
                    None
                }
            });
        stores.insert(name.value.clone(), store);
    }
    Arc::new(Stores(stores))
}

/// Tells apart stores with other settings, without showing a secret.
fn mark(spec: &StoreSpec, gateways: u32) -> String {
    let mut hasher = std::hash::DefaultHasher::new();
    format!("{:?}", spec.shape).hash(&mut hasher);
    let StoreSpec { is_tls, ca_pem, username, database, prefix, timeout, .. } = spec;
    (is_tls, ca_pem, username, database, prefix, timeout, gateways).hash(&mut hasher);
    spec.password.as_ref().map(Secret::reveal).hash(&mut hasher);
    if let StoreShape::Sentinel { password, .. } = &spec.shape {
        password.as_ref().map(Secret::reveal).hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
}

struct Reading<'a> {
    name: &'a Placed<String>,
    inputs: Inputs<'a>,
    report: &'a mut Report,
}

impl Reading<'_> {
    fn wrong(&mut self, place: &Place, message: impl Into<String>, help: &str) {
        let place = if place.is_known() { place } else { &self.name.place };
        let at = format!("/stores/{}", self.name.value);
        self.report.error("bad_store", place, message.into()).at(at).help(help.to_owned());
    }

    fn text(&mut self, written: &Placed<Text>) -> Option<String> {
        let place = if written.place.is_known() { &written.place } else { &self.name.place };
        let secrets = SecretsAt { outside: self.inputs.outside, place };
        match written.value.resolve(&secrets) {
            Ok(text) => Some(text.reveal().trim().to_owned()),
            Err(why) => {
                self.report.error("missing_secret", place, why).help(
                    "the gateway reads it when the config is loaded; make sure that it is there by then",
                );
                None
            }
        }
    }

    fn password(&mut self, written: Option<&Placed<Text>>) -> Option<Option<Secret>> {
        let Some(written) = written else { return Some(None) };
        if !written.value.has_reference() {
            let help = "take it from the environment or a file: `password: ${env:REDIS_PASSWORD}`";
            self.wrong(&written.place, "the password stands in the config", help);
            return None;
        }
        self.text(written).map(|text| Some(Secret::new(text)))
    }

    fn server(&mut self, place: &Place, text: &str, port: u16) -> Option<StoreServer> {
        let whole = parse_authority(text).or_else(|_| parse_authority(&format!("{text}:{port}")));
        let Ok(authority) = whole else {
            self.wrong(place, format!("`{text}` is not a host and a port"), FORM);
            return None;
        };
        let host = match authority.host {
            Host::Ip(address) => address.to_string(),
            Host::Name(name) => name,
        };
        Some(StoreServer { host, port: authority.port })
    }

    fn servers(&mut self, all: &[Placed<Text>], port: u16) -> Option<Vec<StoreServer>> {
        let one = |written: &Placed<Text>| {
            let text = self.text(written)?;
            self.server(&written.place, &text, port)
        };
        all.iter().map(one).collect()
    }

    fn spec(&mut self, written: &StoreLong) -> Option<(StoreSpec, u32)> {
        let place = self.name.place.clone();
        let ways =
            [written.redis.is_some(), written.sentinel.is_some(), !written.cluster.is_empty()];
        if ways.iter().filter(|is_there| **is_there).count() != 1 {
            let message = "a store is one of `redis`, `sentinel` and `cluster`";
            self.wrong(&place, message, FORM);
            return None;
        }
        let timeout = written.timeout.as_ref().map_or(TIMEOUT, |timeout| timeout.value.0);
        let timeout_max = Duration::from_millis(STORE_TIMEOUT_MS_MAX);
        if let Some(period) = written.timeout.as_ref()
            && (timeout.is_zero() || timeout > timeout_max)
        {
            let message = format!("requests cannot wait {timeout:?} for a store");
            self.wrong(&period.place, message, "a few milliseconds are usual: `timeout: 20ms`");
            return None;
        }
        let prefix = written.prefix.as_ref();
        if let Some(prefix) = prefix
            && (prefix.value.len() > PREFIX_BYTES_MAX || prefix.value.contains(['{', '}']))
        {
            let message = format!("a prefix has at most {PREFIX_BYTES_MAX} bytes, and no braces");
            self.wrong(&prefix.place, message, "such as `yett:`");
            return None;
        }
        let gateways = written.gateways.as_ref();
        if let Some(count) = gateways
            && !(1..=STORE_GATEWAYS_MAX).contains(&count.value)
        {
            let message = format!("{} gateways cannot share a store", count.value);
            self.wrong(&count.place, message, &format!("between 1 and {STORE_GATEWAYS_MAX}"));
            return None;
        }
        let ca_pem = match &written.ca {
            Some(path) => Some(upstreams::read(path, self.inputs, self.report)?),
            None => None,
        };
        let username = match &written.user {
            Some(user) => Some(self.text(user)?),
            None => None,
        };
        let password = self.password(written.password.as_ref())?;
        let spec = StoreSpec {
            shape: StoreShape::Cluster(Vec::new()),
            is_tls: written.tls,
            ca_pem,
            username,
            password,
            database: written.database.unwrap_or(0),
            prefix: prefix.map_or(PREFIX, |prefix| &prefix.value).to_owned(),
            timeout,
        };
        Some((self.shaped(written, spec)?, gateways.map_or(1, |count| count.value)))
    }

    fn shaped(&mut self, written: &StoreLong, mut spec: StoreSpec) -> Option<StoreSpec> {
        if let Some(url) = &written.redis {
            let text = self.text(url)?;
            return self.single(url, &text, spec);
        }
        if let Some(sentinel) = &written.sentinel {
            let username = match &sentinel.user {
                Some(user) => Some(self.text(user)?),
                None => None,
            };
            spec.shape = StoreShape::Sentinel {
                sentinels: self.servers(&sentinel.at, SENTINEL_PORT)?,
                master: sentinel.master.value.clone(),
                username,
                password: self.password(sentinel.password.as_ref())?,
            };
            return Some(spec);
        }
        if spec.database != 0 {
            let place = self.name.place.clone();
            self.wrong(&place, "a cluster has no databases but 0", "leave `database` out");
            return None;
        }
        spec.shape = StoreShape::Cluster(self.servers(&written.cluster, REDIS_PORT)?);
        Some(spec)
    }

    /// Reads a URL. What it says of a user may be secret, so it is never repeated.
    fn single(
        &mut self,
        written: &Placed<Text>,
        text: &str,
        mut spec: StoreSpec,
    ) -> Option<StoreSpec> {
        let (rest, is_tls) = match (text.strip_prefix("redis://"), text.strip_prefix("rediss://")) {
            (Some(rest), _) => (rest, spec.is_tls),
            (_, Some(rest)) => (rest, true),
            _ => {
                let message =
                    "a store is given as a URL that begins with `redis://` or `rediss://`";
                self.wrong(&written.place, message, FORM);
                return None;
            }
        };
        spec.is_tls = is_tls;
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, rest),
        };
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        if !database.is_empty() {
            let Ok(number) = database.parse() else {
                self.wrong(
                    &written.place,
                    "what follows the port is not the number of a database",
                    FORM,
                );
                return None;
            };
            spec.database = number;
        }
        if let Some(user) = user {
            let (name, password) = user.split_once(':').unwrap_or((user, ""));
            if !password.is_empty() && !written.value.has_reference() {
                let help =
                    "take it from the environment or a file: `password: ${env:REDIS_PASSWORD}`";
                self.wrong(&written.place, "the store's password stands in the config", help);
                return None;
            }
            if !password.is_empty() {
                spec.password = Some(Secret::new(password.to_owned()));
            }
            if !name.is_empty() {
                spec.username = Some(name.to_owned());
            }
        }
        spec.shape = StoreShape::Single(self.server(&written.place, authority, REDIS_PORT)?);
        Some(spec)
    }
}
