//! What becomes of a database when the process, the disk or somebody else fails. The program of the tests is started again
//! as the process that fails: see [`the_process_that_fails`].

use super::kit::{NOBODY, Place, workspace};
use base::{Clock, random};
use std::collections::BTreeSet;
use std::env::current_exe;
use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use store::audit::Actor;
use store::workspace::Written;
use store::{Error, Location, Store};

const NAME: &str = "it::faults::the_process_that_fails";
const PLACE: &str = "YETT_TEST_DATABASE";

/// Writes to a database for as long as it can, and says of each change that it was acknowledged; then why it could not go on.
/// Without a database it has nothing to do.
#[tokio::test]
async fn the_process_that_fails() {
    let Some(path) = base::env::text(PLACE) else { return };
    let mut out = std::io::stdout();
    let mut say = move |text: &str| {
        out.write_all(format!("\n{text}\n").as_bytes()).and_then(|()| out.flush()).unwrap();
    };
    let failed = match Store::open(&Location::Sqlite(path.into()), &Clock::System).await {
        Err(error) => error,
        Ok(store) => loop {
            let name = format!("{:016x}", random::fast());
            let write = async {
                let mut write = store.write(Actor::system("test")).await?;
                let title = &"x".repeat(1_000);
                write.workspace_create(Written { name: &name, title, grants: "{}" }).await?;
                write.commit().await
            };
            match write.await {
                Ok(()) => say(&format!("kept {name}")),
                Err(error) => break error,
            }
        },
    };
    say(&format!("failed {failed:?}"));
}

