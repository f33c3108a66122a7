//! What outlives a snapshot: live state of policies and upstreams, keyed by stable ids. A snapshot
//! holds what it uses; what no snapshot uses any more is forgotten.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Live state by id. It is looked up when a config is compiled, never by a request.
#[derive(Default)]
pub struct State {
    cells: Mutex<HashMap<String, Weak<dyn Any + Send + Sync>>>,
}

impl State {
    /// No state yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The state of `id`, made anew unless a living snapshot has one of this type.
    pub fn cell<T: Any + Send + Sync>(&self, id: &str, make: impl FnOnce() -> T) -> Arc<T> {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        let living = cells.get(id).and_then(Weak::upgrade);
        if let Some(cell) = living.and_then(|cell| cell.downcast::<T>().ok()) {
            return cell;
        }
        let cell = Arc::new(make());
        let erased: Arc<dyn Any + Send + Sync> = Arc::clone(&cell) as _;
        cells.insert(id.to_owned(), Arc::downgrade(&erased));
        cell
    }

    /// Forgets the ids that no snapshot uses any more.
    pub fn sweep(&self) {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.retain(|_, cell| cell.strong_count() > 0);
    }

    /// How many ids are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "State({} cells)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::State;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn state_lives_as_long_as_someone_uses_it() {
        let state = State::new();
        let old = state.cell("orders/rate_limit", || AtomicU32::new(7));
        let new = state.cell("orders/rate_limit", || AtomicU32::new(0));
        assert!(Arc::ptr_eq(&old, &new), "a reload keeps the counters");
        drop((old, new));
        state.sweep();
        assert!(state.is_empty());
        let fresh = state.cell("orders/rate_limit", || AtomicU32::new(0));
        assert_eq!(fresh.load(Ordering::Relaxed), 0);
    }
}
