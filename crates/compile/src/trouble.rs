//! What is done when targets are in trouble: from what was written to what crate `upstream` does. What
//! is said nowhere has its default here.

use base::units::{Period, Share};
use http::StatusCode;
use model::trouble::{Breaker, Concurrency, Outliers, RetryOn, ShareIn};
use std::time::Duration;
use telemetry::RetryReason;
use traffic::plan::Priority;
use traffic::upstream::{Hedge, Retries};
use upstream::{
    AdaptiveSpec, BreakerSpec, ConcurrencySpec, DelaySpec, OutlierSpec, ShareSpec, TroubleSpec,
};

/// Answers that say that nobody is behind a target.
const STATUSES: [u16; 3] = [502, 503, 504];
const CONSECUTIVE: u32 = 5;
const REQUESTS_MIN: u32 = 20;
const EJECT: Duration = Duration::from_secs(30);
const EJECT_MAX: Duration = Duration::from_secs(600);
const EJECTED_MAX: Share = Share::percent(50);
const FAILURES: ShareIn =
    ShareIn { share: Share::percent(50), within: Period(Duration::from_secs(10)) };
const OPEN: Duration = Duration::from_secs(5);
const WAIT: Duration = Duration::from_secs(1);
/// Bounds of a limit that is found.
const ADAPTIVE: AdaptiveSpec = AdaptiveSpec { min: 4, max: 1_000 };
/// How long a queue must not have been empty (RFC 8289, 4.3).
const INTERVAL: Duration = Duration::from_millis(100);

/// What one upstream does.
pub(crate) fn spec(written: &model::Upstream, strangers: Priority) -> TroubleSpec {
    let default = TroubleSpec::default();
    let hedge = written.hedge.as_ref();
    TroubleSpec {
        retries: written.retries.as_ref().map_or(default.retries, |written| retries(written)),
        retry_budget: written
            .retries
            .as_ref()
            .and_then(|written| written.budget)
            .unwrap_or(default.retry_budget),
        hedge: hedge.map(|hedge| Hedge { after: hedge.after.0, max: u32::from(hedge.max) }),
        outliers: match &written.outliers {
            None => default.outliers,
            Some(written) => written.on.then(|| outliers(written)),
        },
        breaker: written.breaker.as_ref().map(|written| breaker(written)),
        concurrency: written.concurrency.as_ref().map(|written| concurrency(written, strangers)),
    }
}

fn retries(written: &model::trouble::Retries) -> Retries {
    let default = Retries::default();
    let mut on = Vec::new();
    let mut statuses = Vec::new();
    for what in written.on.iter().flatten() {
        match what {
            RetryOn::Connect => on.push(RetryReason::Connect),
            RetryOn::RefusedStream => on.push(RetryReason::RefusedStream),
            RetryOn::Reset => on.push(RetryReason::Reset),
            RetryOn::Timeout => on.push(RetryReason::Timeout),
            RetryOn::Invalid => on.push(RetryReason::Invalid),
            RetryOn::Status(status) => statuses.extend(StatusCode::from_u16(*status).ok()),
        }
    }
    let backoff = written.backoff.base.map_or(default.backoff, |base| base.0);
    Retries {
        max: u32::from(written.max),
        per_try: written.per_try.map(|per_try| per_try.0),
        on: if written.on.is_some() { on } else { default.on },
        statuses,
        backoff,
        backoff_max: written.backoff.max.map_or(default.backoff_max, |max| max.0).max(backoff),
    }
}

fn share(written: ShareIn, requests_min: u32) -> ShareSpec {
    ShareSpec { share: written.share, within: written.within.0, requests_min }
}

fn statuses(written: Option<&Vec<u16>>) -> Vec<StatusCode> {
    let written = written.map_or(&STATUSES[..], Vec::as_slice);
    written.iter().filter_map(|status| StatusCode::from_u16(*status).ok()).collect()
}

fn outliers(written: &Outliers) -> OutlierSpec {
    let requests_min = written.min_requests.unwrap_or(REQUESTS_MIN);
    let eject = written.eject.map_or(EJECT, |eject| eject.0);
    OutlierSpec {
        consecutive: written.consecutive.unwrap_or(CONSECUTIVE),
        failures: written.failures.map(|written| share(written, requests_min)),
        is_connect_only: false,
        statuses: statuses(written.statuses.as_ref()),
        eject,
        eject_max: written.eject_max.map_or(EJECT_MAX, |max| max.0).max(eject),
        ejected_max: written.ejected_max.unwrap_or(EJECTED_MAX),
    }
}

fn breaker(written: &Breaker) -> BreakerSpec {
    BreakerSpec {
        failures: share(written.failures.unwrap_or(FAILURES), written.min_requests),
        slow: written.slow.map(|slow| (slow.over.0, slow.share)),
        statuses: statuses(written.statuses.as_ref()),
        open: written.open.map_or(OPEN, |open| open.0),
        probes: written.probes,
    }
}

fn concurrency(written: &Concurrency, strangers: Priority) -> ConcurrencySpec {
    let adaptive = written.adaptive.map(|written| {
        // Who names one bound only means it, whatever the other one usually is.
        let max = written.max.unwrap_or_else(|| ADAPTIVE.max.max(written.min.unwrap_or(1)));
        AdaptiveSpec { min: written.min.unwrap_or(ADAPTIVE.min).min(max), max }
    });
    let delay = written.delay.map(|delay| DelaySpec::Fixed {
        target: delay.target.0,
        interval: delay.interval.map_or(INTERVAL, |interval| interval.0),
    });
    ConcurrencySpec {
        max: written.max.unwrap_or(u32::MAX),
        max_per_target: written.max_per_target,
        queue: written.queue,
        wait: written.wait.map_or(WAIT, |wait| wait.0),
        delay: delay.or_else(|| adaptive.map(|_| DelaySpec::Measured)),
        adaptive,
        strangers,
    }
}
