//! The admin API on its address, and the link for the first of all users.

use super::{RETRY_MIN, Shared, lock, providers};
use crate::render;
use control::Control;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;

pub(super) fn bind(address: SocketAddr) -> Result<std::net::TcpListener, String> {
    let bound = std::net::TcpListener::bind(address);
    let told = |error| {
        format!(
            "the admin API cannot have {address}: {error}; set `control: {{ bind: … }}` to another address"
        )
    };
    let socket = bound.map_err(told)?;
    socket.set_nonblocking(true).map_err(told)?;
    Ok(socket)
}

/// Offers the admin API, and tells the first of all users how to come in.
pub(super) async fn offer(
    shared: Arc<Shared>,
    control: Control,
    socket: Option<std::net::TcpListener>,
    mut ending: watch::Receiver<bool>,
) {
    let mut socket = socket;
    let socket = loop {
        // Whoever hands over has the address until it has done so.
        if let Some(socket) = socket.take().or_else(|| bind(shared.place.bind).ok()) {
            break socket;
        }
        tokio::select! {
            () = tokio::time::sleep(RETRY_MIN) => {}
            _ = ending.wait_for(|is_ended| *is_ended) => return,
        }
    };
    let (address, socket) = match (socket.local_addr(), TcpListener::from_std(socket)) {
        (Ok(address), Ok(socket)) => (address, socket),
        (Err(error), _) | (_, Err(error)) => {
            tracing::error!(%error, "the admin API cannot be served");
            return;
        }
    };
    lock(&shared.standing).address = Some(address);
    welcome(&control, address).await;
    tracing::info!("admin API on http://{address}");
    let options = api::Options {
        clock: shared.clock.clone(),
        config_schema: model::schema::schema(policy::policy_schema()),
        hosts: shared.place.url.iter().filter_map(|url| providers::host(url)).collect(),
        is_loopback: address.ip().is_loopback(),
        is_tls: shared.place.url.as_ref().is_some_and(|url| url.starts_with("https:")),
        url: shared.place.url.clone(),
    };
    let end = async move { drop(ending.wait_for(|is_ended| *is_ended).await) };
    api::serve(socket, api::Admin::new(control, options), end).await;
}

/// Prints a link by which the first of all users logs in, while nobody has.
async fn welcome(control: &Control, address: SocketAddr) {
    match control.first_user().await {
        Ok(Some(link)) => {
            render::out(&format!(
                "nobody has logged in to the admin API yet; this link does so once, within an hour, as `admin`:\n  http://{address}/login/{}",
                link.reveal()
            ));
            tracing::info!("a link to log in for the first time is on standard output");
        }
        Ok(None) => {}
        Err(problem) => {
            let cause = problem.cause.as_deref().unwrap_or_default();
            tracing::error!(%problem, cause, "nobody can be let in to the admin API for the first time");
        }
    }
}
