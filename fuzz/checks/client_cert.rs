//! Certificates of clients, and how trusted proxies tell of them (RFC 9440): whatever bytes come, a certificate is
//! read in one way, and what is told is what the one certificate says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};
use proxy::client_certificate::read_der;
use proxy::told_certificate::{CLIENT_CERT, CLIENT_CERT_CHAIN, parse};
use traffic::Headers;

/// Checks these bytes as a certificate in DER.
pub(crate) fn check(bytes: &[u8]) {
    let read = read_der(bytes);
    let field = format!(":{}:", STANDARD.encode(bytes));
    let told = parse(&headers(&[(CLIENT_CERT, field.as_bytes())]));
    let Some(certificate) = read else {
        assert!(told.is_err(), "what is no certificate is told");
        return;
    };
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let digest: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(*certificate.fingerprint, *digest);
    for name in &certificate.names {
        assert!(["dns", "email", "uri", "ip"].contains(&name.kind));
        match name.kind {
            "dns" => assert_eq!(*name.text, *name.text.to_ascii_lowercase()),
            "ip" => drop(name.text.parse::<std::net::IpAddr>().unwrap()),
            _ => {}
        }
    }
    // The same with another byte is another certificate, or none.
    let longer = [bytes, b"\0"].concat();
    assert!(read_der(&longer).is_none(), "a certificate has something behind it");
    if let Ok(told) = told {
        let said = told.certificate.unwrap();
        assert_eq!((&said.subject, &said.issuer), (&certificate.subject, &certificate.issuer));
        assert_eq!((said.names, said.serial), (certificate.names, certificate.serial));
        assert_eq!(told.chain.len(), 1);
        assert_eq!(&*told.chain[0], bytes);
    }
}

/// Checks these bytes as values of the two headers: the first line as `Client-Cert`, each other as `Client-Cert-Chain`.
pub(crate) fn check_headers(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let mut fields = vec![(CLIENT_CERT, lines.next().unwrap_or_default())];
    fields.extend(lines.map(|line| (CLIENT_CERT_CHAIN, line)));
    let Ok(told) = parse(&headers(&fields)) else { return };
    let (own, others) = told.chain.split_first().unwrap();
    let said = told.certificate.unwrap();
    assert_eq!(said.fingerprint, read_der(own).unwrap().fingerprint);
    assert!(others.len() <= 10, "a chain of {}", others.len());
}

fn headers(fields: &[(HeaderName, &[u8])]) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in fields {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.append(name.clone(), value);
        }
    }
    headers
}
