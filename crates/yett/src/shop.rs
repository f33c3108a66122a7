//! The backends of the quick start: a small shop's orders, customers and stock, as JSON over HTTP/1.1.
//! Real servers on real sockets, so that the gateway in front of them has something to do.

use base::shutdown::{self, Phase, Trigger};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// One backend of the shop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backend {
    /// What it serves, and its name in its answers.
    pub(crate) name: &'static str,
    /// The path below which it serves.
    noun: &'static str,
    /// Its port on loopback.
    pub(crate) port: u16,
}

/// Orders have two servers, so that one can be stopped.
pub(crate) const BACKENDS: &[Backend] = &[
    Backend { name: "orders-1", noun: "orders", port: 9101 },
    Backend { name: "orders-2", noun: "orders", port: 9111 },
    Backend { name: "customers-1", noun: "customers", port: 9102 },
    Backend { name: "stock-1", noun: "stock", port: 9103 },
];

/// Serves one backend until it is told to stop (`POST /demo/stop`).
///
/// # Errors
/// When its port is taken.
pub(crate) async fn open(backend: Backend) -> io::Result<()> {
    let socket = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], backend.port))).await?;
    drop(tokio::spawn(serve(backend, socket)));
    Ok(())
}

async fn serve(backend: Backend, socket: TcpListener) {
    let (trigger, mut signal) = shutdown::channel();
    let trigger = Arc::new(trigger);
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept() => accepted,
            () = signal.reached(Phase::Draining) => return,
        };
        let Ok((stream, _)) = accepted else { continue };
        let (trigger, mut signal) = (Arc::clone(&trigger), signal.clone());
        drop(tokio::spawn(async move {
            let service = service_fn(move |request| {
                let answer = answer(backend, &request, &trigger);
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                // How a client leaves is its own affair.
                ended = connection.as_mut() => drop(ended),
                () = signal.reached(Phase::Draining) => {
                    connection.as_mut().graceful_shutdown();
                    drop(connection.await);
                }
            }
        }));
    }
}

fn answer(
    backend: Backend,
    request: &Request<Incoming>,
    trigger: &Trigger,
) -> Response<Full<Bytes>> {
    let path: Vec<&str> = request.uri().path().split('/').skip(1).collect();
    match (request.method(), &path[..]) {
        (&Method::GET, ["healthz"]) => reply(StatusCode::OK, &json!({ "status": "ok" })),
        (&Method::POST, ["demo", "stop"]) => {
            trigger.advance(Phase::Draining);
            reply(StatusCode::OK, &json!({ "stopped": backend.name }))
        }
        (&Method::GET, [noun]) if *noun == backend.noun => {
            let all: Vec<Value> = (1..=3).map(|id| item(backend, id)).collect();
            reply(StatusCode::OK, &json!(all))
        }
        (&Method::GET, [noun, id]) if *noun == backend.noun => {
            match id.parse().ok().filter(|id| (1..=1_000).contains(id)) {
                Some(id) => reply(StatusCode::OK, &item(backend, id)),
                None => missing(),
            }
        }
        (&Method::POST, [noun]) if *noun == backend.noun => {
            reply(StatusCode::CREATED, &item(backend, 4))
        }
        _ => missing(),
    }
}

fn item(backend: Backend, id: u32) -> Value {
    let details = match backend.noun {
        "orders" => json!({ "customer": id % 7 + 1, "total_cents": id * 1_250, "state": "paid" }),
        "customers" => json!({ "name": format!("Customer {id}"), "since": 2020 + id % 6 }),
        _ => json!({ "article": format!("A-{id:04}"), "in_stock": id * 3 }),
    };
    let mut item = json!({ "id": id, "served_by": backend.name });
    if let (Some(item), Value::Object(details)) = (item.as_object_mut(), details) {
        item.extend(details);
    }
    item
}

fn missing() -> Response<Full<Bytes>> {
    reply(StatusCode::NOT_FOUND, &json!({ "error": "not found" }))
}

fn reply(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(format!("{body}\n"))));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
