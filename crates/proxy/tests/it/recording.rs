use crate::it::kit::{accept, brief, fetch, hear, played, say, tell, with_upstream};
use crate::it::tunnels::{open_on, with_tunnels};
use base::caps::HALF_CLOSED_TIMEOUT_S;
use std::path::PathBuf;
use std::time::Duration;
use telemetry::{AccessFormat, AccessSettings, AccessTarget};
use testkit::gateway::BACKEND;
use testkit::{Act, Backend, TestGateway};

/// Runs a conversation with a gateway that logs, and returns the access lines it left behind.
async fn lines<F>(
    name: &str,
    gateway: TestGateway,
    conversation: impl FnOnce(TestGateway) -> F,
) -> Vec<String>
where
    F: Future<Output = TestGateway>,
{
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("proxy-{name}.log"));
    drop(std::fs::remove_file(&file));
    let log = gateway.gateway.access_log.clone();
    log.reconfigure(AccessSettings::new(AccessFormat::Json, AccessTarget::File(file.clone())))
        .unwrap();
    let gateway = conversation(gateway).await;
    assert_eq!(in_flight(&gateway), 0);
    let recorded = recorded(&gateway);
    let duration = gateway.metrics.encode();
    let observed: u64 = duration
        .lines()
        .filter(|line| line.starts_with("yett_request_duration_seconds_count"))
        .map(number)
        .sum();
    assert_eq!(observed, recorded, "each request has one duration");
    drop(gateway);
    // Connections hold the worker, which hands its lines over when it ends.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    log.close();
    let text = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    assert_eq!(lines.len() as u64, recorded, "{text}");
    lines
}

