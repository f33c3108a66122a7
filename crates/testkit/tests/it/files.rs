//! The files of the repository, without what is built or installed.

use std::path::Path;
use testkit::repository;

/// Folders that hold nothing of ours; in a second working tree `.git` is a file.
const FOREIGN: &[&str] = &[
    "target",
    ".git",
    "node_modules",
    "__pycache__",
    "out",
    "state",
    "certs",
    "artifacts",
    "corpus",
];

/// A text file of the repository.
pub(crate) struct Source {
    /// Its path from the root, with `/` between its parts.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
}

impl Source {
    /// The name without the folders.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }

    /// The lines with their numbers, counted from one.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }
}

/// All text files, sorted by path; those with other content than UTF-8 are left out.
pub(crate) fn all() -> Vec<Source> {
    let mut found = Vec::new();
    walk(&repository(), "", &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// The text files whose name ends so.
pub(crate) fn ending(end: &str) -> Vec<Source> {
    all().into_iter().filter(|source| source.path.ends_with(end)).collect()
}

/// The text of one file.
pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn walk(folder: &Path, prefix: &str, found: &mut Vec<Source>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let named = format!("{prefix}{name}");
        if FOREIGN.contains(&name) {
            continue;
        }
        if path.is_dir() {
            walk(&path, &format!("{named}/"), found);
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            found.push(Source { path: named, text });
        }
    }
}
