//! From files to a snapshot, for `check` and `explain` (nothing comes alive) and for a gateway.

use crate::disk::{Disk, Secrets, digest};
use base::{Clock, Place, Report};
use compile::{Compiled, Inputs};
use model::join::{self, Grants, Workspace};
use model::load::{Loaded, load_with};
use model::{Config, EffectiveConfig};
use policy::files::Shelf;
use std::fmt::Write as _;
use std::sync::Arc;
use telemetry::Metrics;
use traffic::directory::{Credential, CredentialHash, Directory};
use traffic::fault::FAULT_NAMES;
use traffic::{Snapshot, State};
use upstream::World;

/// Names and texts of the files a config was read from.
pub(crate) type Sources = Vec<(Arc<str>, Arc<str>)>;

/// Credentials as the Directory takes them.
pub(crate) type Credentials = Vec<(CredentialHash, Arc<Credential>)>;

/// A config that was looked at.
pub(crate) struct Checked {
    pub(crate) config: Option<Config>,
    pub(crate) snapshot: Option<Snapshot>,
    /// The credentials of its consumers.
    pub(crate) credentials: Vec<(CredentialHash, Arc<Credential>)>,
    pub(crate) report: Report,
    pub(crate) sources: Sources,
}

impl Checked {
    /// What it comes to, if it could be compiled.
    pub(crate) fn effective(&self) -> Option<EffectiveConfig> {
        Some(compile::effective(self.config.as_ref()?, self.snapshot.as_ref()?))
    }
}

/// Reads and compiles a config without bringing anything to life.
pub(crate) fn check(root: &str) -> Checked {
    read(root).check()
}

/// A config as it was read.
pub(crate) struct Read {
    pub(crate) config: Option<Config>,
    pub(crate) report: Report,
    pub(crate) sources: Sources,
    pub(crate) disk: Disk,
    pub(crate) revision: Arc<str>,
}

impl Read {
    /// Whether nothing is wrong with it so far.
    pub(crate) fn is_usable(&self) -> bool {
        self.config.is_some() && !self.report.has_errors()
    }

    /// Compiles it, if nothing is wrong with it so far.
    pub(crate) fn compile(self, still: &Still, world: &World) -> Tried {
        let is_usable = self.is_usable();
        let Self { config, mut report, sources, disk, revision } = self;
        let made = config.filter(|_| is_usable).map(|config| {
            let compiled = compile_with(&config, &disk, still, Some(world), &revision);
            report.absorb(compiled.report.clone());
            (config, compiled)
        });
        Tried { made, report, sources, disk, revision }
    }

    /// Compiles it without bringing anything to life, to find what else is wrong with it.
    pub(crate) fn check(self) -> Checked {
        let mut report = self.report;
        let compiled = self.config.as_ref().map(|config| {
            let still = Still::default();
            let compiled = compile_with(config, &self.disk, &still, None, &self.revision);
            // What the model says of a place need not be said in other words.
            let told: Vec<Place> = report.problems().iter().map(|p| p.place.clone()).collect();
            for problem in compiled.report.problems() {
                if !told.contains(&problem.place) {
                    report.push(problem.clone());
                }
            }
            (compiled.snapshot, compiled.credentials)
        });
        let (snapshot, credentials) = compiled.unzip();
        let credentials = credentials.unwrap_or_default();
        report.sort();
        Checked { config: self.config, snapshot, credentials, report, sources: self.sources }
    }
}

/// A config as it was read and compiled.
pub(crate) struct Tried {
    /// What came of it; it is to be used only if the report has no errors.
    pub(crate) made: Option<(Config, Compiled)>,
    pub(crate) report: Report,
    pub(crate) sources: Sources,
    pub(crate) disk: Disk,
    pub(crate) revision: Arc<str>,
}

/// The credentials of a config as it is now, without bringing anything else of it to life. Nothing if it is not usable.
pub(crate) fn credentials(root: &str) -> Option<Credentials> {
    let read = read(root);
    let config = read.config.as_ref().filter(|_| read.is_usable())?;
    let compiled = compile_with(config, &read.disk, &Still::default(), None, &read.revision);
    (!compiled.report.has_errors()).then_some(compiled.credentials)
}

/// Reads a config with all its files.
pub(crate) fn read(root: &str) -> Read {
    read_with(root, &Published::default())
}

