//! Copies of requests that go to another upstream beside the real one, for nobody but that upstream to see.
//! A policy orders them; the data plane makes and sends them.

use crate::upstream::Upstream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use telemetry::metrics::MirrorMetrics;

/// An order for a copy of one request.
#[derive(Debug)]
pub struct Mirror {
    /// Where the copy goes.
    pub upstream: Arc<dyn Upstream>,
    /// Bytes of the body; a request with more is not copied.
    pub body_max: usize,
    /// How long a copy may take, its answer included.
    pub timeout: Duration,
    /// Whether the copy carries the client's credentials.
    pub keeps_credentials: bool,
    /// What became of copies.
    pub metrics: Arc<MirrorMetrics>,
    /// Its place among the copies under way.
    pub place: Place,
}

/// A place among the copies under way; dropping it gives it back.
#[derive(Debug)]
pub struct Place(Arc<AtomicUsize>);

impl Place {
    /// A place, unless `max` are taken.
    #[must_use]
    pub fn take(taken: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        // Made first: were it to be refused, it is given back by dropping it.
        let before = taken.fetch_add(1, Ordering::Relaxed);
        let place = Self(Arc::clone(taken));
        (before < max).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::Place;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn no_more_places_are_given_than_there_are_and_none_is_lost() {
        let taken = Arc::new(AtomicUsize::new(0));
        let first = Place::take(&taken, 2);
        let second = Place::take(&taken, 2);
        assert!(first.is_some() && second.is_some());
        assert!(Place::take(&taken, 2).is_none());
        drop(first);
        assert!(Place::take(&taken, 2).is_some());
        drop(second);
        assert_eq!(taken.load(Ordering::Relaxed), 0);
    }
}
