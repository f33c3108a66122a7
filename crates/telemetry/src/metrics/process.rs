//! What the operating system knows about this process, read from `/proc` at each scrape.

use std::fs;

/// Clock ticks per second. The kernel reports times to user space in this unit, 100 on every
/// architecture Rust's Linux targets run on; asking (`sysconf`) would need `unsafe`.
const TICKS_PER_S: f64 = 100.0;

/// Numbers of this process; what cannot be read is missing.
#[derive(Debug, Default)]
pub(super) struct Process {
    /// Memory held in RAM.
    pub(super) resident_bytes: Option<u64>,
    /// Time spent on processors, by the program and by the kernel for it.
    pub(super) cpu_s: Option<f64>,
    /// Open file descriptors.
    pub(super) open_fds: Option<u64>,
    /// When the process started, since 1970.
    pub(super) started_s: Option<f64>,
}

impl Process {
    /// Reads everything anew.
    pub(super) fn read() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let system = fs::read_to_string("/proc/stat").unwrap_or_default();
        Self {
            resident_bytes: resident_bytes(&status),
            cpu_s: cpu_s(&stat),
            open_fds: open_fds(),
            started_s: started_s(&stat, &system),
        }
    }
}

/// Memory that this process holds in RAM, in bytes, if the system tells.
#[must_use]
pub fn resident_bytes_now() -> Option<u64> {
    resident_bytes(&fs::read_to_string("/proc/self/status").ok()?)
}

/// `VmRSS: 1234 kB`; the page size, which `/proc/self/statm` counts in, is not known here.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_ascii_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

fn cpu_s(stat: &str) -> Option<f64> {
    Some((field(stat, 14)? + field(stat, 15)?) / TICKS_PER_S)
}

fn started_s(stat: &str, system: &str) -> Option<f64> {
    let booted = system.lines().find_map(|line| line.strip_prefix("btime "))?;
    Some(booted.trim().parse::<f64>().ok()? + field(stat, 22)? / TICKS_PER_S)
}

/// A field of `/proc/PID/stat`, numbered from 1 as in proc(5). The second, the program's name, may
/// hold spaces and brackets, so the count starts behind its last bracket.
fn field(stat: &str, number: usize) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_ascii_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

/// Without the one that lists them.
fn open_fds() -> Option<u64> {
    let count = fs::read_dir("/proc/self/fd").ok()?.count();
    u64::try_from(count.saturating_sub(1)).ok()
}

#[cfg(test)]
mod tests {
    use super::{Process, cpu_s, field, resident_bytes, started_s};

    const STAT: &str = "42 (a (b) c) S 1 2 3 4 5 6 7 8 9 10 250 50 13 14 15 16 17 18 2000 20 21";

    #[test]
    fn program_name_with_brackets_and_spaces_does_not_shift_fields() {
        assert_eq!(field(STAT, 4), Some(1.0));
        assert_eq!(cpu_s(STAT), Some(3.0));
        assert_eq!(started_s(STAT, "cpu 1 2\nbtime 1000\n"), Some(1020.0));
    }

    #[test]
    fn garbage_is_missing_rather_than_zero() {
        for garbage in ["", "42", "42 (x", "42 (x) S", "42 (x) S a b c"] {
            assert_eq!(cpu_s(garbage), None, "{garbage}");
            assert_eq!(started_s(garbage, ""), None, "{garbage}");
        }
        assert_eq!(resident_bytes("VmRSS:\t lots kB"), None);
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t   12 kB\n"), Some(12_288));
    }

    #[test]
    fn this_process_has_memory_and_files() {
        let process = Process::read();
        assert!(process.resident_bytes.unwrap() > 100_000);
        assert!(process.open_fds.unwrap() >= 3);
        assert!(process.cpu_s.unwrap() >= 0.0);
        assert!(process.started_s.unwrap() > 1_600_000_000.0);
    }
}
