use crate::Admin;
use axum::body::Body;
use base::caps::{ADMIN_CONNECTIONS_MAX, ADMIN_HEAD_BYTES_MAX, ADMIN_HEADERS_MAX};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
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
    serve_with(socket, |stream| std::future::ready(Ok(stream)), admin, end).await;
}

/// The same by TLS, or whatever else begins a connection.
pub async fn serve_with<S, F>(
    socket: TcpListener,
    begin: impl Fn(TcpStream) -> F + Send + Sync + 'static,
    admin: Admin,
    end: impl Future<Output = ()>,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    F: Future<Output = io::Result<S>> + Send,
{
    let begin = Arc::new(begin);
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
        let (admin, ending, begin) = (admin.clone(), ending.clone(), Arc::clone(&begin));
        drop(tokio::spawn(async move {
            match tokio::time::timeout(HEAD_TIMEOUT, begin(stream)).await {
                Ok(Ok(stream)) => connection(stream, admin, peer.ip().to_canonical(), ending).await,
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a connection to the admin API did not begin")
                }
                Err(_) => {}
            }
            drop(place);
        }));
    }
    drop((socket, ending));
    ends.send_replace(());
    ends.closed().await;
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
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
