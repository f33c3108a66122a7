//! The rules of the platform: who may do what, and what becomes of it. There is one file for each noun, and a function
//! for each operation, which has the same name in the store, here, in the admin API and in its documents.
//!
//! Each function is given the [`Caller`] and asks for the permission before it does anything else. This crate must never
//! speak HTTP or SQL, and never compile a config: whoever makes a [`Control`] gives it a function that checks one.
//!
//! Start reading at [`Control`], then at `permission.rs`, then at `workspace.rs`, the smallest noun.

/// The whole, and what it is given.
mod control;
/// What went wrong, for people and programs.
mod problem;
/// What may be done, and the roles that come with the program.
pub mod permission;
/// Who asks.
mod caller;
/// Hashes of passwords.
mod password;
/// Names that outsiders choose.
mod name;
/// One-time passwords.
pub mod second_factor;
/// What users do for themselves.
mod own;
/// From names, as they stand in paths, to what is meant.
mod find;
/// How somebody comes in.
pub mod login;
/// Who vouches for somebody from elsewhere.
pub mod provider;
/// Teams.
pub mod workspace;
/// What the platform delegates to teams.
pub mod grants;
/// People.
pub mod user;
/// Parts of a draft.
pub mod object;
/// Publishing.
pub mod revision;
/// Lists in pages.
pub mod page;
/// Who calls APIs.
pub mod consumer;
/// Programs of theirs.
pub mod application;
/// By what they prove who they are.
pub mod credential;
/// What gateways know of them.
pub mod directory;
/// What they know, for a start without the database.
pub mod cold;
/// Values that configs name and nobody reads.
pub mod secret;
/// What somebody may, as a name.
pub mod role;
/// Where somebody is logged in, and tokens of machines.
pub mod token;
/// What holds for the platform as a whole.
pub mod setting;
/// Who did what.
pub mod audit;
/// Requests that may come twice.
pub mod idempotency;
/// What one process does for all.
pub mod upkeep;
/// Whole configs.
pub mod config;
/// What a change of a config means.
pub mod effect;
/// APIs of documents that describe them.
pub mod import;

pub use caller::Caller;
pub use control::{Asked, Checked, Control, Finding};
pub use model::effective::{self, Diff, EffectiveConfig};
pub use model::join::Grants;
pub use model::openapi::Options as ImportOptions;
pub use problem::{Code, Problem};
pub use store::object::Object;
pub use store::revision::Revision;
pub use store::user::{Grant, User, Written as UserWritten};
pub use store::workspace::Workspace;
