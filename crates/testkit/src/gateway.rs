//! A whole gateway in memory: config text and request text in, answer text out. The test owns the
//! clock, and no port is opened.

use crate::backend::{Backend, Backends, MemoryDial, MemoryResolve};
use crate::certificates::Pair;
use crate::message::{self, Kind};
use crate::surroundings::{ROOT, Surroundings};
use base::shutdown::{self, Signal, Trigger};
use base::{Clock, Report};
use compile::{Compiled, Inputs, compile};
use model::load::load;
use proxy::connection::Rewound;
use proxy::{Gateway, Worker, connection};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use telemetry::trace::{TraceSink, Traced};
use telemetry::{AccessFormat, AccessLog, AccessSettings, AccessTarget, Metrics};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use traffic::State;
use traffic::directory::Directory;
use traffic::exchange::Connection;
use traffic::fault::FAULT_NAMES;
use upstream::World;

/// Where the backend of [`TestGateway::with_policies`] is.
pub const BACKEND: &str = "10.0.0.1:80";
/// Where clients come from, unless a test says otherwise.
const CLIENT: &str = "192.0.2.7:4711";

/// Spans as the data plane hands them over.
#[derive(Debug, Default)]
pub struct Spans(Mutex<Vec<Traced>>);

impl TraceSink for Spans {
    fn take(&self, traced: Traced) {
        self.0.lock().expect("no test panics in between").push(traced);
    }
}

impl Spans {
    /// What came since the last look, one element for each request.
    #[must_use]
    pub fn taken(&self) -> Vec<Traced> {
        std::mem::take(&mut self.0.lock().expect("no test panics in between"))
    }
}

/// A gateway in memory.
#[derive(Debug)]
pub struct TestGateway {
    /// The data plane.
    pub gateway: Arc<Gateway>,
    /// The backends it can reach.
    pub backends: Arc<Backends>,
    /// Time, moved by [`TestGateway::advance`].
    pub clock: Clock,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// The credentials it knows.
    pub directory: Arc<Directory>,
    /// State that outlives reloads.
    pub state: Arc<State>,
    /// How its config wants the access log to be; nothing is written unless the test says so.
    pub access_log: AccessSettings,
    /// The spans of requests that were traced, in place of a collector.
    pub spans: Arc<Spans>,
    worker: Arc<Worker>,
    world: World,
    trigger: Trigger,
    signal: Signal,
}

impl TestGateway {
    /// A gateway of this config (one file, no others around it). Must run on a Tokio runtime.
    ///
    /// # Panics
    /// When the config has an error; the report is the message.
    #[must_use]
    pub fn new(config: &str) -> Self {
        Self::within(&Surroundings::of(config))
    }

    /// A gateway of the config `yett.yaml` with what lies around it.
    ///
    /// # Panics
    /// When the config has an error; the report is the message.
    #[must_use]
    pub fn within(surroundings: &Surroundings) -> Self {
        let clock = Clock::manual();
        let metrics = Metrics::new(1, FAULT_NAMES);
        let backends = Arc::new(Backends::default());
        let state = Arc::new(State::new());
        let directory = Arc::new(Directory::new());
        let world = World {
            workers: 1,
            clock: clock.clone(),
            metrics: Arc::clone(&metrics),
            state: Arc::clone(&state),
            dial: Arc::new(MemoryDial(Arc::clone(&backends))),
            resolve: Arc::new(MemoryResolve),
            background: tokio::runtime::Handle::current(),
        };
        let spans = Arc::default();
        let compiled =
            compile_within(surroundings, &world, &directory, &spans).expect("the config is fine");
        directory.replace(compiled.credentials);
        let log = AccessLog::open(
            AccessSettings::new(AccessFormat::Json, AccessTarget::Off),
            Arc::clone(&metrics),
        )
        .expect("no file is opened");
        let access_log = compiled.access_log;
        let users = Arc::clone(&directory);
        let gateway =
            Gateway::new(compiled.snapshot, clock.clone(), Arc::clone(&metrics), log, users);
        let worker = Worker::new(Arc::clone(&gateway), 0);
        let (trigger, signal) = shutdown::channel();
        Self {
            gateway,
            backends,
            clock,
            metrics,
            directory,
            state,
            access_log,
            spans,
            worker,
            world,
            trigger,
            signal,
        }
    }

