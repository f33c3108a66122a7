//! The HTTP edge of the control plane: one table of operations, from which the router, the OpenAPI document, the reference
//! page and the tests of permissions come.
//!
//! An operation is called in one order, whatever it does: who asks, whether they may, what was sent, what is done. This
//! crate must never decide what is allowed or what becomes of it: that is `control`'s, which asks for the permission once
//! more.
//!
//! Start reading at [`Operation`], then at `admin.rs`, which says what happens to a request, then at
//! `admin/workspace.rs`, the smallest noun.

/// What can be done, as a table.
mod operation;
/// What an operation is given, and what it answers.
mod call;
/// What went wrong, as clients see it.
mod refusal;
/// What is sent: JSON, read strictly.
mod body;
/// Revisions as entity tags.
mod precondition;
/// Query parameters, and pages of lists.
mod query;
/// Who asks: cookies, bearer tokens, and pages that ask on behalf of others.
mod login;
/// Requests that may come twice.
mod idempotency;
/// From a request to an answer.
mod admin;
/// From a socket to requests.
mod serve;
/// The OpenAPI document.
mod openapi;
/// Pages for people.
mod page;
/// Pages by which a person comes in.
mod link;
/// The same from an identity provider.
mod provider;

pub use admin::{Admin, Options};
pub use openapi::document;
pub use operation::{Access, Operation, operations};
pub use serve::{serve, serve_with};
