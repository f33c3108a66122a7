//! From the files of a config to the config. Reading files is left to the caller.

use crate::config::{Config, VERSION};
use crate::{validate, yaml};
use base::caps::CONFIG_FILES_MAX;
use base::report::did_you_mean;
use base::{Node, Place, Placed, Report, Value};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Where the files of a config come from. Names use `/` between their parts.
pub trait Files {
    /// The content of a file.
    ///
    /// # Errors
    /// A sentence that says why it cannot be read, without its path.
    fn read(&self, path: &str) -> Result<Vec<u8>, String>;

    /// The files that a pattern stands for, sorted: `*` in the last part stands for any characters, and
    /// a plain path lists itself, if it is there.
    ///
    /// # Errors
    /// A sentence that says why the folder cannot be listed, without its path.
    fn list(&self, pattern: &str) -> Result<Vec<String>, String>;

    /// Whether a path is a folder.
    fn is_folder(&self, path: &str) -> bool;
}

/// What came of loading a config.
#[derive(Debug)]
pub struct Loaded {
    /// The config, if it could be read at all; usable only if the report has no errors.
    pub config: Option<Config>,
    /// All problems of all files, in the order of their places.
    pub report: Report,
    /// Names of all files that were read, in the order in which they were merged.
    pub files: Vec<String>,
    /// Names and texts of the files, to show the lines that problems are about.
    pub sources: Vec<(Arc<str>, Arc<str>)>,
}

/// Loads a config from a file, or from all `*.yaml` and `*.yml` files of a folder, together with what
/// they include. At most [`CONFIG_FILES_MAX`] files are read.
pub fn load(root: &str, files: &dyn Files) -> Loaded {
    load_with(root, files, &[])
}

/// Loads a config as [`load`] does, with more texts that are read as files of these names would be. They include nothing.
pub fn load_with(root: &str, files: &dyn Files, more: &[(Arc<str>, Arc<str>)]) -> Loaded {
    let mut loader = Loader::new(files);
    loader.root(root);
    for (name, text) in more {
        loader.text(name, text);
    }
    let Loader { mut report, read, sources, is_complete, merged, .. } = loader;
    let mut config = None;
    if !merged.fields.is_empty() {
        let place = Place::new(Arc::from(root), 1, 1);
        config = base::decode::<Config>(&merged.into_node(place), "", &mut report);
        // Where credentials belong, somebody may have written one in plain, or in the wrong place.
        report.mask(|problem| problem.path.starts_with("/consumers"));
    }
    // What a missing part defines would only be called unknown.
    if let Some(config) = config.as_ref().filter(|_| is_complete) {
        validate(config, &mut report);
    }
    report.sort();
    Loaded { config, report, files: read, sources }
}

/// The files of a config as one document, as they were written.
#[derive(Debug)]
pub struct Document {
    /// All fields together, but for `include`; none if a file could not be read.
    pub node: Option<Node>,
    /// All problems of all files, in the order of their places.
    pub report: Report,
    /// Names and texts of the files, to show the lines that problems are about.
    pub sources: Vec<(Arc<str>, Arc<str>)>,
}

/// Reads files or folders with what they include, and puts them together without asking what they mean.
pub fn document(roots: &[String], files: &dyn Files) -> Document {
    let mut loader = Loader::new(files);
    roots.iter().for_each(|root| loader.root(root));
    let Loader { mut report, sources, is_complete, mut merged, .. } = loader;
    report.sort();
    merged.fields.retain(|(key, _)| key.value != "include");
    let place = Place::new(Arc::from(roots.first().map_or("", |root| root)), 1, 1);
    let node = (is_complete && !merged.fields.is_empty()).then(|| merged.into_node(place));
    Document { node, report, sources }
}

struct Loader<'a> {
    files: &'a dyn Files,
    report: Report,
    read: Vec<String>,
    sources: Vec<(Arc<str>, Arc<str>)>,
    /// Names of the files that were asked for.
    known: HashSet<String>,
    /// No file or part of one is missing.
    is_complete: bool,
    merged: Merged,
}

/// The files whose inclusion led to a file, up to the root.
#[derive(Clone, Copy)]
struct Chain<'a> {
    above: Option<&'a Self>,
    file: &'a str,
}

impl Chain<'_> {
    fn contains(&self, file: &str) -> bool {
        self.file == file || self.above.is_some_and(|above| above.contains(file))
    }
}

impl<'a> Loader<'a> {
    fn new(files: &'a dyn Files) -> Self {
        Self {
            files,
            report: Report::new(),
            read: Vec::new(),
            sources: Vec::new(),
            known: HashSet::new(),
            is_complete: true,
            merged: Merged::default(),
        }
    }
}

