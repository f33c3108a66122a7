//! Environment variables: the one way in, so that a reader of the code can list them all.

/// The value of a variable, if it is set and is text.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place")]
pub fn text(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
