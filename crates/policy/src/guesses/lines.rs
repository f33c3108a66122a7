//! Lines in which those wait of whom only a few may go on at the same time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A line for each key that somebody stands in line for.
pub(super) struct Lines<K>(Mutex<HashMap<K, Line>>);

struct Line {
    /// How many go on or wait.
    held: usize,
    free: Arc<Semaphore>,
}

impl<K> Default for Lines<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Clone + Eq + Hash> Lines<K> {
    /// Waits for a seat: so many may have one at the same time, and so many may wait for one. Nothing if too many wait.
    pub(super) async fn wait(
        self: &Arc<Self>,
        key: &K,
        (seats, waiting): (usize, usize),
    ) -> Option<Seat<K>> {
        let (place, free) = self.enter(key, seats, waiting)?;
        // Nobody closes it.
        let permit = free.acquire_owned().await.ok()?;
        Some(Seat { _permit: permit, _place: place })
    }

    fn enter(
        self: &Arc<Self>,
        key: &K,
        seats: usize,
        waiting: usize,
    ) -> Option<(Place<K>, Arc<Semaphore>)> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines.entry(key.clone());
        let line = line.or_insert_with(|| Line { held: 0, free: Arc::new(Semaphore::new(seats)) });
        if line.held >= seats + waiting {
            return None;
        }
        line.held += 1;
        let place = Place { lines: Arc::clone(self), key: key.clone() };
        Some((place, Arc::clone(&line.free)))
    }

    /// How many lines there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// A place in a line, waiting or not.
struct Place<K: Eq + Hash> {
    lines: Arc<Lines<K>>,
    key: K,
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut lines = self.lines.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(line) = lines.get_mut(&self.key) {
            line.held -= 1;
            if line.held == 0 {
                lines.remove(&self.key);
            }
        }
    }
}

/// The right to go on, until it is dropped.
pub(super) struct Seat<K: Eq + Hash> {
    _permit: OwnedSemaphorePermit,
    _place: Place<K>,
}

#[cfg(test)]
mod tests {
    use super::Lines;
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Waker};

    #[test]
    fn so_many_have_a_seat_so_many_wait_and_no_line_is_left_behind() {
        let lines = Arc::new(Lines::default());
        let mut cx = Context::from_waker(Waker::noop());
        let mut first = pin!(lines.wait(&1, (1, 1)));
        let Poll::Ready(Some(seat)) = first.as_mut().poll(&mut cx) else { panic!("no seat") };
        let mut second = pin!(lines.wait(&1, (1, 1)));
        assert!(second.as_mut().poll(&mut cx).is_pending());
        let mut third = pin!(lines.wait(&1, (1, 1)));
        assert!(matches!(third.as_mut().poll(&mut cx), Poll::Ready(None)), "too many wait");
        let mut other = pin!(lines.wait(&2, (1, 1)));
        assert!(matches!(other.as_mut().poll(&mut cx), Poll::Ready(Some(_))), "another line");
        drop(seat);
        let Poll::Ready(Some(seat)) = second.as_mut().poll(&mut cx) else { panic!("no seat") };
        drop(seat);
        assert_eq!(lines.len(), 0);
    }
}
