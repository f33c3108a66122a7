//! Reads metrics and status of a gateway from its admin listener.

use super::openmetrics::{self, Series};
use base::Clock;
use serde_json::Value;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

/// How long one question may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of one answer: a gateway with the most series that it may have.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// What a gateway said at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(super) at: Instant,
    pub(super) series: Vec<Series>,
    pub(super) status: Value,
}

impl Reading {
    /// What was said in these words.
    pub(super) fn of(at: Instant, metrics: &str, status: &str) -> Result<Self, String> {
        let status = serde_json::from_str(status)
            .map_err(|error| format!("what it says of its status cannot be read: {error}"))?;
        Ok(Self { at, series: openmetrics::parse(metrics), status })
    }
}

/// Asks the gateway at this address.
///
/// # Errors
/// In words, and what to do.
pub(crate) fn read(admin: &str) -> Result<Reading, String> {
    let bare = bare(admin);
    let wrong = |why: String| none(bare, &why);
    let at = Clock::System.now();
    let metrics = get(bare, "/metrics").map_err(wrong)?;
    let status = get(bare, "/status").map_err(wrong)?;
    Reading::of(at, &metrics, &status).map_err(wrong)
}

/// Asks the gateway at this address for something else.
///
/// # Errors
/// In words, and what to do; what the gateway itself says if it refuses.
pub(crate) fn ask(admin: &str, method: &str, path: &str) -> Result<String, String> {
    let bare = bare(admin);
    let (status, body) = exchange(bare, method, path).map_err(|why| none(bare, &why))?;
    match &*status {
        "200" => Ok(body),
        _ => Err(body.trim().to_owned()),
    }
}

fn bare(admin: &str) -> &str {
    admin.strip_prefix("http://").unwrap_or(admin).trim_end_matches('/')
}

fn none(address: &str, why: &str) -> String {
    format!(
        "no gateway answers at {address}: {why}; is it running, and does `admin: {{ bind: … }}` of its config say so? `--admin` names another"
    )
}

/// Waits until it is time for another look.
#[expect(clippy::disallowed_methods, reason = "to look once in an interval is what was asked for")]
pub(crate) fn pause(interval: Duration) {
    std::thread::sleep(interval);
}

fn get(address: &str, path: &str) -> Result<String, String> {
    let (status, body) = exchange(address, "GET", path)?;
    match &*status {
        "200" => Ok(body),
        _ => Err(format!("it answers {path} with {status}, as no admin listener does")),
    }
}

/// The status and the body of an answer.
fn exchange(address: &str, method: &str, path: &str) -> Result<(String, String), String> {
    let mut stream = connect(address)?;
    let asked = stream
        .set_read_timeout(Some(TIMEOUT))
        .and_then(|()| stream.set_write_timeout(Some(TIMEOUT)))
        .and_then(|()| {
            let head = format!("{method} {path} HTTP/1.0\r\nhost: {address}\r\n\r\n");
            stream.write_all(head.as_bytes())
        });
    asked.map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).map_err(|error| error.to_string())?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| "what is there does not speak HTTP".to_owned())?;
    Ok((head.split(' ').nth(1).unwrap_or_default().to_owned(), body.to_owned()))
}

fn connect(address: &str) -> Result<TcpStream, String> {
    let named: Vec<SocketAddr> = address
        .to_socket_addrs()
        .map_err(|error| format!("`{address}` is not an address such as 127.0.0.1:9901: {error}"))?
        .collect();
    let mut last = "the name stands for no address".to_owned();
    for address in named {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error.to_string(),
        }
    }
    Err(last)
}
