//! The certificate with which the admin API is served.

use crate::disk;
use base::Placed;
use model::listener::CertificateFiles;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Bytes that are read of one file.
const BYTES_MAX: usize = 1 << 20;
/// How often it is looked whether the files are others.
pub(super) const AGAIN_EVERY: Duration = Duration::from_secs(5);

/// A certificate with its key, as files that may be replaced while it is in use.
pub(super) struct Certificate {
    cert: (PathBuf, String),
    key: (PathBuf, String),
    now: RwLock<Now>,
}

/// What is in use.
struct Now {
    pem: (Vec<u8>, Vec<u8>),
    config: Arc<ServerConfig>,
}

impl Certificate {
    /// Reads the files of a config.
    ///
    /// # Errors
    /// In words, with the place in the config.
    pub(super) fn load(files: &CertificateFiles) -> Result<Self, String> {
        let file = |it: &Placed<String>| {
            (compile::resolve_path(&it.value, &it.place), format!("{}: `{}`", it.place, it.value))
        };
        let (cert, key) = (file(&files.cert), file(&files.key));
        let pem = (read(&cert)?, read(&key)?);
        let config = config(&pem).map_err(|why| format!("{}: {why}", cert.1))?;
        Ok(Self { cert, key, now: RwLock::new(Now { pem, config }) })
    }

    /// Takes files that were replaced. Those that cannot be used change nothing.
    ///
    /// # Errors
    /// In words, which of them.
    pub(super) fn again(&self) -> Result<bool, String> {
        let pem = (read(&self.cert)?, read(&self.key)?);
        if self.now.read().unwrap_or_else(PoisonError::into_inner).pem == pem {
            return Ok(false);
        }
        let config = config(&pem).map_err(|why| format!("{}: {why}", self.cert.1))?;
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Now { pem, config };
        Ok(true)
    }

    /// Begins TLS with somebody.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let config = Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner).config);
        TlsAcceptor::from(config).accept(stream).await
    }
}

fn read((path, shown): &(PathBuf, String)) -> Result<Vec<u8>, String> {
    disk::read(path, BYTES_MAX).map_err(|why| format!("{shown}: {why}"))
}

fn config((cert, key): &(Vec<u8>, Vec<u8>)) -> Result<Arc<ServerConfig>, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(cert).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    let chain = chain.ok_or("it holds no certificate; it must be PEM")?;
    let key = PrivateKeyDer::from_pem_slice(key)
        .map_err(|_| "its `key` holds no private key; it must be PEM without a passphrase")?;
    let refused = |error| format!("it cannot be used: {error}");
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(refused)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(refused)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({})", self.cert.1)
    }
}
