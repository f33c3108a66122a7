//! Connections to backends: names become addresses, addresses become connections, and each request
//! gets the target that should answer it. Implements the traits of [`traffic::upstream`].
//!
//! Everything that is alive (addresses, health, requests under way, pools, positions in a turn) is
//! kept in cells of [`traffic::State`], so that a new config goes on where the old one was. This crate
//! must never know routes, policies or config files. Start reading at [`backend`], follow one request
//! through `attempt`, `reach`, `pool` and `connect`, then see `names` and `health` for what runs
//! beside the requests.

/// What to connect to and how: plain data, written by whoever compiles a config.
pub mod spec;
/// What all upstreams of one gateway share, and the ways out of the process.
pub mod world;
/// Names to addresses.
pub mod resolve;
/// A named backend: its targets, and which of them is next.
pub mod backend;
/// Which config of an upstream is the latest.
mod config;
/// Whom an upstream lets in.
mod admission;
/// Leaves an upstream alone while it is in trouble.
mod breaker;
/// So many requests at a time, and a line of those who wait.
mod gate;
/// How many requests an upstream can have under way without making them wait.
mod adaptive;
/// How many requests may be sent again.
mod budget;
/// Puts a target aside to which requests fail.
mod outlier;
/// How many requests of the last while were bad or slow.
mod window;
/// An upstream some of whose targets are names.
mod members;
/// Which target is next.
mod balance;
/// Who gets how much, as the targets are at the moment.
mod planning;
/// One server and all that is known of it.
mod target;
/// How a target is reached under one config.
mod reach;
/// One attempt to have a request answered.
mod attempt;
/// How far an attempt has come.
mod progress;
/// One HTTP/1.1 connection.
mod http1;
/// A tunnel over HTTP/1.1.
mod tunnel;
/// Requests over HTTP/2 connections that they share.
mod http2;
/// Open connections that wait for requests.
mod pool;
/// From addresses to a connection that speaks HTTP.
mod connect;
/// What is said before HTTP: to proxies, and of clients.
mod preface;
/// TLS towards targets.
mod tls;
/// What names stand for, kept fresh.
mod names;
/// Names of addresses that lead back to them.
mod reverse;
/// Asks targets how they are.
mod health;
/// Addresses that lead inward.
pub mod inward;
/// Work beside the request path.
mod background;
/// The way out for whoever is not a client's request.
mod outbound;
/// Where counts are that several gateways share.
mod store;
/// Counts in Redis.
#[cfg(feature = "redis")]
mod redis;

pub use backend::{build, check};
pub use background::background;
pub use outbound::outbound;
pub use resolve::{Called, Led, Offered, Resolve, Resolved, Server, SystemResolve};
pub use reverse::names;
pub use spec::{
    AdaptiveSpec, Balance, BreakerSpec, ChoiceSpec, ClientCert, ConcurrencySpec, DelaySpec,
    Distance, EgressSpec, HashKey, HashSpec, HealthQuestion, HealthSpec, HostHeader, Locality,
    NoProxy, OutlierSpec, Protocol, ProxyProtocol, ProxySpec, ShareSpec, StickySpec, TargetHost,
    TargetSpec, Through, TlsSpec, TroubleSpec, UpstreamSpec,
};
pub use store::{StoreServer, StoreShape, StoreSpec, limit_store};
pub use world::{Dial, Io, TcpDial, World};
