//! What an operator may choose: how lines are written, which, and where they go.

use super::{AccessLine, Template};
use base::random;
use base::units::Share;
use std::path::PathBuf;
use std::time::Duration;

/// How a line is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccessFormat {
    /// One JSON object per line.
    #[default]
    Json,
    /// For people: the main fields in one line of text.
    Text,
    /// As the operator wrote it.
    Template(Template),
}

/// Where the lines go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccessTarget {
    /// Standard output.
    #[default]
    Stdout,
    /// Standard error.
    Stderr,
    /// A file, appended to, and created with mode 0640 less the process's umask.
    File(PathBuf),
    /// Nowhere: no line is even formatted.
    Off,
}

/// When a file is moved away by the gateway itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes beyond which a file is not written on.
    pub size: u64,
    /// How many old files are kept, the newest being `NAME.1`.
    pub keep: u32,
}

/// Everything about an access log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessSettings {
    /// How a line is written.
    pub format: AccessFormat,
    /// Where lines go.
    pub target: AccessTarget,
    /// Which requests get a line.
    pub sample: Sample,
    /// When a file is moved away; never, unless somebody else does.
    pub rotation: Option<Rotation>,
}

impl AccessSettings {
    /// A line for every request.
    #[must_use]
    pub fn new(format: AccessFormat, target: AccessTarget) -> Self {
        Self { format, target, ..Self::default() }
    }
}

/// Which requests get a line. Metrics count all of them, whatever is drawn here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    success: Rate,
    errors: Rate,
    slow: Option<Duration>,
}

/// A share, and how a line says it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rate {
    share: Share,
    text: Box<str>,
}

impl Rate {
    fn new(share: Share) -> Self {
        Self { share, text: share.fraction().to_string().into() }
    }
}

impl Default for Sample {
    fn default() -> Self {
        Self::new(Share::ALL, Share::ALL, None)
    }
}

impl Sample {
    /// This share of the requests that went well (a status below 400, `grpc-status` 0 where there is one, sent whole), this share of the
    /// others, and all that took at least as long as `slow`.
    #[must_use]
    pub fn new(success: Share, errors: Share, slow: Option<Duration>) -> Self {
        Self { success: Rate::new(success), errors: Rate::new(errors), slow }
    }

    /// Whether a request gets its line: not, if nothing is returned, else with the rate it must tell;
    /// none for one that was certain to get its line.
    pub(super) fn draw(&self, line: &AccessLine<'_>) -> Option<Option<&str>> {
        // A call of gRPC fails with status 200 and a `grpc-status` of its own.
        let is_error = line.status >= 400
            || line.grpc_status.is_some_and(|status| status != 0)
            || line.fault.is_some()
            || !line.complete;
        let rate = if is_error { &self.errors } else { &self.success };
        if rate.share == Share::ALL || self.slow.is_some_and(|slow| line.duration >= slow) {
            return Some(None);
        }
        rate.share.takes(random::fast()).then_some(Some(&*rate.text))
    }
}
