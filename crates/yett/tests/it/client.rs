//! Clients: curl, wrk, and plain sockets for what no proper client would send.

use super::wait::{PATIENCE, until};
use super::yett::signal;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

/// An answer as a client saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer<B = String> {
    pub(crate) status: u16,
    /// Status line and headers; trailers, where the client shows them.
    pub(crate) head: String,
    pub(crate) body: B,
}

impl<B> Answer<B> {
    /// The value of a header, if it is there once; its name in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        header(&self.head, name)
    }
}

/// The value of a header in a head, if it is there once; its name in lower case.
pub(crate) fn header(head: &str, name: &str) -> Option<String> {
    let mut values = head.lines().filter_map(|line| {
        let (written, value) = line.split_once(':')?;
        written.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    });
    let value = values.next()?;
    assert_eq!(values.next(), None, "`{name}` is there twice in {head}");
    Some(value)
}

/// Asks by curl.
///
/// # Panics
/// When curl fails.
pub(crate) fn curl(arguments: &[&str]) -> Answer {
    let answer = curl_bytes(arguments);
    let body = String::from_utf8(answer.body).unwrap();
    Answer { status: answer.status, head: answer.head, body }
}

/// Asks by curl for a body that is not text.
pub(crate) fn curl_bytes(arguments: &[&str]) -> Answer<Vec<u8>> {
    let output = curl_command(arguments).arg("-i").output().expect("curl is installed");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "curl {arguments:?}: {told}");
    parse(&output.stdout)
}

/// The status of an answer, also where its body was cut off: whoever loses a credential loses what is under way.
pub(crate) fn status_of(arguments: &[&str]) -> u16 {
    let quiet = ["-o", "/dev/null", "-w", "%{http_code}"];
    let output = curl_command(arguments).args(quiet).output().expect("curl is installed");
    String::from_utf8(output.stdout).unwrap().parse().unwrap()
}

/// The exit code of a curl that cannot succeed.
pub(crate) fn curl_fails(arguments: &[&str]) -> i32 {
    let output = curl_command(arguments).output().expect("curl is installed");
    output.status.code().unwrap()
}

pub(crate) fn curl_command(arguments: &[&str]) -> Command {
    let mut command = Command::new("curl");
    let limit = PATIENCE.as_secs().to_string();
    command.args(["-q", "-sS", "--noproxy", "*", "--max-time", &limit]).args(arguments);
    command.stdin(Stdio::null());
    command
}

/// Takes an answer apart; heads of interim answers come first.
fn parse(bytes: &[u8]) -> Answer<Vec<u8>> {
    let mut rest = bytes;
    loop {
        let end = rest.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
        let (head, body) = (rest.get(..end).unwrap(), rest.get(end + 4..).unwrap());
        let head = String::from_utf8(head.to_vec()).unwrap();
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        if status >= 200 {
            return Answer { status, head, body: body.to_vec() };
        }
        rest = body;
    }
}

/// A connection of its own, for what is not sent by curl.
pub(crate) fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends bytes and reads until the other side closes.
pub(crate) fn raw(address: &str, bytes: &[u8]) -> String {
    let mut stream = connect(address);
    stream.write_all(bytes).unwrap();
    read_to_end(&mut stream)
}

/// Reads until the other side closes.
pub(crate) fn read_to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

/// Reads a head, byte by byte, so that nothing of what follows is taken.
pub(crate) fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// A request without curl, for conditions that are asked for often.
pub(crate) fn get(address: &str, path: &str) -> Answer {
    ask(address, &format!("GET {path}"), address, "")
}

/// A request with method and path, a host, and a body.
pub(crate) fn ask(address: &str, line: &str, host: &str, body: &str) -> Answer {
    let length = body.len();
    let request = format!(
        "{line} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    let text = raw(address, request.as_bytes());
    let answer = parse(text.as_bytes());
    let body = String::from_utf8(answer.body).unwrap();
    Answer { status: answer.status, head: answer.head, body }
}

/// Waits until a path is answered with 200.
pub(crate) fn until_ok(address: &str, path: &str) {
    until(&format!("{address}{path} answers 200"), || {
        (get(address, path).status == 200).then_some(())
    });
}

/// A load of requests by wrk, until it is ended.
pub(crate) struct Load {
    child: Option<Child>,
}

/// What wrk counted.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) requests: u64,
    /// Everything that is not an answer with 2xx or 3xx, in wrk's words.
    pub(crate) failures: Vec<String>,
    /// All that it said.
    pub(crate) said: String,
}

/// Connections of a load.
pub(crate) const LOAD_CONNECTIONS: u64 = 8;

impl Load {
    pub(crate) fn start(url: &str) -> Self {
        Self::start_with(url, &[])
    }

    /// The same with more arguments for wrk.
    pub(crate) fn start_with(url: &str, more: &[&str]) -> Self {
        let connections = format!("-c{LOAD_CONNECTIONS}");
        let child = Command::new("wrk")
            .args(["-t1", &connections, "-d300s", "--timeout", "30s"])
            .args(more)
            .arg(url)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("wrk is installed");
        Self { child: Some(child) }
    }

    /// Ends it and returns what it counted.
    pub(crate) fn end(mut self) -> Counted {
        let child = self.child.take().unwrap();
        signal(child.id(), "INT");
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let requests = text.lines().find_map(|line| line.trim().split_once(" requests in "));
        let requests = requests.unwrap_or_else(|| panic!("wrk said {text}")).0.parse().unwrap();
        let is_failure = |line: &&str| line.contains("Socket errors") || line.contains("Non-2xx");
        let failures = text.lines().filter(is_failure).map(str::to_owned).collect();
        Counted { requests, failures, said: text }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}