fn number(line: &str) -> u64 {
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

fn recorded(gateway: &TestGateway) -> u64 {
    let text = gateway.metrics.encode();
    text.lines().filter(|line| line.starts_with("yett_requests_total")).map(number).sum()
}

fn in_flight(gateway: &TestGateway) -> u64 {
    let text = gateway.metrics.encode();
    text.lines().filter(|line| line.starts_with("yett_requests_in_flight{")).map(number).sum()
}

fn field(line: &str, name: &str) -> String {
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    line[name].to_string().trim_matches('"').to_owned()
}

/// Status, completeness and fault of each line.
fn outcomes(lines: &[String]) -> Vec<String> {
    let outcome = |line: &String| {
        let complete = if field(line, "complete") == "false" { "cut" } else { "whole" };
        format!("{} {complete} {}", field(line, "status"), field(line, "fault"))
    };
    lines.iter().map(outcome).collect()
}

#[tokio::test(start_paused = true)]
async fn every_outcome_is_written_down_once() {
    let gateway = TestGateway::with_policies("[{ deny: 'request.path == \"/no\"' }]");
    let lines = lines("outcomes", gateway, async |gateway| {
        fetch(&gateway, "/").await;
        fetch(&gateway, "/no").await;
        fetch(&gateway, "/%00").await;
        say(&gateway, "HEAD / HTTP/1.1\nhost: a.test\n\n").await;
        say(&gateway, "GET / HTTP/1.1\nhost: a\nhost: b\n\n").await;
        say(&gateway, "POST / HTTP/1.1\nhost: a.test\ncontent-length: 5\n\nhello").await;
        gateway.put(BACKEND, Backend::acts([Act::Close]));
        // There is a wait before it is tried again.
        gateway.ask("GET /gone HTTP/1.1\nhost: a.test\n\n").await;
        gateway
    })
    .await;
    assert_eq!(
        outcomes(&lines),
        [
            "200 whole null",
            "403 whole access_denied",
            "400 whole bad_path",
            "200 whole null",
            "400 whole bad_host",
            "200 whole null",
            "502 whole upstream_reset",
        ]
    );
    assert_eq!(field(&lines[5], "bytes_in"), "5");
    assert_eq!(field(&lines[6], "attempts"), "2");
}

#[tokio::test(start_paused = true)]
async fn answers_of_every_framing_are_whole_when_they_are() {
    let gateway = with_upstream(&format!("{{ targets: ['{BACKEND}'] }}"));
    let lines = lines("framings", gateway, async |gateway| {
        for answer in [
            "HTTP/1.1 200 OK\ncontent-length: 5\n\nhello",
            "HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n5\nhello\n0\n\n",
            "HTTP/1.1 200 OK\ntransfer-encoding: chunked\ntrailer: x\n\n5\nhello\n0\nx: 1\n\n",
            "HTTP/1.1 200 OK\n\nhello",
            "HTTP/1.1 204 No Content\n\n",
        ] {
            let bytes = Act::Bytes(answer.replace('\n', "\r\n").into_bytes());
            gateway.put(BACKEND, Backend::acts([bytes, Act::Close]));
            let heard = say(&gateway, "GET / HTTP/1.1\nhost: a.test\nte: trailers\n\n").await;
            assert!(!brief(&heard).contains("closed"), "{heard}");
        }
        gateway
    })
    .await;
    let expected = ["200 whole null"; 4].into_iter().chain(["204 whole null"]);
    assert_eq!(outcomes(&lines), expected.collect::<Vec<_>>());
    let bytes: Vec<String> = lines.iter().map(|line| field(line, "bytes_out")).collect();
    assert_eq!(bytes, ["5", "5", "5", "5", "0"]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_is_written_down_as_having_left() {
    let (gateway, mut connections) = played("retries: 0");
    let lines = lines("leaving", gateway, async |gateway| {
        // Before there is an answer.
        let mut client = gateway.connect();
        tell(&mut client, "GET /early HTTP/1.1\nhost: a.test\n\n").await;
        let mut backend = accept(&mut connections).await;
        hear(&mut backend).await;
        assert_eq!(in_flight(&gateway), 1);
        drop(client);
        // It might only have closed its sending side.
        tokio::time::sleep(Duration::from_secs(HALF_CLOSED_TIMEOUT_S)).await;
        assert_eq!(hear(&mut backend).await, "<closed>", "the backend is told");
        // In the middle of the answer.
        let mut client = gateway.connect();
        tell(&mut client, "GET /middle HTTP/1.1\nhost: a.test\n\n").await;
        let mut backend = accept(&mut connections).await;
        hear(&mut backend).await;
        tell(&mut backend, "HTTP/1.1 200 OK\ncontent-length: 100\n\nhello").await;
        hear(&mut client).await;
        drop(client);
        tell(&mut backend, "more").await;
        hear(&mut backend).await;
        // In the middle of its request.
        let mut client = gateway.connect();
        tell(&mut client, "POST /body HTTP/1.1\nhost: a.test\ncontent-length: 9\n\nhello").await;
        let mut backend = accept(&mut connections).await;
        hear(&mut backend).await;
        drop(client);
        assert_eq!(hear(&mut backend).await, "<closed>", "the backend sees no whole request");
        gateway
    })
    .await;
    let outcomes = outcomes(&lines);
    assert_eq!(outcomes[0], "499 cut null");
    assert_eq!(outcomes[1], "200 cut null");
    assert!(outcomes[2].contains("cut"), "{outcomes:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_off_is_written_down_as_cut() {
    let gateway = with_upstream(&format!("{{ targets: ['{BACKEND}'], retries: 0 }}"));
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf".to_vec();
    gateway.put(BACKEND, Backend::acts([Act::Bytes(half), Act::Close]));
    let lines = lines("cut", gateway, async |gateway| {
        fetch(&gateway, "/").await;
        gateway
    })
    .await;
    assert_eq!(outcomes(&lines), ["200 cut null"]);
    assert_eq!(field(&lines[0], "bytes_out"), "4");
    assert!(field(&lines[0], "cause").contains("cut off"), "{}", lines[0]);
}

#[tokio::test(start_paused = true)]
async fn a_line_names_everything_that_was_decided() {
    let gateway = TestGateway::with_policies("[]");
    let lines = lines("line", gateway, async |gateway| {
        say(&gateway, "GET /%61?secret=1 HTTP/1.1\nhost: A.test:80\nuser-agent: x\n\n").await;
        gateway
    })
    .await;
    let line = &lines[0];
    for (name, expected) in [
        ("method", "GET"),
        ("host", "a.test"),
        ("path", "/a"),
        ("api", "test"),
        ("upstream", "echo"),
        ("target", BACKEND),
        ("client", "192.0.2.7"),
        ("listener", "public"),
        ("attempts", "1"),
    ] {
        assert_eq!(field(line, name), expected, "{line}");
    }
    assert!(!line.contains("secret"), "queries hold secrets: {line}");
}

/// Access lines of a gateway with such a log.
async fn logged(name: &str, access_log: &str, request: &str) -> String {
    let config = format!(
        "version: 1
access_log: {access_log}
listeners: {{ public: {{ bind: \"0.0.0.0:80\" }} }}
upstreams: {{ echo: {{ targets: [\"{BACKEND}\"] }} }}
apis:
  test:
    upstream: echo
    public: a test
    policies: [{{ headers: {{ response: {{ set: {{ x-cache: \"hit it\" }} }} }} }}]
"
    );
    let surroundings = testkit::Surroundings::of(&config);
    let gateway = TestGateway::within(&surroundings);
    gateway.put(BACKEND, Backend::echo());
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("proxy-{name}"));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("access.log");
    drop(std::fs::remove_file(&file));
    let mut settings = gateway.access_log.clone();
    settings.target = AccessTarget::File(file.clone());
    let log = gateway.gateway.access_log.clone();
    log.reconfigure(settings).unwrap();
    say(&gateway, request).await;
    drop(gateway);
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    log.close();
    std::fs::read_to_string(&file).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_template_shows_headers_as_they_passed() {
    let format = "{ format: '{method} {request.header.X-Tenant} {request.header.x-forwarded-for} \"{response.header.x-cache}\" {status}' }";
    let request = "GET / HTTP/1.1\nhost: a.test\nx-tenant: a\tb\nx-forwarded-for: 1.2.3.4\n\n";
    let line = logged("template", format, request).await;
    assert_eq!(line, "GET a\\x09b - \"hit it\" 200\n");
}

#[tokio::test(start_paused = true)]
async fn stages_are_written_down_where_the_config_wants_it() {
    let request = "GET / HTTP/1.1\nhost: a.test\n\n";
    let line = logged("timed", "{ timings: true }", request).await;
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let names: Vec<&String> = line["timings"].as_object().unwrap().keys().collect();
    let all = [
        "admit_us",
        "route_us",
        "guard_us",
        "forward_us",
        "connect_us",
        "first_byte_us",
        "reply_us",
        "send_us",
    ];
    assert_eq!(names, all);
    let refused = "GET / HTTP/1.1\nhost: a\nhost: b\n\n";
    let line = logged("timed-refused", "{ timings: true }", refused).await;
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    let names: Vec<&String> = line["timings"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["admit_us", "reply_us", "send_us"]);
    assert!(!logged("untimed", "{}", request).await.contains("timings"));
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_is_written_down_when_it_ends_with_the_bytes_of_both_sides() {
    let (gateway, mut connections) = with_tunnels("{ idle: 20s }");
    let lines = lines("tunnel", gateway, async |gateway| {
        let (mut client, mut backend) = open_on(&gateway, &mut connections).await;
        assert_eq!((in_flight(&gateway), recorded(&gateway)), (1, 0));
        tell(&mut client, "12345").await;
        hear(&mut backend).await;
        tell(&mut backend, "1234567").await;
        hear(&mut client).await;
        drop(backend);
        hear(&mut client).await;
        drop(client);
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (_client, _backend) = open_on(&gateway, &mut connections).await;
        tokio::time::sleep(Duration::from_secs(21)).await;
        let (client, mut backend) = open_on(&gateway, &mut connections).await;
        drop(client);
        hear(&mut backend).await;
        drop(backend);
        tokio::time::sleep(Duration::from_secs(1)).await;
        gateway
    })
    .await;
    let [whole, silent, left] = &lines[..] else { panic!("{lines:?}") };
    for line in &lines {
        assert_eq!((field(line, "status"), field(line, "method")), ("101".into(), "GET".into()));
    }
    assert_eq!((field(whole, "bytes_in"), field(whole, "bytes_out")), ("5".into(), "7".into()));
    assert_eq!(field(whole, "complete"), "null");
    assert_eq!(field(silent, "complete"), "false");
    assert_eq!(
        field(silent, "cause"),
        "the body was cut off: nothing passed through the tunnel for 20s (`idle`)"
    );
    assert_eq!(field(left, "complete"), "null", "{left}");
}
