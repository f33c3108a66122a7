//! The vocabulary of the data plane: what a request is while it passes (`Exchange`), what may happen
//! to it (`Flow`, `Fault`), who treats it (`Policy`, `Chain`), where it goes (`RouteTree`, `Upstream`)
//! and what all of that was compiled into (`Snapshot`) beside what outlives it (`State`, `Directory`).
//!
//! This crate must never know a concrete policy, a socket or a config file. Start reading at
//! [`exchange::Exchange`], then [`policy::Policy`], then [`snapshot::Snapshot`].

/// Everything known of one request.
pub mod exchange;
/// What is said of a caller.
pub mod claims;
/// A request's way through proxies.
pub mod forwarded;
/// TLS of a listener.
pub mod tls;
/// How often addresses connect.
pub mod arrivals;
/// When a node has too much to do.
pub mod overload;
/// How much memory there is, and what goes without.
pub mod memory;
/// What a listener makes of whoever connects.
pub mod clients;
/// The request's head, in canonical form.
pub mod head;
/// Header fields in order.
pub mod headers;
/// Bodies that stream.
pub mod body;
/// Bodies that can be sent once more.
mod kept;
/// Requests towards an upstream, and answers.
pub mod message;
/// Going on in another protocol.
pub mod upgrade;
/// Identifiers of requests and traces.
pub mod id;
/// Failed requests: one table of codes.
pub mod fault;
/// Calls of gRPC: how they are told from other requests, and how they fail.
pub mod grpc;
/// Canonical paths and hosts: what is routed is what is forwarded.
pub mod canonical;
/// One kind of treatment.
pub mod policy;
/// The ordered policies of a route.
pub mod chain;
/// Methods as a set.
pub mod method;
/// What a request may be required to carry besides host, path and method.
pub mod predicate;
/// From host, path and method to a route.
pub mod tree;
/// What is measured of requests, and kept for their record.
pub mod observe;
/// Where requests go.
pub mod upstream;
/// Connections that are passed on as bytes.
pub mod relay;
/// The way out for whoever is not a client's request.
pub mod outbound;
/// Work beside the request path.
pub mod background;
/// Counts of limits that several gateways share.
pub mod store;
/// What addresses are called.
pub mod names;
/// By which plan a consumer uses APIs.
pub mod plan;
/// Copies of requests.
pub mod mirror;
/// So many bytes a second.
pub mod pace;
/// The compiled config.
pub mod snapshot;
/// What outlives a snapshot.
pub mod state;
/// Who calls, found by what they show.
pub mod directory;

pub use background::Background;
pub use body::Body;
pub use chain::Chain;
pub use exchange::Exchange;
pub use fault::{Blame, Fault, FaultCode, Stage};
pub use headers::Headers;
pub use message::{Informational, Interim, Request, Response};
pub use outbound::{Destination, Outbound, Remote};
pub use policy::{Flow, Outcome, Policy};
pub use snapshot::{Route, Snapshot};
pub use state::State;
pub use tree::RouteTree;

use std::future::Future;
use std::pin::Pin;

/// A future of unknown type, for the few policies and all upstreams that must wait.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
