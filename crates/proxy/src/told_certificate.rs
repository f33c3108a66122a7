//! Certificates of clients of which trusted proxies tell: `Client-Cert` and `Client-Cert-Chain` (RFC 9440). Whatever a
//! proxy says there that is not exactly one certificate ends the request: nobody can tell then who the client is.

use crate::client_certificate::{read_der, traced};
use aws_lc_rs::digest::{Context, SHA256};
use base::Clock;
use base::caps::{TOLD_CERTIFICATE_BYTES_MAX, TOLD_CHAIN_MAX};
use http::HeaderValue;
use http::header::{HeaderName, WWW_AUTHENTICATE};
use rustls::pki_types::{CertificateDer, UnixTime};
use sfv::{BareItem, Item, List, ListEntry, Parser};
use std::sync::Arc;
use std::time::SystemTime;
use traffic::exchange::Exchange;
use traffic::forwarded::ToldCertificate;
use traffic::tls::{ClientAuth, ClientCertificate, ShownByClient, ToldCertificates};
use traffic::{Fault, FaultCode, Headers, Stage};

/// The header with the client's own certificate.
pub const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
/// The header with those that lead from it to an authority.
pub const CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");

/// What a trusted peer tells of the client's certificate.
///
/// # Errors
/// `bad_request` for what is no certificate, `credentials_invalid` for one that the listener's own authorities did not
/// sign.
pub(crate) fn read(
    exchange: &Exchange,
    certificates: &ToldCertificates,
) -> Result<ToldCertificate, Fault> {
    let headers = &exchange.request.headers;
    let (is_there, has_chain) =
        (headers.contains(&CLIENT_CERT), headers.contains(&CLIENT_CERT_CHAIN));
    if !is_there && !has_chain {
        return Ok(ToldCertificate::Nothing);
    }
    let digest = digest(headers);
    if let Some(shown) = certificates.find(&digest, exchange.arrived) {
        return Ok(ToldCertificate::Shown(shown));
    }
    let mut shown = parse(headers).map_err(|why| {
        Fault::new(Stage::Admit, FaultCode::BadRequest)
            .detail("a trusted proxy's Client-Cert is not a certificate")
            .cause(why)
    })?;
    let told = shown.certificate.take().unwrap_or_default();
    shown.certificate = Some(match &certificates.auth {
        Some(auth) => {
            verify(&shown, auth)?;
            traced(told, &shown.chain, auth)
        }
        // The proxy vouches for whom it names.
        None => ClientCertificate { authority: told.issuer.clone(), ..told },
    });
    let shown = Arc::new(shown);
    certificates.remember(digest, &shown, exchange.arrived);
    Ok(ToldCertificate::Shown(shown))
}

fn digest(headers: &Headers) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for (name, mark) in [(&CLIENT_CERT, b"c"), (&CLIENT_CERT_CHAIN, b"h")] {
        for value in headers.all(name) {
            context.update(mark);
            context.update(&(value.len() as u64).to_be_bytes());
            context.update(value.as_bytes());
        }
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

/// Reads what the two headers of a request say.
///
/// # Errors
/// Why they tell of no certificate.
pub fn parse(headers: &Headers) -> Result<ShownByClient, &'static str> {
    let mut values = headers.all(CLIENT_CERT);
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err("there is not exactly one Client-Cert");
    };
    let long = || headers.all(CLIENT_CERT_CHAIN).map(HeaderValue::len).sum::<usize>();
    if value.len() > TOLD_CERTIFICATE_BYTES_MAX || long() > TOLD_CERTIFICATE_BYTES_MAX {
        return Err("Client-Cert or Client-Cert-Chain is too long");
    }
    let item: Item =
        Parser::new(value.as_bytes()).parse().map_err(|_| "Client-Cert is no structured field")?;
    let BareItem::ByteSequence(der) = item.bare_item else {
        return Err("Client-Cert is no sequence of bytes (`:…:`)");
    };
    let certificate = read_der(&der).ok_or("Client-Cert holds no certificate in DER")?;
    let mut chain = vec![CertificateDer::from(der)];
    for value in headers.all(CLIENT_CERT_CHAIN) {
        let list: List = Parser::new(value.as_bytes())
            .parse()
            .map_err(|_| "Client-Cert-Chain is no structured field")?;
        for entry in list {
            let ListEntry::Item(Item { bare_item: BareItem::ByteSequence(der), .. }) = entry else {
                return Err("Client-Cert-Chain has members that are no sequences of bytes");
            };
            if chain.len() > TOLD_CHAIN_MAX {
                return Err("Client-Cert-Chain has too many certificates");
            }
            chain.push(CertificateDer::from(der));
        }
    }
    Ok(ShownByClient::told(chain, certificate))
}

/// Certificates are valid by the same clock as in handshakes.
fn verify(shown: &ShownByClient, auth: &ClientAuth) -> Result<(), Fault> {
    let now = Clock::System.wall().duration_since(SystemTime::UNIX_EPOCH);
    if shown.satisfies(auth, UnixTime::since_unix_epoch(now.unwrap_or_default())) {
        return Ok(());
    }
    let challenge = HeaderValue::from_static("Certificate realm=\"yett\"");
    Err(Fault::new(Stage::Admit, FaultCode::CredentialsInvalid)
        .header(WWW_AUTHENTICATE, challenge)
        .detail("the client certificate is not valid")
        .cause("the authorities of `trusted_proxies.client_cert` do not vouch for it"))
}
