//! A database behind the gateway: PostgreSQL, spoken to by its own client over a TCP route.

use super::servers::free_port;
use super::wait::{Lines, until, until_true};
use super::yett::{Launch, TOP, Yett, signal};
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;
use testkit::Authority;

/// Whom PostgreSQL runs as where tests run as root: it refuses to be that.
const NOBODY: u32 = 65_534;
/// The name in its certificate.
const NAME: &str = "db.test";
/// Rows that are copied in and out, about 7 bytes each.
const ROWS: u64 = 300_000;

/// A PostgreSQL with a folder of its own, which takes clients with TLS and without.
pub(crate) struct Postgres {
    child: Child,
    place: Place,
    pub(crate) port: u16,
}

/// Where it is, and whom it runs as, if not as the test does.
struct Place {
    folder: TempDir,
    user: Option<u32>,
}

impl Postgres {
    pub(crate) fn start(authority: &Authority) -> Self {
        let place = Place::new(authority);
        let made = place
            .program("initdb")
            .args(["--pgdata=data", "--auth=trust", "--username=yett", "--no-sync"])
            .args(["--encoding=UTF8", "--locale=C"])
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let (child, port) = until("PostgreSQL finds a free port", || {
            let port = free_port();
            place.launch(port).map(|child| (child, port))
        });
        Self { child, place, port }
    }

    /// Has it run statements; what they give.
    pub(crate) fn run(&self, statements: &str) -> String {
        // It may write where others may not.
        let to = format!(
            "hostaddr=127.0.0.1 port={} user=yett dbname=postgres options='-c default_transaction_read_only=off'",
            self.port
        );
        let mut psql = Command::new(installed("psql"));
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"]);
        let output = psql.args(["--dbname", &to, "--command", statements]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Ends it, and its connections with it.
    pub(crate) fn stop(&mut self) {
        signal(self.child.id(), "INT");
        self.child.wait().unwrap();
    }

    /// Starts it again on the same port.
    pub(crate) fn revive(&mut self) {
        self.child = until("PostgreSQL starts again", || self.place.launch(self.port));
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Unlike by a kill, its own processes end with it.
            signal(self.child.id(), "QUIT");
            drop(self.child.wait());
        }
    }
}

impl Place {
    fn new(authority: &Authority) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let is_root = fs::metadata(folder.path()).unwrap().uid() == 0;
        let user = is_root.then_some(NOBODY);
        let pair = authority.sign(&[NAME]);
        for (name, content) in [("server.pem", &pair.cert_pem), ("server.key", &pair.key_pem)] {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            chown(&path, user, user).unwrap();
        }
        chown(folder.path(), user, user).unwrap();
        Self { folder, user }
    }

