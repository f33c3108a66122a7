use super::{BEGINNINGS, Book, Found, Journal, NAME, RECORD_BYTES, read};
use base::Clock;
use policy::quota::{Ledger, Record};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use telemetry::Metrics;

/// Beyond what the clock of tests shows.
const ENDS_S: u64 = 2_000_000_000;

fn record(who: u64, used: u64) -> Record {
    Record { key: [who, 7], ends_s: ENDS_S, told: 1, used }
}

fn book(folder: &Path, ledger: &Arc<Ledger>) -> Book {
    Book {
        path: folder.join(NAME),
        ledger: Arc::clone(ledger),
        metrics: Metrics::new(1, &[]),
        clock: Clock::manual(),
        file: None,
        bytes: 0,
        trouble: None,
        aside: None,
    }
}

/// Opens and closes the journal of a folder; tells what files are there then, and what was counted.
fn reopened(folder: &Path, clock: &Clock) -> (Vec<String>, Vec<u64>) {
    let ledger = Arc::new(Ledger::default());
    drop(Journal::open(folder, &ledger, &Metrics::new(1, &[]), clock).unwrap());
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let all = (0..ledger.parts()).flat_map(|part| ledger.all(part, 0));
    let mut used: Vec<u64> = all.map(|record| record.used).collect();
    used.sort_unstable();
    (names, used)
}

fn written(folder: &Path) -> Vec<u8> {
    let ledger = Arc::new(Ledger::default());
    assert!(ledger.adopt([9; 16], (1..=3).map(|who| record(who, who))));
    book(folder, &ledger).write().unwrap();
    fs::read(folder.join(NAME)).unwrap()
}

fn kept(path: &Path, now_s: u64) -> (Found, Vec<u64>) {
    let ledger = Ledger::default();
    let found = read(path, &ledger, now_s).unwrap();
    let all = (0..ledger.parts()).flat_map(|part| ledger.all(part, 0));
    let mut used: Vec<u64> = all.map(|record| record.used).collect();
    used.sort_unstable();
    (found, used)
}

#[test]
fn what_was_written_is_read_whatever_was_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(NAME);
    let ledger = Arc::new(Ledger::default());
    assert!(ledger.adopt([9; 16], (1..=20).map(|who| record(who, who))));
    book(folder.path(), &ledger).write().unwrap();
    assert_eq!(kept(&path, 0).1, (1..=20).collect::<Vec<u64>>());
    assert_eq!(kept(&path, ENDS_S).0, Found { ended: 20, ..Found::default() });
    let whole = fs::read(&path).unwrap();
    assert_eq!(whole.len(), (BEGINNINGS + 20) * RECORD_BYTES);
    for cut in [1, 7, RECORD_BYTES - 1] {
        fs::write(&path, &whole[..whole.len() - cut]).unwrap();
        let (found, used) = kept(&path, 0);
        assert_eq!((found.kept, found.broken, used.len()), (19, 1, 19), "{cut}");
    }
    // A block of zeros, as file systems leave it after a loss of power.
    let mut zeroed = whole.clone();
    zeroed[5 * RECORD_BYTES..8 * RECORD_BYTES].fill(0);
    fs::write(&path, &zeroed).unwrap();
    assert_eq!(kept(&path, 0).0, Found { kept: 17, broken: 3, ..Found::default() });
    for at in [0, 20] {
        let mut other = whole.clone();
        for (copy, broken) in [(0, 1), (1, 1)] {
            other.clone_from(&whole);
            other[copy * RECORD_BYTES + at] ^= 1;
            fs::write(&path, &other).unwrap();
            assert_eq!(kept(&path, 0).0, Found { kept: 20, broken, ..Found::default() });
        }
        other[at] ^= 1;
        fs::write(&path, &other).unwrap();
        let error = read(&path, &Ledger::default(), 0).unwrap_err();
        assert!(error.to_string().contains("is broken"), "{error}");
    }
    fs::write(&path, &whole[..9]).unwrap();
    assert!(read(&path, &Ledger::default(), 0).is_err());
}

#[test]
fn later_records_count_and_a_file_that_has_grown_is_written_anew() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(NAME);
    let ledger = Arc::new(Ledger::default());
    assert!(ledger.adopt([9; 16], (0..1_000).map(|who| record(who, 1))));
    let mut book = book(folder.path(), &ledger);
    book.write().unwrap();
    let first = book.bytes;
    for _ in 0..2 {
        // What another process counts is noted like what this one does.
        let rest: Vec<u8> = (0..1_000_u64)
            .flat_map(|who| [&record(who, 0).bytes()[..], &1_i64.to_be_bytes()].concat())
            .collect();
        ledger.note_changes();
        traffic::state::Portable::import_rest(&*ledger, &rest);
        book.write().unwrap();
    }
    assert_eq!(book.bytes, fs::metadata(&path).unwrap().len());
    assert!(book.bytes > 2 * first);
    assert_eq!(kept(&path, 0).1, vec![3; 1_000]);
    book.file = None;
    book.write().unwrap();
    assert_eq!(book.bytes, first);
    assert_eq!(kept(&path, 0).1, vec![3; 1_000]);
}

