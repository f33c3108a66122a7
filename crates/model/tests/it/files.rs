//! Files in memory.

use model::Files;
use std::collections::BTreeMap;

/// Names and contents.
#[derive(Default)]
pub(crate) struct Memory(BTreeMap<String, Vec<u8>>);

impl Memory {
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let mut memory = Self::default();
        for (name, text) in files {
            memory.add(name, text.as_bytes().to_vec());
        }
        memory
    }

    pub(crate) fn add(&mut self, name: &str, bytes: Vec<u8>) {
        self.0.insert(name.to_owned(), bytes);
    }
}

impl Files for Memory {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        self.0.get(path).cloned().ok_or_else(|| "there is no such file".to_owned())
    }

    fn list(&self, pattern: &str) -> Result<Vec<String>, String> {
        let (before, after) = match pattern.split_once('*') {
            Some((before, after)) => (before, Some(after)),
            None => (pattern, None),
        };
        if before.starts_with("forbidden/") {
            return Err("permission denied".to_owned());
        }
        let matches = |name: &&String| match (name.strip_prefix(before), after) {
            (Some(rest), Some(after)) => rest.ends_with(after) && !rest.contains('/'),
            (rest, None) => rest == Some(""),
            (None, _) => false,
        };
        Ok(self.0.keys().filter(matches).cloned().collect())
    }

    fn is_folder(&self, path: &str) -> bool {
        path == "forbidden" || self.0.keys().any(|name| name.starts_with(&format!("{path}/")))
    }
}
