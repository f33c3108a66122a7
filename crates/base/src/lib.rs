//! What every other crate stands on: time, randomness, secrets, hard caps, reports of problems,
//! documents that remember where they were written, units, back-off and shutdown.
//!
//! It must never contain a word of the product's domain (no route, policy, consumer): those live in
//! `model` and `traffic`. Start reading at [`caps`] for the bounds that hold everywhere, and at
//! [`tree`] for how what users write becomes typed values with places.

/// Upper bounds of everything a peer or a file can make grow.
pub mod caps;
/// Time, real or driven by a test.
pub mod clock;
/// Randomness: unpredictable for secrets, fast for balancing.
pub mod random;
/// Environment variables, the one way in.
pub mod env;
/// Values that must not be shown, and texts that refer to them.
pub mod secret;
/// Random texts with a prefix and a checksum.
pub mod token;
/// Problems told to the author of a config, collected rather than thrown.
pub mod report;
/// Documents whose every value remembers where it was written.
pub mod tree;
/// From a document to typed values, with all problems at their places.
pub mod decode;
/// Durations, sizes and rates as words: `30s`, `64KiB`, `100/min`.
pub mod units;
/// Several rates that hold together.
pub mod rates;
/// So much per length of time, as arithmetic.
pub mod gcra;
/// Hours, days, weeks and months of a place.
pub mod calendar;
/// Days of the week and times of the day at which something is open.
pub mod hours;
/// How much in a window of the calendar.
pub mod quotas;
/// What becomes of a limit whose store cannot be asked, as words.
pub mod stores;
/// Maps whose keys are hashes already.
pub mod hashed;
/// Points in time as they are written.
pub mod moment;
/// What certificates say of whom they are for, as text.
pub mod certificate_name;
/// Networks of addresses as words: `10.0.0.0/8`.
pub mod network;
/// A great many addresses, in which one is found quickly.
pub mod ranges;
/// Addresses and paths at which one can listen and connect.
pub mod endpoint;
/// Bytes on their way through a connection.
pub mod buffers;
/// Deadlines that are moved often and reached seldom.
pub mod alarm;
/// Waiting longer after each failure.
pub mod backoff;
/// Want of file descriptors and the like, told once.
pub mod shortage;
/// Telling every task to finish.
pub mod shutdown;

pub use alarm::Alarm;
pub use clock::Clock;
pub use decode::decode;
pub use endpoint::Endpoint;
pub use moment::Moment;
pub use report::{Place, Problem, Report, Severity};
pub use secret::{Secret, Secrets, Text};
pub use shortage::Shortage;
pub use tree::{Node, Placed, Value};

/// An error of any kind, kept for logs and never sent to a client.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
