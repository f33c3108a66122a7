//! What certificates are asked of clients: authorities, revocation lists, and whether one must come.

use crate::inputs::Inputs;
use crate::upstreams::read;
use base::{Placed, Report};
use model::listener::{ClientMode, ClientTls};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::WebPkiClientVerifier;
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Arc;
use traffic::tls::ClientAuth;
use x509_parser::prelude::FromDer as _;
use x509_parser::revocation_list::CertificateRevocationList;

/// What is asked of clients; nothing within if nothing is. `None` when it has a problem.
pub(crate) fn compile(
    written: Option<&ClientTls>,
    provider: &Arc<CryptoProvider>,
    inputs: Inputs<'_>,
    report: &mut Report,
) -> Option<Option<Arc<ClientAuth>>> {
    let Some(written) = written.filter(|written| written.mode != ClientMode::Off) else {
        return Some(None);
    };
    // That it is missing was told by the model.
    let ca = written.ca.as_ref()?;
    let mut hasher = DefaultHasher::new();
    let (roots, authorities) = authorities(ca, &mut hasher, inputs, report)?;
    let is_required = written.mode == ClientMode::Required;
    hasher.write_u8(u8::from(is_required));
    let mut builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    let mut lists_end_s = Vec::new();
    if let Some(crl) = &written.crl {
        let lists = revocations(crl, &mut hasher, &mut lists_end_s, (inputs, report))?;
        builder = builder.with_crls(lists).enforce_revocation_expiration();
    }
    if !is_required {
        builder = builder.allow_unauthenticated();
    }
    match builder.build() {
        Ok(verifier) => {
            let id = hasher.finish().max(1);
            let algorithms = provider.signature_verification_algorithms;
            lists_end_s.sort_unstable();
            let lists_end_s = lists_end_s.into();
            let auth =
                ClientAuth { id, is_required, verifier, authorities, algorithms, lists_end_s };
            Some(Some(Arc::new(auth)))
        }
        Err(error) => {
            let place = written.crl.as_ref().map_or(&ca.place, |crl| &crl.place);
            let message = format!("clients' certificates cannot be verified by this: {error}");
            report.error("bad_authority", place, message);
            None
        }
    }
}

fn authorities(
    ca: &Placed<String>,
    hasher: &mut DefaultHasher,
    inputs: Inputs<'_>,
    report: &mut Report,
) -> Option<(RootCertStore, Arc<[CertificateDer<'static>]>)> {
    let pem = read(ca, inputs, report)?;
    let mut roots = RootCertStore::empty();
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.unwrap_or_default();
    let all_added = found.iter().all(|authority| {
        hasher.write(authority);
        roots.add(authority.clone()).is_ok()
    });
    if found.is_empty() || !all_added {
        report
            .error("bad_authority", &ca.place, format!("`{}` holds no certificates of authorities", ca.value))
            .help("it must be PEM: one `-----BEGIN CERTIFICATE-----` for each authority that signs clients' certificates");
        return None;
    }
    Some((roots, found.into()))
}

fn revocations(
    crl: &Placed<String>,
    hasher: &mut DefaultHasher,
    ends_s: &mut Vec<u64>,
    (inputs, report): (Inputs<'_>, &mut Report),
) -> Option<Vec<CertificateRevocationListDer<'static>>> {
    let pem = read(crl, inputs, report)?;
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&pem).collect();
    let lists = lists.unwrap_or_default();
    if lists.is_empty() {
        report
            .error("bad_revocation_list", &crl.place, format!("`{}` holds no revocation list", crl.value))
            .help("it must be PEM: one `-----BEGIN X509 CRL-----` for each authority; `openssl crl -inform der` turns DER into it");
        return None;
    }
    let now_s =
        i64::try_from(base::clock::unix_ms(inputs.clock.wall()) / 1_000).unwrap_or(i64::MAX);
    for list in &lists {
        hasher.write(list);
        let Ok((_, parsed)) = CertificateRevocationList::from_der(list) else {
            let message = format!("a revocation list in `{}` cannot be read", crl.value);
            report.error("bad_revocation_list", &crl.place, message);
            return None;
        };
        let Some(until) = parsed.next_update() else { continue };
        ends_s.extend(u64::try_from(until.timestamp()));
        if until.timestamp() < now_s {
            // It must keep nobody from taking away other credentials, nor the gateway from starting.
            let message = format!(
                "a revocation list in `{}` held until {until} only: every certificate of its authority is refused",
                crl.value
            );
            report
                .warning("expired_revocation_list", &crl.place, message)
                .help("fetch a newer one: by an old one nobody can tell who was revoked since; changed files are read again at once");
        }
    }
    Some(lists)
}
