//! TLS towards targets: the provider is named explicitly, and certificates are always verified.

use crate::spec::{Protocol, TlsSpec};
use aws_lc_rs::digest::{SHA256, digest};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};
use std::sync::{Arc, OnceLock};

/// The settings of one kind of connection.
///
/// # Errors
/// When there is no certificate to trust: nothing could be verified.
pub(crate) fn config(spec: &TlsSpec, protocol: Protocol) -> Result<ClientConfig, String> {
    let roots = match &spec.ca_pem {
        Some(pem) => Arc::new(roots_of(pem)?),
        None => system_roots()?,
    };
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?
        .with_root_certificates(roots);
    let mut config = match &spec.client {
        Some(client) => {
            let shown = SingleCertAndKey::from(Arc::clone(&client.0));
            config.with_client_cert_resolver(Arc::new(shown))
        }
        None => config.with_no_client_auth(),
    };
    let offered: &[&[u8]] = match protocol {
        Protocol::Auto => &[b"h2", b"http/1.1"],
        Protocol::Http1 => &[b"http/1.1"],
        Protocol::Http2 => &[b"h2"],
    };
    config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
    Ok(config)
}

fn roots_of(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate =
            certificate.map_err(|error| format!("the CA is not valid PEM: {error}"))?;
        let refused = |error| format!("the CA holds a certificate that cannot be used: {error}");
        roots.add(certificate).map_err(refused)?;
    }
    if roots.is_empty() {
        return Err("the CA holds no certificate; give it as PEM".to_owned());
    }
    Ok(roots)
}

/// What the system trusts, read once per process.
fn system_roots() -> Result<Arc<RootCertStore>, String> {
    static ROOTS: OnceLock<Result<Arc<RootCertStore>, String>> = OnceLock::new();
    let load = || {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(found.certs);
        if roots.is_empty() {
            let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
            return Err(format!("the system trusts no certificate{why}; name a CA"));
        }
        Ok(Arc::new(roots))
    };
    ROOTS.get_or_init(load).clone()
}

/// Tells TLS settings apart: connections made under others must not be used.
pub(crate) fn fingerprint(spec: Option<&TlsSpec>) -> String {
    let Some(spec) = spec else { return "plain".to_owned() };
    let mut bytes = Vec::new();
    for part in [spec.ca_pem.as_deref(), spec.server_name.as_deref().map(str::as_bytes)] {
        // The length keeps one part from running into the next.
        bytes.extend(part.map_or(u64::MAX, |part| part.len() as u64).to_be_bytes());
        bytes.extend(part.unwrap_or_default());
    }
    for certificate in spec.client.iter().flat_map(|client| &client.0.cert) {
        bytes.extend((certificate.len() as u64).to_be_bytes());
        bytes.extend_from_slice(certificate);
    }
    format!("tls-{}", digest_text(&bytes))
}

/// SHA-256 in hexadecimal digits.
pub(crate) fn digest_text(bytes: &[u8]) -> String {
    let hash = digest(&SHA256, bytes);
    hash.as_ref().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::{config, fingerprint};
    use crate::spec::{Protocol, TlsSpec};

    fn spec(ca_pem: Option<&[u8]>, server_name: Option<&str>) -> TlsSpec {
        let server_name = server_name.map(str::to_owned);
        TlsSpec { ca_pem: ca_pem.map(<[u8]>::to_vec), server_name, client: None }
    }

    #[test]
    fn a_ca_without_certificate_is_refused() {
        let error = config(&spec(Some(b"# nothing here\n"), None), Protocol::Auto).unwrap_err();
        assert_eq!(error, "the CA holds no certificate; give it as PEM");
        let broken = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let error = config(&spec(Some(broken), None), Protocol::Auto).unwrap_err();
        assert!(error.contains("cannot be used"), "{error}");
    }

    #[test]
    fn different_settings_have_different_fingerprints() {
        let specs = [
            spec(None, None),
            spec(Some(b"a"), None),
            spec(Some(b"b"), None),
            spec(None, Some("a")),
            spec(Some(b""), None),
        ];
        let mut prints: Vec<_> = specs.iter().map(|spec| fingerprint(Some(spec))).collect();
        prints.push(fingerprint(None));
        let count = prints.len();
        prints.sort();
        prints.dedup();
        assert_eq!(prints.len(), count);
    }
}
