//! Stage two: find the route.

use crate::admit;
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, ALLOW};
use http::{HeaderValue, Method};
use traffic::exchange::Exchange;
use traffic::snapshot::ListenerPart;
use traffic::tree::Lookup;
use traffic::{Fault, FaultCode, Stage};

/// Finds the route by host, path, method and predicates. A preflight is routed by the method it asks
/// about, so that the policies of that route answer it.
///
/// # Errors
/// `no_route`, `method_not_allowed` (with `Allow`), `api_retired` or `route_broken`.
pub fn find(listener: &ListenerPart, exchange: &mut Exchange) -> Result<(), Fault> {
    let asked = exchange.is_preflight.then(|| asked_method(exchange)).flatten();
    let method = asked.as_ref().unwrap_or(&exchange.request.method);
    let matched = match listener.tree.find(&exchange.request, method) {
        Lookup::Found(matched) => matched,
        Lookup::NotFound => return Err(Fault::new(Stage::Route, FaultCode::NoRoute)),
        Lookup::MethodNotAllowed(allowed) => {
            let fault = Fault::new(Stage::Route, FaultCode::MethodNotAllowed);
            let allow = HeaderValue::try_from(allowed.allow());
            return Err(match allow {
                Ok(allow) => fault.header(ALLOW, allow),
                Err(_) => fault,
            });
        }
    };
    matched.route.metrics.in_flight().add(exchange.worker, 1);
    let broken = matched.route.broken.clone();
    let retired = matched.route.lifecycle.as_ref().filter(|it| it.is_retired).cloned();
    if let Some(reserved) = &matched.route.reserved {
        admit::withhold(exchange, reserved);
    }
    exchange.matched = Some(matched);
    if let Some(lifecycle) = retired {
        let fault = Fault::new(Stage::Route, FaultCode::ApiRetired);
        return Err(match &lifecycle.detail {
            Some(detail) => fault.detail(detail.to_string()),
            None => fault,
        });
    }
    match broken {
        None => Ok(()),
        Some(reason) => Err(Fault::new(Stage::Route, FaultCode::RouteBroken).cause(&*reason)),
    }
}

fn asked_method(exchange: &Exchange) -> Option<Method> {
    let asked = exchange.request.headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
    Method::from_bytes(asked.as_bytes()).ok()
}
