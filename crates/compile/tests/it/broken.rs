//! Whatever is wrong with a route: it answers 503, and its neighbours are served.

use crate::it::kit::Outer;
use base::shutdown;
use proxy::connection::Rewound;
use proxy::{Gateway, Worker, connection};
use std::net::SocketAddr;
use std::sync::Arc;
use telemetry::{AccessFormat, AccessLog, AccessSettings, AccessTarget};
use testkit::Surroundings;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use traffic::exchange::Connection;

/// A gateway that serves by whatever a config with errors compiles to.
struct Served {
    worker: Arc<Worker>,
}

impl Served {
    fn new(config: &str) -> Self {
        let outer = Outer::new();
        let (compiled, report) = outer.compile("yett.yaml", &Surroundings::of(config));
        assert!(report.has_errors(), "{config}");
        let compiled = compiled.unwrap_or_else(|| panic!("the model refuses it: {report}"));
        let metrics = outer.metrics;
        let log = AccessLog::open(
            AccessSettings::new(AccessFormat::Json, AccessTarget::Off),
            Arc::clone(&metrics),
        );
        let gateway =
            Gateway::new(compiled.snapshot, outer.clock, metrics, log.unwrap(), Arc::default());
        Self { worker: Worker::new(gateway, 0) }
    }