impl Loader<'_> {
    fn root(&mut self, root: &str) {
        let place = Place::new(Arc::from(root), 0, 0);
        if !self.files.is_folder(root) {
            return self.file(&normal(root), &place, None);
        }
        let mut names = Vec::new();
        for ending in ["yaml", "yml"] {
            match self.files.list(&format!("{}/*.{ending}", root.trim_end_matches('/'))) {
                Ok(found) => names.extend(found),
                Err(reason) => {
                    let message = format!("cannot list the folder `{root}`: {reason}");
                    self.report.error("unreadable", &place, message);
                    return;
                }
            }
        }
        names.sort();
        if names.is_empty() {
            self.report
                .error("no_files", &place, format!("there is no `*.yaml` file in `{root}`"))
                .help("name the config file itself, or the folder that it is in");
        }
        for name in names {
            self.file(&normal(&name), &place, None);
        }
    }

    /// Takes in a file and what it includes, if that has not been done. `asked` is where its name is.
    fn file(&mut self, name: &str, asked: &Place, above: Option<&Chain<'_>>) {
        if !self.known.insert(name.to_owned()) {
            return;
        }
        if self.known.len() > CONFIG_FILES_MAX {
            self.is_complete = false;
            if self.known.len() == CONFIG_FILES_MAX + 1 {
                let message = format!("the config is made of more than {CONFIG_FILES_MAX} files");
                self.report.error("too_many_files", asked, message).help("merge some of them");
            }
            return;
        }
        let node = match self.files.read(name) {
            Ok(bytes) => self.tree(name, &bytes),
            Err(reason) => {
                let message = format!("cannot read `{name}`: {reason}");
                self.report.error("unreadable", asked, message);
                None
            }
        };
        let Some(fields) = node.and_then(|node| self.fields(node)) else {
            self.is_complete = false;
            return;
        };
        let mut includes = None;
        for (key, value) in fields {
            if key.value == "include" {
                includes = Some(value.clone());
            }
            self.merged.add(key, value, &mut self.report);
        }
        if let Some(Node { value: Value::List(patterns), .. }) = includes {
            let chain = Chain { above, file: name };
            for pattern in &patterns {
                // What is not a text is told when the merged config is decoded.
                if let Value::Text(text) = &pattern.value {
                    self.include(text, &pattern.place, &chain);
                }
            }
        }
    }

    /// Takes in what is no file.
    fn text(&mut self, name: &Arc<str>, text: &Arc<str>) {
        self.sources.push((Arc::clone(name), Arc::clone(text)));
        let node = yaml::parse(text.as_bytes(), name, &mut self.report);
        let Some(fields) = node.and_then(|node| self.fields(node)) else {
            self.is_complete = false;
            return;
        };
        for (key, value) in fields {
            self.merged.add(key, value, &mut self.report);
        }
    }

    fn tree(&mut self, name: &str, bytes: &[u8]) -> Option<Node> {
        self.read.push(name.to_owned());
        let file: Arc<str> = Arc::from(name);
        let text = yaml::text_of(bytes, &file, &mut self.report)?;
        self.sources.push((Arc::clone(&file), Arc::from(text)));
        yaml::parse(text.as_bytes(), &file, &mut self.report)
    }

    /// The top-level fields of a file, if it is a config of a version that can be read.
    fn fields(&mut self, node: Node) -> Option<Vec<(Placed<String>, Node)>> {
        let kind = node.kind();
        let Value::Map(fields) = node.value else {
            self.report
                .error("wrong_type", &node.place, format!("a config is a map, but this is {kind}"))
                .help(format!("a config begins with `version: {VERSION}`"));
            return None;
        };
        let version = fields.iter().find(|(key, _)| key.value == "version");
        match version.map(|(_, node)| (&node.place, &node.value)) {
            None => {
                let near = did_you_mean("version", fields.iter().map(|(key, _)| key.as_str()));
                let help = match near {
                    Some(near) => format!("did you mean `version` where it says `{near}`?"),
                    None => format!("begin each config file with `version: {VERSION}`"),
                };
                self.report.error("missing_field", &node.place, "`version` is missing").help(help);
            }
            Some((_, Value::Int(version))) if *version == i64::from(VERSION) => {}
            Some((place, Value::Int(version))) if *version > i64::from(VERSION) => {
                let message = format!(
                    "this config is written in version {version} of the config language, but this \
                     program reads version {VERSION} only"
                );
                self.report.error("newer_version", place, message).help("install a newer release");
                return None;
            }
            Some((place, _)) => {
                self.report
                    .error("invalid_version", place, format!("the version must be {VERSION}"))
                    .help(format!("write `version: {VERSION}`"));
            }
        }
        Some(fields)
    }

    /// Takes in the files that a pattern stands for, relative to the including file.
    fn include(&mut self, pattern: &str, place: &Place, chain: &Chain<'_>) {
        let full = beside(chain.file, pattern);
        let (folder, last) = full.rsplit_once('/').unwrap_or(("", &full));
        if folder.contains('*') || last.is_empty() {
            self.report
                .error("invalid_include", place, format!("`{pattern}` does not name files"))
                .help("name a file, or several with `*` in the last part: `apis/*.yaml`");
            self.is_complete = false;
            return;
        }
        let found = match self.files.list(&full) {
            Ok(found) => found,
            Err(reason) => {
                let message = format!("cannot look for `{full}`: {reason}");
                self.report.error("unreadable", place, message);
                self.is_complete = false;
                return;
            }
        };
        if found.is_empty() {
            self.report
                .error("include_nothing", place, format!("there is no file `{full}`"))
                .help("paths are relative to the file that includes them");
            self.is_complete = false;
        }
        for name in &found {
            let name = normal(name);
            // A pattern may well match the file it is in; a name given twice is an oversight.
            if last.contains('*') || !self.known.contains(&name) {
                self.file(&name, place, Some(chain));
            } else if chain.contains(&name) {
                let message = format!("`{name}` includes itself");
                self.report
                    .error("include_cycle", place, message)
                    .help("remove this line: the file is part of the config already");
            } else {
                let message = format!("`{name}` is part of the config already");
                self.report.warning("included_twice", place, message).help("remove this line");
            }
        }
    }
}

