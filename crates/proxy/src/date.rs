//! The `date` header of answers (RFC 9110, 6.6.1): formatted at most once per second and worker.

use crate::gateway::Worker;
use base::clock::unix_ms;
use http::HeaderValue;
use std::cell::RefCell;
use std::time::{Duration, SystemTime};

/// The end of the year 9999, after which the format has no room.
const LAST_SECOND: u64 = 253_402_300_799;

thread_local! {
    /// The second that was formatted last, and its text. A worker is a thread.
    static LAST: RefCell<Option<(u64, HeaderValue)>> = const { RefCell::new(None) };
}

/// The time now, by the wall clock of the gateway.
pub(crate) fn now(worker: &Worker) -> HeaderValue {
    let second = unix_ms(worker.gateway.clock.wall()) / 1_000;
    LAST.with_borrow_mut(|last| match last {
        Some((at, text)) if *at == second => text.clone(),
        _ => {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(second.min(LAST_SECOND));
            let text = HeaderValue::try_from(httpdate::fmt_http_date(time))
                .unwrap_or_else(|_| HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"));
            *last = Some((second, text.clone()));
            text
        }
    })
}
