//! What a compiler needs besides the config.

use base::secret::Reference;
use base::{Clock, Place, Secret, Secrets};
use http::HeaderName;
use policy::access::Access;
use policy::files::Files;
use policy::geo::Geo;
use policy::store::Stores;
use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use telemetry::Metrics;
use telemetry::trace::TraceSink;
use traffic::directory::Directory;
use traffic::names::Names;
use traffic::outbound::{Destination, Remote};
use traffic::upstream::Upstream;
use traffic::{Outbound, State};
use upstream::{UpstreamSpec, World};

/// What lies outside the config: files and environment variables.
pub trait Outside {
    /// The content of a file.
    ///
    /// # Errors
    /// A sentence that says why it cannot be read, without the path.
    fn read(&self, path: &Path) -> Result<Vec<u8>, String>;

    /// The content of a file whose changes alone do not make another config, but no more than a byte beyond so many.
    ///
    /// # Errors
    /// A sentence that says why it cannot be read, without the path.
    fn read_apart(&self, path: &Path, bytes_max: usize) -> Result<Vec<u8>, String>;

    /// Notes that changes of such a file matter.
    fn follow(&self, path: &Path) {
        let _ = path;
    }

    /// The value of an environment variable.
    fn env(&self, name: &str) -> Option<String>;

    /// A secret that a workspace keeps; the platform, which is no workspace, keeps none.
    fn secret(&self, workspace: Option<&str>, name: &str) -> Option<Secret> {
        let _ = (workspace, name);
        None
    }
}

/// What lies outside for whoever is not trusted with the machine: nothing but the secrets of the workspace.
pub(crate) struct Behind<'a> {
    pub(crate) outside: &'a dyn Outside,
    pub(crate) workspace: &'a str,
}

/// Why there is no file.
const NO_FILES: &str = "what a workspace writes reads no files of the machine";

impl Outside for Behind<'_> {
    fn read(&self, _: &Path) -> Result<Vec<u8>, String> {
        Err(NO_FILES.to_owned())
    }

    fn read_apart(&self, _: &Path, _: usize) -> Result<Vec<u8>, String> {
        Err(NO_FILES.to_owned())
    }

    fn env(&self, _: &str) -> Option<String> {
        None
    }

    fn secret(&self, _: Option<&str>, name: &str) -> Option<Secret> {
        self.outside.secret(Some(self.workspace), name)
    }
}

/// Makes an upstream: a living one for a gateway, an inert one for `check` and `explain`.
pub type BuildUpstream<'a> = &'a dyn Fn(UpstreamSpec) -> Result<Arc<dyn Upstream>, String>;

/// Where spans go, and how they get there.
#[derive(Debug)]
pub struct OtlpSpec {
    /// The collector.
    pub endpoint: Destination,
    /// Headers of requests to it.
    pub headers: Vec<(HeaderName, Secret)>,
    /// What the gateway is called in traces.
    pub service: String,
}

/// Makes what sends spans to a collector.
pub type BuildExporter<'a> = &'a dyn Fn(OtlpSpec, Arc<dyn Remote>) -> Arc<dyn TraceSink>;

/// What a compiler needs besides the config.
#[derive(Clone, Copy)]
pub struct Inputs<'a> {
    /// Files and environment variables.
    pub outside: &'a dyn Outside,
    /// Makes upstreams.
    pub upstream: BuildUpstream<'a>,
    /// Live state that outlives snapshots.
    pub state: &'a State,
    /// The credentials of all consumers.
    pub directory: &'a Arc<Directory>,
    /// Counters.
    pub metrics: &'a Metrics,
    /// Time.
    pub clock: &'a Clock,
    /// Where the way out for policies begins; without one they get a way on which nothing is sent.
    pub world: Option<&'a World>,
    /// That way, once [`crate::compile()`] has made it as the config says; leave it empty.
    pub outbound: Option<&'a Arc<dyn Outbound>>,
    /// What callers may do, likewise made by [`crate::compile()`]; leave it empty.
    pub access: Option<&'a Arc<Access>>,
    /// Where gateways share counts, likewise made by [`crate::compile()`]; leave it empty.
    pub stores: Option<&'a Arc<Stores>>,
    /// What asks name servers for the names of addresses, likewise; leave it empty.
    pub names: Option<&'a Arc<dyn Names>>,
    /// Where clients are, likewise, if the config names databases; leave it empty.
    pub geo: Option<&'a Arc<Geo>>,
    /// Makes what sends spans away; without it nothing is traced.
    pub exporter: Option<BuildExporter<'a>>,
    /// Identifies the config in logs and metrics.
    pub revision: &'a Arc<str>,
}

