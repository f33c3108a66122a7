//! Whom a command believes to be the control plane, and over which networks it sends a login.

use crate::disk;
use clap::Args;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;

/// Bytes that are read of a file of authorities.
const BYTES_MAX: usize = 8 << 20;

/// How an admin API is reached.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Trust {
    /// PEM file with the authorities that sign the certificate of the admin API, if the system does not know them. `yett
    /// login` remembers it.
    #[arg(long, env = "YETT_CA", value_name = "FILE")]
    pub(crate) ca: Option<String>,
    /// Send the login over plain HTTP to another machine all the same: whoever is on the way can take it.
    #[arg(long)]
    pub(crate) plain: bool,
}

/// TLS to an admin API.
///
/// # Errors
/// In words, when there is nobody to trust.
pub(super) fn config(ca: Option<&str>) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    match ca {
        Some(file) => {
            let told = |why: &dyn std::fmt::Display| format!("`{file}` names no authority: {why}");
            let pem = disk::read(Path::new(file), BYTES_MAX).map_err(|why| told(&why))?;
            for authority in CertificateDer::pem_slice_iter(&pem) {
                roots.add(authority.map_err(|why| told(&why))?).map_err(|why| told(&why))?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if roots.is_empty() {
        return Err("there is no authority to trust: name a PEM file with `--ca`".to_owned());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be set up: {error}"))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
