//! The admin API on its address, and the link for the first of all users.

use super::tls::{AGAIN_EVERY, Certificate};
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
    let url = shared.place.reached(address);
    welcome(&control, &url).await;
    let scheme = if shared.place.tls.is_some() { "https" } else { "http" };
    tracing::info!("admin API on {scheme}://{address}");
    let mut hosts = shared.place.hosts.clone();
    hosts.extend(shared.place.url.iter().filter_map(|url| providers::host(url)));
    let options = api::Options {
        clock: shared.clock.clone(),
        config_schema: model::schema::schema(policy::policy_schema()),
        is_loopback: address.ip().is_loopback() || !shared.place.hosts.is_empty(),
        is_tls: shared.place.tls.is_some()
            || shared.place.is_behind_tls
            || shared.place.url.as_ref().is_some_and(|url| url.starts_with("https:")),
        hosts,
        url: shared.place.url.clone(),
    };
    let renewing = ending.clone();
    let end = async move { drop(ending.wait_for(|is_ended| *is_ended).await) };
    let admin = api::Admin::new(control, options);
    match shared.place.tls.clone() {
        None => api::serve(socket, admin, end).await,
        Some(certificate) => {
            drop(tokio::spawn(renew(Arc::clone(&certificate), renewing)));
            let secure = move |stream| {
                let certificate = Arc::clone(&certificate);
                async move { certificate.accept(stream).await }
            };
            api::serve_with(socket, secure, admin, end).await;
        }
    }
}

/// Takes a certificate that was replaced.
async fn renew(certificate: Arc<Certificate>, mut ending: watch::Receiver<bool>) {
    let mut trouble = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep(AGAIN_EVERY) => {}
            _ = ending.wait_for(|is_ended| *is_ended) => return,
        }
        match certificate.again() {
            Ok(is_new) => {
                trouble = None;
                if is_new {
                    tracing::info!("the admin API is served with its new certificate");
                }
            }
            // One file may be new before the other is.
            Err(why) if trouble.as_ref() == Some(&why) => {}
            Err(why) => {
                tracing::warn!(why, "the admin API is served with the certificate that it had");
                trouble = Some(why);
            }
        }
    }
}

/// Prints a link by which the first of all users logs in, while nobody has.
async fn welcome(control: &Control, url: &str) {
    match control.first_user().await {
        Ok(Some(link)) => {
            render::out(&format!(
                "nobody has logged in to the admin API yet; this link does so once, within an hour, as `admin`:\n  {url}/login/{}",
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
