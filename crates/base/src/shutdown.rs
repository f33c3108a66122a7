//! Telling every task to finish, and waiting until the last one has.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::task::{Poll, Waker};
use tokio::sync::watch;

/// How far a shutdown has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Serving.
    Running,
    /// Others take the new work: what has begun goes on, and says that it is the last.
    Leaving,
    /// No new work; what is under way is finished.
    Draining,
    /// Whatever is still under way is dropped.
    Stopping,
}

/// The side that orders a shutdown.
#[derive(Debug)]
pub struct Trigger(watch::Sender<Phase>);

/// The side that obeys; clones are cheap.
#[derive(Clone, Debug)]
pub struct Signal(watch::Receiver<Phase>);

/// A trigger and its signal.
#[must_use]
pub fn channel() -> (Trigger, Signal) {
    let (sender, receiver) = watch::channel(Phase::Running);
    (Trigger(sender), Signal(receiver))
}

impl Trigger {
    /// Moves on to a phase; going back is ignored.
    pub fn advance(&self, phase: Phase) {
        self.0.send_if_modified(|current| {
            let later = phase > *current;
            if later {
                *current = phase;
            }
            later
        });
    }

    /// Another signal of this trigger.
    #[must_use]
    pub fn signal(&self) -> Signal {
        Signal(self.0.subscribe())
    }

    /// Waits until every signal was dropped.
    pub async fn all_gone(&self) {
        self.0.closed().await;
    }
}

impl Signal {
    /// The phase now.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Waits until at least `phase` is reached. A trigger that is gone counts as stopping.
    ///
    /// Polling it again is cheap: whoever was told to wait looks at a number and takes no lock, which all
    /// connections would share, until something has changed.
    pub async fn reached(&mut self, phase: Phase) {
        let mut seen = self.0.clone();
        let mut reached = pin!(self.0.wait_for(|current| *current >= phase));
        let mut waiting: Option<Waker> = None;
        poll_fn(|cx| {
            let is_told = waiting.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
            // An error means that the trigger was dropped, which ends every wait.
            if is_told && seen.has_changed().is_ok_and(|has_changed| !has_changed) {
                return Poll::Pending;
            }
            seen.mark_unchanged();
            let polled = reached.as_mut().poll(cx).map(drop);
            if polled.is_pending() {
                waiting = Some(cx.waker().clone());
            }
            polled
        })
        .await;
    }
}
