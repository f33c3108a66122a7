//! Connections that are passed on as bytes: of a whole listener, or those of TLS that ask for certain names.

use crate::upstream::Upstream;
use base::network::Networks;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Where the bytes of a connection go.
#[derive(Debug)]
pub struct Relay {
    /// The upstream that gets them.
    pub upstream: Arc<dyn Upstream>,
    /// How long both directions may be silent.
    pub idle: Duration,
    /// Who may connect; everybody if it is empty.
    pub from: Networks,
}

/// What a listener passes on.
#[derive(Debug, Default)]
pub struct Relays {
    /// Every connection.
    pub whole: Option<Arc<Relay>>,
    /// TLS connections, by the name that the client asks for.
    pub by_name: ByName,
}

/// Relays by the name that a client asks for (SNI, RFC 6066, 3).
#[derive(Debug, Default)]
pub struct ByName {
    exact: HashMap<Box<str>, Arc<Relay>>,
    below: HashMap<Box<str>, Arc<Relay>>,
}

impl ByName {
    /// Adds one: a name, or `*.name` for all below it, in lower case. The first of two of one name stays.
    pub fn add(&mut self, pattern: &str, relay: Arc<Relay>) {
        let (map, name) = match pattern.strip_prefix("*.") {
            Some(name) => (&mut self.below, name),
            None => (&mut self.exact, pattern),
        };
        map.entry(Box::from(name)).or_insert(relay);
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.below.is_empty()
    }

    /// The one for a name: the name itself goes before a wildcard, a longer wildcard before a shorter one.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<Relay>> {
        let name = name.to_ascii_lowercase();
        let parents =
            std::iter::successors(Some(name.as_str()), |name| Some(name.split_once('.')?.1));
        let below = || parents.skip(1).find_map(|parent| self.below.get(parent));
        self.exact.get(name.as_str()).or_else(below)
    }
}

#[cfg(test)]
mod tests;
