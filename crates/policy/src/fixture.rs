//! What the tests of all policies need: requests as text, and settings as JSON.

use crate::access::Access;
use crate::files::{Files, Library};
use crate::geo::Geo;
use crate::kind::{BuildCtx, Kind};
use crate::plan::Plans;
use base::secret::Reference;
use base::{Clock, Node, Place, Report, Secret, Secrets};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode, Version};
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use telemetry::metrics::Metrics;
use traffic::background::{Busy, Job, Task};
use traffic::body::BodyError;
use traffic::chain::Chain;
use traffic::directory::Directory;
use traffic::exchange::{Connection, Slot, TlsFacts};
use traffic::head::{RequestHead, Scheme};
use traffic::method::MethodSet;
use traffic::snapshot::Route;
use traffic::tree::{HostPattern, Lookup, Paths, RouteTree, Rule, Segment};
use traffic::upstream::{Picked, TargetStatus, Timeouts, Upstream};
use traffic::{Body, Exchange, Flow, Headers, Outcome, Policy, Response, State};

/// A request: `METHOD target`, then one header per line.
pub(crate) fn exchange(text: &str) -> Exchange {
    let clock = Clock::manual();
    let mut lines = text.lines().map(str::trim);
    let (method, target) = lines.next().unwrap().split_once(' ').unwrap();
    let mut headers = Headers::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap();
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    let is_preflight = headers.contains("access-control-request-method");
    let connection = Connection {
        scheme: Scheme::Https,
        tls: Some(TlsFacts {
            version: "TLSv1.3",
            server_name: Some("api.example.com".into()),
            client: None,
        }),
        ..Connection::plain(
            "public".into(),
            "192.0.2.7:40000".parse().unwrap(),
            "192.0.2.1:443".parse().unwrap(),
        )
    };
    let head = RequestHead {
        method: method.parse::<Method>().unwrap(),
        scheme: Scheme::Https,
        host: "api.example.com".into(),
        authority: HeaderValue::from_static("api.example.com"),
        target: target.parse().unwrap(),
        version: Version::HTTP_11,
        headers,
    };
    let exchange = Exchange::new(&clock, 0, Arc::new(connection), head);
    Exchange { is_preflight, ..exchange }
}

/// A request that matched a path template with `{name}` and `{*rest}`.
pub(crate) fn routed(template: &str, text: &str) -> Exchange {
    let mut exchange = exchange(text);
    let mut params: Vec<Box<str>> = Vec::new();
    let mut segments = Vec::new();
    let mut has_rest = false;
    for part in template.split('/').skip(1) {
        match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(name) if name.starts_with('*') => {
                has_rest = true;
                params.push(name.trim_start_matches('*').into());
            }
            Some(name) => {
                params.push(name.into());
                segments.push(Segment::Param);
            }
            None => segments.push(Segment::Static(part.into())),
        }
    }
    let route = Route {
        reserved: None,
        lifecycle: None,
        id: "test/route".into(),
        api: "test".into(),
        name: "route".into(),
        hosts: ["api.example.com".into()].into(),
        pattern: template.into(),
        params: params.into(),
        place: Place::unknown(),
        chain: Chain::default(),
        upstream: None,
        public: None,
        exempt: Box::default(),
        broken: None,
        metrics: Metrics::new(1, &[]).route("test", "route"),
    };
    let rule = Rule {
        hosts: vec![HostPattern::Any],
        paths: if has_rest {
            Paths::Below { segments, capture: true }
        } else {
            Paths::Whole(segments)
        },
        methods: MethodSet::any(),
        predicates: Arc::default(),
        route: Arc::new(route),
    };
    let tree = RouteTree::build([rule]).unwrap();
    match tree.find(&exchange.request, &exchange.request.method) {
        Lookup::Found(matched) => exchange.matched = Some(matched),
        other => panic!("{template} does not match: {other:?}"),
    }
    exchange
}

/// What policies are built with in tests; one policy after another may share it.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) state: State,
    pub(crate) directory: Arc<Directory>,
    pub(crate) plans: Arc<Plans>,
    pub(crate) stores: Arc<crate::store::Stores>,
    pub(crate) params: Vec<Box<str>>,
    pub(crate) access: Arc<Access>,
    pub(crate) upstreams: BTreeMap<String, Option<Arc<dyn Upstream>>>,
    pub(crate) files: Folder,
    pub(crate) geo: Option<Arc<Geo>>,
    clock: OneClock,
    metrics: OneMetrics,
}

