//! What outlives a snapshot: live state of policies and upstreams, keyed by stable ids. A snapshot
//! holds what it uses; what no snapshot uses any more is forgotten.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Live state by id. It is looked up when a config is compiled, never by a request.
#[derive(Clone, Default)]
pub struct State {
    all: Arc<All>,
    /// What stands before each id.
    within: Option<Arc<str>>,
}

#[derive(Default)]
struct All {
    cells: Mutex<HashMap<String, Weak<dyn Any + Send + Sync>>>,
    portable: Mutex<HashMap<String, Weak<dyn Portable>>>,
    lasting: Mutex<HashMap<String, Weak<dyn Lasting>>>,
}

/// Live state that can go on in another process of the same machine.
pub trait Portable: Any + Send + Sync {
    /// All of it, in a form that only [`Portable::import`] of the same type reads.
    fn export(&self) -> Vec<u8>;

    /// Goes on from what another process exported. What cannot be read is ignored, since state may be lost
    /// but never wrong.
    fn import(&self, bytes: &[u8]);

    /// From now on another process goes on from what is exported next, or does not after all. What must not happen here
    /// without the other knowing must not happen any more.
    fn handed_over(&self, is_so: bool) {
        let _ = is_so;
    }

    /// What was counted since [`Portable::export`], or since this was asked last, for the process that went on from
    /// there; nothing where what comes later need not be added up.
    fn export_rest(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Adds what [`Portable::export_rest`] told elsewhere.
    fn import_rest(&self, _bytes: &[u8]) {}
}

/// Live state that is kept on disk, too, and goes on after a restart.
pub trait Lasting: Portable {
    /// Another number after every change that is to be kept.
    fn version(&self) -> u64;
}

impl State {
    /// No state yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, where a workspace finds nothing but what is its own.
    #[must_use]
    pub fn within(&self, workspace: &str) -> Self {
        Self { all: Arc::clone(&self.all), within: Some(workspace.into()) }
    }

    /// The same, where everybody finds what is of the whole gateway.
    #[must_use]
    pub fn whole(&self) -> Self {
        Self { all: Arc::clone(&self.all), within: None }
    }

    /// As an id is known among all. No id of the gateway's own begins with a name and two colons.
    fn id(&self, id: &str) -> String {
        match &self.within {
            Some(workspace) => format!("{workspace}::{id}"),
            None => id.to_owned(),
        }
    }

    /// The state of `id`, made anew unless a living snapshot has one of this type.
    pub fn cell<T: Any + Send + Sync>(&self, id: &str, make: impl FnOnce() -> T) -> Arc<T> {
        let id = self.id(id);
        let mut cells = self.all.cells.lock().unwrap_or_else(PoisonError::into_inner);
        let living = cells.get(&id).and_then(Weak::upgrade);
        if let Some(cell) = living.and_then(|cell| cell.downcast::<T>().ok()) {
            return cell;
        }
        let cell = Arc::new(make());
        let erased: Arc<dyn Any + Send + Sync> = Arc::clone(&cell) as _;
        cells.insert(id, Arc::downgrade(&erased));
        cell
    }

    /// Like [`State::cell`], for state that [`State::export`] is to find.
    pub fn portable<T: Portable>(&self, id: &str, make: impl FnOnce() -> T) -> Arc<T> {
        let cell = self.cell(id, make);
        let erased: Arc<dyn Portable> = Arc::clone(&cell) as _;
        self.portables().insert(self.id(id), Arc::downgrade(&erased));
        cell
    }

    /// Like [`State::portable`], for state that is to be kept on disk, too. What follows the last `/` of the id are
    /// settings under which another one goes on with what was kept.
    pub fn lasting<T: Lasting>(&self, id: &str, make: impl FnOnce() -> T) -> Arc<T> {
        let cell = self.portable(id, make);
        let erased: Arc<dyn Lasting> = Arc::clone(&cell) as _;
        self.lastings().insert(self.id(id), Arc::downgrade(&erased));
        cell
    }

    /// All lasting state by id, in the order of the ids.
    #[must_use]
    pub fn all_lasting(&self) -> Vec<(String, Arc<dyn Lasting>)> {
        let living = self.lastings();
        let upgraded =
            |(id, cell): (&String, &Weak<dyn Lasting>)| Some((id.clone(), cell.upgrade()?));
        let mut all: Vec<_> = living.iter().filter_map(upgraded).collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all
    }

    /// Goes on from what was kept: each with its own, or else with what was kept under other settings.
    pub fn restore(&self, kept: &[(String, Vec<u8>)]) {
        let stem = |id: &str| id.rsplit_once('/').map(|(stem, _)| stem.to_owned());
        for (id, cell) in self.all_lasting() {
            let own = kept.iter().find(|(other, _)| *other == id);
            let kept = own.or_else(|| kept.iter().find(|(other, _)| stem(other) == stem(&id)));
            if let Some((_, bytes)) = kept {
                cell.import(bytes);
            }
        }
    }

    /// All portable state, by id.
    #[must_use]
    pub fn export(&self) -> Vec<(String, Vec<u8>)> {
        let living: Vec<(String, Arc<dyn Portable>)> = self
            .portables()
            .iter()
            .filter_map(|(id, cell)| Some((id.clone(), cell.upgrade()?)))
            .collect();
        living.into_iter().map(|(id, cell)| (id, cell.export())).collect()
    }

