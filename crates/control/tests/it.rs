//! The rules of the platform, over a database of their own.

#[cfg(test)]
mod it {
    /// A platform and people.
    mod kit;
    mod configs;
    mod logins;
    mod people;
    mod providers;
    mod publishing;
    mod records;
    mod secrets;
    mod strangers;
}
