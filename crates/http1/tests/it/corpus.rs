//! What the fuzz targets start from, as ordinary tests.

use super::differential::{Verdict, check};
use super::{chunk_checks, head_checks, path_checks};
use std::path::Path;

/// The files of one target, with their names.
fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let files = std::fs::read_dir(folder).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read(path).unwrap())
    });
    let files: Vec<_> = files.collect();
    assert!(files.len() >= 20, "{target}");
    files
}

#[test]
fn heads_and_bodies_and_paths_pass_their_checks() {
    for (_, bytes) in corpus("request_head") {
        head_checks::request(&bytes);
    }
    for (_, bytes) in corpus("response_head") {
        head_checks::response(&bytes);
    }
    for (_, bytes) in corpus("chunks") {
        chunk_checks::check(&bytes);
    }
    for (_, bytes) in corpus("path") {
        path_checks::check(&bytes);
    }
}

/// A file is named after what becomes of it, and after a dot whatever tells it apart.
#[test]
fn we_are_stricter_than_hyper_where_it_is_known() {
    let mut wrong = Vec::new();
    for (name, bytes) in corpus("differential") {
        let verdict = match check(&bytes).unwrap() {
            Verdict::Same => "same".to_owned(),
            Verdict::BothRefuse(refusal) => format!("both_{}", refusal.name()),
            Verdict::Stricter(refusal) => format!("stricter_{}", refusal.name()),
        };
        if name.split('.').next() != Some(verdict.as_str()) {
            wrong.push(format!("{name} is {verdict}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
