//! How a process leaves: another takes over, and what is under way here comes to its end.

#[cfg(feature = "otlp")]
use super::LAST_SPANS;
use super::{LOOK_AGAIN, Process, SETTLE, believe};
use crate::disk::{self, StateDir};
use crate::handover::{self, Cancel, Estate, Successor};
use crate::prepare;
use base::shutdown::Phase;
use std::ffi::OsString;
use std::pin::pin;
use std::sync::Arc;
use tokio::signal::unix::Signal;
use tokio::sync::mpsc::Receiver;

/// What became of an upgrade.
pub(super) enum Handed {
    /// Another process serves.
    Over(Successor),
    /// None does; this one goes on.
    Nothing,
    /// It was told to stop meanwhile.
    Stop,
}

impl Process {
    /// Has a new process take over, unless a signal to stop comes first: that is meant for both.
    pub(super) async fn hand_over(&self, [terminate, interrupt]: [&mut Signal; 2]) -> Handed {
        let estate = self.estate().map_err(|error| format!("no file descriptor is left: {error}"));
        let (program, state) = (self.program.clone(), Arc::clone(&self.still.state));
        tracing::info!(program = %program.display(), "upgrading");
        let mut is_stopped = false;
        let outcome = match estate {
            Err(why) => Err(why),
            Ok(estate) => {
                let cancel = Arc::new(Cancel::default());
                let cancelled = Arc::clone(&cancel);
                let mut passing = tokio::task::spawn_blocking(move || {
                    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
                    handover::pass_on(&program, &arguments, &estate, &state, &cancelled)
                });
                let passed = tokio::select! {
                    passed = &mut passing => Some(passed),
                    _ = terminate.recv() => None,
                    _ = interrupt.recv() => None,
                };
                is_stopped = passed.is_none();
                let passed = match passed {
                    Some(passed) => passed,
                    None => {
                        cancel.cancel();
                        passing.await
                    }
                };
                passed.unwrap_or_else(|error| Err(error.to_string()))
            }
        };
        let told = outcome.as_ref().map(|to| to.process).map_err(Clone::clone);
        self.board.upgraded(self.still.clock.wall(), &told);
        match &told {
            Ok(process) => tracing::info!(process, "another process serves now"),
            Err(why) => {
                tracing::error!(why, "no upgrade; this process goes on serving");
                self.stay();
            }
        }
        match outcome {
            Ok(to) if is_stopped => {
                handover::terminate(to.process);
                Handed::Stop
            }
            Ok(to) => Handed::Over(to),
            Err(_) if is_stopped => Handed::Stop,
            Err(_) => Handed::Nothing,
        }
    }

    fn estate(&self) -> std::io::Result<Estate> {
        Ok(Estate {
            listeners: self.workers.legacy()?,
            admin: self.admin.as_ref().map(|(_, socket)| socket.try_clone()).transpose()?,
            state_dir: self.state_dir.as_ref().map(StateDir::share).transpose()?,
        })
    }

    /// Keeps on counting for itself, though counts were handed over.
    fn stay(&self) {
        if let Some(ledger) = policy::quota::ledger_in_use(&self.still.state) {
            ledger.stay();
        }
        if let Some(journal) = &self.books.journal {
            journal.renew();
        }
    }

    /// Ends after another process took over. Credentials that are taken away meanwhile end here as they do there.
    pub(super) async fn retire(
        &mut self,
        to: Successor,
        [mut terminate, mut interrupt]: [Signal; 2],
        mut hang_up: Signal,
        mut changes: Receiver<()>,
    ) {
        self.trigger.advance(Phase::Leaving);
        if let Some(platform) = &self.platform {
            platform.leave();
        }
        // From now on the other process keeps them.
        self.books.kept = None;
        let rest = to.told(Arc::clone(&self.still.state));
        tracing::info!(limit_s = self.drain.as_secs(), "finishing what is under way");
        let mut retired = pin!(self.workers.retire(self.drain));
        let finished = loop {
            tokio::select! {
                finished = &mut retired => break finished,
                _ = terminate.recv() => break false,
                _ = interrupt.recv() => break false,
                _ = hang_up.recv() => {}
                Some(()) = changes.recv() => {
                    tokio::time::sleep(SETTLE).await;
                    changes.try_recv().ok();
                }
                () = tokio::time::sleep(LOOK_AGAIN), if self.still.files.is_unsettled() => {}
            }
            self.still.files.refresh(disk::read);
            match prepare::credentials(&self.settings.config) {
                Some(credentials) => believe(credentials, self.platform.as_ref(), &self.still),
                None => tracing::warn!("the config has problems; the old credentials stay"),
            }
        };
        if !finished {
            tracing::warn!("stopping with connections open");
        }
        drop(rest);
        #[cfg(feature = "otlp")]
        self.still.exporters.finish(LAST_SPANS).await;
        self.trigger.advance(Phase::Stopping);
    }
}
