use crate::password::Attempts;
use crate::{Caller, Problem, problem};
use base::Clock;
use std::fmt;
use std::sync::Arc;
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
        Self { store, check: Arc::new(check), attempts }
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