    /// Status and fault code of the answer to a request, written with plain line breaks.
    async fn ask(&self, request: &str) -> String {
        let (mut ours, theirs) = tokio::io::duplex(64 << 10);
        let peer = SocketAddr::from(([192, 0, 2, 7], 4_711));
        let client = Connection::plain(Arc::from("web"), peer, peer);
        let (_trigger, signal) = shutdown::channel();
        let served =
            connection::serve_io(Arc::clone(&self.worker), client, Rewound::new(theirs), signal);
        let asking = async {
            let text = format!("{}\nhost: a.test\nconnection: close\n\n", request.trim_end());
            ours.write_all(text.replace('\n', "\r\n").as_bytes()).await.unwrap();
            let mut answer = String::new();
            ours.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let (_, answer) = tokio::join!(served, asking);
        let status = answer.split(' ').nth(1).unwrap().to_owned();
        match answer.split_once("\"code\":\"").and_then(|(_, code)| code.split_once('"')) {
            Some((code, _)) => format!("{status} {code}"),
            None => status,
        }
    }

    async fn is_broken(&self, path: &str) {
        let preflight = "origin: https://a.test\naccess-control-request-method: GET\naccess-control-request-headers: x";
        for request in [
            format!("GET {path} HTTP/1.1"),
            format!("GET {path} HTTP/1.1\nx-api-key: anything\nx-yett-consumer: admin"),
            format!("HEAD {path}?x=1 HTTP/1.1"),
            format!("OPTIONS {path} HTTP/1.1\n{preflight}"),
        ] {
            let answer = self.ask(&request).await;
            // An answer to HEAD has no body to tell the code in.
            let expected = if request.starts_with("HEAD") { "503" } else { "503 route_broken" };
            assert_eq!(answer, expected, "{request}");
        }
    }
}

const HEAD: &str = "version: 1
listeners: { web: { bind: '0.0.0.0:80' } }
upstreams: { one: { targets: ['10.0.0.1:80'] }, bad: { targets: ['${env:NONE}'] } }
";

/// A config with the route `GET /bad` that has these settings, and a good one.
fn with_route(settings: &str) -> String {
    format!(
        "{HEAD}apis:
  test:
    path: /api
    routes:
      - GET /bad: {settings}
      - GET /good: {{ public: a test, policies: [{{ respond: 204 }}] }}
      - /*: {{ public: a test, policies: [{{ respond: 299 }}] }}
"
    )
}

/// What may be wrong with a route.
const SETTINGS: &[&str] = &[
    "{ upstream: one }",
    "{ upstream: one, policies: [{ allow: 'true' }] }",
    "{ policies: [{ respond: 200 }] }",
    "{ public: a test, policies: [api_key, { respond: 200 }] }",
    "{ public: a test, upstream: bad }",
    "{ public: a test, upstream: bad, policies: [{ respond: 200 }] }",
    "{ public: a test, policies: [{ body_limit: 1KiB }] }",
    "{ public: a test, upstream: one, policies: [{ allwo: 'false' }] }",
    "{ public: a test, policies: [{ allwo: 'false' }, { respond: 200 }] }",
    "{ public: a test, upstream: one, policies: [{ deny: 'nope(' }] }",
    "{ public: a test, upstream: one, policies: [{ rate_limit: sometimes }] }",
    "{ public: a test, upstream: one, policies: [{ rate_limit: 1/s }, { rate_limit: 2/s }] }",
    "{ public: a test, upstream: one, policies: [{ headers: { request: { set: { a: '${env:NONE}' } } } }] }",
    "{ upstream: one, policies: [{ api_key: { header: cookie } }] }",
    "{ public: a test, policies: [{ cors: { origins: [nonsense] } }, { respond: 200 }] }",
    "{ public: a test, upstream: one, policies: [{ rewrite: no/slash }] }",
    "{ public: a test, upstream: nowhere }",
    "{ public: a test, upstream: one, headers: { 'no name': x } }",
    "{ public: a test, upstream: one, query: { x: { regex: '(' } } }",
];

#[tokio::test(start_paused = true)]
async fn a_broken_route_answers_503_and_nothing_else() {
    for settings in SETTINGS {
        let served = Served::new(&with_route(settings));
        served.is_broken("/api/bad").await;
        served.is_broken("/api//x/../bad").await;
        assert_eq!(served.ask("GET /api/good HTTP/1.1").await, "204", "{settings}");
        assert_eq!(served.ask("GET /api/else HTTP/1.1").await, "299", "{settings}");
        // What the broken route does not answer is its own business only as far as it goes.
        assert_eq!(served.ask("PUT /api/bad HTTP/1.1").await, "299", "{settings}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_broken_at_an_owner_breaks_all_that_inherit_it() {
    let gateway = format!(
        "{HEAD}policies: [{{ dney: 'true' }}]
apis:
  one: {{ path: /one, public: a test, upstream: one }}
  two: {{ path: /two, public: a test, policies: [{{ respond: 204 }}] }}
"
    );
    let served = Served::new(&gateway);
    served.is_broken("/one/x").await;
    served.is_broken("/two").await;

    let api = format!(
        "{HEAD}apis:
  one: {{ path: /one, public: a test, upstream: one, policies: [{{ rate_limit: never }}] }}
  two: {{ path: /two, public: a test, policies: [{{ respond: 204 }}] }}
"
    );
    let served = Served::new(&api);
    served.is_broken("/one/x").await;
    assert_eq!(served.ask("GET /two HTTP/1.1").await, "204");
}

#[tokio::test(start_paused = true)]
async fn an_exemption_does_not_mend_what_could_not_be_built() {
    let config = format!(
        "{HEAD}policies: [{{ api_key: {{ header: cookie }} }}]
apis: {{ one: {{ upstream: one, public: a test, exempt: {{ api_key: it is open }} }} }}
"
    );
    Served::new(&config).is_broken("/x").await;
}

#[test]
fn a_listener_that_is_broken_is_left_out_and_the_others_stay() {
    let config = "version: 1
listeners:
  good: { bind: '0.0.0.0:80' }
  unset: { bind: '${env:NONE}' }
  secret: { bind: '0.0.0.0:443', tls: { certificates: [{ cert: none.pem, key: none.key }] } }
apis: { one: { public: a test, policies: [{ respond: 204 }] } }
";
    let (compiled, report) = Outer::new().compile("yett.yaml", &Surroundings::of(config));
    assert!(report.has_errors());
    let listeners = compiled.unwrap().snapshot.listeners;
    let names: Vec<&str> = listeners.iter().map(|listener| &*listener.name).collect();
    // Above all it must not serve in the clear what was to be served over TLS.
    assert_eq!(names, ["good"]);
}
