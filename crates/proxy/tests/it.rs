//! The data plane from outside: raw bytes in, raw bytes out, and what the backend saw.

#[cfg(test)]
mod it {
    /// Conversations in raw bytes.
    mod kit;
    /// Which host a request is for.
    mod hosts;
    /// The path that is routed is the path that is forwarded.
    mod overload;
    mod paths;
    /// Headers on their way, in both directions.
    mod headers;
    /// Requests that two programs may read differently.
    mod smuggling;
    /// Proxies in front, and whom they carry.
    mod proxies;
    /// Certificates of which proxies tell.
    mod told_certificates;
    /// Certificates, as fuzzed.
    mod certificates;
    #[path = "../../../../fuzz/checks/client_cert.rs"]
    mod certificate_checks;

    mod relays;
    /// How many may connect, and for how long.
    mod crowds;
    mod shedding;
    /// Which worker serves a connection.
    mod balance;
    /// What clients show of themselves by TLS.
    mod client_certificates;
    /// The hostile table.
    mod hostile;
    /// Requests that are too large.
    mod sizes;
    /// APIs that are going away.
    mod lifecycle;
    /// Teams on one gateway, each for itself.
    mod workspaces;
    /// From host, path and method to a route.
    mod routing;
    /// Bodies, framing and connections.
    mod streams;
    /// Requests go on while nobody reads.
    mod driving;
    /// Connections that become tunnels.
    mod tunnels;
    /// Heads of HTTP/2 that become heads of HTTP/1, as fuzzed.
    mod conversion;
    #[path = "../../../../fuzz/checks/http2_head.rs"]
    mod http2_checks;
    /// HTTP/2 in raw frames.
    mod http2;
    /// What a request costs in allocations.
    mod allocations;
    /// What an idle connection holds in memory.
    mod idling;
    /// More than one attempt.
    mod retries;
    /// Which target gets a request.
    mod choosing;
    /// Whoever is too slow.
    mod timeouts;
    /// The machine's time is set while the gateway runs.
    mod clocks;
    mod trouble;
    /// Backends that do not speak HTTP as they should.
    mod liars;
    /// What a client is told when a request fails.
    mod faults;
    /// Calls of gRPC.
    mod grpc;
    /// Every request is written down exactly once.
    mod recording;
    /// Spans of requests, and a closer look at one.
    mod traces;
    /// Another config while requests are under way, and the end.
    mod reloads;
}