/// Starts that process by a shell that does something before.
fn start(place: &Place, before: &str) -> Child {
    let Location::Sqlite(path) = &place.location else { panic!("a file") };
    let script = format!("{before} exec \"$0\" --exact {NAME} --nocapture");
    Command::new("sh")
        .args(["-c", &script])
        .arg(current_exe().unwrap())
        .env(PLACE, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Names of all workspaces, and whether each has its row in the trail.
async fn there(place: &Place) -> Vec<String> {
    let store = place.open(&Clock::System).await;
    let names: Vec<String> =
        store.workspace_list("", 100_000).await.unwrap().into_iter().map(|it| it.name).collect();
    let trail = store.audit_list(0, 100_000).await.unwrap();
    assert_eq!(trail.len(), names.len(), "each change has its row");
    store.close().await;
    assert_eq!(place.run("PRAGMA integrity_check").trim(), "ok");
    names
}

#[tokio::test]
async fn what_was_acknowledged_outlives_the_process_whenever_it_is_killed() {
    let place = Place::sqlite();
    let mut acknowledged = Vec::new();
    for round in 0..12 {
        let mut child = start(&place, "");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let enough = random::fast_below(20);
        let mut count = 0;
        while count < enough {
            let line = lines.next().unwrap().unwrap();
            assert!(!line.starts_with("failed"), "{line}");
            if let Some(name) = line.strip_prefix("kept ") {
                acknowledged.push(name.to_owned());
                count += 1;
            }
        }
        // In the midst of whatever it does.
        child.kill().unwrap();
        child.wait().unwrap();
        let rest = lines.map_while(Result::ok);
        acknowledged.extend(rest.filter_map(|line| line.strip_prefix("kept ").map(str::to_owned)));
        let names = there(&place).await;
        let lost: Vec<&String> = acknowledged.iter().filter(|it| !names.contains(it)).collect();
        assert!(lost.is_empty(), "{lost:?}");
        // One may have been kept in each round of which nobody was told.
        assert!(names.len() <= acknowledged.len() + round + 1, "{} {round}", names.len());
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_what_was_kept_before_is_there() {
    let place = Place::sqlite();
    place.open(&Clock::System).await.close().await;
    // No file of it may be larger than this, in blocks of 512 bytes.
    let mut child = start(&place, "trap '' XFSZ; ulimit -f 4000;");
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let lines: Vec<String> = lines.collect();
    child.wait().unwrap();
    let failed = lines.iter().find(|line| line.starts_with("failed")).unwrap();
    assert!(failed.contains("Unavailable"), "{failed}");
    let names = there(&place).await;
    let kept: Vec<&str> = lines.iter().filter_map(|line| line.strip_prefix("kept ")).collect();
    assert!(kept.len() > 10, "{}", kept.len());
    assert!(kept.iter().all(|name| names.iter().any(|it| it == name)));
    // With room again it goes on.
    workspace(&place.open(&Clock::System).await, "later").await;
}

#[tokio::test]
async fn a_database_that_somebody_else_locks_is_told_and_works_afterwards() {
    let place = Place::sqlite();
    let Location::Sqlite(path) = &place.location else { panic!("a file") };
    let store = place.open(&Clock::System).await;
    let program = "import sqlite3, sys\nbase = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
        base.execute('BEGIN IMMEDIATE')\nprint('locked', flush=True)\nsys.stdin.read()";
    let mut other = Command::new("python3")
        .args(["-c", program])
        .arg(path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(other.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "locked\n");
    let refused = store.write(Actor::system("test")).await.err();
    assert!(
        matches!(&refused, Some(Error::Unavailable(why)) if why.contains("locked")),
        "{refused:?}"
    );
    store.workspace_list("", 1).await.unwrap();
    drop(other.stdin.take());
    other.wait().unwrap();
    workspace(&store, "later").await;
}

#[tokio::test]
async fn what_cannot_be_a_database_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("yett.db");
    fs::write(&path, "this was something else".repeat(100)).unwrap();
    for path in [path, folder.path().to_owned(), folder.path().join("none/yett.db")] {
        let opened = Store::open(&Location::Sqlite(path.clone()), &Clock::System).await;
        assert!(matches!(opened, Err(Error::Unavailable(_))), "{} {opened:?}", path.display());
    }
    for url in ["mysql://localhost", "postgres://127.0.0.1:1/none"] {
        let location = Location::Postgres(base::Secret::new(url.to_owned()));
        let opened = Store::open(&location, &Clock::System).await;
        assert!(matches!(opened, Err(Error::Unavailable(_))), "{url} {opened:?}");
    }
}

#[tokio::test]
async fn a_log_that_is_cut_off_anywhere_opens_as_it_was_at_some_moment() {
    let place = Place::sqlite();
    let Location::Sqlite(path) = &place.location else { panic!("a file") };
    let beside = |path: &Path, end: &str| path.with_extension(format!("db{end}"));
    // Nothing of the log has come into the file yet while somebody has it open.
    let store = place.open(&Clock::System).await;
    for at in 0..20 {
        workspace(&store, &format!("w{at:02}")).await;
    }
    let log = fs::read(beside(path, "-wal")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut seen = BTreeSet::new();
    for round in 0..40_u8 {
        let copy = folder.path().join(format!("{round}.db"));
        fs::copy(path, &copy).unwrap();
        let most = u64::try_from(log.len()).unwrap();
        let length = usize::try_from(random::fast_below(most)).unwrap();
        let mut cut = log.get(..length).unwrap().to_vec();
        // What a disk made of the rest before the power was gone.
        cut.extend(std::iter::repeat_n(round, usize::from(round) * 100));
        fs::write(beside(&copy, "-wal"), cut).unwrap();
        let copy = Store::open(&Location::Sqlite(copy), &Clock::System).await.unwrap();
        let names: Vec<String> =
            copy.workspace_list("", 99).await.unwrap().into_iter().map(|it| it.name).collect();
        let expected: Vec<String> = (0..names.len()).map(|at| format!("w{at:02}")).collect();
        assert_eq!(names, expected, "a beginning of what was written, without gaps");
        assert_eq!(copy.audit_list(0, 99).await.unwrap().len(), names.len());
        seen.insert(names.len());
        copy.close().await;
    }
    assert!(seen.len() > 1, "it was cut in several places: {seen:?}");
}

#[tokio::test]
async fn a_database_that_may_not_be_written_to_is_told() {
    let place = Place::sqlite();
    let Location::Sqlite(path) = &place.location else { panic!("a file") };
    place.open(&Clock::System).await.close().await;
    let folder = path.parent().unwrap();
    let program = folder.join("program");
    fs::copy(current_exe().unwrap(), &program).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o444)).unwrap();
    fs::set_permissions(folder, Permissions::from_mode(0o555)).unwrap();
    let mut command = Command::new(program);
    if fs::metadata(folder).unwrap().uid() == 0 {
        // Nothing keeps this user from writing.
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.args(["--exact", NAME, "--nocapture"]).env(PLACE, path).output().unwrap();
    fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let failed = said.lines().find(|line| line.starts_with("failed"));
    assert!(failed.is_some_and(|line| line.contains("Unavailable")), "{said}");
    assert!(!said.contains("kept"), "{said}");
}
