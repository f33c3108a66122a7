//! Servers of Redis.

use super::servers::free_port;
use super::wait::until;
use super::yett::Yett;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A Redis with a folder of its own.
pub(crate) struct Redis {
    pub(crate) child: Child,
    pub(crate) folder: TempDir,
    pub(crate) port: u16,
}

fn launch(folder: &TempDir, port: u16, more: &[&str]) -> Option<Child> {
    let mut child = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
        .args(more)
        .arg("--dir")
        .arg(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-server is installed: scripts/needs.sh");
    until("Redis answers", || {
        if child.try_wait().unwrap().is_some() {
            return Some(None);
        }
        say(port, "PING").filter(|told| told.contains("PONG")).map(|_| Some(()))
    })
    .map(|()| child)
}

/// Says one line to a server of Redis; nothing if it does not answer.
pub(crate) fn say(port: u16, line: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    stream.write_all(format!("{line}\r\n").as_bytes()).ok()?;
    let mut told = vec![0; 4_096];
    let length = stream.read(&mut told).ok()?;
    told.truncate(length);
    String::from_utf8(told).ok()
}

impl Redis {
    pub(crate) fn start(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (child, port) = until("Redis finds a free port", || {
            let port = free_port();
            launch(&folder, port, more).map(|child| (child, port))
        });
        Self { child, folder, port }
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn revive(&mut self, more: &[&str]) {
        self.child = until("Redis starts again", || launch(&self.folder, self.port, more));
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// How a gateway finds its only store.
pub(crate) fn store_state(yett: &Yett) -> String {
    yett.status()["stores"][0]["state"].as_str().unwrap().to_owned()
}
