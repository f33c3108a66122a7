//! What clients show of themselves by TLS, and whether it is enough for the host they ask for.

use base::Clock;
use rustls::ServerConnection;
use rustls::pki_types::{CertificateDer, UnixTime};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::SystemTime;
use traffic::exchange::{Connection, Exchange, TlsFacts};
use traffic::tls::{AlternativeName, ClientAuth, ClientCertificate, ListenerTls, ShownByClient};
use traffic::{Fault, FaultCode, Stage};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// What the client showed in a handshake that asked it to.
pub(crate) fn shown(session: &ServerConnection, auth: &ClientAuth) -> ShownByClient {
    let chain: Vec<_> = session.peer_certificates().unwrap_or_default().to_vec();
    let certificate = chain.first().map(read);
    ShownByClient::new(auth, chain, certificate)
}

/// What a certificate says. The handshake has verified it, so it can be read; were it not so, it would say nothing.
fn read(der: &CertificateDer<'static>) -> ClientCertificate {
    read_der(der).unwrap_or_else(|| ClientCertificate {
        fingerprint: fingerprint(der),
        ..Default::default()
    })
}

fn fingerprint(der: &[u8]) -> Box<str> {
    hexadecimal(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der).as_ref())
}

/// What a certificate in its DER form says, if it is one and nothing else.
#[must_use]
pub fn read_der(der: &[u8]) -> Option<ClientCertificate> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|names| &names.value.general_names);
    Some(ClientCertificate {
        subject: certificate.subject().to_string().into(),
        issuer: certificate.issuer().to_string().into(),
        names: names.filter_map(name).collect(),
        serial: hexadecimal(certificate.raw_serial()),
        fingerprint: fingerprint(der),
    })
}

fn name(name: &GeneralName<'_>) -> Option<AlternativeName> {
    let (kind, text) = match name {
        GeneralName::DNSName(text) => ("dns", text.to_ascii_lowercase()),
        GeneralName::RFC822Name(text) => ("email", (*text).to_owned()),
        GeneralName::URI(text) => ("uri", (*text).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(std::net::IpAddr::from);
            let ip = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(std::net::IpAddr::from));
            ("ip", ip.ok()?.to_string())
        }
        _ => return None,
    };
    Some(AlternativeName { kind, text: text.into() })
}

fn hexadecimal(bytes: &[u8]) -> Box<str> {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").ok();
    }
    text.into()
}

/// Whether the connection was made with what the host of the request demands of clients. A client may send requests
/// for several hosts over one connection (RFC 9113, 9.1.1), but not to one that demands more of it.
pub(crate) fn check(exchange: &mut Exchange, tls: Option<&ListenerTls>) -> Result<(), Fault> {
    let shown = exchange.connection.tls.as_ref().and_then(|facts| facts.client.as_ref());
    // A reload may have ended TLS here, and what is asked of clients.
    let host = &exchange.request.host;
    let mut demands = tls.into_iter().flat_map(|tls| tls.demands(host)).peekable();
    if demands.peek().is_none() {
        if shown.is_some() {
            // It was shown to another host, by whose authorities this one does not judge.
            forget(&mut exchange.connection);
        }
        return Ok(());
    }
    // Certificates are valid by the same clock as in the handshake.
    let now = Clock::System.wall().duration_since(SystemTime::UNIX_EPOCH);
    let now = UnixTime::since_unix_epoch(now.unwrap_or_default());
    if shown.is_some_and(|shown| demands.all(|auth| shown.satisfies(auth, now))) {
        return Ok(());
    }
    Err(Fault::new(Stage::Admit, FaultCode::Misdirected).closing())
}

fn forget(connection: &mut Arc<Connection>) {
    let tls = connection.tls.clone().map(|facts| TlsFacts { client: None, ..facts });
    *connection = Arc::new(Connection { tls, ..Connection::clone(connection) });
}
