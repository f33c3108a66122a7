//! Keeps the addresses of a name fresh: it is asked for again when the answer has expired, and after
//! a failure with growing pauses, while the last known addresses stay.

use crate::resolve::Resolve;
use crate::target::TargetCell;
use base::backoff::Backoff;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The shortest time between two questions.
const VALID_MIN: Duration = Duration::from_secs(1);
/// The longest time that an answer is believed.
const VALID_MAX: Duration = Duration::from_secs(3_600);
/// The longest pause after failures.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Runs until nobody uses the target any more.
pub(crate) async fn keep_fresh(cell: Weak<TargetCell>, resolve: Arc<dyn Resolve>, name: String) {
    let mut backoff = Backoff::new(VALID_MIN, PAUSE_MAX);
    loop {
        let answer = resolve.resolve(&name).await;
        let Some(cell) = cell.upgrade() else { return };
        let error = match answer {
            Ok(resolved) if !resolved.addresses.is_empty() => {
                cell.resolved(&resolved.addresses);
                drop(cell);
                backoff.reset();
                tokio::time::sleep(resolved.valid_for.clamp(VALID_MIN, VALID_MAX)).await;
                continue;
            }
            Ok(_) => "the name has no address".to_owned(),
            Err(error) => error,
        };
        cell.not_resolved(error);
        drop(cell);
        tokio::time::sleep(backoff.after_failure()).await;
    }
}