/// The fields of all files together.
#[derive(Default)]
struct Merged {
    fields: Vec<(Placed<String>, Node)>,
    /// Where in `fields` a field is.
    index: HashMap<String, usize>,
    /// Where each name of a united map was given.
    names: HashMap<(String, String), Place>,
}

impl Merged {
    fn into_node(mut self, place: Place) -> Node {
        // Where the version is missing or wrong was told for each file.
        self.fields.retain(|(key, _)| key.value != "version");
        let version = Node { place: place.clone(), value: Value::Int(i64::from(VERSION)) };
        self.fields.push((Placed { place: place.clone(), value: "version".to_owned() }, version));
        Node { place, value: Value::Map(self.fields) }
    }

    fn note_names(&mut self, is_united: bool, section: &Placed<String>, value: &Node) {
        if let (true, Value::Map(entries)) = (is_united, &value.value) {
            for (name, _) in entries {
                let key = (section.value.clone(), name.value.clone());
                self.names.insert(key, name.place.clone());
            }
        }
    }

    fn add(&mut self, key: Placed<String>, value: Node, report: &mut Report) {
        let name = key.value.clone();
        let is_united = matches!(
            name.as_str(),
            "listeners" | "upstreams" | "stores" | "apis" | "roles" | "plans" | "consumers"
        );
        let is_listed = matches!(name.as_str(), "policies" | "include");
        let Some(&at) = self.index.get(&name) else {
            self.index.insert(name, self.fields.len());
            self.note_names(is_united, &key, &value);
            self.fields.push((key, value));
            return;
        };
        // An empty field is as good as none.
        let is_empty = |node: &Node| node.value == Value::Null && (is_united || is_listed);
        if self.fields.get(at).is_some_and(|(_, existing)| is_empty(existing)) {
            self.note_names(is_united, &key, &value);
            self.fields[at] = (key, value);
            return;
        }
        let Some((first, existing)) = self.fields.get_mut(at) else { return };
        match (&mut existing.value, value.value) {
            _ if name == "version" => {}
            (_, Value::Null) if is_united || is_listed => {}
            (Value::List(all), Value::List(more)) if is_listed => all.extend(more),
            (Value::Map(all), Value::Map(more)) if is_united => {
                for (key, node) in more {
                    match self.names.entry((name.clone(), key.value.clone())) {
                        Entry::Occupied(first) => duplicate(&key, first.get(), report),
                        Entry::Vacant(vacant) => {
                            vacant.insert(key.place.clone());
                            all.push((key, node));
                        }
                    }
                }
            }
            (_, other) if is_united || is_listed => {
                let node = Node { place: value.place, value: other };
                let wanted = if is_united { "a map" } else { "a list" };
                let message = format!("expected {wanted}, found {}", node.kind());
                report.error("wrong_type", &node.place, message);
            }
            _ => duplicate(&key, &first.place, report),
        }
    }
}

fn duplicate(key: &Placed<String>, first: &Place, report: &mut Report) {
    report
        .error("duplicate_key", &key.place, format!("`{}` appears twice in the config", key.value))
        .help(format!("it is already set at {first}"));
}

/// A path relative to the folder of a file.
fn beside(file: &str, path: &str) -> String {
    match file.rsplit_once('/') {
        Some((folder, _)) if !path.starts_with('/') => normal(&format!("{folder}/{path}")),
        _ => normal(path),
    }
}

/// A path without `.` and without `name/..`, so that one file has one name.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "." => {}
            "" if !parts.is_empty() => {}
            ".." if parts.last().is_some_and(|last| !matches!(*last, ".." | "")) => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
