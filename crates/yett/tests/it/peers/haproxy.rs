//! A running HAProxy of one process.

use crate::it::servers::free_port;
use crate::it::wait::{Lines, until};
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

const PROGRAM: &str = "/usr/sbin/haproxy";

pub(crate) struct Haproxy {
    child: Child,
    _folder: TempDir,
    pub(crate) address: String,
}

impl Haproxy {
    /// Serves by this config, in which `ADDRESS` is where.
    pub(crate) fn start(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("haproxy.cfg");
        let (child, address) = until("HAProxy finds a free port", || {
            let address = format!("127.0.0.1:{}", free_port());
            fs::write(&file, config.replace("ADDRESS", &address)).unwrap();
            Some((launch(&file, &address)?, address))
        });
        Self { child, _folder: folder, address }
    }

    pub(crate) fn version() -> String {
        let output = Command::new(PROGRAM).arg("-v").output().expect("HAProxy is installed");
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let version =
            told.split("version ").nth(1).and_then(|rest| rest.split([' ', '-', '+']).next());
        version.expect("a version").to_owned()
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Starts HAProxy and waits until it takes connections; nothing if it ended instead.
fn launch(file: &Path, address: &str) -> Option<Child> {
    let mut child = Command::new(PROGRAM)
        .args(["-db", "-f"])
        .arg(file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("HAProxy is installed");
    let told = Lines::of(child.stderr.take().unwrap());
    until("HAProxy serves", || match child.try_wait().unwrap() {
        Some(_) if told.text().contains("Address already in use") => Some(false),
        Some(status) => panic!("HAProxy ended with {status}: {}", told.text()),
        None => TcpStream::connect(address).is_ok().then_some(true),
    })
    .then_some(child)
}
