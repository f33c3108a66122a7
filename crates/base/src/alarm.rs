//! Deadlines that are moved often and reached seldom.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep, sleep_until};

/// A deadline. Moving it touches no timer: the timer that runs is left to fire early, and is then set to
/// what the deadline has become. The clock is the runtime's, so that tests can pause it.
#[derive(Debug, Default)]
pub struct Alarm {
    at: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Rings so much later than now, whatever was set before.
    #[expect(clippy::disallowed_methods, reason = "timers go by the runtime's clock")]
    pub fn set(&mut self, after: Duration) {
        self.at = Instant::now().checked_add(after);
    }

    /// Like [`Alarm::set`], unless it is set already.
    pub fn start(&mut self, after: Duration) {
        if self.at.is_none() {
            self.set(after);
        }
    }

    /// Does not ring.
    pub const fn clear(&mut self) {
        self.at = None;
    }

    /// Ready once the deadline is reached, and from then on. Pending for ever while none is set.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() > at {
            timer.as_mut().reset(at);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= at {
                return Poll::Ready(());
            }
            timer.as_mut().reset(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Alarm;
    use std::future::poll_fn;
    use std::time::Duration;
    use tokio::time::{Instant, timeout};

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    #[expect(clippy::disallowed_methods, reason = "the paused clock is what is looked at")]
    async fn an_alarm_rings_at_its_last_deadline() {
        let began = Instant::now();
        let mut alarm = Alarm::default();
        assert!(timeout(SECOND, poll_fn(|cx| alarm.poll(cx))).await.is_err(), "none is set");
        alarm.set(10 * SECOND);
        assert!(timeout(SECOND, poll_fn(|cx| alarm.poll(cx))).await.is_err());
        alarm.set(20 * SECOND);
        poll_fn(|cx| alarm.poll(cx)).await;
        assert_eq!(began.elapsed(), 22 * SECOND);
        alarm.set(20 * SECOND);
        assert!(timeout(SECOND, poll_fn(|cx| alarm.poll(cx))).await.is_err());
        alarm.set(2 * SECOND);
        poll_fn(|cx| alarm.poll(cx)).await;
        assert_eq!(began.elapsed(), 25 * SECOND);
        alarm.clear();
        assert!(timeout(SECOND, poll_fn(|cx| alarm.poll(cx))).await.is_err());
    }
}
