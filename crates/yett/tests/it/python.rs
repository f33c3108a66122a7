//! Programs of Python, with the packages that are installed below `target/python`.

use super::wait::Lines;
use std::io::Write as _;
use std::process::{Child, ChildStdin, Command, Stdio};

const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/python/bin/python");

/// A program of Python; it ends with the test.
pub(crate) struct Python {
    pub(crate) child: Child,
    input: ChildStdin,
    /// What it has printed.
    pub(crate) told: Lines,
}

impl Python {
    pub(crate) fn start(script: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(PYTHON)
            .args(["-B", script])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python is below target/python; `make needs` installs it");
        let input = child.stdin.take().unwrap();
        let told = Lines::of(child.stdout.take().unwrap());
        Self { child, input, told }
    }

    /// The port that a server prints when it serves.
    pub(crate) fn port(&self) -> String {
        self.told.find("its port", |line| Some(line.strip_prefix("port ")?.to_owned()))
    }

    /// Writes a line to its input.
    pub(crate) fn order(&mut self, line: &str) {
        self.input.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
