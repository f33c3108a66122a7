//! The gateway as a process.

use super::client;
use super::wait::{self, Lines};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::Duration;
use tempfile::TempDir;

/// The first lines of every config: operators are served on a port of the system's choice.
pub(crate) const TOP: &str = "version: 1\nadmin: { bind: \"127.0.0.1:0\" }\n";
/// One listener, on a port of the system's choice.
pub(crate) const PUBLIC: &str = "listeners: { public: { bind: \"127.0.0.1:0\" } }\n";

/// A config that sends everything to one target, with more top-level fields below.
pub(crate) fn plain(target: &str, more: &str) -> String {
    format!(
        "{TOP}{PUBLIC}upstreams: {{ backend: {{ targets: [\"{target}\"] }} }}\napis: {{ all: {{ upstream: backend, public: a test }} }}\n{more}"
    )
}

/// The program with these arguments, in this folder, with no environment of the test's.
pub(crate) fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_yett"));
    command.args(arguments).current_dir(folder);
    for variable in ["YETT_CONFIG", "YETT_LOG", "YETT_LOG_JSON", "RUST_BACKTRACE"] {
        command.env_remove(variable);
    }
    command
}

/// Runs a command that ends by itself.
///
/// # Panics
/// When it does not, as a gateway that should have been refused.
pub(crate) fn run(folder: &Path, arguments: &[&str]) -> Ended {
    let mut command = command(folder, arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let pid = child.id();
    let (sender, ended) = sync_channel(1);
    std::thread::spawn(move || sender.send(child.wait_with_output().unwrap()));
    let output = ended.recv_timeout(wait::PATIENCE).unwrap_or_else(|_| {
        signal(pid, "KILL");
        panic!("{arguments:?} does not end")
    });
    output.into()
}

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// A folder with a config, and how the gateway is started in it.
pub(crate) struct Launch {
    pub(crate) folder: TempDir,
    level: &'static str,
    environment: Vec<(&'static str, String)>,
    limits: Option<&'static str>,
}

impl Launch {
    /// A folder whose `yett.yaml` is this.
    pub(crate) fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("yett.yaml"), config).unwrap();
        Self { folder, level: "info", environment: Vec::new(), limits: None }
    }

    /// A folder that there is already, with this `yett.yaml`.
    pub(crate) fn within(folder: TempDir, config: &str) -> Self {
        fs::write(folder.path().join("yett.yaml"), config).unwrap();
        Self { folder, level: "info", environment: Vec::new(), limits: None }
    }

    /// Puts another file beside the config.
    pub(crate) fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        fs::write(self.folder.path().join(name), content).unwrap();
        self
    }

    pub(crate) fn env(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    pub(crate) fn log(mut self, level: &'static str) -> Self {
        self.level = level;
        self
    }

    /// Has a shell run this first, such as `ulimit -n 100`.
    pub(crate) fn limits(mut self, limits: &'static str) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Starts the gateway and waits until it serves.
    pub(crate) fn start(self) -> Yett {
        let arguments = ["run", "yett.yaml", "--log", self.level];
        let mut command = command(self.folder.path(), &arguments);
        if let Some(limits) = self.limits {
            // The shell becomes the gateway, so that the process is the same.
            let script = format!("{limits} && exec \"$0\" \"$@\"");
            let mut shell = Command::new("sh");
            shell.args(["-c", &script]).arg(command.get_program()).args(arguments);
            shell.current_dir(self.folder.path());
            for (name, _) in command.get_envs() {
                shell.env_remove(name);
            }
            command = shell;
        }
        command.envs(self.environment).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Lines::of(child.stderr.take().unwrap());
        let access = Lines::of(child.stdout.take().unwrap());
        let mut yett = Yett { child, folder: self.folder, log, access };
        wait::until("the gateway serves", || {
            let ended = yett.child.try_wait().unwrap();
            assert_eq!(ended, None, "it ended: {}", yett.log.text());
            yett.log.text().contains("serving ").then_some(())
        });
        client::until_ok(&yett.admin(), "/readyz");
        yett
    }
}

/// A running gateway; it ends with the test.
pub(crate) struct Yett {
    child: Child,
    folder: TempDir,
    /// What it says on standard error.
    pub(crate) log: Lines,
    /// Its access log.
    pub(crate) access: Lines,
}

impl Yett {
    /// A gateway of this config.
    pub(crate) fn start(config: &str) -> Self {
        Launch::new(config).start()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where a listener is served: scheme, address and port.
    pub(crate) fn url(&self, listener: &str) -> String {
        let suffix = format!(" listener={listener}");
        self.log.find(&format!("the address of {listener}"), |line| {
            let (_, address) = line.split_once("serving ")?;
            address.strip_suffix(&suffix).map(str::to_owned)
        })
    }

    /// Address and port of a listener.
    pub(crate) fn address(&self, listener: &str) -> String {
        self.url(listener).split_once("://").unwrap().1.to_owned()
    }

    /// Address and port of the admin listener.
    pub(crate) fn admin(&self) -> String {
        self.log.find("the admin's address", |line| {
            let (_, address) = line.split_once("admin on http://")?;
            address.split(' ').next().map(str::to_owned)
        })
    }

    pub(crate) fn status(&self) -> Value {
        serde_json::from_str(&client::get(&self.admin(), "/status").body).unwrap()
    }

    pub(crate) fn metrics(&self) -> String {
        client::get(&self.admin(), "/metrics").body
    }

    /// The sum of all series of this name that hold all of these labels.
    pub(crate) fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        self.series(name, labels).iter().map(|value| value.parse::<f64>().unwrap()).sum()
    }

    /// The same of whole numbers.
    pub(crate) fn count(&self, name: &str, labels: &[&str]) -> u64 {
        self.series(name, labels).iter().map(|value| value.parse::<u64>().unwrap()).sum()
    }

    fn series(&self, name: &str, labels: &[&str]) -> Vec<String> {
        let fits = |line: &&str| {
            let after = line.strip_prefix(name);
            after.is_some_and(|rest| rest.starts_with(['{', ' ']))
                && labels.iter().all(|label| line.contains(label))
        };
        let value = |line: &str| line.rsplit(' ').next().unwrap().to_owned();
        self.metrics().lines().filter(fits).map(value).collect()
    }

    /// Writes a file as editors do: beside it, then in its place.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let beside = self.path(&format!("{name}.new"));
        fs::write(&beside, content).unwrap();
        fs::rename(beside, self.path(name)).unwrap();
    }

    /// Another config; returns what became of it, once that is known.
    pub(crate) fn reload(&self, config: impl AsRef<[u8]>) -> Value {
        self.reloaded_by(|| self.write("yett.yaml", config))
    }

    /// What became of the reload that something causes.
    pub(crate) fn reloaded_by(&self, cause: impl FnOnce()) -> Value {
        let before = self.status()["last_reload"].clone();
        cause();
        wait::until("the reload is seen", || {
            let now = self.status()["last_reload"].clone();
            (now != before).then_some(now)
        })
    }

    pub(crate) fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        wait::until("the gateway ends", || self.child.try_wait().unwrap())
    }

    /// How long its threads have been at work so far.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap();
        // Behind the name, which may hold anything: the 12th and 13th field, in hundredths of a second.
        let fields = stat.rsplit_once(") ").unwrap().1.split(' ').skip(11).take(2);
        let ticks: u64 = fields.map(|field| field.parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }

    /// A number of kilobytes of `/proc/PID/status`, such as `VmHWM`.
    pub(crate) fn memory_kb(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim_start_matches(':').split_whitespace().next().unwrap().parse().unwrap()
    }
}

impl Drop for Yett {
    fn drop(&mut self) {
        // It may have ended already, as the test wanted.
        drop(self.child.kill());
        drop(self.child.wait());
        let log = self.log.text();
        if std::thread::panicking() {
            eprintln!("--- the gateway said\n{log}\n--- and logged\n{}", self.access.text());
        } else {
            assert!(!log.contains("panicked"), "{log}");
        }
    }
}

/// Sends a signal to a process of ours.
pub(crate) fn signal(pid: u32, name: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().unwrap();
    assert!(sent.success(), "cannot send {name} to {pid}");
}
