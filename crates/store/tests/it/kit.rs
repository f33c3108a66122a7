use base::secret::Secret;
use base::{Clock, random};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use store::audit::Actor;
use store::workspace::Written;
use store::{Error, Location, Store};
use tempfile::TempDir;

/// Whom PostgreSQL runs as where tests run as root: it refuses to be that.
pub(crate) const NOBODY: u32 = 65_534;

/// Runs the server until its standard input ends, which it does with the tests, and leaves nothing behind.
const KEEPER: &str = r#"
"$1/initdb" --pgdata=data --auth=trust --username=yett --no-sync --encoding=UTF8 --locale=C >made 2>&1 || { cat made >&2; exit 1; }
"$1/postgres" -D "$PWD/data" -c listen_addresses= -c unix_socket_directories="$PWD" -c fsync=off -c max_connections=500 &
read -r _
kill -QUIT $!
wait
rm -rf "$PWD"
"#;

/// A PostgreSQL for all tests of this program.
struct Server {
    folder: PathBuf,
    _ends_with_it: ChildStdin,
    _keeper: Child,
}

static SERVER: OnceLock<Server> = OnceLock::new();

/// The programs of the newest PostgreSQL that is installed: Debian keeps servers out of `PATH`.
fn installed() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.max_by_key(|version| {
        version.file_name().to_str().and_then(|name| name.parse::<u32>().ok())
    });
    newest.expect("PostgreSQL is there; `make needs` installs it").path().join("bin")
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap().keep();
        let mut command = Command::new("sh");
        command.args(["-c", KEEPER, "sh"]).arg(installed()).current_dir(&folder);
        if fs::metadata(&folder).unwrap().uid() == 0 {
            chown(&folder, Some(NOBODY), Some(NOBODY)).unwrap();
            command.uid(NOBODY).gid(NOBODY);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut told = BufReader::new(child.stderr.take().unwrap()).lines();
        let is_ready = told.any(|line| line.unwrap().contains("ready to accept connections"));
        assert!(is_ready, "PostgreSQL ends at once");
        // It would block once nobody reads what it says.
        std::thread::spawn(move || told.for_each(drop));
        Self { folder, _ends_with_it: child.stdin.take().unwrap(), _keeper: child }
    }
}

/// A database of a test, and the folder that goes with it.
pub(crate) struct Place {
    pub(crate) location: Location,
    _folder: TempDir,
}

impl Place {
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::Sqlite(folder.path().join("yett.db"));
        Self { location, _folder: folder }
    }

    pub(crate) fn postgres() -> Self {
        let server = SERVER.get_or_init(Server::start);
        let name = format!("t{:016x}", random::fast());
        psql(&server.folder, &format!("CREATE DATABASE {name}"));
        let url = format!("postgres:///{name}?host={}&user=yett", server.folder.display());
        let folder = tempfile::tempdir().unwrap();
        Self { location: Location::Postgres(Secret::new(url)), _folder: folder }
    }

    pub(crate) fn both() -> [Self; 2] {
        [Self::sqlite(), Self::postgres()]
    }

    pub(crate) const fn is_postgres(&self) -> bool {
        matches!(self.location, Location::Postgres(_))
    }

    pub(crate) async fn open(&self, clock: &Clock) -> Store {
        // As programs do: on a busy machine a connection may take longer than a store waits for one.
        for _ in 0..10 {
            match Store::open(&self.location, clock).await {
                Err(Error::Unavailable(_)) => {}
                opened => return opened.unwrap(),
            }
        }
        Store::open(&self.location, clock).await.unwrap()
    }

    /// Runs a statement behind the back of the store; what it gives.
    pub(crate) fn run(&self, statement: &str) -> String {
        match &self.location {
            Location::Postgres(url) => {
                let url = url.reveal();
                output(Command::new(installed().join("psql")).args([
                    "-qtA",
                    "-v",
                    "ON_ERROR_STOP=1",
                    url,
                    "-c",
                    statement,
                ]))
            }
            Location::Sqlite(path) => {
                let program = "import sqlite3, sys\nbase = sqlite3.connect(sys.argv[1], timeout=30)\n\
                    rows = base.executescript(sys.argv[2]) if ';' in sys.argv[2] else base.execute(sys.argv[2])\n\
                    for row in rows.fetchall(): print('|'.join(str(it) for it in row))\nbase.commit()";
                output(Command::new("python3").args(["-c", program]).arg(path).arg(statement))
            }
        }
    }
}

fn psql(folder: &Path, statement: &str) {
    let to = format!("host={} user=yett dbname=postgres", folder.display());
    output(Command::new(installed().join("psql")).args(["-q", &to, "-c", statement]));
}

fn output(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The id of a new workspace.
pub(crate) async fn workspace(store: &Store, name: &str) -> String {
    let mut write = store.write(Actor::system("test")).await.unwrap();
    let made = write.workspace_create(Written { name, title: "", grants: "{}" }).await.unwrap();
    write.commit().await.unwrap();
    made.id
}
