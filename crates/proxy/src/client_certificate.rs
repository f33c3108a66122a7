//! What clients show of themselves by TLS, and whether it is enough for the host they ask for.

use base::Clock;
use base::certificate_name::{Attribute, AttributeValue, DistinguishedName, alternative_name};
use rustls::ServerConnection;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use traffic::exchange::{Connection, Exchange, TlsFacts};
use traffic::tls::{AlternativeName, ClientAuth, ClientCertificate, ListenerTls, ShownByClient};
use traffic::{Fault, FaultCode, Stage};
use x509_parser::asn1_rs::{Tag, ToDer as _};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{AttributeTypeAndValue, FromDer as _, X509Certificate, X509Name};
use x509_parser::time::ASN1Time;

/// What the client showed in a handshake that asked it to.
pub(crate) fn shown(session: &ServerConnection, auth: &ClientAuth) -> ShownByClient {
    let chain: Vec<_> = session.peer_certificates().unwrap_or_default().to_vec();
    let certificate = chain.first().map(read);
    let certificate = certificate.map(|read| traced(read, &chain, auth));
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
        subject: distinguished(certificate.subject()),
        issuer: distinguished(certificate.issuer()),
        names: names.filter_map(name).collect(),
        serial: hexadecimal(certificate.raw_serial()),
        until: ends(certificate.validity().not_after),
        fingerprint: fingerprint(der),
        ..ClientCertificate::default()
    })
}

/// The text of a name; empty where it cannot be read, which no consumer has.
fn distinguished(name: &X509Name<'_>) -> Box<str> {
    let parts = name.iter_rdn().map(|part| part.iter().map(attribute).collect());
    let parts: Option<Vec<Vec<Attribute>>> = parts.collect();
    parts.map(DistinguishedName::new).unwrap_or_default().to_string().into()
}

fn attribute(read: &AttributeTypeAndValue<'_>) -> Option<Attribute> {
    let value = read.attr_value();
    let is_text = matches!(
        value.tag(),
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString
    );
    let text = std::str::from_utf8(value.data).ok().filter(|_| is_text);
    let value = match text {
        Some(text) => AttributeValue::Text(text.to_owned()),
        None => AttributeValue::Der(value.to_der_vec().ok()?),
    };
    Some(Attribute { oid: read.attr_type().to_id_string(), value })
}

/// Finds the authority that a certificate which was verified leads to. What it says of its issuer is not enough: any
/// authority that the listener trusts can sign another one that has the same name as a third.
pub(crate) fn traced(
    read: ClientCertificate,
    chain: &[CertificateDer<'static>],
    auth: &ClientAuth,
) -> ClientCertificate {
    let now = Clock::System.wall().duration_since(SystemTime::UNIX_EPOCH);
    let now = UnixTime::since_unix_epoch(now.unwrap_or_default());
    let trusted = auth.authorities.iter();
    let trusted: Vec<_> = trusted
        .filter_map(|der| Some((der, webpki::anchor_from_trusted_cert(der).ok()?)))
        .collect();
    let anchors: Vec<TrustAnchor<'_>> = trusted.iter().map(|(_, anchor)| anchor.clone()).collect();
    let Some((leaf, others)) = chain.split_first() else { return read };
    let Ok(leaf) = webpki::EndEntityCert::try_from(leaf) else { return read };
    let usage = webpki::KeyUsage::client_auth();
    // It was verified whether it is revoked.
    let path = leaf.verify_for_usage(auth.algorithms.all, &anchors, others, now, usage, None, None);
    let Ok(path) = path else { return read };
    let der = trusted.iter().find(|(_, anchor)| {
        anchor.subject == path.anchor().subject
            && anchor.subject_public_key_info == path.anchor().subject_public_key_info
    });
    let Some((der, _)) = der else { return read };
    let authority = X509Certificate::from_der(der);
    let authority = authority.map(|(_, it)| distinguished(it.subject())).unwrap_or_default();
    let digest = |der: &[u8]| format!("sha256:{}", fingerprint(der)).into_boxed_str();
    let between = path.intermediate_certificates().map(|it| digest(&it.der()));
    let authorities = between.chain([digest(der)]).collect();
    ClientCertificate { authority, authorities, ..read }
}

fn name(name: &GeneralName<'_>) -> Option<AlternativeName> {
    let (kind, text) = match name {
        GeneralName::DNSName(text) => ("dns", (*text).to_owned()),
        GeneralName::RFC822Name(text) => ("email", (*text).to_owned()),
        GeneralName::URI(text) => ("uri", (*text).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(std::net::IpAddr::from);
            let ip = v4.or_else(|_| <[u8; 16]>::try_from(*bytes).map(std::net::IpAddr::from));
            ("ip", ip.ok()?.to_string())
        }
        _ => return None,
    };
    // What is no name of its kind is a name nevertheless, but no consumer's.
    let text = alternative_name(kind, &text).unwrap_or(text);
    Some(AlternativeName { kind, text: text.into() })
}

fn ends(not_after: ASN1Time) -> Option<SystemTime> {
    let seconds = u64::try_from(not_after.timestamp()).unwrap_or(0);
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
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
    let is_asked = tls.is_some_and(|tls| tls.demands(host).next().is_some());
    if !is_asked {
        if shown.is_some() {
            // It was shown to another host, by whose authorities this one does not judge.
            forget(&mut exchange.connection);
        }
        return Ok(());
    }
    if is_enough(tls, host, shown.map(|shown| &**shown)) {
        return Ok(());
    }
    Err(Fault::new(Stage::Admit, FaultCode::Misdirected).closing())
}

/// Whether what a client showed satisfies all that a host demands now.
pub(crate) fn is_enough(
    tls: Option<&ListenerTls>,
    host: &str,
    shown: Option<&ShownByClient>,
) -> bool {
    let mut demands = tls.into_iter().flat_map(|tls| tls.demands(host)).peekable();
    if demands.peek().is_none() {
        return true;
    }
    // Certificates are valid by the same clock as in the handshake.
    let now = Clock::System.wall().duration_since(SystemTime::UNIX_EPOCH);
    let now = UnixTime::since_unix_epoch(now.unwrap_or_default());
    shown.is_some_and(|shown| demands.all(|auth| shown.satisfies(auth, now)))
}

fn forget(connection: &mut Arc<Connection>) {
    let tls = connection.tls.clone().map(|facts| TlsFacts { client: None, ..facts });
    *connection = Arc::new(Connection { tls, ..Connection::clone(connection) });
}