/// What workspaces have published and keep.
#[derive(Debug, Default)]
pub(crate) struct Published {
    /// What the platform's own has, as files of these names.
    pub(crate) files: Sources,
    /// The others, those first that go before the rest where two want the same.
    pub(crate) tenants: Vec<Tenant>,
    pub(crate) secrets: Arc<Secrets>,
}

/// What a workspace other than the platform's own has published.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) name: String,
    pub(crate) config: Arc<str>,
    pub(crate) grants: Arc<Grants>,
}

/// The same, with what workspaces have published.
pub(crate) fn read_with(root: &str, published: &Published) -> Read {
    let disk = Disk::with(&published.secrets);
    let Loaded { config, mut report, mut sources, .. } = load_with(root, &disk, &published.files);
    let file = |it: &Tenant| (Arc::from(join::file_of(&it.name)), Arc::clone(&it.config));
    sources.extend(published.tenants.iter().map(file));
    let revision = revision(&sources);
    let config = config.map(|config| {
        // Of a config with errors nobody can tell what others may have beside it.
        if report.has_errors() { config } else { joined(config, &published.tenants, &mut report) }
    });
    Read { config, report, sources, disk, revision }
}

/// The platform's config with workspaces beside it. What is wrong with one is told, and it is left out.
fn joined(platform: Config, tenants: &[Tenant], report: &mut Report) -> Config {
    if tenants.is_empty() {
        return platform;
    }
    let read = |it: &Tenant| {
        let Tenant { name, config, grants } = it;
        join::read(&Workspace { name, config, grants }, &platform)
    };
    let mut all: Vec<join::Read> = tenants.iter().map(read).collect();
    let (config, left_out) = join::join(&platform, &all);
    let own = all.iter_mut().map(|read| std::mem::take(&mut read.report));
    for problems in own.chain(left_out.into_iter().map(|(_, problems)| problems)) {
        report.absorb(problems);
    }
    report.sort();
    config
}

/// Twelve hexadecimal digits that name this text of a config.
fn revision(sources: &Sources) -> Arc<str> {
    let mut all = Vec::new();
    for (name, text) in sources {
        all.extend_from_slice(name.as_bytes());
        all.push(0);
        all.extend_from_slice(text.as_bytes());
    }
    let mut name = String::new();
    for byte in digest(&all).iter().take(6) {
        // Writing to a string cannot fail.
        write!(name, "{byte:02x}").ok();
    }
    Arc::from(name)
}

/// What outlives snapshots.
pub(crate) struct Still {
    pub(crate) state: Arc<State>,
    /// The files that policies go by.
    pub(crate) files: Arc<Shelf>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Clock,
    #[cfg(feature = "otlp")]
    pub(crate) exporters: crate::export::Exporters,
}

impl Default for Still {
    fn default() -> Self {
        Self::new(1)
    }
}

impl Still {
    /// Nothing yet, for this many workers.
    pub(crate) fn new(workers: usize) -> Self {
        let state = Arc::default();
        Self {
            files: policy::files::shelf(&state),
            state,
            directory: Arc::default(),
            metrics: Metrics::new(workers, FAULT_NAMES),
            clock: Clock::System,
            #[cfg(feature = "otlp")]
            exporters: crate::export::Exporters::default(),
        }
    }
}

/// Compiles a config as it was read; without a world nothing comes alive.
pub(crate) fn compile_with(
    config: &Config,
    disk: &Disk,
    still: &Still,
    world: Option<&World>,
    revision: &Arc<str>,
) -> Compiled {
    let upstream = |spec| match world {
        Some(world) => upstream::build(spec, world),
        None => compile::inert(spec),
    };
    #[cfg(feature = "otlp")]
    let make = world.map(|world| |spec, remote| still.exporters.make(spec, remote, world));
    #[cfg(feature = "otlp")]
    let exporter = make.as_ref().map(|make| make as compile::BuildExporter<'_>);
    #[cfg(not(feature = "otlp"))]
    let exporter = None;
    compile::compile(
        config,
        Inputs {
            outside: disk,
            upstream: &upstream,
            world,
            outbound: None,
            access: None,
            stores: None,
            names: None,
            geo: None,
            exporter,
            state: &still.state,
            directory: &still.directory,
            metrics: &still.metrics,
            clock: &still.clock,
            revision,
        },
    )
}
