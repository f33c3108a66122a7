//! How the control plane of the process is.

use super::Metrics;
use super::exposition::{Page, gauge};
use std::fmt;
use std::sync::PoisonError;

/// How the control plane of the process is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ControlPlane {
    /// Whether its database answers.
    pub is_database_up: bool,
    /// Whether secrets can be read.
    pub is_unlocked: bool,
    /// Workspaces whose newest revision is not served by, as it is wrong.
    pub refused: usize,
}

impl Metrics {
    /// Takes how the control plane is. Before the first time there is none.
    pub fn control(&self, now: ControlPlane) {
        *self.state.control.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }
}

pub(super) fn control(page: &mut Page<'_>, control: Option<ControlPlane>) -> fmt::Result {
    let Some(now) = control else { return Ok(()) };
    let about = "Whether the database of the control plane answers";
    gauge(&mut page.gauges("yett_database_up", about)?, &[], i64::from(now.is_database_up))?;
    let about = "Whether secrets in the database can be read";
    gauge(&mut page.gauges("yett_master_key_up", about)?, &[], i64::from(now.is_unlocked))?;
    let about = "Workspaces whose newest revision is not served by, as it is wrong";
    let refused = i64::try_from(now.refused).unwrap_or(i64::MAX);
    gauge(&mut page.gauges("yett_revisions_refused", about)?, &[], refused)
}
