//! Servers of Redis.

use super::servers::free_port;
use super::wait::{until, until_true};
use super::yett::Yett;
use std::fs;
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

    /// Whether it is a replica, and has all that its master has.
    pub(crate) fn follows(&self) -> bool {
        say(self.port, "INFO replication")
            .is_some_and(|told| told.contains("master_link_status:up"))
    }

    /// Starts it again if somebody has ended it.
    pub(crate) fn be_there(&mut self) {
        if self.child.try_wait().unwrap().is_some() {
            self.revive(&[]);
        }
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

/// A Sentinel that watches a server.
pub(crate) struct Sentinel {
    child: Child,
    _folder: TempDir,
    pub(crate) port: u16,
}

impl Sentinel {
    fn watch(master: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (child, port) = until("a Sentinel finds a free port", || {
            let port = free_port();
            let file = folder.path().join("sentinel.conf");
            let text = format!(
                "port {port}\nbind 127.0.0.1\nsentinel monitor limits 127.0.0.1 {master} 1\nsentinel down-after-milliseconds limits 1000\nsentinel failover-timeout limits 5000\n"
            );
            fs::write(&file, text).unwrap();
            let mut child = Command::new("redis-sentinel")
                .arg(&file)
                .stdout(Stdio::null())
                .spawn()
                .expect("redis-sentinel is installed: scripts/needs.sh");
            until("it answers, or has ended", || {
                if child.try_wait().unwrap().is_some() {
                    return Some(false);
                }
                say(port, "PING").filter(|told| told.contains("PONG")).map(|_| true)
            })
            .then_some((child, port))
        });
        Self { child, _folder: folder, port }
    }
}

impl Drop for Sentinel {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A master, a replica that follows it, and a Sentinel that knows of both.
pub(crate) fn watched() -> (Redis, Redis, Sentinel) {
    let master = Redis::start(&[]);
    let replica = Redis::start(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
    let sentinel = Sentinel::watch(master.port);
    until_true("the Sentinel knows of the replica", || {
        say(sentinel.port, "SENTINEL replicas limits")
            .is_some_and(|told| told.contains(&replica.port.to_string()))
    });
    until_true("the replica follows", || replica.follows());
    (master, replica, sentinel)
}

/// A cluster of so many masters, with so many replicas of each.
pub(crate) fn cluster(masters: usize, replicas: usize) -> Vec<Redis> {
    let node = || {
        until("a node of a cluster starts", || {
            let bus = free_port().to_string();
            let more = ["--cluster-enabled", "yes", "--cluster-port", &bus];
            let more = [&more[..], &["--cluster-require-full-coverage", "no"]].concat();
            let more = [&more[..], &["--cluster-node-timeout", "2000"]].concat();
            let node = Redis::start(&more);
            say(node.port, "PING").map(|_| node)
        })
    };
    let servers: Vec<Redis> = (0..masters * (1 + replicas)).map(|_| node()).collect();
    let nodes: Vec<String> = servers.iter().map(|it| format!("127.0.0.1:{}", it.port)).collect();
    let made = Command::new("redis-cli")
        .args(["--cluster", "create"])
        .args(&nodes)
        .args(["--cluster-replicas", &replicas.to_string(), "--cluster-yes"])
        .output()
        .expect("redis-cli comes with redis-server");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
    until_true("the cluster is whole", || {
        servers.iter().all(|it| {
            say(it.port, "CLUSTER INFO").is_some_and(|told| told.contains("cluster_state:ok"))
        })
    });
    until_true("its replicas follow", || {
        servers.iter().filter(|it| it.follows()).count() == masters * replicas
    });
    servers
}
