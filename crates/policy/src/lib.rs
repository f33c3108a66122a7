//! Every policy, one file each, and the one table that lists them.
//!
//! This crate must never see a socket, an upstream or a config file: it reads settings from a
//! [`base::Node`] and acts on a [`traffic::Exchange`]. Start reading at [`kinds`], the table, then at
//! `kinds/body_limit.rs`, the smallest policy.

/// What the table says of a kind of policy, and what a policy is built with.
pub mod kind;
/// The table of all kinds.
pub mod kinds;
/// The order of kinds in a chain.
pub mod order;
/// The schema of one item of a `policies` list.
pub mod schema;
/// Conditions on a request, as users write them.
pub mod expression;
/// What requests are told apart by.
pub mod by;
/// API keys: how they are made, recognised and hashed.
pub mod key;
/// Passwords: how they are hashed and verified.
pub mod password;
/// Who calls: what all kinds of identity policies share.
mod identity;
/// Several identity schemes in one policy.
mod combined;
/// Stands in for a credential that is not there.
mod nobody;
/// What operators see of the policies that count.
pub mod counting;
/// How much passes.
mod limit;
/// How much in a window of the calendar.
pub mod quota;
/// The plans by which consumers use APIs.
pub mod plan;
/// Stores in which gateways share counts.
pub mod store;
/// Slows down whoever guesses credentials.
mod guesses;
/// Groups that others say.
pub mod groups;
/// Cookies of a request.
mod cookie;
/// Bearer tokens: where they are shown, and how those without are refused.
mod bearer;
/// The keys of an issuer of tokens.
mod issuer;
/// Warns of what would go over the network for all to read.
mod plain;
/// What tokens were found to say.
mod verified;
/// JSON that two readers cannot read in two ways.
mod json;
/// Signed messages and the keys that verify them.
pub mod jose;
/// Proofs that a client holds the key of its token.
pub mod dpop;
/// Tokens that only their holder can use.
mod sender;
/// What was shown once and must not be shown again.
mod replay;
/// Queries as pairs.
mod query;
/// Settings with a short form.
mod written;
/// Pages in place of problem details.
mod page;
/// Parts of a whole.
mod share;
/// Rules that send requests to an upstream.
mod rule;
/// What callers may do, and whom a config names.
pub mod access;
/// Texts with parts of the request's path in them.
mod template;
/// Header names and values as users write them.
mod field;
/// Files that policies go by besides the config.
pub mod files;
/// Places of addresses.
pub mod geo;
/// Lists of addresses as they are written in settings.
mod addresses;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod timing;

pub use kind::{BuildCtx, Group, Kind};
pub use kinds::{KINDS, kind};
pub use order::{ORDER, rank};
pub use schema::policy_schema;