/// Files by their names.
#[derive(Default)]
pub(crate) struct Folder(Mutex<BTreeMap<PathBuf, Vec<u8>>>);

impl Folder {
    pub(crate) fn write(&self, name: &str, content: impl Into<Vec<u8>>) {
        self.0.lock().unwrap().insert(name.into(), content.into());
    }

    pub(crate) fn remove(&self, name: &str) {
        self.0.lock().unwrap().remove(Path::new(name));
    }
}

impl Files for Folder {
    fn locate(&self, written: &str) -> PathBuf {
        written.into()
    }

    fn read(&self, path: &Path, bytes_max: usize) -> Result<Vec<u8>, String> {
        let files = self.0.lock().unwrap();
        let bytes = files.get(path).ok_or("there is no such file")?;
        Ok(bytes.iter().copied().take(bytes_max + 1).collect())
    }

    fn part(&self, written: &str) -> (PathBuf, Result<Vec<u8>, String>) {
        (written.into(), self.read(Path::new(written), usize::MAX - 1))
    }
}

struct OneClock(Clock);

impl Default for OneClock {
    fn default() -> Self {
        Self(Clock::manual())
    }
}

struct OneMetrics(Arc<Metrics>);

impl Default for OneMetrics {
    fn default() -> Self {
        Self(Metrics::new(1, &[]))
    }
}

struct Fixed;

impl Secrets for Fixed {
    fn resolve(&self, reference: &Reference) -> Result<Secret, String> {
        match reference {
            Reference::Env(name) if name == "TOKEN" => Ok(Secret::new("s3cret".to_owned())),
            other => Err(format!("{other} has no value")),
        }
    }
}

/// Leads nowhere.
#[derive(Debug)]
struct Nobody;

impl traffic::Outbound for Nobody {
    fn open(&self, _: traffic::Destination) -> Result<Arc<dyn traffic::Remote>, String> {
        Ok(Arc::new(NoWay(http::uri::PathAndQuery::from_static("/"))))
    }
}

impl traffic::names::Names for Nobody {
    fn manner(&self) -> &str {
        ""
    }

    fn prove(
        &self,
        _: std::net::IpAddr,
        _: Arc<[Box<str>]>,
    ) -> traffic::BoxFuture<'static, Result<traffic::names::Proved, String>> {
        Box::pin(async { Err("nobody answers".to_owned()) })
    }
}

#[derive(Debug)]
struct NoWay(http::uri::PathAndQuery);

impl traffic::Remote for NoWay {
    fn target(&self) -> &http::uri::PathAndQuery {
        &self.0
    }

    fn manner(&self) -> &str {
        ""
    }

    fn call(
        &self,
        _: Option<usize>,
        _: traffic::Request,
    ) -> traffic::BoxFuture<'static, Result<Response, traffic::Fault>> {
        let fault = traffic::Fault::new(traffic::Stage::Forward, traffic::FaultCode::NoTarget);
        Box::pin(async { Err(fault) })
    }
}

/// Computes at once, and runs no tasks.
#[derive(Debug)]
struct Here;

impl traffic::Background for Here {
    fn spawn(&self, _: traffic::BoxFuture<'static, ()>) -> Task {
        Task::nothing()
    }

    fn compute(&self, job: Job) -> traffic::BoxFuture<'static, Result<(), Busy>> {
        job();
        Box::pin(async { Ok(()) })
    }
}

impl World {
    pub(crate) fn with_params(params: &[&str]) -> Self {
        Self { params: params.iter().map(|name| (*name).into()).collect(), ..Self::default() }
    }

    /// A world with these upstreams, which can be chosen but take no request.
    pub(crate) fn with_upstreams(names: &[&str]) -> Self {
        let named = |name: &&str| {
            let upstream: Arc<dyn Upstream> = Arc::new(Named((*name).into()));
            ((*name).to_owned(), Some(upstream))
        };
        Self { upstreams: names.iter().map(named).collect(), ..Self::default() }
    }