    /// A gateway with one public route for everything, these policies (a YAML list in flow style, such
    /// as `[{ body_limit: 1KiB }]`), and a backend that answers with what it saw.
    #[must_use]
    pub fn with_policies(policies: &str) -> Self {
        let gateway = Self::new(&format!(
            "version: 1\nlisteners: {{ public: {{ bind: '127.0.0.1:8080' }} }}\nupstreams: {{ echo: {{ targets: ['{BACKEND}'] }} }}\napis:\n  test:\n    upstream: echo\n    public: a test\n    policies: {policies}\n"
        ));
        gateway.put(BACKEND, Backend::echo());
        gateway
    }

    /// Puts a backend at an address.
    pub fn put(&self, address: &str, backend: Backend) {
        self.backends.put(address.parse().expect("an address"), backend);
    }

    /// Puts a backend at an address that the test plays itself.
    #[must_use]
    pub fn play(&self, address: &str) -> mpsc::Receiver<DuplexStream> {
        let (backend, connections) = Backend::played();
        self.put(address, backend);
        connections
    }

    /// Serves by another config from now on.
    ///
    /// # Errors
    /// The report, if the config has an error; nothing changes then.
    pub fn reload(&self, config: &str) -> Result<(), String> {
        self.reload_within(&Surroundings::of(config))
    }

    /// Serves by the config `yett.yaml` with what lies around it from now on.
    ///
    /// # Errors
    /// The report, if the config has an error; nothing changes then.
    pub fn reload_within(&self, surroundings: &Surroundings) -> Result<(), String> {
        let compiled = compile_within(surroundings, &self.world, &self.directory, &self.spans)?;
        self.directory.replace(compiled.credentials);
        self.gateway.swap(compiled.snapshot);
        self.state.sweep();
        Ok(())
    }

