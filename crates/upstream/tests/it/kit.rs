//! A network in memory, servers for it, and requests.

use base::{Clock, Endpoint};
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Version};
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use telemetry::Metrics;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use traffic::body::BodyError;
use traffic::exchange::{Connection, Exchange};
use traffic::head::{RequestHead, Scheme};
use traffic::upstream::{Call, Failed, Timeouts, Upstream};
use traffic::{Body, BoxFuture, Response};
use upstream::{
    Balance, ChoiceSpec, Dial, HostHeader, Io, Offered, Protocol, Resolve, Resolved, Server,
    TargetHost, TargetSpec, UpstreamSpec, World,
};

pub(crate) type Answer = http::Response<BoxBody<Bytes, Infallible>>;

/// What happens to those who dial an address.
#[derive(Clone)]
pub(crate) enum At {
    Refuses,
    /// As if this process had no file descriptors left.
    Wants,
    Hangs,
    Accepts(mpsc::Sender<DuplexStream>),
}

/// A network in memory.
#[derive(Default)]
pub(crate) struct Net {
    at: Mutex<HashMap<SocketAddr, At>>,
    pub(crate) dialed: Mutex<Vec<SocketAddr>>,
}

impl Net {
    pub(crate) fn put(&self, address: &str, at: At) {
        self.at.lock().unwrap().insert(address.parse().unwrap(), at);
    }

    /// Hands over the server's end of each connection to an address.
    pub(crate) fn listen(&self, address: &str) -> mpsc::Receiver<DuplexStream> {
        let (sender, receiver) = mpsc::channel(1_000);
        self.put(address, At::Accepts(sender));
        receiver
    }

    pub(crate) fn dials(&self) -> usize {
        self.dialed.lock().unwrap().len()
    }

    /// Serves HTTP/1.1 at an address; `answer` makes the answers.
    pub(crate) fn serve<F>(
        &self,
        address: &str,
        answer: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = Answer> + Send + 'static,
    {
        self.accept(address, false, answer);
    }

    /// Serves HTTP/2 at an address.
    pub(crate) fn serve_http2<F>(
        &self,
        address: &str,
        answer: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = Answer> + Send + 'static,
    {
        self.accept(address, true, answer);
    }

    fn accept<F>(
        &self,
        address: &str,
        http2: bool,
        answer: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = Answer> + Send + 'static,
    {
        let mut accepted = self.listen(address);
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Some(io) = accepted.recv().await {
                tokio::spawn(converse(io, http2, Arc::clone(&answer)));
            }
        });
    }
}

/// Serves one connection.
pub(crate) async fn converse<F>(
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    http2: bool,
    answer: Arc<impl Fn(Request<Incoming>) -> F + Send + Sync + 'static>,
) where
    F: Future<Output = Answer> + Send + 'static,
{
    let service = service_fn(move |request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    if http2 {
        let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder.serve_connection(TokioIo::new(io), service).await.ok();
    } else {
        let builder = hyper::server::conn::http1::Builder::new();
        builder.serve_connection(TokioIo::new(io), service).await.ok();
    }
}

impl Dial for Net {
    fn dial<'a>(&'a self, to: &'a Endpoint) -> BoxFuture<'a, io::Result<Box<dyn Io>>> {
        let address = to.ip().expect("an address");
        Box::pin(async move {
            self.dialed.lock().unwrap().push(address);
            let at = self.at.lock().unwrap().get(&address).cloned();
            match at.unwrap_or(At::Refuses) {
                At::Refuses => {
                    // Others get to see that somebody is dialing.
                    tokio::task::yield_now().await;
                    Err(io::ErrorKind::ConnectionRefused.into())
                }
                At::Wants => Err(io::Error::from_raw_os_error(24)),
                At::Hangs => std::future::pending().await,
                At::Accepts(accept) => {
                    let (here, there) = tokio::io::duplex(64 << 10);
                    accept.send(there).await.map_err(|_| io::ErrorKind::ConnectionRefused)?;
                    Ok(Box::new(here) as Box<dyn Io>)
                }
            }
        })
    }
}

/// Answers in the order given; the last one stays.
#[derive(Default)]
pub(crate) struct Names {
    answers: Mutex<VecDeque<Result<Resolved, String>>>,
    pub(crate) asked: AtomicUsize,
    pub(crate) delay: Duration,
    /// Who offers any service.
    pub(crate) servers: Vec<Server>,
}

impl Names {
    pub(crate) fn new(answers: impl IntoIterator<Item = Result<Resolved, String>>) -> Self {
        Self { answers: Mutex::new(answers.into_iter().collect()), ..Self::default() }
    }
}

/// An answer that holds for ten seconds.
pub(crate) fn found(addresses: &[&str]) -> Result<Resolved, String> {
    let addresses: Vec<IpAddr> = addresses.iter().map(|ip| ip.parse().unwrap()).collect();
    Ok(Resolved { addresses, valid_for: Duration::from_secs(10) })
}

impl Resolve for Names {
    fn servers(&self, _service: &str) -> BoxFuture<'_, Result<Offered, String>> {
        Box::pin(async move {
            if self.servers.is_empty() {
                return Err("nobody offers it".to_owned());
            }
            Ok(Offered { servers: self.servers.clone(), valid_for: Duration::from_secs(10) })
        })
    }

    fn resolve(&self, _name: &str) -> BoxFuture<'_, Result<Resolved, String>> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::Relaxed);
            if !self.delay.is_zero() {
                tokio::time::sleep(self.delay).await;
            }
            let mut answers = self.answers.lock().unwrap();
            let answer = answers.pop_front().unwrap_or_else(|| Err("not known".to_owned()));
            if answers.is_empty() {
                answers.push_back(answer.clone());
            }
            answer
        })
    }
}