    /// A world with these roles and names.
    pub(crate) fn with_access(access: Access) -> Self {
        Self { access: Arc::new(access), ..Self::default() }
    }

    /// The same world with these databases of places for all.
    pub(crate) fn with_geo(mut self, names: &[&str]) -> Self {
        let library = Library {
            files: &self.files,
            state: &self.state,
            metrics: &self.metrics.0,
            clock: &self.clock.0,
        };
        let nowhere = Place::unknown();
        let open =
            |name: &&str| Geo::open(name, library, (&nowhere, "/geo"), &mut Report::new()).unwrap();
        let geo = Geo::new(names.iter().map(open).collect());
        self.geo = Some(Arc::new(geo));
        self
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock.0
    }

    /// The value of a counter, by name and labels as they are exposed.
    pub(crate) fn metric(&self, series: &str) -> u64 {
        let page = self.metrics.0.encode();
        let line = page.lines().find_map(|line| line.strip_prefix(series));
        line.unwrap_or_else(|| panic!("no {series} in {page}")).trim().parse().unwrap()
    }

    /// Builds a policy; on failure the problems as text.
    pub(crate) fn build(&self, kind: &Kind, settings: &serde_json::Value) -> Result<Built, String> {
        let (policy, report) = self.try_build(kind, settings);
        assert_eq!(policy.is_none(), report.has_errors(), "{settings}: {report}");
        policy.map(Built).ok_or_else(|| report.to_string())
    }

    /// What is told of a policy that can be built.
    pub(crate) fn warnings(&self, kind: &Kind, settings: &serde_json::Value) -> String {
        let (policy, report) = self.try_build(kind, settings);
        assert!(policy.is_some(), "{settings}: {report}");
        report.to_string()
    }

    fn try_build(
        &self,
        kind: &Kind,
        settings: &serde_json::Value,
    ) -> (Option<Arc<dyn Policy>>, Report) {
        let id = format!("test/{}", kind.name);
        let here: Arc<dyn traffic::Background> = Arc::new(Here);
        let nobody: Arc<dyn traffic::Outbound> = Arc::new(Nobody);
        let nameless: Arc<dyn traffic::names::Names> = Arc::new(Nobody);
        let ctx = BuildCtx {
            id: &id,
            workspace: None,
            path: "/policies/0",
            place: &Place::unknown(),
            state: &self.state,
            directory: &self.directory,
            secrets: &Fixed,
            files: &self.files,
            clock: self.clock(),
            access: &self.access,
            plans: &self.plans,
            stores: &self.stores,
            metrics: &self.metrics.0,
            params: &self.params,
            outbound: &nobody,
            background: &here,
            names: &nameless,
            geo: self.geo.as_ref(),
            upstreams: &self.upstreams,
        };
        let mut report = Report::new();
        let policy = (kind.build)(&Node::from_json(settings), &ctx, &mut report);
        (policy, report)
    }
}

#[derive(Debug)]
struct Named(Arc<str>);

impl Upstream for Named {
    fn name(&self) -> &Arc<str> {
        &self.0
    }

    fn timeouts(&self) -> Timeouts {
        Timeouts::default()
    }

    fn pick(&self, _: &Exchange) -> Result<Picked, traffic::Fault> {
        Err(traffic::Fault::new(traffic::Stage::Forward, traffic::FaultCode::NoTarget))
    }

    fn status(&self) -> Vec<TargetStatus> {
        Vec::new()
    }
}

/// A policy under test.
pub(crate) struct Built(pub(crate) Arc<dyn Policy>);

/// Builds a policy in a world of its own.
pub(crate) fn built(kind: &Kind, settings: &serde_json::Value) -> Built {
    World::default().build(kind, settings).unwrap_or_else(|problems| panic!("{problems}"))
}

/// The settings must be refused with a problem that says `part`.
pub(crate) fn refuses(kind: &Kind, settings: &serde_json::Value, part: &str) {
    match World::default().build(kind, settings) {
        Ok(_) => panic!("{settings} is accepted"),
        Err(problems) => assert!(problems.contains(part), "{settings}: {problems}"),
    }
}

pub(crate) const SLOT: Slot = Slot(0);

