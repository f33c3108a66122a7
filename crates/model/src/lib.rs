//! The nouns users write, as pure data: parsed from YAML with places, validated with all problems
//! collected, formatted without losing a comment.
//!
//! This crate must never do input or output, wait, or ask for the time: it maps bytes to values and
//! values to reports. Policies stay documents here (kind and settings); crate `policy` reads them.
//! Start reading at [`config::Config`], the whole of what a user may write.

/// Everything a user may write.
pub mod config;
/// A bound address.
pub mod listener;
/// How a target of an upstream is chosen.
pub mod balance;
/// Connections that are passed on as bytes.
pub mod relay;
/// A named backend and its targets.
pub mod upstream;
/// What is done when a backend is in trouble.
pub mod trouble;
/// A set of routes published together.
pub mod api;
/// What one route matches, and what happens to it.
pub mod route;
/// The paths a route matches.
pub mod path;
/// One configured treatment of requests.
pub mod policy;
/// Who calls.
pub mod consumer;
/// What callers may do.
pub mod role;
/// Plans: how much consumers may call.
pub mod plan;
/// Stores in which gateways share the counts of limits.
pub mod store;
/// How the program itself runs: admin listener, logs, workers.
pub mod node;
/// When a node refuses what it could not do well.
pub mod overload;
/// The control plane.
pub mod control;
/// Proxies in front of the gateway.
pub mod proxies;
/// Traces, and a closer look at single requests.
pub mod tracing;
/// Maps that keep the order and the places of their keys.
pub mod map;
/// Regular expressions that users write.
pub mod pattern;
/// Hosts and ports as users write them.
pub mod authority;
/// From YAML to a tree that remembers where its values were written.
pub mod yaml;
/// From the files of a config to the config.
pub mod load;
/// Workspaces as parts of one config.
pub mod join;
/// What can be said about a config without policies and without input or output.
pub mod validate;
/// From an OpenAPI document to the draft of an API.
pub mod openapi;
/// YAML in its canonical form, with every comment.
pub mod format;
/// The JSON Schema of a config.
pub mod schema;
/// What a config comes to, as plain data, and what differs between two of them.
pub mod effective;

pub use api::Api;
pub use config::Config;
pub use consumer::Consumer;
pub use effective::EffectiveConfig;
pub use format::format;
pub use listener::Listener;
pub use load::{Files, Loaded, load, load_with};
pub use map::Map;
pub use path::PathPattern;
pub use plan::Plan;
pub use policy::PolicyConfig;
pub use role::Role;
pub use route::Route;
pub use store::Store;
pub use upstream::Upstream;
pub use validate::validate;
