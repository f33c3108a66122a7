//! What lies around a config: its files, and environment variables. Nothing else can be read.

use base::{Report, Secret};
use compile::Outside;
use model::Config;
use model::join::{self, Grants, Workspace};
use model::load::Files;
use std::collections::BTreeMap;
use std::path::Path;

/// The name under which a config is looked for.
pub const ROOT: &str = "yett.yaml";

/// The files and environment variables that a test gives to a config.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    files: BTreeMap<String, Vec<u8>>,
    env: BTreeMap<String, String>,
    workspaces: BTreeMap<String, (String, Grants)>,
    secrets: BTreeMap<(String, String), String>,
}

impl Surroundings {
    /// A config text as the file [`ROOT`], and nothing around it.
    #[must_use]
    pub fn of(config: &str) -> Self {
        Self::default().file(ROOT, config)
    }

    /// All files of a folder and of the folders in it, by their names relative to it.
    ///
    /// # Panics
    /// When a file cannot be read.
    #[must_use]
    pub fn folder(folder: &Path) -> Self {
        let mut all = Self::default();
        all.add_folder(folder, "");
        all
    }

    fn add_folder(&mut self, folder: &Path, prefix: &str) {
        for entry in std::fs::read_dir(folder).expect("the folder is readable") {
            let path = entry.expect("the folder is readable").path();
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name in UTF-8");
            if path.is_dir() {
                self.add_folder(&path, &format!("{prefix}{name}/"));
            } else {
                let bytes = std::fs::read(&path).expect("the file is readable");
                self.files.insert(format!("{prefix}{name}"), bytes);
            }
        }
    }

    /// Adds a file, in place of the one of that name.
    #[must_use]
    pub fn file(mut self, name: &str, content: impl Into<Vec<u8>>) -> Self {
        self.files.insert(name.to_owned(), content.into());
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Adds a workspace with its config, and what is delegated to it.
    #[must_use]
    pub fn workspace(mut self, name: &str, config: &str, grants: Grants) -> Self {
        self.workspaces.insert(name.to_owned(), (config.to_owned(), grants));
        self
    }

    /// Has a workspace keep a secret.
    #[must_use]
    pub fn secret(mut self, workspace: &str, name: &str, value: &str) -> Self {
        self.secrets.insert((workspace.to_owned(), name.to_owned()), value.to_owned());
        self
    }

    /// A config with the workspaces beside it.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn joined(&self, platform: &Config) -> Result<Config, Report> {
        let mut read = Vec::new();
        for (name, (config, grants)) in &self.workspaces {
            let own = join::read(&Workspace { name, config, grants }, platform);
            if own.report.has_errors() {
                return Err(own.report);
            }
            read.push(own);
        }
        let (config, mut left_out) = join::join(platform, &read);
        left_out.pop().map_or(Ok(config), |(_, report)| Err(report))
    }

    fn find(&self, name: &str) -> Result<Vec<u8>, String> {
        self.files.get(name).cloned().ok_or_else(|| "there is no such file".to_owned())
    }
}

impl Files for Surroundings {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        self.find(path)
    }

    fn list(&self, pattern: &str) -> Result<Vec<String>, String> {
        let fits = |name: &&String| match pattern.split_once('*') {
            None => *name == pattern,
            Some((before, after)) => name
                .strip_prefix(before)
                .and_then(|rest| rest.strip_suffix(after))
                .is_some_and(|middle| !middle.contains('/')),
        };
        Ok(self.files.keys().filter(fits).cloned().collect())
    }

    fn is_folder(&self, _path: &str) -> bool {
        false
    }
}

impl Outside for Surroundings {
    fn read(&self, path: &Path) -> Result<Vec<u8>, String> {
        self.find(path.to_str().unwrap_or_default())
    }

    fn read_apart(&self, path: &Path, bytes_max: usize) -> Result<Vec<u8>, String> {
        let mut bytes = self.find(path.to_str().unwrap_or_default())?;
        bytes.truncate(bytes_max + 1);
        Ok(bytes)
    }

    fn env(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned()
    }

    fn secret(&self, workspace: Option<&str>, name: &str) -> Option<Secret> {
        let key = (workspace?.to_owned(), name.to_owned());
        self.secrets.get(&key).cloned().map(Secret::new)
    }
}
