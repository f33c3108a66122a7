//! Sockets of listeners and of operators: bound before anything is swapped, or taken over from the process before.

use crate::admin::{self, Board};
use crate::handover::Heir;
use base::Endpoint;
use model::Config;
use proxy::Workers;
use proxy::socket::Bound;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use tokio::runtime::Runtime;
use traffic::snapshot::ListenerPart;

/// Binds listeners; all or none.
pub(super) fn bind(
    workers: &Workers,
    parts: &[Arc<ListenerPart>],
    config: &Config,
    mut heir: Option<&mut Heir>,
) -> Result<Vec<(Arc<ListenerPart>, Bound)>, String> {
    let mut all = Vec::new();
    for part in parts {
        let place = config.listeners.iter().find(|(name, _)| *name.value == *part.name);
        let place = place.map(|(_, listener)| listener.bind.place.to_string()).unwrap_or_default();
        let legacy = heir.as_mut().and_then(|heir| heir.listener(&part.name, &part.bind));
        let bound = match legacy {
            Some(legacy) => workers.inherit(legacy).map(Some),
            None => workers.bind(&part.bind, part.mode),
        };
        let bound = bound.map_err(|error| {
            let hint = hint(&part.bind, error.kind());
            format!("{place}: listener `{}` cannot have {}: {error}{hint}", part.name, part.bind)
        })?;
        let bound = bound.ok_or_else(|| {
            format!("{place}: listener `{}` cannot have {}: another listener holds it until this change is done; move it in two steps", part.name, part.bind)
        })?;
        all.push((Arc::clone(part), bound));
    }
    Ok(all)
}

/// What may help where an address cannot be had.
fn hint(bind: &Endpoint, error: ErrorKind) -> &'static str {
    match (bind, error) {
        (Endpoint::Ip(_), ErrorKind::AddrInUse) => {
            "; another program holds it (`ss -ltnp` shows which), or another listener does"
        }
        (Endpoint::Ip(_), ErrorKind::PermissionDenied) => {
            "; ports below 1024 need the capability CAP_NET_BIND_SERVICE"
        }
        (Endpoint::Unix(_), ErrorKind::AddrInUse) => {
            "; another program holds it (`ss -lxp` shows which)"
        }
        (Endpoint::Unix(_), ErrorKind::PermissionDenied) => {
            "; the gateway must be able to write to the folder"
        }
        (Endpoint::Unix(_), ErrorKind::NotFound) => "; the folder must be there",
        _ => "",
    }
}

/// Serves on what was bound.
pub(super) fn open(
    workers: &mut Workers,
    bound: Vec<(Arc<ListenerPart>, Bound)>,
) -> std::io::Result<()> {
    for (part, bound) in bound {
        told_listener(&part, &workers.open(&part.name, bound)?);
    }
    Ok(())
}

fn told_listener(part: &ListenerPart, address: &Endpoint) {
    tracing::info!(listener = %part.name, "serving {}://{address}", part.speaks());
}

pub(super) fn bind_admin(
    address: Option<SocketAddr>,
    heir: Option<&mut Heir>,
) -> Result<Option<TcpListener>, String> {
    let Some(address) = address else { return Ok(None) };
    if let Some(socket) = heir.and_then(|heir| heir.admin(address)) {
        return Ok(Some(socket));
    }
    TcpListener::bind(address)
        .map(Some)
        .map_err(|error| format!("the admin listener cannot have {address}: {error}; set `admin: {{ bind: … }}` to another, or `off: true`"))
}

pub(super) fn serve_admin(
    socket: Option<TcpListener>,
    board: &Arc<Board>,
    background: &Runtime,
) -> Result<Option<(SocketAddr, TcpListener)>, String> {
    let Some(socket) = socket else { return Ok(None) };
    let failed = |error| format!("cannot serve operators: {error}");
    let _inside = background.enter();
    let kept = socket.try_clone().map_err(failed)?;
    let bound = admin::serve(socket, Arc::clone(board)).map_err(failed)?;
    tracing::info!("admin on http://{bound} (/metrics, /status, /livez, /readyz, /log, /limits)");
    Ok(Some((bound, kept)))
}
