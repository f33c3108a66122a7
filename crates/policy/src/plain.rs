//! What goes over the network for all to read.

use crate::kind::BuildCtx;
use base::{Node, Report};
use http::Uri;
use std::net::IpAddr;

/// Warns where an address is of plain HTTP, unless it is this machine. `what` says what that means.
pub(crate) fn warn(
    (url, what): (&str, &str),
    (node, below): (&Node, &str),
    ctx: &BuildCtx<'_>,
    report: &mut Report,
) {
    let Ok(uri) = url.parse::<Uri>() else { return };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let is_here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let (is_plain, better) = match uri.scheme_str() {
        Some("http") => (true, "use `https:`"),
        Some("grpc") => (true, "use `grpcs:`"),
        _ => (false, ""),
    };
    if is_plain && !is_here {
        ctx.warning(report, node, below, what).help(better);
    }
}
