//! What lasts: WebSockets between a client and a backend of Python's library, and server-sent events read by curl.

use super::backend::Backend;
use super::client::{curl_command, get};
use super::matrix::program::{Program, script};
use super::python::Python;
use super::wait::{Lines, until, until_true};
use super::yett::{Launch, TOP, Yett};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{SyncSender, sync_channel};
use testkit::Authority;

const BACKEND: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/backend_websocket.py");
const CLIENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs/client_websocket.py");

/// What the client checks, in its order.
const CHECKS: &[&str] = &[
    "binary",
    "close_by_the_backend",
    "close_by_the_client",
    "compression",
    "empty_message",
    "fragments",
    "large_message",
    "no_policy",
    "order",
    "origin_of_strangers",
    "origin_that_is_listed",
    "origin_that_is_the_host",
    "ping_of_the_backend",
    "ping_of_the_client",
    "subprotocol",
    "text",
];

/// A backend of WebSockets, and a gateway before it.
struct Chat {
    backend: Python,
    yett: Yett,
}

impl Chat {
    /// With more top-level fields below.
    fn start(more: &str) -> Self {
        let backend = Python::start(BACKEND, &[]);
        let config = format!(
            "{TOP}listeners:
  public: {{ bind: \"127.0.0.1:0\" }}
  secure: {{ bind: \"127.0.0.1:0\", tls: {{ certificates: [{{ cert: site.pem, key: site.key }}] }} }}
upstreams: {{ backend: {{ targets: [\"127.0.0.1:{}\"] }} }}
apis:
  all:
    upstream: backend
    public: a test
    routes:
      - GET /talk: {{ policies: [{{ websocket: https://app.test }}] }}
      - GET /short: {{ policies: [{{ websocket: {{ idle: 1s }} }}] }}
      - GET /plain
      - GET /page.html: {{ policies: [{{ respond: {{ body: a page, content_type: text/html }} }}] }}
{more}",
            backend.port()
        );
        let authority = Authority::new();
        let pair = authority.sign(&["localhost"]);
        let yett = Launch::new(&config)
            .file("site.pem", &pair.cert_pem)
            .file("site.key", &pair.key_pem)
            .file("ca.pem", &authority.ca_pem)
            .start();
        Self { backend, yett }
    }

    /// Has Python make its checks, each of which must go well.
    fn check(&self, arguments: &[&str]) {
        let mut client = Python::start(CLIENT, &[&["check"], arguments].concat());
        until("the client ends", || client.child.try_wait().unwrap());
        let expected: Vec<String> = CHECKS.iter().map(|name| format!("pass {name}")).collect();
        until_true("the client's lines are read", || client.told.all().len() >= expected.len());
        assert_eq!(client.told.all(), expected);
        self.backend.told.expect(&["ended 4001 enough of that"]);
        self.backend.told.expect(&["ended 4002 so long"]);
    }

    /// The URL of a path of the listener with TLS, and the file of its authority.
    fn secure(&self, path: &str) -> (String, String) {
        let address = self.yett.address("secure");
        let port = address.rsplit(':').next().unwrap();
        let ca = self.yett.path("ca.pem").display().to_string();
        (format!("wss://localhost:{port}{path}"), ca)
    }

    /// A client whose WebSocket is open.
    fn open(&self, path: &str) -> Python {
        let url = format!("ws://{}{path}", self.yett.address("public"));
        let client = Python::start(CLIENT, &["talk", &url]);
        client.told.expect(&["open"]);
        client
    }

    /// The line of the access log about the WebSocket of this path.
    fn logged(&self, path: &str) -> Value {
        serde_json::from_str(&self.yett.access.expect(&[path, "\"status\":101"])).unwrap()
    }
}

/// Says something and hears it again.
fn talk(client: &mut Python, message: &str) {
    client.order(message);
    client.told.expect(&[&format!("heard {message}")]);
}

#[test]
fn websockets_pass_without_tls() {
    let chat = Chat::start("");
    chat.check(&[&format!("ws://{}", chat.yett.address("public"))]);
    let refused = chat.yett.access.expect(&["origin_refused"]);
    assert!(refused.contains("\"status\":403"), "{refused}");
    let plain = chat.yett.access.expect(&["/plain"]);
    assert!(plain.contains("\"status\":426"), "{plain}");
}

#[test]
fn websockets_pass_over_tls() {
    let chat = Chat::start("");
    let (url, ca) = chat.secure("");
    chat.check(&[&url, &ca]);
}

/// What a page in a browser tells of its WebSocket to `/talk`, and the line of the access log about it.
fn browse(listener: &str) -> (Value, Value) {
    let chat = Chat::start("");
    let profile = tempfile::tempdir().unwrap();
    let mut command = script("client_chromium.mjs");
    command.arg(profile.path());
    let mut browser = Program::start(command);
    let origin = chat.yett.url(listener).replace("127.0.0.1", "yett.test");
    let long = "long ".repeat(20_000);
    let say = json!(["größer als 漢字", "", long, "ping me"]);
    browser.say(&json!({ "id": 1, "url": format!("{origin}/talk"), "say": say }).to_string());
    let mut told: Value = browser.find("what it heard", |line| serde_json::from_str(line).ok());
    chat.backend.told.expect(&["ended 4000 all is said"]);
    assert_eq!(told["heard"][2].as_str().map(str::len), Some(long.len()), "{told}");
    told["heard"][2] = "what is long".into();
    (told, chat.logged("/talk"))
}

/// What it tells wherever its WebSocket went.
fn all_is_said() -> Value {
    json!({
        "id": 1,
        "heard": ["größer als 漢字", "", "what is long", "it was answered"],
        "code": 4000,
        "reason": "all is said",
        "clean": true,
        "protocol": "chat.v2",
        "compressed": true,
    })
}

#[test]
fn a_page_in_a_browser_talks_over_http1() {
    let (told, line) = browse("public");
    assert_eq!(told, all_is_said());
    assert_eq!(line["protocol"], "HTTP/1.1", "{line}");
}

#[test]
fn a_page_in_a_browser_talks_over_http2() {
    let (told, line) = browse("secure");
    assert_eq!(told, all_is_said());
    assert_eq!((&line["protocol"], &line["cause"]), (&json!("HTTP/2"), &Value::Null), "{line}");
}

#[test]
fn who_has_closed_a_websocket_may_leave_without_a_word_to_tls() {
    let chat = Chat::start("");
    let (url, ca) = chat.secure("/talk");
    let client = Python::start(CLIENT, &["leave", &url, &ca, "bye"]);
    client.told.expect(&["heard hello"]);
    let line = chat.logged("/talk");
    assert_eq!(line.get("cause"), None, "{line}");
    assert_eq!(line.get("complete"), None, "{line}");
    chat.backend.told.expect(&["ended 1000"]);
    let client = Python::start(CLIENT, &["leave", &url, &ca]);
    client.told.expect(&["heard hello"]);
    let line = chat.yett.access.expect(&["\"complete\":false"]);
    assert!(line.contains("the client broke off"), "{line}");
    chat.backend.told.expect(&["ended 1006"]);
}

#[test]
fn the_access_log_has_one_line_for_a_websocket_when_it_ends() {
    let chat = Chat::start("");
    let mut client = chat.open("/talk");
    talk(&mut client, "hello");
    talk(&mut client, "again");
    assert_eq!(chat.yett.access.all(), Vec::<String>::new());
    client.order("bye");
    client.told.expect(&["ended 1000"]);
    let line = chat.logged("/talk");
    // A client's frame has 6 bytes before the data, a backend's 2 (RFC 6455, 5.2); a code to close by has 2.
    assert_eq!(line["bytes_in"], 2 * (6 + 5) + 6 + 2, "{line}");
    assert_eq!(line["bytes_out"], 2 * (2 + 5) + 2 + 2, "{line}");
    assert_eq!(line.get("cause"), None, "{line}");
    assert_eq!(chat.yett.access.all().len(), 1);
    chat.backend.told.expect(&["ended 1000"]);
}

#[test]
fn a_websocket_ends_with_its_backend() {
    let mut chat = Chat::start("");
    let mut client = chat.open("/talk");
    talk(&mut client, "hello");
    chat.backend.child.kill().unwrap();
    client.told.expect(&["ended 1006"]);
    let line = chat.logged("/talk");
    assert_eq!(line["bytes_out"], 2 + 5, "{line}");
}

#[test]
fn a_silent_websocket_is_ended() {
    let chat = Chat::start("");
    let client = chat.open("/short");
    client.told.expect(&["ended 1006"]);
    chat.backend.told.expect(&["ended 1006"]);
    let line = chat.logged("/short");
    assert!(line["cause"].as_str().is_some_and(|cause| cause.contains("`idle`")), "{line}");
}

#[test]
fn the_end_of_a_drain_ends_websockets() {
    let mut chat = Chat::start("drain: { timeout: 1s }\n");
    let mut client = chat.open("/talk");
    talk(&mut client, "hello");
    chat.yett.signal("TERM");
    client.told.expect(&["ended 1006"]);
    assert_eq!(chat.yett.ended().code(), Some(0));
    chat.backend.told.expect(&["ended 1006"]);
    chat.yett.log.expect(&["stopping with requests under way"]);
    let line = chat.logged("/talk");
    assert_eq!(line["complete"], false, "{line}");
}

#[test]
fn a_drain_waits_for_websockets() {
    let mut chat = Chat::start("drain: { timeout: 1h }\n");
    let mut client = chat.open("/talk");
    chat.yett.signal("TERM");
    until_true("it drains", || get(&chat.yett.admin(), "/readyz").status == 503);
    talk(&mut client, "still here");
    client.order("bye");
    client.told.expect(&["ended 1000"]);
    assert_eq!(chat.yett.ended().code(), Some(0));
    assert!(!chat.yett.log.text().contains("under way"), "{}", chat.yett.log.text());
}

/// A backend that sends an event whenever it is told one, until nobody can tell it any; then it waits for its client
/// to leave.
fn news(framing: &'static str) -> (SyncSender<String>, Backend) {
    let (sender, events) = sync_channel::<String>(1);
    let events = Mutex::new(events);
    let backend = Backend::start(move |_, stream| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{framing}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        for event in events.lock().unwrap().iter() {
            let data = format!("data: {event}\n\n");
            let sent = match framing {
                CHUNKED => format!("{:x}\r\n{data}\r\n", data.len()),
                _ => data,
            };
            stream.write_all(sent.as_bytes()).unwrap();
        }
        // It ends, or fails, when the client has left.
        drop(stream.read(&mut [0]));
        false
    });
    (sender, backend)
}

const CHUNKED: &str = "transfer-encoding: chunked\r\n";
const TO_THE_END: &str = "connection: close\r\n";

/// A curl that reads events as they come.
struct Reader {
    child: Child,
    told: Lines,
}

impl Reader {
    fn start(arguments: &[&str]) -> Self {
        let mut command = curl_command(&[&["-N"], arguments].concat());
        let mut child = command.stdout(Stdio::piped()).spawn().expect("curl is installed");
        let told = Lines::of(child.stdout.take().unwrap());
        Self { child, told }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Each event is sent only after the client has seen the one before, so that none can have waited for another.
fn read_events(listener: &str, framing: &'static str, policies: &str, arguments: &[&str]) {
    let (events, backend) = news(framing);
    let config = format!(
        "{TOP}listeners:
  public: {{ bind: \"127.0.0.1:0\" }}
  secure: {{ bind: \"127.0.0.1:0\", tls: {{ certificates: [{{ cert: site.pem, key: site.key }}] }} }}
upstreams: {{ backend: {{ targets: [\"{}\"] }} }}
apis: {{ all: {{ upstream: backend, public: a test, policies: [{policies}] }} }}
",
        backend.address
    );
    let pair = Authority::new().sign(&["127.0.0.1"]);
    let launch = Launch::new(&config).file("site.pem", &pair.cert_pem);
    let yett = launch.file("site.key", &pair.key_pem).start();
    let url = yett.url(listener);
    let reader = Reader::start(&[arguments, &[url.as_str()]].concat());
    for number in 1..=20 {
        events.send(format!("event {number}.")).unwrap();
        reader.told.expect(&[&format!("data: event {number}.")]);
    }
    drop(events);
    drop(reader);
    until_true("the backend sees that the client has left", || backend.closed() == 1);
    yett.access.expect(&["\"status\":200", "\"complete\":false"]);
}

#[test]
fn events_pass_one_by_one_over_http1() {
    read_events("public", CHUNKED, "", &["--http1.1"]);
    read_events("public", TO_THE_END, "", &["--http1.1"]);
}

#[test]
fn events_pass_one_by_one_over_http2() {
    read_events("public", CHUNKED, "", &["--http2-prior-knowledge"]);
    read_events("public", TO_THE_END, "", &["--http2-prior-knowledge"]);
}

#[test]
fn events_pass_one_by_one_over_tls() {
    read_events("secure", CHUNKED, "", &["--http1.1", "--insecure"]);
    read_events("secure", CHUNKED, "", &["--http2", "--insecure"]);
}

#[test]
fn compression_does_not_hold_events_back() {
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        read_events("public", CHUNKED, "compress", &[version, "--compressed"]);
    }
}