    /// Moves the gateway's clock.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(by);
        self.worker.tick();
    }

    /// Tells the gateway to drain.
    pub fn drain(&self) {
        self.trigger.advance(shutdown::Phase::Draining);
    }

    /// Ends what draining has left.
    pub fn stop(&self) {
        self.trigger.advance(shutdown::Phase::Stopping);
    }

    /// Opens a client's connection to the listener `public`.
    #[must_use]
    pub fn connect(&self) -> DuplexStream {
        self.connect_from(CLIENT)
    }

    /// Opens a connection from this address.
    #[must_use]
    pub fn connect_from(&self, peer: &str) -> DuplexStream {
        self.connect_as("public", peer)
    }

    /// Opens a connection from this address to this listener, by all its rules: who announces whom it carries, how
    /// many may come, TLS.
    ///
    /// # Panics
    /// When there is no such listener.
    #[must_use]
    pub fn connect_as(&self, listener: &str, peer: &str) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        let part = self.gateway.snapshot.load().listener(listener).cloned();
        let part = part.expect("a listener");
        let (worker, signal) = (Arc::clone(&self.worker), self.signal.clone());
        let served = connection::serve_client(
            worker,
            part,
            plain(listener, peer),
            Rewound::new(theirs),
            signal,
        );
        // How a connection ends is for the test to see on its own side.
        drop(tokio::spawn(async move { drop(served.await) }));
        ours
    }

    /// Opens a connection to this listener, without TLS whatever the listener speaks.
    #[must_use]
    pub fn connect_to(&self, listener: &str) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(64 << 10);
        self.serve(plain(listener, CLIENT), theirs);
        ours
    }

    /// Opens a TLS connection to this listener, asking for `name` and trusting the authority `ca_pem`.
    ///
    /// # Errors
    /// Why the handshake failed.
    ///
    /// # Panics
    /// When the listener speaks no TLS.
    pub async fn connect_tls(
        &self,
        listener: &str,
        name: &str,
        ca_pem: &str,
    ) -> io::Result<TlsStream<DuplexStream>> {
        self.connect_tls_with(listener, name, client_tls(ca_pem)).await
    }

    /// Opens a TLS connection to this listener, asking for `name`, as this client.
    ///
    /// # Errors
    /// Why the handshake failed, as far as the client learns of it.
    ///
    /// # Panics
    /// When there is no such listener, or `name` is none.
    pub async fn connect_tls_with(
        &self,
        listener: &str,
        name: &str,
        client: Arc<ClientConfig>,
    ) -> io::Result<TlsStream<DuplexStream>> {
        let name = ServerName::try_from(name.to_owned()).expect("a name");
        let theirs = self.connect_as(listener, CLIENT);
        TlsConnector::from(client).connect(name, theirs).await
    }

    fn serve<I: connection::Stream>(&self, connection: Connection, io: I) {
        let worker = Arc::clone(&self.worker);
        let signal = self.signal.clone();
        drop(tokio::spawn(async move {
            // How a connection ends is for the test to see on its own side.
            drop(connection::serve_io(worker, connection, Rewound::new(io), signal).await);
        }));
    }

    /// Has its worker come so late to what is ready for it, twice in a row and for a second at least.
    pub fn late(&self, delay: Duration) {
        for _ in 0..2 {
            self.worker.came_late(delay, delay.max(Duration::from_millis(500)));
        }
    }

    /// Sends one request, written with plain line breaks, and returns the answer in the same form,
    /// without `date` and `x-request-id`, which differ each time. A missing `host` is added.
    pub async fn ask(&self, request: &str) -> String {
        self.ask_on(&mut self.connect(), request).await
    }

    /// Sends one request on an open connection.
    pub async fn ask_on<I>(&self, io: &mut I, request: &str) -> String
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let request = with_host(request);
        let kind = if request.starts_with("HEAD ") { Kind::HeadAnswer } else { Kind::Answer };
        // The gateway may refuse before it has read everything.
        drop(io.write_all(&message::wire(&request)).await);
        readable(&message::read(io, kind).await)
    }

    /// Sends bytes as they are and returns everything that comes back until the gateway closes or
    /// waits for more.
    pub async fn ask_raw(&self, bytes: &[u8]) -> String {
        let mut io = self.connect();
        drop(io.write_all(bytes).await);
        readable(&message::read(&mut io, Kind::Answer).await)
    }

    /// The requests the backends saw, as text.
    #[must_use]
    pub fn seen(&self) -> Vec<String> {
        let text =
            |seen: crate::backend::Seen| String::from_utf8_lossy(&seen.request).replace('\r', "");
        self.backends.seen().into_iter().map(text).collect()
    }

    /// The value of one series in the metrics, such as `yett_faults_total{code="no_route"}`.
    #[must_use]
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.metrics.encode();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).unwrap_or(0.0)
    }
}

fn plain(listener: &str, peer: &str) -> Connection {
    let peer: SocketAddr = peer.parse().expect("an address");
    let local = SocketAddr::from(([127, 0, 0, 1], 8080));
    Connection::plain(Arc::from(listener), peer, local)
}

/// TLS of a client that trusts one authority and speaks HTTP/1.1.
fn client_tls(ca_pem: &str) -> Arc<ClientConfig> {
    client_tls_with(ca_pem, None)
}

