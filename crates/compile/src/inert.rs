//! Upstreams that are only looked at: `check` and `explain` neither resolve names nor open
//! connections.

use std::sync::Arc;
use traffic::exchange::Exchange;
use traffic::upstream::{Picked, Retries, TargetStatus, Timeouts, Upstream};
use traffic::{Fault, FaultCode, Stage};
use upstream::UpstreamSpec;

#[derive(Debug)]
struct Inert(UpstreamSpec);

/// An upstream that shows its targets and takes no requests.
///
/// # Errors
/// What building the living one would say about its settings.
pub fn inert(spec: UpstreamSpec) -> Result<Arc<dyn Upstream>, String> {
    upstream::check(&spec)?;
    Ok(Arc::new(Inert(spec)))
}

impl Upstream for Inert {
    fn name(&self) -> &Arc<str> {
        &self.0.name
    }

    fn timeouts(&self) -> Timeouts {
        self.0.timeouts
    }

    fn retries(&self) -> &Retries {
        &self.0.trouble.retries
    }

    fn pick(&self, _exchange: &Exchange) -> Result<Picked, Fault> {
        Err(Fault::new(Stage::Forward, FaultCode::NoTarget))
    }

    fn status(&self) -> Vec<TargetStatus> {
        let unknown = |target: &upstream::TargetSpec| TargetStatus {
            address: Arc::clone(&target.text),
            healthy: true,
            weight: target.weight,
            priority: target.priority,
            zone: target.locality.zone.clone(),
            region: target.locality.region.clone(),
            ..TargetStatus::default()
        };
        self.0.targets.iter().map(unknown).collect()
    }
}
