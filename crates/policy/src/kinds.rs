//! The table of all kinds: one line per kind. To add one, see `docs/guides/add-a-policy.md`.

use crate::kind::Kind;

/// Answers cross-origin preflights.
pub mod cors;
/// Compresses answers.
pub mod compress;
/// Lets gRPC-Web clients call gRPC backends.
pub mod grpc_web;
/// Lets clients pass by their addresses.
pub mod ip;
/// Lets clients pass by their countries and networks.
pub mod geo;
/// Lets clients pass by what they say they are.
pub mod agents;
/// Lets requests pass at some times.
pub mod hours;
/// Tells that a service is being worked on.
pub mod maintenance;
/// Tells browsers to come by HTTPS only.
pub mod hsts;
/// Lets clients open WebSockets.
pub mod websocket;
/// Answers with the metadata of a protected resource.
pub mod resource_metadata;
/// Identifies consumers by their certificates.
pub mod mtls;
/// Identifies consumers by a key.
pub mod api_key;
/// Identifies consumers by a token that an issuer has signed.
pub mod jwt;
/// Identifies consumers by user name and password.
pub mod basic;
/// Identifies consumers by a signature of the request.
pub mod hmac;
/// Identifies consumers by a token that its issuer is asked about.
pub mod introspection;
/// Identifies consumers by the first of several ways that succeeds.
pub mod any;
/// Identifies consumers by several ways together.
pub mod all;
/// Asks an external authoriser.
pub mod ext_authz;
/// Lets consumers and groups pass by their names.
pub mod acl;
/// Refuses what an expression does not hold for.
pub mod allow;
/// Refuses what an expression holds for.
pub mod deny;
/// Asks for scopes of tokens.
pub mod scopes;
/// Asks for what roles permit.
pub mod rbac;
/// Asks policies in Cedar.
#[cfg(feature = "cedar")]
pub mod cedar;
/// What a consumer's plan allows.
pub mod plan;
/// So many requests per length of time.
pub mod rate_limit;
/// So many requests in windows of the calendar.
pub mod quota;
/// So many requests at a time.
pub mod concurrency;
/// So many bytes a second.
pub mod bandwidth;
/// Decompresses request bodies.
pub mod decompress;
/// Bounds request bodies.
pub mod body_limit;
/// Time limits of the exchange.
pub mod timeouts;
/// Divides requests between upstreams.
pub mod split;
/// Sends requests to another upstream.
pub mod steer;
/// Sends copies of requests to another upstream.
pub mod mirror;
/// Sends the client elsewhere.
pub mod redirect;
/// Changes the path that is forwarded.
pub mod rewrite;
/// Changes headers.
pub mod headers;
/// Tells the backend who calls, in headers.
pub mod identity_headers;
/// Tells the backend who calls, by a signed token.
pub mod internal_jwt;
/// Proves to the backend who the gateway is.
pub mod backend_auth;
/// Publishes the keys of signed tokens.
pub mod jwks;
/// Gives failures pages of one's own.
pub mod errors;
/// Answers from the config.
pub mod respond;

/// All kinds, in the order of the reference.
pub const KINDS: &[&Kind] = &[
    &cors::KIND,
    &hsts::KIND,
    &compress::KIND,
    &grpc_web::KIND,
    &ip::KIND,
    &geo::KIND,
    &agents::KIND,
    &hours::KIND,
    &maintenance::KIND,
    &websocket::KIND,
    &resource_metadata::KIND,
    &mtls::KIND,
    &api_key::KIND,
    &basic::KIND,
    &hmac::KIND,
    &jwt::KIND,
    &introspection::KIND,
    &any::KIND,
    &all::KIND,
    &ext_authz::KIND,
    &acl::KIND,
    &allow::KIND,
    &deny::KIND,
    &scopes::KIND,
    &rbac::KIND,
    #[cfg(feature = "cedar")]
    &cedar::KIND,
    &plan::KIND,
    &rate_limit::KIND,
    &quota::KIND,
    &concurrency::KIND,
    &bandwidth::KIND,
    &decompress::KIND,
    &body_limit::KIND,
    &timeouts::KIND,
    &split::KIND,
    &steer::KIND,
    &mirror::KIND,
    &redirect::KIND,
    &rewrite::KIND,
    &headers::KIND,
    &identity_headers::KIND,
    &internal_jwt::KIND,
    &backend_auth::KIND,
    &jwks::KIND,
    &errors::KIND,
    &respond::KIND,
];

/// The kind of a name.
#[must_use]
pub fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().copied().find(|kind| kind.name == name)
}

#[cfg(test)]
mod tests;
