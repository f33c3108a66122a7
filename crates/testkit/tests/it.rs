//! What keeps the repository tidy, its documents true and its examples running.

#[cfg(test)]
mod it {
    /// The files of the repository.
    mod files;
    /// Rules of the repository that no compiler checks.
    mod tidy;
    /// The generated reference.
    mod reference;
    /// From a JSON Schema to tables.
    mod tables;
    /// Documents: links, paths, configs.
    mod docs;
    /// The examples, loaded and exercised.
    mod examples;
}
