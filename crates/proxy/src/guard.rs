//! Stage three: run the request phase of the chain, in order, until a policy answers or fails.

use crate::gateway::Worker;
use crate::overload;
use crate::revoke::{self, Watch};
use std::sync::Arc;
use traffic::exchange::Exchange;
use traffic::upgrade::Upgrade;
use traffic::{Fault, FaultCode, Flow, Stage};

/// Runs the chain of the matched route.
///
/// # Errors
/// The first fault of a policy, or what the node refuses for want of time or memory. A preflight that no policy answered is refused here: it asks about
/// another request and must not reach a backend. So is an extended CONNECT that no policy allowed. What was good when
/// a policy found it may be revoked while another one waits: that ends the exchange, too.
pub(crate) async fn run(
    worker: &Arc<Worker>,
    exchange: &mut Exchange,
    watch: &mut Option<Watch>,
) -> Result<Flow, Fault> {
    let Some(matched) = &exchange.matched else {
        return Err(Fault::new(Stage::Guard, FaultCode::Internal).cause("no route was matched"));
    };
    let route = Arc::clone(&matched.route);
    let identified = route.chain.identified();
    for (position, entry) in route.chain.request().enumerate() {
        if position == identified {
            overload::admit(worker, exchange)?;
        }
        Watch::follow(watch, worker, exchange);
        let mut has_waited = false;
        let flow = match entry.policy.on_request(exchange, entry.slot).now()? {
            Ok(flow) => flow,
            Err(later) => {
                has_waited = true;
                revoke::watched(watch, Stage::Guard, later).await?
            }
        };
        if has_waited {
            // What it has found out may be over, too.
            Watch::follow(watch, worker, exchange);
            if watch.as_mut().is_some_and(Watch::is_over) {
                return Err(revoke::fault(Stage::Guard));
            }
        }
        if let Flow::Answer(_) = flow {
            return Ok(flow);
        }
        for entry in route.chain.hiding_after(entry) {
            entry.policy.hide(exchange, entry.slot);
        }
    }
    if route.chain.request().len() == identified {
        overload::admit(worker, exchange)?;
    }
    if exchange.is_preflight {
        let fault = Fault::new(Stage::Guard, FaultCode::CorsRefused);
        return Err(fault.detail("this route takes no cross-origin requests"));
    }
    let is_barred = |upgrade: &Upgrade| upgrade.is_connect && upgrade.terms.is_none();
    if exchange.upgrade.as_deref().is_some_and(is_barred) {
        // As a plain request it would have another meaning.
        let fault = Fault::new(Stage::Guard, FaultCode::MethodUnsupported);
        return Err(fault.detail("this route takes no WebSockets"));
    }
    Ok(Flow::Continue)
}
