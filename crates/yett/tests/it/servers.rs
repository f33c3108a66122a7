//! Servers of others: nginx and Python's.

use super::wait::{Lines, until};
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use tempfile::TempDir;

/// A running nginx of one process.
pub(crate) struct Nginx {
    child: Child,
    folder: TempDir,
    pub(crate) address: String,
}

impl Nginx {
    /// Serves files from a folder of its own, by a config that holds this in its `server` block.
    pub(crate) fn start(server: &str) -> Self {
        Self::start_with("", server)
    }

    /// The same, with words behind its address, such as ` ssl`.
    pub(crate) fn start_with(listen: &str, server: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("files")).unwrap();
        until("nginx finds a free port", || {
            let address = format!("127.0.0.1:{}", free_port());
            fs::write(
                folder.path().join("nginx.conf"),
                config(&format!("{address}{listen}"), server),
            )
            .unwrap();
            let child = launch(folder.path(), &address)?;
            Some((child, address))
        })
        .into_nginx(folder)
    }

    /// Puts a file where it is served.
    pub(crate) fn file(&self, name: &str, content: &[u8]) {
        fs::write(self.folder.path().join("files").join(name), content).unwrap();
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same address.
    pub(crate) fn revive(&mut self) {
        self.child = until("nginx starts again", || launch(self.folder.path(), &self.address));
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

trait IntoNginx {
    fn into_nginx(self, folder: TempDir) -> Nginx;
}

impl IntoNginx for (Child, String) {
    fn into_nginx(self, folder: TempDir) -> Nginx {
        Nginx { child: self.0, folder, address: self.1 }
    }
}

fn config(address: &str, server: &str) -> String {
    format!(
        "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr warn;\n\
         events {{ worker_connections 1024; }}\n\
         http {{\n  access_log off;\n  client_max_body_size 0;\n  keepalive_requests 1000000;\n\
           client_body_temp_path body;\n  proxy_temp_path proxy;\n  fastcgi_temp_path fastcgi;\n\
           uwsgi_temp_path uwsgi;\n  scgi_temp_path scgi;\n\
           server {{\n    listen {address};\n    root files;\n    {server}\n  }}\n}}\n"
    )
}

/// Starts nginx and waits until it takes connections; nothing if it ended instead.
fn launch(folder: &Path, address: &str) -> Option<Child> {
    let prefix = format!("{}/", folder.display());
    let mut child = Command::new("/usr/sbin/nginx")
        .args(["-e", "stderr", "-p", &prefix, "-c", "nginx.conf"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("nginx is there; `make needs` installs it");
    let told = Lines::of(child.stderr.take().unwrap());
    until("nginx serves", || match child.try_wait().unwrap() {
        Some(_) if told.text().contains("Address already in use") => Some(false),
        Some(status) => panic!("nginx ended with {status}: {}", told.text()),
        None => TcpStream::connect(address).is_ok().then_some(true),
    })
    .then_some(child)
}

/// A port below those that the system gives to clients, so that it stays free while its server is away.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 10_000).unwrap() * 2;
    until("a port is free", || {
        let port = 10_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        TcpListener::bind(("127.0.0.1", port)).is_ok().then_some(port)
    })
}

/// Python's file server on a folder of its own.
pub(crate) struct Python {
    child: Child,
    folder: TempDir,
    pub(crate) address: String,
}

impl Python {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new("python3")
            .args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3 is there; `make needs` installs it");
        let told = Lines::of(child.stdout.take().unwrap());
        let port = told.find("the port", |line| {
            let (_, after) = line.split_once(" port ")?;
            after.split(' ').next().map(str::to_owned)
        });
        Self { child, folder, address: format!("127.0.0.1:{port}") }
    }

    /// Puts a file where it is served.
    pub(crate) fn file(&self, name: &str, content: &[u8]) {
        fs::write(self.folder.path().join(name), content).unwrap();
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
