//! Certificates and TLS of listeners: TLS 1.2 and 1.3, certificates chosen by the name the client asks
//! for (SNI, RFC 6066), HTTP/2 and HTTP/1.1 by ALPN (RFC 7301).

use crate::client_auth;
use crate::inputs::Inputs;
use crate::upstreams::read;
use base::{Place, Placed, Report};
use model::listener::{CertificateFiles, ListenerTls, TlsVersion};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, ServerConfig, SupportedCipherSuite, SupportedProtocolVersion};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use traffic::tls::{ClientAuth, HostTls, ListenerTls as Tls};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// Days before its end at which a certificate is warned about.
const EXPIRY_WARNING_DAYS: i64 = 14;
const DAY_S: i64 = 86_400;

/// The TLS settings of a listener; none when any certificate has a problem. With `is_raw` nobody knows what is spoken
/// inside, so that no protocol is agreed on.
pub(crate) fn compile(
    listener: &Placed<String>,
    written: &ListenerTls,
    is_raw: bool,
    inputs: Inputs<'_>,
    report: &mut Report,
) -> Option<Arc<Tls>> {
    let provider = Arc::new(provider(&written.ciphers, report)?);
    let mut rules: Vec<Rule> = Vec::new();
    let mut names: Vec<(String, usize)> = Vec::new();
    let mut loaded = Vec::new();
    let mut nameless = None;
    let mut is_whole = true;
    for entry in &written.certificates {
        let client = entry.client.as_ref().or(written.client.as_ref()).map(|client| &client.value);
        let rule = client_auth::compile(client, &provider, inputs, report);
        let certificate = load(&entry.files(), &provider, inputs, report);
        let (Some(rule), Some(certificate)) = (rule, certificate) else {
            is_whole = false;
            continue;
        };
        let id = |rule: &Rule| rule.as_ref().map(|auth| auth.id);
        let at = rules.iter().position(|known| id(known) == id(&rule)).unwrap_or_else(|| {
            rules.push(rule);
            rules.len() - 1
        });
        let place = &entry.cert.place;
        is_whole &= asks_the_same(&certificate.names, &names, at, place, report);
        if certificate.names.is_empty() {
            nameless.get_or_insert(place);
        }
        names.extend(certificate.names.iter().map(|name| (name.clone(), at)));
        loaded.push(certificate);
    }
    if let Some(place) = nameless.filter(|_| rules.len() > 1) {
        let message =
            "the certificate names no host, so nobody can tell for which hosts its `client` holds";
        report.error("nameless_certificate", place, message.to_owned()).help(
            "give one with DNS names among its alternative names (subjectAltName), or the same `client` to all entries",
        );
        return None;
    }
    if !is_whole {
        return None;
    }
    let by_name = Arc::new(ByName::new(loaded)?);
    let versions: &[_] = match written.min_version {
        TlsVersion::Tls12 => rustls::ALL_VERSIONS,
        TlsVersion::Tls13 => &[&rustls::version::TLS13],
    };
    let hosts = rules.into_iter().map(|client| {
        let mut config = config(&provider, versions, &by_name, client.as_deref())?;
        if is_raw {
            config.alpn_protocols.clear();
        }
        Ok(HostTls { config: Arc::new(config), client })
    });
    match hosts.collect::<Result<Vec<_>, rustls::Error>>() {
        // The first certificate's rule is the first.
        Ok(hosts) => Tls::new(hosts, names, 0).map(Arc::new),
        Err(error) => {
            report.error("tls", &listener.place, format!("TLS cannot be set up: {error}"));
            None
        }
    }
}

type Rule = Option<Arc<ClientAuth>>;

/// Whether no earlier entry has one of these names and asks something else of its clients: the demand of one of the
/// two would not hold, without a word.
fn asks_the_same(
    own: &[String],
    earlier: &[(String, usize)],
    rule: usize,
    place: &Place,
    report: &mut Report,
) -> bool {
    let other = own.iter().find(|name| {
        earlier.iter().any(|(known, known_rule)| known == *name && *known_rule != rule)
    });
    let Some(name) = other else { return true };
    let message =
        format!("an earlier certificate is for `{name}` as well, and its `client` differs");
    report
        .error("client_differs", place, message)
        .help("have both ask the same of clients, or keep the name in one certificate only");
    false
}