impl fmt::Debug for Inputs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Inputs(revision {})", self.revision)
    }
}

/// A path in a config is relative to the file in which it stands. What a database keeps stands in no file: a path there leads
/// nowhere, also one that begins with a slash.
#[must_use]
pub fn resolve_path(written: &str, place: &Place) -> PathBuf {
    if place.file.starts_with(model::join::FILE) {
        return Path::new(&*place.file).join(written.trim_start_matches('/'));
    }
    let folder = Path::new(&*place.file).parent().unwrap_or_else(|| Path::new(""));
    folder.join(written)
}

/// Resolves the references of texts that stand at a place.
pub(crate) struct SecretsAt<'a> {
    pub(crate) outside: &'a dyn Outside,
    pub(crate) place: &'a Place,
}

impl Secrets for SecretsAt<'_> {
    fn resolve(&self, reference: &Reference) -> Result<Secret, String> {
        match reference {
            Reference::Env(name) => self
                .outside
                .env(name)
                .map(Secret::new)
                .ok_or_else(|| format!("the environment variable `{name}` is not set")),
            Reference::Kept(name) => self.outside.secret(None, name).ok_or_else(|| {
                format!("there is no secret `{name}`, or it is not this workspace's")
            }),
            Reference::File(written) => {
                let path = resolve_path(written, self.place);
                let unreadable = |why: String| format!("cannot read `{}`: {why}", path.display());
                let bytes = self.outside.read(&path).map_err(unreadable)?;
                if bytes.len() > base::caps::SECRET_FILE_BYTES_MAX {
                    return Err(unreadable("it is too large for a secret".to_owned()));
                }
                let text = String::from_utf8(bytes)
                    .map_err(|_| unreadable("it is not text in UTF-8".to_owned()))?;
                let line = text.strip_suffix('\n').unwrap_or(&text);
                Ok(Secret::new(line.strip_suffix('\r').unwrap_or(line).to_owned()))
            }
        }
    }
}

/// Finds the files that policies at a place go by.
pub(crate) struct FilesAt<'a> {
    pub(crate) outside: &'a dyn Outside,
    pub(crate) place: &'a Place,
}

impl Files for FilesAt<'_> {
    fn locate(&self, written: &str) -> PathBuf {
        let path = self.plain(written);
        self.outside.follow(&path);
        path
    }

    fn read(&self, path: &Path, bytes_max: usize) -> Result<Vec<u8>, String> {
        self.outside.read_apart(path, bytes_max)
    }

    fn part(&self, written: &str) -> (PathBuf, Result<Vec<u8>, String>) {
        let path = self.plain(written);
        let content = self.outside.read(&path);
        (path, content)
    }
}

impl FilesAt<'_> {
    /// One file has one name, so that two who go by it share it.
    fn plain(&self, written: &str) -> PathBuf {
        let is_step = |part: &Component<'_>| *part != Component::CurDir;
        resolve_path(written, self.place).components().filter(is_step).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::resolve_path;
    use base::Place;
    use std::path::Path;

    #[test]
    fn paths_of_files_are_beside_them_and_paths_of_databases_lead_nowhere() {
        let at = |file: &str, written| resolve_path(written, &Place::new(file.into(), 1, 1));
        assert_eq!(at("conf/yett.yaml", "a.pem"), Path::new("conf/a.pem"));
        assert_eq!(at("conf/yett.yaml", "/etc/a.pem"), Path::new("/etc/a.pem"));
        let kept = model::join::file_of("default");
        for written in ["a.pem", "/etc/passwd", "//etc/passwd", "../../etc/passwd"] {
            let path = at(&kept, written);
            assert!(path.starts_with(&kept) && std::fs::metadata(&path).is_err(), "{path:?}");
        }
    }
}
