//! How many files, and with them connections, the process may have open.

use base::shortage;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Below this a warning is worth it: a client takes one, and so does each connection to a target.
const FEW: u64 = 4_096;

/// Raises what the process may have open to what it was allowed at most: the usual limit of 1024 is there for
/// old programs that cannot have more. Of that some is kept for what is not traffic.
pub(crate) fn raise() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    let Some(limit) = getrlimit(Resource::Nofile).current else { return };
    shortage::limit(limit);
    if limit < FEW {
        tracing::warn!(
            limit,
            "few files may be open, and each connection is one; raise the limit (`LimitNOFILE`, `ulimit -Hn`)"
        );
    }
}
