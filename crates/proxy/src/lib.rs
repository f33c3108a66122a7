//! The data plane from socket to socket. A request passes seven stages, each a file of its name:
//! `admit → route → guard → cache → forward → reply → record` (the cache arrives with its policy).
//!
//! This crate must never know a concrete policy, a config file, SQL or the control plane: it serves
//! by a [`traffic::Snapshot`] and nothing else. Start reading at [`serve::serve`], then walk the
//! stages in order; [`workers`] and [`connection`] bring the bytes.

/// What all workers share, and what each has for itself.
pub mod gateway;
/// How busy each worker is.
pub mod load;
/// The spine: one request from head to last byte.
pub mod serve;
/// Stage one: normalise and refuse.
pub mod admit;
/// What trusted proxies tell of a request.
mod forwarded;
/// What clients show of themselves by TLS.
pub mod client_certificate;
/// Certificates of clients of which trusted proxies tell.
pub mod told_certificate;
/// Stage two: find the route.
pub mod route;
/// What the node goes without when there is too much to do.
mod overload;
/// Stage three: run the request phase of the chain.
pub mod guard;
/// Stage five: ask an upstream.
pub mod forward;
/// When the stages of a request ended.
mod observe;
/// Copies of requests, beside stage five.
mod mirror;
/// The spans of a request.
mod spans;
/// What the two directions of a tunnel have in common.
mod tunnel;
/// Stage six: run the response phase of the chain.
pub mod reply;
/// Stage seven: write down what happened.
pub mod record;
/// Ends exchanges whose credential is revoked or expires.
mod revoke;
/// Calls of gRPC, wherever stages treat them in a way of their own.
mod grpc;
/// Where clients come in: TCP and Unix sockets.
pub mod door;
/// From bytes to requests and back.
pub mod connection;
/// Connections that are passed on as bytes.
mod relay;
/// Whom a proxy announces in front of a connection.
mod proxy_protocol;
/// HTTP/1, one request after the other.
mod http1;
/// HTTP/2, many requests at a time.
pub mod http2;
/// The `Date` of answers.
mod date;
/// Threads that serve.
pub mod workers;
/// Addresses, held exclusively.
pub mod socket;
/// Paths of Unix sockets, held exclusively.
mod unix_socket;

pub use gateway::{Gateway, Worker};
pub use workers::Workers;