impl Built {
    /// Runs the request hook: `continue`, `answer STATUS` or the fault's name.
    pub(crate) fn request(&self, exchange: &mut Exchange) -> String {
        match now(self.0.on_request(exchange, SLOT)) {
            Ok(Flow::Continue) => "continue".to_owned(),
            Ok(Flow::Answer(answer)) => format!("answer {}", answer.status.as_u16()),
            Err(fault) => fault.code.name().to_owned(),
        }
    }

    /// Whether the request hook needs more than a moment.
    pub(crate) fn waits(&self, exchange: &mut Exchange) -> bool {
        matches!(self.0.on_request(exchange, SLOT), Outcome::Later(_))
    }

    /// Runs the request hook, which must not answer.
    pub(crate) fn settled(&self, exchange: &mut Exchange) -> Result<(), traffic::Fault> {
        now(self.0.on_request(exchange, SLOT)).map(drop)
    }

    /// Runs the request hook, which must answer.
    pub(crate) fn answer(&self, exchange: &mut Exchange) -> Response {
        match now(self.0.on_request(exchange, SLOT)) {
            Ok(Flow::Answer(answer)) => *answer,
            other => panic!("{other:?}"),
        }
    }

    /// Runs the request hook, which must fail.
    pub(crate) fn fault(&self, exchange: &mut Exchange) -> traffic::Fault {
        now(self.0.on_request(exchange, SLOT)).expect_err("the request passed")
    }

    /// The headers by which it tells backends who calls.
    pub(crate) fn speaks_for(&self) -> Vec<String> {
        self.0.speaks_for().iter().map(ToString::to_string).collect()
    }

    /// Runs the reply hook on a reply.
    pub(crate) fn reply_with(&self, exchange: &mut Exchange, mut reply: Response) -> Response {
        now(self.0.on_reply(exchange, &mut reply, SLOT)).unwrap();
        reply
    }

    /// Runs the reply hook on a reply with these headers.
    pub(crate) fn reply(&self, exchange: &mut Exchange, headers: &[(&str, &str)]) -> Response {
        let mut reply = Response::new(StatusCode::OK, Body::empty());
        for (name, value) in headers {
            reply.headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        self.treat(exchange, &mut reply);
        reply
    }

    /// Runs the reply hook on this reply.
    pub(crate) fn treat(&self, exchange: &mut Exchange, reply: &mut Response) {
        now(self.0.on_reply(exchange, reply, SLOT)).unwrap();
    }
}

fn now<T>(outcome: Outcome<'_, T>) -> Result<T, traffic::Fault> {
    match outcome {
        Outcome::Now(result) => result,
        // What is computed is done at once.
        Outcome::Later(mut later) => {
            match later.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(result) => result,
                Poll::Pending => panic!("the policy waits"),
            }
        }
    }
}

/// Headers as `name: value` lines, sorted.
pub(crate) fn lines(headers: &Headers) -> Vec<String> {
    let mut lines: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    lines.sort();
    lines
}

/// A body that comes in pieces and does not say how long it is.
pub(crate) fn pieces(pieces: &[&'static str]) -> Body {
    Body::stream(Pieces(
        pieces.iter().rev().map(|piece| Bytes::from_static(piece.as_bytes())).collect(),
    ))
}

struct Pieces(Vec<Bytes>);

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Poll::Ready(self.0.pop().map(|piece| Ok(Frame::data(piece))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::new()
    }
}

/// All of a body as text, or the name of the fault that ended it.
pub(crate) fn drain(mut body: Body) -> String {
    let mut text = String::new();
    let next = |body: &mut Body| {
        let mut frame = std::pin::pin!(NextFrame(body));
        match frame.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(frame) => frame,
            Poll::Pending => panic!("the body waits"),
        }
    };
    while let Some(frame) = next(&mut body) {
        match frame {
            Ok(frame) => text.push_str(&String::from_utf8_lossy(frame.data_ref().unwrap())),
            Err(BodyError::Refused(fault)) => return fault.code.name().to_owned(),
            Err(other) => panic!("{other}"),
        }
    }
    text
}

struct NextFrame<'a>(&'a mut Body);

impl Future for NextFrame<'_> {
    type Output = Option<Result<Frame<Bytes>, BodyError>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut *self.0).poll_frame(cx)
    }
}
