use crate::password::Attempts;
use crate::{Caller, Code, Problem, problem};
use base::{Clock, Secret};
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
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

/// Checks a config, given as JSON.
pub(crate) type Check = Arc<dyn Fn(&str) -> Checked + Send + Sync>;

/// The platform. Cloning is cheap.
#[derive(Clone)]
pub struct Control {
    pub(crate) store: Store,
    pub(crate) check: Check,
    pub(crate) attempts: Arc<Attempts>,
    /// Master keys; nothing can be encrypted or read without.
    keys: Arc<RwLock<Option<Keys>>>,
}

impl Control {
    /// Over a database, with what tells whether a config may be published.
    #[must_use]
    pub fn new(
        store: Store,
        clock: &Clock,
        check: impl Fn(&str) -> Checked + Send + Sync + 'static,
    ) -> Self {
        let attempts = Arc::new(Attempts::new(clock));
        Self { store, check: Arc::new(check), attempts, keys: Arc::default() }
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
