//! x
use crate::spec::UpstreamSpec;
use crate::world::World;
use std::sync::Arc;
use traffic::upstream::Upstream;

/// Builds.
///
/// # Errors
/// x
pub fn build(spec: UpstreamSpec, world: &World) -> Result<Arc<dyn Upstream>, String> {
    Err(format!("{} {}", spec.name, world.workers))
}
