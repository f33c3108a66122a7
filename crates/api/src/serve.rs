use crate::Admin;
use axum::body::Body;
use base::caps::{ADMIN_CONNECTIONS_MAX, ADMIN_HEAD_BYTES_MAX, ADMIN_HEADERS_MAX};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// How long a head may take to arrive; also how long a connection may idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a connection lasts, so that nobody keeps a place for ever by reading slowly.
const CONNECTION_AGE: Duration = Duration::from_secs(600);
/// How long the last answers may take when a connection is to end.
const LAST_ANSWERS: Duration = Duration::from_secs(70);
/// How long to wait when the system has no room for another connection.
const WAIT: Duration = Duration::from_millis(50);

/// Serves the admin API on a socket until `end` is reached; then the requests that are under way are answered.
pub async fn serve(socket: TcpListener, admin: Admin, end: impl Future<Output = ()>) {
    let room = Arc::new(Semaphore::new(ADMIN_CONNECTIONS_MAX));
    let (ends, ending) = watch::channel(());
    let mut end = pin!(end);
    loop {
        let next = async {
            let place = Arc::clone(&room).acquire_owned().await.ok()?;
            Some((place, socket.accept().await))
        };
        let (place, accepted) = tokio::select! {
            biased;
            () = &mut end => break,
            next = next => match next {
                Some(next) => next,
                None => break,
            },
        };
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(WAIT).await;
            continue;
        };
        let (admin, ending) = (admin.clone(), ending.clone());
        drop(tokio::spawn(async move {
            connection(stream, admin, peer.ip().to_canonical(), ending).await;
            drop(place);
        }));
    }
    drop((socket, ending));
    ends.send_replace(());
    ends.closed().await;
}

async fn connection(
    stream: TcpStream,
    admin: Admin,
    peer: IpAddr,
    mut ending: watch::Receiver<()>,
) {
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let admin = admin.clone();
        async move { Ok::<_, Infallible>(admin.answer(request.map(Body::new), peer).await) }
    });
    let mut serving = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_headers(ADMIN_HEADERS_MAX)
            .max_buf_size(ADMIN_HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service)
    );
    let served = tokio::select! {
        served = &mut serving => Some(served),
        () = tokio::time::sleep(CONNECTION_AGE) => None,
        _ = ending.changed() => None,
    };
    let served = match served {
        Some(served) => served,
        None => {
            serving.as_mut().graceful_shutdown();
            match tokio::time::timeout(LAST_ANSWERS, serving).await {
                Ok(served) => served,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the admin API ended early");
    }
}
