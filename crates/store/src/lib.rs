//! SQL of the control plane, for SQLite and PostgreSQL.
//!
//! There is one text of each statement, with `$1` placeholders, and one suite of tests that runs on both databases. A
//! change, its row in the audit trail and its event in the outbox are one transaction: see [`Write`]. This crate knows
//! no rules of the platform: who may do what, and what is allowed to stand in a config, is decided above it. It must
//! never hold a transaction open while it waits for anything but the database.
//!
//! Start reading at [`Store`], then at `workspace.rs`, the smallest noun.

/// Opening a database, and what is done in one transaction.
mod store;
/// Statements with their values, for either database.
mod sql;
/// What can go wrong.
mod error;
/// Numbered changes of the schema.
mod migrate;
/// Ids of rows.
mod id;
/// Who did what.
pub mod audit;
/// How long that is kept.
mod retention;
/// What others have to be told of.
pub mod outbox;
/// Work that only one process may do.
pub mod lease;
/// Teams, each with names of its own.
pub mod workspace;
/// Who uses the platform.
pub mod user;
/// Sessions and tokens.
pub mod login;
/// What lists are narrowed to.
mod list;
/// How many there are.
mod tally;
/// Who calls APIs.
pub mod consumer;
/// Programs of theirs.
pub mod application;
/// By what they prove who they are.
pub mod credential;
/// What gateways know of them.
pub mod directory;
/// Secrets encrypted.
pub mod envelope;
/// Files of master keys.
mod keyfile;
/// Another master key.
pub mod rewrap;
/// Secrets of workspaces.
pub mod secret;
/// Roles that were made here.
pub mod role;
/// What is kept for the platform as a whole.
pub mod setting;
/// Requests that may come twice.
pub mod idempotency;
/// What dumps consist of.
pub mod tables;
/// Dumps.
pub mod backup;
/// Databases made from them.
pub mod restore;
/// By what else users prove who they are.
pub mod second_factor;
/// Parts of configs as they were written.
pub mod object;
/// Configs that were published.
pub mod revision;

pub use error::{Error, Result, Trouble};
pub use id::Id;
pub use list::{After, Filter};
pub use migrate::NEWEST;
pub use store::{Location, Store, Write};
