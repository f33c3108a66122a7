//! What is measured of requests and kept for their record.

use http::HeaderName;
use model::Config;
use std::sync::Arc;
use telemetry::access::{AccessFormat, AccessSettings};
use traffic::observe::Observe;

/// What requests are looked at for. Nothing, unless somebody will read it.
pub(crate) fn compile(config: &Config, log: &AccessSettings) -> Arc<Observe> {
    let mut answer_headers = Vec::new();
    let mut is_timed = config.access_log.timings;
    if let AccessFormat::Template(template) = &log.format {
        is_timed |= template.wants_stages();
        answer_headers = template
            .answer_headers()
            .filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok())
            .collect();
        answer_headers.sort_by(|one: &HeaderName, two| one.as_str().cmp(two.as_str()));
        answer_headers.dedup();
    }
    Arc::new(Observe { is_timed, answer_headers: answer_headers.into() })
}
