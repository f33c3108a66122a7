//! What breaks off: whoever is left has to notice.

use super::super::asking::{Ask, Framing};
use super::super::clients::Client;
use super::super::pair::Pair;
use crate::it::wait::until_true;

/// An answer is worth nothing if the connection is cut off before the client could read it.
pub(super) fn answered_early(pair: &mut Pair) {
    let mut ask = Ask::put("/early/it", &pair.contents.large, Framing::Length);
    ask.hurries = true;
    let answer = pair.ask(&ask);
    assert_eq!(answer.status, 413, "{answer:?}");
    let answer = pair.ask(&Ask::get("/page.html"));
    assert_eq!(answer.status, 200, "{answer:?}");
}

pub(super) fn client_leaves_by_length(pair: &mut Pair) {
    client_leaves(pair, Framing::Length, "left-by-length");
}

pub(super) fn client_leaves_in_chunks(pair: &mut Pair) {
    client_leaves(pair, Framing::Chunked, "left-in-chunks");
}

/// A backend that took the beginning for the whole would do something nobody asked for.
fn client_leaves(pair: &mut Pair, framing: Framing, name: &str) {
    let path = format!("/hold/{name}");
    let ask = Ask::put(&path, &pair.contents.huge, framing);
    let server = &pair.server;
    let begun = || drop(server.expect(&["began"], name));
    pair.asker.leave(&ask, &begun);
    server.resume(name);
    let end = server.expect(&["whole", "broken"], name);
    assert_eq!(end, "broken", "the backend took the beginning of the body for all of it");
    pair.yett.access.expect(&[&format!("\"path\":\"{path}\"")]);
    let answer = pair.ask(&Ask::get("/page.html"));
    assert_eq!(answer.status, 200, "{answer:?}");
}

pub(super) fn backend_dies_by_length(pair: &mut Pair) {
    backend_dies(pair, "length");
}

pub(super) fn backend_dies_in_chunks(pair: &mut Pair) {
    backend_dies(pair, "chunked");
}

/// A client that took the beginning for the whole would keep it, show it, or store it in a cache.
fn backend_dies(pair: &mut Pair, how: &str) {
    let server = &pair.server;
    let died_twice = || until_true("it died twice", || server.count("died", how) >= 2);
    let answer = pair.asker.ask_broken(&Ask::get(&format!("/dies/{how}")), &died_twice);
    let error = answer.error.clone();
    let error = error.unwrap_or_else(|| panic!("what is broken looks whole: {answer:?}"));
    let is_late = error.contains("timed out") || error.contains("28: ");
    assert!(!is_late, "nobody told the client that there is no more: {error}");
    if pair.client != Client::Wrk {
        server.expect(&["died"], how);
        assert_eq!(server.count("died", how), 1, "it was asked for again");
    }
    let answer = pair.ask(&Ask::get("/page.html"));
    assert_eq!(answer.status, 200, "{answer:?}");
}
