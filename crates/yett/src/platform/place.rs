//! What the config says of the control plane: where it listens, and where its database and its keys are.

use super::providers;
use super::tls::Certificate;
use crate::disk::{Disk, StateDir};
use base::secret::Reference;
use base::{Placed, Secret, Text};
use control::provider::Provider;
use model::control::{CONTROL_PORT, ControlPlane};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::Location;
use store::envelope::Keys;

/// The file of the database in `state_dir`.
const DATABASE: &str = "yett.db";
/// The file of the master keys in `state_dir`.
const KEYS: &str = "master.key";

/// What the config says of the control plane.
#[derive(Debug)]
pub(crate) struct Place {
    pub(super) bind: SocketAddr,
    /// With what it is served by TLS.
    pub(super) tls: Option<Arc<Certificate>>,
    /// Whether somebody in front of it ends TLS.
    pub(super) is_behind_tls: bool,
    /// Names under which it may be asked for.
    pub(super) hosts: Vec<String>,
    pub(super) location: Location,
    /// Where the last good revisions are kept.
    pub(super) folder: Option<PathBuf>,
    /// Master keys, if they are not in that folder.
    pub(super) keys: Option<Secret>,
    /// Where browsers reach the admin API, without a `/` at its end.
    pub(super) url: Option<String>,
    /// By whom people log in.
    pub(super) providers: Vec<Provider>,
}

impl Place {
    /// What a config says, if there is to be a control plane.
    ///
    /// # Errors
    /// What is wrong with it, with its place.
    pub(crate) fn of(config: &model::Config, disk: &Disk) -> Result<Option<Self>, String> {
        let Some(written) = config.control.as_ref().filter(|control| !control.off) else {
            return Ok(None);
        };
        let ControlPlane { bind, database, master_key, tls, plain, hosts, url, providers, .. } =
            &written.value;
        let place = bind.as_ref().map_or(&written.place, |bind| &bind.place);
        let bind = match bind {
            None => SocketAddr::from((Ipv4Addr::LOCALHOST, CONTROL_PORT)),
            Some(bind) => {
                let text = resolve(bind, disk)?;
                let wrong = |_| {
                    format!(
                        "{}: `{}` is no address such as `127.0.0.1:9181`",
                        bind.place, bind.value
                    )
                };
                text.reveal().parse().map_err(wrong)?
            }
        };
        if !bind.ip().is_loopback() && written.value.is_in_plain() {
            return Err(format!(
                "{place}: others than this machine would send passwords and tokens to {bind} in plain; give it `tls`, or say in `plain` who ends TLS"
            ));
        }
        let tls = tls.as_ref().map(Certificate::load).transpose()?.map(Arc::new);
        let is_behind_tls = plain.is_some();
        let hosts = hosts.iter().map(|host| host.value.to_ascii_lowercase()).collect();
        // One that cannot be written to still tells what was served by last.
        let folder = StateDir::path_of(config, disk)?;
        let location = match (database, &folder) {
            (Some(url), _) => Location::Postgres(resolve(url, disk)?),
            (None, Some(folder)) => Location::Sqlite(folder.join(DATABASE)),
            (None, None) => {
                return Err(format!(
                    "{}: the control plane has no place for its database",
                    written.place
                ));
            }
        };
        let keys = master_key.as_ref().map(|keys| resolve(keys, disk)).transpose()?;
        let url = url.as_ref().map(|url| providers::url(url, disk)).transpose()?;
        let providers = providers::all(providers, disk)?;
        Ok(Some(Self { bind, tls, is_behind_tls, hosts, location, folder, keys, url, providers }))
    }
}

impl Place {
    /// Where people reach the admin API, which listens on an address.
    pub(crate) fn reached(&self, address: SocketAddr) -> String {
        if let Some(url) = &self.url {
            return url.trim_end_matches('/').to_owned();
        }
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        match self.hosts.first() {
            Some(host) if self.is_behind_tls => format!("https://{host}"),
            Some(host) => format!("{scheme}://{host}:{}", address.port()),
            None if address.ip().is_unspecified() => {
                format!("{scheme}://localhost:{}", address.port())
            }
            None => format!("{scheme}://{address}"),
        }
    }

    /// The address that the config says.
    pub(crate) const fn address(&self) -> SocketAddr {
        self.bind
    }

    /// Where its database is.
    pub(crate) const fn location(&self) -> &Location {
        &self.location
    }

    /// The folder for what outlives a restart, if there is one.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// The file of its master keys; none where the config says them itself.
    pub(crate) fn keys_file(&self) -> Option<PathBuf> {
        let folder = self.folder.as_ref().filter(|_| self.keys.is_none())?;
        Some(folder.join(KEYS))
    }

    /// The master keys that are there, if any.
    ///
    /// # Errors
    /// When what is there are no master keys, or others may read them.
    pub(crate) fn keys_there(&self) -> Result<Option<Keys>, String> {
        match (&self.keys, self.keys_file()) {
            (Some(text), _) => {
                Keys::parse(text).map(Some).map_err(|why| format!("`master_key`: {why}"))
            }
            (None, Some(path)) => Keys::load(&path),
            (None, None) => Ok(None),
        }
    }
}

pub(super) fn resolve(text: &Placed<Text>, disk: &Disk) -> Result<Secret, String> {
    let resolved = text.value.resolve(&References { disk, place: &text.place });
    resolved.map_err(|why| format!("{}: {why}", text.place))
}

/// References in the config file.
struct References<'a> {
    disk: &'a Disk,
    place: &'a base::Place,
}

impl base::Secrets for References<'_> {
    fn resolve(&self, reference: &Reference) -> Result<Secret, String> {
        match reference {
            Reference::Env(name) => compile::Outside::env(self.disk, name)
                .map(Secret::new)
                .ok_or_else(|| format!("the environment variable `{name}` is not set")),
            Reference::File(path) => {
                let path = compile::resolve_path(path, self.place);
                let bytes = compile::Outside::read(self.disk, &path)?;
                let text =
                    String::from_utf8(bytes).map_err(|_| "it is not text in UTF-8".to_owned())?;
                Ok(Secret::new(text.trim_end().to_owned()))
            }
            Reference::Kept(name) => {
                Err(format!("`${{secret:{name}}}` is kept in the database, which this is to find"))
            }
        }
    }
}
