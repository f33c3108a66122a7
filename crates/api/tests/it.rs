//! The admin API as its clients see it, over a database of its own.

#[cfg(test)]
mod it {
    /// A platform and its clients.
    mod kit;
    mod consumers;
    mod document;
    mod enumeration;
    mod imports;
    mod providers;
    mod publishing;
    mod records;
    mod requests;
    mod second_factors;
    mod sessions;
    mod sockets;
}