/// The settings of the hosts that ask the same of clients.
fn config(
    provider: &Arc<CryptoProvider>,
    versions: &[&'static SupportedProtocolVersion],
    by_name: &Arc<ByName>,
    client: Option<&ClientAuth>,
) -> Result<ServerConfig, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(versions)?;
    let by_name = Arc::clone(by_name) as Arc<dyn ResolvesServerCert>;
    let Some(client) = client else {
        let mut config = builder.with_no_client_auth().with_cert_resolver(by_name);
        config.alpn_protocols = alpn();
        if let Some(ticketer) = ticketer() {
            config.ticketer = ticketer;
        }
        return Ok(config);
    };
    let verifier = Arc::clone(&client.verifier);
    let mut config = builder.with_client_cert_verifier(verifier).with_cert_resolver(by_name);
    config.alpn_protocols = alpn();
    // A session that is resumed verifies no certificate: who was revoked since would come in.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn alpn() -> Vec<Vec<u8>> {
    vec![b"h2".to_vec(), b"http/1.1".to_vec()]
}

/// The cryptography, with the cipher suites that are wanted.
fn provider(wanted: &[Placed<String>], report: &mut Report) -> Option<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    if wanted.is_empty() {
        return Some(provider);
    }
    // rustls writes the names of TLS 1.3 with its version in them.
    let name = |suite: &SupportedCipherSuite| {
        let name = format!("{:?}", suite.suite());
        name.replacen("TLS13_", "TLS_", 1)
    };
    let known: Vec<(String, SupportedCipherSuite)> =
        provider.cipher_suites.iter().map(|suite| (name(suite), *suite)).collect();
    let mut suites = Vec::new();
    let mut all_known = true;
    for text in wanted {
        if let Some((_, suite)) = known.iter().find(|(name, _)| *name == text.value) {
            suites.push(*suite);
            continue;
        }
        all_known = false;
        let names: Vec<&str> = known.iter().map(|(name, _)| name.as_str()).collect();
        let help = match base::report::did_you_mean(&text.value, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", names.join(", ")),
        };
        let message = format!("`{}` is no cipher suite that is used here", text.value);
        report.error("unknown_cipher", &text.place, message).help(help);
    }
    provider.cipher_suites = suites;
    all_known.then_some(provider)
}

/// One ticketer for all listeners and all revisions, so that clients resume after a reload.
fn ticketer() -> Option<Arc<dyn ProducesTickets>> {
    static TICKETER: OnceLock<Option<Arc<dyn ProducesTickets>>> = OnceLock::new();
    TICKETER.get_or_init(|| aws_lc_rs::Ticketer::new().ok()).clone()
}

/// A certificate that may be served.
pub(crate) struct Loaded {
    pub(crate) key: Arc<CertifiedKey>,
    names: Vec<String>,
}

