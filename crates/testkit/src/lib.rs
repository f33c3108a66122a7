//! What tests need: a whole gateway in memory, backends that misbehave on purpose, throw-away
//! certificates, and a check that generated files are fresh.
//!
//! Only tests may use this crate, and it must never open a port or touch the network. Start reading at
//! [`gateway::TestGateway`].
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "this crate is for tests")]

/// Backends in memory that do what a test tells them.
pub mod backend;
/// HTTP/1.1 messages as text.
pub mod message;
/// What lies around a config.
pub mod surroundings;
/// A whole gateway in memory.
pub mod gateway;
/// Throw-away certificates.
pub mod certificates;
/// Databases of places.
pub mod mmdb;

pub use backend::{Act, Backend};
pub use certificates::{Authority, Pair};
pub use gateway::TestGateway;
pub use model::join::Grants;
pub use surroundings::Surroundings;

use std::path::{Path, PathBuf};

/// The root of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("crates/");
    crates.parent().expect("the repository").to_owned()
}

/// Checks that a generated file that is committed is fresh; with `YETT_BLESS=1` it is written.
///
/// # Panics
/// When the file differs from what was generated.
pub fn committed(path: &str, generated: &str) {
    let file = repository().join(path);
    if base::env::text("YETT_BLESS").is_some() {
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("the folder is writable");
        std::fs::write(&file, generated).expect("the file is writable");
        return;
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(found == generated, "{path} is stale; write it anew with `make bless`");
}
