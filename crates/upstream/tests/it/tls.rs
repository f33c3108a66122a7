use super::kit::{Answer, Net, converse, fetch, get, send, spec, text, world};
use hyper::body::Incoming;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use std::sync::Arc;
use tokio_rustls::TlsAcceptor;
use traffic::FaultCode;
use upstream::{ClientCert, Protocol, TlsSpec, UpstreamSpec, build};

const AT: &str = "192.0.2.1:443";

type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca() -> Ca {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Serves TLS at [`AT`] with a certificate of `ca` for `name`, and tells the version that is spoken.
fn serve(net: &Net, ca: &Ca, name: &str, alpn: &[&[u8]]) {
    let nobody: Arc<dyn ClientCertVerifier> = WebPkiClientVerifier::no_client_auth();
    serve_those(net, ca, name, alpn, nobody);
}

/// The same, to clients that `verifier` lets in.
fn serve_those(
    net: &Net,
    ca: &Ca,
    name: &str,
    alpn: &[&[u8]],
    verifier: Arc<dyn ClientCertVerifier>,
) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new([name.to_owned()]).unwrap();
    let certificate = params.signed_by(&key, ca).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let mut accepted = net.listen(AT);
    tokio::spawn(async move {
        while let Some(io) = accepted.recv().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(io) = acceptor.accept(io).await else { return };
                let http2 = io.get_ref().1.alpn_protocol() == Some(b"h2");
                converse(io, http2, Arc::new(version)).await;
            });
        }
    });
}

async fn version(request: http::Request<Incoming>) -> Answer {
    text(&format!("{:?}", request.version()))
}

fn tls(ca: &Ca, server_name: Option<&str>) -> UpstreamSpec {
    let ca_pem = Some(ca.pem().into_bytes());
    let server_name = server_name.map(str::to_owned);
    let tls = TlsSpec { ca_pem, server_name, client: None };
    UpstreamSpec { tls: Some(tls), ..spec(&[AT]) }
}

#[tokio::test]
async fn http2_is_spoken_where_both_sides_can() {
    let (net, ca) = (Arc::new(Net::default()), ca());
    serve(&net, &ca, "inner.test", &[b"h2", b"http/1.1"]);
    let world = world(&net);
    let upstream = build(tls(&ca, Some("inner.test")), &world).unwrap();
    assert_eq!(fetch(&upstream).await, "HTTP/2.0");
    let http1 = UpstreamSpec { protocol: Protocol::Http1, ..tls(&ca, Some("inner.test")) };
    let upstream = build(http1, &world).unwrap();
    assert_eq!(fetch(&upstream).await, "HTTP/1.1");
}

#[tokio::test]
async fn http1_is_spoken_where_the_target_knows_no_other() {
    let (net, ca) = (Arc::new(Net::default()), ca());
    serve(&net, &ca, "inner.test", &[]);
    let world = world(&net);
    let upstream = build(tls(&ca, Some("inner.test")), &world).unwrap();
    let sent: Vec<_> = (0..3).map(|_| tokio::spawn(send(&upstream, get()))).collect();
    for sent in sent {
        assert_eq!(super::kit::read(sent.await.unwrap().unwrap()).await, "HTTP/1.1");
    }
    let http2 = UpstreamSpec { protocol: Protocol::Http2, ..tls(&ca, Some("inner.test")) };
    let failed = send(&build(http2, &world).unwrap(), get()).await.unwrap_err();
    assert_eq!(failed.fault.code, FaultCode::ConnectFailed);
}

#[tokio::test]
async fn an_address_in_the_certificate_is_verified_too() {
    let (net, ca) = (Arc::new(Net::default()), ca());
    serve(&net, &ca, "192.0.2.1", &[b"h2"]);
    let upstream = build(tls(&ca, None), &world(&net)).unwrap();
    assert_eq!(fetch(&upstream).await, "HTTP/2.0");
}

#[tokio::test]
async fn another_name_or_another_ca_is_refused() {
    let (net, ca, other) = (Arc::new(Net::default()), ca(), ca());
    serve(&net, &ca, "inner.test", &[b"h2"]);
    let world = world(&net);
    for spec in [tls(&ca, Some("outer.test")), tls(&ca, None), tls(&other, Some("inner.test"))] {
        let upstream = build(spec, &world).unwrap();
        let failed = send(&upstream, get()).await.unwrap_err();
        assert_eq!(failed.fault.code, FaultCode::ConnectFailed);
        let cause = failed.fault.cause.unwrap().to_string();
        assert!(cause.contains("certificate"), "{cause}");
        assert!(failed.unsent.is_some());
    }
}

#[tokio::test]
async fn a_connection_made_under_other_tls_settings_is_not_used() {
    let (net, ca, other) = (Arc::new(Net::default()), ca(), ca());
    serve(&net, &ca, "inner.test", &[b"h2"]);
    let world = world(&net);
    let old = build(tls(&ca, Some("inner.test")), &world).unwrap();
    fetch(&old).await;
    let new = build(tls(&other, Some("inner.test")), &world).unwrap();
    let failed = send(&new, get()).await.unwrap_err();
    assert_eq!(failed.fault.code, FaultCode::ConnectFailed);
    let again = build(tls(&ca, Some("inner.test")), &world).unwrap();
    fetch(&again).await;
    assert_eq!(net.dials(), 2, "the old settings still have their connection");
}

#[tokio::test]
async fn settings_that_can_never_work_are_refused_when_built() {
    let world = world(&Arc::default());
    let mut spec = tls(&ca(), Some("not a name"));
    let error = build(spec.clone(), &world).unwrap_err();
    assert_eq!(error, "`not a name` is not a name that a certificate can hold");
    spec.tls = Some(TlsSpec { ca_pem: Some(Vec::new()), server_name: None, client: None });
    let error = build(spec, &world).unwrap_err();
    assert_eq!(error, "the CA holds no certificate; give it as PEM");
}

fn client_cert(ca: &Ca) -> ClientCert {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["gateway".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, ca).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = default_provider().key_provider.load_private_key(key).unwrap();
    ClientCert(Arc::new(CertifiedKey::new(vec![certificate.der().clone()], key)))
}

#[tokio::test]
async fn a_target_that_asks_for_a_certificate_gets_the_one_of_the_config() {
    for alpn in [&b"h2"[..], b"http/1.1"] {
        let (net, ca, other) = (Arc::new(Net::default()), ca(), ca());
        let mut roots = RootCertStore::empty();
        roots.add(ca.der().clone()).unwrap();
        let provider = Arc::new(default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        serve_those(&net, &ca, "inner.test", &[alpn], verifier);
        let world = world(&net);
        let spec = |client| {
            let mut spec = tls(&ca, Some("inner.test"));
            spec.tls.as_mut().unwrap().client = client;
            spec
        };
        let upstream = build(spec(Some(client_cert(&ca))), &world).unwrap();
        assert!(fetch(&upstream).await.starts_with("HTTP/"));
        for client in [None, Some(client_cert(&other))] {
            // No connection of the one above is used, though it is open still.
            let upstream = build(spec(client), &world).unwrap();
            let failed = send(&upstream, get()).await.unwrap_err();
            let codes = [FaultCode::ConnectFailed, FaultCode::UpstreamReset];
            assert!(codes.contains(&failed.fault.code), "{:?}", failed.fault);
        }
    }
}
