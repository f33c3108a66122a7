//! How the gateway's own requests leave.

use crate::inputs::Inputs;
use base::Report;
use model::Config;
use std::sync::Arc;
use traffic::Outbound;
use upstream::EgressSpec;

/// The way out as the config wants it.
pub(crate) fn compile(
    _config: &Config,
    inputs: Inputs<'_>,
    _report: &mut Report,
) -> Arc<dyn Outbound> {
    upstream::outbound(EgressSpec::default(), inputs.world)
}
