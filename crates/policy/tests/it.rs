//! Policies in a whole gateway: config and request in, answer out, and what the backend saw.

#[cfg(test)]
mod it {
    /// One case: policies, a request, and what becomes of it.
    mod kit;
    /// Every kind has its cases.
    mod every;
    mod cors;
    mod compress;
    mod grpc_web;
    mod maintenance;
    mod api_key;
    mod jwt;
    mod introspection;
    /// What authorisers answer, as fuzzed.
    mod authorisers;
    #[path = "../../../../fuzz/checks/authoriser.rs"]
    mod authoriser_checks;
    /// Proofs of possession and answers of issuers, as fuzzed.
    mod proofs;
    #[path = "../../../../fuzz/checks/proof.rs"]
    mod proof_checks;
    /// Signed tokens, as fuzzed.
    mod tokens;
    #[path = "../../../../fuzz/checks/token.rs"]
    mod token_checks;
    mod mtls;
    mod basic;
    mod hmac;
    mod ext_authz;
    mod access;
    /// Where and when: `ip`, `geo`, `hours`.
    mod places;
    mod deny;
    mod allow;
    mod plan;
    mod quota;
    mod rate_limit;
    mod concurrency;
    mod bandwidth;
    mod decompress;
    mod body_limit;
    mod timeouts;
    mod websocket;
    mod split;
    mod steer;
    mod mirror;
    mod redirect;
    mod rewrite;
    mod headers;
    mod towards_backends;
    mod errors;
    mod hsts;
    mod respond;
    /// Several policies of several owners.
    mod chains;
}
