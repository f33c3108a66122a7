//! The whole product: the real binary, against real servers and by real clients, all on loopback.

#[cfg(test)]
mod it {
    mod backend;
    mod cases;
    mod client;
    mod node;
    mod python;
    mod redis;
    mod servers;
    mod wait;
    mod yett;

    mod access;
    mod admin;
    mod admin_api;
    mod announced;
    mod authorisers;
    mod backend_credentials;
    mod backend_tokens;
    mod bad_input;
    mod bad_reload;
    mod cedar;
    mod client_certificates;
    mod commands;
    mod crowd;
    mod databases;
    mod descriptors;
    mod disk;
    mod example_programs;
    mod failover;
    mod grpc;
    mod guides;
    mod internal_keys;
    mod keeping;
    mod issuers;
    mod oauth;
    mod leaving;
    mod lists;
    mod log_files;
    mod matrix;
    mod messages;
    mod names;
    mod peers;
    mod platform;
    mod quotas;
    mod relays;
    mod reload;
    mod renewals;
    mod revoked;
    mod secrets;
    mod serving;
    mod shared_limits;
    mod shared_quotas;
    mod store_faults;
    mod shadow;
    mod shutdown;
    mod signed_requests;
    mod swaps;
    mod tls;
    mod transfer;
    mod trouble;
    mod traces;
    mod tunnels;
    mod unix_sockets;
    mod upgrade;
}
