//! The integration tests of the config language, seen from outside.

#[path = "it/files.rs"]
mod files;
#[path = "it/golden.rs"]
mod golden;
#[path = "it/load.rs"]
mod load;
