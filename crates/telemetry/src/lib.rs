//! What a running gateway says about itself: metrics, the access log and diagnostics.
//!
//! Typed events go in, text comes out. It sits on the path of every request, so it must never make
//! traffic wait: no lock, no allocation once warm, no queue without a cap; where a reader is too slow,
//! lines are dropped and counted. It must never show a secret, nor know what a policy is, nor decide
//! anything about a request.
//!
//! Start reading at [`metrics`] for what is counted, and at [`access`] for how a line gets from a
//! worker to a file.

/// Counters and gauges that workers can touch without disturbing each other.
pub mod shards;
/// What is counted, by which labels, and the text that a scrape gets.
pub mod metrics;
/// One line per request, on a path of its own.
pub mod access;
/// Spans of requests that are part of a trace.
pub mod trace;
/// Spans as the protocol of OpenTelemetry.
#[cfg(feature = "otlp")]
pub mod otlp;
/// What the program says about its own running, for its operator.
pub mod diagnostics;

pub use access::{AccessFormat, AccessLine, AccessLog, AccessSettings, AccessTarget, AccessWriter};
pub use diagnostics::Diagnostics;
pub use metrics::{
    ApiMetrics, BreakerState, ListenerMetrics, Metrics, Refusal, RetryReason, RouteMetrics,
    ShedReason, TargetMetrics, TroubleMetrics, UpstreamMetrics,
};
pub use shards::{Gauge, Sharded, ShardedCounter};
