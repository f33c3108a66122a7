//! wrk as a client: it asks a list in turn, on one connection, and a script of ours writes down what it
//! got.

use super::super::wait::Lines;
use super::asking::{Answer, Ask};
use super::clients::Asker;
use super::program::{beside, spawn};
use std::fs;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

pub(crate) struct Wrk {
    base: String,
}

impl Wrk {
    pub(crate) fn new(base: &str) -> Self {
        Self { base: base.to_owned() }
    }

    fn start(&self, asks: &[Ask]) -> Run {
        let folder = tempfile::tempdir().unwrap();
        let orders = folder.path().join("orders");
        fs::write(&orders, asks.iter().map(order).collect::<String>()).unwrap();
        let mut command = Command::new("wrk");
        command.args(["-t1", "-c1", "-d300s", "--timeout", "30s"]);
        command.args(["-s", &beside("client_wrk.lua"), &self.base, "--"]);
        command.arg(&orders).arg(folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = spawn(&mut command);
        let told = Lines::of(child.stdout.take().unwrap());
        Run { child, told, folder }
    }
}

impl Asker for Wrk {
    fn ask_all(&mut self, asks: &[Ask]) -> Vec<Answer> {
        let run = self.start(asks);
        run.told.expect(&["answered"]);
        (1..=asks.len()).map(|number| run.answer(number)).collect()
    }

    fn ask_broken(&mut self, ask: &Ask, died_twice: &dyn Fn()) -> Answer {
        let run = self.start(std::slice::from_ref(ask));
        // What it took for whole is written down before it asks again.
        died_twice();
        let is_whole = run.folder.path().join("1.head").exists();
        let error = (!is_whole).then(|| "no whole answer".to_owned());
        Answer { error, ..Answer::default() }
    }

    fn leave(&mut self, ask: &Ask, begun: &dyn Fn()) {
        let run = self.start(std::slice::from_ref(ask));
        begun();
        drop(run);
    }
}

/// A line of the script's orders.
fn order(ask: &Ask) -> String {
    let file = ask.body.as_ref().map(|(content, _)| content.file.display().to_string());
    let body = file.as_deref().unwrap_or("-");
    let mut line = format!("{}\t{}\t{body}", ask.method, ask.path);
    for (name, value) in &ask.headers {
        line.push_str(&format!("\t{name}\t{value}"));
    }
    line.push('\n');
    line
}

/// A running wrk; it is killed, for by itself it would go on.
struct Run {
    child: Child,
    told: Lines,
    folder: TempDir,
}

impl Run {
    fn answer(&self, number: usize) -> Answer {
        let read = |what: &str| fs::read(self.folder.path().join(format!("{number}.{what}")));
        let head = String::from_utf8(read("head").unwrap()).unwrap();
        let mut lines = head.lines();
        let status = lines.next().unwrap().parse().unwrap();
        let pair = |line: &str| {
            let (name, value) = line.split_once(": ").unwrap_or((line, ""));
            (name.to_owned(), value.to_owned())
        };
        let headers = lines.map(pair).collect();
        Answer { status, headers, ..Answer::default() }.received(&read("body").unwrap())
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
