use crate::password::Attempts;
use crate::provider::Providers;
use crate::{Caller, Code, Problem, problem};
use base::clock::unix_ms;
use base::{Clock, Secret};
use model::effective::EffectiveConfig;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;
use store::envelope::{Keys, Sealed};
use store::{Store, Write};

/// Something that is wrong with what was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where: a JSON pointer (RFC 6901) into what was sent.
    pub pointer: String,
    /// What, and what helps.
    pub message: String,
}

/// What a config comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// What keeps it from being published.
    pub errors: Vec<Finding>,
    /// What its author should know.
    pub warnings: Vec<Finding>,
}

/// A config that is to be checked.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The id of the workspace.
    pub workspace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The config, as JSON.
    pub config: &'a str,
}

/// Checks a config.
pub(crate) type Check = Arc<dyn Fn(Asked<'_>) -> Checked + Send + Sync>;

/// Tells what a config comes to, if it can be compiled.
pub(crate) type Effect = Arc<dyn Fn(Asked<'_>) -> Option<EffectiveConfig> + Send + Sync>;

/// The platform. Cloning is cheap.
#[derive(Clone)]
pub struct Control {
    pub(crate) store: Store,
    pub(crate) check: Check,
    pub(crate) effect: Effect,
    pub(crate) attempts: Arc<Attempts>,
    /// Master keys; nothing can be encrypted or read without.
    keys: Arc<RwLock<Option<Keys>>>,
    pub(crate) clock: Clock,
    pub(crate) providers: Option<Providers>,
}

impl Control {
    /// Over a database, with what tells whether a config may be published.
    #[must_use]
    pub fn new(
        store: Store,
        clock: &Clock,
        check: impl Fn(&str) -> Checked + Send + Sync + 'static,
    ) -> Self {
        Self::with(store, clock, move |asked| check(asked.config))
    }

    /// The same, where it matters whose config it is. The check may take its time and block.
    #[must_use]
    pub fn with(
        store: Store,
        clock: &Clock,
        check: impl Fn(Asked<'_>) -> Checked + Send + Sync + 'static,
    ) -> Self {
        let attempts = Arc::new(Attempts::new(clock));
        let (check, effect) = (Arc::new(check), Arc::new(|_: Asked<'_>| None));
        let (clock, keys) = (clock.clone(), Arc::default());
        Self { store, check, effect, attempts, keys, clock, providers: None }
    }

    /// With what tells what a config comes to. It may take its time and block.
    #[must_use]
    pub fn with_effect(
        self,
        effect: impl Fn(Asked<'_>) -> Option<EffectiveConfig> + Send + Sync + 'static,
    ) -> Self {
        Self { effect: Arc::new(effect), ..self }
    }

    /// With the master keys by which secrets are encrypted. Clones have them, too.
    #[must_use]
    pub fn with_keys(self, keys: Keys) -> Self {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(keys);
        self
    }

    pub(crate) fn keys(&self) -> Result<Keys, Problem> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        let why = "there is no master key, so that no secret can be kept or read";
        keys.ok_or_else(|| Problem::new(Code::StoreUnavailable, why))
    }

    /// Encrypts the secret of something.
    pub(crate) fn seal(&self, of: &str, secret: &Secret) -> Result<Sealed, Problem> {
        self.keys()?.seal(of, secret.reveal().as_bytes()).map_err(problem::of("secret"))
    }

    /// Decrypts the secret of something.
    pub(crate) fn open(&self, of: &str, sealed: &Sealed) -> Result<Secret, Problem> {
        let opened = self.keys()?.open(of, sealed).map_err(problem::of("secret"))?;
        let text = String::from_utf8(opened);
        let corrupt = || store::Error::Corrupt("a secret is no text".to_owned());
        text.map(Secret::new).map_err(|_| problem::of("secret")(corrupt()))
    }

    /// What a config of a workspace comes to.
    pub(crate) async fn checked(&self, workspace: &str, config: &str) -> Result<Checked, Problem> {
        let found = self.store.workspace_get(workspace).await.map_err(problem::of("workspace"))?;
        let (check, config) = (Arc::clone(&self.check), config.to_owned());
        // Compiling takes its time, which whoever else is served here must not wait for.
        let check =
            move || check(Asked { workspace: &found.id, name: &found.name, config: &config });
        tokio::task::spawn_blocking(check).await.map_err(|error| Problem {
            cause: Some(error.to_string()),
            ..Problem::new(Code::Internal, "the check of the config failed; the log says why")
        })
    }

    /// The time, also in milliseconds since 1970.
    pub(crate) fn now(&self) -> (SystemTime, i64) {
        let wall = self.clock.wall();
        (wall, i64::try_from(unix_ms(wall)).unwrap_or(i64::MAX))
    }

    /// Begins to write on behalf of somebody.
    pub(crate) async fn write(&self, caller: &Caller) -> Result<Write, Problem> {
        self.store.write(caller.actor()).await.map_err(problem::of("database"))
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("store", &self.store).finish_non_exhaustive()
    }
}
