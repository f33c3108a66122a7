//! Looks how much memory the process takes, and may take, and tells the workers.

use proxy::Gateway;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use telemetry::metrics::resident_bytes_now;
use traffic::memory::{Ceiling, Want};

/// How often it looks,
const EVERY: Duration = Duration::from_secs(1);
/// and when more than half of what may be taken is.
const OFTEN: Duration = Duration::from_millis(100);

/// Looks until it is dropped. What goes without is told when that changes.
pub(crate) async fn watch(gateway: Arc<Gateway>) {
    let mut told = Want::None;
    loop {
        let ceiling = gateway.snapshot.load().overload.memory.map_or(0, bytes);
        let memory = &gateway.memory;
        let taken = if ceiling == 0 { 0 } else { resident_bytes_now().unwrap_or(0) };
        let want = memory.looked(taken, ceiling);
        gateway.metrics.overload().memory([taken, memory.held(), ceiling], want as u32);
        if want != told {
            tell(want, told, taken, ceiling);
            told = want;
        }
        let is_near = ceiling > 0 && memory.taken() > ceiling / 2;
        tokio::time::sleep(if is_near { OFTEN } else { EVERY }).await;
    }
}

fn tell(want: Want, before: Want, taken: u64, ceiling: u64) {
    let without = match want {
        Want::None => return tracing::info!(taken, ceiling, "there is memory again"),
        Want::Buffers => "nothing more is held in memory for requests",
        Want::Low => "requests of low priority are refused",
        Want::Normal => "requests of low and normal priority are refused",
        Want::All => "requests and connections are refused",
    };
    if want > before {
        tracing::warn!(taken, ceiling, "memory is short: {without}");
    } else {
        tracing::info!(taken, ceiling, "memory is less short: {without}");
    }
}

/// A ceiling in bytes; zero where it is a share of what nobody tells.
fn bytes(ceiling: Ceiling) -> u64 {
    match ceiling {
        Ceiling::Bytes(bytes) => bytes,
        Ceiling::Share(share) => {
            let machine = fs::read_to_string("/proc/meminfo").ok();
            let machine = machine.as_deref().and_then(machine_bytes);
            let own = fs::read_to_string("/proc/self/cgroup").ok();
            let group =
                own.as_deref().and_then(|own| group_bytes(own, Path::new("/sys/fs/cgroup")));
            share.of(group.into_iter().chain(machine).min().unwrap_or(0))
        }
    }
}

/// `MemTotal:  1234 kB`.
fn machine_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.split_ascii_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1_024)
}

/// The least limit of the process's cgroup and of those around it; of version 2 `memory.max` in its folder under `0::`, of
/// version 1 `memory.limit_in_bytes` in that of the controller.
fn group_bytes(own: &str, root: &Path) -> Option<u64> {
    let limits = own.lines().flat_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
            return Vec::new();
        };
        let is_memory = controllers.split(',').any(|name| name == "memory");
        let (root, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            _ if is_memory => (root.join("memory"), "memory.limit_in_bytes"),
            _ => return Vec::new(),
        };
        // In a container the path may be that outside of it: what cannot be found there stands at the root.
        let folder = root.join(path.trim_start_matches('/'));
        let around = folder.ancestors().take_while(|folder| folder.starts_with(&root));
        around.filter_map(|folder| limit(&folder.join(file))).collect()
    });
    limits.min()
}

fn limit(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{group_bytes, machine_bytes};
    use std::fs;

    #[test]
    fn the_least_limit_of_the_groups_around_the_process_counts() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("a/b/memory.max", "max\n");
        put("a/memory.max", "3000\n");
        put("memory.max", "5000\n");
        put("memory/c/memory.limit_in_bytes", "700\n");
        let of = |own: &str| group_bytes(own, root.path());
        assert_eq!(of("0::/a/b\n"), Some(3_000));
        assert_eq!(of("0::/\n"), Some(5_000));
        assert_eq!(of("0::/not/seen/here\n"), Some(5_000));
        assert_eq!(of("5:cpu:/c\n4:hugetlb,memory:/c\n"), Some(700));
        assert_eq!(of("5:cpu:/c\n"), None);
        assert_eq!(of("nonsense"), None);
    }

    #[test]
    fn the_machine_tells_its_memory() {
        assert_eq!(machine_bytes("MemFree: 1 kB\nMemTotal:     2 kB\n"), Some(2_048));
        assert_eq!(machine_bytes("MemTotal: lots"), None);
    }
}
