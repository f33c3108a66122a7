//! How fast a client sends its body. Time counts only while the client is waited for, never while the
//! upstream is.

use base::Alarm;
use base::caps::{BODY_GRACE_S, BODY_RATE_MIN};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;

/// The pace of one body.
#[derive(Debug, Default)]
pub(super) struct Pace {
    bytes: u64,
    waited: Duration,
    waits_since: Option<Instant>,
    alarm: Alarm,
}

impl Pace {
    /// Bytes came.
    pub(super) fn came(&mut self, count: usize) {
        self.bytes += count as u64;
        if let Some(since) = self.waits_since.take() {
            self.waited += since.elapsed();
            self.alarm.clear();
        }
    }

    /// Nothing came. Ready when the client has been waited for longer than its bytes so far earn it.
    pub(super) fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.waits_since.is_none() {
            let earned = Duration::from_secs(BODY_GRACE_S + self.bytes / BODY_RATE_MIN);
            self.waits_since = Some(now());
            self.alarm.set(earned.saturating_sub(self.waited));
        }
        self.alarm.poll(cx)
    }
}

#[expect(clippy::disallowed_methods, reason = "timers go by the runtime's clock")]
fn now() -> Instant {
    Instant::now()
}
