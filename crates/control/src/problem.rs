use std::fmt;

/// What kind of problem it is. The text of each is what programs go by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Nobody is logged in, or the login has ended.
    LoginRequired,
    /// Name and password do not belong together.
    LoginRefused,
    /// Name and password are right, and a one-time password is asked for besides.
    CodeRequired,
    /// Too many attempts to log in.
    TooManyAttempts,
    /// The caller may not do this.
    Forbidden,
    /// It does not exist, or the caller may not know of it.
    NotFound,
    /// Somebody else changed it meanwhile.
    Changed,
    /// Something else has this name.
    Taken,
    /// Something else speaks of it, or what it speaks of does not exist.
    Bound,
    /// There are as many as there may be.
    LimitReached,
    /// Another request stands in the way.
    Conflict,
    /// What was sent cannot be taken; the findings say why.
    Invalid,
    /// The database cannot be reached, is locked, full or read-only.
    StoreUnavailable,
    /// The database holds what this program did not write.
    StoreCorrupt,
    /// An identity provider cannot be asked.
    ProviderUnavailable,
    /// A mistake of this program.
    Internal,
}

impl Code {
    /// The text that programs go by.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::LoginRequired => "login_required",
            Self::LoginRefused => "login_refused",
            Self::CodeRequired => "code_required",
            Self::TooManyAttempts => "too_many_attempts",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Changed => "changed",
            Self::Taken => "taken",
            Self::Bound => "bound",
            Self::LimitReached => "limit_reached",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid",
            Self::StoreUnavailable => "store_unavailable",
            Self::StoreCorrupt => "store_corrupt",
            Self::ProviderUnavailable => "provider_unavailable",
            Self::Internal => "internal",
        }
    }
}

/// Why an operation was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What kind it is.
    pub code: Code,
    /// What is wrong and what helps, for people. It holds no secret.
    pub detail: String,
    /// The revision that is there, where somebody else has changed it.
    pub revision: Option<i64>,
    /// Everything that is wrong with what was sent.
    pub findings: Vec<crate::Finding>,
    /// What only the log shows.
    pub cause: Option<String>,
}

impl Problem {
    /// One of this kind.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), revision: None, findings: Vec::new(), cause: None }
    }

    /// With one thing that is wrong with a field.
    #[must_use]
    pub fn invalid(pointer: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        let finding = crate::Finding { pointer: pointer.to_owned(), message: message.clone() };
        Self { findings: vec![finding], ..Self::new(Code::Invalid, message) }
    }

    /// What does not exist for this caller.
    #[must_use]
    pub fn missing(noun: &str) -> Self {
        Self::new(Code::NotFound, format!("there is no such {noun}"))
    }
}

/// What the store says of a noun.
pub(crate) fn of(noun: &str) -> impl Fn(store::Error) -> Problem {
    move |error| {
        let with = |code, detail: &str| Problem::new(code, detail);
        match error {
            store::Error::Missing => Problem::missing(noun),
            store::Error::Changed(revision) => Problem {
                revision: Some(revision),
                ..with(
                    Code::Changed,
                    "somebody else changed it; read it again, then send your change with the new ETag",
                )
            },
            store::Error::Taken => {
                Problem::new(Code::Taken, format!("another {noun} has this name"))
            }
            store::Error::Bound => with(
                Code::Bound,
                "something else speaks of it, or what it speaks of does not exist",
            ),
            store::Error::Full(most) => {
                Problem::new(Code::LimitReached, format!("there may be {most} here, and there are"))
            }
            error @ store::Error::Locked(_) => Problem {
                cause: Some(error.to_string()),
                ..with(
                    Code::StoreUnavailable,
                    "secrets cannot be read: the master key is not there",
                )
            },
            error @ (store::Error::Unavailable(_)
            | store::Error::Older(_)
            | store::Error::Newer(_)) => Problem {
                cause: Some(error.to_string()),
                ..with(Code::StoreUnavailable, unusable(error.trouble()))
            },
            error @ store::Error::Corrupt(_) => Problem {
                cause: Some(error.to_string()),
                ..with(
                    Code::StoreCorrupt,
                    "the database holds something unexpected; the log says what",
                )
            },
        }
    }
}

/// Why the database cannot be used, for those who cannot see the log.
const fn unusable(trouble: Option<store::Trouble>) -> &'static str {
    use store::Trouble::{Full, Locked, Other, ReadOnly};
    match trouble {
        Some(Locked) => "the database is locked by somebody else; try again: traffic goes on",
        Some(Full) => {
            "the database cannot be written to, as its disk takes no more; make room: traffic goes on"
        }
        Some(ReadOnly) => "the database may be read and not be written to; traffic goes on",
        Some(Other) => "the database belongs to another program than this one; traffic goes on",
        _ => "the database cannot be used at the moment; traffic goes on",
    }
}

/// What the store says of a noun that is made as a part of something else.
pub(crate) fn part_of(owner: &str, noun: &str) -> impl Fn(store::Error) -> Problem {
    move |error| match error {
        store::Error::Missing => Problem::missing(owner),
        error => of(noun)(error),
    }
}

/// What the system says that has no randomness.
pub(crate) fn random(why: impl fmt::Display) -> Problem {
    let cause = Some(why.to_string());
    Problem { cause, ..Problem::new(Code::Internal, "the system has no randomness") }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.detail)
    }
}

impl std::error::Error for Problem {}