#[test]
fn a_file_that_cannot_be_written_is_tried_again_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone");
    let ledger = Arc::new(Ledger::default());
    assert!(ledger.adopt([9; 16], [record(1, 5)]));
    let mut book = book(&gone, &ledger);
    book.keep();
    assert!(book.trouble.is_some());
    assert!(book.metrics.encode().contains("yett_quota_journal_up{} 0"));
    fs::create_dir(&gone).unwrap();
    book.keep();
    assert!(book.trouble.is_none());
    assert!(book.metrics.encode().contains("yett_quota_journal_up{} 1"));
    assert_eq!(kept(&gone.join(NAME), 0).1, [5]);
}

#[test]
fn what_cannot_be_read_is_put_aside_and_never_destroyed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(NAME);
    let mut bad = written(folder.path());
    bad[3] ^= 1;
    bad[RECORD_BYTES + 3] ^= 1;
    fs::write(&path, &bad).unwrap();
    let clock = Clock::manual();
    let (names, used) = reopened(folder.path(), &clock);
    let aside = |names: &[String]| -> Vec<String> {
        names.iter().filter(|name| name.contains("bad-")).cloned().collect()
    };
    assert_eq!((aside(&names).len(), used), (1, vec![]), "{names:?}");
    assert_eq!(fs::read(folder.path().join(&aside(&names)[0])).unwrap(), bad);
    // Another one in the same second, of which a part can be read.
    let mut damaged = written(folder.path());
    damaged[3 * RECORD_BYTES] ^= 1;
    fs::write(&path, &damaged).unwrap();
    let (names, used) = reopened(folder.path(), &clock);
    assert_eq!((aside(&names).len(), used), (2, vec![1, 3]), "{names:?}");
    // One that was cut off at its end, as by a kill, is nothing to keep.
    let cut = written(folder.path());
    fs::write(&path, &cut[..cut.len() - 1]).unwrap();
    let (names, used) = reopened(folder.path(), &clock);
    assert_eq!((aside(&names).len(), used.len()), (2, 2), "{names:?}");
}

#[test]
fn quotas_that_a_wrong_clock_calls_ended_are_put_aside() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Arc::new(Ledger::default());
    assert!(ledger.adopt([9; 16], [Record { ends_s: 1, ..record(1, 5) }]));
    let mut book = book(folder.path(), &ledger);
    book.write().unwrap();
    // It ends before now, so that it is not written.
    let path = folder.path().join(NAME);
    let mut whole = fs::read(&path).unwrap();
    whole.extend(super::sealed(&[9; 16], &Record { ends_s: 1, ..record(1, 5) }));
    fs::write(&path, &whole).unwrap();
    let (names, _) = reopened(folder.path(), &Clock::manual());
    assert_eq!(names, ["quotas.journal", "quotas.journal.ended"]);
    assert_eq!(fs::read(folder.path().join("quotas.journal.ended")).unwrap(), whole);
}

#[test]
fn what_is_in_the_way_and_cannot_be_put_aside_is_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("gone");
    let ledger = Arc::new(Ledger::default());
    assert!(ledger.adopt([9; 16], [record(1, 5)]));
    let mut book = book(&gone, &ledger);
    book.path = folder.path().join(NAME);
    fs::create_dir(&book.path).unwrap();
    fs::write(book.path.join("precious"), "precious").unwrap();
    book.aside = Some("ended");
    // A folder that is not empty cannot be replaced.
    let other = folder.path().join("quotas.journal.ended");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("precious"), "precious").unwrap();
    book.keep();
    assert!(book.metrics.encode().contains("yett_quota_journal_up{} 0"));
    assert!(book.path.join("precious").exists());
    fs::remove_dir_all(&other).unwrap();
    book.keep();
    assert!(other.join("precious").exists());
    assert_eq!(kept(&folder.path().join(NAME), 0).1, [5]);
}

#[test]
fn a_pipe_in_its_place_does_not_stop_the_start_and_links_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(NAME);
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    let (told, heard) = std::sync::mpsc::sync_channel(1);
    let at = path.clone();
    std::thread::spawn(move || {
        told.send(read(&at, &Ledger::default(), 0).map_err(|error| error.to_string()))
    });
    let found = heard.recv_timeout(std::time::Duration::from_secs(60)).expect("it waits");
    assert_eq!(found, Err("it is no regular file".to_owned()));
    fs::remove_file(&path).unwrap();
    let precious = folder.path().join("precious");
    fs::write(&precious, "precious").unwrap();
    std::os::unix::fs::symlink(&precious, path.with_extension("journal.new")).unwrap();
    written(folder.path());
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
    fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink(&precious, &path).unwrap();
    assert!(read(&path, &Ledger::default(), 0).is_err());
}
