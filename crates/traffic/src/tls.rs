//! TLS of a listener: the settings of each host, and what is asked of its clients.

use base::caps::{CLIENT_VERIFIED_S, TOLD_CERTIFICATE_REMEMBERED_S, TOLD_CERTIFICATES_REMEMBERED};
use quick_cache::sync::Cache;
use rustls::ServerConfig;
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use std::collections::HashMap;
use std::fmt;
use std::iter::successors;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// TLS of a listener.
#[derive(Debug)]
pub struct ListenerTls {
    rules: Box<[HostTls]>,
    exact: HashMap<Box<str>, usize>,
    wildcard: HashMap<Box<str>, usize>,
    first: usize,
    asks_clients: bool,
}

/// TLS towards the clients of some hosts.
#[derive(Clone, Debug)]
pub struct HostTls {
    /// With which the handshake is done.
    pub config: Arc<ServerConfig>,
    /// What is asked of clients, if anything is.
    pub client: Option<Arc<ClientAuth>>,
}

/// What certificate is asked of clients.
#[derive(Clone)]
pub struct ClientAuth {
    /// The same number for the same demands, in whatever revision of the config; never 0.
    pub id: u64,
    /// Whether none comes in without one.
    pub is_required: bool,
    /// Judges certificates.
    pub verifier: Arc<dyn ClientCertVerifier>,
    /// The certificates of the authorities that it trusts.
    pub authorities: Arc<[CertificateDer<'static>]>,
    /// The signatures that it understands.
    pub algorithms: WebPkiSupportedAlgorithms,
    /// When its lists of revoked certificates end, in seconds since 1970, in this order. What a list that has ended says
    /// nothing of is refused.
    pub lists_end_s: Arc<[u64]>,
}

impl ClientAuth {
    /// When the next list ends.
    #[must_use]
    pub fn list_ends_s(&self, now_s: u64) -> Option<u64> {
        self.lists_end_s.iter().copied().find(|end_s| *end_s > now_s)
    }
}

impl fmt::Debug for ClientAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientAuth({:x}, required: {})", self.id, self.is_required)
    }
}

impl ListenerTls {
    /// The settings of hosts by name, the wildcard `*.name` for all below it. `first` is for clients that name no
    /// host, or one that is not known. Nothing if there is no first.
    #[must_use]
    pub fn new(
        rules: Vec<HostTls>,
        names: impl IntoIterator<Item = (String, usize)>,
        first: usize,
    ) -> Option<Self> {
        rules.get(first)?;
        let (mut exact, mut wildcard) = (HashMap::new(), HashMap::new());
        for (name, rule) in names {
            rules.get(rule)?;
            match name.strip_prefix("*.") {
                Some(parent) => wildcard.entry(parent.into()).or_insert(rule),
                None => exact.entry(name.into_boxed_str()).or_insert(rule),
            };
        }
        let asks_clients = rules.iter().any(|rule| rule.client.is_some());
        Some(Self { rules: rules.into(), exact, wildcard, first, asks_clients })
    }

    /// Whether clients of any host are asked for certificates.
    #[must_use]
    pub fn asks_clients(&self) -> bool {
        self.asks_clients
    }

    /// Whether different things are asked of the clients of different hosts.
    #[must_use]
    pub fn is_divided(&self) -> bool {
        self.rules.len() > 1
    }

    /// The names of the hosts that are told apart, wildcards as `*.name`, and whether nobody is let in there without a
    /// certificate. In no order.
    pub fn names(&self) -> impl Iterator<Item = (String, bool)> {
        let asks = |rule: &usize| {
            let client = self.rules.get(*rule).and_then(|rule| rule.client.as_ref());
            client.is_some_and(|auth| auth.is_required)
        };
        let exact = self.exact.iter().map(move |(name, rule)| (name.to_string(), asks(rule)));
        let wildcard = self.wildcard.iter();
        exact.chain(wildcard.map(move |(parent, rule)| (format!("*.{parent}"), asks(rule))))
    }

    /// The settings of a host: of the exact name, then of the wildcard with the most labels. Where certificates are
    /// chosen a wildcard stands for one label (RFC 6125, 6.4.3); here for any number, as in the hosts of an API:
    /// what is demanded below a name is not got round by one label more.
    #[must_use]
    pub fn host(&self, name: Option<&str>) -> &HostTls {
        let rule = name.filter(|_| self.rules.len() > 1).and_then(|name| self.named(name));
        &self.rules[rule.unwrap_or(self.first)]
    }

    /// What is asked of clients of a host. One that no certificate names is asked for what every host asks that
    /// lets nobody in without a certificate: nobody can tell to whom it belongs.
    pub fn demands(&self, name: &str) -> impl Iterator<Item = &Arc<ClientAuth>> {
        let own = self.host(Some(name));
        let is_named = self.rules.len() == 1 || self.named(name).is_some();
        let others = self.rules.iter().filter(move |_| !is_named);
        let others = others.filter_map(|rule| rule.client.as_ref()).filter(|auth| auth.is_required);
        others.chain(&own.client)
    }

    fn named(&self, name: &str) -> Option<usize> {
        let name = name.to_ascii_lowercase();
        let mut parents = successors(name.split_once('.'), |(_, parent)| parent.split_once('.'));
        let by_wildcard = || parents.find_map(|(_, parent)| self.wildcard.get(parent));
        self.exact.get(&*name).or_else(by_wildcard).copied()
    }
}

