//! Messages as bytes: what is refused and why, what is read, and what is written.

#[cfg(test)]
mod it {
    #[path = "../../../../fuzz/checks/chunks.rs"]
    mod chunk_checks;
    #[path = "../../../../fuzz/checks/differential.rs"]
    mod differential;
    #[path = "../../../../fuzz/checks/heads.rs"]
    mod head_checks;
    #[path = "../../../../fuzz/checks/path.rs"]
    mod path_checks;

    mod bodies;
    mod chunks;
    mod corpus;
    mod properties;
    mod requests;
    mod responses;
    mod written;
}
