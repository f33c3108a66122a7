//! What a connection that waits for its next request holds in memory.

use rustls::ClientConfig;
use std::sync::Arc;
use std::thread;
use testkit::gateway::client_tls_with;
use testkit::{Authority, Surroundings, TestGateway};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio_rustls::TlsConnector;

const CONFIG: &str = "version: 1
listeners:
  open: { bind: '127.0.0.1:80' }
  secure: { bind: '127.0.0.1:443', tls: { certificates: [{ cert: a.pem, key: a.key }] } }
apis: { all: { public: a test, routes: [{ GET /: { policies: [{ respond: { body: hi } }] } }] } }
";
const CLIENT: &str = "192.0.2.1:4000";
/// The buffers of the pipe between client and gateway, as the test kit makes it.
const PIPE_BYTES: usize = 64 << 10;
/// What a connection may take; three quarters of it are what it takes at least, or it is not counted.
const OPEN_BYTES_MAX: i64 = 4_608;
/// In this kit a connection takes more than behind a socket, where the whole program grows by 11,300 bytes for each.
const TLS_BYTES_MAX: i64 = 12_800;

trait Io: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Makes a request and keeps the connection.
async fn ask(io: DuplexStream, tls: Option<Arc<ClientConfig>>) -> Box<dyn Io> {
    let mut io: Box<dyn Io> = match tls {
        None => Box::new(io),
        Some(tls) => {
            let name = "a.test".try_into().unwrap();
            Box::new(TlsConnector::from(tls).connect(name, io).await.unwrap())
        }
    };
    io.write_all(b"GET / HTTP/1.1\r\nhost: a.test\r\n\r\n").await.unwrap();
    let mut heard = Vec::new();
    while !heard.ends_with(b"hi") {
        assert!(io.read_buf(&mut heard).await.unwrap() > 0, "an answer");
    }
    io
}

/// A connection that was asked once. The client has a thread of its own, whose memory is not counted.
fn connected(
    [served, client]: [&Runtime; 2],
    gateway: &TestGateway,
    tls: Option<Arc<ClientConfig>>,
) -> Box<dyn Io> {
    let listener = if tls.is_some() { "secure" } else { "open" };
    let (sender, asked) = oneshot::channel();
    thread::scope(|scope| {
        let io = served.block_on(async { gateway.connect_as(listener, CLIENT) });
        scope.spawn(|| sender.send(client.block_on(ask(io, tls))).ok());
        served.block_on(asked).unwrap()
    })
}

#[test]
fn an_idle_connection_holds_little_memory_also_with_tls() {
    let authority = Authority::new();
    let pair = authority.sign(&["a.test"]);
    let around = Surroundings::of(CONFIG).file("a.pem", pair.cert_pem).file("a.key", pair.key_pem);
    let (served, client) = (runtime(), runtime());
    let both = [&served, &client];
    let gateway = served.block_on(async { TestGateway::within(&around) });
    let tls = client_tls_with(&authority.ca_pem, None);
    let pipe = allocation_counter::measure(|| drop(tokio::io::duplex(PIPE_BYTES))).bytes_total;
    let pipe = i64::try_from(pipe).unwrap();
    for (tls, max) in [(None, OPEN_BYTES_MAX), (Some(tls), TLS_BYTES_MAX)] {
        // The first makes what all share.
        let _first = connected(both, &gateway, tls.clone());
        let mut second = None;
        let taken = allocation_counter::measure(|| {
            second = Some(connected(both, &gateway, tls));
        });
        let each = taken.bytes_current - pipe;
        assert!((max / 4 * 3..=max).contains(&each), "{each} bytes, of {max}");
        drop(second);
    }
}
