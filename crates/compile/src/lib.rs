//! From the model to a snapshot, read top to bottom: upstreams, consumers, routes with their chains,
//! listeners. Everything that can be computed before a request comes is computed here.
//!
//! Compilation never fails as a whole: a broken part compiles to one that answers 503 with its code,
//! never to one that is open, and every problem is in the report. This crate must never open a socket
//! or read a file by itself; what is outside comes through [`Outside`]. Start reading at [`compile`].

/// What a compiler needs besides the config.
mod inputs;
/// What many parts of a config go by.
mod shared;
/// The databases of places that all share.
mod geo;
/// The whole, top to bottom.
mod compile;
/// Upstreams.
mod upstreams;
/// How targets are chosen.
mod balance;
/// How the gateway's own requests leave.
mod egress;
/// What is done when targets are in trouble.
mod trouble;
/// Who calls.
mod consumers;
/// What callers may do.
mod access;
/// Plans.
mod plans;
/// What a listener makes of whoever connects.
mod clients;
/// What certificates are asked of clients.
mod client_auth;
/// Certificates and TLS of listeners.
mod tls;
/// Which APIs can be reached past a certificate that clients must show.
mod reach;
/// What the names in a workspace stand for.
mod rooms;
/// The effective chain of a route.
mod chains;
/// What clients are told about the future of an API.
mod lifecycle;
/// Routes and the trees that find them.
mod routes;
/// Where gateways share the counts of limits.
mod stores;
/// Connections that are passed on as bytes.
mod relays;
/// What policies say of themselves, taken together.
mod facts;
/// Groups that only others say.
mod strangers;
/// Upstreams that are only looked at.
mod inert;
/// The access log.
mod access_log;
/// What is written down of a request besides.
mod observe;
/// Which route a request takes, and what happens to it there.
pub mod explain;
/// What a config comes to, as plain data.
mod effective;
/// Who could call, asked against the policies of a route.
mod callers;
/// Who may make a request.
pub mod who_can;
/// What callers may do beyond what they need.
mod least;

pub use compile::{Compiled, compile};
pub use effective::effective;
pub use inert::inert;
pub use inputs::{BuildExporter, BuildUpstream, Inputs, OtlpSpec, Outside, resolve_path};
pub use least::least_privilege;