/// TLS of a client that trusts one authority, shows a certificate if it has one, and speaks HTTP/1.1.
///
/// # Panics
/// When a certificate or key is none.
#[must_use]
pub fn client_tls_with(ca_pem: &str, pair: Option<&Pair>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(ca_pem.as_bytes()).expect("a certificate");
    roots.add(ca).expect("an authority");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider knows TLS 1.3");
    let config = config.with_root_certificates(roots);
    let Some(pair) = pair else { return Arc::new(config.with_no_client_auth()) };
    let own = CertificateDer::pem_slice_iter(pair.cert_pem.as_bytes());
    let own = own.collect::<Result<_, _>>().expect("certificates");
    let key = PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).expect("a key");
    Arc::new(config.with_client_auth_cert(own, key).expect("they fit"))
}

fn with_host(request: &str) -> String {
    let has_host = request.lines().any(|line| line.to_ascii_lowercase().starts_with("host:"));
    match request.split_once('\n') {
        _ if has_host => request.to_owned(),
        Some((first, rest)) => format!("{first}\nhost: api.test\n{rest}"),
        None => format!("{request}\nhost: api.test\n"),
    }
}

fn readable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n");
    let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
    let volatile = |line: &&str| !line.starts_with("date:") && !line.starts_with("x-request-id:");
    let head: Vec<&str> = head.lines().filter(volatile).collect();
    if body.is_empty() { head.join("\n") } else { format!("{}\n\n{body}", head.join("\n")) }
}

/// Compiles a config as a gateway would.
///
/// # Errors
/// The report, if it has an error.
fn compile_within(
    surroundings: &Surroundings,
    world: &World,
    directory: &Arc<Directory>,
    spans: &Arc<Spans>,
) -> Result<Compiled, String> {
    let loaded = load(ROOT, surroundings);
    let config = loaded.config.ok_or_else(|| loaded.report.to_string())?;
    no_errors(&loaded.report)?;
    let config = surroundings.joined(&config).map_err(|report| report.to_string())?;
    let compiled = compile(
        &config,
        Inputs {
            outside: surroundings,
            upstream: &|spec| upstream::build(spec, world),
            world: Some(world),
            outbound: None,
            access: None,
            stores: None,
            names: None,
            geo: None,
            exporter: Some(&|_, _| Arc::clone(spans) as _),
            state: &world.state,
            directory,
            metrics: &world.metrics,
            clock: &world.clock,
            revision: &Arc::from("test"),
        },
    );
    no_errors(&compiled.report)?;
    Ok(compiled)
}

fn no_errors(report: &Report) -> Result<(), String> {
    if report.has_errors() { Err(report.to_string()) } else { Ok(()) }
}

/// Reads a config text and returns everything that is wrong with it, as `check` would print it.
#[must_use]
pub fn problems(config: &str) -> String {
    report(&Surroundings::of(config)).to_string()
}

/// Like [`problems`], with files and environment variables around the config.
#[must_use]
pub fn problems_with(config: &str, files: &[(&str, &[u8])], env: &[(&str, &str)]) -> String {
    let mut surroundings = Surroundings::of(config);
    for (name, content) in files {
        surroundings = surroundings.file(name, *content);
    }
    for (name, value) in env {
        surroundings = surroundings.env(name, value);
    }
    report(&surroundings).to_string()
}

/// Reads the config `yett.yaml` with what lies around it and returns everything that is wrong with it.
#[must_use]
pub fn report(surroundings: &Surroundings) -> Report {
    let loaded = load(ROOT, surroundings);
    let mut report = loaded.report;
    let joined = loaded.config.map(|config| surroundings.joined(&config));
    let config = joined.and_then(|joined| joined.map_err(|found| report.absorb(found)).ok());
    if let Some(config) = config {
        let compiled = compile(
            &config,
            Inputs {
                outside: surroundings,
                upstream: &compile::inert,
                world: None,
                outbound: None,
                access: None,
                stores: None,
                names: None,
                geo: None,
                exporter: None,
                state: &State::new(),
                directory: &Arc::default(),
                metrics: &Metrics::new(1, FAULT_NAMES),
                clock: &Clock::manual(),
                revision: &Arc::from("test"),
            },
        );
        report.absorb(compiled.report);
    }
    report.sort();
    report
}
