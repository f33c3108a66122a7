//! The same hostile bytes to nginx, to HAProxy and to the gateway, each in front of a backend that writes down
//! what it sees. What they do is recorded in `tests/hostile/peers.json`; `docs/reference/hostile.md` is made of
//! it and of the table of all rows beside it.

/// The page.
mod page;
/// A backend that writes down requests.
mod recorder;
/// HAProxy as a process.
pub(crate) mod haproxy;

use super::servers::Nginx;
use super::wait::PATIENCE;
use super::yett::{PUBLIC, TOP, Yett};
use haproxy::Haproxy;
use recorder::Recorder;
use serde_json::{Value, json};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use testkit::{committed, repository};

const TABLE: &str = "crates/yett/tests/hostile/table.json";
const RECORD: &str = "crates/yett/tests/hostile/peers.json";
const PAGE: &str = "docs/reference/hostile.md";

/// What follows a row on its connection.
const TAIL: &[u8] = b"GET /tail HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n";

/// A typical reverse proxy with a guarded folder, as `/admin` is for the gateway of the table. What clients
/// leave open ends soon.
const NGINX: &str = "keepalive_timeout 1s; client_header_timeout 20s; client_body_timeout 20s;
    location /admin { return 403; }
    location / { proxy_pass http://BACKEND; proxy_http_version 1.1; proxy_set_header Host $host; proxy_set_header Connection \"\"; }";
const HAPROXY: &str = "defaults
  mode http
  timeout connect 5s
  timeout client 20s
  timeout server 20s
  timeout http-request 20s
  timeout http-keep-alive 1s
frontend front
  bind ADDRESS
  http-request deny if { path /admin } or { path_beg /admin/ }
  default_backend back
backend back
  server one BACKEND
";

#[test]
fn the_same_bytes_to_other_servers() {
    let table = read(TABLE);
    let recorded = read(RECORD);
    let rows = table["compared"].as_array().unwrap();
    let (nginx, haproxy) = (nginx_version(), Haproxy::version());
    let told = std::thread::scope(|scope| {
        let yett = scope.spawn(|| to_yett(rows));
        let peers = [scope.spawn(|| to_nginx(rows)), scope.spawn(|| to_haproxy(rows))];
        [yett.join().unwrap()]
            .into_iter()
            .chain(peers.map(|p| p.join().unwrap()))
            .collect::<Vec<_>>()
    });
    let is_blessed = base::env::text("YETT_BLESS").is_some();
    // Another version may do otherwise: what was recorded stands until it is blessed.
    let takes = |name: &str, version: &str| is_blessed || recorded[name] == version;
    let (takes_nginx, takes_haproxy) = (takes("nginx", &nginx), takes("haproxy", &haproxy));
    let kept = |row: &Value, name: &str| {
        let rows = recorded["rows"].as_array()?;
        let same = |old: &&Value| old["name"] == row["name"] && old["class"] == row["class"];
        Some(rows.iter().find(same)?[name].clone())
    };
    let rows: Vec<Value> = rows
        .iter()
        .enumerate()
        .map(|(at, row)| {
            let column = |number: usize, name: &str, takes: bool| {
                let found = json!(told[number][at]);
                if takes { found } else { kept(row, name).unwrap_or(found) }
            };
            json!({
                "class": row["class"],
                "name": row["name"],
                "yett": told[0][at],
                "nginx": column(1, "nginx", takes_nginx),
                "haproxy": column(2, "haproxy", takes_haproxy),
            })
        })
        .collect();
    let version = |name: &str, takes: bool, found: &str| match recorded[name].as_str() {
        Some(old) if !takes => old.to_owned(),
        _ => found.to_owned(),
    };
    let record = json!({
        "nginx": version("nginx", takes_nginx, &nginx),
        "haproxy": version("haproxy", takes_haproxy, &haproxy),
        "rows": rows,
    });
    committed(RECORD, &format!("{record:#}\n"));
    committed(PAGE, &page::page(&table, &record));
}

fn nginx_version() -> String {
    let output = Command::new("/usr/sbin/nginx").arg("-v").output().expect("nginx is installed");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let version = told.split("nginx/").nth(1).and_then(|rest| rest.split_whitespace().next());
    version.expect("a version").to_owned()
}

fn read(path: &str) -> Value {
    let text = fs::read_to_string(repository().join(path)).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or(Value::Null)
}

fn to_yett(rows: &[Value]) -> Vec<String> {
    let backend = Recorder::start();
    let yett = Yett::start(&format!(
        "{TOP}{PUBLIC}upstreams: {{ one: {{ targets: ['{}'], retries: 0 }} }}
apis:
  test:
    upstream: one
    public: a test
    routes:
      - /admin/*: {{ policies: [{{ deny: 'true' }}] }}
      - /*
",
        backend.address
    ));
    tell_all(rows, &yett.address("public"), &backend)
}

fn to_nginx(rows: &[Value]) -> Vec<String> {
    let backend = Recorder::start();
    let nginx = Nginx::start(&NGINX.replace("BACKEND", &backend.address.to_string()));
    tell_all(rows, &nginx.address, &backend)
}

fn to_haproxy(rows: &[Value]) -> Vec<String> {
    let backend = Recorder::start();
    let haproxy = Haproxy::start(&HAPROXY.replace("BACKEND", &backend.address.to_string()));
    tell_all(rows, &haproxy.address, &backend)
}

/// What becomes of each row, one after the other: `200, 400; GET /a`, the statuses and what the backend saw.
fn tell_all(rows: &[Value], address: &str, backend: &Recorder) -> Vec<String> {
    rows.iter().map(|row| tell(row, address, backend)).collect()
}

fn tell(row: &Value, address: &str, backend: &Recorder) -> String {
    let tail = if row["asks"] == true { TAIL } else { b"" };
    let case: Vec<u8> =
        row["bytes"].as_str().unwrap().chars().map(|c| u8::try_from(c).unwrap()).collect();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // Who refuses early may be gone before it has read everything, and then resets the connection.
    stream.write_all(&[&case, tail].concat()).ok();
    let mut answer = Vec::new();
    let mut piece = [0; 4 << 10];
    while let Ok(count @ 1..) = stream.read(&mut piece) {
        answer.extend_from_slice(piece.get(..count).unwrap());
    }
    let statuses = statuses(&String::from_utf8_lossy(&answer));
    let seen = backend.take();
    let statuses = if statuses.is_empty() { "no answer".to_owned() } else { statuses.join(", ") };
    if seen.is_empty() { statuses } else { format!("{statuses}; {}", seen.join(", ")) }
}

/// The statuses of all answers. HTTP/0.9 has none.
fn statuses(text: &str) -> Vec<String> {
    let mut found: Vec<String> = text
        .split("HTTP/1.")
        .skip(1)
        .filter_map(|answer| Some(answer.split(' ').nth(1)?.get(..3)?.to_owned()))
        .filter(|status| status.bytes().all(|byte| byte.is_ascii_digit()))
        .collect();
    if found.is_empty() && !text.is_empty() {
        found.push("no status".to_owned());
    }
    found
}
