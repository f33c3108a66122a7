//! The whole of what is stored, on both databases.

#[cfg(test)]
mod it {
    /// Throw-away databases.
    mod kit;
    mod audit;
    mod backups;
    mod faults;
    mod leases;
    mod migrations;
    mod objects;
    mod outbox;
    mod records;
    mod revisions;
    mod users;
    mod workspaces;
}