/// A certificate with its key, once both are fine.
pub(crate) fn load(
    files: &CertificateFiles,
    provider: &CryptoProvider,
    inputs: Inputs<'_>,
    report: &mut Report,
) -> Option<Loaded> {
    let cert_pem = read(&files.cert, inputs, report);
    let key_pem = read(&files.key, inputs, report);
    let (cert_pem, key_pem) = cert_pem.zip(key_pem)?;
    let mut bad = |place: &Place, message: String, help: &str| {
        report.error("bad_certificate", place, message).help(help);
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&cert_pem).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let Some(chain) = chain else {
        let message = format!("`{}` holds no certificate", files.cert.value);
        bad(&files.cert.place, message, "it must be PEM: `-----BEGIN CERTIFICATE-----`");
        return None;
    };
    let Ok(key) = PrivateKeyDer::from_pem_slice(&key_pem) else {
        let message = format!("`{}` holds no private key", files.key.value);
        bad(
            &files.key.place,
            message,
            "it must be PEM without a passphrase: `-----BEGIN PRIVATE KEY-----`",
        );
        return None;
    };
    let signer = match provider.key_provider.load_private_key(key) {
        Ok(signer) => signer,
        Err(error) => {
            let message = format!("the key in `{}` cannot be used: {error}", files.key.value);
            bad(
                &files.key.place,
                message,
                "use an RSA, ECDSA (P-256, P-384, P-521) or Ed25519 key",
            );
            return None;
        }
    };
    let key = CertifiedKey::new(chain, signer);
    if matches!(
        key.keys_match(),
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch))
    ) {
        let message = format!(
            "the key in `{}` does not belong to the certificate in `{}`",
            files.key.value, files.cert.value
        );
        bad(&files.key.place, message, "give the key with which this certificate was requested");
        return None;
    }
    let names = inspect(&key, files, inputs, report)?;
    Some(Loaded { key: Arc::new(key), names })
}

/// The names of a certificate, once its dates are fine.
fn inspect(
    key: &CertifiedKey,
    files: &CertificateFiles,
    inputs: Inputs<'_>,
    report: &mut Report,
) -> Option<Vec<String>> {
    let place = &files.cert.place;
    let file = &files.cert.value;
    let leaf = key.cert.first()?;
    let Ok((_, certificate)) = X509Certificate::from_der(leaf) else {
        report.error(
            "bad_certificate",
            place,
            format!("the certificate in `{file}` cannot be read"),
        );
        return None;
    };
    let now_s =
        i64::try_from(base::clock::unix_ms(inputs.clock.wall()) / 1_000).unwrap_or(i64::MAX);
    let validity = certificate.validity();
    let until = validity.not_after;
    if until.timestamp() < now_s {
        report
            .error(
                "expired_certificate",
                place,
                format!("the certificate in `{file}` expired on {until}"),
            )
            .help("renew it; changed files are read again at once");
        return None;
    }
    if until.timestamp() < now_s + EXPIRY_WARNING_DAYS * DAY_S {
        let message = format!("the certificate in `{file}` expires on {until}");
        report.warning("expiring_certificate", place, message).help("renew it");
    }
    if validity.not_before.timestamp() > now_s {
        let message =
            format!("the certificate in `{file}` is valid only from {} on", validity.not_before);
        report.warning("early_certificate", place, message);
    }
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.map(|extension| &extension.value.general_names);
    let dns = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    };
    Some(names.into_iter().flatten().filter_map(dns).collect())
}

/// Chooses a certificate by the name the client asks for.
struct ByName {
    exact: HashMap<String, Arc<CertifiedKey>>,
    wildcard: HashMap<String, Arc<CertifiedKey>>,
    first: Arc<CertifiedKey>,
}

impl ByName {
    fn new(loaded: Vec<Loaded>) -> Option<Self> {
        let first = Arc::clone(&loaded.first()?.key);
        let mut chosen = Self { exact: HashMap::new(), wildcard: HashMap::new(), first };
        for Loaded { key, names } in loaded {
            for name in names {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut chosen.wildcard, parent.to_owned()),
                    None => (&mut chosen.exact, name),
                };
                map.entry(name).or_insert_with(|| Arc::clone(&key));
            }
        }
        Some(chosen)
    }

    /// The exact name before a wildcard, which stands for one label (RFC 6125, 6.4.3); otherwise the
    /// first certificate.
    fn choose(&self, name: Option<&str>) -> &Arc<CertifiedKey> {
        let Some(name) = name else { return &self.first };
        let name = name.to_ascii_lowercase();
        let by_wildcard = || self.wildcard.get(name.split_once('.')?.1);
        self.exact.get(&name).or_else(by_wildcard).unwrap_or(&self.first)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.choose(hello.server_name())))
    }
}

impl fmt::Debug for ByName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.exact.keys()).entries(self.wildcard.keys()).finish()
    }
}