/// What a client showed of itself in the handshake, where it was asked to.
#[derive(Debug)]
pub struct ShownByClient {
    /// Its certificate and what it sent with it; empty if it has none.
    pub chain: Vec<CertificateDer<'static>>,
    /// What the certificate says, if there is one.
    pub certificate: Option<ClientCertificate>,
    /// The [`ClientAuth::id`] it was last found to satisfy.
    satisfies: AtomicU64,
    /// When that is looked at again, in seconds since 1970; 0 if it was not looked at since the handshake.
    again_s: AtomicU64,
}

/// What is made of certificates of which trusted proxies tell (RFC 9440).
pub struct ToldCertificates {
    /// Judges them besides the proxy, if anything does.
    pub auth: Option<Arc<ClientAuth>>,
    /// Those that were read and judged not long ago, by the digest of what was told.
    read: Cache<[u8; 32], (Arc<ShownByClient>, Instant)>,
}

impl ToldCertificates {
    /// Those that are also judged here, if `auth` is there.
    #[must_use]
    pub fn new(auth: Option<Arc<ClientAuth>>) -> Self {
        Self { auth, read: Cache::new(TOLD_CERTIFICATES_REMEMBERED) }
    }

    /// What was told, if it was read not long ago.
    #[must_use]
    pub fn find(&self, digest: &[u8; 32], now: Instant) -> Option<Arc<ShownByClient>> {
        let (shown, until) = self.read.get(digest)?;
        (now < until).then_some(shown)
    }

    /// Remembers what was told for a minute.
    pub fn remember(&self, digest: [u8; 32], shown: &Arc<ShownByClient>, now: Instant) {
        if let Some(until) = now.checked_add(Duration::from_secs(TOLD_CERTIFICATE_REMEMBERED_S)) {
            self.read.insert(digest, (Arc::clone(shown), until));
        }
    }
}

impl fmt::Debug for ToldCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ToldCertificates({:?})", self.auth)
    }
}

/// What a client's certificate says.
#[derive(Clone, Debug, Default)]
pub struct ClientCertificate {
    /// Whom it is for, see [`base::certificate_name`]; empty if it does not say.
    pub subject: Box<str>,
    /// Who signed it, as it says itself.
    pub issuer: Box<str>,
    /// The authority to which it was traced: that of the listener, not one that says of itself that it is.
    pub authority: Box<str>,
    /// `sha256:` and the digest of the certificate of each authority on the way there.
    pub authorities: Box<[Box<str>]>,
    /// Its alternative names: DNS names, e-mail addresses, URIs, IP addresses.
    pub names: Box<[AlternativeName]>,
    /// Its serial number, in hexadecimal digits.
    pub serial: Box<str>,
    /// The SHA-256 digest of its DER form, in hexadecimal digits.
    pub fingerprint: Box<str>,
    /// When it ends, by the system's clock.
    pub until: Option<SystemTime>,
}

/// One of the alternative names of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlternativeName {
    /// `dns`, `email`, `uri` or `ip`.
    pub kind: &'static str,
    /// The name, in the form of [`base::certificate_name::alternative_name`].
    pub text: Box<str>,
}

impl AsRef<str> for AlternativeName {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl ShownByClient {
    /// What satisfied `auth` in the handshake.
    #[must_use]
    pub fn new(
        auth: &ClientAuth,
        chain: Vec<CertificateDer<'static>>,
        certificate: Option<ClientCertificate>,
    ) -> Self {
        let again_s = AtomicU64::new(0);
        Self { chain, certificate, satisfies: AtomicU64::new(auth.id), again_s }
    }

    /// What a trusted proxy tells that a client showed to it.
    #[must_use]
    pub const fn told(chain: Vec<CertificateDer<'static>>, certificate: ClientCertificate) -> Self {
        let (satisfies, again_s) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { chain, certificate: Some(certificate), satisfies, again_s }
    }

    /// Whether it satisfies these demands at this time. Other demands than those of the handshake come with another
    /// host, or with another config: a new revocation list ends the connections of whoever is on it. What was good may
    /// end while the connection goes on, and so is looked at again after a while.
    pub fn satisfies(&self, auth: &ClientAuth, now: UnixTime) -> bool {
        let now_s = now.as_secs();
        if self.satisfies.load(Ordering::Relaxed) == auth.id {
            let again_s = self.again_s.load(Ordering::Relaxed);
            if again_s == 0 {
                self.again_s.store(self.look_again(auth, now_s), Ordering::Relaxed);
            }
            if now_s < again_s || (again_s == 0 && now_s < self.until_s()) {
                return true;
            }
        }
        let is_fine = match self.chain.split_first() {
            None => !auth.is_required,
            Some((leaf, others)) => auth.verifier.verify_client_cert(leaf, others, now).is_ok(),
        };
        if is_fine {
            self.satisfies.store(auth.id, Ordering::Relaxed);
            self.again_s.store(self.look_again(auth, now_s), Ordering::Relaxed);
        }
        is_fine
    }

    fn look_again(&self, auth: &ClientAuth, now_s: u64) -> u64 {
        let list_ends_s = auth.list_ends_s(now_s).unwrap_or(u64::MAX);
        now_s.saturating_add(CLIENT_VERIFIED_S).min(self.until_s()).min(list_ends_s)
    }

    /// When the certificate ends.
    fn until_s(&self) -> u64 {
        let until = self.certificate.as_ref().and_then(|certificate| certificate.until);
        let until = until.and_then(|until| until.duration_since(SystemTime::UNIX_EPOCH).ok());
        until.map_or(u64::MAX, |until| until.as_secs())
    }
}
