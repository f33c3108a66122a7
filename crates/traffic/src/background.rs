//! Work beside the request path: tasks that live as long as a policy, and computations so long that they
//! would hold up all other requests of a worker. Crate `upstream` implements it.

use crate::BoxFuture;
use crate::fault::{Fault, FaultCode, Stage};
use http::HeaderValue;
use http::header::RETRY_AFTER;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// A computation.
pub type Job = Box<dyn FnOnce() + Send>;

/// As much work waits for processors already as may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// Runs work beside the request path. Policies get it when they are built.
pub trait Background: Send + Sync + fmt::Debug {
    /// Runs a task on the background runtime, until it is done or what is returned is dropped. Where nothing
    /// is alive, as in `yett check`, it is never run.
    fn spawn(&self, task: BoxFuture<'static, ()>) -> Task;

    /// Runs a computation on one of a few threads, the same for the whole node, after those that were
    /// asked for before. It is dropped undone when the future is dropped before its turn.
    ///
    /// # Errors
    /// When `COMPUTE_QUEUE_MAX` computations wait already.
    fn compute(&self, job: Job) -> BoxFuture<'static, Result<(), Busy>>;
}

/// A task, which ends when this is dropped.
pub struct Task(Option<Job>);

impl Task {
    /// A task that is ended by calling `end`.
    #[must_use]
    pub fn new(end: impl FnOnce() + Send + 'static) -> Self {
        Self(Some(Box::new(end)))
    }

    /// A task that was never begun.
    #[must_use]
    pub const fn nothing() -> Self {
        Self(None)
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end();
        }
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Task")
    }
}

/// Computes a value on one of the few threads for that, see [`Background::compute`].
///
/// # Errors
/// `compute_busy` when too much waits, `internal` when the computation panicked.
pub async fn compute<T: Send + 'static>(
    background: &dyn Background,
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Fault> {
    let result = Arc::new(Mutex::new(None));
    let place = Arc::clone(&result);
    let done = background.compute(Box::new(move || {
        let value = job();
        *place.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    }));
    done.await.map_err(|Busy| {
        let fault = Fault::new(Stage::Guard, FaultCode::ComputeBusy);
        fault.header(RETRY_AFTER, HeaderValue::from_static("1"))
    })?;
    let value = result.lock().unwrap_or_else(PoisonError::into_inner).take();
    value.ok_or_else(|| {
        Fault::new(Stage::Guard, FaultCode::Internal).cause("a computation gave no result")
    })
}
