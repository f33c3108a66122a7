use sqlx::error::ErrorKind;
use std::fmt;

/// What the database says, or what came of it.
pub type Result<T> = std::result::Result<T, Error>;

/// Why something could not be read or written. Nothing was changed.
#[derive(Debug)]
pub enum Error {
    /// There is no such row.
    Missing,
    /// Somebody else changed the row: it has this revision now.
    Changed(i64),
    /// Another row has what must be unique, such as its name.
    Taken,
    /// A row that this one speaks of does not exist, or others still speak of this one.
    Bound,
    /// There are as many of them as there may be.
    Full(i64),
    /// What is encrypted cannot be read without the master key of this number.
    Locked(i64),
    /// The database is of an older program: its schema has this number.
    Older(i64),
    /// The database belongs to a newer program: its schema has this number.
    Newer(i64),
    /// The database cannot be reached, is locked, full or read-only: it may work later.
    Unavailable(String),
    /// What the database holds is not what this program wrote.
    Corrupt(String),
}

/// Why a database cannot be used, as far as it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Somebody else holds what is needed for too long.
    Locked,
    /// The disk takes no more.
    Full,
    /// It may be read and not written to.
    ReadOnly,
    /// It cannot be reached, or something else.
    Away,
    /// It belongs to another program.
    Other,
}

impl Error {
    /// Why the database cannot be used; nothing where that is not what is wrong.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        match self {
            Self::Older(_) | Self::Newer(_) => Some(Trouble::Other),
            Self::Unavailable(why) => Some(Trouble::of(why)),
            _ => None,
        }
    }
}

impl Trouble {
    /// What a database, or the disk below it, means.
    #[must_use]
    pub fn of(why: &str) -> Self {
        let why = why.to_ascii_lowercase();
        let has = |words: &[&str]| words.iter().any(|word| why.contains(word));
        if has(&["locked", "lock timeout"]) {
            Self::Locked
        } else if has(&["full", "no space", "quota", "too large", "i/o error"]) {
            Self::Full
        } else if has(&["readonly", "read-only", "permission"]) {
            Self::ReadOnly
        } else {
            Self::Away
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::RowNotFound => Self::Missing,
            sqlx::Error::Database(said) => match said.kind() {
                ErrorKind::UniqueViolation => Self::Taken,
                ErrorKind::ForeignKeyViolation => Self::Bound,
                _ => Self::Unavailable(said.message().to_owned()),
            },
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::Decode(_) => Self::Corrupt(error.to_string()),
            _ => Self::Unavailable(error.to_string()),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("it does not exist"),
            Self::Changed(revision) => {
                write!(f, "somebody else changed it: it has revision {revision} now")
            }
            Self::Taken => f.write_str("something else has this name already"),
            Self::Bound => {
                f.write_str("something else speaks of it, or what it speaks of does not exist")
            }
            Self::Full(most) => write!(f, "there may be {most} of them, and there are"),
            Self::Locked(number) => {
                write!(f, "what is encrypted cannot be read: master key {number} is not there")
            }
            Self::Older(number) => write!(
                f,
                "the database has schema {number}, of an older program; this one needs {}",
                crate::NEWEST
            ),
            Self::Newer(number) => write!(
                f,
                "the database has schema {number}, of a newer program; this one knows up to {}",
                crate::NEWEST
            ),
            Self::Unavailable(why) => write!(f, "the database: {why}"),
            Self::Corrupt(why) => write!(f, "the database holds something unexpected: {why}"),
        }
    }
}

impl std::error::Error for Error {}
