//! curl as a client: a process for each list of requests, which keeps its connection among them.

use super::super::client::curl_command;
use super::asking::{Answer, Ask, Framing, Interim, Pairs};
use super::clients::Asker;
use super::program::spawn;
use serde_json::Value;
use std::fs::{self, File};
use std::process::{Command, Stdio};
use tempfile::TempDir;

/// HTTP/2 without negotiation. By that, curl 7.88 fails at its second request, whoever it asks; so it
/// is started for each.
pub(crate) const PRIOR_KNOWLEDGE: &str = "--http2-prior-knowledge";

pub(crate) struct Curl {
    /// The argument that chooses the version of HTTP.
    version: &'static str,
    base: String,
    folder: TempDir,
}

impl Curl {
    pub(crate) fn new(version: &'static str, base: &str) -> Self {
        Self { version, base: base.to_owned(), folder: tempfile::tempdir().unwrap() }
    }

    /// A file for one of several answers.
    fn file(&self, number: usize, what: &str) -> String {
        self.folder.path().join(format!("{number}.{what}")).display().to_string()
    }

    fn command(&self, asks: &[Ask]) -> Command {
        let mut command = curl_command(&[]);
        for (number, ask) in asks.iter().enumerate() {
            if number > 0 {
                // What was said so far is for the requests before.
                command.args(["--next", "-sS", "--noproxy", "*"]);
            }
            command.arg(self.version);
            command.args(["-D", &self.file(number, "head"), "-o", &self.file(number, "body")]);
            command.args(["-w", "%{json}\n", "-X", ask.method]);
            if ask.method == "HEAD" {
                command.arg("-I");
            }
            for (name, value) in &ask.headers {
                command.args(["-H", &format!("{name}: {value}")]);
            }
            if self.version == "--http1.0" && asks.len() > 1 {
                // An older client that wants to keep its connection has to say so.
                command.args(["-H", "connection: keep-alive"]);
            }
            self.body(&mut command, ask);
            command.arg(format!("{}{}", self.base, ask.path));
        }
        command
    }

    fn body(&self, command: &mut Command, ask: &Ask) {
        if ask.hurries {
            command.args(["-H", "expect:"]);
        }
        if ask.expects {
            command.args(["-H", "expect: 100-continue"]);
            // By itself curl waits no longer than a second.
            command.args(["--expect100-timeout", "30"]);
        }
        match &ask.body {
            None => {}
            Some((content, Framing::Length)) => {
                command.arg("-T").arg(&content.file);
            }
            Some((content, Framing::Chunked)) => {
                command.args(["-T", "-"]).stdin(File::open(&content.file).unwrap());
            }
        }
    }

    fn answer(&self, number: usize, ask: &Ask, told: &Value) -> Answer {
        let head = fs::read_to_string(self.file(number, "head")).unwrap_or_default();
        let body = fs::read(self.file(number, "body")).unwrap_or_default();
        // Of an answer to HEAD, curl writes the head as if it were the body.
        let body = if ask.method == "HEAD" { Vec::new() } else { body };
        let mut answer = parse(&head).received(&body);
        if told["exitcode"] != 0 {
            answer.error = Some(format!("{}: {}", told["exitcode"], told["errormsg"]));
        }
        answer
    }

    /// Runs curl once.
    fn run(&self, asks: &[Ask]) -> Vec<Answer> {
        for number in 0..asks.len() {
            // There are none yet the first time.
            drop(fs::remove_file(self.file(number, "head")));
            drop(fs::remove_file(self.file(number, "body")));
        }
        let mut command = self.command(asks);
        let child = spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
        let output = child.wait_with_output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        let told: Vec<Value> = told.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
        assert_eq!(told.len(), asks.len(), "{}", String::from_utf8_lossy(&output.stderr));
        let both = asks.iter().zip(&told).enumerate();
        both.map(|(number, (ask, told))| self.answer(number, ask, told)).collect()
    }
}

impl Asker for Curl {
    fn ask_all(&mut self, asks: &[Ask]) -> Vec<Answer> {
        if self.version == PRIOR_KNOWLEDGE {
            return asks.iter().flat_map(|ask| self.run(std::slice::from_ref(ask))).collect();
        }
        self.run(asks)
    }

    fn leave(&mut self, ask: &Ask, begun: &dyn Fn()) {
        let mut command = self.command(std::slice::from_ref(ask));
        // So slowly that it is nowhere near the end when it is killed.
        command.args(["--limit-rate", "1M"]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = spawn(&mut command);
        begun();
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// Takes apart what curl says of heads: interim ones, the last one, and trailers.
fn parse(text: &str) -> Answer {
    let mut answer = Answer::default();
    for block in text.split("\r\n\r\n") {
        let Some(line) = block.strip_prefix("HTTP/") else {
            answer.trailers.extend(pairs(block));
            continue;
        };
        let (version, rest) = line.split_once(' ').unwrap();
        let status = rest.get(..3).unwrap().parse().unwrap();
        if status < 200 {
            answer.interim.push(Interim { status, headers: pairs(block) });
        } else {
            answer.version = format!("HTTP/{version}");
            answer.status = status;
            answer.headers = pairs(block);
        }
    }
    answer
}

fn pairs(block: &str) -> Pairs {
    let pair = |line: &str| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_owned(), value.trim().to_owned()))
    };
    block.lines().filter_map(pair).collect()
}
