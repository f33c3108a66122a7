use super::{Shelf, shelf};
use crate::fixture::{Built, Folder, World, exchange};
use crate::kinds::ip;
use serde_json::json;
use std::sync::Arc;

const LIST: &str = "blocked.txt";

/// A policy that denies whoever is in a file; all requests of these tests come from 192.0.2.7.
fn denying(world: &World) -> Built {
    world.build(&ip::KIND, &json!({ "deny": { "file": LIST } })).unwrap()
}

fn refresh(shelf: &Shelf, files: &Folder) {
    shelf.refresh(|path, most| super::Files::read(files, path, most));
    if shelf.is_unsettled() {
        refresh(shelf, files);
    }
}

fn is_denied(policy: &Built) -> bool {
    policy.request(&mut exchange("GET /")) == "address_refused"
}

fn problem(shelf: &Shelf) -> Option<String> {
    shelf.standings().pop().unwrap().problem
}

#[test]
fn a_file_that_changes_is_gone_by_at_once_and_by_all_who_name_it() {
    let world = World::default();
    world.files.write(LIST, "198.51.100.0/24\n");
    let policies = [denying(&world), denying(&world)];
    let shelf = shelf(&world.state);
    assert_eq!(shelf.standings().len(), 1);
    assert!(!policies.iter().any(is_denied));
    world.files.write(LIST, "198.51.100.0/24\n192.0.2.0/24\n");
    assert!(!policies.iter().any(is_denied), "nobody has looked yet");
    refresh(&shelf, &world.files);
    assert!(policies.iter().all(is_denied));
    let standing = shelf.standings().pop().unwrap();
    assert_eq!((standing.entries, standing.problem), (2, None));
    drop(policies);
    assert!(shelf.standings().is_empty(), "nobody goes by it any more");
}

#[test]
fn a_file_that_turns_bad_leaves_what_it_said_in_force_and_is_told() {
    let world = World::default();
    world.files.write(LIST, "192.0.2.0/24\n");
    let policy = denying(&world);
    let shelf = shelf(&world.state);
    let bad: [(&[u8], &str); 4] = [
        (b"192.0.2.0/24\nnonsense\n", "line 2: `nonsense` is not a network"),
        (b"", "it is empty"),
        (b"\xff\xfe", "line 1: the line is not text"),
        (b"10.0.0.1/8\n", "write `10.0.0.0/8`"),
    ];
    for (content, part) in bad {
        world.files.write(LIST, content);
        refresh(&shelf, &world.files);
        let why = problem(&shelf).unwrap();
        assert!(why.contains(part), "{why}");
        assert!(is_denied(&policy), "{why}");
        let warned = world.warnings(&ip::KIND, &json!({ "deny": { "file": LIST } }));
        assert!(warned.contains("stays in force"), "{warned}");
    }
    world.files.remove(LIST);
    refresh(&shelf, &world.files);
    assert_eq!(problem(&shelf).unwrap(), "cannot be read: there is no such file");
    assert!(is_denied(&policy));
    world.files.write(LIST, "192.0.2.0/24\n");
    refresh(&shelf, &world.files);
    assert_eq!(problem(&shelf), None, "it is again what it was");
    world.files.write(LIST, "# nobody any more\n");
    refresh(&shelf, &world.files);
    assert_eq!(problem(&shelf), None);
    assert!(!is_denied(&policy));
}

#[test]
fn a_file_that_was_never_good_builds_nothing_also_beside_one_that_is() {
    let world = World::default();
    world.files.write(LIST, "192.0.2.0/24\n");
    world.files.write("new.txt", "nonsense\n");
    let policy = denying(&world);
    let settings = json!({ "deny": [{ "file": LIST }, { "file": "new.txt" }] });
    let Err(problems) = world.build(&ip::KIND, &settings) else { panic!("it is built") };
    assert!(problems.contains("new.txt:1:1"), "{problems}");
    assert_eq!(shelf(&world.state).standings().len(), 1);
    assert!(is_denied(&policy));
}

#[test]
fn whoever_holds_the_shelf_sees_files_that_come_later() {
    let world = World::default();
    let early = shelf(&world.state);
    world.files.write(LIST, "192.0.2.0/24\n");
    let _policy = denying(&world);
    assert!(Arc::ptr_eq(&early, &shelf(&world.state)));
    assert_eq!(early.standings().len(), 1);
}

#[test]
fn a_file_that_is_being_written_is_gone_by_when_it_stays_the_same() {
    let world = World::default();
    world.files.write(LIST, "192.0.2.0/24\n");
    let policy = denying(&world);
    let shelf = shelf(&world.state);
    let look = || {
        shelf.refresh(|path, most| super::Files::read(&world.files, path, most));
        shelf.is_unsettled()
    };
    assert!(!look(), "nothing has changed");
    // As somebody writes it piece by piece: none of these is what they mean.
    for half in ["", "198.51.100.0/24\n", "198.51.100.0/24\n192.0", "198.51.100.0/24\n192.0.2.9"] {
        world.files.write(LIST, half);
        assert!(look(), "it must be looked at again");
        assert!(is_denied(&policy));
        assert_eq!(problem(&shelf), None);
    }
    world.files.write(LIST, "198.51.100.0/24\n192.0.2.99\n");
    assert!(look() && is_denied(&policy));
    assert!(!look() && !is_denied(&policy));
    // What goes back to what it was has not changed.
    world.files.write(LIST, "192.0.2.0/24\n");
    assert!(look());
    world.files.write(LIST, "198.51.100.0/24\n192.0.2.99\n");
    assert!(!look() && !is_denied(&policy));
}

#[test]
fn a_large_list_that_is_cut_leaves_the_one_before_in_force() {
    let world = World::default();
    let list: String = (0..120).map(|number| format!("198.51.100.{number}\n")).collect();
    world.files.write(LIST, format!("{list}192.0.2.7\n"));
    let policy = denying(&world);
    let shelf = shelf(&world.state);
    world.files.write(LIST, "198.51.100.0\n");
    refresh(&shelf, &world.files);
    assert!(is_denied(&policy));
    assert!(problem(&shelf).unwrap().contains("1 of 121 are left"));
    world.files.write(LIST, "198.51.100.0\n# entries: 1\n");
    refresh(&shelf, &world.files);
    assert!(!is_denied(&policy));
    assert_eq!(problem(&shelf), None);
}
