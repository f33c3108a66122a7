//! When a node refuses what it could not do well.

use crate::Config;
use crate::overload::MemoryMax;
use base::Report;
use base::units::{Period, Share, Size};
use std::time::Duration;

/// Below it, delays are those of timers.
const QUEUE_DELAY_LEAST: Duration = Duration::from_millis(5);
/// Below it no gateway starts.
const MEMORY_LEAST: u64 = 32 << 20;

pub(super) fn check(config: &Config, report: &mut Report) {
    let long = &config.overload.long;
    let too_short = |delay: &Period| delay.0 < QUEUE_DELAY_LEAST;
    if let Some(delay) = long.queue_delay.as_ref().filter(|delay| too_short(&delay.value)) {
        report
            .error(
                "invalid_value",
                &delay.place,
                "workers are often later than that without too much to do",
            )
            .at("/overload/queue_delay")
            .help("write 5 ms or more; 500 ms when in doubt");
    }
    let too_little = |memory: &MemoryMax| match memory {
        MemoryMax::Size(Size(bytes)) => *bytes < MEMORY_LEAST,
        MemoryMax::Share(share) => *share == Share::NONE,
    };
    if let Some(memory) = long.memory.as_ref().filter(|memory| too_little(&memory.value)) {
        report
            .error(
                "invalid_value",
                &memory.place,
                "the gateway takes more than that without any request",
            )
            .at("/overload/memory")
            .help("write 32 MiB or more, or a share such as `80%`");
    }
}