    /// Tells all portable state that another process is about to go on with it, or is not after all.
    pub fn hand_over(&self, is_so: bool) {
        let living: Vec<_> = self.portables().values().filter_map(Weak::upgrade).collect();
        living.iter().for_each(|cell| cell.handed_over(is_so));
    }

    /// Goes on from what was exported elsewhere, where an id is in use here.
    pub fn import(&self, exported: &[(String, Vec<u8>)]) {
        for (id, bytes) in exported {
            if let Some(cell) = self.find(id) {
                cell.import(bytes);
            }
        }
    }

    /// What was counted since all was exported, or since this was asked last, by id.
    #[must_use]
    pub fn export_rest(&self) -> Vec<(String, Vec<u8>)> {
        let ids: Vec<String> = self.portables().keys().cloned().collect();
        let rest = |id: String| Some((self.find(&id)?.export_rest(), id));
        let told = ids.into_iter().filter_map(rest).filter(|(bytes, _)| !bytes.is_empty());
        told.map(|(bytes, id)| (id, bytes)).collect()
    }

    /// Adds what was counted elsewhere after it was exported, where an id is in use here.
    pub fn import_rest(&self, exported: &[(String, Vec<u8>)]) {
        for (id, bytes) in exported {
            if let Some(cell) = self.find(id) {
                cell.import_rest(bytes);
            }
        }
    }

    fn find(&self, id: &str) -> Option<Arc<dyn Portable>> {
        self.portables().get(id).and_then(Weak::upgrade)
    }

    fn lastings(&self) -> MutexGuard<'_, HashMap<String, Weak<dyn Lasting>>> {
        self.all.lasting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn portables(&self) -> MutexGuard<'_, HashMap<String, Weak<dyn Portable>>> {
        self.all.portable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody uses the state of `id`.
    #[must_use]
    pub fn is_in_use(&self, id: &str) -> bool {
        let cells = self.all.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.get(&self.id(id)).is_some_and(|cell| cell.strong_count() > 0)
    }

    /// Forgets the ids that no snapshot uses any more.
    pub fn sweep(&self) {
        let mut cells = self.all.cells.lock().unwrap_or_else(PoisonError::into_inner);
        cells.retain(|_, cell| cell.strong_count() > 0);
        self.portables().retain(|_, cell| cell.strong_count() > 0);
        self.lastings().retain(|_, cell| cell.strong_count() > 0);
    }

    /// How many ids are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.cells.lock().unwrap_or_else(PoisonError::into_inner).len()
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
    use super::{Lasting, Portable, State};
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

    impl Portable for AtomicU32 {
        fn export(&self) -> Vec<u8> {
            self.load(Ordering::Relaxed).to_be_bytes().to_vec()
        }

        fn import(&self, bytes: &[u8]) {
            if let Ok(bytes) = bytes.try_into() {
                self.store(u32::from_be_bytes(bytes), Ordering::Relaxed);
            }
        }
    }

    impl Lasting for AtomicU32 {
        fn version(&self) -> u64 {
            self.load(Ordering::Relaxed).into()
        }
    }

    #[test]
    fn lasting_state_goes_on_from_its_own_or_from_that_of_other_settings() {
        let state = State::new();
        let own = state.lasting("keys/a/1h", || AtomicU32::new(1));
        let other = state.lasting("keys/a/2h", || AtomicU32::new(1));
        let none = state.lasting("keys/b/1h", || AtomicU32::new(1));
        drop(state.lasting("gone", || AtomicU32::new(1)));
        let kept = |id: &str, value: u32| (id.to_owned(), value.to_be_bytes().to_vec());
        state.restore(&[kept("keys/a/3h", 7), kept("keys/a/1h", 8), kept("gone", 9)]);
        let values = [own, other, none].map(|cell| cell.load(Ordering::Relaxed));
        assert_eq!(values, [8, 7, 1]);
        let ids: Vec<String> = state.all_lasting().into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids, Vec::<String>::new(), "nobody uses it any more");
    }

    #[test]
    fn state_is_in_use_while_somebody_has_it() {
        let state = State::new();
        let cell = state.portable("a", || AtomicU32::new(7));
        assert!(state.is_in_use("a") && !state.is_in_use("b"));
        assert!(state.export_rest().is_empty(), "nothing is added up");
        drop(cell);
        assert!(!state.is_in_use("a"));
    }

    #[test]
    fn portable_state_goes_on_elsewhere() {
        let (here, there) = (State::new(), State::new());
        let old = here.portable("a", || AtomicU32::new(7));
        drop(here.portable("gone", || AtomicU32::new(1)));
        let _unportable = here.cell("b", || AtomicU32::new(8));
        let exported = here.export();
        assert_eq!(exported.len(), 1);
        let new = there.portable("a", || AtomicU32::new(0));
        there.import(&exported);
        there.import(&[("unknown".to_owned(), Vec::new()), ("a".to_owned(), vec![1])]);
        assert_eq!(new.load(Ordering::Relaxed), old.load(Ordering::Relaxed));
    }
}