/// A world over a network in memory.
pub(crate) fn world(net: &Arc<Net>) -> World {
    world_with_names(net, Names::default())
}

pub(crate) fn world_with_names(net: &Arc<Net>, names: Names) -> World {
    World {
        workers: 2,
        clock: Clock::manual(),
        metrics: Metrics::new(2, traffic::fault::FAULT_NAMES),
        state: Arc::new(traffic::State::new()),
        dial: Arc::clone(net) as Arc<dyn Dial>,
        resolve: Arc::new(names),
        background: Handle::current(),
    }
}

pub(crate) fn target(text: &str, weight: u32) -> TargetSpec {
    let (host, port) = text.rsplit_once(':').unwrap();
    let host = host.trim_matches(['[', ']']);
    let host = host.parse().map_or_else(|_| TargetHost::Name(host.to_owned()), TargetHost::Ip);
    TargetSpec { weight, ..TargetSpec::new(text.into(), host, port.parse().unwrap()) }
}

pub(crate) fn spec(targets: &[&str]) -> UpstreamSpec {
    UpstreamSpec {
        name: "orders".into(),
        is_walled: false,
        targets: targets.iter().map(|text| target(text, 1)).collect(),
        balance: Balance::RoundRobin,
        choice: ChoiceSpec::default(),
        protocol: Protocol::Auto,
        tls: None,
        host: HostHeader::Preserve,
        health: None,
        timeouts: Timeouts::default(),
        trouble: upstream::TroubleSpec::default(),
        idle_max: 8,
        idle_timeout: Duration::from_secs(60),
        proxy_protocol: None,
    }
}

pub(crate) fn exchange() -> Exchange {
    let peer: SocketAddr = "192.0.2.1:40000".parse().unwrap();
    let connection = Connection::plain("web".into(), peer, peer);
    let request = RequestHead {
        method: Method::GET,
        scheme: Scheme::Http,
        host: "api.test".into(),
        authority: HeaderValue::from_static("api.test"),
        target: "/".parse().unwrap(),
        version: Version::HTTP_11,
        headers: traffic::Headers::new(),
    };
    let exchange = Exchange::new(&Clock::manual(), 0, Arc::new(connection), request);
    Exchange { arrived: Clock::System.now(), ..exchange }
}

pub(crate) fn get() -> traffic::Request {
    request(Method::GET, "/things?n=1", Body::empty())
}

pub(crate) fn post(body: Body) -> traffic::Request {
    request(Method::POST, "/things", body)
}

fn request(method: Method, target: &'static str, body: Body) -> traffic::Request {
    let mut headers = traffic::Headers::new();
    headers.append(http::header::HOST, HeaderValue::from_static("api.test"));
    traffic::Request {
        method,
        target: PathAndQuery::from_static(target),
        headers,
        body,
        protocol: None,
    }
}

/// Sends a request on worker 0 to whatever target is next.
pub(crate) fn send(
    upstream: &Arc<dyn Upstream>,
    request: traffic::Request,
) -> BoxFuture<'static, Result<Response, Failed>> {
    send_within(upstream, request, upstream.timeouts())
}

pub(crate) fn send_within(
    upstream: &Arc<dyn Upstream>,
    request: traffic::Request,
    timeouts: Timeouts,
) -> BoxFuture<'static, Result<Response, Failed>> {
    let picked = upstream.pick(&exchange()).unwrap();
    picked.target.send(Call { timeouts, ..Call::default() }, request)
}

/// Sends a request and reads the whole answer as text.
pub(crate) async fn fetch(upstream: &Arc<dyn Upstream>) -> String {
    read(send(upstream, get()).await.unwrap()).await
}

pub(crate) async fn read(response: Response) -> String {
    let body = response.body.collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

pub(crate) fn in_flight(upstream: &Arc<dyn Upstream>) -> u64 {
    upstream.status().iter().map(|target| target.in_flight).sum()
}

pub(crate) fn text(text: &str) -> Answer {
    let body = http_body_util::Full::new(Bytes::from(text.to_owned())).boxed();
    http::Response::new(body)
}

/// A body fed by the test; an error ends it.
pub(crate) struct Fed<E>(pub(crate) mpsc::Receiver<Result<http_body::Frame<Bytes>, E>>);

pub(crate) type Feeder = mpsc::Sender<Result<http_body::Frame<Bytes>, BodyError>>;

pub(crate) fn fed() -> (Feeder, Body) {
    let (feeder, receiver) = mpsc::channel(16);
    (feeder, Body::stream(Fed(receiver)))
}

impl<E> http_body::Body for Fed<E> {
    type Data = Bytes;
    type Error = E;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, E>>> {
        self.0.poll_recv(cx)
    }
}

/// A body of the server's that begins and never goes on, nor ends.
pub(crate) fn endless(first: &'static str) -> Answer {
    let (sender, receiver) = mpsc::channel::<Bytes>(1);
    sender.try_send(Bytes::from_static(first.as_bytes())).unwrap();
    http::Response::new(Endless { receiver, _sender: sender }.boxed())
}

struct Endless {
    receiver: mpsc::Receiver<Bytes>,
    _sender: mpsc::Sender<Bytes>,
}

impl http_body::Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Infallible>>> {
        self.receiver.poll_recv(cx).map(|data| data.map(|data| Ok(http_body::Frame::data(data))))
    }
}

/// Lets all tasks that can go on do so.
pub(crate) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}