    /// A program of PostgreSQL, to be run here.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(installed(name));
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }

    /// Starts the server and waits until it takes connections; nothing if it ended instead, since somebody has
    /// the port.
    fn launch(&self, port: u16) -> Option<Child> {
        let data = self.folder.path().join("data");
        let here = |name: &str| self.folder.path().join(name).display().to_string();
        let mut child = self
            .program("postgres")
            .args(["-D", &data.display().to_string(), "-p", &port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
            .args(["-c", "fsync=off", "-c", "ssl=on"])
            .args(["-c", &format!("ssl_cert_file={}", here("server.pem"))])
            .args(["-c", &format!("ssl_key_file={}", here("server.key"))])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let told = Lines::of(child.stderr.take().unwrap());
        until("PostgreSQL serves", || match child.try_wait().unwrap() {
            Some(_) if told.text().contains("Address already in use") => Some(false),
            Some(status) => panic!("PostgreSQL ended with {status}: {}", told.text()),
            None => told.text().contains("ready to accept connections").then_some(true),
        })
        .then_some(child)
    }
}

/// The path of a program of the newest PostgreSQL that is installed: Debian keeps servers out of `PATH`.
fn installed(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.max_by_key(|version| {
        version.file_name().to_str().and_then(|name| name.parse::<u32>().ok())
    });
    let folder = newest.expect("PostgreSQL is there; `make needs` installs it").path();
    folder.join("bin").join(name)
}

/// What psql prints for a script, or why it fails. `more` says more about the connection.
fn psql(yett: &Yett, more: &str, script: &str) -> Result<String, String> {
    let address = yett.address("database");
    let port = address.rsplit(':').next().unwrap();
    let to = format!("hostaddr=127.0.0.1 port={port} user=yett dbname=postgres {more}");
    let mut child = Command::new(installed("psql"))
        .args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"])
        .args(["--dbname", &to])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end before it has read all.
    drop(child.stdin.take().unwrap().write_all(script.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

fn config(postgres: &Postgres) -> String {
    format!(
        "{TOP}listeners:
  database: {{ bind: \"127.0.0.1:0\", tcp: {{ upstream: db, from: [127.0.0.0/8] }} }}
upstreams:
  db:
    targets: [\"127.0.0.1:{}\"]
    health: {{ tcp: true, every: 500ms, timeout: 500ms, healthy_after: 1, unhealthy_after: 1 }}
",
        postgres.port
    )
}

/// A script that has the server count the rows it is sent.
fn copied() -> String {
    let rows: String = (0..ROWS).map(|row| format!("{row}\n")).collect();
    format!(
        "create temp table t (n bigint);\ncopy t from stdin;\n{rows}\\.\nselect count(*), sum(n) from t;\n"
    )
}

#[test]
fn postgresql_is_used_through_the_gateway_in_the_clear_and_by_its_own_tls() {
    let authority = Authority::new();
    let postgres = Postgres::start(&authority);
    let yett = Launch::new(&config(&postgres)).file("ca.pem", &authority.ca_pem).start();
    assert_eq!(psql(&yett, "sslmode=disable", "select 6 * 7;").unwrap(), "42");
    let failed = psql(&yett, "sslmode=disable", "select 1 / 0;").unwrap_err();
    assert!(failed.contains("division by zero"), "{failed}");
    // It begins without TLS, and changes to it; the certificate is the database's own.
    let verified =
        format!("host={NAME} sslmode=verify-full sslrootcert={}", yett.path("ca.pem").display());
    let ssl = "select ssl, version from pg_stat_ssl where pid = pg_backend_pid();";
    assert_eq!(psql(&yett, &verified, ssl).unwrap(), "t|TLSv1.3");
    let stranger = verified.replace(NAME, "other.test");
    assert!(psql(&yett, &stranger, ssl).unwrap_err().contains("does not match host name"));
    // Much in one direction, then in the other.
    let sum = ROWS * (ROWS - 1) / 2;
    assert_eq!(psql(&yett, &verified, &copied()).unwrap(), format!("{ROWS}|{sum}"));
    let all = format!("copy (select generate_series(1, {ROWS})) to stdout;");
    assert_eq!(psql(&yett, "sslmode=disable", &all).unwrap().lines().count() as u64, ROWS);
    let line = yett.access.find("a line about much", |line| {
        let bytes = line.split_once("\"bytes_out\":")?.1.split([',', '}']).next()?;
        (bytes.parse::<u64>().ok()? > 2 * ROWS).then(|| line.to_owned())
    });
    for part in ["\"protocol\":\"tcp\"", "\"upstream\":\"db\"", "\"status\":200"] {
        assert!(line.contains(part), "{line}");
    }
}

#[test]
fn a_database_that_is_away_is_known_to_be_by_the_health_check_and_taken_back() {
    let mut postgres = Postgres::start(&Authority::new());
    let yett = Launch::new(&config(&postgres)).start();
    let health = || yett.status()["upstreams"][0]["targets"][0].clone();
    until_true("it was asked", || health()["reason"] == "a connection could be opened");
    assert_eq!(psql(&yett, "", "select 1;").unwrap(), "1");
    postgres.stop();
    until_true("it is known to be away", || health()["healthy"] == false);
    assert!(health()["reason"].as_str().unwrap().contains("refused"), "{}", health());
    assert!(psql(&yett, "", "select 1;").is_err());
    yett.access.find("the fault", |line| line.contains("no_target").then_some(()));
    postgres.revive();
    until_true("it is taken back", || health()["healthy"] == true);
    assert_eq!(psql(&yett, "", "select 2;").unwrap(), "2");
}
