//! Programs of Node.js, with the packages that are installed below `target/node`.

use super::wait::Lines;
use std::io::Write as _;
use std::process::{Child, ChildStdin, Command, Stdio};

const PACKAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/node");

/// A program of Node.js; it ends with the test.
pub(crate) struct Node {
    child: Child,
    input: ChildStdin,
    /// What it has printed.
    pub(crate) told: Lines,
}

impl Node {
    /// Starts a program. Its first argument is where the packages are.
    pub(crate) fn start(script: &str, arguments: &[&str]) -> Self {
        assert!(
            std::path::Path::new(PACKAGES).join("package-lock.json").exists(),
            "the packages of Node.js are not below target/node; `make needs` installs them"
        );
        let mut child = Command::new("node")
            .args([script, PACKAGES])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Node.js is installed");
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

    /// Ends it at once.
    pub(crate) fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}
